"""Sums at the length they are used at: what a narrow accumulator loses shows at no small example.

Where the handwritten program adds up, its arguments are made long (`long_inputs`) and it is run in float32, bfloat16
and float16, with upstream gradients of one sign, that cancel, of mixed magnitude, and nearly alike. Exact is the same
program in float64 at the same numbers; a type permits the exact value rounded once, and a few roundings on the way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.accumulation import accumulator_dtype
from ...jaxprs.inputs import Inputs, unit_roundoff
from ...jaxprs.queries import UNTRACEABLE, holds
from ...jaxprs.sums import Sum, most_terms, sums
from ..long_inputs import (
    ALIKE,
    CANCELLING,
    MIXED,
    MOST_NUMBERS,
    ONE_SIGN,
    PROBE,
    Stretch,
    as_given,
    far_from_zero,
    stretched,
    stretches,
    upstreams,
)
from ..problem import FLOATS, Cache, Problem
from ..rounding import as_wide, largest, size
from ..wording import index, number
from .result import OPAQUE, CheckResult

PERMITTED = 8.0
"""Units of a type's resolution that a chain of a few roundings may lose, however long the sums."""
WORSE = 4.0
"""A rule that loses so many times what autodiff loses, and more than is permitted, fails."""
ADDED, CANCELLED = (ONE_SIGN, MIXED), (CANCELLING, ALIKE)
"""Upstream gradients with which sums grow, and with which terms cancel."""
GROWS = 3.0
"""What is lost at a great length over what is lost at a small one, where it is the sum that loses it."""


@dataclass(frozen=True)
class Loss:
    """The largest error of a program at one length.

    Attributes:
        ulps: in units of the type's resolution, at the size of the value, beyond what its accumulator permits.
        leaf: which of the outputs and gradients.
        at: the element.
        expected: the exact value there.
        actual: what was computed.
        kind: of the upstream gradients.
    """

    ulps: float
    leaf: int
    at: tuple[int, ...]
    expected: Any
    actual: Any
    kind: str


def accumulation(problem: Problem) -> CheckResult | None:
    """Sums as long as in use lose no more than the type must lose, whatever the upstream gradients."""
    if not _chosen(problem) or problem.sizes == () or not problem.differentiable:
        return None
    if holds(problem.trace("handwritten").jaxpr, *OPAQUE) or any(np.iscomplexobj(x) for x in problem.inputs.arrays):
        return None
    worst: CheckResult | None = None
    for stretch, dtypes in _cases(problem):
        for dtype in dtypes:
            result = _judged(problem, stretch, dtype, failures_alone=worst is not None and worst.imprecise)
            worst = max((r for r in (worst, result) if r is not None), key=_gravity, default=None)
            if result is not None and result.imprecise:
                break
    return worst


def _cases(problem: Problem) -> Iterator[tuple[Stretch, list[Any]]]:
    """The stretches, and the types in which each is run."""
    if problem.function.typed:  # as it is, in its own type
        as_it_is = as_given(problem)
        if as_it_is is not None and problem.dtype != np.float64:
            yield as_it_is, [problem.dtype]
        return
    numbers = MOST_NUMBERS if problem.sizes is None else WHERE_WANTED * MOST_NUMBERS
    for k, stretch in enumerate(stretches(problem, max(problem.sizes or (LONG,)), numbers)):
        own = [] if k else [dtype for name, dtype in problem.float_types.items() if name not in FLOATS]
        dtypes = [*own, *(FLOATS[name] for name in ("bfloat16", *OTHERS[k : k + 1]))]
        yield stretch, [dtype for dtype in dtypes if unit_roundoff(dtype) >= unit_roundoff(problem.dtype)]


LONG = 3 * 2**12
"""The length that sums are judged at, where no other is wanted; chunks of a power of two divide it."""
WHERE_WANTED = 16
"""Arrays may be so many times larger where a length is wanted."""
OTHERS = ("float16", "float32")
"""Beside bfloat16, one of these along each of the first axes."""


def _chosen(problem: Problem) -> bool:
    """Whether sums are judged at this example: at a rule's plain one, or where its second argument is repeated."""
    rule = problem.function.rule
    if rule is None or problem.given.label == Inputs.label:
        return problem.main
    return problem.given.label == ("row" if rule.signature.broadcasts else "plain")


