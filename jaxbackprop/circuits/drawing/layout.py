"""Every node in its place: columns with few crossings from a layout library, then rows and widths from sizes.

This is the only place where anything is arranged. A page gets, for each subgraph, the arrangement with the boxes in it
closed; how opening a box moves its surroundings apart stands in `page/compose.js`.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from fast_sugiyama import from_edges

from .graph import Edge, Key, Node, Subgraph

CHARACTER = 7.25
"""The width of a character of the labels, in pixels."""

GAP, ROW, PAD, TITLE = 34.0, 26.0, 18.0, 16.0
"""Between columns, between rows, inside a border, below a box's title; in pixels."""


@dataclass
class Order:
    """A subgraph's nodes in columns from left to right, each from top to bottom; long edges pass through bends.

    `ways[i]` are the nodes and bends of edge i from its source to its target.
    """

    columns: list[list[Key]]
    ways: list[list[Key]]


@dataclass
class Column:
    """A column's place, and the space on its right."""

    left: float
    right: float
    gap: float


@dataclass
class Placed:
    """A node with its place, the column it stands in, and the placed inside of a box that is open."""

    node: Node
    column: int
    x: float
    y: float
    w: float
    h: float
    inside: "Picture | None" = None

    @property
    def middle(self) -> float:
        return self.y + self.h / 2


@dataclass
class Route:
    """An edge with its way.

    Attributes:
        edge: the edge.
        points: to be joined by a smooth line.
        bends: the column and the height of each bend.
        first: whether it is the first of its wire from this node, which has the wire's label.
        lead: the length of straight line that the label at its beginning needs.
        tail: the length that the label at its end needs.
    """

    edge: Edge
    points: list[tuple[float, float]]
    bends: list[tuple[int, float]]
    first: bool
    lead: float
    tail: float


@dataclass
class Picture:
    """A subgraph with everything in its place, from (0, 0)."""

    subgraph: Subgraph
    order: Order
    width: float = 0.0
    height: float = 0.0
    columns: list[Column] = field(default_factory=list)
    nodes: dict[Key, Placed] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)


def place(subgraph: Subgraph, opened: bool | Collection[int] = True, order: Order | None = None) -> Picture:
    """Everything in its place.

    Args:
        subgraph: what is to be drawn.
        opened: the boxes drawn open, by id; True for all.
        order: the order of its nodes, where it is known: it does not depend on sizes.
    """
    order = order or _order(subgraph)
    picture = Picture(subgraph, order)
    insides = {
        key: place(node.inside, opened)
        for key, node in subgraph.nodes.items()
        if node.inside is not None and (opened is True or (opened is not False and node.inside.box in opened))
    }
    sizes = _sizes(subgraph, insides)
    middles = _middles(order, sizes, {key for key, node in subgraph.nodes.items() if node.kind in LABELS})
    top = min((middles[key] - _height(sizes, key) / 2 for column in order.columns for key in column), default=0.0)
    down = PAD + (TITLE if subgraph.kind != "root" else 0) - top
    middles = {key: y + down for key, y in middles.items()}
    lengths = _label_lengths(subgraph, order)
    x = PAD
    for k, column in enumerate(order.columns):
        width = max(sizes[key][0] if key in sizes else 0.0 for key in column)
        gap = GAP + max(lengths.get(key, 0.0) for key in column) if k + 1 < len(order.columns) else 0.0
        picture.columns.append(Column(x, x + width, gap))
        for key in column:
            if key in sizes:
                (w, h), left = sizes[key], x + (width - sizes[key][0]) / 2
                picture.nodes[key] = Placed(subgraph.nodes[key], k, left, middles[key] - h / 2, w, h, insides.get(key))
        x += width + gap
    picture.width = max(x + PAD, least_width(subgraph))
    drawn = [middles[key] + _height(sizes, key) / 2 for column in order.columns for key in column]
    picture.height = max(drawn, default=0.0) + PAD
    for key, placed in picture.nodes.items():  # ports stand in the border
        if placed.node.kind == "port":
            placed.x = (0.0 if key.kind == "entry" else picture.width) - placed.w / 2
    _route(picture, middles)
    return picture


def least_width(subgraph: Subgraph) -> float:
    """The width that the title needs."""
    return CHARACTER * len(subgraph.title) + 3 * PAD


