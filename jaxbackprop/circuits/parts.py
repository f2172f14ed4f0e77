"""Long programs without boxes are divided into boxes of consecutive gates, so that they can be drawn and opened."""

from collections.abc import Sequence

from .model import Box, Gate, Graph

MOST = 300
"""A box that holds more gates and boxes than this is divided."""

PART = 50
"""The number of gates and boxes in each part."""

Item = Gate | Box


def divide_into_parts(graph: Graph) -> None:
    """Put the gates and boxes of each box that holds more than `MOST` of them into parts, in program order."""
    held: dict[Box | None, dict[Item, None]] = {None: {}}
    for gate in graph.gates:
        item: Item = gate
        box = gate.box
        while box is not None and item not in held.setdefault(box, {}):
            held[box][item] = None
            item, box = box, box.parent
        if box is None:
            held[None][item] = None
    long = {box: list(items) for box, items in held.items() if len(items) > MOST}
    for box, items in long.items():
        while len(items) > MOST:
            items = [_part(items[at : at + PART], box) for at in range(0, len(items), PART)]
            graph.boxes += items
    if long:
        _number(graph)


def _part(items: Sequence[Item], around: Box | None) -> Box:
    first, last = items[0], items[-1]
    part = Box(-1, f"{_range(first).partition(' to ')[0]} to {_range(last).rpartition(' ')[2]}", "part", around)
    for item in items:
        if isinstance(item, Gate):
            item.box = part
        else:
            item.parent = part
    return part


def _range(item: Item) -> str:
    return f"gates {item.id + 1} to {item.id + 1}" if isinstance(item, Gate) else item.name


def _number(graph: Graph) -> None:
    """Outer boxes before inner ones, in program order; the number of each is its place."""
    ordered: dict[Box, None] = {}
    for gate in graph.gates:
        path, box = [], gate.box
        while box is not None:
            path.append(box)
            box = box.parent
        ordered |= dict.fromkeys(reversed(path))
    graph.boxes = [*ordered, *(box for box in graph.boxes if box not in ordered)]
    for number, box in enumerate(graph.boxes):
        box.id = number
