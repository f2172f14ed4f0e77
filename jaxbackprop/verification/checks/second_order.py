"""Differentiated again, and beside a forward mode."""

from collections.abc import Callable

import jax
import numpy as np

from ...jaxprs.flatten import dual, flatten
from ...jaxprs.inputs import Leaves, normal_like, replaced, round_to, unit_roundoff
from ..examine import QUICK, Comparison, compare_gradient, compared
from ..oracles import autodiff, finite_differences
from ..points import inferred
from ..problem import Problem, Program, compile_together
from ..rounding import FLOAT64, largest, rounding_of, size, tolerance
from ..wording import expected_and_got, index
from .result import CheckResult, what_happened


def second_order(given_problem: Problem) -> CheckResult | None:
    """The derivative of the backward pass is the plain function's second derivative."""
    problem = _smooth(given_problem)
    if problem is None:
        return None
    try:
        given = second_derivatives(problem)
    except Exception as error:
        if "twice, plain" not in {key[0] for key in problem.programs.held if isinstance(key, tuple)}:
            return None  # nor does the plain function have a second derivative
        return CheckResult(True, f"not supported, the backward pass raises: {what_happened(error)}", note=True)
    compile_together(_programs(problem, given))
    upstream, live = problem.upstream(0), problem.inputs.live
    weights = given[len(given) - len(live) :]
    found = _compared(problem, given)
    first, expected = found.actual[: len(live)], found.expected[: len(live)]
    if found.passed is False and _at_a_seam(problem, first, expected, upstream, weights):
        return CheckResult(True, "differences of the first derivative agree with it, and not with autodiff")
    if found.passed is False:
        j = next(j for j, w in enumerate(found.wrong) if w.any())
        at = tuple(np.argwhere(found.wrong[j])[0])
        name = problem.names()[j] if j < len(live) else "the upstream gradient"
        return CheckResult(
            False,
            f"with respect to {name}{index(at)}: {expected_and_got(found.expected[j][at], found.actual[j][at])}",
            suspect="right once, wrong when differentiated again: something it depends on "
            "is held constant (stop_gradient, a float cast to an integer and back, a residual of the wrong kind)",
        )
    # Not `expected`, of which only what changes within the argument's domain is left.
    autodiffs = problem.exact("twice, plain", given)[: len(live)]
    if problem is given_problem and _wrong_at_a_seam(problem, autodiffs, upstream, weights):
        return CheckResult(
            False,
            "differences of the first derivative disagree with it, and with autodiff's",
            suspect="right once, wrong when differentiated again at the seam of a function written in pieces (where), "
            "as autodiff is",
        )
    if any(x.any() for x in found.undecided):
        return CheckResult(True, "compared where autodiff's second derivative is finite")
    return CheckResult(True)


def twice_programs(problem: Problem) -> list[Program]:
    """The programs of the check, where they can be traced."""
    try:
        return _programs(problem, second_derivatives(problem)) if _has_second(problem) else []
    except Exception:
        return []  # it is raised again where they are needed


def _programs(problem: Problem, given: Leaves) -> list[Program]:
    return [(problem, f"twice, {which}", given) for which in ("handwritten", "plain")]


def _has_second(problem: Problem) -> bool:
    """Whether there is anything to differentiate twice."""
    return bool(problem.x.size and problem.outputs and problem.differentiable)


def second_derivatives(problem: Problem) -> Leaves:
    """Trace "twice, plain" and "twice, handwritten", the derivatives of both backward passes, and answer their inputs.

    Raises:
        NotImplementedError: the plain function has no second derivative.
    """
    arrays, upstream, live = problem.inputs.arrays, problem.upstream(0), problem.inputs.live

    def twice(pull: Callable) -> Callable:
        def second(arrays: Leaves, upstream: Leaves, second: Leaves) -> Leaves:
            def gradients(floats: Leaves, u: Leaves) -> Leaves:
                return pull(replaced(arrays, live, floats), u)[1]

            _, back = jax.vjp(gradients, [arrays[i] for i in live], upstream)
            return jax.tree.leaves(back(second))

        return second

    weights = round_to(_dense(problem), problem.dtype)
    weights = [w.astype(arrays[i].dtype) for w, i in zip(weights, live, strict=True)]
    given = [*arrays, *upstream, *weights]
    for which, pull in (("plain", problem.plain_vjp), ("handwritten", problem.handwritten_pull)):
        problem.trace(f"twice, {which}", _flat(twice(pull()), len(arrays), len(upstream)), *given)
    return given


