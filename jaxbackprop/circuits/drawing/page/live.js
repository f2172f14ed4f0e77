// Live: a reader changes an argument, and the circuit of scalars is computed again here, forward and backward.
"use strict";
// Each gate as [f(inputs), its local derivatives (inputs, output)].
const sigma = (x) => 1 / (1 + Math.exp(-x));
const ARITHMETIC = {
  add: [(x, y) => x + y, () => [1, 1]], sub: [(x, y) => x - y, () => [1, -1]],
  mul: [(x, y) => x * y, ([x, y]) => [y, x]], div: [(x, y) => x / y, ([, y], f) => [1 / y, -f / y]],
  neg: [(x) => -x, () => [-1]], exp: [Math.exp, (_, f) => [f]], log: [Math.log, ([x]) => [1 / x]],
  sin: [Math.sin, ([x]) => [Math.cos(x)]], cos: [Math.cos, ([x]) => [-Math.sin(x)]],
  tanh: [Math.tanh, (_, f) => [1 - f * f]], sigmoid: [sigma, (_, f) => [f * (1 - f)]],
  relu: [(x) => Math.max(x, 0), ([x]) => [x > 0 ? 1 : 0]], square: [(x) => x * x, ([x]) => [2 * x]],
  sqrt: [Math.sqrt, (_, f) => [0.5 / f]], reciprocal: [(x) => 1 / x, (_, f) => [-f * f]],
  max: [Math.max, ([x, y]) => (x === y ? [0.5, 0.5] : x > y ? [1, 0] : [0, 1])],
  min: [Math.min, ([x, y]) => (x === y ? [0.5, 0.5] : x < y ? [1, 0] : [0, 1])],
  power: [Math.pow, ([x, y], f) => [y === 0 ? 0 : y * x ** (y - 1), f === 0 ? 0 : f * Math.log(x)]],
};
// As format.py writes numbers: to so many significant digits, or unrounded.
function written(x, digits) {
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const exponent = Math.floor(Math.log10(Math.abs(+x.toPrecision(digits))));
  let text = digits === undefined ? String(x) : exponent < -4 || exponent >= digits ? x.toExponential(digits - 1) : String(+x.toPrecision(digits));
  text = text.replace(/\.?0+e/, "e").replace(/e([-+])(\d)$/, "e$10$2");
  return text.replaceAll("-", "−");
}
const live = data.live && { values: [...data.live.values], shares: new Map() };
function compute() {
  const { values, shares } = live, gradients = values.map(() => 0), locals = [];
  for (const g of data.order) values[gates[g].outputs[0]] = ARITHMETIC[gates[g].name][0](...gates[g].inputs.map((w) => values[w]));
  gradients[data.outputs[0]] = data.live.upstream;
  shares.clear();
  for (const g of [...data.order].reverse()) {
    const { inputs, outputs, name } = gates[g], inputValues = inputs.map((w) => values[w]);
    locals[g] = ARITHMETIC[name][1](inputValues, values[outputs[0]]);
    inputs.forEach((w, slot) => {
      const share = locals[g][slot] * gradients[outputs[0]];
      gradients[w] += share;
      shares.set(`${g}.${slot}`, share);
    });
  }
  rewrite(gradients, locals);
}
function rewrite(gradients, locals) { // every text that shows one of these numbers
  const { values, shares } = live, uses = new Map();
  data.order.forEach((g) => gates[g].inputs.forEach((w, slot) => uses.set(w, [...(uses.get(w) ?? []), shares.get(`${g}.${slot}`)])));
  wires.slice(0, values.length).forEach((wire, w) => {
    const both = [values[w], gradients[w]], hasGradient = wire.kind !== "literal";
    wire.value = written(values[w], 4);
    wire.gradient = hasGradient ? written(gradients[w], 4) : "";
    if (wire.exact) wire.exact = [written(values[w]), hasGradient ? written(gradients[w]) : "", ""];
    wire.gap = null;
    wire.size = both.map((x, i) => (i && !hasGradient ? null : !Number.isFinite(x) ? 99 : x === 0 ? null : Math.log10(Math.abs(x))));
    const parts = uses.get(w) ?? [];
    wire.sum = parts.length > 1 && hasGradient ? `${parts.map((x) => written(x, 4)).join(" + ").replaceAll("+ −", "− ")} = ${wire.gradient}` : "";
  });
  data.order.forEach((g) => {
    const gate = gates[g], out = gate.outputs[0], bracketed = (w, i) => { const text = wires[w].value; return i && text.startsWith("−") ? `(${text})` : text; };
    const left = gate.inputs.map(bracketed);
    gate.numbers = `${left.length === 2 && "+−×÷".includes(gate.sign) ? left.join(` ${gate.sign} `) : gate.name === "neg" ? `−(${left[0]})` : `${gate.name}(${gate.inputs.map((w) => wires[w].value).join(", ")})`} = ${wires[out].value}`;
    const back = (digits) => gate.inputs.map((w, slot) => (wires[w].kind === "literal" ? "" : `${written(locals[g][slot], digits)} × ${written(gradients[out], digits)} = ${written(shares.get(`${g}.${slot}`), digits)}`));
    [gate.back, gate.exact] = [back(4), back()];
  });
  const edges = (part) => [...part.edges, ...Object.values(part.nodes).flatMap((node) => (node.inside ? edges(node.inside) : []))];
  for (const [view, root] of Object.entries(data.views)) for (const edge of edges(root)) {
    const g = view === "flowgraph" ? (nodeIn(root, edge.to)?.gate ?? -1) : +(edge.to.match(/^g(\d+)$/)?.[1] ?? -1), share = shares.get(`${g}.${edge.slot}`);
    if (share === undefined) continue;
    if (edge.share) edge.share = written(share, 4);
    if (view === "flowgraph" && edge.above) [edge.above, edge.below] = [written(locals[g][edge.slot], 4), written(share, 4)];
  }
}
const nodeIn = (part, id) => part.nodes[id] ?? Object.values(part.nodes).map((node) => node.inside && nodeIn(node.inside, id)).find(Boolean);
function closeRules(part) { // their insides are not computed again
  for (const node of Object.values(part.nodes)) {
    if (node.kind === "rule" && node.inside) state.open.delete(node.inside.box), delete node.inside;
    if (node.inside) closeRules(node.inside);
  }
}
function change(w, text) {
  const value = text.trim() === "" ? NaN : Number(text.replaceAll("−", "-"));
  if (Number.isNaN(value)) return;
  if (!live.changed) Object.values(data.views).forEach(closeRules);
  for (const view of Object.keys(atlas)) delete atlas[view];
  live.changed = true;
  live.values[w] = value;
  compute();
  state.guessed.clear();
  redraw(false);
}
function liveInputs() {
  if (!live) return;
  const box = $("live");
  box.hidden = false;
  for (const w of data.live.arguments) {
    const label = line(box, "label", `${wires[w].name} `), input = document.createElement("input");
    Object.assign(input, { type: "number", step: "any", value: (wires[w].exact?.[0] ?? wires[w].value).replaceAll("−", "-") });
    input.setAttribute("aria-label", `value of ${wires[w].name}`);
    input.addEventListener("input", () => change(w, input.value));
    label.append(input);
  }
}
