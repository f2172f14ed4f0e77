"""Autodiff of the plain function, in float64: the first oracle. Here is also when it is the law, or blind."""

import numpy as np

from ...jaxprs.flatten import dual, flatten
from ...jaxprs.inputs import Leaves
from ..problem import Problem
from . import finite_differences


def is_the_law(problem: Problem) -> bool:
    """Whether a `stop_gradient` in the plain function changes its derivative: then only autodiff can say which.

    One that shields, say, the largest logit of a softmax changes nothing, and numerical derivatives say so.
    """
    return problem.programs.get("autodiff is the law", lambda: _changes_something(problem))


def _changes_something(problem: Problem) -> bool:
    if not problem.x.size or not problem.differentiable or not problem.holds("stop_gradient"):
        return False
    if not _disputed(problem):
        return False
    # At a seam, where(w == 0, 0, w log p) at w = 0, autodiff misses one branch: not so beyond the longest step.
    n, rng = problem.x.size, problem.random("aside")
    scale = finite_differences.scales(problem.x, problem.leaf_of)
    away = 2 * finite_differences.FIRST * scale * rng.uniform(0.6, 1, n) * rng.choice([-1, 1], n)
    return any(_disputed(problem.at_flat(x)) is not False for x in (problem.x + away, problem.x - away))


def _disputed(problem: Problem) -> bool | None:
    """Whether autodiff's derivative is not the numerical one; None where that is not known."""
    weights = flatten(dual(problem.upstream(0)))
    along = finite_differences.directions_of(problem) @ flatten(dual(problem.autodiff_vjp(problem.upstream(0))[1]))
    slopes = finite_differences.slopes_of(problem)
    with np.errstate(all="ignore"):
        value, bound = slopes.value @ weights, slopes.bound @ np.abs(weights)
        off = np.abs(along - value) > 8 * bound + 1e-6 * np.abs(value)
        known = np.isfinite(value) & np.isfinite(bound) & ~slopes.kinked.any(1)
    return bool(np.any(off & known)) if known.any() else None


def between_nearby(problem: Problem, upstream: Leaves, gradients: Leaves, slack: Leaves) -> np.ndarray:
    """For each number of `gradients` whether it lies between autodiff's values at points close by.

    The points come in pairs, on either side: both sides of a kink are seen.
    """
    rng, reach = problem.random("both sides"), 1e-7 * finite_differences.scales(problem.x, problem.leaf_of)
    low, high = np.full(problem.x.size, np.inf), np.full(problem.x.size, -np.inf)
    for _ in range(32 if problem.x.size <= finite_differences.LARGE else 4):
        away = rng.normal(size=problem.x.size) * reach
        for x in (problem.x + away, problem.x - away):
            found = flatten(dual(problem.at_flat(x).autodiff_vjp(upstream)[1]))
            low, high = np.fmin(low, found), np.fmax(high, found)
    both_parts = [b + 1j * b if np.iscomplexobj(g) else b for b, g in zip(slack, gradients, strict=True)]
    actual, more = flatten(dual(gradients)), flatten(both_parts)
    return (low - more <= actual) & (actual <= high + more)
