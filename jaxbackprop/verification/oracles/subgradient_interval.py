"""At a kink every derivative between those from its sides is right: which are these? (Clarke's subdifferential.)"""

import itertools
from collections.abc import Iterator

import numpy as np

from ..problem import Problem
from .finite_differences import LARGE, Slopes, scales

Interval = tuple[float, float]


def intervals(
    problem: Problem, slopes: Slopes, k: int, direction: np.ndarray, weights: np.ndarray
) -> Iterator[Interval]:
    """The range of derivatives along a direction: first between those from its two sides, then also of points close by.

    Output by output: each output may take its own side.
    """
    bound = slopes.right_bound[k] + slopes.left_bound[k]
    low = np.minimum(slopes.right[k], slopes.left[k]) - bound
    high = np.maximum(slopes.right[k], slopes.left[k]) + bound
    yield _weighted(low, high, weights)
    least, most = _nearby(problem, direction)
    yield _weighted(np.minimum(low, least), np.maximum(high, most), weights)


def _weighted(low: np.ndarray, high: np.ndarray, weights: np.ndarray) -> Interval:
    with np.errstate(all="ignore"):
        ends = np.stack([weights * low, weights * high])
        more = 1e-3 * np.abs(ends).max(0)
        return float((ends.min(0) - more).sum()), float((ends.max(0) + more).sum())


def _nearby(problem: Problem, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest derivative of each output along `direction` at points close by, and at the point.

    A function with kinks is smooth there. With 64 points (16 of a large function) each side of a kink is seen.
    """

    def look() -> tuple[np.ndarray, np.ndarray]:
        x = problem.x
        count, rng = 64 if x.size <= LARGE else 16, problem.random("nearby")
        reach = 1e-4 * scales(x, problem.leaf_of)
        together = max(1, min(count, 10 * LARGE // max(x.size, 1)))
        # Shorter than the points are away, so as not to cross the kink again, but not so short that rounding is seen.
        with np.errstate(divide="ignore"):
            h = float(np.clip(0.25 * np.min(reach / np.abs(direction)), 1e-9, 1e-7))
        away = (_about_one(rng, (together, x.size)) * reach for _ in range(count // together))
        found = [_slopes_at(problem, x + a, direction, h) for a in itertools.chain([np.zeros((1, 1))], away)]
        return np.min([f.min(0) for f in found], 0), np.max([f.max(0) for f in found], 0)

    return problem.answers.get(("nearby", direction.tobytes()), look)


def _about_one(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = 2 * rng.random(shape) - 1
    return x + np.copysign(0.5, x)


def _slopes_at(problem: Problem, points: np.ndarray, direction: np.ndarray, h: float) -> np.ndarray:
    """The derivative of each output along `direction` at each of the points."""
    y = problem.values_at(np.concatenate([points + h * direction, points - h * direction]))
    with np.errstate(all="ignore"):
        found = (y[: len(points)] - y[len(points) :]) / (2 * h)
    return np.where(np.isfinite(found), found, 0.0)
