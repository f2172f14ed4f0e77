"""What is to be drawn, before anything has a place: nodes and edges, box within box. One picture a view.

A wire from one box to another passes through ports in the borders between. Arguments used often stand as labels beside
each use, so that weights make no web of lines.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from .. import model
from ..model import Box, Gate, Graph, Wire
from .format import Line, format_array, format_number, format_shape, gate_symbol, number_line, short_name
from .layers_and_chains import NO_LAYERS, chains, layers

LISTED = 6
"""A closed box lists the gradients of this many of the arguments that enter gates in it."""

PORTALS = 3
"""An argument used more often than this is drawn as a label at each use."""

WRONG = "✗"
BADGES = {"wrong": WRONG, "kink": "∧", "undecided": "?"}

VIEWS = ("circuit", "flowgraph", "deltas", "chain")

KeyKind = Literal["gate", "box", "label", "entry", "exit", "output", "wire", "layer", "bend"]


@dataclass(frozen=True)
class Key:
    """Which node it is.

    Attributes:
        kind: a gate, a closed or open box, the label of an argument or literal, a port where a wire enters or leaves a
            box, an output of the whole, the node or card of a wire, the card of a layer, a bend of a long edge.
        id: of the gate, box, wire or layer; the number of the output or bend.
        use: which use of the wire it is, where each has a node of its own.
    """

    kind: KeyKind
    id: int
    use: int | None = None

    def __str__(self) -> str:
        """A short name, unique in its subgraph; for elements of a page."""
        letter = "~" if self.kind == "bend" else "x" if self.kind == "exit" else self.kind[0]
        letter = "a" if self.kind == "label" else letter
        return f"{letter}{self.id}" if self.use is None else f"{letter}{self.id}.{self.use}"


@dataclass(frozen=True)
class Label:
    """What stands on an edge.

    Attributes:
        above: above its line, a value or a local derivative.
        below: below its line, a gradient.
        share: where it ends, the share of the gradient that comes back through it.
        live: whether above and below are the wire's own value and gradient, which a page may show step by step.
    """

    above: str = ""
    below: str = ""
    share: str = ""
    live: bool = False


LabelFunction = Callable[[Key, bool], Label]
"""From the node where a piece of a wire begins, and whether the piece is the last: what stands on it."""


@dataclass(eq=False)
class Node:
    """Something with a place.

    Attributes:
        key: which it is.
        kind: how it is drawn: "gate", "rule", "box", "argument", "literal", "output", "card", "node" or "port".
        title: its text.
        lines: more text below.
        badge: a mark at its corner.
        gate: the gate it shows, or that makes its number; -1 for none.
        wire: the wire it shows; -1 for none.
        inside: what a box holds.
    """

    key: Key
    kind: str
    title: str
    lines: tuple[Line, ...] = ()
    badge: str = ""
    gate: int = -1
    wire: int = -1
    inside: "Subgraph | None" = None


@dataclass(frozen=True, eq=False)
class Edge:
    """A line from one node to another, entering at `slot` where that is a gate; a piece of the way of a wire."""

    source: Key
    target: Key
    slot: int
    wire: int
    label: Label


@dataclass(eq=False)
class Subgraph:
    """The inside of a box, or the whole: nodes in order, edges between them."""

    title: str
    kind: str
    nodes: dict[Key, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    box: int = -1

    def add(
        self, key: Key, kind: str, title: str, lines: tuple[Line, ...] = (), *, gate: int = -1, wire: int = -1
    ) -> Node:
        """The node of that key, made where there is none yet."""
        return self.nodes.setdefault(key, Node(key, kind, title, lines, "", gate, wire))


def plan(graph: Graph, view: str, digits: int | None) -> Subgraph:
    """What one view shows.

    Raises:
        ValueError: there is no such view.
    """
    views = {"circuit": _circuit, "flowgraph": _flowgraph, "deltas": _deltas, "chain": _chain}
    if view not in views:
        raise ValueError(f"there is no view {view!r}; there are {', '.join(views)}.")
    return views[view](graph, digits)


def plan_inside(graph: Graph, digits: int | None) -> Subgraph:
    """What an opened rule shows: its arguments and results are ports in its border, where the outer wires arrive."""
    return _Circuit(graph, digits, joined=True).root


class _Boxes:
    """The subgraphs of a picture, one for each box that has something in it, and the edges between them."""

    def __init__(self, title: str):
        self.root = Subgraph(title, "root")
        self.subgraphs: dict[Box | None, Subgraph] = {None: self.root}
        self.joined_already: set[tuple[int, Key, Key, int, int]] = set()

    def subgraph(self, box: Box | None) -> Subgraph:
        """The subgraph of `box`, made with those around it where there is none yet."""
        if box not in self.subgraphs:
            assert box is not None
            outer = self.subgraph(box.parent)
            self.subgraphs[box] = inner = Subgraph(box.name, box.kind, box=box.id)
            lines = (Line(box.note),) if box.kind != "scope" and box.note else ()
            outer.add(Key("box", box.id), "box", box.name, lines).inside = inner
        return self.subgraphs[box]

    def badge(self, box: Box | None, key: Key, mark: str) -> None:
        """Mark a node; where it is wrong, every box around it too, since it may be closed."""
        self.subgraph(box).nodes[key].badge = mark
        for around in _outward(box) if mark == WRONG else ():
            if around is not None:
                self.subgraph(around.parent).nodes[Key("box", around.id)].badge = mark

    def connect(
        self, wire: Wire, start: Box | None, source: Key, end: Box | None, target: Key, slot: int, label: LabelFunction
    ) -> None:
        """An edge from a node of one box to a node of another: out through borders, across, in through borders."""
        up, down = list(_outward(start)), list(_outward(end))
        shared = set(up) & set(down)
        for box in up:
            if box is None or box in shared:
                break
            port = self.subgraph(box).add(Key("exit", wire.id), "port", wire.name, wire=wire.id).key
            self._join(self.subgraph(box), Edge(source, port, 0, wire.id, label(source, False)))
            source = Key("box", box.id)
        for box in reversed([box for box in down if box is not None and box not in shared]):
            into = Key("box", box.id)
            self._join(self.subgraph(box.parent), Edge(source, into, 0, wire.id, label(source, False)))
            source = self.subgraph(box).add(Key("entry", wire.id), "port", wire.name, wire=wire.id).key
        self._join(self.subgraph(end), Edge(source, target, slot, wire.id, label(source, True)))

    def _join(self, subgraph: Subgraph, edge: Edge) -> None:
        identity = (subgraph.box, edge.source, edge.target, edge.slot, edge.wire)
        if identity not in self.joined_already:
            self.joined_already.add(identity)
            subgraph.edges.append(edge)


def _outward(box: Box | None) -> Iterable[Box | None]:
    """The boxes around, from `box` itself to None, which stands for the whole."""
    while box is not None:
        yield box
        box = box.parent
    yield None


def _common(boxes: Iterable[Box | None]) -> Box | None:
    """The innermost box that holds all of `boxes`; None for the whole."""
    paths = [list(_outward(box))[::-1] for box in boxes]
    innermost: Box | None = None
    for level in zip(*paths):
        if any(box is not level[0] for box in level):
            break
        innermost = level[0]
    return innermost


def _circuit(graph: Graph, digits: int | None) -> Subgraph:
    return _Circuit(graph, digits).root


class _Circuit(_Boxes):
    """The circuit: gates in the boxes they stand in, wires routed from box to box."""

    def __init__(self, graph: Graph, digits: int | None, *, joined: bool = False):
        super().__init__(graph.name)
        self.digits, self.joined = digits, joined
        self.labels_in: dict[Box, dict[Wire, None]] = {}
        for gate in graph.gates:
            key = Key("gate", gate.id)
            self.subgraph(gate.box).add(key, "rule" if gate.kind == "rule" else "gate", gate_symbol(gate), gate=gate.id)
            self.badge(gate.box, key, BADGES.get(gate.verdict, ""))
        for wire in graph.wires:
            self.route(wire)
        for k, wire in enumerate(graph.outputs):
            end = Key("exit", wire.id) if joined else Key("output", k)
            self.root.add(end, "port" if joined else "output", short_name(wire, 20), wire=wire.id)
            self.connect(wire, wire.box, self.start(wire), None, end, 0, self.label_function(wire, None))
        for box, wires in self.labels_in.items():
            self.subgraph(box.parent).nodes[Key("box", box.id)].lines += tuple(self.listed(list(wires)))

    def start(self, wire: Wire) -> Key:
        """The node that a wire of a gate, or a port, begins at."""
        return Key("gate", wire.source.id) if wire.source is not None else self.label(wire, None)

    def route(self, wire: Wire) -> None:
        """Draw every use of a wire."""
        if wire.source is not None or (self.joined and wire.kind == "argument"):
            for edge in wire.edges:
                self.use(edge, wire.box, self.start(wire))
            return
        shared = _one_label(wire) and wire.kind != "literal"
        for k, edge in enumerate(wire.edges):
            self.use(edge, edge.gate.box, self.label(wire, edge.gate.box, None if shared else k))
        if not wire.edges and wire.kind == "argument" and not wire.is_output:
            self.label(wire, None)

    def use(self, edge: model.Edge, box: Box | None, start: Key) -> None:
        """Draw one use of a wire."""
        end = Key("gate", edge.gate.id)
        self.connect(edge.wire, box, start, edge.gate.box, end, edge.slot, self.label_function(edge.wire, edge))

    def label(self, wire: Wire, box: Box | None, use: int | None = None) -> Key:
        """The label of an argument or literal; in an opened rule, its port."""
        if self.joined and wire.kind == "argument":
            return self.root.add(Key("entry", wire.id), "port", short_name(wire, 22), wire=wire.id).key
        kind = "literal" if wire.kind == "literal" else "argument"
        for around in _outward(box) if kind == "argument" else ():
            if around is not None:
                self.labels_in.setdefault(around, {})[wire] = None
        return self.subgraph(box).add(Key("label", wire.id, use), kind, short_name(wire, 22), wire=wire.id).key

    def listed(self, arguments: list[Wire]) -> Iterable[Line]:
        """What a closed box says of the arguments whose labels are in it."""
        trained = [wire for wire in arguments if wire.differentiable]
        for wire in trained[:LISTED]:
            yield number_line("gradient", wire, self.digits, f"{short_name(wire, 22)}: gradient ")
        if len(trained) > LISTED:
            yield Line(f"… and {len(trained) - LISTED} more", which="more")

    def label_function(self, wire: Wire, edge: model.Edge | None) -> LabelFunction:
        """The wire's value and gradient where it begins, and where it ends the share of one use."""

        def label(source: Key, last: bool) -> Label:
            share = ""
            if last and edge is not None and wire.differentiable and len(wire.edges) > 1:
                share = format_array(edge.gradient, self.digits)
            if wire.kind == "literal" or source.kind == "entry":  # the numbers stand where the wire begins
                return Label(share=share)
            below = format_array(wire.gradient, self.digits) if wire.differentiable else ""
            return Label(format_array(wire.value, self.digits), below, share, live=True)

        return label


