"""The picture as one self-contained page: every subgraph arranged, and every number as text, for page/*.js to draw.

The page is given each subgraph as `layout.place` arranges it with its boxes closed, its widths both for rounded and for
unrounded numbers. `page/compose.js` puts pictures with open boxes together from these.
"""

import json
import re
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from ..model import Gate, Graph, Wire
from ..summary import Summary, all_finite, is_inexact, share_of_zeros, size, to_numpy
from ..walk import walk_inside
from .as_svg import readable
from .format import backward_formula, equation, format_array, format_number, format_shape, gate_symbol, sum_of_shares
from .graph import VIEWS, Key, Subgraph, plan, plan_inside
from .layout import PAD, Picture, Placed, Route, least_width, place

OPENABLE = 120
"""At most this many rules come with their insides: each is traced once more."""

DETAILED = 2000
"""Circuits of more gates carry no heat maps, no unrounded arrays, and the views that can be followed at that size."""

MAP = 24
"""Heat maps have at most this many rows and columns; larger arrays are averaged."""

READABLE = 60
"""A page opens with as many of its boxes open as show at most this many gates."""

USUAL_NODE: dict[str, Any] = {"lines": [], "badge": "", "gate": -1, "wire": -1}
USUAL_EDGE: dict[str, Any] = {
    "slot": 0, "above": "", "below": "", "share": "", "live": False, "first": True, "start": 0.0, "end": 0.0,
    "bends": [], "lead": [0.0], "tail": [0.0],
}  # fmt: skip
"""Values that are left out of nodes and edges, so that the page of a large circuit stays small."""

SCRIPTS = ("compose.js", "draw.js", "page.js", "panel.js", "live.js", "keys.js")

LIVE = frozenset("add sub mul div neg exp log sin cos tanh sigmoid relu square sqrt reciprocal max min power".split())
"""The gates that a page computes again when a reader changes an argument; `page/live.js` has their arithmetic."""


def to_html(graph: Graph, title: str | None) -> str:
    """The page's text."""
    data = payload(graph)
    data["title"] = title or graph.name
    page = resources.files(__name__.rpartition(".")[0]) / "page"
    read = {name: (page / name).read_text(encoding="utf-8") for name in ("page.html", "page.css")}
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    filled = read["page.html"].replace("$TITLE", escape(data["title"])).replace("$STYLE", read["page.css"])
    return filled.replace("$DATA", text).replace("$SCRIPT", script)


def payload(graph: Graph) -> dict[str, Any]:
    """All that the page knows, as JSON values."""
    detailed = len(graph.gates) <= DETAILED
    gates = [_gate(gate, detailed) for gate in graph.gates]
    wires = [_wire(wire, detailed) for wire in graph.wires]
    views = {
        view: _subgraph(plan(graph, view, 4), plan(graph, view, None) if detailed else None, _Numbering())
        for view in (VIEWS if detailed else ("circuit", "deltas"))
    }
    rules = [gate for gate in graph.gates if gate.kind == "rule" and gate.is_whole and gate.upstream[0] is not None]
    for gate in rules if len(rules) <= OPENABLE else ():
        _add_inside(views["circuit"], gate, gates, wires)
    return {
        "views": views,
        "gates": gates,
        "wires": wires,
        "order": [gate.id for gate in graph.gates],
        "opened": sorted(readable(graph, READABLE)),
        "outputs": [wire.id for wire in graph.outputs],
        "wrong": [gate.id for gate in graph.wrong],
        "wires_of_the_whole": len(graph.wires),
        "live": _live(graph),
        "pad": PAD,
        "usual": {"node": USUAL_NODE, "edge": USUAL_EDGE},
    }


@dataclass(frozen=True)
class _Numbering:
    """What is added to the names of nodes, to wires and to gates: the inside of a rule counts on from the whole."""

    prefix: str = ""
    wire: int = 0
    gate: int = 0

    def name(self, key: Key) -> str:
        return f"{self.prefix}{key}"

    def wire_of(self, id: int) -> int:
        return id + self.wire if id >= 0 else -1

    def gate_of(self, id: int) -> int:
        return id + self.gate if id >= 0 else -1


def _subgraph(rounded: Subgraph, exact: Subgraph | None, numbering: _Numbering) -> dict[str, Any]:
    """A subgraph arranged with its boxes closed; widths as [with rounded numbers, with unrounded ones]."""
    picture = place(rounded, opened=())
    wider = place(exact, opened=(), order=picture.order) if exact is not None else picture
    nodes = {numbering.name(key): _node(placed, wider.nodes[key], numbering) for key, placed in picture.nodes.items()}
    return {
        "title": rounded.title,
        "kind": rounded.kind,
        "box": rounded.box,
        "gaps": [_widths(a.gap, b.gap) for a, b in zip(picture.columns, wider.columns, strict=True)],
        "least": _px(least_width(rounded)),
        "height": _px(picture.height),
        "nodes": nodes,
        "edges": [
            _edge(route, other, picture, numbering) for route, other in zip(picture.routes, wider.routes, strict=True)
        ],
    }


