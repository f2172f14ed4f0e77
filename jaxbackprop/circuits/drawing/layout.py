"""A plan becomes placed parts, the one picture: columns from a layout library (columns.py), places from sizes.

The order of a part does not depend on which boxes in it are open, so it is found once; places follow at no cost.
The page does the second half again in the browser when a box opens, from the same layers.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import pairwise

from .columns import Order, order
from .graph_model import Item, Link, Part

CHARACTER = 7.25
"""The width of a character of the labels, in pixels."""
GAP, ROW, PAD, TITLE = 34.0, 26.0, 18.0, 16.0


@dataclass
class Placed:
    """An item with its place, and the placed inside of a box that is open."""

    item: Item
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
    """A link with its way: a list of points, to be drawn smooth; `fork` where the wire has other uses here."""

    link: Link
    points: list[tuple[float, float]]
    first: bool


@dataclass
class Picture:
    """A part with everything in its place, from (0, 0)."""

    part: Part
    width: float
    height: float
    items: dict[str, Placed] = field(default_factory=dict)
    routes: list[Route] = field(default_factory=list)


def place(part: Part, opened: bool | Collection[int] = True) -> Picture:
    """Everything in its place, the boxes in `opened` (by id; True: all) drawn open."""
    found = order(part)
    insides = {
        id: place(item.part, opened)
        for id, item in part.items.items()
        if item.part is not None and (opened is True or (opened is not False and item.part.box in opened))
    }
    outputs: dict[str, set[int]] = {}
    said: dict[str, int] = {}
    for link in part.links:
        outputs.setdefault(link.source, set()).add(link.wire)
        said[link.target] = said.get(link.target, 0) + (_tail(link) > 0)
    sizes = {}
    for id, item in part.items.items():
        w, h = _size(item, insides.get(id))
        sizes[id] = (w, h if id in insides else h + _grown(item, len(outputs.get(id, ())), said.get(id, 0)))
    ys = _rows(found, sizes, part)
    top = min((ys[n] - _height(sizes, n) / 2 for column in found.columns for n in column), default=0.0)
    picture = Picture(part, 0, 0)
    lefts: dict[str, float] = {}
    rights: dict[str, float] = {}
    x = PAD
    for k, column in enumerate(found.columns):
        width = max(sizes[n][0] if n in sizes else 0.0 for n in column)
        for n in column:
            w, h = sizes.get(n, (width, 0.0))
            lefts[n], rights[n] = x + (width - w) / 2, x + (width + w) / 2
            if n in sizes:
                y = ys[n] - top + PAD + (TITLE if part.kind != "root" else 0) - h / 2
                picture.items[n] = Placed(part.items[n], lefts[n], y, w, h, insides.get(n))
        x += width + (_room(part, column, found) if k + 1 < len(found.columns) else 0)
    picture.width = max(x + PAD, CHARACTER * len(part.title) + 3 * PAD)
    for id, placed in picture.items.items():  # ports stand in the border
        if placed.item.kind == "port":
            placed.x = -placed.w / 2 if id.startswith("e") else picture.width - placed.w / 2
            lefts[id], rights[id] = placed.x, placed.x + placed.w
    picture.height = max((p.y + p.h for p in picture.items.values()), default=0.0) + PAD
    _route(
        picture, found, lefts, rights, {n: y - top + PAD + (TITLE if part.kind != "root" else 0) for n, y in ys.items()}
    )
    return picture


def _size(item: Item, inside: Picture | None) -> tuple[float, float]:
    if inside is not None:
        return inside.width, inside.height
    text = max([len(item.title), *(len(line.text) for line in item.lines)]) * CHARACTER
    if item.kind in ("gate", "rule"):
        return max(34.0, len(item.title) * CHARACTER * 1.15 + 16), 34.0
    if item.kind == "port":
        return 8.0, 8.0
    if item.kind in ("card", "node"):
        return text + 22, 24.0 + 17 * len(item.lines)
    if item.kind == "box":
        return text + 34, 34.0 + 15 * len(item.lines)
    return text + 16, 24.0


def _height(sizes: dict[str, tuple[float, float]], n: str) -> float:
    return sizes[n][1] if n in sizes else 6.0


def _grown(item: Item, outputs: int, said: int) -> float:
    """How much taller an item is that many wires leave, or many arrows with words enter: their labels must not meet."""
    if item.kind == "node":
        return max(0.0, 38.0 * said - 58.0)
    return max(0.0, 42.0 * (outputs - 1)) if item.kind in ("gate", "rule", "box") else 0.0


def _rows(found: Order, sizes: dict[str, tuple[float, float]], part: Part) -> dict[str, float]:
    """The height at which each item's middle stands: near its neighbours', in order, nothing overlapping."""
    near: dict[str, list[list[str]]] = {n: [[], []] for column in found.columns for n in column}
    for route in found.routes:
        for a, b in pairwise(route):
            near[a][1].append(b)
            near[b][0].append(a)
    ys: dict[str, float] = {}
    for column in found.columns:
        y = 0.0
        for n in column:
            ys[n] = y + _height(sizes, n) / 2
            y += _height(sizes, n) + ROW
        for n in column:
            ys[n] -= y / 2
    for sweep in range(8):
        side = 1 - sweep % 2  # first from the right, where everything comes together
        for column in found.columns[:: 1 if side == 0 else -1]:
            wish = []
            for n in column:
                there = near[n][side] or near[n][1 - side]
                wish.append(sum(ys[m] for m in there) / len(there) if there else ys[n])
            apart = [
                (_height(sizes, a) + _height(sizes, b)) / 2 + (ROW if a in sizes or b in sizes else 10.0)
                for a, b in pairwise(column)
            ]
            ys |= dict(zip(column, apart_at_least(wish, apart), strict=True))
    return ys


def apart_at_least(wish: list[float], apart: list[float]) -> list[float]:
    """The positions nearest to `wish` (least squares) that keep their order and distances; pools that bump merge."""
    offset, total = [0.0], 0.0
    for gap in apart:
        total += gap
        offset.append(total)
    pools: list[list[float]] = []  # [sum, count]
    for w, o in zip(wish, offset):
        pools.append([w - o, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [pools[-1][0] + last[0], pools[-1][1] + last[1]]
    level = [s / c for s, c in pools for _ in range(int(c))]
    return [lv + o for lv, o in zip(level, offset)]


def _label(link: Link) -> float:
    """The length of straight wire that what is written where a link begins needs: the wire's own numbers."""
    return CHARACTER * max(len(link.above), len(link.below)) if link.live else 0.0


