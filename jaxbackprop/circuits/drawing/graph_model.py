"""What a plan is made of: items, links, parts, and how a wire is led from box to box through their borders.

Records and the walk across borders; what stands in them is said in plan.py. Nothing here measures.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..model import Box, Wire


@dataclass(frozen=True)
class Line:
    """A line of a card. Where it ends in a number, `head` is what comes before it and `wire` is whose it is.

    `which` is "value" or "gradient" of that wire, "share" for a part of its gradient, "" for words alone.
    """

    text: str
    wire: int = -1
    which: str = ""
    head: str = ""


@dataclass(eq=False)
class Item:
    """Something with a place: a gate, a closed box, a label (argument, literal, output), a card, a port in a border.

    `gate` is the gate it shows or that makes its number, `wire` the wire whose node or card it is; -1 for none.
    """

    id: str
    kind: str
    title: str
    lines: tuple[Line, ...] = ()
    badge: str = ""
    gate: int = -1
    wire: int = -1
    part: "Part | None" = None


@dataclass(frozen=True, eq=False)
class Link:
    """A line from one item to another, entering at `slot`; what stands above and below it, and its own share.

    `live`: above and below stand the wire's own value and gradient, which a page may show step by step or unrounded.
    """

    source: str
    target: str
    slot: int
    wire: int
    above: str = ""
    below: str = ""
    share: str = ""
    live: bool = False


@dataclass(eq=False)
class Part:
    """The inside of a box, or the whole: items in order, links between them."""

    title: str
    kind: str
    items: dict[str, Item] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    box: int = -1

    def add(
        self,
        id: str,
        kind: str,
        title: str,
        lines: tuple[Line, ...] = (),
        *,
        gate: int = -1,
        wire: int = -1,
    ) -> Item:
        return self.items.setdefault(id, Item(id, kind, title, lines, "", gate, wire))


WRONG = "✗"

Say = Callable[[str, bool], tuple[str, str, str, bool]]
"""From the item where a piece of a wire begins, and whether it is the last: what is written above, below, its share,
and whether that is live.
"""


class Boxes:
    """The parts of a plan, one for each box that has something in it, and the lines between them."""

    def __init__(self, title: str):
        self.root = Part(title, "root")
        self.parts: dict[Box | None, Part] = {None: self.root}
        self.made: set[tuple[int, str, int, int]] = set()

    def part(self, box: Box | None) -> Part:
        """The part of `box`, made with those around it where there is none yet."""
        if box not in self.parts:
            assert box is not None
            outer = self.part(box.parent)
            self.parts[box] = made = Part(box.name, box.kind, box=box.id)
            lines = (Line(box.note),) if box.kind != "scope" and box.note else ()
            outer.add(f"b{box.id}", "box", box.name, lines).part = made
        return self.parts[box]

    def badge(self, box: Box | None, item: str, mark: str) -> None:
        """Mark an item; where it is wrong, every box around it too, since it may be closed."""
        self.part(box).items[item].badge = mark
        for around in outward(box) if mark == WRONG else ():
            if around is not None:
                self.part(around.parent).items[f"b{around.id}"].badge = mark

    def connect(
        self, wire: Wire, start: Box | None, source: str, end: Box | None, target: str, slot: int, say: Say
    ) -> None:
        """A line from an item of one box to an item of another: out through borders, across, in through borders."""
        up, down = list(outward(start)), list(outward(end))
        shared = set(up) & set(down)
        for box in up:
            if box is None or box in shared:
                break
            part = self.part(box)
            part.add(f"x{wire.id}", "port", wire.name, wire=wire.id)
            self._link(part, wire, source, f"x{wire.id}", 0, say(source, False))
            source = f"b{box.id}"
        for box in reversed([box for box in down if box is not None and box not in shared]):
            self._link(self.part(box.parent), wire, source, f"b{box.id}", wire.id, say(source, False))
            self.part(box).add(f"e{wire.id}", "port", wire.name, wire=wire.id)
            source = f"e{wire.id}"
        self._link(self.part(end), wire, source, target, slot, say(source, True))

    def _link(
        self, part: Part, wire: Wire, source: str, target: str, slot: int, said: tuple[str, str, str, bool]
    ) -> None:
        key = (part.box, f"{source}>{target}", slot, wire.id)
        if key not in self.made:
            self.made.add(key)
            part.links.append(Link(source, target, slot, wire.id, *said))


def outward(box: Box | None) -> Iterable[Box | None]:
    """The boxes around, from `box` itself to None, which stands for the whole."""
    while box is not None:
        yield box
        box = box.parent
    yield None


def common(boxes: Iterable[Box | None]) -> Box | None:
    """The innermost box that holds all of `boxes`; None for the whole."""
    paths = [list(outward(box))[::-1] for box in boxes]
    found: Box | None = None
    for level in zip(*paths):
        if any(box is not level[0] for box in level):
            break
        found = level[0]
    return found
