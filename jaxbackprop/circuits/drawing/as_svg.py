"""The picture as SVG: values above the wires, gradients below them, as the lectures draw it.

Follows the reader's light or dark setting; says by place and by sign whatever it says by colour.
"""

from collections.abc import Collection
from html import escape
from typing import Any

from .graph import plan
from .layout import Picture, Placed, Route, place

STYLE = """
:root{color-scheme:light dark}
.jbp{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;
--ink:#1c2330;--soft:#66708a;--paper:#fff;--card:#f5f7fb;
--line:#8a94a8;--value:#0a7d3b;--gradient:#c02138;--rule:#5b3fc4;--box:#e9edf5;--wrong:#d1002f}
@media(prefers-color-scheme:dark){.jbp{--ink:#e6eaf2;--soft:#9aa5bd;--paper:#12151c;--card:#1c212c;--line:#6c778f;
--value:#5fd38d;
--gradient:#ff8095;--rule:#a892ff;--box:#1a2030;--wrong:#ff5470}}
.jbp .paper{fill:var(--paper)}.jbp text{fill:var(--ink)}.jbp .wire{fill:none;stroke:var(--line);stroke-width:1.4}
.jbp .gate{fill:var(--card);stroke:var(--ink);stroke-width:1.4}
.jbp .rule{fill:var(--card);stroke:var(--rule);stroke-width:2}
.jbp .label,.jbp .node,.jbp .card{fill:var(--card);stroke:var(--line)}.jbp .literal{fill:none;stroke:none}
.jbp .box{fill:var(--box);fill-opacity:.55;stroke:var(--line);stroke-dasharray:5 3}.jbp .port{fill:var(--line)}
.jbp .sign{font-size:14px;text-anchor:middle}.jbp .mid{text-anchor:middle}.jbp .end{text-anchor:end}
.jbp .title{fill:var(--soft);font-size:11px}
.jbp text.value{fill:var(--value)}.jbp text.gradient{fill:var(--gradient);font-style:italic}
.jbp text.soft{fill:var(--soft)}
.jbp .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.jbp .wrong{stroke:var(--wrong);stroke-width:3}.jbp text.badge{fill:var(--wrong);font-weight:bold}
""".strip()


def to_svg(
    circuit: Any,
    view: str = "circuit",
    digits: int | None = 3,
    *,
    opened: bool | Collection[int] | None = None,
    legend: bool = True,
) -> str:
    """The SVG text of one view, boxes in `opened` (ids; True: all; None: what is readable) drawn open."""
    picture = place(plan(circuit, view, digits), readable(circuit) if opened is None else opened)
    foot = 26 if legend else 0
    width, height = max(picture.width, 360.0 if legend else 0.0), picture.height + foot
    key = {
        "circuit": "above a wire: value; below, italic: gradient of the output",
        "flowgraph": "in a node: value, gradient; on an arrow: local derivative above, share of the gradient below",
        "deltas": "one card a layer; delta is the gradient at its pre-activation",
        "chain": "each gradient as the chain rule makes it; arrows lead to where it is used again",
    }[view]
    body = [_part(picture)]
    if legend:
        width = max(width, 6.8 * len(key) + 24)
        body.append(f'<text class="title" x="12" y="{height - 10:.0f}">{escape(key)}</text>')
    title = escape(f"{circuit.name}: {view}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="jbp" role="img" aria-label="{title}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"><title>{title}</title><style>{STYLE}</style>'
        f'<defs><marker id="jbp-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto">'
        f'<path d="M0 .8 7.5 4 0 7.2z" fill="#8a94a8"/></marker></defs>'
        f'<rect class="paper" width="100%" height="100%"/>{"".join(body)}</svg>'
    )


READABLE = 150
"""A picture of more gates than this has some of its boxes closed."""


