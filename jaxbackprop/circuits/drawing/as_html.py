"""The picture as one self-contained page: the plan with its layers, and every number in words, for page/*.js to draw.

Python decides what stands in which column and says every number; the browser gives places, as boxes open.
"""

import json
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.health import saturated
from ..model import Gate, Wire, numbers
from ..summary import Summary, all_finite, apart, is_whole, share_of_zeros, size
from . import format as words
from .as_svg import readable
from .columns import order
from .graph import inside, plan
from .graph_model import Item, Part

OPENABLE = 120
"""At most this many rules come with their insides: each is traced once more."""
DETAILED = 2000
"""Circuits of more gates carry no heat maps, and no unrounded arrays."""
MAP = 24
"""Heat maps have at most this many rows and columns; larger arrays are averaged."""
READABLE = 60
"""A page opens with so many of its boxes open that it shows at most this many gates."""
SCRIPTS = ("layout.js", "draw.js", "page.js", "panel.js", "keys.js")
VIEWS = ("circuit", "flowgraph", "deltas", "chain")


def written(text: str, path: str | Path | None) -> str:
    """`text`, written to `path` where a person asked for a file."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def to_html(circuit: Any, title: str | None) -> str:
    """The page's text."""
    data = payload(circuit)
    data["title"] = title or circuit.name
    page = resources.files(__name__.rpartition(".")[0]) / "page"
    read = {name: (page / name).read_text(encoding="utf-8") for name in ("page.html", "page.css")}
    script = "\n".join((page / name).read_text(encoding="utf-8") for name in SCRIPTS)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    filled = read["page.html"].replace("$TITLE", escape(data["title"])).replace("$STYLE", read["page.css"])
    return filled.replace("$DATA", text).replace("$SCRIPT", script)


def payload(circuit: Any) -> dict[str, Any]:
    """All that the page knows, as JSON values."""
    detailed = len(circuit.gates) <= DETAILED
    gates = [_gate(gate, detailed) for gate in circuit.gates]
    wires = [_wire(wire, detailed) for wire in circuit.wires]
    views = {view: _part(plan(circuit, view, 4)) for view in VIEWS}
    rules = [gate for gate in circuit.gates if gate.kind == "rule" and is_whole(gate) and gate.upstream[0] is not None]
    for gate in rules if len(rules) <= OPENABLE else ():
        _open(views["circuit"], circuit, gate, gates, wires)
    return {
        "views": views,
        "gates": gates,
        "wires": wires,
        "order": [gate.id for gate in circuit.gates],
        "opened": sorted(readable(circuit, READABLE)),
        "outputs": [wire.id for wire in circuit.outputs],
        "wrong": [gate.id for gate in circuit.wrong],
    }


def _part(part: Part, prefix: str = "", wire: int = 0, gate: int = 0) -> dict[str, Any]:
    """A part with its columns and routes; names, wires and gates moved along where it is the inside of a rule."""
    found = order(part)

    def item(i: Item) -> dict[str, Any]:
        made: dict[str, Any] = {"kind": i.kind, "title": i.title}
        made["lines"] = [[k.text, k.wire + wire, k.which, k.head] if k.which else [k.text] for k in i.lines]
        made["badge"], made["gate"] = i.badge, i.gate + gate if i.gate >= 0 else -1
        made["wire"] = i.wire + wire if i.wire >= 0 else -1
        return {**made, "part": _part(i.part, prefix, wire, gate)} if i.part else made

    links = [
        {
            "from": prefix + k.source,
            "to": prefix + k.target,
            "slot": k.slot + (wire if part.items[k.target].part else 0),  # into a box, it is the wire's number
            "wire": k.wire + wire,
            **({"live": True} if k.live else {"above": k.above, "below": k.below}),
            "share": k.share,
            "way": [prefix + n for n in way],
        }
        for k, way in zip(part.links, found.routes, strict=True)
        if way
    ]
    return {
        "title": part.title,
        "kind": part.kind,
        "box": part.box,
        "columns": [[prefix + n for n in column] for column in found.columns],
        "items": {prefix + i.id: item(i) for i in part.items.values()},
        "links": links,
        "enter": {i.wire + wire: prefix + n for n, i in part.items.items() if i.kind == "port" and n[0] == "e"},
        "leave": {i.wire + wire: prefix + n for n, i in part.items.items() if i.kind == "port" and n[0] == "x"},
    }


