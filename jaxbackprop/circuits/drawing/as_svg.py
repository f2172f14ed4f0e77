"""The picture as SVG: values above the wires, gradients below them, as the lectures draw it.

Every colour and size stands in presentation attributes, which any viewer understands. A style sheet repeats the colours
as variables, so that a browser follows the reader's light or dark setting. What is shown by colour is also shown by
place or sign.
"""

from collections.abc import Collection
from html import escape
from typing import Any

from ..model import Box, Graph
from .graph import plan
from .layout import Picture, Placed, Route, place

LIGHT = {
    "ink": "#1c2330", "soft": "#66708a", "paper": "#ffffff", "card": "#f5f7fb", "line": "#8a94a8", "value": "#0a7d3b",
    "gradient": "#c02138", "rule": "#5b3fc4", "box": "#e9edf5", "wrong": "#d1002f",
}  # fmt: skip
DARK = {
    "ink": "#e6eaf2", "soft": "#9aa5bd", "paper": "#12151c", "card": "#1c212c", "line": "#6c778f", "value": "#5fd38d",
    "gradient": "#ff8095", "rule": "#a892ff", "box": "#1a2030", "wrong": "#ff5470",
}  # fmt: skip

# First the one that is widespread: cairo looks at the first name alone.
FONT = "'DejaVu Sans Mono',ui-monospace,Menlo,Consolas,monospace"

PAINT: dict[str, dict[str, str]] = {
    "paper": {"fill": "paper"},
    "wire": {"fill": "none", "stroke": "line", "stroke-width": "1.4"},
    "gate": {"fill": "card", "stroke": "ink", "stroke-width": "1.4"},
    "rule": {"fill": "card", "stroke": "rule", "stroke-width": "2"},
    "label": {"fill": "card", "stroke": "line"},
    "node": {"fill": "card", "stroke": "line"},
    "card": {"fill": "card", "stroke": "line"},
    "literal": {"fill": "none", "stroke": "none"},
    "box": {"fill": "box", "fill-opacity": ".55", "stroke": "line", "stroke-dasharray": "5 3"},
    "port": {"fill": "line"},
    "wrong": {"stroke": "wrong", "stroke-width": "3"},
    "text": {"fill": "ink"},
    "value": {"fill": "value"},
    "gradient": {"fill": "gradient", "font-style": "italic"},
    "soft": {"fill": "soft"},
    "title": {"fill": "soft", "font-size": "11px"},
    "badge": {"fill": "wrong", "font-weight": "bold"},
    "sign": {"font-size": "14px", "text-anchor": "middle"},
    "mid": {"text-anchor": "middle"},
    "end": {"text-anchor": "end"},
    "halo": {},
    "tip": {"fill": "line"},
}
"""How each class is painted; a later class of an element overrides an earlier one. Colours by their names."""


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in colours.items())


def _rule(cls: str, paint: dict[str, str]) -> str:
    painted = ";".join(f"{name}:var(--{value})" for name, value in paint.items() if value in LIGHT)
    return f".jbp {'text' if cls == 'text' else '.' + cls}{{{painted}}}" if painted else ""


# Within @supports, so that a viewer which does not know variables keeps to the presentation attributes.
STYLE = f"""
:root{{color-scheme:light dark}}
.jbp{{{_variables(LIGHT)}}}
@media(prefers-color-scheme:dark){{.jbp{{{_variables(DARK)}}}}}
@supports(color:var(--ink)){{
{"".join(_rule(cls, paint) for cls, paint in PAINT.items())}
.jbp .halo{{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}}
}}
""".strip()


def to_svg(
    graph: Graph,
    view: str = "circuit",
    digits: int | None = 3,
    *,
    opened: bool | Collection[int] | None = None,
    legend: bool = True,
) -> str:
    """The SVG text of one view, boxes in `opened` (ids; True: all; None: what is readable) drawn open."""
    picture = place(plan(graph, view, digits), readable(graph) if opened is None else opened)
    foot = 26 if legend else 0
    width, height = max(picture.width, 360.0 if legend else 0.0), picture.height + foot
    key = {
        "circuit": "above a wire: value; below, italic: gradient of the output",
        "flowgraph": "in a node: value, gradient; on an arrow: local derivative above, share of the gradient below",
        "deltas": "one card a layer; delta is the gradient at its pre-activation",
        "chain": "each gradient as the chain rule makes it; arrows lead to where it is used again",
    }[view]
    body = [_subgraph(picture)]
    if legend:
        width = max(width, 6.8 * len(key) + 24)
        body.append(_text("title", key, 12, height - 10))
    title = escape(f"{graph.name}: {view}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="jbp" role="img" aria-label="{title}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="12px">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f"{_element('rect', 'paper', width='100%', height='100%')}{''.join(body)}</svg>"
    )


READABLE = 150
"""A picture of more gates than this has some of its boxes closed."""


