// What the reader does: steps, keys, pointer, search, tooltips.
"use strict";
function go(step) {
  state.chosen = null;
  state.step = Math.max(0, Math.min(steps, step));
  refresh();
  follow();
}
let playing = null;
function play() {
  if (playing) return stop();
  if (state.step >= steps) go(0);
  playing = setInterval(() => (state.step >= steps ? stop() : go(state.step + 1)), 900);
  document.querySelector("[data-step=play]").textContent = "❚❚";
}
function stop() {
  clearInterval(playing);
  playing = null;
  document.querySelector("[data-step=play]").textContent = "▶▶";
}
const STEPS = { first: () => go(0), back: () => go(state.step - 1), play, next: () => go(state.step + 1), last: () => go(steps) };
for (const button of document.querySelectorAll("[data-step]"))
  button.addEventListener("click", () => { if (button.dataset.step !== "play") stop(); STEPS[button.dataset.step](); });
$("slider").max = steps;
$("slider").addEventListener("input", (e) => { stop(); go(+e.target.value); });

// ---- boxes
function toggle(box) {
  const id = here().boxOf.get(box), before = anchor(id);
  state.open.has(box) ? state.open.delete(box) : state.open.add(box);
  redraw(false);
  const after = anchor(id);
  if (before && after) look({ ...frame, x: frame.x + after[0] - before[0], y: frame.y + after[1] - before[1] });
}
function anchor(id) { // where an item's left top corner stands, so that it stays there when it opens
  const item = [...canvas.querySelectorAll(".item")].find((i) => i.dataset.id === id);
  if (!item) return null;
  const rect = item.querySelector(".frame").getBoundingClientRect(), at = toCanvas(rect.left, rect.top);
  return [at.x, at.y];
}
const DRAWABLE = 3000; // items that stay quick to draw and to step through
function allBoxes() { // outer boxes first, so that what stays closed is the innermost
  const boxes = [...here().boxOf.keys()].filter((box) => box >= 0), held = (part) => Object.keys(part.nodes).length;
  const close = boxes.some((box) => state.open.has(box));
  let drawn = held(data.views[state.view]);
  state.open = new Set();
  for (const box of close ? [] : boxes) {
    const id = here().boxOf.get(box), inside = held(nodeOf(id).inside);
    if (drawn + inside > DRAWABLE || !here().around.get(id).every((outer) => state.open.has(outer))) continue;
    drawn += inside;
    state.open.add(box);
  }
  redraw(true);
  const left = boxes.length - state.open.size;
  notice(close || !left ? "" : `${state.open.size} of ${boxes.length} boxes are open: all of them would be too much to draw. Open others by a click, or find them by search.`);
}
function notice(text) {
  $("note").textContent = text;
  $("note").hidden = !text;
}

