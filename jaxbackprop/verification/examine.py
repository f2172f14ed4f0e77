"""Evidence is collected here, and the decision applied: element by element, each oracle queried only where needed.

A million elements that agree cost one comparison. What is left is examined row by row; of very many disputed elements
a sample stands for the others.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..jaxprs.flatten import dual, flatten, unflatten
from ..jaxprs.inputs import Leaves, unit_roundoff
from .decide import ALLOWED_ROUNDINGS, SEAM, ArithmeticRow, Decision, Oracle, Row, Verdict, decide, decide_arithmetic
from .oracles import autodiff, finite_differences, many_digits, subgradient_interval
from .problem import Problem
from .rounding import ALLOWED, DRAWS, apart, as_wide, in_ulps, largest, rounding, scale_of, size, tolerance
from .wording import expected_and_got, index, region


@dataclass(frozen=True)
class Comparison:
    """Actual and expected values, leaf by leaf, and what was decided about each element.

    Attributes:
        actual: what was computed.
        expected: the true values, as far as known.
        error_bound: how far rounding may carry `actual` from `expected`.
        wrong: the elements that are wrong.
        undecided: those about which the oracles do not agree.
        ulps: the largest error of each leaf, in units of the type's resolution.
        by: who decided where autodiff did not.
        outside: directions along which the gradient is not the numerical derivative, in words.
        imprecise: the formula of the wrong ones is right, and their rounding too large.
        as_autodiff: the elements that lose more than half of their digits, but no more than autodiff may.
    """

    actual: Leaves
    expected: Leaves
    error_bound: Leaves
    wrong: list[np.ndarray]
    undecided: list[np.ndarray]
    ulps: list[float]
    by: frozenset[str] = frozenset()
    outside: tuple[str, ...] = ()
    imprecise: bool = False
    as_autodiff: tuple[np.ndarray, ...] = ()

    @property
    def passed(self) -> bool | None:
        """True, False, or None: undecided."""
        if any(w.any() for w in self.wrong) or self.outside:
            return False
        return None if any(x.any() for x in self.undecided) else True

    @property
    def at_a_kink(self) -> bool:
        """Whether the interval between one-sided derivatives decided."""
        return Oracle.INTERVAL.value in self.by

    @property
    def hidden(self) -> bool:
        """Whether rounding alone is more than a hundredth of a whole leaf: it says nothing."""
        return any(
            np.any(~w & (b > 1e-2 * largest(e))) and largest(e) > 0
            for w, b, e in zip(self.wrong, self.error_bound, self.expected, strict=True)
        )

    def elements(self) -> Sequence[tuple[int, tuple[int, ...]]]:
        """The wrong elements as (leaf, index), the worst first."""
        rows = []
        for leaf, wrong in enumerate(self.wrong):
            gap = np.abs(as_wide(self.actual[leaf]) - as_wide(self.expected[leaf]))
            rows += [(float(gap[i]), leaf, tuple(map(int, i))) for i in map(tuple, np.argwhere(wrong))]
        return [(leaf, i) for _, leaf, i in sorted(rows, key=lambda r: -np.nan_to_num(r[0], nan=np.inf))]

    def worst_output(self) -> str:
        """The first output that is wrong, with both values."""
        for j, wrong in enumerate(self.wrong):
            if wrong.any():
                at = tuple(np.argwhere(wrong)[0])
                where = region(wrong)
                said = f"output {j}{index(at)}: {expected_and_got(self.expected[j][at], self.actual[j][at])}"
                return said + (f"; wrong: {where}" if where else "")
        return "not a number where the plain function has a value, or the reverse"


def compared(actual: Leaves, expected: Leaves, error_bound: Leaves, dtype: Any) -> Comparison:
    """Element by element, by value alone; where nothing finite is expected nothing is compared."""
    wrong, undecided, ulps = [], [], []
    for f, t, bound in zip(actual, expected, error_bound, strict=True):
        off = apart(f, t, bound)
        nothing = off & ~np.isfinite(as_wide(t))
        wrong.append(off & ~nothing)
        undecided.append(nothing)
        ulps.append(in_ulps(f, t, bound, nothing, dtype))
    return Comparison(actual, expected, error_bound, wrong, undecided, ulps)


QUICK = (200 * 2.0**-53, 8 * 2.0**-53)
"""Within so many units of an element and of its leaf two float64 programs agree; no rounding need be measured."""


def _quick(expected: Leaves) -> Leaves:
    return [QUICK[0] * size(x) + QUICK[1] * largest(x) + 1e-300 for x in expected]


def compare_values(problem: Problem, actual: Leaves) -> Comparison:
    """Whether `actual`, computed in float64, are the outputs of the plain function."""
    upstream = problem.upstream(0)
    expected = problem.autodiff_vjp(upstream)[0] if problem.differentiable else problem.value()
    found = compared(actual, expected, _quick(expected), np.float64)
    if found.passed is False and problem.differentiable:
        both = [_rounding(problem, program, upstream)[0] for program in ("handwritten", "autodiff")]
        found = compared(actual, expected, tolerance(both, expected), np.float64)
    elif found.passed is False and problem.iterates:
        found = compared(actual, expected, near_enough(problem, expected), np.float64)
    return _where_infinite(problem, found) if found.passed is None else found


NEARBY = 1e-7


def near_enough(problem: Problem, expected: Leaves) -> Leaves:
    """How far apart a function that iterates until it is near enough may end, from the last places it starts with.

    No further than arguments carry its values that differ by a ten-millionth.
    """
    unit, rng = finite_differences.scales(problem.x, problem.leaf_of), problem.random("near enough")
    moves = rng.choice([-NEARBY, NEARBY], (DRAWS, problem.x.size)) * unit
    values = zip(*(problem.at_flat(problem.x + move).value() for move in moves), strict=True)
    return tolerance(
        [[np.max(np.abs(y - t), 0) for y, t in zip(map(np.stack, values), expected, strict=True)]], expected
    )


def _where_infinite(problem: Problem, found: Comparison) -> Comparison:
    """Where the plain function is infinite in float64 and `actual` is not: many digits say whether it overflows there.

    Where it is not a number `actual` may be anything.
    """
    exact = many_digits.value(problem)
    wrong, undecided, values = [], [], []
    for j, (w, u, f, t) in enumerate(zip(found.wrong, found.undecided, found.actual, found.expected, strict=True)):
        infinite = u & np.isinf(as_wide(t))
        true = exact[j] if exact is not None else np.full(infinite.shape, np.nan)
        off = infinite & ~np.isnan(true) & apart(f, true, 1e-12 * size(true) + 1e-300)
        wrong.append(w | off)
        undecided.append(infinite & np.isnan(true))
        values.append(np.where(infinite & np.isfinite(true), true, t))
    return replace(found, wrong=wrong, undecided=undecided, expected=values)


def _rounding(problem: Problem, program: str, upstream: Leaves) -> tuple[Leaves, Leaves]:
    key = ("rounding", program, *(np.asarray(u).tobytes() for u in upstream))
    return problem.answers.get(key, lambda: rounding(problem, program, upstream))


def error_bounds(problem: Problem, upstream: Leaves) -> Leaves:
    """The tolerance of each number of the gradient, from the rounding of both programs."""
    both = [_rounding(problem, program, upstream)[1] for program in ("handwritten", "autodiff")]
    return tolerance(both, problem.autodiff_vjp(upstream)[1])


def has_numbers(problem: Problem) -> bool:
    """Whether some number of the gradient is finite, by hand or by autodiff: else there is nothing to compare."""
    return problem.answers.get("has numbers", lambda: _has_numbers(problem))


def _has_numbers(problem: Problem) -> bool:
    if not problem.x.size:
        return True
    upstream = problem.upstreams[0]
    passes = [problem.handwritten_vjp(upstream)[1], problem.autodiff_vjp(upstream)[1] if problem.differentiable else []]
    return any(np.isfinite(as_wide(g)).any() for gradients in passes for g in gradients)


def compare_gradient(problem: Problem, actual: Leaves, upstream: Leaves) -> Comparison:
    """Whether `actual`, computed in float64, is the gradient at `problem` for `upstream`."""
    expected = problem.autodiff_vjp(upstream)[1]
    quick = compared(actual, expected, _quick(expected), np.float64)
    if quick.passed:
        return quick
    found = compared(actual, expected, error_bounds(problem, upstream), np.float64)
    found = _without_rare_outliers(found)
    if found.passed:
        return found
    return _Disputed(problem, found, upstream).decided()


def _without_rare_outliers(found: Comparison) -> Comparison:
    """Of 65,000 elements the estimate of five draws is now and then too small: a wrong formula shows in more."""
    wrong = [
        w & apart(f, t, 6 * b) if w.size and w.mean() < 1e-3 else w
        for w, f, t, b in zip(found.wrong, found.actual, found.expected, found.error_bound, strict=True)
    ]
    return replace(found, wrong=wrong)


ROWS = 48
"""At most so many disputed elements are examined; of more a sample of `SAMPLE` of each kind stands for the others."""

SAMPLE = 8


@dataclass
class _Disputed:
    """The elements of one gradient on which the handwritten pass and autodiff do not agree, and what the oracles say.

    A complex number is two real ones here, as it is for numerical derivatives.
    """

    problem: Problem
    found: Comparison
    upstream: Leaves

    @cached_property
    def actual(self) -> np.ndarray:
        """The handwritten gradient in one row of real numbers."""
        return flatten(dual(self.found.actual))

    @cached_property
    def expected(self) -> np.ndarray:
        """Autodiff's."""
        return flatten(dual(self.found.expected))

    @cached_property
    def error_bound(self) -> np.ndarray:
        """How far rounding may carry them apart."""
        return np.abs(flatten(_for_both_parts(self.found.error_bound, self.found.actual)))

    def flags(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """Masks of the leaves in one row."""
        return flatten(_for_both_parts([np.asarray(x, np.float64) for x in leaves], self.found.actual)) != 0

    def decided(self) -> Comparison:
        """The comparison, with what was decided about the disputed elements."""
        disputed = np.flatnonzero(
            self.flags([w | u for w, u in zip(self.found.wrong, self.found.undecided, strict=True)])
        )
        groups = [disputed]
        if disputed.size > ROWS:
            slack = [3e2 * b for b in self.found.error_bound]
            near = autodiff.between_nearby(self.problem, self.upstream, self.found.actual, slack)[disputed]
            groups = [disputed[near], disputed[~near]]
        few = ROWS if disputed.size <= ROWS else SAMPLE if self.problem.x.size <= finite_differences.LARGE else 3
        decided: dict[int, Decision] = {}
        for group in groups:
            sample = group
            if group.size:
                sample = group[np.unique(np.linspace(0, len(group) - 1, min(few, len(group))).astype(int))]
            decisions = self.decisions(sample)
            decided |= decisions
            if decisions and all(d.verdict in (Verdict.RIGHT, Verdict.OUTSIDE) for d in decisions.values()):
                some = next(iter(decisions.values()))
                decided |= {int(i): decisions.get(int(i), some) for i in group}
        return self.applied(decided)

    def applied(self, decided: dict[int, Decision]) -> Comparison:
        """The comparison with these decisions."""
        wrong, undecided = self.flags(self.found.wrong), self.flags(self.found.undecided)
        expected, settled = np.array(self.expected), np.zeros(self.expected.size, bool)
        for i, decision in decided.items():
            wrong[i] = decision.verdict is Verdict.WRONG
            undecided[i] = decision.verdict is Verdict.UNDECIDED
            settled[i] = decision.verdict in (Verdict.RIGHT, Verdict.OUTSIDE)
            if decision.expected is not None and (
                decision.by == Oracle.DIGITS.value or (decision.by and decision.verdict is Verdict.WRONG)
            ):
                expected[i] = decision.expected
        values = dual(self.leaves(expected))
        wrong, undecided, skip = (self.masks(x) for x in (wrong, undecided, settled | undecided))
        ulps = [
            in_ulps(f, t, b, s, np.float64)
            for f, t, b, s in zip(self.found.actual, values, self.found.error_bound, skip, strict=True)
        ]
        by = frozenset(d.by for d in decided.values() if d.by)
        return Comparison(self.found.actual, values, self.found.error_bound, wrong, undecided, ulps, by)

    def leaves(self, row: np.ndarray) -> Leaves:
        """A row of real numbers as leaves."""
        like = [as_wide(x) for x in self.found.actual]
        return [x[0] for x in unflatten(row[None], like, list(range(len(like))))]

    def masks(self, row: np.ndarray) -> list[np.ndarray]:
        """Flags of real numbers as masks of the leaves."""
        return [np.asarray(x) != 0 for x in self.leaves(row.astype(np.float64))]

    def decisions(self, at: np.ndarray) -> dict[int, Decision]:
        """The decisions about these elements (positions in the row of real numbers)."""
        if not at.size:
            return {}
        problem = self.problem
        law = autodiff.is_the_law(problem)
        unit = finite_differences.scales(problem.x, problem.leaf_of)
        along = np.zeros((len(at), problem.x.size))
        along[np.arange(len(at)), at] = unit[at]
        rows = Rows(problem, along, self.upstream, unit[at])
        complex_ = any(np.iscomplexobj(x) for x in self.found.actual)
        places = [None] * len(at) if complex_ else _places([np.shape(x) for x in self.found.actual], at)
        return {
            int(i): rows.decided(
                k,
                Row(self.actual[i], self.expected[i], float(self.error_bound[i]), autodiff_is_law=law),
                places[k],
            )
            for k, i in enumerate(at)
        }


LONGER = 1e4
"""So many times longer steps are tried, up to the size of 1, where an argument is tiny."""


@dataclass
class Rows:
    """Evidence along some directions, computed only as `decide` needs it; derivatives are per `unit` of each."""

    problem: Problem
    directions: np.ndarray
    upstream: Leaves
    unit: np.ndarray
    slopes_given: Any = None

    @cached_property
    def slopes(self) -> finite_differences.Slopes:
        """Along all the directions at once."""
        if self.slopes_given is not None:
            return self.slopes_given
        return finite_differences.slopes_along(self.problem, self.directions)

    @cached_property
    def weights(self) -> np.ndarray:
        """The upstream gradient in one row."""
        return flatten(dual(self.upstream))

    def decided(self, k: int, row: Row, place: tuple[int, tuple[int, ...]] | None = None) -> Decision:
        """The decision about direction `k`; `place` is the leaf and index where it moves a single number."""
        while True:
            decision = decide(row)
            if decision.needs is None:
                return decision
            row = row.with_(**self.evidence(decision.needs, k, row, place))

    def evidence(self, oracle: Oracle, k: int, row: Row, place: tuple[int, tuple[int, ...]] | None) -> dict[str, Any]:
        """What an oracle says."""
        with np.errstate(all="ignore"):
            if oracle is Oracle.NUMERICAL:
                s, w = self.slopes, self.weights / self.unit[k]
                sides = (s.right[k], s.right_bound[k]), (s.left[k], s.left_bound[k])
                return {
                    "numerical": self.numerical(k, row),
                    "sides": tuple((float(value @ w), float(bound @ np.abs(w))) for value, bound in sides),
                    "kinked": bool(s.kinked[k].any()),
                    "infinite": self.infinite(k),
                    "outside": self.outside(k),
                }
            if oracle is Oracle.INTERVAL:
                return {"interval": self.interval(k, row)}
            if oracle is Oracle.DIGITS:
                return {"digits": self.in_digits(k, place)}
            return {"exact": self.by_differences(place)}

    def numerical(self, k: int, row: Row) -> tuple[float, float]:
        """The numerical derivative and its bound; with longer steps where short ones are too blunt to decide."""
        s, w = self.slopes, self.weights
        value, bound = float(s.value[k] @ w / self.unit[k]), float(s.bound[k] @ np.abs(w) / self.unit[k])
        longer = min(LONGER, 1 / self.unit[k])
        if longer <= 1 or s.kinked[k].any() or bound < SEAM * abs(row.actual - row.autodiff):
            return value, bound
        s = finite_differences.slopes_along(self.problem, longer * self.directions[k : k + 1])
        wide = float(s.value[0] @ w / self.unit[k] / longer), float(s.bound[0] @ np.abs(w) / self.unit[k] / longer)
        return wide if wide[1] < bound and not s.kinked.any() else (value, bound)

    @cached_property
    def finite(self) -> np.ndarray:
        """Which outputs of the plain function are finite."""
        return np.isfinite(flatten(self.problem.value()))

    def infinite(self, k: int) -> bool:
        """Whether an output that has no derivative along direction `k` is not finite."""
        return bool((~self.finite & ~np.isfinite(self.slopes.value[k] + self.slopes.bound[k])).any())

    def outside(self, k: int) -> bool:
        """Whether an output is finite here and on both sides along direction `k` is not, or jumps."""
        ahead = self.slopes.breaks[k] & self.finite
        if not ahead.any():
            return False
        behind = finite_differences.slopes_along(self.problem, -self.directions[k : k + 1]).breaks[0]
        return bool((ahead & behind).any())

    def interval(self, k: int, row: Row) -> tuple[float, float]:
        """Between the derivatives from the two sides; with those of points close by where this does not hold it."""
        between, nearby = itertools.tee(
            subgradient_interval.intervals(self.problem, self.slopes, k, self.directions[k], self.weights)
        )
        low, high = (end / self.unit[k] for end in next(between))
        if low - row.tolerance <= row.actual <= high + row.tolerance:
            return low, high
        *_, (low, high) = nearby
        return low / self.unit[k], high / self.unit[k]

    def in_digits(self, k: int, place: tuple[int, tuple[int, ...]] | None) -> float:
        if self.problem.x.size > many_digits.MOST or not self.problem.differentiable:
            return float("nan")
        found = many_digits.by_autodiff(
            self.problem, self.upstream, many_digits.DIGITS if place else many_digits.ENOUGH
        )
        if found is None:
            return float("nan")
        return float(found[place[0]][place[1]] if place else self.directions[k] @ flatten(found))

    def by_differences(self, place: tuple[int, tuple[int, ...]] | None) -> float:
        if place is None or self.problem.x.size > many_digits.MOST:
            return float("nan")
        return many_digits.by_differences(self.problem, self.upstream, *place)


def confirmed(problem: Problem, found: Comparison, upstream: Leaves) -> Comparison:
    """The comparison, after the gradient was also held against numerical derivatives along every direction."""
    if not problem.x.size or autodiff.is_the_law(problem):
        return found
    outside, by = _contradictions(problem, found, upstream, finite_differences.slopes_of(problem, with_rounding=False))
    if outside:
        outside, by = _contradictions(problem, found, upstream, finite_differences.slopes_of(problem))
    return replace(found, outside=(*found.outside, *outside), by=found.by | by)


def _contradictions(
    problem: Problem, found: Comparison, upstream: Leaves, slopes: finite_differences.Slopes
) -> tuple[list[str], frozenset[str]]:
    """The directions along which the gradient is not the derivative, in words, and who says so."""
    along = finite_differences.directions_of(problem)
    rows = Rows(problem, along, upstream, np.ones(len(along)), slopes)
    actual = flatten(dual(found.actual))
    expected = flatten(dual(problem.autodiff_vjp(upstream)[1]))
    bounds = np.abs(flatten(_for_both_parts(found.error_bound, found.actual)))
    outside, by = [], set()
    for k, direction in enumerate(along):
        if np.count_nonzero(direction) == 1 and found.by:
            continue  # element by element it was decided already
        with np.errstate(all="ignore"):
            mine, autodiffs = float(direction @ actual), float(direction @ expected)
            row = Row(mine, autodiffs, float(np.abs(direction) @ bounds), along=True)
        if not np.isfinite(mine):
            continue  # element by element it was decided already
        decision = rows.decided(k, row)
        if decision.verdict is Verdict.WRONG:
            by |= {decision.by} if decision.by else set()
            value, bound = rows.evidence(Oracle.NUMERICAL, k, row, None)["numerical"]
            said = f"{expected_and_got(value, mine)} (error bound {bound:.1g})"
            outside.append(f"derivative {_direction_name(problem, direction)}: {said}")
    return outside, frozenset(by)


def _for_both_parts(bounds: Leaves, like: Leaves) -> Leaves:
    """The error bounds, once for the real and once for the imaginary part where the gradient is complex."""
    return [b + 1j * b if np.iscomplexobj(f) else b for b, f in zip(bounds, like, strict=True)]


def _direction_name(problem: Problem, direction: np.ndarray) -> str:
    if np.count_nonzero(direction) == 1:
        return f"along element {int(np.flatnonzero(direction)[0])} of {problem.x.size}"
    return "along all elements at once" if len(set(direction)) == 1 else "along a random direction"


def compare_by_differences(problem: Problem, actual: Leaves, upstream: Leaves) -> tuple[bool | None, str]:
    """The gradient against numerical derivatives alone, for a plain function that autodiff cannot differentiate.

    Such functions iterate until they are near enough, so that their values jump a little: only a difference of more
    than a hundredth is called wrong, and one of more than a thousandth is undecided. They depend a little on where they
    start, too: beside the largest derivative a thousandth is undecided, and a hundred-thousandth is nothing.
    """
    s, weights, mine = finite_differences.slopes_of(problem), flatten(dual(upstream)), flatten(dual(actual))
    along_each = finite_differences.scales(problem.x, problem.leaf_of) * np.abs(mine)
    most = float(np.max(along_each, initial=0.0, where=np.isfinite(along_each))) if problem.iterates else 0.0
    worst: bool | None = True
    for k, direction in enumerate(finite_differences.directions_of(problem)):
        value, bound, along = s.value[k] @ weights, s.bound[k] @ np.abs(weights), direction @ mine
        off, whole = abs(along - value), np.abs(direction) @ np.abs(mine) + abs(value)
        if not np.isfinite(value + bound) or off <= 4 * bound + 1e-3 * whole + 1e-5 * most:
            worst = worst if np.isfinite(value + bound) else None
        elif off > 4 * bound + 1e-2 * whole + 1e-3 * most:
            name = _direction_name(problem, direction)
            return False, f"derivative {name}: {expected_and_got(value, along)} (error bound {bound:.1g})"
        else:
            worst = None
    return worst, "by numerical derivatives alone: autodiff cannot differentiate the plain function"


def compare_arithmetic(problem: Problem, low: Problem, upstream: Leaves) -> tuple[Comparison, Comparison]:
    """Outputs and gradients as `low`'s precision computes them, beside the same in float64 at the same inputs.

    `problem` is `low` in float64, where the algebra was judged; the question is only what the precision loses.
    """
    y, g = low.as_run("handwritten", upstream)
    wide = [as_wide(np.asarray(u).astype(t)) for u, t in zip(upstream, low.output_types, strict=True)]
    exact_y, exact_g = problem.handwritten_vjp(wide)
    unit = _unit(low)
    quick = [[ALLOWED_ROUNDINGS * least for least in _floor(low, exact)] for exact in (exact_y, exact_g)]
    values, gradients = (compared(f, t, b, low.dtype) for f, t, b in ((y, exact_y, quick[0]), (g, exact_g, quick[1])))
    if values.passed and gradients.passed:
        return values, gradients
    own, of_autodiff = (rounding(problem, program, wide, scale_of(unit)) for program in ("handwritten", "autodiff"))
    errors = _AutodiffErrors(problem, low, wide)
    return tuple(
        _decide_arithmetic(low, f, t, own[k], of_autodiff[k], lambda k=k: errors.absolute[k])
        for k, (f, t) in enumerate(((y, exact_y), (g, exact_g)))
    )  # type: ignore[return-value]


def _floor(low: Problem, exact: Leaves) -> Leaves:
    """What last places are worth in that precision: of the element, and of the leaf."""
    unit = _unit(low)
    return [2 * unit * size(x) + unit * largest(x) + _tiny(low) for x in exact]


def _unit(low: Problem) -> float:
    return unit_roundoff(low.dtype)


def _tiny(low: Problem) -> float:
    return float(jnp.finfo(low.dtype).smallest_normal)


@dataclass
class _AutodiffErrors:
    problem: Problem
    low: Problem
    upstream: Leaves

    @cached_property
    def absolute(self) -> tuple[Leaves, Leaves]:
        """For outputs and gradients: how far autodiff is off in that precision."""
        y, g = self.low.as_run("autodiff", self.upstream)
        exact = self.problem.autodiff_vjp(self.upstream)
        with np.errstate(all="ignore"):
            return tuple(
                [np.abs(as_wide(a) - t) for a, t in zip(part, true, strict=True)]
                for part, true in zip((y, g), exact, strict=True)
            )  # type: ignore[return-value]


def _decide_arithmetic(
    low: Problem, actual: Leaves, exact: Leaves, own: Leaves, other: Leaves, errors: Any
) -> Comparison:
    """`decide_arithmetic` about every element; `own` and `other` are the rounding of both programs."""
    wrong, undecided, ulps, bounds, as_autodiff, imprecise = [], [], [], [], [], True
    for j, (f, t, least) in enumerate(zip(actual, exact, _floor(low, exact), strict=True)):
        rounded = np.where(np.isfinite(other[j]), other[j], 0.0)
        allowed = ALLOWED_ROUNDINGS * (rounded + least)
        off = apart(f, t, allowed) & np.isfinite(as_wide(t))
        flags = np.zeros(off.shape, bool)
        for at in map(tuple, np.argwhere(off)[:: max(1, int(off.sum()) // 256)]):
            row = ArithmeticRow(
                as_wide(f)[at], as_wide(t)[at], float(rounded[at]), float(np.nan_to_num(own[j][at])), float(least[at])
            )
            verdict = decide_arithmetic(row)
            if verdict is None:
                worst = float(np.max(np.where(np.isfinite(errors()[j]), errors()[j], 0.0), initial=0.0))
                mine = float(errors()[j][at])
                verdict = decide_arithmetic(
                    replace(row, autodiff_error=max(mine, worst) if np.isfinite(mine) else mine)
                )
            flags[at] = verdict in (Verdict.IMPRECISE, Verdict.WRONG)
            imprecise = imprecise and verdict is not Verdict.WRONG
        wrong.append(flags)
        as_autodiff.append(~flags & _half_of_the_digits(low, f, t))
        undecided.append(np.zeros(flags.shape, bool))
        bounds.append(allowed)
        ulps.append(in_ulps(f, t, ALLOWED * (rounded + least), off & ~flags, low.dtype))
    return Comparison(
        actual,
        exact,
        bounds,
        wrong,
        undecided,
        ulps,
        imprecise=imprecise and any(w.any() for w in wrong),
        as_autodiff=tuple(as_autodiff),
    )


def _half_of_the_digits(low: Problem, actual: Any, exact: Any) -> np.ndarray:
    """Where more than half of the type's digits are lost, beside the element and the typical one of its leaf."""
    with np.errstate(all="ignore"):
        typical = np.sqrt(np.mean(size(exact) ** 2)) if np.size(exact) else 0.0
        return np.abs(as_wide(actual) - exact) > np.sqrt(_unit(low)) * (size(exact) + typical) + _tiny(low)


def _places(shapes: Sequence[tuple[int, ...]], at: np.ndarray) -> list[tuple[int, tuple[int, ...]]]:
    """Of positions in the flat gradient the leaves and the indices there."""
    starts = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
    leaves = np.searchsorted(starts, at, "right") - 1
    return [
        (int(leaf), tuple(map(int, np.unravel_index(i - starts[leaf], shapes[leaf]))))
        for leaf, i in zip(leaves, at, strict=True)
    ]
