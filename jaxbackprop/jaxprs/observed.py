"""What is noticed of a program's rules: which they are, where they are called, and some of the calls with values.

`observe.py` notices, `rule_calls.py` runs the program.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import numpy as np

from .compat import JaxprEqn, MappedAxis, traceback_of
from .elementwise import Places
from .inputs import is_key
from .provenance import Lines, calling_lines, written_in

_LOCK = threading.Lock()

SAMPLES = 3
"""So many calls of a rule are kept: the first ones, those of other shapes, and the last one."""


@dataclass(frozen=True)
class NotExamined:
    """Something in a program that was not looked into.

    Attributes:
        name: what it is called.
        place: `file:line`, where known.
        reason: why it was not.
    """

    name: str
    place: str
    reason: str


@dataclass(frozen=True)
class Sample:
    """One call of a rule, with values.

    Attributes:
        call: the place in the program.
        function: the rule.
        plain: the same without the hand-written derivative.
        args: the arguments of both.
    """

    call: "Call"
    function: Callable[..., Any]
    plain: Callable[..., Any]
    args: tuple


@dataclass(eq=False)
class Observed:
    """A rule that a program calls.

    Attributes:
        kind: "custom_vjp", "custom_jvp", "hijax", "custom_root", "primitive", "linear_call", "custom_linear_solve".
        name: of the function that the rule was made of.
        source: the `file:line` where that is defined.
        arguments: the names of its arguments, as far as known.
        own_remat: whether `jax.checkpoint` runs other functions in it than `jax.grad` does.
        differentiated: how many calls are differentiated.
        undifferentiated: how many other calls there were.
        inside: how many calls its own derivative made.
        mapped: whether `jax.vmap` maps any of the calls.
        kept: some of the calls: of those that are differentiated, of others, and of its own derivative's.
        derivative: where its derivative is written, as far as that is known.
        called_from: the lines that led to each call (see `provenance.calling_lines`).
        key: a key that no other rule has, also when the program is traced again.
    """

    kind: str
    name: str
    source: str
    arguments: tuple[str, ...] = ()
    own_remat: bool = False
    differentiated: int = 0
    undifferentiated: int = 0
    inside: int = 0
    mapped: bool = False
    kept: tuple[list[Sample], list[Sample], list[Sample]] = field(default_factory=lambda: ([], [], []))
    derivative: frozenset[Lines] = frozenset()
    called_from: set[Any] = field(default_factory=set)
    key: Any = None

    @property
    def samples(self) -> list[Sample]:
        """Some of the calls: those that are differentiated, where there are any."""
        return next(filter(None, self.kept), [])

    @property
    def calls(self) -> int:
        """How often the program called it; its own derivative's calls count only where there are no others."""
        return self.differentiated + self.undifferentiated or self.inside


Bound = Callable[[Sequence[Any]], tuple[Callable[..., Any], Callable[..., Any]]]
"""From the values that a rule closes over to the rule and its plain function."""