def _flat(second: Callable, arrays: int, upstream: int) -> Callable:
    """A function of arrays, upstream gradients and second cotangents, in one row."""
    return lambda *a: second(list(a[:arrays]), list(a[arrays : arrays + upstream]), list(a[arrays + upstream :]))


def _compared(problem: Problem, given: Leaves) -> Comparison:
    """Both second derivatives in float64, with a tolerance from the rounding of both programs where they differ."""
    actual, expected = (problem.exact(f"twice, {which}", given) for which in ("handwritten", "plain"))
    quick = compared(
        actual, expected, [QUICK[0] * size(x) + QUICK[1] * largest(x) + 1e-300 for x in expected], np.float64
    )
    if quick.passed is not False:
        return quick
    both = [rounding_of(problem, f"twice, {which}", given, FLOAT64) for which in ("handwritten", "plain")]
    found = compared(actual, expected, tolerance(both, expected), np.float64)
    return _along_the_domain(problem, found) if found.passed is False else found


def _along_the_domain(problem: Problem, found: Comparison) -> Comparison:
    """The same without what a change that keeps an argument's inferred properties cannot see.

    A backward pass may use that a matrix is symmetric; its derivative with respect to that matrix shows it.
    """
    arrays, live = problem.inputs.arrays, problem.inputs.live
    actual, expected, bounds = list(found.actual), list(found.expected), list(found.error_bound)
    for j, i in enumerate(live):
        for p in inferred(problem, i):
            actual[j], expected[j] = (p.tangent(arrays[i], x[j]) for x in (actual, expected))
            bounds[j] = np.full_like(bounds[j], 4 * np.max(bounds[j], initial=0.0))
    again = compared(actual, expected, bounds, np.float64)
    return found if again.passed is False else again


def _at_a_seam(problem: Problem, found: Leaves, truth: Leaves, upstream: Leaves, weights: Leaves) -> bool:
    """Whether differences of autodiff's first derivative agree with `found` and not with autodiff's second.

    So it is at the seam of a smooth function written in pieces: sin x / x at 0.
    """
    direction = problem.random("seam").choice([-1.0, 1.0], problem.x.size)
    h = 1e-3 * max(1.0, float(np.max(np.abs(problem.x), initial=0.0)))
    sides = []
    for sign in (1, -1):
        gradients = problem.at_flat(problem.x + sign * h * direction).autodiff_vjp(upstream)[1]
        sides.append(sum(float(np.sum(np.real(w * g))) for w, g in zip(weights, gradients, strict=True)))
    slope = (sides[0] - sides[1]) / (2 * h)
    mine, auto = (float(direction @ flatten(g)) for g in (found, truth))
    close = 1e-3 * (abs(slope) + abs(mine))
    return abs(mine - slope) <= close < abs(auto - slope)


def _wrong_at_a_seam(problem: Problem, auto: Leaves, upstream: Leaves, weights: Leaves) -> bool:
    """Whether autodiff's first derivative has a slope here, the same from both sides, and its second one is another.

    A handwritten one that agrees takes one piece of the function for the whole, too.
    """
    if autodiff.is_the_law(problem):
        return False
    # A step is small beside each number: close to zero a logarithm has no seam, but no derivative a large step away.
    size = np.where(problem.x == 0, 1.0, np.abs(problem.x))
    direction = size * problem.random("seam").choice([-1.0, 1.0], problem.x.size)

    def first(step: float) -> float:
        gradients = problem.at_flat(problem.x + step * direction).autodiff_vjp(upstream)[1]
        return sum(float(np.sum(np.real(w * g))) for w, g in zip(weights, gradients, strict=True))

    here = first(0.0)
    slopes = [(first(side * h) - here) / (side * h) for h in (1e-3, 1e-4) for side in (1, -1)]
    slope, spread = float(np.mean(slopes)), float(np.ptp(slopes))
    gap = abs(slope - float(direction @ flatten(dual(auto))))
    return bool(np.isfinite(gap) and gap > 0.1 * abs(slope) + 1e-2 * abs(here) + 20 * spread)


