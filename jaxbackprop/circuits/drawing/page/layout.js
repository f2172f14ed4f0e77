// Places for items, given their columns: the second half of layout.py, done again whenever a box opens or closes.
"use strict";
const CHARACTER = 7.25, GAP = 34, ROW = 26, PAD = 18, TITLE = 16;
const ORDERED = new Set("− ÷ @ xʸ select".split(" "));

// The positions nearest to wish (least squares) that keep their order and distances; pools that bump merge.
function apartAtLeast(wish, apart) {
  const offset = [0];
  for (const gap of apart) offset.push(offset[offset.length - 1] + gap);
  const pools = [];
  wish.forEach((w, i) => {
    pools.push([w - offset[i], 1]);
    while (pools.length > 1) {
      const [a, b] = pools.slice(-2);
      if (a[0] / a[1] <= b[0] / b[1]) break;
      pools.splice(-2, 2, [a[0] + b[0], a[1] + b[1]]);
    }
  });
  const level = pools.flatMap(([sum, count]) => Array(count).fill(sum / count));
  return level.map((at, i) => at + offset[i]);
}

function sizeOf(item, inside, outputs, said, written) {
  if (inside) return [inside.width, inside.height];
  const text = Math.max(item.title.length, ...item.lines.map((line) => written.line(line).length)) * CHARACTER;
  const grown = ["gate", "rule", "box"].includes(item.kind) ? Math.max(0, 42 * (outputs - 1)) : 0;
  if (item.kind === "gate" || item.kind === "rule") return [Math.max(34, item.title.length * CHARACTER * 1.15 + 16), 34 + grown];
  if (item.kind === "port") return [8, 8];
  if (item.kind === "card" || item.kind === "node") return [text + 22, 24 + 17 * item.lines.length + (item.kind === "node" ? Math.max(0, 38 * said - 58) : 0)];
  if (item.kind === "box") return [text + 34, 34 + 15 * item.lines.length + grown];
  return [text + 16, 24];
}

// A picture of a part: placed items and routes; `isOpen(part)` says which boxes are open, `written` what stands on links
// and in lines when everything is shown: places do not move from step to step.
function place(part, isOpen, written) {
  const insides = {}, outputs = {}, sizes = {}, said = {};
  const width = (link) => { const [a, b] = written.link(link); return link.live ? CHARACTER * Math.max(a.length, b.length) : 0; };
  const tail = (link) => { const [a, b] = written.link(link); return link.live ? 0 : CHARACTER * Math.max(a.length, b.length); };
  for (const [id, item] of Object.entries(part.items))
    if (item.part && isOpen(item.part)) insides[id] = place(item.part, isOpen, written);
  for (const link of part.links) {
    (outputs[link.from] ??= new Set()).add(link.wire);
    said[link.to] = (said[link.to] ?? 0) + (tail(link) > 0);
  }
  for (const [id, item] of Object.entries(part.items)) sizes[id] = sizeOf(item, insides[id], outputs[id]?.size ?? 0, said[id] ?? 0, written);
  const ys = rowsOf(part, sizes);
  const high = (n) => (sizes[n] ? sizes[n][1] : 6);
  let top = Infinity;
  for (const column of part.columns) for (const n of column) top = Math.min(top, ys[n] - high(n) / 2);
  const down = PAD + (part.kind === "root" ? 0 : TITLE) - (top === Infinity ? 0 : top);
  for (const n in ys) ys[n] += down;
  const picture = { part, items: {}, routes: [], width: 0, height: 0 };
  const lefts = {}, rights = {}, room = new Map();
  const needs = (n, length) => room.set(n, Math.max(room.get(n) ?? 0, length));
  for (const link of part.links) {
    needs(link.from, width(link) + CHARACTER * link.share.length);
    needs(link.way[link.way.length - 2], tail(link));
  }
  let x = PAD;
  part.columns.forEach((column, k) => {
    const wide = Math.max(...column.map((n) => (sizes[n] ? sizes[n][0] : 0)));
    for (const n of column) {
      const [w, h] = sizes[n] ?? [wide, 0];
      lefts[n] = x + (wide - w) / 2;
      rights[n] = x + (wide + w) / 2;
      if (sizes[n]) picture.items[n] = { id: n, item: part.items[n], x: lefts[n], y: ys[n] - h / 2, w, h, inside: insides[n] };
    }
    x += wide + (k + 1 < part.columns.length ? GAP + Math.max(0, ...column.map((n) => room.get(n) ?? 0)) : 0);
  });
  picture.width = Math.max(x + PAD, CHARACTER * part.title.length + 3 * PAD);
  picture.height = Math.max(0, ...Object.values(picture.items).map((p) => p.y + p.h)) + PAD;
  for (const placed of Object.values(picture.items))
    if (placed.item.kind === "port") {
      placed.x = portSide(placed.id) === "e" ? -placed.w / 2 : picture.width - placed.w / 2;
      lefts[placed.id] = placed.x;
      rights[placed.id] = placed.x + placed.w;
    }
  route(picture, ys, lefts, rights, width, tail);
  return picture;
}

