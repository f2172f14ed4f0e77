"""A part's items in columns and rows with few crossings, by a layout library; long links get stand-ins on their way.

Sizes play no role here, so it is done once for each part, whatever is open.
"""

from dataclasses import dataclass
from typing import cast

from fast_sugiyama import from_edges

from .graph_model import Part


@dataclass
class Order:
    """A part's items in columns from left to right, each from top to bottom; long links pass through "~n" stand-ins."""

    columns: list[list[str]]
    routes: list[list[str]]


def order(part: Part) -> Order:
    """Columns and rows for a part's items, crossings few; `routes[i]` is the way of link i, its ends included."""
    names = list(part.items)
    number = {name: i for i, name in enumerate(names)}
    pairs = list(dict.fromkeys((number[k.source], number[k.target]) for k in part.links if k.source != k.target))
    seats: dict[int, tuple[float, float]] = {}
    ahead: dict[int, list[int]] = {}
    shift = 0.0
    for component, _, _, lines in from_edges(pairs, vertex_spacing=1, dummy_vertices=True) if pairs else ():
        places, edges = cast(list[tuple[int, tuple[float, float]]], component), cast(list[tuple[int, int]], lines or [])
        base = max([len(names), *seats])  # stand-ins are numbered anew in each component
        rename = {n: n if n < len(names) else base + 1 + n for n, _ in places}
        top = max(y for _, (_, y) in places)
        left = min(x for _, (x, _) in places)
        for n, (x, y) in places:
            seats[rename[n]] = (top - y, shift + x - left)
        shift += max(x for _, (x, _) in places) - left + 1
        for s, t in edges:
            ahead.setdefault(rename[s], []).append(rename[t])
    for i in range(len(names)):
        if i not in seats:
            seats[i], shift = (0.0, shift), shift + 1
    ranks = sorted({round(rank) for rank, _ in seats.values()})
    columns: list[list[str]] = [[] for _ in ranks]
    for n in sorted(seats, key=lambda n: seats[n][1]):
        columns[ranks.index(round(seats[n][0]))].append(_name(n, names))
    ways = _ways(ahead, len(names))
    routes = [[_name(n, names) for n in ways.get((number[k.source], number[k.target]), ())] for k in part.links]
    _ports_outside(part, columns, routes)
    return Order(columns, routes)


def _ports_outside(part: Part, columns: list[list[str]], routes: list[list[str]]) -> None:
    """Move ports to a first or last column of their own, at the border; stand-ins lead their links past the others."""
    ports = [name for name, item in part.items.items() if item.kind == "port"]
    for side, at in (("e", 0), ("x", -1)):
        if any(n[0] == side for n in ports) and not all(n in ports and n[0] == side for n in columns[at]):
            columns.insert(0 if at == 0 else len(columns), [])
    for name in ports:
        at = next(k for k, column in enumerate(columns) if name in column)
        entering = name.startswith("e")
        passed = range(1, at + 1) if entering else range(at, len(columns) - 1)
        share = columns[at].index(name) / len(columns[at])
        columns[at].remove(name)
        for k in passed:
            columns[k].insert(round(share * len(columns[k])), f"~{name}.{k}")
        columns[0 if entering else -1].insert(round(share * len(columns[0 if entering else -1])), name)
        between = [f"~{name}.{k}" for k in passed]
        for route in routes:
            if entering and route and route[0] == name:
                route[1:1] = between
            elif not entering and route and route[-1] == name:
                route[-1:-1] = between


def _name(n: int, names: list[str]) -> str:
    return names[n] if n < len(names) else f"~{n}"


def _ways(ahead: dict[int, list[int]], real: int) -> dict[tuple[int, int], list[int]]:
    """For each pair of items the nodes that its link passes, both included."""
    ways = {}
    for start in [n for n in ahead if n < real]:
        for n in ahead[start]:
            way = [start, n]
            while way[-1] >= real:
                way.append(ahead[way[-1]][0])
            ways[start, way[-1]] = way
    return ways
