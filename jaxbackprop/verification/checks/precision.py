"""In the precisions a program runs in: no more is lost than the type must lose, or than autodiff loses; no bias."""

from collections.abc import Iterator
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from ...jaxprs.inputs import Leaves, round_to, unit_roundoff
from ...jaxprs.queries import UNTRACEABLE, inexact_constants, same_but_for_types
from ..diagnosis.evidence import Evidence
from ..examine import Comparison, compare_arithmetic, compare_gradient, compared
from ..points import domain_of
from ..problem import Problem, backward_passes, compile_together
from ..rounding import apart, as_wide, largest, size
from ..wording import expected_and_got, index
from .result import CheckResult


def precision(problem: Problem) -> Iterator[CheckResult]:
    """In float32, bfloat16 and float16 no more is lost than the type must lose, or autodiff loses."""
    if not problem.differentiable or not problem.x.size:
        return
    chosen = list(precisions(problem))
    narrower = [low for _, low in chosen if low is not problem]
    in_halves = [low for low in narrower if problem.main and low.dtype == jnp.bfloat16]  # for the check of bias
    compile_together([*backward_passes(narrower, ["handwritten"]), *backward_passes(in_halves, ["autodiff"])])
    for name, low in chosen:
        result = _in_precision(problem, name, low)
        if result is not None:
            yield result


def precisions(problem: Problem) -> Iterator[tuple[str, Problem]]:
    """The precisions to check: all of them at the main input; at each of the others one of them.

    The problem's own as well, where a program rounds to a narrower type than float64 on its way, and is a rule or was
    given arguments of that type: a kernel that computes in float32 what it is given in float32 is judged there.
    """
    own = problem.function.rule is not None or problem.function.typed or problem.given.dtype == problem.dtype
    if own and not problem.is_wide("handwritten"):
        yield f"{problem.dtype.name}, as written", problem
    if problem.function.typed:
        return
    types = problem.float_types
    names = tuple(types) if problem.main else (tuple(types)[problem.number % len(types)],)
    if any(np.iscomplexobj(problem.given.arrays[i]) for i in problem.given.live):
        names = ("float32",)  # there is no narrower complex type
    for name in names:
        if unit_roundoff(types[name]) > unit_roundoff(problem.dtype):
            yield name, problem.at(types[name])


def _in_precision(problem: Problem, name: str, low: Problem) -> CheckResult | None:
    try:
        _ = low.trace("handwritten")
    except UNTRACEABLE as error:
        try:
            _ = low.trace("autodiff")
        except UNTRACEABLE:
            return None  # the plain function does not work in this precision either
        return CheckResult(False, f"{type(error).__name__}: {error}".split("\n")[0], name, suspect="dtype")
    try:
        # With upstream gradients of one sign sums grow, and what a narrow accumulator loses is seen.
        results = [
            _compared(problem, name, low, one_sign) for one_sign in ((False, True) if problem.main else (False,))
        ]
    except NotImplementedError:
        return None  # a matrix is not factored in bfloat16
    return next((r for r in results if r.passed is not True), next((r for r in results if r.imprecise), results[0]))


def _compared(problem: Problem, name: str, low: Problem, one_sign: bool) -> CheckResult:
    upstream = [np.abs(u).astype(u.dtype) if one_sign else u for u in low.upstream(0)]
    exact = [as_wide(u) for u in upstream]
    here = problem if low is problem else problem.rounded_to(low.dtype)
    traces = problem.trace("handwritten"), low.trace("handwritten")
    if low is not problem and not same_but_for_types(*traces, unit_roundoff(low.dtype)):
        # The type changes the program itself: its algebra is another one, and is judged first.
        here = low
        actual = low.handwritten_vjp(exact)[1]
        found = _to_that_precision(compare_gradient(low, actual, exact), unit_roundoff(low.dtype))
        if found.passed is False and not _as_in_float64(problem, low, actual, exact):
            suspect = (
                f"right in float64, wrong in {name}: a cast, or a constant or epsilon that this type does not hold"
            )
            return _failed(name, low, found, exact, suspect)
    values, gradients = compare_arithmetic(here, low, upstream)
    if gradients.passed is False:
        return _failed(name, here, gradients, exact, f"accuracy: less accurate than {name} allows")
    worst = max(gradients.ulps, default=0.0)
    if values.passed is False:
        detail, suspect = "forward: " + values.worst_output(), f"accuracy: less accurate than {name} allows"
        return CheckResult(False, detail, name, worst, suspect=suspect, imprecise=values.imprecise)
    for found, names in ((gradients, problem.names()), (values, [f"output {j}" for j in range(len(values.actual))])):
        for j, coarse in enumerate(found.as_autodiff):
            if coarse.any() and problem.main:
                at = tuple(np.argwhere(coarse)[0])
                both = expected_and_got(found.expected[j][at], as_wide(found.actual[j])[at])
                said = f"{names[j]}{index(at)}: {both}; autodiff may lose as much"
                return CheckResult(True, said, name, worst, imprecise=True)
    return CheckResult(True, "", name, worst)


def _to_that_precision(found: Comparison, unit: float) -> Comparison:
    """A program for one type may approximate to that type's accuracy: an iteration that stops at its epsilon."""
    wrong = [
        w & apart(f, t, b + 2 * unit * size(t))
        for w, f, t, b in zip(found.wrong, found.actual, found.expected, found.error_bound, strict=True)
    ]
    return replace(found, wrong=wrong)