// ---- looking: fit, pan, zoom
function look(to) {
  frame = to;
  canvas.setAttribute("viewBox", `${to.x} ${to.y} ${to.w} ${to.h}`);
}
const READABLE = 0.7; // the scale below which numbers cannot be read
function all(least = 0) {
  const { clientWidth: w, clientHeight: h } = canvas, margin = 24;
  const fit = Math.min(2, w / (picture.width + margin), h / (picture.height + 2 * margin)), scale = fit < least ? 1 : fit;
  const fw = w / scale, fh = h / scale, wide = picture.width + margin > fw;
  let y = (picture.height - fh) / 2;
  if (picture.height > fh) { // too high to be seen whole: where the first nodes stand
    const first = Object.values(picture.nodes).filter((placed) => placed.x < fw / 2), middle = (placed) => placed.y + Math.min(placed.h, fh) / 2;
    y = first.reduce((sum, placed) => sum + middle(placed), 0) / first.length - fh / 2;
    y = Math.max(-margin, Math.min(y, picture.height + margin - fh));
  }
  look({ x: wide ? -margin / 2 : (picture.width - fw) / 2, y, w: fw, h: fh });
}
function follow() { // bring what is current into view when a step has left it
  const item = canvas.querySelector(".item.now"), id = item?.dataset.id;
  if (!item) return;
  const at = item.getBoundingClientRect(), stage = canvas.getBoundingClientRect();
  if (at.left < stage.left || at.right > stage.right || at.top < stage.top || at.bottom > stage.bottom) centre(id);
}
function zoom(factor, x, y) {
  const at = x === undefined ? { x: frame.x + frame.w / 2, y: frame.y + frame.h / 2 } : toCanvas(x, y);
  look({ x: at.x - (at.x - frame.x) * factor, y: at.y - (at.y - frame.y) * factor, w: frame.w * factor, h: frame.h * factor });
}
function toCanvas(x, y) {
  const rect = canvas.getBoundingClientRect();
  return { x: frame.x + ((x - rect.left) / rect.width) * frame.w, y: frame.y + ((y - rect.top) / rect.height) * frame.h };
}
function centre(id) {
  const item = [...canvas.querySelectorAll(".item")].find((i) => i.dataset.id === id);
  if (!item) return;
  const rect = item.getBoundingClientRect(), at = toCanvas(rect.left + rect.width / 2, rect.top + rect.height / 2);
  const w = Math.min(frame.w, canvas.clientWidth), h = (w * frame.h) / frame.w;
  look({ x: at.x - w / 2, y: at.y - h / 2, w, h });
}
canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoom(Math.exp(e.deltaY * 0.0015), e.clientX, e.clientY); }, { passive: false });
const fingers = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", (e) => { fingers.set(e.pointerId, [e.clientX, e.clientY]); moved = 0; });
canvas.addEventListener("pointermove", (e) => {
  const before = fingers.get(e.pointerId);
  if (!before) return hover(e);
  const scale = frame.w / canvas.clientWidth, dx = e.clientX - before[0], dy = e.clientY - before[1];
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  const apart = fingers.size === 2 ? spread() : 0;
  moved += Math.abs(dx) + Math.abs(dy);
  fingers.set(e.pointerId, [e.clientX, e.clientY]);
  if (fingers.size === 2) zoom(apart / Math.max(1, spread()), e.clientX, e.clientY);
  else if (moved > 4) look({ ...frame, x: frame.x - dx * scale, y: frame.y - dy * scale });
});
for (const kind of ["pointerup", "pointercancel", "pointerleave"]) canvas.addEventListener(kind, (e) => { fingers.delete(e.pointerId); if (kind === "pointerleave") $("tip").hidden = true; });

// ---- choosing and hovering
function choose(target) {
  const bar = target.closest(".bar"), item = target.closest(".item");
  if (!item) return;
  const id = item.dataset.id, part = nodeOf(id)?.inside;
  if (bar || (item.classList.contains("box") && part)) return toggle(part.box);
  const gate = gateAt(id);
  if (gate === null || item.classList.contains("open")) return;
  if (part && state.chosen === gate) return toggle(part.box); // the second time, a rule opens
  state.chosen = gate;
  refresh();
}
canvas.addEventListener("click", (e) => { if (moved <= 4) choose(e.target); });
function hover(e) {
  const on = e.target.closest?.("[data-wire]"), tip = $("tip");
  tip.hidden = !on;
  if (!on) return;
  tip.textContent = wireText(+on.dataset.wire);
  tip.style.left = Math.min(e.clientX + 14, innerWidth - Math.min(430, tip.offsetWidth + 10)) + "px";
  tip.style.top = Math.min(e.clientY + 16, innerHeight - tip.offsetHeight - 8) + "px";
}
function wireText(w) {
  const wire = wires[w], exact = wire.exact ?? [wire.value, wire.gradient, ""], lines = [`${wire.name}  ${wire.shape} ${wire.dtype}`];
  if (knowsValue(w)) lines.push(`value     ${hidden("v" + w) ? "?" : exact[0]}`);
  if (knowsGradient(w) && wire.gradient) {
    lines.push(`gradient  ${hidden("g" + w) ? "?" : exact[1]}`);
    if (wire.gap !== null && !hidden("g" + w)) lines.push(`autodiff  ${exact[2]}`);
    if (wire.sum && !hidden("g" + w)) lines.push(`fork      ${wire.sum}`);
  }
  if (wire.saturated !== null && knowsGradient(w)) lines.push(`saturated ${Math.round(100 * wire.saturated)} %`);
  return lines.join("\n");
}