def readable(circuit: Any, most: int = READABLE) -> set[int]:
    """The boxes to open: level by level, until the next level would show more gates than one can read."""
    held: dict[Any, int] = {}
    for gate in circuit.gates:
        held[gate.box] = held.get(gate.box, 0) + 1
    levels: dict[int, list[Any]] = {}
    for box in circuit.boxes:
        levels.setdefault(len(box.path), []).append(box)
    total, opened = held.get(None, 0), set()
    for depth in sorted(levels):
        total += sum(held.get(box, 0) + 1 for box in levels[depth])
        if total > most:
            break
        opened |= {box.id for box in levels[depth]}
    return opened


def _part(picture: Picture) -> str:
    lines = [_wire(route, picture) for route in picture.routes]
    items = [_item(placed) for placed in picture.items.values()]
    labels = [_labels(route, picture) for route in picture.routes]
    return "".join(lines + items + labels)


def _wire(route: Route, picture: Picture) -> str:
    (x, y), *rest = route.points
    path = [f"M{x:.1f} {y:.1f}"]
    for nx, ny in rest:
        if abs(ny - y) < 0.05:
            path.append(f"H{nx:.1f}")
        else:
            bend = max((nx - x) / 2, 12)
            path.append(f"C{x + bend:.1f} {y:.1f} {nx - bend:.1f} {ny:.1f} {nx:.1f} {ny:.1f}")
        x, y = nx, ny
    tip = "" if picture.items[route.link.target].item.kind == "port" else ' marker-end="url(#jbp-tip)"'
    return f'<path class="wire" d="{"".join(path)}"{tip}/>'


def _labels(route: Route, picture: Picture) -> str:
    link, made = route.link, []
    (x, y), (ex, ey) = route.points[0], route.points[-1]
    if not link.live and (link.above or link.below):
        x, y = route.points[-2]
    if route.first or not link.live:
        if link.above:
            made.append(f'<text class="value halo" x="{x + 7:.1f}" y="{y - 5:.1f}">{escape(link.above)}</text>')
        if link.below:
            made.append(f'<text class="gradient halo" x="{x + 7:.1f}" y="{y + 14:.1f}">{escape(link.below)}</text>')
    if link.share:  # above an upper entry, below a lower one
        ey += -5 if ey < picture.items[link.target].middle - 1 else 12
        made.append(f'<text class="gradient halo end" x="{ex - 12:.1f}" y="{ey:.1f}">{escape(link.share)}</text>')
    return "".join(made)


def _item(placed: Placed) -> str:
    item, x, y, w, h = placed.item, placed.x, placed.y, placed.w, placed.h
    cx, cy = x + w / 2, y + h / 2
    wrong = " wrong" if item.badge == "✗" else ""
    text = escape(item.title)
    if placed.inside is not None:
        title = " ".join([item.title, *(line.text for line in item.lines)])
        return (
            f'<g transform="translate({x:.1f} {y:.1f})"><rect class="box" width="{w:.1f}" height="{h:.1f}" rx="10"/>'
            f'<text class="title" x="12" y="17">{escape(title)}</text>{_part(placed.inside)}</g>'
        )
    badge = f'<text class="badge halo" x="{x + w - 3:.1f}" y="{y + 4:.1f}">{item.badge}</text>' if item.badge else ""
    if item.kind in ("gate", "rule"):
        shape = f'<rect class="{item.kind}{wrong}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="17"/>'
        return f'{shape}<text class="sign" x="{cx:.1f}" y="{cy + 5:.1f}">{text}</text>{badge}'
    if item.kind == "port":
        return f'<circle class="port" cx="{cx:.1f}" cy="{cy:.1f}" r="3"><title>{text}</title></circle>'
    kind = {"argument": "label", "output": "label", "box": "box"}.get(item.kind, item.kind)
    shape = f'<rect class="{kind}{wrong}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6"/>'
    head = y + 16 if item.lines else cy + 4
    lines = [f'{shape}<text class="mid" x="{cx:.1f}" y="{head:.1f}">{text}</text>']
    for i, line in enumerate(item.lines):
        tone = ("value", "gradient")[i] if item.kind == "node" else "soft"
        lines.append(f'<text class="{tone} mid" x="{cx:.1f}" y="{head + 17 * (i + 1):.1f}">{escape(line.text)}</text>')
    return "".join(lines) + badge
