"""What is to be drawn, before anything has a place: items and links, box within box. One plan a view.

Arguments used often stand as labels beside each use, so that weights make no web of lines. Nothing here measures.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from . import words
from .model import Box, Gate, Wire
from .views import chains, layers

PORTALS = 3
"""An argument used more often than this is drawn as a label at each use."""


@dataclass(eq=False)
class Item:
    """Something with a place: a gate, a closed box, a label (argument, literal, output), a port in a box's border."""

    id: str
    kind: str
    title: str
    lines: tuple[str, ...] = ()
    badge: str = ""
    part: "Part | None" = None


@dataclass(frozen=True, eq=False)
class Link:
    """A line from one item to another, entering at `slot`; what stands above and below it, and its own share."""

    source: str
    target: str
    slot: int
    wire: int
    above: str = ""
    below: str = ""
    share: str = ""


@dataclass(eq=False)
class Part:
    """The inside of a box, or the whole: items in order, links between them."""

    title: str
    kind: str
    items: dict[str, Item] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    box: int = -1

    def add(self, id: str, kind: str, title: str, lines: tuple[str, ...] = (), badge: str = "") -> Item:
        return self.items.setdefault(id, Item(id, kind, title, lines, badge))


def plan(circuit: Any, view: str, digits: int | None) -> Part:
    """The plan of one view; ValueError for a name that is none."""
    made = {"circuit": _circuit, "flowgraph": _flowgraph, "deltas": _deltas, "chain": _chain}
    if view not in made:
        raise ValueError(f"there is no view {view!r}; there are {', '.join(made)}.")
    return made[view](circuit, digits)


BADGES = {"wrong": "✗", "kink": "∧", "undecided": "?"}


class _Planner:
    """Sorts gates into the parts they stand in, and leads each wire from part to part through ports."""

    def __init__(self, circuit: Any, digits: int | None):
        self.circuit, self.digits = circuit, digits
        self.root = Part(circuit.name, "root")
        self.parts: dict[Box | None, Part] = {None: self.root}
        self.made: set[tuple[int, str, int, int]] = set()
        for gate in circuit.gates:
            self.part(gate.box).add(
                f"g{gate.id}",
                "rule" if gate.kind == "rule" else "gate",
                words.sign(gate),
                badge=BADGES.get(gate.verdict, ""),
            )
        for wire in circuit.wires:
            self.lead(wire)
        for k, wire in enumerate(circuit.outputs):
            self.root.add(f"o{k}", "output", words.short(wire, 20))
            self.connect(
                wire,
                wire.source.box if wire.source else None,
                _item(wire.source) or self.label(wire, None),
                None,
                f"o{k}",
                0,
                None,
            )

    def part(self, box: Box | None) -> Part:
        if box not in self.parts:
            assert box is not None
            outer = self.part(box.parent)
            self.parts[box] = made = Part(box.name, box.kind, box=box.id)
            outer.add(
                f"b{box.id}", "box", box.name, (box.note,) if box.kind != "scope" and box.note else ()
            ).part = made
        return self.parts[box]

    def lead(self, wire: Wire) -> None:
        """Draw every use of a wire."""
        if wire.source is not None:
            for edge in wire.edges:
                self.connect(
                    wire, wire.source.box, f"g{wire.source.id}", edge.gate.box, f"g{edge.gate.id}", edge.slot, edge
                )
            return
        shared = wire.kind != "literal" and len(wire.edges) <= PORTALS and len({e.gate.box for e in wire.edges}) == 1
        for k, edge in enumerate(wire.edges):
            label = self.label(wire, edge.gate.box, None if shared else k)
            self.connect(wire, edge.gate.box, label, edge.gate.box, f"g{edge.gate.id}", edge.slot, edge)
        if not wire.edges and wire.kind == "argument" and not wire.is_output:
            self.label(wire, None)

    def label(self, wire: Wire, box: Box | None, use: int | None = None) -> str:
        id = f"a{wire.id}" if use is None else f"a{wire.id}.{use}"
        self.part(box).add(id, "literal" if wire.kind == "literal" else "argument", words.short(wire, 22))
        return id

    def connect(
        self, wire: Wire, start: Box | None, source: str, end: Box | None, target: str, slot: int, edge: Any
    ) -> None:
        """A line from one box to another: out through borders, across, in through borders."""
        up, down = list(_outward(start)), list(_outward(end))
        shared = set(up) & set(down)
        for box in up:
            if box is None or box in shared:
                break
            part = self.part(box)
            part.add(f"x{wire.id}", "port", words.short(wire, 16))
            self.link(part, wire, source, f"x{wire.id}", 0, None)
            source = f"b{box.id}"
        for box in reversed([box for box in down if box is not None and box not in shared]):
            self.link(self.part(box.parent), wire, source, f"b{box.id}", wire.id, None)
            self.part(box).add(f"e{wire.id}", "port", words.short(wire, 16))
            source = f"e{wire.id}"
        self.link(self.part(end), wire, source, target, slot, edge)

    def link(self, part: Part, wire: Wire, source: str, target: str, slot: int, edge: Any) -> None:
        if (part.box, source + target, slot, wire.id) in self.made:
            return
        self.made.add((part.box, source + target, slot, wire.id))
        literal = wire.kind == "literal"
        share = ""
        if edge is not None and wire.differentiable and len(wire.edges) > 1:
            share = words.array(edge.gradient, self.digits)
        above = "" if literal or source.startswith("e") else words.array(wire.value, self.digits)
        below = (
            ""
            if literal or not wire.differentiable or source.startswith("e")
            else words.array(wire.gradient, self.digits)
        )
        part.links.append(Link(source, target, slot, wire.id, above, below, share))