const portSide = (id) => id.replace(/^r\d+\./, "")[0];

function rowsOf(part, sizes) {
  const near = {}, ys = {};
  const high = (n) => (sizes[n] ? sizes[n][1] : 6);
  for (const column of part.columns) for (const n of column) near[n] = [[], []];
  for (const { way } of part.links)
    for (let i = 0; i + 1 < way.length; i++) {
      near[way[i]][1].push(way[i + 1]);
      near[way[i + 1]][0].push(way[i]);
    }
  for (const column of part.columns) {
    let y = 0;
    for (const n of column) {
      ys[n] = y + high(n) / 2;
      y += high(n) + ROW;
    }
    for (const n of column) ys[n] -= y / 2;
  }
  for (let sweep = 0; sweep < 8; sweep++) {
    const side = 1 - (sweep % 2);
    for (const column of side ? [...part.columns].reverse() : part.columns) {
      const wish = column.map((n) => {
        const there = near[n][side].length ? near[n][side] : near[n][1 - side];
        return there.length ? there.reduce((sum, m) => sum + ys[m], 0) / there.length : ys[n];
      });
      const apart = column.slice(1).map((b, i) => (high(column[i]) + high(b)) / 2 + (sizes[column[i]] || sizes[b] ? ROW : 10));
      apartAtLeast(wish, apart).forEach((y, i) => (ys[column[i]] = y));
    }
  }
  return ys;
}

function route(picture, ys, lefts, rights, width, tail) {
  const into = {}, leaving = {}, ends = new Map(), starts = {};
  for (const link of picture.part.links) {
    (into[link.to] ??= []).push(link);
    ((leaving[link.from] ??= {})[link.wire] ??= []).push(ys[link.way[1]]);
  }
  for (const [name, links] of Object.entries(into)) {
    const target = picture.items[name];
    const ordered = ["gate", "rule"].includes(target.item.kind) && ORDERED.has(target.item.title);
    links.sort((a, b) => (ordered ? a.slot - b.slot : ys[a.way[a.way.length - 2]] - ys[b.way[b.way.length - 2]]));
    links.forEach((link, k) => {
      const port = target.inside?.items[target.inside.part.enter[link.slot]];
      const even = links.length === 1 ? 0.5 : target.item.kind === "node" ? (k + 0.5) / links.length : 0.15 + (0.7 * (k + 1)) / (links.length + 1);
      ends.set(link, target.y + (port ? port.y + port.h / 2 : target.h * even));
    });
  }
  for (const [name, wires] of Object.entries(leaving)) {
    const source = picture.items[name], mean = (w) => wires[w].reduce((a, b) => a + b, 0) / wires[w].length;
    Object.keys(wires).sort((a, b) => mean(a) - mean(b)).forEach((wire, k, all) => {
      const port = source.inside?.items[source.inside.part.leave[wire]];
      starts[name + "/" + wire] = source.y + (port ? port.y + port.h / 2 : (source.h * (k + 0.5)) / all.length);
    });
  }
  const labelled = new Set();
  for (const link of picture.part.links) {
    const source = picture.items[link.from], target = picture.items[link.to], key = link.from + "/" + link.wire;
    const y = starts[key], points = [[source.x + source.w, y]], lead = width(link);
    points.push([points[0][0] + (lead ? lead + 8 : 0), y]);
    for (const n of link.way.slice(1, -1)) points.push([lefts[n], ys[n]], [rights[n], ys[n]]);
    if (tail(link)) points.push([target.x - tail(link) - 16, ends.get(link)]);
    points.push([target.x, ends.get(link)]);
    picture.routes.push({ link, points, first: !labelled.has(key) });
    labelled.add(key);
  }
}