def _node(placed: Placed, wider: Placed, numbering: _Numbering) -> dict[str, Any]:
    node = placed.node
    fields: dict[str, Any] = {
        "kind": node.kind,
        "title": node.title,
        "lines": [[k.text, numbering.wire_of(k.wire), k.which, k.head] if k.which else [k.text] for k in node.lines],
        "badge": node.badge,
        "gate": numbering.gate_of(node.gate),
        "wire": numbering.wire_of(node.wire),
        "column": placed.column,
        "y": _px(placed.middle),
        "w": _widths(placed.w, wider.w),
        "h": _px(placed.h),
    }
    if node.kind == "port":
        fields["side"] = node.key.kind
    if node.inside is not None:
        fields["inside"] = _subgraph(node.inside, wider.node.inside if wider is not placed else None, numbering)
    return _but(USUAL_NODE, fields)


def _edge(route: Route, wider: Route, picture: Picture, numbering: _Numbering) -> dict[str, Any]:
    """An edge; where it begins and ends it is fixed to its nodes, to their ports while they are open."""
    edge, label = route.edge, route.edge.label
    source, target = picture.nodes[edge.source], picture.nodes[edge.target]
    fields: dict[str, Any] = {
        "from": numbering.name(edge.source),
        "to": numbering.name(edge.target),
        "slot": edge.slot,
        "wire": edge.wire + numbering.wire,
        "live": label.live,
        "above": "" if label.live else label.above,
        "below": "" if label.live else label.below,
        "share": label.share,
        "first": route.first,
        "start": _px(route.points[0][1] - source.middle),
        "end": _px(route.points[-1][1] - target.middle),
        "bends": [[column, _px(y)] for column, y in route.bends],
        "lead": _widths(route.lead, wider.lead),
        "tail": _widths(route.tail, wider.tail),
    }
    if source.node.inside is not None:
        fields["exit"] = numbering.name(Key("exit", edge.wire))
    if target.node.inside is not None:
        fields["entry"] = numbering.name(Key("entry", edge.wire))
    return _but(USUAL_EDGE, fields)


def _px(x: float) -> float:
    return round(x, 2)


def _widths(rounded: float, exact: float) -> list[float]:
    """[with rounded numbers, with unrounded ones], or one for both."""
    return [_px(rounded)] if rounded == exact else [_px(rounded), _px(exact)]


