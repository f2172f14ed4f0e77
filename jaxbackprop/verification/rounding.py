"""What rounding may do to a gradient: the tolerance, taken from the programs themselves, and errors in readable units.

A handwritten backward pass and autodiff's are two programs of one formula, and each may round. Both are evaluated in
float64 with random rounding errors at every step (`jaxprs/widen.py`); how far that moves an element is the rounding of
that program there. A difference beyond `ALLOWED` times the two together is not rounding.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..jaxprs.inputs import Leaves, unit_roundoff
from ..jaxprs.widen import BANK, banks, wide_type
from .problem import Problem

UNIT = 2.0**-53
ALLOWED = 16.0
"""So many times the rounding of both programs. Five draws see some three quarters of what rounding can do."""

ALLOWED_NARROW = 10.0
"""The same in a type narrower than float64."""

DRAWS = 5

FLOAT64 = (UNIT, 0.0, 1.0)
"""Noise of float64, and of constants rounded to a narrower type: what separates two formulas of the same algebra."""


def scale_of(unit: float) -> tuple[float, float, float]:
    """Noise of a type with that unit round-off, and of the narrow steps and constants a program has itself."""
    return (unit, 1.0, 1.0)


def rounding(
    problem: Problem, program: str, upstream: Leaves, scale: tuple[float, float, float] = FLOAT64
) -> tuple[Leaves, Leaves]:
    """How far rounding moves the outputs and the gradients of "handwritten" or "autodiff", element by element."""
    moved = rounding_of(problem, program, [*problem.inputs.arrays, *upstream], scale)
    return moved[: len(upstream)], moved[len(upstream) :]


def rounding_of(problem: Problem, program: str, args: Leaves, scale: tuple[float, float, float]) -> Leaves:
    """How far rounding of that `scale`, in the arguments and at every step, moves the outputs of a program."""
    exact = problem.exact(program, args)
    moved = [np.zeros(np.shape(x)) for x in exact]
    elsewhere = [np.full(np.shape(x), np.inf) for x in exact]
    counted = 0
    with np.errstate(all="ignore"):
        *_, decisions = problem.noisy(program, args, np.zeros(BANK), (0.0, 0.0, 0.0))
        for k, bank in enumerate(banks(problem.random("rounding"), DRAWS)):
            given = [_perturbed(x, scale[0], bank, i + k) for i, x in enumerate(args)]
            *found, taken = problem.noisy(program, given, bank, scale)
            if abs(taken - decisions) > 1e-9 * abs(decisions):
                # The noise carried the point across a floor, a mask or a tie.
                elsewhere = [np.fmin(m, np.abs(f - x)) for m, f, x in zip(elsewhere, found, exact, strict=True)]
                continue
            counted += 1
            moved = [np.fmax(m, np.abs(f - x)) for m, f, x in zip(moved, found, exact, strict=True)]
    if not counted:  # every draw did: what moved least is all that is known
        moved = [np.where(np.isfinite(m), m, 0.0) for m in elsewhere]
    return [_pooled(m, x) for m, x in zip(moved, exact, strict=True)]


def _perturbed(x: Any, unit: float, bank: np.ndarray, shift: int) -> Any:
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    return x.astype(wide_type(x.dtype)) * (1 + unit * np.resize(np.roll(bank, 31 * (shift + 1)), np.shape(x)))


def _pooled(moved: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Of many elements some are hardly moved by a few draws: none less than a quarter of its row's moves, nor than
    half the median relative move.
    """
    if moved.size < 4:
        return moved
    with np.errstate(all="ignore"):
        row = np.sqrt(np.nanmean(moved * moved, axis=-1, keepdims=True))
        relative = moved / np.abs(value)
        finite = relative[np.isfinite(relative)]
        median = float(np.median(finite)) if finite.size else 0.0
        size = np.where(np.isfinite(value), np.abs(value), 0)
        return np.fmax(moved, np.fmax(0.25 * np.where(np.isfinite(row), row, 0), 0.5 * median * size))


def floor(expected: Leaves) -> Leaves:
    """What two programs of one formula may always differ by in float64: last places, of the element and of the leaf."""
    return [32 * UNIT * size(x) + 8 * UNIT * largest(x) + 1e-300 for x in expected]


def tolerance(of_both: Sequence[Leaves], expected: Leaves) -> Leaves:
    """How far two right programs may lie apart: `ALLOWED` times the rounding of both, and the `floor`."""
    with np.errstate(all="ignore"):
        return [
            ALLOWED * sum(np.where(np.isfinite(r), r, 0.0) for r in parts) + least
            for *parts, least in zip(*of_both, floor(expected), strict=True)
        ]


def unmeasured(expected: Leaves, dtype: Any) -> Leaves:
    """How far two programs of one formula may lie apart where their rounding is not measured: a thousand last places.

    As where one of them is not at hand, or both are the same under another transformation.
    """
    unit, tiny = unit_roundoff(dtype), float(jnp.finfo(dtype).tiny)
    return [1000 * unit * (size(x) + largest(x)) + tiny for x in expected]


def size(x: Any) -> np.ndarray:
    """The absolute values, 0 where they are not finite."""
    x = np.abs(as_wide(x))
    return np.where(np.isfinite(x), x, 0.0)


def largest(x: Any) -> float:
    """The largest finite absolute value."""
    return float(np.max(size(x), initial=0.0))


def as_wide(x: Any) -> np.ndarray:
    """In float64 or complex128."""
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def apart(actual: Any, expected: Any, tolerance: Any) -> np.ndarray:
    """Where two arrays differ by more than the tolerance, or only one of them is finite."""
    f, t = as_wide(actual), as_wide(expected)
    with np.errstate(all="ignore"):
        same = (f == t) | (np.isnan(f) & np.isnan(t))
        return ~same & ~(np.abs(f - t) <= tolerance)


def in_ulps(actual: Any, expected: Any, error_bound: Any, skip: Any, dtype: Any) -> float:
    """The largest error in units of the dtype's resolution, at the size of the largest true value or of its noise."""
    if not np.size(actual):
        return 0.0
    f, t = as_wide(actual), as_wide(expected)
    scale = np.maximum(unit_roundoff(dtype) * largest(t), np.asarray(error_bound) / ALLOWED)
    with np.errstate(all="ignore"):
        gap = np.abs(f - t) / (2 * scale)
    return float(np.max(np.where(skip | ~np.isfinite(gap), 0.0, gap), initial=0.0))