def _one_label(wire: Wire) -> bool:
    """Whether all uses of an argument lead from one label."""
    return len(wire.edges) <= PORTALS and len({edge.gate.box for edge in wire.edges}) == 1


def _no_label(source: Key, last: bool) -> Label:
    return Label()


def _flowgraph(graph: Graph, digits: int | None) -> Subgraph:
    """Values are nodes, with their gradients; on each arrow its local derivative above and its share below."""
    boxes = _Boxes(graph.name)

    def node(wire: Wire, box: Box | None, use: int | None = None) -> Key:
        lines = (number_line("value", wire, digits), number_line("gradient", wire, digits))
        maker = wire.source.id if wire.source else -1
        key = Key("wire", wire.id, use)
        return boxes.subgraph(box).add(key, "node", short_name(wire, 20), lines, gate=maker, wire=wire.id).key

    for wire in graph.wires:
        if wire.source is not None:
            boxes.badge(wire.source.box, node(wire, wire.source.box), BADGES.get(wire.source.verdict, ""))
    for gate in graph.gates:
        for edge in gate.edges:
            wire = edge.wire
            if wire.kind == "literal":
                continue
            box = wire.box if wire.source else gate.box
            start = node(wire, box, None if wire.source or _one_label(wire) else wire.edges.index(edge))
            label = _arrow(gate, edge, digits)
            for out in gate.outputs:
                boxes.connect(wire, box, start, gate.box, Key("wire", out.id), edge.slot, label)
    return boxes.root