// ---- search: gates, and the labels, nodes and cards of wires
const NOT_SEARCHED = new Set(["box", "port", "literal", "output"]);
function search(next) {
  const text = $("search").value.trim().toLowerCase();
  const names = (node) => [node.title, ...(node.gate < 0 ? [] : [gates[node.gate].name, gates[node.gate].box, ...gates[node.gate].outputs.map((w) => wires[w].name)])];
  const found = ([, node]) => !NOT_SEARCHED.has(node.kind) && gates[node.gate]?.inside === undefined && names(node).some((n) => n.toLowerCase().includes(text));
  state.hits = text ? [...here().nodes].filter(found).map(([id]) => id) : [];
  state.hit = next && state.hits.length ? (state.hit + 1) % state.hits.length : -1;
  $("found").textContent = text ? (next && state.hits.length ? `${state.hit + 1}/${state.hits.length}` : `${state.hits.length}`) : "";
  if (!next || !state.hits.length) return refresh();
  const id = state.hits[state.hit];
  for (const box of here().around.get(id)) state.open.add(box);
  state.chosen = gateAt(id);
  redraw(false);
  centre(id);
}
$("search").addEventListener("input", () => search(false));
$("search").addEventListener("keydown", (e) => { if (e.key === "Enter") search(true); });

// ---- switches
function theme(dark) { document.documentElement.dataset.theme = dark ? "dark" : "light"; }
function pressed(id, on) { $(id).setAttribute("aria-pressed", on); return on; }
const SWITCHES = {
  exact: () => { state.exact = pressed("exact", !state.exact); redraw(true); },
  guess: () => { state.guess = pressed("guess", !state.guess); state.guessed.clear(); Object.assign(score, { right: 0, wrong: 0, shown: 0 }); redraw(false); },
  boxes: allBoxes,
  dark: () => theme(document.documentElement.dataset.theme !== "dark"),
  help: () => $("keys").showModal(),
};
for (const [id, act] of Object.entries(SWITCHES)) $(id).addEventListener("click", act);
$("colour").addEventListener("change", (e) => { state.colour = e.target.value; paint(); });
const nextColour = () => { const s = $("colour"); s.selectedIndex = (s.selectedIndex + 1) % s.length; state.colour = s.value; paint(); };
const KEYS = { ArrowRight: STEPS.next, ArrowLeft: STEPS.back, Home: STEPS.first, End: STEPS.last, " ": play, "/": () => $("search").focus(), o: allBoxes, c: nextColour, v: () => nextView(),
  n: SWITCHES.exact, g: SWITCHES.guess, d: SWITCHES.dark, "?": SWITCHES.help, "+": () => zoom(0.8), "-": () => zoom(1.25), 0: () => all() };
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, select, dialog *")) { if (e.key === "Escape") e.target.blur(); return; }
  if (e.key === "Enter" && e.target.closest?.("#canvas")) { const id = e.target.closest(".item")?.dataset.id; choose(e.target); focusOn(id); return e.preventDefault(); }
  if (e.key === " " && e.target.matches("button")) return;
  if (KEYS[e.key]) { e.preventDefault(); if (e.key !== " ") stop(); KEYS[e.key](); }
});
function focusOn(id) {
  const item = [...canvas.querySelectorAll(".item")].find((i) => i.dataset.id === id);
  (item?.querySelector(".bar") ?? item)?.focus();
}

// ---- views: four ways to draw one circuit, at the same step
for (const name of Object.keys(data.views)) {
  const tab = line(document.querySelector(".tabs"), "button", name);
  tab.addEventListener("click", () => show(name));
  tab.dataset.view = name;
}
function show(name) {
  state.view = name;
  for (const tab of document.querySelectorAll(".tabs button")) tab.setAttribute("aria-selected", tab.dataset.view === name);
  notice("");
  redraw(true);
  search(false);
}
function nextView() {
  const names = Object.keys(data.views);
  show(names[(names.indexOf(state.view) + 1) % names.length]);
}
liveInputs();
theme(matchMedia("(prefers-color-scheme: dark)").matches);
addEventListener("resize", () => all(READABLE));
show("circuit");