def _order(subgraph: Subgraph) -> Order:
    """Columns and rows for a subgraph's nodes, crossings few."""
    keys = list(subgraph.nodes)
    number = {key: i for i, key in enumerate(keys)}
    pairs = list(dict.fromkeys((number[e.source], number[e.target]) for e in subgraph.edges if e.source != e.target))
    seats: dict[int, tuple[float, float]] = {}
    ahead: dict[int, list[int]] = {}
    shift = 0.0
    for component, _, _, lines in from_edges(pairs, vertex_spacing=1, dummy_vertices=True) if pairs else ():
        places, edges = cast(list[tuple[int, tuple[float, float]]], component), cast(list[tuple[int, int]], lines or [])
        base = max([len(keys), *seats])  # bends are numbered anew in each component
        rename = {n: n if n < len(keys) else base + 1 + n for n, _ in places}
        top = max(y for _, (_, y) in places)
        left = min(x for _, (x, _) in places)
        for n, (x, y) in places:
            seats[rename[n]] = (top - y, shift + x - left)
        shift += max(x for _, (x, _) in places) - left + 1
        for s, t in edges:
            ahead.setdefault(rename[s], []).append(rename[t])
    for i in range(len(keys)):
        if i not in seats:
            seats[i], shift = (0.0, shift), shift + 1

    def key_of(n: int) -> Key:
        return keys[n] if n < len(keys) else Key("bend", n)

    ranks = sorted({round(rank) for rank, _ in seats.values()})
    columns: list[list[Key]] = [[] for _ in ranks]
    for n in sorted(seats, key=lambda n: seats[n][1]):
        columns[ranks.index(round(seats[n][0]))].append(key_of(n))
    ways = _ways(ahead, len(keys))
    order = Order(
        columns, [[key_of(n) for n in ways.get((number[e.source], number[e.target]), ())] for e in subgraph.edges]
    )
    _move_ports_to_the_border(subgraph, order)
    _sort_labels_by_slot(subgraph, order)
    return order


def _sort_labels_by_slot(subgraph: Subgraph, order: Order) -> None:
    """The labels that enter a gate of ordered inputs stand above or below its other input as their slots are."""
    into: dict[Key, list[tuple[int, Key]]] = {}
    uses: dict[Key, int] = {}
    for edge, way in zip(subgraph.edges, order.ways, strict=True):
        uses[edge.source] = uses.get(edge.source, 0) + 1
        if way and _is_ordered(subgraph.nodes[edge.target]):
            into.setdefault(edge.target, []).append((edge.slot, way[-2]))
    for column in order.columns:
        for entering in into.values():
            keys = [key for _, key in sorted(entering, key=lambda item: item[0]) if key in column]
            others = [k for k in keys if k.kind == "bend" or subgraph.nodes[k].kind not in LABELS or uses[k] > 1]
            if len(keys) == len(set(keys)) and len(others) < 2:
                for place, key in zip(sorted(map(column.index, keys)), keys, strict=True):
                    column[place] = key


def _ways(ahead: dict[int, list[int]], real: int) -> dict[tuple[int, int], list[int]]:
    """For each pair of nodes the nodes and bends that their edge passes, both ends included."""
    ways = {}
    for start in [n for n in ahead if n < real]:
        for n in ahead[start]:
            way = [start, n]
            while way[-1] >= real:
                way.append(ahead[way[-1]][0])
            ways[start, way[-1]] = way
    return ways


def _move_ports_to_the_border(subgraph: Subgraph, order: Order) -> None:
    """Move ports to a first or last column of their own; bends lead their edges past the columns between."""
    columns = order.columns
    ports = [key for key, node in subgraph.nodes.items() if node.kind == "port"]
    for kind, at in (("entry", 0), ("exit", -1)):
        if any(key.kind == kind for key in ports) and not all(key.kind == kind for key in columns[at]):
            columns.insert(0 if at == 0 else len(columns), [])
    for port in ports:
        at = next(k for k, column in enumerate(columns) if port in column)
        entering = port.kind == "entry"
        passed = range(1, at + 1) if entering else range(at, len(columns) - 1)
        bends = [Key("bend", -1 - (2 * port.id + entering), k) for k in passed]
        share = columns[at].index(port) / len(columns[at])
        columns[at].remove(port)
        for k, bend in zip(passed, bends, strict=True):
            columns[k].insert(round(share * len(columns[k])), bend)
        border = columns[0 if entering else -1]
        border.insert(round(share * len(border)), port)
        for way in order.ways:
            if entering and way and way[0] == port:
                way[1:1] = bends
            elif not entering and way and way[-1] == port:
                way[-1:-1] = bends


