// How the picture changes when a box opens. layout.py arranges each subgraph once, with its boxes closed: here nothing
// is arranged, only added up.
//
// Across: a column is as wide as its widest node, an open box counting with the width of its inside; the gap on its
// right stays. Up and down: an open box needs the height of its inside. What is missing is inserted as empty bands
// through the whole subgraph, half of it at the box's upper edge and half at its lower edge, less what other boxes
// have inserted between the two. Everything moves with the band it stands in, so order and distances stay as they were.
// An edge is fixed to its two nodes (to their ports while they are open) and moves with the bands where it bends.
"use strict";

// The empty bands as [height where it is inserted, how much]: boxes in order of their lower edges.
function bandsOf(part, insides) {
  const bands = [], open = [...insides].map(([id, inside]) => ({ node: part.nodes[id], needs: inside.height }));
  const top = ({ y, h }) => y - h / 2, bottom = ({ y, h }) => y + h / 2;
  open.sort((a, b) => bottom(a.node) - bottom(b.node));
  for (const { node, needs } of open) {
    const between = bands.filter(([y]) => top(node) <= y && y <= bottom(node));
    const missing = needs - node.h - between.reduce((sum, [, extra]) => sum + extra, 0);
    if (missing > 0) bands.push([top(node), missing / 2], [bottom(node), missing / 2]);
  }
  return bands;
}

// A picture of a subgraph: placed nodes and routes from (0, 0), and its size. `isOpen(part)` says which boxes are open,
// `exact` whether numbers are unrounded, which takes wider columns.
function compose(part, isOpen, exact) {
  const width = (widths) => (exact ? widths[1] ?? widths[0] : widths[0]), insides = new Map(), picture = { part, nodes: {}, routes: [], width: 0, height: 0 };
  for (const [id, node] of Object.entries(part.nodes))
    if (node.inside && isOpen(node.inside)) insides.set(id, compose(node.inside, isOpen, exact));
  const bands = bandsOf(part, insides);
  const above = (y) => bands.reduce((sum, [at, extra]) => sum + (at < y ? extra : 0), 0);
  const moved = (y) => y + above(y);

  const widths = part.gaps.map(() => 0), left = [], right = [];
  for (const [id, node] of Object.entries(part.nodes))
    widths[node.column] = Math.max(widths[node.column], insides.get(id)?.width ?? width(node.w));
  let x = data.pad;
  part.gaps.forEach((gap, k) => {
    left.push(x);
    right.push((x += widths[k]));
    x += width(gap);
  });
  picture.width = Math.max(x + data.pad, part.least);
  picture.height = part.height + bands.reduce((sum, [, extra]) => sum + extra, 0);

  for (const [id, node] of Object.entries(part.nodes)) {
    const inside = insides.get(id), w = inside?.width ?? width(node.w), h = inside?.height ?? node.h;
    let middle = moved(node.y), x = (left[node.column] + right[node.column] - w) / 2;
    if (inside) middle = (moved(node.y - node.h / 2) + moved(node.y + node.h / 2 + 1e-3)) / 2;
    if (node.side) x = (node.side === "entry" ? 0 : picture.width) - w / 2;
    picture.nodes[id] = { id, node, x, y: middle - h / 2, w, h, inside };
  }
  for (const edge of part.edges) {
    const source = picture.nodes[edge.from], target = picture.nodes[edge.to], lead = width(edge.lead), tail = width(edge.tail);
    const start = [source.x + source.w, heightAt(source, edge.exit, edge.start)], end = [target.x, heightAt(target, edge.entry, edge.end)];
    // Level within a column, so that it crosses no wider node above or below.
    const points = [start, [Math.max(right[source.node.column], start[0] + (lead ? lead + 8 : 0)), start[1]]];
    for (const [column, y] of edge.bends) points.push([left[column], moved(y)], [right[column], moved(y)]);
    points.push([Math.min(left[target.node.column], end[0] - (tail ? tail + 16 : 0)), end[1]]);
    points.push(end);
    picture.routes.push({ edge, points });
  }
  return picture;
}

function heightAt(placed, port, offset) {
  const inside = placed.inside?.nodes[port];
  return placed.y + (inside ? inside.y + inside.h / 2 : placed.h / 2 + offset);
}
