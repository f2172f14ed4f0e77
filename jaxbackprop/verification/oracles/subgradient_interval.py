"""At a kink every derivative between those from its sides is right: which are these?"""

import itertools

import numpy as np

from ...jaxprs.inputs import about_one
from .autodiff import Case
from .finite_differences import LARGE, Slopes, scales


def admits(
    case: Case, s: Slopes, k: int, direction: np.ndarray, weights: np.ndarray, mine: float, slack: float
) -> tuple[bool, float, float]:
    """Whether `mine` lies in the range of derivatives along a direction at a kink, and that range (Clarke's).

    It holds those from both sides and, asked only if need be, of points close by. Output by output: each output may
    take its own side.
    """
    bar = s.right_bar[k] + s.left_bar[k]
    low, high = np.minimum(s.right[k], s.left[k]) - bar, np.maximum(s.right[k], s.left[k]) + bar
    for close_by in (False, True):
        if close_by:
            least, most = nearby_slopes(case, direction)
            low, high = np.minimum(low, least), np.maximum(high, most)
        ends = np.stack([weights * low, weights * high])
        more = 1e-3 * np.abs(ends).max(0)
        start, stop = float((ends.min(0) - more).sum()), float((ends.max(0) + more).sum())
        if start - slack <= mine <= stop + slack:
            return True, start, stop
    return False, start, stop


def nearby_slopes(case: Case, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest derivative of each output along `direction` at points close by, and at the point.

    A function with kinks is smooth there. With 64 points (16 of a large function) each side of a kink is seen.
    """
    key = direction.tobytes()
    if key not in case.nearby:
        count, rng = 64 if case.x.size <= LARGE else 16, case.random("nearby")
        reach = 1e-4 * scales(case.x, case.groups)
        together = max(1, min(count, 10 * LARGE // max(case.x.size, 1)))
        # Shorter than the points are away, so as not to cross the kink again, but not so short that rounding is seen.
        with np.errstate(divide="ignore"):
            h = float(np.clip(0.25 * np.min(reach / np.abs(direction)), 1e-9, 1e-7))
        away = (about_one(rng, (together, case.x.size)) * reach for _ in range(count // together))
        found = [_slopes_at(case, case.x + a, direction, h) for a in itertools.chain([np.zeros((1, 1))], away)]
        case.nearby[key] = np.min([f.min(0) for f in found], 0), np.max([f.max(0) for f in found], 0)
    return case.nearby[key]


def _slopes_at(case: Case, points: np.ndarray, direction: np.ndarray, h: float) -> np.ndarray:
    """The derivative of each output along `direction` at each of the points."""
    y = case.flat_outputs(np.concatenate([points + h * direction, points - h * direction]))
    found = (y[: len(points)] - y[len(points) :]) / (2 * h)
    return np.where(np.isfinite(found), found, 0.0)
