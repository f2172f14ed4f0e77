// The page: which view, what is open, which step it is, what is hidden, coloured or searched for.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { gates, wires } = data, last = data.order.length, steps = last * 2, $ = (id) => document.getElementById(id);
const state = { open: new Set(data.opened), step: Math.min(1, last), colour: "none", exact: false, guess: false, guessed: new Set(), chosen: null, view: "circuit", hits: [], hit: -1 };
const canvas = $("canvas");
for (const view of Object.values(data.views)) (function fill(part) { // what is usual is left out of the data
  for (const [id, node] of Object.entries(part.nodes)) part.nodes[id] = { ...data.usual.node, ...node };
  part.edges = part.edges.map((edge) => ({ ...data.usual.edge, ...edge }));
  for (const node of Object.values(part.nodes)) if (node.inside) fill(node.inside);
})(view);
const rank = new Map(data.order.map((id, i) => [id, i]));
let picture, frame = { x: 0, y: 0, w: 100, h: 100 };

// ---- what a reader may see at this step
const madeAt = new Map(), pulledAt = new Map();
data.order.forEach((id, i) => {
  for (const w of gates[id].outputs) madeAt.set(w, i + 1);
});
data.order.forEach((id, i) => gates[id].inputs.forEach((w) => {
  if (!pulledAt.has(w)) pulledAt.set(w, steps - i); // a wire's gradient is whole once its first user has sent its share
}));
gates.forEach((gate) => { // the inside of a rule is known when the rule is
  if (gate.inside === undefined) return;
  const at = data.order.indexOf(gate.inside);
  for (const w of gate.outputs) madeAt.set(w, at + 1);
  for (const w of [...gate.inputs, ...gate.outputs]) pulledAt.set(w, steps - at);
});
const wasPulled = (g) => steps - (rank.get(gates[g].inside ?? g) ?? last) <= state.step; // whether its gradients were sent back
const knowsValue = (w) => (madeAt.get(w) ?? 0) <= state.step;
const knowsGradient = (w) => (pulledAt.get(w) ?? last + 1) <= state.step;
const hidden = (key) => state.guess && !state.guessed.has(key);
const shown = (w, which) => {
  const wire = wires[w], text = (state.exact && wire.exact ? wire.exact[which] : null) ?? (which ? wire.gradient : wire.value);
  return text;
};
const valueNow = (w) => (knowsValue(w) ? (hidden("v" + w) && wires[w].kind === "value" ? "?" : shown(w, 0)) : "");
const gradientNow = (w) => (knowsGradient(w) && wires[w].gradient ? (hidden("g" + w) ? "?" : shown(w, 1)) : "");
const partNow = (w, text) => (text && knowsGradient(w) ? (hidden("g" + w) ? "?" : text) : ""); // a share, a local derivative
const texts = {
  edge: (edge) => [
    () => (edge.live ? valueNow(edge.wire) : knowsValue(nodeOf(edge.to)?.wire ?? -1) ? edge.above : ""), // a local derivative
    () => (edge.live ? gradientNow(edge.wire) : partNow(edge.wire, edge.below)),
    () => (knowsGradient(edge.wire) && !hidden("g" + edge.wire) ? edge.share : ""),
  ],
  line: ([text, w, which, head]) => () =>
    which === "value" ? head + valueNow(w) : which === "gradient" ? head + gradientNow(w) : which === "share" ? head + partNow(w, text.slice(head.length)) : text,
};
const isOpen = (part) => state.open.has(part.box);

// ---- where things are, in each view: the boxes around each node, the nodes of each gate and each wire
const atlas = {};
function here() {
  return (atlas[state.view] ??= walked(data.views[state.view]));
}
function walked(root) {
  const nodes = new Map(), around = new Map(), boxOf = new Map(), ofGate = new Map(), ofWire = new Map();
  (function walk(part, path) {
    for (const [id, node] of Object.entries(part.nodes)) {
      nodes.set(id, node);
      around.set(id, path);
      if (node.gate >= 0) ofGate.set(node.gate, [...(ofGate.get(node.gate) ?? []), id]);
      if (node.wire >= 0 && node.kind !== "port") ofWire.set(node.wire, [...(ofWire.get(node.wire) ?? []), id]);
      if (node.inside) {
        boxOf.set(node.inside.box, id);
        walk(node.inside, [...path, node.inside.box]);
      }
    }
  })(root, []);
  return { nodes, around, boxOf, ofGate, ofWire, layers: [...ofGate.keys()].sort((a, b) => b - a) };
}
const nodeOf = (id) => here().nodes.get(id);
const gateAt = (id) => { const gate = nodeOf(id)?.gate ?? -1; return gate < 0 ? null : gate; };
function visible(id) { // the node itself, or the closed box that holds it
  for (const box of here().around.get(id) ?? []) if (!state.open.has(box)) return here().boxOf.get(box);
  return id;
}
function currentGate() {
  if (state.chosen !== null) return state.chosen;
  if (!state.step || state.step > steps) return null;
  return data.order[state.step <= last ? state.step - 1 : steps - state.step];
}
// The nodes at which something happens in this step: a gate, the node it makes, the gradients it sends back, its layer.
function nodesNow() {
  const g = currentGate(), { ofGate, ofWire, layers } = here();
  if (g === null) return [];
  if (state.view === "circuit") return ofGate.get(g) ?? [];
  if (state.view === "deltas") return ofGate.get(layers.find((layer) => layer <= g) ?? layers[layers.length - 1]) ?? [];
  const back = state.view === "chain" && state.chosen === null && state.step > last;
  return (back ? gates[g].inputs : gates[g].outputs).flatMap((w) => ofWire.get(w) ?? []);
}