def _tail(link: Link) -> float:
    """The same where it ends: what is said of this one use."""
    return 0.0 if link.live else CHARACTER * max(len(link.above), len(link.below))


def _room(part: Part, column: list[str], found: Order) -> float:
    """The space right of a column: what its wires have written on them, and the shares of those that fork."""
    here = set(column)
    longest = 0.0
    for link, route in zip(part.links, found.routes, strict=True):
        if route and route[0] in here:
            longest = max(longest, _label(link) + CHARACTER * len(link.share))
        if route and route[-2] in here:
            longest = max(longest, _tail(link))
    return GAP + longest


ORDERED = frozenset("− ÷ @ xʸ select".split())
"""Gates whose inputs are drawn in their order, whatever crosses; the others take them as they come."""


def _route(picture: Picture, found: Order, lefts: dict, rights: dict, ys: dict[str, float]) -> None:
    ends, starts = _ends(picture, found, ys), _starts(picture, found, ys)
    labelled: set[tuple[str, int]] = set()
    for i, (link, way) in enumerate(zip(picture.part.links, found.routes, strict=True)):
        if not way:
            continue
        source, target = picture.items[link.source], picture.items[link.target]
        points = [(source.x + source.w, starts[link.source, link.wire])]
        points.append((points[0][0] + (_label(link) + 8 if _label(link) else 0), points[0][1]))
        for n in way[1:-1]:
            points += [(lefts[n], ys[n]), (rights[n], ys[n])]
        if _tail(link):
            points.append((target.x - _tail(link) - 16, ends[i]))
        points.append((target.x, ends[i]))
        key = (link.source, link.wire)
        picture.routes.append(Route(link, points, key not in labelled))
        labelled.add(key)


def _ends(picture: Picture, found: Order, ys: dict[str, float]) -> list[float]:
    """The height at which each link enters its target: at a port of an open box, else spread over the gate's side."""
    into: dict[str, list[int]] = {}
    for i, link in enumerate(picture.part.links):
        if found.routes[i]:
            into.setdefault(link.target, []).append(i)
    heights = [0.0] * len(picture.part.links)
    for name, links in into.items():
        target = picture.items[name]
        ordered = target.item.kind in ("gate", "rule") and target.item.title in ORDERED
        links.sort(key=lambda i: picture.part.links[i].slot if ordered else ys[found.routes[i][-2]])
        for k, i in enumerate(links):
            port = target.inside and target.inside.items.get(f"e{picture.part.links[i].slot}")
            if port:
                heights[i] = target.y + port.middle
            elif len(links) == 1:
                heights[i] = target.middle
            elif target.item.kind == "node":
                heights[i] = target.y + target.h * (k + 0.5) / len(links)
            else:
                heights[i] = target.y + target.h * (0.15 + 0.7 * (k + 1) / (len(links) + 1))
    return heights


def _starts(picture: Picture, found: Order, ys: dict[str, float]) -> dict[tuple[str, int], float]:
    """The height at which each wire leaves each item: at a port of an open box, else spread over its side."""
    leaving: dict[str, dict[int, list[float]]] = {}
    for link, way in zip(picture.part.links, found.routes, strict=True):
        if way:
            leaving.setdefault(link.source, {}).setdefault(link.wire, []).append(ys[way[1]])
    heights = {}
    for name, wires in leaving.items():
        source = picture.items[name]
        order = sorted(wires, key=lambda w: sum(wires[w]) / len(wires[w]))
        for k, wire in enumerate(order):
            port = source.inside and source.inside.items.get(f"x{wire}")
            if port:
                heights[name, wire] = source.y + port.middle
            else:
                heights[name, wire] = source.y + source.h * (k + 0.5) / len(order)
    return heights
