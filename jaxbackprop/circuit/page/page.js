// The page: what is open, which step it is, what is hidden, coloured or looked for. Drawing is draw.js's, places layout.js's.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { gates, wires } = data, steps = data.order.length * 2, $ = (id) => document.getElementById(id);
const state = { open: new Set(data.opened), step: steps, colour: "none", exact: false, guess: false, guessed: new Set(), chosen: null, view: "circuit", hits: [], hit: -1 };
const canvas = $("canvas");
let picture, frame = { x: 0, y: 0, w: 100, h: 100 };

// ---- what a reader may see at this step
const madeAt = new Map(), pulledAt = new Map();
data.order.forEach((id, i) => {
  for (const w of gates[id].outputs) madeAt.set(w, i + 1);
});
data.order.forEach((id, i) => gates[id].inputs.forEach((w) => {
  if (!pulledAt.has(w)) pulledAt.set(w, steps - i); // a wire's gradient is whole once its first user has sent its share
}));
const insideOf = (w) => wires[w].inside;
const knowsValue = (w) => (madeAt.get(w) ?? 0) <= state.step;
const knowsGradient = (w) => (pulledAt.get(w) ?? data.order.length + 1) <= state.step;
const asked = (key) => state.guess && !state.guessed.has(key);
const shown = (w, which) => {
  const wire = wires[w], text = (state.exact && wire.exact ? wire.exact[which] : null) ?? (which ? wire.gradient : wire.value);
  return text;
};
function say(link) {
  if (!link.label) return ["", "", link.share];
  const value = knowsValue(link.wire) ? (asked("v" + link.wire) && wires[link.wire].kind === "value" ? "?" : shown(link.wire, 0)) : "";
  const gradient = knowsGradient(link.wire) && wires[link.wire].gradient ? (asked("g" + link.wire) ? "?" : shown(link.wire, 1)) : "";
  return [value, gradient, knowsGradient(link.wire) && !asked("g" + link.wire) ? link.share : ""];
}
const room = (link) => (link.label ? [shown(link.wire, 0), shown(link.wire, 1)] : ["", ""]);
const isOpen = (part) => state.open.has(part.box);