def _as_in_float64(problem: Problem, low: Problem, actual: Leaves, upstream: Leaves) -> bool:
    """Whether the program for this type answers what that for float64 does, but for its constants' rounding.

    That one was judged already. It counts where autodiff is no measure, as of a program that looks at bits.
    """
    here, unit = problem.rounded_to(low.dtype), unit_roundoff(low.dtype)
    expected = here.handwritten_vjp(upstream)[1]
    bounds = [8 * unit * (size(x) + largest(x)) for x in expected]
    if compared(here.autodiff_vjp(upstream)[1], expected, bounds, low.dtype).passed is True:
        return False
    return compared(actual, expected, bounds, low.dtype).passed is True


def _failed(name: str, here: Problem, found: Comparison, upstream: Leaves, suspect: str) -> CheckResult:
    j = next((j for j, wrong in enumerate(found.wrong) if wrong.any()), 0)
    evidence = Evidence(here, found, upstream, j, here.float_types.get(name))
    ulps = max(found.ulps, default=0.0)
    return CheckResult(False, evidence.sentence(), name, ulps, evidence, suspect, imprecise=found.imprecise)


DRAWS = 16
"""At so many points and upstream gradients the signed errors are averaged."""


def bias(problem: Problem) -> CheckResult | None:
    """In bfloat16 the errors of a gradient are as often too large as too small: their mean is not biased.

    Truncating instead of rounding, say, keeps every element within its tolerance and shrinks them all. The signed
    errors, in units of the type's round-off, are averaged over elements; each draw gives one mean, as the elements of
    one gradient may share an error. Autodiff in bfloat16 is excused what it does itself.
    """
    numbers = [problem.given.arrays[i] for i in problem.given.live]
    if problem.function.typed or not problem.differentiable or any(map(np.iscomplexobj, numbers)):
        return None
    if problem.dtype != np.float64 or not problem.x.size or problem.x.size > 4096:
        return None
    low = problem.at(jnp.bfloat16)
    try:
        means = _means(problem, low)
    except UNTRACEABLE:
        return None  # judged by the check of precision
    mine, autodiffs = np.array(means[0]), np.array(means[1])
    of_hand, of_auto = abs(mine.mean()), abs(autodiffs.mean())
    by_chance = 5 * mine.std() / np.sqrt(DRAWS)
    # A constant that bfloat16 does not hold, such as 0.3, is off by up to one unit in every element.
    constants = inexact_constants(problem.trace("handwritten").jaxpr, jnp.bfloat16)
    if of_hand > max(0.35 + constants, by_chance, 2 * of_auto + 0.2):
        return CheckResult(
            False,
            f"the mean error over elements is {mine.mean():+.2f} units of round-off, autodiff's {of_auto:.2f}",
            "bfloat16 bias",
            imprecise=True,
            suspect="accuracy: biased in bfloat16 (truncated instead of rounded, summed in too narrow a type)",
        )
    return CheckResult(True, f"mean error {mine.mean():+.2f} units of round-off", "bfloat16 bias")


def _means(problem: Problem, low: Problem) -> tuple[list[float], list[float]]:
    """The mean errors of the handwritten gradients and of autodiff's, one for each draw."""
    rng, means = low.random("bias"), ([], [])
    for k in range(DRAWS):
        moved = [_elsewhere(problem, i, x, rng) for i, x in enumerate(problem.inputs.arrays)]
        there = low.moved(low.inputs.with_arrays(round_to(moved, jnp.bfloat16)))
        upstream = low.upstream(k)
        # By hand in float64 was judged by its own check (at a kink, autodiff may answer another right value).
        exact = [np.asarray(u).astype(np.float64) for u in upstream]
        truth = problem.moved(there.inputs.cast(np.float64)).handwritten_vjp(exact)[1]
        means[0].append(_mean_error(there.as_run("handwritten", upstream)[1], truth))
        means[1].append(_mean_error(there.as_run("autodiff", upstream)[1], truth))
    return means


def _elsewhere(problem: Problem, i: int, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other numbers of about that size: so many units away that their errors say nothing of one another's."""
    if i not in problem.inputs.live:
        return x
    far, near = (x * (1 + share * rng.uniform(-1, 1, np.shape(x))) for share in (0.25, 4e-3))
    inside = domain_of(problem, i).holds
    return far if inside is not None and inside(far) else near


def _mean_error(actual: Leaves, exact: Leaves) -> float:
    """The mean over elements of (|actual| - |exact|) / (u |exact|), where that is an error of rounding."""
    errors = []
    for f, t in zip(actual, exact, strict=True):
        f, t = np.asarray(f, np.float64).reshape(-1), np.asarray(t, np.float64).reshape(-1)
        size = np.abs(t)
        matters = np.isfinite(t) & np.isfinite(f) & (size > 1e-3 * np.max(size, initial=0.0)) & (size > 1e-30)
        errors.append((f[matters] - t[matters]) * np.sign(t[matters]) / (size[matters] * unit_roundoff(jnp.bfloat16)))
    joined = np.concatenate(errors) if errors else np.zeros(0)
    joined = joined[np.abs(joined) < 4]
    return float(np.mean(joined)) if joined.size else 0.0
