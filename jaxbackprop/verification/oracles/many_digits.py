"""The plain function, or its backward pass, in many decimal digits: where float64 overflows, cancels or underflows."""

from typing import Any

import numpy as np

from ...jaxprs.inputs import Leaves
from ...jaxprs.lazy_import import mpmath
from ...jaxprs.number_systems.many_digits import in_many_digits, lift
from ..problem import Problem

DIGITS = 60

ENOUGH = 700
"""Enough to see a derivative as small as float64 holds beside numbers around 1."""

MOST = 600
"""Beyond so many numbers nothing is evaluated in many digits."""

UNKNOWN = (NotImplementedError, TypeError, ValueError)
"""What a primitive raises that is not known in many digits."""


def value(problem: Problem) -> Leaves | None:
    """The plain function's outputs in many digits, rounded to float64; None where they cannot be had."""
    if problem.x.size > MOST:
        return None

    def evaluate() -> Leaves | None:
        try:
            return [_floats(x) for x in in_many_digits(problem.trace("value"), problem.inputs.arrays, DIGITS)]
        except UNKNOWN:
            return None

    return problem.answers.get("value in many digits", evaluate)


def by_autodiff(problem: Problem, upstream: Leaves, digits: int = DIGITS) -> Leaves | None:
    """The gradients by autodiff's program in many digits; None where that cannot be had."""

    def evaluate() -> Leaves | None:
        try:
            found = in_many_digits(problem.trace("autodiff"), [*problem.inputs.arrays, *upstream], digits)
        except UNKNOWN:
            return None
        return [_floats(x) for x in found[len(problem.outputs) :]]

    return problem.answers.get(("digits", digits, *map(_fingerprint, upstream)), evaluate)


def by_differences(problem: Problem, upstream: Leaves, leaf: int, at: tuple[int, ...]) -> float:
    """One number of a gradient by difference quotients of the plain function, which have the last word; NaN if unknown.

    Autodiff is wrong at the seam of a smooth function written in pieces, in any number of digits.
    """
    try:
        with mpmath.workdps(ENOUGH):
            return _quotient(problem, upstream, problem.inputs.live[leaf], at)
    except UNKNOWN:
        return float("nan")


def _quotient(problem: Problem, upstream: Leaves, i: int, at: tuple[int, ...]) -> float:
    arrays = problem.inputs.arrays
    x = lift(arrays[i])

    def weighted(moved: Any) -> Any:
        y = in_many_digits(problem.trace("value"), [*arrays[:i], moved, *arrays[i + 1 :]], ENOUGH)
        return sum((np.sum(a * lift(u)) for a, u in zip(y, upstream, strict=True)), mpmath.mpf(0))

    def slope(h: Any) -> Any:
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[at] = moved[at] + sign * h
            sides.append(weighted(moved))
        return (sides[0] - sides[1]) / (2 * h)

    size = abs(x[at]) or mpmath.mpf(1)
    before, last = (slope(size * mpmath.mpf(10) ** -power) for power in (160, 170))
    return settled(before, last)


def settled(before: Any, last: Any) -> float:
    """The last of two difference quotients at decreasing steps, or NaN where they still differ."""
    near = mpmath.mpf(10) ** -330
    return float(last) if abs(before - last) <= 1e-12 * abs(last) + near else float("nan")


def _floats(x: Any) -> np.ndarray:
    return np.asarray(x).astype(float)


def _fingerprint(x: Any) -> bytes:
    return np.asarray(x).tobytes()