// ---- drawing
function redraw(fit) {
  picture = place(data.root, isOpen, room);
  canvas.replaceChildren();
  const defs = element("defs"), tip = element("marker", { id: "arrowhead", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  tip.append(element("path", { d: "M0 .8 7.5 4 0 7.2z", fill: "var(--line)" }));
  defs.append(tip);
  canvas.append(defs, drawPart(picture, say));
  if (fit) all(READABLE);
  refresh();
}
function refresh() {
  const now = currentGate();
  for (const text of canvas.querySelectorAll("text.value, text.gradient")) {
    const w = +text.dataset.wire, gradient = text.classList.contains("gradient");
    if (text.classList.contains("share")) continue;
    const known = gradient ? knowsGradient(w) && wires[w].gradient : knowsValue(w);
    const hidden = asked((gradient ? "g" : "v") + w) && (gradient || wires[w].kind === "value");
    text.textContent = !known ? "" : hidden ? "?" : shown(w, gradient ? 1 : 0);
    text.classList.toggle("hidden", hidden);
  }
  for (const share of canvas.querySelectorAll("text.share")) share.style.display = knowsGradient(+share.dataset.wire) && !asked("g" + share.dataset.wire) ? "" : "none";
  for (const item of canvas.querySelectorAll(".item")) {
    const id = item.dataset.id, at = gateAt(id);
    item.classList.toggle("now", now !== null && id === visibleOf(now));
    item.classList.toggle("dim", at !== null && gates[at].inside === undefined && rank.get(at) >= Math.min(state.step, data.order.length) && state.step < data.order.length && at !== now);
    item.classList.toggle("hit-by-search", state.hits.includes(id));
    item.classList.toggle("wrong", at !== null && gates[at].verdict === "wrong");
  }
  paint();
  $("slider").value = state.step;
  $("at").textContent = state.step === 0 ? "start" : state.step > data.order.length ? `back ${state.step - data.order.length} of ${data.order.length}` : `forward ${state.step} of ${data.order.length}`;
  panel();
}
const rank = new Map(data.order.map((id, i) => [id, i]));
const gateAt = (id) => { const m = /^(?:r(\d+)\.)?g(\d+)$/.exec(id); return m ? +(m[1] ?? 0) + +m[2] : null; };
function currentGate() {
  if (state.chosen !== null) return state.chosen;
  if (!state.step || state.step > steps) return null;
  return data.order[state.step <= data.order.length ? state.step - 1 : steps - state.step];
}

// ---- where things are: the boxes around each item
const around = new Map(), partOf = new Map();
(function walk(part, path) {
  for (const [id, item] of Object.entries(part.items)) {
    around.set(id, path);
    if (item.part) {
      partOf.set(item.part.box, id);
      walk(item.part, [...path, item.part.box]);
    }
  }
})(data.root, []);
const idOf = (g) => { if (gates[g].inside === undefined) return "g" + g; const first = gates.findIndex((k) => k.inside === gates[g].inside); return `r${first}.g${g - first}`; };
function visibleOf(gate) {
  const id = idOf(gate);
  for (const box of around.get(id) ?? []) if (!state.open.has(box)) return partOf.get(box);
  return id;
}

// ---- colours: always with a width, a dash or a sign as well
const LEGENDS = {
  none: "above a wire: its value; below, italic: the gradient of the output",
  value: "a thicker, warmer wire carries larger values; dotted: zero",
  gradient: "a thicker, warmer wire carries a larger gradient; dotted: zero",
  health: "dashed: saturated, mostly zeros, or a gradient 100,000 times below the largest; double: not finite",
  disagreement: "thick: by hand and by autodiff differ; ✗ a wrong gate, ∧ a kink, ? undecided",
};
function paint() {
  const mode = state.colour, index = mode === "value" ? 0 : 1;
  const sizes = wires.map((w) => w.size[index]).filter((s) => s !== null && s < 99), low = Math.min(...sizes), high = Math.max(...sizes);
  for (const line of canvas.querySelectorAll(".wire")) {
    const w = wires[+line.dataset.wire], size = w.size[index];
    let stroke = "", width = "", dash = "";
    if (mode === "value" || mode === "gradient") {
      const t = size === null ? 0 : high > low ? (Math.min(size, high) - low) / (high - low) : 0.5;
      [stroke, width, dash] = [`color-mix(in oklab, var(--plus) ${Math.round(100 * t)}%, var(--minus))`, 1 + 4 * t, size === null ? "1 4" : size === 99 ? "8 3" : ""];
    } else if (mode === "health") {
      const sick = w.saturated > 0.5 || w.zeros > 0.9 || (size !== null && size < Math.max(...sizes) - 5) || (w.gradient && size === null);
      if (w.size.includes(99)) [stroke, width] = ["var(--wrong)", 5];
      else if (sick) [stroke, width, dash] = ["var(--now)", 3, "6 4"];
    } else if (mode === "disagreement" && w.apart !== null) {
      if (w.apart > 1e-4) [stroke, width] = ["var(--wrong)", 4];
      else [stroke, width] = ["var(--value)", 2];
    }
    line.style.stroke = stroke;
    line.style.strokeWidth = width;
    line.style.strokeDasharray = dash;
  }
  $("legend").textContent = LEGENDS[mode];
}

// ---- the panel: the arithmetic spelled out
function line(parent, tag, text, cls) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (cls) made.className = cls;
  parent.append(made);
  return made;
}
function panel() {
  const side = $("panel"), g = currentGate();
  side.replaceChildren();
  if (data.wrong.length) line(side, "p", `The first wrong gate on the way back is ${gates[data.wrong[0]].name}.`, "bad");
  if (g === null) {
    line(side, "h2", "Step through it");
    line(side, "p", "→ computes the next gate; once all values are known, → goes back gate by gate, and each gate multiplies what arrives by its local gradient. ? shows the keys.");
    return;
  }
  const gate = gates[g], back = state.chosen !== null || state.step > data.order.length;
  line(side, "h2", `${gate.name}${gate.kind === "rule" ? ", a rule derived by hand" : ""}`);
  if (gate.box) line(side, "p", gate.box);
  line(side, "h3", "forward");
  const known = gate.outputs.every(knowsValue) || gate.inside !== undefined, hiddenV = gate.outputs.some((w) => asked("v" + w));
  line(side, "div", gate.formula, "sum");
  if (known && !hiddenV) line(side, "div", gate.numbers || gate.outputs.map((w) => `${wires[w].name} = ${shown(w, 0)}`).join("\n"), "sum v");
  if (known && hiddenV) gate.outputs.forEach((w) => ask(side, w, 0));
  if (back) {
    line(side, "h3", "backward: local gradient × upstream");
    gate.inputs.forEach((w, slot) => {
      if (!gate.back[slot]) return;
      if (asked("g" + w)) return ask(side, w, 1);
      const text = (state.exact && gate.exact[slot]) || gate.back[slot];
      line(side, "div", `${wires[w].name}: ${text}`, "sum g");
      if (wires[w].sum && knowsGradient(w)) line(side, "div", `fork: ${wires[w].sum}`, "sum g");
    });
  }
  if (gate.verdict && gate.verdict !== "agrees") line(side, "p", `${gate.verdict}: ${gate.detail}`, "bad");
  if (gate.verdict === "agrees") line(side, "p", "By hand and by autodiff it is the same.");
  if (gate.note) line(side, "p", gate.note);
  for (const w of gate.outputs) maps(side, w, back);
  if (gate.source) line(side, "p", gate.source).style.fontSize = "12px";
  if (gate.defined) line(side, "p", `rule at ${gate.defined}`).style.fontSize = "12px";
}
function maps(side, w, back) {
  const wire = wires[w];
  if (wire.map?.[0] && knowsValue(w) && !asked("v" + w)) side.append(drawMap(wire.map[0], `value of ${wire.name} ${wire.shape}`));
  if (wire.map?.[1] && back && !asked("g" + w)) side.append(drawMap(wire.map[1], `its gradient`));
}
function ask(side, w, which) {
  const key = (which ? "g" : "v") + w, right = shown(w, which), row = line(side, "div", "", "asked");
  line(row, "span", `${which ? "gradient of " : ""}${wires[w].name} =`);
  const input = document.createElement("input"), button = document.createElement("button"), verdict = document.createElement("span");
  input.setAttribute("aria-label", `guess ${key}`);
  button.textContent = "show";
  const target = Number(right.replace("−", "-"));
  input.addEventListener("change", () => {
    const mine = Number(input.value.replace("−", "-"));
    const close = Math.abs(mine - target) <= 0.011 * Math.max(Math.abs(target), 0.5);
    if (input.value.trim() !== "" && close) return reveal(key);
    verdict.textContent = Math.abs(mine + target) <= 0.011 * Math.abs(target) ? "the sign is turned" : "not yet";
  });
  button.addEventListener("click", () => reveal(key));
  if (Number.isNaN(target)) row.append(button);
  else row.append(input, button, verdict);
}
const reveal = (key) => { state.guessed.add(key); refresh(); };