def _sizes(subgraph: Subgraph, insides: dict[Key, Picture]) -> dict[Key, tuple[float, float]]:
    """The width and height of each node; taller where many wires leave it or many labelled arrows enter it."""
    wires_out: dict[Key, set[int]] = {}
    labels_in: dict[Key, int] = {}
    for edge in subgraph.edges:
        wires_out.setdefault(edge.source, set()).add(edge.wire)
        labels_in[edge.target] = labels_in.get(edge.target, 0) + (_tail(edge) > 0)
    sizes = {}
    for key, node in subgraph.nodes.items():
        if key in insides:
            sizes[key] = insides[key].width, insides[key].height
            continue
        w, h = _size(node)
        if node.kind == "node":
            h += max(0.0, 38.0 * labels_in.get(key, 0) - 58.0)
        elif node.kind in ("gate", "rule", "box"):
            h += max(0.0, 42.0 * (len(wires_out.get(key, ())) - 1))
        sizes[key] = w, h
    return sizes


def _size(node: Node) -> tuple[float, float]:
    text = max([len(node.title), *(len(line.text) for line in node.lines)]) * CHARACTER
    if node.kind in ("gate", "rule"):
        return max(34.0, len(node.title) * CHARACTER * 1.15 + 16), 34.0
    if node.kind == "port":
        return 8.0, 8.0
    if node.kind in ("card", "node"):
        return text + 22, 24.0 + 17 * len(node.lines)
    if node.kind == "box":
        return text + 34, 34.0 + 15 * len(node.lines)
    return text + 16, 24.0


def _height(sizes: dict[Key, tuple[float, float]], key: Key) -> float:
    return sizes[key][1] if key in sizes else 6.0


LABELS, LIGHT = ("argument", "literal"), 0.05
"""Nodes that make way for others, and how much they weigh: else each gate stood a little lower than the one before."""


def _middles(order: Order, sizes: dict[Key, tuple[float, float]], labels: set[Key]) -> dict[Key, float]:
    """The height at which each node's middle stands: near its neighbours', in order, nothing overlapping."""
    weights = {key: LIGHT if key in labels else 1.0 for column in order.columns for key in column}
    near: dict[Key, list[list[Key]]] = {key: [[], []] for column in order.columns for key in column}
    for way in order.ways:
        for a, b in pairwise(way):
            near[a][1].append(b)
            near[b][0].append(a)
    ys: dict[Key, float] = {}
    for column in order.columns:
        y = 0.0
        for key in column:
            ys[key] = y + _height(sizes, key) / 2
            y += _height(sizes, key) + ROW
        for key in column:
            ys[key] -= y / 2
    for sweep in range(8):
        before = dict(ys)
        side = 1 - sweep % 2  # first from the right, where everything comes together
        for column in order.columns[:: 1 if side == 0 else -1]:
            wish = []
            for key in column:
                neighbours = near[key][side] or near[key][1 - side]
                total = sum(weights[n] for n in neighbours)
                wish.append(sum(weights[n] * ys[n] for n in neighbours) / total if neighbours else ys[key])
            distances = [
                (_height(sizes, a) + _height(sizes, b)) / 2 + (ROW if a in sizes or b in sizes else 10.0)
                for a, b in pairwise(column)
            ]
            ys |= dict(zip(column, keep_apart(wish, distances, [weights[key] for key in column]), strict=True))
        if all(abs(ys[key] - y) < 0.5 for key, y in before.items()):
            break
    return ys