def _but(usual: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that differ from the usual ones."""
    return {name: value for name, value in fields.items() if name not in usual or usual[name] != value}


def _add_inside(root: dict[str, Any], gate: Gate, gates: list, wires: list) -> None:
    """Give a rule its inside: its primal's gates, numbered on from those there are, joined to the outer wires."""
    holder = _holder(root, str(Key("gate", gate.id)))
    inner = walk_inside(gate)
    if holder is None or len(inner.gates) < 2:
        return
    numbering = _Numbering(f"r{len(gates)}.", len(wires), len(gates))
    new_gates = [_gate(g, True) for g in inner.gates]
    for fields in new_gates:
        fields["inputs"] = [i + numbering.wire for i in fields["inputs"]]
        fields["outputs"] = [i + numbering.wire for i in fields["outputs"]]
        fields["inside"] = gate.id
    gates += new_gates
    wires += [_wire(w, True) for w in inner.wires]
    rounded, exact = plan_inside(inner, 4), plan_inside(inner, None)
    for subgraph in (rounded, exact):
        subgraph.title, subgraph.kind = f"{gate.name}, opened: its primal, differentiated by autodiff", "rule"
    name = str(Key("gate", gate.id))
    holder["nodes"][name]["inside"] = _subgraph(rounded, exact, numbering) | {"box": -2 - gate.id}
    entries = {slot: Key("entry", wire.id) for slot, wire in enumerate(inner.arguments)}
    exits = {outer.id: Key("exit", wire.id) for outer, wire in zip(gate.outputs, inner.outputs, strict=True)}
    for edge in holder["edges"]:
        if edge["to"] == name and entries[edge.get("slot", 0)] in rounded.nodes:
            edge["entry"] = numbering.name(entries[edge.get("slot", 0)])
        if edge["from"] == name:
            edge["exit"] = numbering.name(exits[edge["wire"]])


def _holder(subgraph: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The subgraph that holds a node."""
    if name in subgraph["nodes"]:
        return subgraph
    inner = (_holder(node["inside"], name) for node in subgraph["nodes"].values() if "inside" in node)
    return next((holder for holder in inner if holder is not None), None)


def _gate(gate: Gate, detailed: bool) -> dict[str, Any]:
    return {
        "name": gate.name,
        "sign": gate_symbol(gate),
        "kind": gate.kind,
        "formula": equation(gate),
        "numbers": _in_numbers(gate),
        "back": [backward_formula(gate, slot) if w.differentiable else "" for slot, w in enumerate(gate.inputs)],
        "exact": [backward_formula(gate, slot, None) for slot in range(len(gate.inputs))] if detailed else [],
        "inputs": [w.id for w in gate.inputs],
        "outputs": [w.id for w in gate.outputs],
        "source": _end_of_path(gate.source),
        "defined": _end_of_path(gate.defined),
        "verdict": gate.verdict,
        "detail": gate.detail,
        "note": gate.note,
        "box": " › ".join(gate.box.path) if gate.box else "",
    }


def _end_of_path(source: str) -> str:
    """The last two parts of a path, nothing about the machine; of a notebook's cell its line."""
    end = "/".join(source.replace("\\", "/").split("/")[-2:])
    return re.sub(r"ipykernel_\d+/\d+\.py:", "cell, line ", end)


def _in_numbers(gate: Gate) -> str:
    """The gate with its inputs' numbers: `−2 + 5 = 3`; empty for arrays."""
    if any(w.shape != () for w in (*gate.inputs, *gate.outputs)) or len(gate.outputs) != 1:
        return ""
    values = [format_number(w.value) for w in gate.inputs]
    values = [f"({v})" if v.startswith("−") and i else v for i, v in enumerate(values)]
    symbol = gate_symbol(gate)
    if len(values) == 2 and symbol in "+−×÷":
        left = f"{values[0]} {symbol} {values[1]}"
    else:
        left = f"−({values[0]})" if gate.name == "neg" else f"{gate.name}({', '.join(values)})"
    return f"{left} = {format_number(gate.outputs[0].value)}"


def _wire(wire: Wire, detailed: bool) -> dict[str, Any]:
    gradient = wire.gradient
    fields = {
        "name": wire.name,
        "kind": wire.kind,
        "shape": format_shape(wire.shape) or "scalar",
        "dtype": str(wire.dtype),
        "value": format_array(wire.value),
        "gradient": format_array(gradient),
        "sum": sum_of_shares(wire),
        "size": [_magnitude(wire.value), _magnitude(gradient)],
        "gap": wire.gap,
        "saturated": wire.saturated,
        "zeros": share_of_zeros(wire.value),
    }
    if detailed:
        fields["exact"] = [format_array(x, None) for x in (wire.value, gradient, wire.autodiff_gradient)]
        fields["map"] = [heat_map(x) for x in (wire.value, gradient)]
    return fields


ADJUSTABLE = 20
"""Pages of circuits with more arguments have no fields to change them in."""


def _live(graph: Graph) -> dict[str, Any] | None:
    """What a page needs to compute the circuit again; None where it is not one of scalars and gates of `LIVE`."""
    output = graph.outputs[0] if len(graph.outputs) == 1 else None
    if output is None or output.source is None or output.output_cotangent is None or graph.wrong:
        return None
    if len(graph.gates) > DETAILED or len(graph.arguments) > ADJUSTABLE:
        return None
    scalars = all(wire.shape == () and is_inexact(wire.value) for wire in graph.wires)
    if not scalars or any(gate.name not in LIVE or gate.note for gate in graph.gates):
        return None
    return {
        "values": [float(wire.value) for wire in graph.wires],
        "arguments": [wire.id for wire in graph.arguments],
        "upstream": float(output.output_cotangent),
    }


def _magnitude(x: Any) -> float | None:
    """log10 of the root mean square; None for zero or nothing, 99 for what is not finite."""
    if x is None:
        return None
    if not all_finite(x):
        return 99.0
    mean = size(x)
    return round(float(np.log10(mean)), 2) if mean else None


def heat_map(x: Any) -> dict[str, Any] | None:
    """A small map of an array: rows of numbers from -1 to 1 in units of `top`, larger arrays averaged.

    None for one number, and where only a summary was kept.
    """
    if x is None or isinstance(x, Summary):
        return None
    array = np.real(to_numpy(x)).astype(np.float64)
    if array.size < 2 or array.size > 1 << 22:
        return None
    flat = array.reshape(1, -1) if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    rows, columns = (np.array_split(np.arange(n), min(n, MAP)) for n in flat.shape)
    small = np.array([[np.mean(flat[np.ix_(r, c)]) for c in columns] for r in rows])
    top = float(np.max(np.abs(small[np.isfinite(small)]), initial=0.0))
    scaled = np.where(np.isfinite(small), small / (top or 1.0), 9.0)
    return {"top": format_number(top, 3), "rows": np.round(scaled, 2).tolist()}