def _gravity(result: CheckResult) -> tuple[bool, bool, float]:
    return not result.passed, result.imprecise, result.units or 0.0


def _judged(problem: Problem, stretch: Stretch, dtype: Any, *, failures_alone: bool) -> CheckResult | None:
    """In one precision, along one stretch; nothing where only a failure counts and this can be none."""
    long, n, name = _Long(problem, stretch, dtype), stretch.longest, np.dtype(dtype).name
    try:
        added, cancelled = long.loss("handwritten", n, ADDED), long.loss("handwritten", n, CANCELLED)
    except UNTRACEABLE:
        return None  # not for this type, which the check of precision reports
    terms = most_terms(long.low(n).trace("handwritten").jaxpr)
    narrow = long.narrowest_sum(n)
    can_fail = added.ulps > PERMITTED and narrow is not None and narrow.step_by_step
    if failures_alone and not can_fail:
        return None
    grows = bool(stretch.axes) and n > PROBE

    def short(kinds: tuple[str, ...]) -> float:
        return long.loss("handwritten", PROBE, kinds).ulps if grows else 0.0

    kinds, hand = ADDED, added
    if added.ulps <= PERMITTED or added.ulps < GROWS * short(ADDED):
        kinds, hand = CANCELLED, cancelled
    if hand.ulps <= PERMITTED:
        ulps = max(added.ulps, cancelled.ulps)
        return CheckResult(True, f"{ulps:.1f} ulp in {name} at {terms:,} terms", "accumulation", ulps)
    try:
        autodiff = long.loss("autodiff", n, kinds)
    except UNTRACEABLE:
        return None
    worse = hand.ulps > WORSE * autodiff.ulps + PERMITTED
    if narrow is None and not worse and accumulator_dtype(long.dtype) == long.dtype:
        return CheckResult(True, f"no more is lost in {name} than autodiff loses", "accumulation")
    where = [*(f"output {j}" for j in range(len(problem.outputs))), *(f"the gradient of {n}" for n in problem.names())]
    growth = f", {short(kinds):.1f} at {PROBE}" if grows else ""
    cure = _cure(narrow, long.dtype)
    detail = (
        f"{where[hand.leaf]}{index(hand.at)}: {number(hand.actual)} for {number(hand.expected)} in {name} at {n:,}, "
        f"upstream gradients {hand.kind}: {hand.ulps:.0f} ulp{growth}; autodiff's {autodiff.ulps:.0f}; {cure}"
    )
    # What cancels is another matter: on accelerators factors of a matrix product are rounded, and rightly.
    fails = worse and kinds is ADDED and can_fail
    suspect = f"accuracy: sums lose more in {name} than autodiff's; {cure}" if fails else ""
    return CheckResult(not fails, detail, "accumulation", hand.ulps, imprecise=True, suspect=suspect)


def _cure(narrow: Sum | None, dtype: Any) -> str:
    """What would lose less."""
    wanted = np.dtype(accumulator_dtype(dtype)).name
    if narrow is None:
        return f"keep in {wanted} what is added up, and round once, at the end"
    place = f" ({narrow.place})" if narrow.place else ""
    return f"{narrow.name} adds {narrow.terms:,} terms in {np.dtype(dtype).name}{place}: accumulate in {wanted}"


