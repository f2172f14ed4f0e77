"""The named quantities of a function, as a person would list them: arguments, then one definition a line.

Filled by `from_jaxpr`; read by everything else.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from .index_notation import SIZE, Expression, Factor, Index, quantity

Kind = Literal["argument", "mask argument", "ids", "formula", "function", "mask", "maximum", "select", "previous",
               "last", "next", "first", "one-hot", "placement", "number", "size", "upstream", "key",
               "drawn"]  # fmt: skip

LITERAL_KINDS = ("number", "size", "placement")
"""Printed where they are used; never residuals."""


class CannotDerive(ValueError):
    """The function holds something that has no derivation here. The message names it and its line."""


@dataclass(eq=False)
class Quantity:
    """One line of the forward pass.

    Attributes:
        key: its identity.
        name: as it is printed; assigned in the source, or made up (`made_up`) from `base` and a number.
        indices: what it depends on.
        kind: how `definition` is to be read.
        definition: a formula; of a function, mask, maximum or one-hot its argument; of a select the first branch.
        function: of a function or mask, which one ("at least" compares the integers of `selector` with the definition);
            of a one-hot, "padded" where an integer out of range has no 1, "clipped" where it counts as the nearest;
            of what is drawn from the key in `selector`, "bernoulli", "uniform", "normal", or "bits": 32 random bits
            that are less than `value`.
        offsets: of a placement, which is 1 where its first index is that of its other ones, row by row, plus an offset:
            the offset in terms of sizes, as each of several expressions that agree at the sizes seen.
        otherwise: of a select, the other branch.
        selector: of a select, its mask; of the mask of what is largest, the maximum; of a one-hot, the integers.
        over: of a maximum or its mask, the indices that it runs over; of a one-hot, its last index.
        differentiable: whether the loss has a derivative with respect to it.
        positive: whether it is certainly not negative.
        text: of a number, as it is written; of a size, where it can be read.
        value: of a number; the probability of a drawn mask.
        recurrence: of a previous value, the quantity it is one step later; of the last one, the quantity it is of;
            of a delta from the next step, or that of the first one, the previous value whose delta it is.
        axes: of an argument, where its indices stand; None is an axis of size 1.
        dtype: of an argument, float, int, bool or key.
        source_axes: where its indices stand in the array that the source assigns; None is an axis of size 1.
    """

    key: str
    name: str
    indices: tuple[Index, ...]
    kind: Kind
    definition: Expression | None = None
    function: str = ""
    otherwise: Expression | None = None
    selector: Factor | None = None
    over: tuple[Index, ...] = ()
    differentiable: bool = True
    positive: bool = False
    made_up: bool = True
    base: str = ""
    text: str = ""
    value: float = 0.0
    axes: tuple[Index | None, ...] = ()
    dtype: str = ""
    source_axes: tuple[Index | None, ...] = ()
    recurrence: Factor | None = None
    offsets: tuple[Expression, ...] = ()

    def __str__(self) -> str:
        """A place for its name in a text, which `Program.worded` fills: names may still change."""
        return f"{{{self.key}}}"

    @property
    def factor(self) -> Factor:
        """It, at its own indices."""
        return Factor(self.key, self.indices)

    @property
    def is_mask(self) -> bool:
        """Whether it is 0 or 1, so that its square is itself."""
        return self.kind in ("mask argument", "mask", "one-hot", "placement") or self.function in ("bernoulli", "bits")

    @property
    def bytes_each(self) -> int:
        """What saving one number of it takes: one byte for a mask or a sign, eight for a random key."""
        return 8 if self.kind == "key" else 1 if self.is_mask or self.function == "sign" else 4

    @property
    def expressions(self) -> list[Expression]:
        """All that it is computed from."""
        found = [e for e in (self.definition, self.otherwise) if e is not None]
        return [*found, quantity(self.selector)] if self.selector is not None else found

    @property
    def parents(self) -> set[str]:
        """The quantities it is computed from; of a previous value, where it starts."""
        found = set().union(*(e.keys for e in self.expressions)) if self.expressions else set()
        return found | ({self.recurrence.key} if self.kind == "last" and self.recurrence else set())

    @property
    def elements(self) -> int:
        """How many numbers it is, at the sizes it was derived with."""
        return math.prod(i.size for i in self.indices)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the function: an array, or a list, tuple or dictionary of arrays.

    Attributes:
        name: of the parameter.
        leaves: for each array, the key of its quantity and how it is read from the parameter.
        structure: the container, with the number of each array in its place; None for an array.
    """

    name: str
    leaves: tuple[tuple[str, str], ...]
    structure: Any = None