def _smooth(problem: Problem) -> Problem | None:
    """The problem, or where autodiff is no measure (at a kink, at a seam) one a little aside of it; None if none is."""
    if not _has_second(problem):
        return None
    rng, rough = problem.random("aside"), None
    for scale in (0.0, 1e-2, 1e-1):
        aside = [_aside(x, scale, rng) if i in problem.inputs.live else x for i, x in enumerate(problem.inputs.arrays)]
        here = problem.moved(problem.inputs.with_arrays(aside)) if scale else problem
        if not all(np.isfinite(x).all() for part in here.autodiff_vjp(problem.upstream(0)) for x in part):
            continue
        found = compare_gradient(here, here.handwritten_vjp(problem.upstream(0))[1], problem.upstream(0))
        if found.passed is False and not scale:
            return problem  # wrong already: the check of gradients says so
        if found.passed and not found.by and not _kinked(here):
            if _steady(found):
                return here
            # Rounding alone moves autodiff's first derivative that far: at a seam such as max(x, y) at a tie.
            rough = rough or here
    return rough


def _aside(x: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers close by; a finite one in the place of an infinite one."""
    moved = np.where(np.isfinite(x), x + scale * (1 + np.abs(x)) * rng.uniform(-1, 1, x.shape), 0)
    return np.where(np.isfinite(x), moved, rng.normal(size=x.shape)).astype(x.dtype)


def _kinked(problem: Problem) -> bool:
    """Whether the derivatives from the two sides differ somewhere: by more than rounding does, where they seem to."""
    slopes = finite_differences.slopes_of
    return bool(slopes(problem, with_rounding=False).kinked.any() and slopes(problem).kinked.any())


def _steady(found: Comparison) -> bool:
    """Whether the bars are small beside the gradient itself."""
    size = [np.abs(t) + (np.sqrt(np.mean(np.abs(t) ** 2)) if np.size(t) else 0.0) for t in found.expected]
    return all(np.all(b <= 1e-2 * s + 1e-30) for b, s in zip(found.error_bound, size, strict=True))


def _dense(problem: Problem) -> Leaves:
    return normal_like(problem.random("second cotangent"), [problem.inputs.arrays[i] for i in problem.inputs.live])


def adjoint(problem: Problem) -> CheckResult | None:
    """<u, J v> = <B u, v>, where the function has a forward mode: both modes give the same derivative."""
    if problem.function.kind in ("rule", "custom_vjp"):
        return None  # a custom_vjp has no forward mode
    flat, live = problem.inputs.call(problem.function.handwritten), problem.inputs.live
    direction = [w.astype(problem.inputs.arrays[i].dtype) for w, i in zip(_dense(problem), live, strict=True)]

    def push(arrays: Leaves, v: Leaves) -> Leaves:
        return jax.jvp(lambda *x: flat(*replaced(arrays, live, x)), [arrays[i] for i in live], v)[1]

    try:
        count = len(problem.inputs.arrays)
        problem.trace("push", lambda *a: push(list(a[:count]), list(a[count:])), *problem.inputs.arrays, *direction)
        tangents = problem.as_written("push", [*problem.inputs.arrays, *direction])
    except TypeError:
        return None  # it holds a custom_vjp
    upstream = problem.upstream(0)
    _, gradients = problem.handwritten_at(problem.inputs.arrays, upstream)
    with np.errstate(all="ignore"):
        left = [u * t for u, t in zip(upstream, tangents, strict=True)]
        right = [g * v for g, v in zip(gradients, direction, strict=True)]
        one, two = (float(sum(np.sum(x).real for x in side)) for side in (left, right))
        size = float(sum(np.sum(np.abs(x)) for x in (*left, *right)))
    if not np.isfinite(one + two):
        return None
    if abs(one - two) > 1e3 * unit_roundoff(problem.coarsest) * size:
        detail = f"<B u, v>: {expected_and_got(one, two)}"
        return CheckResult(False, detail, suspect="the forward and the backward derivative disagree")
    return CheckResult(True)