def _arrow(gate: Gate, edge: model.Edge, digits: int | None) -> LabelFunction:
    """On an arrow: the local derivative (the gate's name, for arrays) and the share of the gradient it brings.

    No share where a gate has several outputs: what comes back through each of them is not known apart.
    """
    local = gate.local(edge.slot) if edge.wire.differentiable else None
    above = format_number(local, digits) if local is not None else gate.name
    below = format_array(edge.gradient, digits) if edge.wire.differentiable and len(gate.outputs) == 1 else ""
    return lambda source, last: Label(above, below) if last else Label()


def _deltas(graph: Graph, digits: int | None) -> Subgraph:
    """A card for each layer, an arrow of deltas between them, shapes lining up."""
    root, rows = Subgraph(graph.name, "root"), layers(graph)
    if not rows:
        root.add(Key("layer", 0), "card", NO_LAYERS)
    for layer in rows:
        delta = number_line("gradient", layer.delta, digits, f"delta_{layer.index} = ")
        title = f"layer {layer.index}: {short_name(layer.weights, 20)}"
        root.add(Key("layer", layer.index), "card", title, (delta, *layer.equations(digits)), gate=layer.gate.id)
    for before, after in pairwise(rows):
        a = after.activation
        label = Label(f"{short_name(a, 12)} {format_shape(a.shape)}", f"delta_{after.index}")
        root.edges.append(Edge(Key("layer", before.index), Key("layer", after.index), 0, a.id, label))
    return root


def _chain(graph: Graph, digits: int | None) -> Subgraph:
    """A card for each gradient; an arrow from each to those in which it is used again."""
    boxes, rows = _Boxes(graph.name), chains(graph)

    def box_of(wire: Wire) -> Box | None:
        return wire.source.box if wire.source else _common(e.gate.box for e in wire.edges)

    for chain in rows:
        wire, key = chain.wire, Key("wire", chain.wire.id)
        lines = (Line(chain.product), number_line("gradient", wire, digits, "= "))
        maker = wire.source.id if wire.source else -1
        boxes.subgraph(box_of(wire)).add(key, "card", chain.title, lines, gate=maker, wire=wire.id)
        if any(gate.verdict == "wrong" for gate in wire.gates):  # it has a part in this gradient
            boxes.badge(box_of(wire), key, WRONG)
    for chain in rows:
        gate, start = chain.wire.source, Key("wire", chain.wire.id)
        for wire in dict.fromkeys(gate.inputs if gate else ()):
            if wire.differentiable:
                boxes.connect(chain.wire, box_of(chain.wire), start, box_of(wire), Key("wire", wire.id), 0, _no_label)
    return boxes.root