def _outward(box: Box | None) -> Iterable[Box | None]:
    while box is not None:
        yield box
        box = box.parent
    yield None


def _item(gate: Gate | None) -> str:
    return f"g{gate.id}" if gate is not None else ""


def _circuit(circuit: Any, digits: int | None) -> Part:
    return _Planner(circuit, digits).root


def _flowgraph(circuit: Any, digits: int | None) -> Part:
    """Values are nodes, with their gradients; each arrow says its local derivative above and its share below."""
    part = Part(circuit.name, "root")
    for wire in circuit.wires:
        if wire.kind != "literal" and (wire.edges or wire.source):
            part.add(f"w{wire.id}", "node", words.short(wire, 20), _pair(wire, digits))
    for gate in circuit.gates:
        for edge in gate.edges:
            if edge.wire.kind == "literal":
                continue
            for out in gate.outputs:
                local = gate.local(edge.slot) if edge.wire.differentiable else None
                above = words.number(local, digits) if local is not None else gate.name
                below = words.array(edge.gradient, digits) if edge.wire.differentiable else ""
                part.links.append(Link(f"w{edge.wire.id}", f"w{out.id}", edge.slot, edge.wire.id, above, below))
    return part


def _pair(wire: Wire, digits: int | None) -> tuple[str, ...]:
    return (words.array(wire.value, digits), words.array(wire.gradient, digits))


def _deltas(circuit: Any, digits: int | None) -> Part:
    """A card for each layer, a arrow of deltas between them, shapes lining up."""
    part = Part(circuit.name, "root")
    found = layers(circuit)
    for layer in found:
        delta = f"delta_{layer.index} = {words.array(layer.delta.gradient, digits)}"
        part.add(
            f"l{layer.index}",
            "card",
            f"layer {layer.index}: {words.short(layer.weights, 20)}",
            (delta, *layer.equations(digits)),
        )
    for before, after in pairwise(found):
        a = after.activation
        part.links.append(
            Link(
                f"l{before.index}",
                f"l{after.index}",
                0,
                a.id,
                words.short(a, 12) + " " + words.shape(a.shape),
                f"delta_{after.index}",
            )
        )
    return part


def _chain(circuit: Any, digits: int | None) -> Part:
    """A card for each gradient; an arrow from each to those in which it is used again."""
    part = Part(circuit.name, "root")
    for chain in chains(circuit):
        lines = (chain.product, f"= {words.array(chain.wire.gradient, digits)}")
        part.add(f"w{chain.wire.id}", "card", chain.written, lines)
    for chain in chains(circuit):
        gate = chain.wire.source
        for wire in dict.fromkeys(gate.inputs if gate else ()):
            if wire.differentiable:
                part.links.append(Link(f"w{chain.wire.id}", f"w{wire.id}", 0, wire.id))
    return part