@dataclass(eq=False)
class Call:
    """A place in a traced program where a rule is called; compared by identity, as parameters of primitives are.

    Attributes:
        rule: which one.
        bound: the rule itself.
        tree: the structure of its arguments.
        closed: so many of the tapped values are what it closes over; the others are its arguments.
        tied: for each array among the arguments the first one that is the same value in the program.
        weak: for each whether its type is weak, as a Python number's is.
        inside: whether the rule's own derivative makes this call.
        drawn: the shapes of further arguments, whose values do not matter.
        axes: the axes of the mesh over which it is split, and their sizes.
        varying: for each array among the arguments those over which it differs.
        by: the arrays among the arguments by which the program takes a derivative.
        outputs: how many floating-point outputs there are.
        pulled: those at which a gradient arrives.
        read: those that something in the program reads.
        places: where alone it is judged, of very many elements; None where everywhere.
        ended: whether the observation is over.
    """

    rule: Observed
    bound: Bound
    tree: Any
    closed: int
    tied: tuple[int, ...]
    weak: tuple[bool, ...]
    inside: bool
    drawn: tuple[Any, ...] = ()
    axes: dict[str, int] = field(default_factory=dict)
    varying: tuple[frozenset[str], ...] = ()
    by: set[int] = field(default_factory=set)
    outputs: int = 0
    pulled: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    places: Places | None = None
    ended: bool = False

    def __repr__(self) -> str:
        return f"<call of {self.rule.name}>"  # as programs show it

    def count(self, times: int, axes: tuple[MappedAxis, ...], differentiated: frozenset[int]) -> None:
        """It was run so often, a derivative taken by these operands; what `vmap` maps is as many calls as examples."""
        times *= int(np.prod([axis.size for axis in axes], dtype=int))
        with _LOCK:
            self.rule.mapped = self.rule.mapped or bool(axes)
            self.by |= {k - self.closed for k in differentiated}
            if self.inside:
                self.rule.inside += times
            elif differentiated:
                self.rule.differentiated += times
            else:
                self.rule.undifferentiated += times

    def keep(self, values: Sequence[Any], axes: tuple[MappedAxis, ...], differentiated: frozenset[int]) -> None:
        """It was run with these values; of what `vmap` maps, one example is kept: the first, and later on the last."""
        with _LOCK:
            kept = self.rule.kept[2 if self.inside else 0 if differentiated else 1]
            which = -1 if kept else 0
            depths = [sum(axis.mapped[i] for axis in axes) for i in range(len(values))]
            values = [x if is_key(x) else np.asarray(x) for x in values]
            values = [x[(which,) * n] if n else x for x, n in zip(values, depths, strict=True)]
            values = values if self.places is None else [x if is_key(x) else self.places.of(x) for x in values]
            rng = np.random.default_rng(len(kept))
            values += [rng.uniform(0.4, 1.6, x.shape).astype(x.dtype) for x in self.drawn]
            args = jax.tree.unflatten(self.tree, values[self.closed :] if self.tree.num_leaves else [])
            # A call of other shapes is worth more than another one of the same; of those, the first ones and the last.
            alike = [k for k, old in enumerate(kept) if _shapes(old.args) == _shapes(args)]
            if len(kept) < SAMPLES:
                kept.append(Sample(self, *self.bound(values[: self.closed]), args))
            elif alike:
                kept[alike[-1]] = Sample(self, *self.bound(values[: self.closed]), args)


@dataclass(eq=False)
class Part:
    """One array of a call that is tapped by itself: its others may be tangents, with unknown values.

    Attributes:
        call: the whole.
        index: which of the tapped values.
        shape: its shape and type.
        ended: whether the observation is over.
    """

    places: ClassVar[None] = None

    call: Call
    index: int
    shape: jax.ShapeDtypeStruct
    ended: bool = False
    times: int = 0
    differentiated: bool = False
    value: Any = None

    @property
    def rule(self) -> Observed:
        """Which one is called."""
        return self.call.rule

    def __repr__(self) -> str:
        return f"<part {self.index} of a call of {self.call.rule.name}>"

    def count(self, times: int, axes: tuple[MappedAxis, ...], differentiated: frozenset[int]) -> None:
        """See `Call.count`."""
        with _LOCK:
            self.times += times * int(np.prod([axis.size for axis in axes], dtype=int))
            self.differentiated = self.differentiated or bool(differentiated)

    def keep(self, values: Sequence[Any], axes: tuple[MappedAxis, ...], differentiated: frozenset[int]) -> None:
        """Keep the first value, or one example of it."""
        with _LOCK:
            if self.value is None:
                self.value = values[0][(0,) * len(axes)] if axes else values[0]


def put_together(parts: Sequence[Part]) -> None:
    """Record at a call what its parts observed; a part without a value is linear there, and any value will do."""
    times = max((part.times for part in parts), default=0)
    if times:
        rng = np.random.default_rng(0)
        drawn = [rng.uniform(0.4, 1.6, part.shape.shape).astype(part.shape.dtype) for part in parts]
        values = [d if part.value is None else part.value for d, part in zip(drawn, parts, strict=True)]
        by = frozenset(part.index for part in parts if part.differentiated or part.value is None)
        parts[0].call.count(times, (), by)
        parts[0].call.keep(values, (), by)


def _shapes(args: Any) -> list[Any]:
    return [(np.shape(x), getattr(x, "dtype", type(x))) for x in jax.tree.leaves(args)]


def part_of(rule: Observed, eqn: JaxprEqn) -> bool:
    """Whether an equation is part of the rule's derivative, in a program that was traced with somebody watching."""
    return written_in(eqn, rule.derivative) or calling_lines(traceback_of(eqn)) in rule.called_from