def keep_apart(wish: list[float], distances: list[float], weights: list[float] | None = None) -> list[float]:
    """The positions nearest to `wish` (least squares) that keep their order and distances; pools that meet merge."""
    offset, total = [0.0], 0.0
    for distance in distances:
        total += distance
        offset.append(total)
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, count
    for w, o, weight in zip(wish, offset, weights or [1.0] * len(wish)):
        pools.append((weight * (w - o), weight, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last, before = pools.pop(), pools.pop()
            pools.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    level = [total / weight for total, weight, count in pools for _ in range(count)]
    return [lv + o for lv, o in zip(level, offset)]


def _lead(edge: Edge) -> float:
    """The length of straight line that the label where an edge begins needs: the wire's own numbers."""
    return CHARACTER * max(len(edge.label.above), len(edge.label.below)) if edge.label.live else 0.0


def _tail(edge: Edge) -> float:
    """The same where it ends: the numbers of this one use."""
    label = edge.label
    ends = (label.share,) if label.live or label.share else (label.above, label.below)
    return CHARACTER * max(map(len, ends))


def _label_lengths(subgraph: Subgraph, order: Order) -> dict[Key, float]:
    """For each node and bend the length of the labels on its right.

    Those of edges that leave it, and of edges whose last piece begins there.
    """
    lengths: dict[Key, float] = {}
    for edge, way in zip(subgraph.edges, order.ways, strict=True):
        if way:
            lead, tail = _lead(edge), _tail(edge)
            lengths[way[0]] = max(lengths.get(way[0], 0.0), lead)
            both = lead + GAP / 2 if lead and tail and len(way) == 2 else 0.0
            lengths[way[-2]] = max(lengths.get(way[-2], 0.0), tail + both)
    return lengths


ORDERED = frozenset("− ÷ @ xʸ select".split())
"""Gates whose inputs are drawn in their order, whatever crosses; the others take them as they come."""


def _is_ordered(node: Node) -> bool:
    return node.kind in ("gate", "rule") and node.title in ORDERED


def _route(picture: Picture, middles: dict[Key, float]) -> None:
    ends, starts = _ends(picture, middles), _starts(picture, middles)
    column_of = {key: k for k, column in enumerate(picture.order.columns) for key in column}
    labelled: set[tuple[Key, int]] = set()
    for i, (edge, way) in enumerate(zip(picture.subgraph.edges, picture.order.ways, strict=True)):
        if not way:
            continue
        source, target, lead, tail = picture.nodes[edge.source], picture.nodes[edge.target], _lead(edge), _tail(edge)
        points = [(source.x + source.w, starts[edge.source, edge.wire])]
        # Level within a column, so that it crosses no wider node above or below.
        right, left = picture.columns[source.column].right, picture.columns[target.column].left
        points.append((max(right, points[0][0] + (lead + 8 if lead else 0)), points[0][1]))
        bends = [(column_of[key], middles[key]) for key in way[1:-1]]
        for k, y in bends:
            points += [(picture.columns[k].left, y), (picture.columns[k].right, y)]
        points.append((min(left, target.x - (tail + 16 if tail else 0)), ends[i]))
        points.append((target.x, ends[i]))
        first = (edge.source, edge.wire) not in labelled
        picture.routes.append(Route(edge, points, bends, first, lead, tail))
        labelled.add((edge.source, edge.wire))


def _ends(picture: Picture, middles: dict[Key, float]) -> list[float]:
    """The height at which each edge enters its target: at a port of an open box, else spread over the gate's side."""
    edges, ways = picture.subgraph.edges, picture.order.ways
    into: dict[Key, list[int]] = {}
    for i, edge in enumerate(edges):
        if ways[i]:
            into.setdefault(edge.target, []).append(i)
    heights = [0.0] * len(edges)
    for key, entering in into.items():
        target = picture.nodes[key]
        ordered = _is_ordered(target.node)
        entering.sort(key=lambda i: edges[i].slot if ordered else middles[ways[i][-2]])
        for k, i in enumerate(entering):
            port = target.inside and target.inside.nodes.get(Key("entry", edges[i].wire))
            if port:
                heights[i] = target.y + port.middle
            elif len(entering) == 1:
                heights[i] = target.middle
            elif target.node.kind == "node":
                heights[i] = target.y + target.h * (k + 0.5) / len(entering)
            else:
                heights[i] = target.y + target.h * (0.15 + 0.7 * (k + 1) / (len(entering) + 1))
    return heights


def _starts(picture: Picture, middles: dict[Key, float]) -> dict[tuple[Key, int], float]:
    """The height at which each wire leaves each node: at a port of an open box, else spread over its side."""
    leaving: dict[Key, dict[int, list[float]]] = {}
    for edge, way in zip(picture.subgraph.edges, picture.order.ways, strict=True):
        if way:
            leaving.setdefault(edge.source, {}).setdefault(edge.wire, []).append(middles[way[1]])
    heights = {}
    for key, wires in leaving.items():
        source = picture.nodes[key]
        ordered = sorted(wires, key=lambda w: sum(wires[w]) / len(wires[w]))
        for k, wire in enumerate(ordered):
            port = source.inside and source.inside.nodes.get(Key("exit", wire))
            heights[key, wire] = source.y + (port.middle if port else source.h * (k + 0.5) / len(ordered))
    return heights
