"""At the inputs themselves: the values, the gradients, linearity in the upstream gradient."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...jaxprs.flatten import dual, flatten
from ...jaxprs.inputs import Leaves, unit_roundoff
from ..diagnosis.evidence import Evidence
from ..examine import compare_by_differences, compare_gradient, compare_values, compared, confirmed, has_numbers
from ..oracles import autodiff, finite_differences, subgradient_interval
from ..oracles.finite_differences import Slopes
from ..problem import Problem
from ..rounding import as_wide, largest
from ..wording import index, region
from .result import CheckResult

FORWARD = "forward pass: its value is not that of the plain function"


def forward_pass(problem: Problem) -> CheckResult:
    """The value is that of the plain function."""
    y, _ = problem.handwritten_vjp(problem.upstream(0))
    found = compare_values(problem, y)
    detail = "" if found.passed else found.worst_output()
    return CheckResult(
        found.passed, detail, units=max(found.ulps, default=0.0), suspect="" if found.passed else FORWARD
    )


def gradient(problem: Problem) -> Iterator[CheckResult]:
    """The gradient of each argument is the derivative of the plain function."""
    names = problem.names()
    if not has_numbers(problem):
        yield CheckResult(None, NOTHING_FINITE, examined=False)
        return
    if not problem.differentiable:
        upstream = problem.upstreams[0]
        yield CheckResult(*compare_by_differences(problem, problem.handwritten_vjp(upstream)[1], upstream))
        return
    failed: dict[int, Evidence] = {}
    undecided: dict[int, str] = {}
    worst, by = [0.0] * len(names), set()
    not_compared = [np.ones(np.shape(problem.inputs.arrays[i]), bool) for i in problem.inputs.live]
    for upstream in problem.upstreams:
        found = compare_gradient(problem, problem.handwritten_vjp(upstream)[1], upstream)
        for mask, actual, expected in zip(not_compared, found.actual, found.expected, strict=True):
            mask &= ~np.isfinite(as_wide(actual)) & ~np.isfinite(as_wide(expected))
        if problem.main or found.by:
            found = confirmed(problem, found, upstream)
        by |= found.by
        for j in range(len(names)):
            worst[j] = max(worst[j], found.ulps[j])
            if found.wrong[j].any():
                failed.setdefault(j, Evidence(problem, found, upstream, j))
            elif found.undecided[j].any():
                undecided.setdefault(j, _disagreement(found.undecided[j]))
        if found.outside and not any(w.any() for w in found.wrong):
            # A direction moves all arguments: the first stands for them.
            failed.setdefault(0, Evidence(problem, found, upstream, 0))
    how = f"decided by {' and '.join(sorted(by))}" if by else ""
    for j, name in enumerate(names):
        if j in failed:
            yield CheckResult(False, failed[j].sentence(), f"gradient of {name}", worst[j], failed[j])
        elif j in undecided:
            yield CheckResult(None, undecided[j], f"gradient of {name}", worst[j])
        elif not_compared[j].size and not_compared[j].all():
            yield CheckResult(None, NOTHING_FINITE, f"gradient of {name}", examined=False)
        else:
            details = [how, _left_out(not_compared[j])]
            yield CheckResult(True, "; ".join(filter(None, details)), f"gradient of {name}", worst[j])


NOTHING_FINITE = "nothing was compared: no number of it is finite, neither by hand nor by autodiff"


def _left_out(mask: np.ndarray) -> str:
    """Where nothing was compared; empty where everything was."""
    if not mask.any():
        return ""
    first = index(tuple(np.argwhere(mask)[0]))
    return f"not compared, as neither is finite there: {first} ({region(mask)})"


def _disagreement(undecided: np.ndarray) -> str:
    return f"autodiff and numerical derivatives do not agree in {region(undecided) or 'that number'}"


def linear_in_the_upstream(problem: Problem) -> CheckResult | None:
    """B(2u - 3w) = 2 B(u) - 3 B(w); zero gives zero; B(c u) = c B(u) for c of 1e-20, 1e5 and 1e15."""
    arrays, (u, w) = problem.inputs.arrays, problem.upstreams[:2]
    pull = lambda upstream: problem.handwritten_at(arrays, upstream)[1]  # noqa: E731
    of_u, of_w = pull(u), pull(w)
    if not all(np.isfinite(g).all() for g in (*of_u, *of_w)):
        return None  # judged by the check of gradients
    nothing = pull([np.zeros_like(x) for x in u])
    if any(np.any(np.asarray(g) != 0) for g in nothing):
        return CheckResult(False, "a zero upstream gradient does not give zero", suspect="not linear")
    coarsest = problem.coarsest
    expected = [2 * a - 3 * b for a, b in zip(of_u, of_w, strict=True)]
    bound = [_bound(np.abs(2 * a) + np.abs(3 * b), coarsest) for a, b in zip(of_u, of_w, strict=True)]
    both = [(2 * a - 3 * b).astype(a.dtype) for a, b in zip(u, w, strict=True)]
    trials = [("a sum of two upstream gradients", both, expected, bound)]
    iterates = problem.iterates_back
    # Halves hold no number of 1e-20; and what iterates until it is near enough ends at once where all is that small.
    factors = () if jnp.finfo(problem.dtype).bits < 32 else (1e5,) if iterates else (1e-20, 1e5, 1e15)
    for factor in factors:
        scaled = [(factor * a).astype(a.dtype) for a in u]
        allowed = [factor * _bound(np.abs(g), coarsest) for g in of_u]
        trials.append((f"an upstream gradient scaled by {factor:g}", scaled, [factor * g for g in of_u], allowed))
    for what, upstream, truth, allowed in trials:
        found = pull(upstream)
        near = NEAR_ENOUGH if iterates else 0.0
        allowed = [32 * a + near * (np.abs(t) + largest(t)) for a, t in zip(allowed, truth, strict=True)]
        if compared(found, truth, allowed, problem.dtype).passed is not False:
            continue
        # Where terms cancel, rounding alone makes a sum differ from its parts: then the sum is at least right.
        wide = problem.handwritten_vjp(upstream)[1]
        if not problem.differentiable or compare_gradient(problem, wide, upstream).passed is not True:
            return CheckResult(False, f"not linear: {what} does not give that of its parts", suspect="not linear")
    return CheckResult(True)


NEAR_ENOUGH = 1e-3
"""What a backward pass may be off by that iterates until it is near enough, as the derivative of a solver's answer."""


