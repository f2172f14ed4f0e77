"""What is to be drawn, before anything has a place: items and links, box within box. One plan a view.

Arguments used often stand as labels beside each use, so that weights make no web of lines. Nothing here measures.
"""

from itertools import pairwise
from typing import Any

from ..model import Box, Edge, Gate, Wire
from . import format as words
from .graph_model import WRONG, Boxes, Item, Line, Link, Part, Say, common
from .layers_and_chains import chains, layers

__all__ = ["Item", "Line", "Link", "Part", "inside", "plan"]

PORTALS = 3
"""An argument used more often than this is drawn as a label at each use."""
BADGES = {"wrong": WRONG, "kink": "∧", "undecided": "?"}


def plan(circuit: Any, view: str, digits: int | None) -> Part:
    """The plan of one view; ValueError for a name that is none."""
    made = {"circuit": _circuit, "flowgraph": _flowgraph, "deltas": _deltas, "chain": _chain}
    if view not in made:
        raise ValueError(f"there is no view {view!r}; there are {', '.join(made)}.")
    return made[view](circuit, digits)


def _circuit(circuit: Any, digits: int | None) -> Part:
    return _Circuit(circuit, digits).root


def inside(circuit: Any, digits: int | None) -> Part:
    """The plan of an opened rule: its arguments and results are ports in its border, where the outer wires arrive."""
    return _Circuit(circuit, digits, joined=True).root


class _Circuit(Boxes):
    """The circuit: gates in the parts they stand in, wires led from part to part."""

    def __init__(self, circuit: Any, digits: int | None, *, joined: bool = False):
        super().__init__(circuit.name)
        self.digits, self.joined = digits, joined
        for gate in circuit.gates:
            kind = "rule" if gate.kind == "rule" else "gate"
            self.part(gate.box).add(f"g{gate.id}", kind, words.sign(gate), gate=gate.id)
            self.badge(gate.box, f"g{gate.id}", BADGES.get(gate.verdict, ""))
        for wire in circuit.wires:
            self.lead(wire)
        for k, wire in enumerate(circuit.outputs):
            end = f"x{wire.id}" if joined else f"o{k}"
            self.root.add(end, "port" if joined else "output", words.short(wire, 20), wire=wire.id)
            self.connect(wire, _box(wire), self.start(wire), None, end, 0, self.say(wire, None))

    def start(self, wire: Wire) -> str:
        """The item that a wire of a gate, or a port, begins at."""
        return f"g{wire.source.id}" if wire.source is not None else self.label(wire, None)

    def lead(self, wire: Wire) -> None:
        """Draw every use of a wire."""
        if wire.source is not None or (self.joined and wire.kind == "argument"):
            for edge in wire.edges:
                self.use(edge, _box(wire), self.start(wire))
            return
        shared = wire.kind != "literal" and len(wire.edges) <= PORTALS and len({e.gate.box for e in wire.edges}) == 1
        for k, edge in enumerate(wire.edges):
            self.use(edge, edge.gate.box, self.label(wire, edge.gate.box, None if shared else k))
        if not wire.edges and wire.kind == "argument" and not wire.is_output:
            self.label(wire, None)

    def use(self, edge: Edge, box: Box | None, start: str) -> None:
        self.connect(edge.wire, box, start, edge.gate.box, f"g{edge.gate.id}", edge.slot, self.say(edge.wire, edge))

    def label(self, wire: Wire, box: Box | None, use: int | None = None) -> str:
        if self.joined and wire.kind == "argument":
            return self.part(None).add(f"e{wire.id}", "port", words.short(wire, 22), wire=wire.id).id
        id = f"a{wire.id}" if use is None else f"a{wire.id}.{use}"
        kind = "literal" if wire.kind == "literal" else "argument"
        return self.part(box).add(id, kind, words.short(wire, 22), wire=wire.id).id

    def say(self, wire: Wire, edge: Edge | None) -> Say:
        def said(source: str, last: bool) -> tuple[str, str, str, bool]:
            share = ""
            if last and edge is not None and wire.differentiable and len(wire.edges) > 1:
                share = words.array(edge.gradient, self.digits)
            if wire.kind == "literal" or source.startswith("e"):  # said where the wire comes from
                return "", "", share, False
            below = words.array(wire.gradient, self.digits) if wire.differentiable else ""
            return words.array(wire.value, self.digits), below, share, True

        return said