class _Long:
    """A problem along one stretch in one precision, at several lengths."""

    def __init__(self, problem: Problem, stretch: Stretch, dtype: Any):
        self.problem, self.stretch, self.dtype = problem, stretch, dtype
        self.made = Cache()

    def wide(self, n: int) -> Problem:
        """In float64, at numbers that the type holds."""
        return self.made.get(("wide", n), lambda: self._wide(n))

    def _wide(self, n: int) -> Problem:
        if self.problem.function.typed:
            return self.problem
        given = stretched(self.problem, self.stretch, n).cast(self.dtype)
        caches = self.problem.answers.get(("long", self.stretch, n), dict)
        made = Problem(
            self.problem.function, given, dtype=self.problem.dtype, caches=caches, deadline=self.problem.deadline
        )
        shapes = enumerate(self.problem.outputs)
        outputs = [jax.ShapeDtypeStruct(self.stretch.output_shape(j, n), o.dtype) for j, o in shapes]
        made.programs.get("outputs", lambda: outputs)
        return made

    def low(self, n: int) -> Problem:
        """In the precision itself."""
        return self.made.get(("low", n), lambda: self.wide(n).at(self.dtype))

    def narrowest_sum(self, n: int) -> Sum | None:
        """The longest sum in the precision itself, first of those that are rounded step by step; None for no sum."""
        program = self.low(n).trace("handwritten").jaxpr
        narrow = [s for s in sums(program) if s.dtype == self.dtype != accumulator_dtype(s.dtype) and s.terms > PROBE]
        return max(narrow, key=lambda s: (s.step_by_step, s.terms), default=None)

    def loss(self, program: str, n: int, kinds: Sequence[str]) -> Loss:
        """The largest error of "handwritten" or "autodiff" at that length."""
        found = self.made.get((program, n), lambda: list(self._losses(program, n)))
        none = Loss(0.0, 0, (), 0.0, 0.0, kinds[0])
        return max((loss for loss in found if loss.kind in kinds), key=lambda loss: loss.ulps, default=none)

    def _losses(self, program: str, n: int) -> Iterator[Loss]:
        magnitude: list[float] = []
        for kind, upstream in upstreams(self.low(n), self.stretch):
            wide, low = self.wide(n), self.low(n)
            if kind == MIXED and self.stretch.axes:
                wide = wide.moved(far_from_zero(wide, self.stretch).cast(self.dtype))
                low = wide.at(self.dtype)
            actual = [x for part in low.as_run(program, upstream) for x in part]
            # That both are one function is for other checks to say: autodiff's program is not compiled in float64.
            exact = [x for part in wide.handwritten_vjp([as_wide(u) for u in upstream]) for x in part]
            magnitude = magnitude or [largest(x) for x in exact]
            for j, (a, t, m, before) in enumerate(zip(actual, exact, magnitude, self.in_the_example, strict=True)):
                # What vanished, or is zero but for the rounding of float64, is no matter of sums.
                if m >= max(before / (64 * n), 2.0**-40 * max(magnitude)):
                    permitted = of_the_accumulator(a.dtype, n) * max(m, largest(t))
                    yield _worst(j, kind, a, t, permitted, 2.0**-6 * m if kind == MIXED else 0.0)

    @cached_property
    def in_the_example(self) -> list[float]:
        """The largest number of each output and gradient there: what is smaller by far is lost for another reason."""
        return [largest(x) for part in self.problem.handwritten_vjp(self.problem.upstream(0)) for x in part]


def of_the_accumulator(dtype: Any, terms: int) -> float:
    """What adding up in the widest type that hardware adds in may lose, beside the sum of the absolute values."""
    wide = unit_roundoff(accumulator_dtype(dtype))
    return (8 if wide < unit_roundoff(dtype) else np.sqrt(terms)) * wide


def _worst(leaf: int, kind: str, actual: Any, exact: np.ndarray, permitted: float, least: float) -> Loss:
    """The largest error of an array; numbers that the type does not hold are left out."""
    dtype, info = actual.dtype, jnp.finfo(actual.dtype)
    f, t = as_wide(actual), np.where(size(exact) < float(info.max) / 2, exact, np.nan)
    count = int(np.count_nonzero(t == t))
    if not count:
        return Loss(0.0, leaf, (), 0.0, 0.0, kind)
    others = np.count_nonzero(t) - (t.size - count)
    if not others:
        return Loss(0.0, leaf, (), 0.0, 0.0, kind)
    typical = np.sqrt(np.nansum(t * t) / others)
    with np.errstate(all="ignore"):
        gap = np.abs(f - t) - permitted - 2 * float(info.smallest_normal)
        ulps = np.maximum(gap, 0) / (2 * unit_roundoff(dtype) * np.maximum(np.abs(t), max(typical, least)))
    ulps = np.where(np.isnan(t), 0.0, np.where(np.isfinite(f), ulps, np.inf))
    at = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
    return Loss(float(ulps[at]), leaf, tuple(map(int, at)), t[at], f[at], kind)