def _open(root: dict[str, Any], circuit: Any, gate: Gate, gates: list, wires: list) -> None:
    """Give a rule its inside: its primal's gates, numbered on from those there are, joined to the outer wires."""
    inner = circuit.open(gate)
    holder = _find(root, f"g{gate.id}")
    if holder is None or len(inner.gates) < 2:
        return
    first_gate, first_wire = len(gates), len(wires)
    gates += [_gate(g, True) for g in inner.gates]
    wires += [_wire(w, True) for w in inner.wires]
    for made in gates[first_gate:]:
        made["inputs"] = [i + first_wire for i in made["inputs"]]
        made["outputs"] = [i + first_wire for i in made["outputs"]]
        made["inside"] = gate.id
    part = inside(inner, 4)
    part.title, part.kind = f"{gate.name}, opened: its primal, differentiated by autodiff", "rule"
    prefix = f"r{first_gate}."
    made = _part(part, prefix, first_wire, first_gate)
    made["box"] = -2 - gate.id
    ends = zip(gate.outputs, inner.outputs, strict=True)
    made["enter"] = {slot: f"{prefix}e{w.id}" for slot, w in enumerate(inner.arguments) if f"e{w.id}" in part.items}
    made["leave"] = {outer.id: f"{prefix}x{w.id}" for outer, w in ends}
    holder["part"] = made


def _find(part: dict[str, Any], id: str) -> dict[str, Any] | None:
    if id in part["items"]:
        return part["items"][id]
    inner = (_find(item["part"], id) for item in part["items"].values() if "part" in item)
    return next((found for found in inner if found is not None), None)


def _gate(gate: Gate, detailed: bool) -> dict[str, Any]:
    return {
        "name": gate.name,
        "sign": words.sign(gate),
        "kind": gate.kind,
        "formula": words.computes(gate),
        "numbers": _in_numbers(gate),
        "back": [words.backward(gate, slot) if w.differentiable else "" for slot, w in enumerate(gate.inputs)],
        "exact": [words.backward(gate, slot, None) for slot in range(len(gate.inputs))] if detailed else [],
        "inputs": [w.id for w in gate.inputs],
        "outputs": [w.id for w in gate.outputs],
        "source": _place(gate.source),
        "defined": _place(gate.defined),
        "verdict": gate.verdict,
        "detail": gate.detail,
        "note": gate.note,
        "box": " › ".join(gate.box.path) if gate.box else "",
    }


def _place(source: str) -> str:
    """The end of a path, which says enough and tells nothing of the machine."""
    return "/".join(source.replace("\\", "/").split("/")[-2:])


def _in_numbers(gate: Gate) -> str:
    """The gate with its inputs' numbers: `−2 + 5 = 3`; empty for arrays."""
    if any(w.shape != () for w in (*gate.inputs, *gate.outputs)) or len(gate.outputs) != 1:
        return ""
    values = [words.number(w.value) for w in gate.inputs]
    values = [f"({v})" if v.startswith("−") and i else v for i, v in enumerate(values)]
    mark = words.sign(gate)
    if len(values) == 2 and mark in "+−×÷":
        left = f"{values[0]} {mark} {values[1]}"
    else:
        left = f"−({values[0]})" if gate.name == "neg" else f"{gate.name}({', '.join(values)})"
    return f"{left} = {words.number(gate.outputs[0].value)}"


def _wire(wire: Wire, detailed: bool) -> dict[str, Any]:
    gradient, autodiff = wire.gradient, wire.autodiff_gradient
    made = {
        "name": wire.name,
        "kind": wire.kind,
        "shape": words.shape(wire.shape) or "scalar",
        "dtype": str(wire.dtype),
        "value": words.array(wire.value),
        "gradient": words.array(gradient),
        "sum": words.sum_of_shares(wire),
        "size": [_magnitude(wire.value), _magnitude(gradient)],
        "apart": apart(gradient, autodiff),
        "saturated": saturated(wire),
        "zeros": share_of_zeros(wire.value),
    }
    if detailed:
        made["exact"] = [words.array(x, None, most=8) for x in (wire.value, gradient, autodiff)]
        made["map"] = [heat(x) for x in (wire.value, gradient)]
    return made


def _magnitude(x: Any) -> float | None:
    """log10 of the root mean square; None for zero or nothing, 99 for what is not finite."""
    if x is None:
        return None
    if not all_finite(x):
        return 99.0
    mean = size(x)
    return round(float(np.log10(mean)), 2) if mean else None


def heat(x: Any) -> dict[str, Any] | None:
    """A small map of an array: rows of numbers from -1 to 1 in units of `top`, larger arrays averaged; None for one
    number.
    """
    if x is None or isinstance(x, Summary):
        return None
    array = np.real(numbers(x)).astype(np.float64)
    if array.size < 2 or array.size > 1 << 22:
        return None
    flat = array.reshape(1, -1) if array.ndim == 1 else array.reshape(-1, array.shape[-1])
    rows, columns = (np.array_split(np.arange(n), min(n, MAP)) for n in flat.shape)
    small = np.array([[np.mean(flat[np.ix_(r, c)]) for c in columns] for r in rows])
    top = float(np.max(np.abs(small[np.isfinite(small)]), initial=0.0))
    scaled = np.where(np.isfinite(small), small / (top or 1.0), 9.0)
    return {"top": words.number(top, 3), "rows": np.round(scaled, 2).tolist()}