// ---- drawing
function redraw(fit) {
  picture = compose(data.views[state.view], isOpen, state.exact);
  canvas.replaceChildren();
  changing.clear();
  const defs = element("defs"), tip = element("marker", { id: "arrowhead", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 10, markerHeight: 10, markerUnits: "userSpaceOnUse", orient: "auto" });
  tip.append(element("path", { d: "M0 .8 7.5 4 0 7.2z", fill: "var(--line)" }));
  defs.append(tip);
  canvas.append(defs, drawPart(picture, texts));
  refresh(); // first, since a legend of two lines leaves less room
  if (fit) all(READABLE);
}
function refresh() {
  const now = new Set(nodesNow().map(visible)), hits = new Set(state.hits), chosen = currentGate();
  refreshTexts();
  for (const item of canvas.querySelectorAll(".item")) {
    const id = item.dataset.id, at = gateAt(id), cls = item.classList;
    cls.toggle("now", now.has(id));
    cls.toggle("dim", at !== null && gates[at].inside === undefined && state.step < last && rank.get(at) >= state.step && at !== chosen);
    cls.toggle("hit-by-search", hits.has(id));
    cls.toggle("wrong", nodeOf(id)?.badge === "✗" && !cls.contains("open"));
  }
  paint();
  $("slider").value = state.step;
  $("at").textContent = state.step === 0 ? "start" : state.step > last ? `back ${state.step - last} of ${last}` : `forward ${state.step} of ${last}`;
  panel();
}

// ---- colours: always with a width, a dash or a sign as well
const LEGENDS = {
  circuit: "above a wire: its value; below, italic: the gradient of the output",
  flowgraph: "in a node: value, gradient; on an arrow: local derivative above, the share of the gradient it brings below",
  deltas: "one card a layer; delta is the gradient at its pre-activation",
  chain: "each gradient as the chain rule makes it; arrows lead to where it is used again",
  value: "a thicker, warmer wire carries larger values; dotted: zero",
  gradient: "a thicker, warmer wire carries a larger gradient; dotted: zero",
  health: "dashed: an activation saturated or mostly zero, or a gradient 100,000 times below the largest; thickest: not finite",
  disagreement: "thick: by hand and by autodiff differ; ✗ a wrong gate, ∧ a kink, ? undecided",
};
const finite = [0, 1].map((index) => {
  const sizes = wires.map((w) => w.size[index]).filter((s) => s !== null && s < 99);
  return [sizes.reduce((a, b) => Math.min(a, b), Infinity), sizes.reduce((a, b) => Math.max(a, b), -Infinity)];
});
function paint() {
  const mode = state.colour, index = mode === "value" ? 0 : 1, [low, high] = finite[index];
  for (const line of mode === painted && mode === "none" ? [] : canvas.querySelectorAll(".wire")) {
    const w = wires[+line.dataset.wire], size = w.size[index];
    let stroke = "", width = "", dash = "";
    if (mode === "value" || mode === "gradient") {
      const t = size === null ? 0 : high > low ? (Math.min(size, high) - low) / (high - low) : 0.5;
      [stroke, width, dash] = [`color-mix(in oklab, var(--plus) ${Math.round(100 * t)}%, var(--minus))`, 1 + 4 * t, size === null ? "1 4" : size === 99 ? "8 3" : ""];
    } else if (mode === "health") {
      const dead = w.saturated !== null && (w.saturated > 0.5 || w.zeros > 0.9); // zeros of a bias or a state are none
      const sick = dead || (size !== null && size < high - 5) || (w.gradient && size === null);
      if (w.size.includes(99)) [stroke, width] = ["var(--wrong)", 5];
      else if (sick) [stroke, width, dash] = ["var(--now)", 3, "6 4"];
    } else if (mode === "disagreement" && w.gap !== null) {
      if (w.gap > 1e-4) [stroke, width] = ["var(--wrong)", 4];
      else [stroke, width] = ["var(--value)", 2];
    }
    line.style.stroke = stroke;
    line.style.strokeWidth = width;
    line.style.strokeDasharray = dash;
  }
  painted = mode;
  $("legend").textContent = LEGENDS[mode === "none" ? state.view : mode];
}
let painted = "none";
