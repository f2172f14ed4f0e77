"""The third oracle: the plain function, or its VJP, evaluated in many digits."""

from typing import Any

import numpy as np

from ...jaxprs.inputs import Leaves
from ...jaxprs.lazy_import import mpmath
from ...jaxprs.number_systems.arithmetic import Digits
from ...jaxprs.number_systems.interpreter import evaluate
from .autodiff import Case
from .finite_differences import in_many_digits

DIGITS = 700
"""Enough to see a derivative as small as float64 holds beside numbers around 1."""


UNKNOWN = (NotImplementedError, TypeError, ValueError)
"""What a primitive raises that is not known in many digits, or that NumPy cannot do with arrays of mpmath's numbers."""


def in_digits(case: Case, upstream: Leaves, digits: int = 60) -> Leaves | None:
    """The gradients by the VJP's jaxpr evaluated in many digits; None where that cannot be had."""
    with mpmath.workdps(digits):
        try:
            found = evaluate(case.auto_program, [*case.point.arrays, *upstream], Digits(digits))
        except UNKNOWN:
            return None
        return [np.asarray(x).astype(float) for x in found[len(case.outputs) :]]


def exactly(case: Case, upstream: Leaves, disputed: list[np.ndarray]) -> Leaves | None:
    """The gradients in so many digits that nothing underflows; None where they cannot be had.

    The `disputed` elements by difference quotients of the function itself, which have the last word: autodiff is
    wrong at the seam of a smooth function written in pieces, in any number of digits.
    """
    gradients = in_digits(case, upstream, DIGITS)
    if gradients is None:
        return None
    with mpmath.workdps(DIGITS):
        try:
            by_differences = _by_differences(case, upstream, disputed)
        except UNKNOWN:
            return None
    return [np.where(np.isfinite(d), d, g) for g, d in zip(gradients, by_differences, strict=True)]


def _by_differences(case: Case, upstream: Leaves, disputed: list[np.ndarray]) -> Leaves:
    """<upstream, J e_i> for each disputed number, by central differences in many digits; NaN for the others."""
    digits = Digits(DIGITS)
    lifted = [digits.lift(x) if i in case.point.live else x for i, x in enumerate(case.point.arrays)]

    def weighted(arrays: Leaves) -> Any:
        y = evaluate(case.value_program, arrays, digits)
        return sum((np.sum(a * digits.lift(u)) for a, u in zip(y, upstream, strict=True)), mpmath.mpf(0))

    gradients = []
    for i, flags in zip(case.point.live, disputed, strict=True):
        slots = np.full(lifted[i].shape, np.nan)
        for at in list(map(tuple, np.argwhere(flags)))[:64]:

            def quotient(h: Any, i: int = i, at: Any = at) -> Any:
                sides = []
                for sign in (1, -1):
                    moved = lifted[i].copy()
                    moved[at] = moved[at] + sign * h
                    sides.append(weighted([*lifted[:i], moved, *lifted[i + 1 :]]))
                return [(sides[0] - sides[1]) / (2 * h)]

            step = abs(lifted[i][at]) or mpmath.mpf(1)
            slots[at] = in_many_digits(quotient, (step * mpmath.mpf(10) ** -160, step * mpmath.mpf(10) ** -170))[0]
        gradients.append(slots)
    return gradients