def _bound(size: np.ndarray, dtype: Any) -> np.ndarray:
    size = np.asarray(size, np.float64)
    rms = np.sqrt(np.mean(size**2)) if size.size else 0.0
    return 16 * unit_roundoff(dtype) * (size + rms) + float(jnp.finfo(dtype).tiny)


def taylor_remainder(problem: Problem) -> CheckResult | None:
    """f(x + h v) - f(x) - h <g, v> falls as h^2.

    It falls as h where g is wrong. Called wrong only where it does so four steps in a row, far above rounding.
    """
    if not problem.x.size or not problem.outputs or not problem.differentiable or autodiff.is_the_law(problem):
        return None
    upstream = problem.upstreams[0]
    found = problem.handwritten_vjp(upstream)[1]
    bounds = compare_gradient(problem, found, upstream).error_bound
    bounds = np.abs(flatten([b + 1j * b if np.iscomplexobj(g) else b for b, g in zip(bounds, found, strict=True)]))
    for with_rounding in (False, True):
        slopes = finite_differences.slopes_of(problem, with_rounding=with_rounding)
        result = _remainders(problem, slopes, found, upstream, bounds)
        if result.passed:
            break
    return result


def _remainders(problem: Problem, s: Slopes, found: Leaves, upstream: Leaves, bounds: np.ndarray) -> CheckResult:
    along = finite_differences.directions_of(problem)
    mine, weights = along @ flatten(dual(found)), flatten(dual(upstream))
    noise = 64 * 2.0**-53 * (s.size @ np.abs(weights)) + 16 * s.rounding @ np.abs(weights)
    # What the gradient may be off by leaves a remainder that falls as h, too.
    allowed = np.abs(along) @ bounds
    best, seen = np.inf, 0
    for k in np.flatnonzero(~s.kinked.any(1)):
        with np.errstate(all="ignore"):
            left = np.abs(s.rise[k] @ weights - s.steps * mine[k])
            falls = np.log(left[:-1] / left[1:]) / np.log(s.steps[:-1] / s.steps[1:])
        clear = np.isfinite(falls) & (left[1:] > noise[k] + allowed[k] * s.steps[1:])
        first = clear & (np.abs(falls - 1) < 0.05)
        if np.convolve(first, np.ones(4), "valid").max(initial=0) == 4:
            between = subgradient_interval.intervals(problem, s, int(k), along[k], weights)
            if any(low - allowed[k] <= mine[k] <= high + allowed[k] for low, high in between):
                continue  # a kink that this direction does not see
            return CheckResult(False, "the remainder falls as h, expected h^2", suspect="the derivative is another one")
        if clear.any():
            best, seen = min(best, float(falls[np.flatnonzero(clear)[-1]])), seen + 1
    return CheckResult(True, f"falls as h^{best:.1f}" if seen else "nothing is left beyond rounding")