def _box(wire: Wire) -> Box | None:
    return wire.source.box if wire.source is not None else None


def _flowgraph(circuit: Any, digits: int | None) -> Part:
    """Values are nodes, with their gradients; each arrow says its local derivative above and its share below."""
    boxes = Boxes(circuit.name)

    def node(wire: Wire, box: Box | None, use: str = "") -> str:
        lines = (_number("value", wire, digits), _number("gradient", wire, digits))
        made = wire.source.id if wire.source else -1
        name = words.short(wire, 20)
        return boxes.part(box).add(f"w{wire.id}{use}", "node", name, lines, gate=made, wire=wire.id).id

    for wire in circuit.wires:
        if wire.source is not None:
            boxes.badge(wire.source.box, node(wire, wire.source.box), BADGES.get(wire.source.verdict, ""))
    for gate in circuit.gates:
        for edge in gate.edges:
            wire = edge.wire
            if wire.kind == "literal":
                continue
            shared = len(wire.edges) <= PORTALS and len({e.gate.box for e in wire.edges}) == 1
            box = _box(wire) if wire.source else gate.box
            start = node(wire, box, "" if wire.source or shared else f".{wire.edges.index(edge)}")
            said = _arrow(gate, edge, digits)
            for out in gate.outputs:
                boxes.connect(wire, box, start, gate.box, f"w{out.id}", edge.slot, said)
    return boxes.root


def _arrow(gate: Gate, edge: Edge, digits: int | None) -> Say:
    """On an arrow: the local derivative (the gate's name, for arrays) and the share of the gradient it brings."""
    local = gate.local(edge.slot) if edge.wire.differentiable else None
    above = words.number(local, digits) if local is not None else gate.name
    below = words.array(edge.gradient, digits) if edge.wire.differentiable else ""
    return lambda source, last: (above, below, "", False) if last else ("", "", "", False)


def _number(which: str, wire: Wire, digits: int | None, head: str = "") -> Line:
    number = words.array(wire.value if which == "value" else wire.gradient, digits)
    return Line(head + number, wire.id, which, head)


def _deltas(circuit: Any, digits: int | None) -> Part:
    """A card for each layer, an arrow of deltas between them, shapes lining up."""
    part = Part(circuit.name, "root")
    found = layers(circuit)
    for layer in found:
        delta = _number("gradient", layer.delta, digits, f"delta_{layer.index} = ")
        title = f"layer {layer.index}: {words.short(layer.weights, 20)}"
        part.add(f"l{layer.index}", "card", title, (delta, *layer.equations(digits)), gate=layer.gate.id)
    for before, after in pairwise(found):
        a = after.activation
        above = f"{words.short(a, 12)} {words.shape(a.shape)}"
        ends = f"l{before.index}", f"l{after.index}"
        part.links.append(Link(*ends, 0, a.id, above, f"delta_{after.index}"))
    return part


def _chain(circuit: Any, digits: int | None) -> Part:
    """A card for each gradient; an arrow from each to those in which it is used again."""
    boxes, found = Boxes(circuit.name), chains(circuit)

    def stands(wire: Wire) -> Box | None:
        return wire.source.box if wire.source else common(e.gate.box for e in wire.edges)

    for chain in found:
        wire = chain.wire
        lines = (Line(chain.product), _number("gradient", wire, digits, "= "))
        made = wire.source.id if wire.source else -1
        boxes.part(stands(wire)).add(f"w{wire.id}", "card", chain.written, lines, gate=made, wire=wire.id)
        if any(gate.verdict == "wrong" for gate in wire.gates):  # it has a part in this gradient
            boxes.badge(stands(wire), f"w{wire.id}", WRONG)
    for chain in found:
        gate = chain.wire.source
        for wire in dict.fromkeys(gate.inputs if gate else ()):
            if wire.differentiable:
                ends = stands(chain.wire), f"w{chain.wire.id}", stands(wire), f"w{wire.id}"
                boxes.connect(chain.wire, *ends, 0, lambda source, last: ("", "", "", False))
    return boxes.root