def readable(graph: Graph, most: int = READABLE) -> set[int]:
    """The boxes to open: level by level, until the next level would show more gates than one can read."""
    held: dict[Box | None, int] = {}
    for gate in graph.gates:
        held[gate.box] = held.get(gate.box, 0) + 1
    levels: dict[int, list[Box]] = {}
    for box in graph.boxes:
        levels.setdefault(len(box.path), []).append(box)
    total, opened = held.get(None, 0), set()
    for depth in sorted(levels):
        total += sum(held.get(box, 0) + 1 for box in levels[depth])
        if total > most:
            break
        opened |= {box.id for box in levels[depth]}
    around: Box | None = None
    for box in graph.boxes:  # of a long program the first part, down to its gates
        if box.kind == "part" and (box.parent is around or (around is None and box.parent and box.parent.id in opened)):
            opened.add(box.id)
            around = box
    return opened


def _element(tag: str, classes: str, content: str = "", **attributes: Any) -> str:
    """An element with the presentation attributes of its classes."""
    paint: dict[str, str] = {}
    for cls in ("text " * (tag == "text") + classes).split():
        paint |= PAINT[cls]
    painted = "".join(f' {name}="{LIGHT.get(value, value)}"' for name, value in paint.items())
    given = "".join(
        f' {name.replace("_", "-")}="{value:.1f}"'
        if isinstance(value, float)
        else f' {name.replace("_", "-")}="{value}"'
        for name, value in attributes.items()
    )
    return f'<{tag} class="{classes}"{given}{painted}{f">{content}</{tag}>" if content else "/>"}'


def _text(classes: str, text: str, x: float, y: float) -> str:
    return _element("text", classes, escape(text), x=float(x), y=float(y))


def _subgraph(picture: Picture) -> str:
    lines = [_wire(route, picture) for route in picture.routes]
    nodes = [_node(placed) for placed in picture.nodes.values()]
    labels = [_labels(route, picture) for route in picture.routes]
    return "".join(lines + nodes + labels)


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
    line = _element("path", "wire", d="".join(path))
    if picture.nodes[route.edge.target].node.kind == "port":
        return line
    # A path of its own: cairosvg, which makes the PDF, draws no markers.
    return line + _element("path", "tip", d=f"M{x - 9:.1f} {y - 4:.1f}L{x:.1f} {y:.1f}L{x - 9:.1f} {y + 4:.1f}z")


def _labels(route: Route, picture: Picture) -> str:
    edge, label, drawn = route.edge, route.edge.label, []
    (x, y), (ex, ey) = route.points[0], route.points[-1]
    if not label.live and (label.above or label.below):
        x, y = route.points[-2]
    if route.first or not label.live:
        if label.above:
            drawn.append(_text("value halo", label.above, x + 7, y - 5))
        if label.below:
            drawn.append(_text("gradient halo", label.below, x + 7, y + 14))
    if label.share:  # above an upper entry, below a lower one
        ey += -5 if ey < picture.nodes[edge.target].middle - 1 else 12
        drawn.append(_text("gradient halo end", label.share, ex - 12, ey))
    return "".join(drawn)


def _node(placed: Placed) -> str:
    node, x, y, w, h = placed.node, placed.x, placed.y, placed.w, placed.h
    cx, cy = x + w / 2, y + h / 2
    wrong = " wrong" if node.badge == "✗" else ""
    if placed.inside is not None:
        title = " ".join([node.title, *(line.text for line in node.lines if not line.which)])
        return (
            f'<g transform="translate({x:.1f} {y:.1f})">{_element("rect", "box", width=w, height=h, rx=10)}'
            f"{_text('title', title, 12, 17)}{_subgraph(placed.inside)}</g>"
        )
    badge = _text("badge halo", node.badge, x + w - 3, y + 4) if node.badge else ""
    if node.kind in ("gate", "rule"):
        shape = _element("rect", f"{node.kind}{wrong}", x=x, y=y, width=w, height=h, rx=17)
        return f"{shape}{_text('sign', node.title, cx, cy + 5)}{badge}"
    if node.kind == "port":
        return _element("circle", "port", f"<title>{escape(node.title)}</title>", cx=cx, cy=cy, r=3)
    kind = {"argument": "label", "output": "label", "box": "box"}.get(node.kind, node.kind)
    head = y + 16 if node.lines else cy + 4
    drawn = [
        _element("rect", f"{kind}{wrong}", x=x, y=y, width=w, height=h, rx=6),
        _text("mid", node.title, cx, head),
    ]
    for i, line in enumerate(node.lines):
        tone = line.which if line.which in ("value", "gradient") else "gradient" if line.which == "share" else "soft"
        drawn.append(_text(f"{tone} mid", line.text, cx, head + 17 * (i + 1)))
    return "".join(drawn) + badge
