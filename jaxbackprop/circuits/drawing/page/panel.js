// The panel beside the picture: the arithmetic of the current gate spelled out, guessing, heat maps.
"use strict";
function line(parent, tag, text, cls) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (cls) made.className = cls;
  parent.append(made);
  return made;
}
const HOW_TO_STEP = "→ computes the next gate; once all values are known, → goes back gate by gate, and each gate multiplies what arrives by its local gradient. ? shows the keys.";
function panel() {
  const side = $("panel"), g = currentGate();
  side.replaceChildren();
  if (state.guess) line(side, "p", `quiz: ${score.right} right, ${score.wrong} wrong, ${score.shown} shown, ${leftToGuess()} left`, "quiz");
  if (data.wrong.length) line(side, "p", `The first wrong gate on the way back is ${gates[data.wrong[0]].name}.`, "bad");
  if (g === null) {
    line(side, "h2", "Step through it");
    return line(side, "p", HOW_TO_STEP);
  }
  const gate = gates[g], back = wasPulled(g);
  line(side, "h2", `${gate.name}${gate.kind === "rule" ? ", a rule derived by hand" : ""}`);
  if (gate.box) line(side, "p", gate.box);
  line(side, "h3", "forward");
  const known = gate.outputs.every(knowsValue), hiddenV = gate.outputs.some((w) => hidden("v" + w));
  line(side, "div", gate.formula, "sum");
  if (known && !hiddenV) line(side, "div", gate.numbers || gate.outputs.map((w) => `${wires[w].name} = ${shown(w, 0)}`).join("\n"), "sum v");
  if (known && hiddenV) gate.outputs.forEach((w) => guess(side, w, 0));
  if (back) {
    line(side, "h3", "backward: local gradient × upstream");
    gate.inputs.forEach((w, slot) => {
      if (!gate.back[slot]) return;
      if (hidden("g" + w)) return guess(side, w, 1);
      const text = (state.exact && gate.exact[slot]) || gate.back[slot];
      line(side, "div", `${wires[w].name}: ${text}`, "sum g");
      if (wires[w].sum && knowsGradient(w)) line(side, "div", `fork: ${wires[w].sum}`, "sum g");
    });
  }
  if (!known) line(side, "p", "Its numbers are computed at a later step.");
  else if (!back) line(side, "p", "Its gradients are computed on the way back.");
  if (live?.changed) line(side, "p", "Computed again in this page: autodiff's gradients are known for the first values alone.");
  else if (gate.verdict === "agrees") line(side, "p", "By hand and by autodiff it is the same.");
  else if (gate.verdict) line(side, "p", `${gate.verdict}: ${gate.detail}`, "bad");
  if (gate.note) line(side, "p", gate.note);
  for (const w of gate.outputs) maps(side, w, back);
  if (state.step === 1) line(side, "p", HOW_TO_STEP);
  if (gate.source) line(side, "p", gate.source).style.fontSize = "12px";
  if (gate.defined) line(side, "p", `rule at ${gate.defined}`).style.fontSize = "12px";
}
function maps(side, w, back) {
  const wire = wires[w];
  if (wire.map?.[0] && knowsValue(w) && !hidden("v" + w)) side.append(drawMap(wire.map[0], `value of ${wire.name} ${wire.shape}`));
  if (wire.map?.[1] && back && !hidden("g" + w)) side.append(drawMap(wire.map[1], `its gradient`));
}
// ---- the quiz: every number is an answer to be given, and is graded
const score = { right: 0, wrong: 0, shown: 0 };
const leftToGuess = () => wires.slice(0, data.wires_of_the_whole).reduce((left, wire, w) =>
  left + (wire.kind === "value" && !state.guessed.has("v" + w)) + (wire.gradient !== "" && !state.guessed.has("g" + w)), 0);
function guess(side, w, which) {
  const key = (which ? "g" : "v") + w, right = shown(w, which), row = line(side, "div", "", "guess");
  line(row, "span", `${which ? "gradient of " : ""}${wires[w].name} =`);
  const input = document.createElement("input"), button = document.createElement("button"), verdict = document.createElement("span");
  input.setAttribute("aria-label", `guess ${key}`);
  button.textContent = "show";
  const target = numbersIn(right);
  input.addEventListener("change", () => {
    if (input.value.trim() === "") return;
    const mine = numbersIn(input.value), close = sameNumbers(mine, target);
    score[close ? "right" : "wrong"] += 1;
    if (close) return reveal(key);
    side.querySelector(".quiz").textContent = `quiz: ${score.right} right, ${score.wrong} wrong, ${score.shown} shown, ${leftToGuess()} left`;
    verdict.textContent = sameNumbers(mine.map((x) => -x), target) ? "the sign is turned" : "not yet";
  });
  button.addEventListener("click", () => { score.shown += 1; reveal(key); });
  if (target.some(Number.isNaN)) row.append(button); // only the size of a large array is shown
  else row.append(input, button, verdict);
}
// One number or a vector in brackets.
const numbersIn = (text) => text.replaceAll("−", "-").trim().replace(/^\[(.*)\]$/, "$1").split(",").map((x) => (x.trim() === "" ? NaN : Number(x)));
// As the lectures print: to two decimals, or to two digits where a number is small.
const sameNumber = (mine, right) => { const size = Math.abs(right); return Math.abs(mine - right) <= Math.min(Math.max(0.011 * size, 0.0055), 0.055 * size); };
const sameNumbers = (mine, right) => mine.length === right.length && right.every((x, i) => sameNumber(mine[i], x));
const reveal = (key) => { state.guessed.add(key); refresh(); };
