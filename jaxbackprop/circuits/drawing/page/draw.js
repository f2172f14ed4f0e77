// A placed picture becomes SVG elements; heat maps become small tables of squares.
"use strict";
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A text that changes with the step: `read()` is called again at each refresh.
const changing = new Set();
function changingText(read, attributes) {
  const made = element("text", attributes);
  made.read = read;
  changing.add(made);
  return made;
}
function refreshTexts() {
  for (const text of changing) {
    const now = text.read();
    if (text.textContent !== now) text.textContent = now;
    text.classList.toggle("hidden", now.endsWith("?"));
  }
}

function pathOf(points) {
  let [x, y] = points[0], d = `M${x.toFixed(1)} ${y.toFixed(1)}`;
  for (const [nx, ny] of points.slice(1)) {
    const bend = Math.max((nx - x) / 2, 12);
    d += Math.abs(ny - y) < 0.05 ? `H${nx.toFixed(1)}`
      : `C${(x + bend).toFixed(1)} ${y.toFixed(1)} ${(nx - bend).toFixed(1)} ${ny.toFixed(1)} ${nx.toFixed(1)} ${ny.toFixed(1)}`;
    [x, y] = [nx, ny];
  }
  return d;
}

// `texts.edge(edge)` gives three functions (above, below, share), `texts.line(line)` one: what stands there now.
function drawPart(picture, texts) {
  const group = element("g"), wires = element("g"), items = element("g"), labels = element("g");
  for (const route of picture.routes) {
    const { edge, points } = route, target = picture.nodes[edge.to], data = { "data-wire": edge.wire, "data-to": edge.to };
    const line = element("path", { class: "wire", d: pathOf(points), ...data });
    if (target.node.kind !== "port") line.setAttribute("marker-end", "url(#arrowhead)");
    wires.append(line, element("path", { class: "grip", d: pathOf(points), ...data }));
    const [above, below, share] = texts.edge(edge), [x, y] = points[0], [ex, ey] = points[points.length - 1];
    if (edge.live ? edge.first : edge.above || edge.below) { // a wire's numbers where it begins, a use's where it ends
      const [lx, ly] = edge.live ? [x, y] : points[points.length - 2], ofUse = edge.live ? "" : " of-use";
      labels.append(changingText(above, { class: `value${ofUse}`, x: lx + 7, y: ly - 5, ...data }));
      labels.append(changingText(below, { class: `gradient${ofUse}`, x: lx + 7, y: ly + 14, ...data }));
    }
    if (edge.share) {
      const over = ey < target.y + target.h / 2 - 1;
      labels.append(changingText(share, { class: "gradient share", x: ex - 12, y: ey + (over ? -5 : 12), ...data }));
    }
  }
  for (const placed of Object.values(picture.nodes)) items.append(drawNode(placed, texts));
  group.append(wires, items, labels);
  return group;
}

function drawNode(placed, texts) {
  const { id, node, x, y, w, h, inside } = placed;
  const group = element("g", { "data-id": id, class: `item ${node.kind}${inside ? " open" : ""}` });
  if (node.wire >= 0) group.setAttribute("data-wire", node.wire);
  if (node.kind === "port") {
    group.append(element("circle", { cx: x + w / 2, cy: y + h / 2, r: 3 }));
    return group;
  }
  if (inside) {
    group.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    const bar = element("g", { class: "bar", tabindex: 0, role: "button", "aria-expanded": "true", "aria-label": `close ${node.title}` });
    bar.append(element("rect", { class: "hit", width: w, height: 26, rx: 10 }));
    bar.append(element("text", { class: "title", x: 12, y: 17 }, ["▾ " + inside.part.title, ...node.lines.filter((line) => !line[2]).map(([text]) => text)].join("  ")));
    group.append(element("rect", { class: "frame", width: w, height: h, rx: 10 }), bar, drawPart(inside, texts));
    return group;
  }
  const gate = node.kind === "gate" || node.kind === "rule", card = node.kind === "card" || node.kind === "node";
  if (gate || card || node.inside) {
    group.setAttribute("tabindex", 0);
    group.setAttribute("role", "button");
    group.setAttribute("aria-label", `${node.kind === "box" ? "open box" : node.kind} ${node.title}`);
  }
  group.append(element("rect", { class: "frame", x, y, width: w, height: h, rx: gate ? 17 : 6 }));
  const head = card ? y + 16 : node.lines.length ? y + 20 : y + h / 2 + (gate ? 5 : 4), apart = card ? 17 : 15;
  const title = (node.kind === "box" ? "▸ " : "") + node.title;
  group.append(element("text", { class: gate ? "sign" : "name", x: x + w / 2, y: head }, title));
  node.lines.forEach((line, i) => {
    const tone = line[2] === "value" ? "value" : ["gradient", "share"].includes(line[2]) ? "gradient" : "note";
    group.append(changingText(texts.line(line), { class: `${tone} inner`, x: x + w / 2, y: head + apart * (i + 1), ...(line[1] >= 0 ? { "data-wire": line[1] } : {}) }));
  });
  if (node.badge && !live?.changed) group.append(element("text", { class: "badge", x: x + w - 2, y: y + 4 }, node.badge));
  return group;
}

// A heat map: blue below zero, orange above, with a sign in large cells, so that it reads without colour.
function drawMap(map, caption) {
  const rows = map.rows.length, columns = map.rows[0].length, side = Math.max(6, Math.min(22, Math.floor(264 / columns)));
  const svg = element("svg", { class: "map", width: columns * side, height: rows * side, role: "img", "aria-label": caption });
  map.rows.forEach((row, i) => row.forEach((v, j) => {
    const bad = v > 8;
    const cell = element("rect", { x: j * side, y: i * side, width: side - 1, height: side - 1, class: bad ? "bad" : v < 0 ? "minus" : "plus" });
    if (!bad) cell.style.fillOpacity = (0.08 + 0.92 * Math.abs(v)).toFixed(2);
    svg.append(cell);
    if (side >= 14 && (bad || Math.abs(v) > 0.05))
      svg.append(element("text", { x: j * side + side / 2, y: i * side + side / 2 + 4, class: "mark" }, bad ? "!" : v < 0 ? "−" : "+"));
  }));
  const figure = document.createElement("figure"), text = document.createElement("figcaption");
  text.textContent = map.top === "0" ? `${caption}, all zero` : `${caption}, from −${map.top} to ${map.top}`;
  figure.append(svg, text);
  return figure;
}