@dataclass
class Output:
    """One output: a quantity, and where its indices stand in the array; None is an axis of size 1."""

    factor: Factor
    axes: tuple[Index | None, ...]


@dataclass
class Program:
    """A function as named quantities.

    Attributes:
        name: of the function.
        quantities: by key, each after those it is computed from, but for what is renamed.
        arguments: the keys of its arguments, in order: of each array.
        parameters: what the function takes; each array in it is an argument.
        outputs: in order; `several` says whether the function returns a tuple.
        conditions: in words, what must hold for the derivation to be right.
        axis_names: what jaxtyping annotations call axes of arguments.
        holds_rules: whether a function in it has a backward pass of its own, which was not read.
        size_of: the size of an axis that slices, joins or reshapes others, by theirs; expressions as in `offsets`.
    """

    name: str
    quantities: dict[str, Quantity] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    several: bool = False
    conditions: list[str] = field(default_factory=list)
    loop_axes: list[int] = field(default_factory=list)
    upstream: list[str] = field(default_factory=list)
    size_of: dict[int, tuple[Expression, ...]] = field(default_factory=dict)
    axis_names: dict[int, str] = field(default_factory=dict)
    holds_rules: bool = False

    def add(self, name: str, indices: Iterable[Index], kind: Kind, **properties: object) -> Quantity:
        """A new quantity; where its name is taken it gets the next free number."""
        key = str(len(self.quantities))
        made = Quantity(key, self.free_name(name), tuple(indices), kind, base=name, **properties)  # type: ignore[arg-type]
        self.quantities[key] = made
        return made

    def free_name(self, name: str) -> str:
        """`name`, or `name` with the next free number behind it."""
        taken = {q.name for q in self.quantities.values() if q.kind not in LITERAL_KINDS}
        if name not in taken and (name not in RESERVED or name == "upstream"):
            return name
        return next(n for k in range(2, 10_000) if (n := f"{name}{'_' * name[-1].isdigit()}{k}") not in taken)

    def number_anew(self, used: Iterable[str]) -> None:
        """Number the made-up names, leaving out unused ones."""
        keep = self.ancestors(used)
        made_up = [q for q in self.in_order() if q.made_up and q.kind not in LITERAL_KINDS]
        for q in made_up:
            q.name = ""
        for q in made_up:
            q.name = self.free_name(q.base) if q.key in keep else f"unused_{q.key}"

    def __getitem__(self, key: str) -> Quantity:
        return self.quantities[key]

    def size_by_others(self, axis: int) -> Expression | None:
        """The size of an axis by those of earlier ones, where it is known."""

        def earlier(e: Expression) -> bool:
            return all(int(key[len(SIZE) :]) < axis for key in e.keys)

        return next((e for e in self.size_of.get(axis, ()) if earlier(e)), None)

    def before(self, key: str) -> set[str]:
        """A quantity and what it is computed from in the same step of a loop."""
        found: set[str] = set()
        waiting = [key]
        while waiting:
            k = waiting.pop()
            if k not in found:
                found.add(k)
                waiting += self[k].parents
        return found

    @property
    def previous(self) -> list[Quantity]:
        """The values that a loop carries, each as it is before a step."""
        return [q for q in self.quantities.values() if q.kind == "previous"]

    def in_cycle(self) -> list[str]:
        """What a loop must compute step by step: between a carried value and the same one step later."""
        previous = {q.key for q in self.previous}
        needed: set[str] = set()
        for q in self.previous:
            if q.recurrence is not None:
                needed |= self.before(q.recurrence.key)
        return [q.key for q in self.in_order() if q.key in needed - previous and self.before(q.key) & previous]

    def delta_name(self, key: str) -> str:
        """The name of a quantity's delta: dz, or delta_z where the function itself calls something dz."""
        names = {q.name for q in self.quantities.values() if q.kind not in LITERAL_KINDS}
        return f"{'delta_' if any(f'd{name}' in names for name in names) else 'd'}{self[key].name}"

    def named(self, name: str) -> Quantity | None:
        """The quantity of this name."""
        return next((q for q in self.quantities.values() if q.name == name and q.kind not in LITERAL_KINDS), None)

    def worded(self, text: str) -> str:
        """The text with the names of quantities filled in."""
        return re.sub(r"\{(\w+)\}", lambda found: self[found[1]].name, text)

    def ancestors(self, keys: Iterable[str]) -> set[str]:
        """These quantities and all that they are computed from."""
        found: set[str] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += self[key].parents
                recurrence = self[key].recurrence
                if self[key].kind == "previous" and recurrence is not None:
                    waiting.append(recurrence.key)
        return found

    def in_order(self, keys: Iterable[str] | None = None) -> Iterator[Quantity]:
        """The quantities (or these and all that they need), each after those it is computed from."""
        wanted = set(self.quantities) if keys is None else self.ancestors(keys)
        done: set[str] = set()

        def visit(key: str) -> Iterator[Quantity]:
            if key not in done:
                done.add(key)
                for parent in sorted(self[key].parents, key=_by_number):
                    yield from visit(parent)
                yield self[key]

        for key in self.quantities:
            if key in wanted:
                yield from visit(key)

    def with_axes(self, root: dict[int, int]) -> None:
        """Write axes that turned out to be the same one as one."""

        def index(i: Index) -> Index:
            return Index(root.get(i.axis, i.axis), i.size, i.number)

        def factor(f: Factor) -> Factor:
            return Factor(f.key, tuple(map(index, f.indices)))

        for q in self.quantities.values():
            q.indices, q.over = tuple(map(index, q.indices)), tuple(map(index, q.over))
            q.axes = tuple(i and index(i) for i in q.axes)
            q.source_axes = tuple(i and index(i) for i in q.source_axes)
            q.definition = q.definition and q.definition.with_axes(root)
            q.otherwise = q.otherwise and q.otherwise.with_axes(root)
            q.selector = q.selector and factor(q.selector)
            q.recurrence = q.recurrence and factor(q.recurrence)
            q.offsets = tuple(e.with_axes(root) for e in q.offsets)
        self.axis_names = {root.get(axis, axis): name for axis, name in self.axis_names.items()}
        self.size_of = {root.get(a, a): tuple(e.with_axes(root) for e in found) for a, found in self.size_of.items()}
        for output in self.outputs:
            output.factor, output.axes = factor(output.factor), tuple(i and index(i) for i in output.axes)
        axes = {i.axis: i for q in self.quantities.values() for i in (*q.indices, *q.over)}
        bound = {i.axis: i for q in self.quantities.values() for e in q.expressions for p in e.terms for i in p.bound}
        stretched = {i.axis: i for output in self.outputs for i in output.axes if i is not None}
        for axis, i in (stretched | bound | axes).items():
            size = Quantity(f"{SIZE}{axis}", f"{SIZE}{axis}", (), "size", differentiable=False, positive=True)
            size.value = float(i.size)
            self.quantities[size.key] = size


RESERVED = frozenset({"jax", "jnp", "jbp", "upstream", "residuals", "Array", "Float", "Int", "Bool"})
"""Names that the printed rule uses itself."""


def _by_number(key: str) -> tuple[int, str]:
    return (len(key), key)
