"""The decision: from what the oracles say about one number of a gradient to a verdict. Pure functions, nothing else.

`decide` takes a row of evidence. Where that is not enough, it names the oracle that must add to it, the cheapest first;
`examine.py` queries it and calls `decide` again with the longer row. So an element costs as much as its case is hard.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np


class Verdict(Enum):
    """The verdict on one number; the later ones are the graver ones."""

    RIGHT = "right"
    OUTSIDE = "outside the domain"
    UNDECIDED = "undecided"
    IMPRECISE = "imprecise"
    WRONG = "wrong"


class Oracle(Enum):
    """The sources of evidence beside autodiff."""

    NUMERICAL = "numerical derivatives"
    INTERVAL = "one-sided derivatives"
    DIGITS = "many digits"
    DIFFERENCES_IN_DIGITS = "difference quotients in many digits"


@dataclass(frozen=True)
class Row:
    """What is known about one number of a gradient, or about its derivative along a direction.

    Attributes:
        actual: the handwritten backward pass's, in float64.
        autodiff: autodiff's of the plain function, in float64.
        tolerance: how far rounding may carry the two apart.
        autodiff_is_law: a `stop_gradient` means what autodiff says.
        along: it is a derivative along a direction that moves several numbers.
        numerical: the numerical derivative and its error bound.
        sides: the same from either side alone.
        infinite: the plain function has no finite value here.
        outside: it has one here, and on both sides it has none or jumps.
        kinked: the derivatives from the two sides differ.
        interval: the derivatives that are right at a kink, from the least to the largest.
        digits: autodiff's in many digits; NaN where it cannot be had.
        exact: the difference quotient in many digits; NaN where it cannot be had.
    """

    actual: Any
    autodiff: Any
    tolerance: float
    autodiff_is_law: bool = False
    along: bool = False
    numerical: tuple[float, float] | None = None
    sides: tuple[tuple[float, float], ...] = ()
    infinite: bool = False
    outside: bool = False
    kinked: bool = False
    interval: tuple[float, float] | None = None
    digits: float | None = None
    exact: float | None = None

    def with_(self, **more: Any) -> "Row":
        """The row with more evidence."""
        return replace(self, **more)


@dataclass(frozen=True)
class Decision:
    """A verdict, or the oracle that is needed first.

    Attributes:
        verdict: None where another oracle is needed.
        needs: that oracle.
        by: who decided, in words; empty where autodiff did.
        expected: the true value as far as known.
    """

    verdict: Verdict | None
    needs: Oracle | None = None
    by: str = ""
    expected: Any = None


SHARP = 1e-3
"""A numerical derivative counts against a value if its bound is below this share of the difference."""

SEAM = 1e-6
"""It counts against autodiff where its bound is below this share of its value, or `SHARP` of what lies between them."""


def decide(row: Row) -> Decision:
    """One number's verdict; the order of trust, from the first that can tell to the last:

    1. Autodiff in float64, within the rounding of both programs: right. Along a direction that is not enough, numerical
       derivatives are needed as well: autodiff may itself be wrong.
    2. Where a `stop_gradient` means what autodiff says, autodiff alone.
    3. Where the plain function is finite at a single point only, or jumps on both sides, nothing is said.
    4. At a kink the interval between the derivatives from its sides, and of points close by.
    5. A numerical derivative whose bound is small beside the difference: against the handwritten value if autodiff
       agrees with it, for the handwritten value if autodiff does not (a seam, an overflow).
    6. Autodiff's program in many digits; where it contradicts, difference quotients of the plain function in many.
    7. Where the plain function has no finite value in float64, nothing is said.
    8. Autodiff against a handwritten value a hundred tolerances away, where numerical derivatives are too blunt.
    """
    agrees = bool(within(row.actual, row.autodiff, row.tolerance))
    if agrees and (row.numerical is None or row.autodiff_is_law) and not (row.along and not row.autodiff_is_law):
        return Decision(Verdict.RIGHT, expected=row.autodiff)
    if row.autodiff_is_law:
        return Decision(Verdict.WRONG if np.isfinite(row.autodiff) else Verdict.UNDECIDED, expected=row.autodiff)
    if row.numerical is None:
        return Decision(None, Oracle.NUMERICAL)
    if row.outside:
        return Decision(Verdict.OUTSIDE, expected=row.autodiff)
    if row.kinked:
        return _at_a_kink(row)
    value, bound = row.numerical
    known = np.isfinite(value) and np.isfinite(bound)
    slack = 4 * bound + row.tolerance + 2.0**-48 * abs(value)
    apart = known and not abs(row.actual - value) <= slack
    autodiff_near = known and bool(abs(row.autodiff - value) <= slack)
    if (agrees or row.along) and not apart:
        return Decision(Verdict.RIGHT, expected=row.autodiff)
    if apart and row.along and row.interval is None:
        return Decision(None, Oracle.INTERVAL)  # a kink that this direction does not see: |x| - |y| at 0, moved alike
    if apart and row.along and _inside(row):
        return Decision(Verdict.RIGHT, by=Oracle.INTERVAL.value, expected=row.actual)
    if apart and autodiff_near and bound < SHARP * abs(row.actual - value):
        return Decision(Verdict.WRONG, expected=row.autodiff)
    near_enough = (
        max(SEAM * abs(value), SHARP * abs(row.autodiff - value))
        if np.isfinite(row.autodiff)
        else SHARP * abs(value) + 1e-9
    )
    if known and np.isfinite(row.actual) and not autodiff_near and bound < near_enough:
        if not apart:
            return Decision(Verdict.RIGHT, by="numerical derivatives, at a seam of the program", expected=value)
        if not np.isfinite(row.autodiff):
            return Decision(Verdict.WRONG, by=Oracle.NUMERICAL.value, expected=value)
    return _in_digits(row, apart, known)


def _at_a_kink(row: Row) -> Decision:
    if row.interval is None:
        return Decision(None, Oracle.INTERVAL)
    if _inside(row):
        return Decision(Verdict.RIGHT, by=Oracle.INTERVAL.value, expected=row.actual)
    nearest = float(np.clip(np.real(row.actual), *row.interval)) if np.isfinite(row.actual) else row.autodiff
    return Decision(Verdict.WRONG, by=Oracle.INTERVAL.value, expected=nearest)


def _inside(row: Row) -> bool:
    if row.interval is None:
        return False
    low, high = row.interval
    return bool(low - row.tolerance <= row.actual <= high + row.tolerance)


def _in_digits(row: Row, apart: bool, known: bool) -> Decision:
    if row.digits is None:
        return Decision(None, Oracle.DIGITS)
    if np.isfinite(row.digits) and within(row.actual, row.digits, row.tolerance + 2.0**-48 * abs(row.digits)):
        return Decision(Verdict.RIGHT, by=Oracle.DIGITS.value, expected=row.digits)
    if row.exact is None:
        return Decision(None, Oracle.DIFFERENCES_IN_DIGITS)
    for value in (row.exact, row.digits):
        if np.isfinite(value):
            right = within(row.actual, value, row.tolerance + 2.0**-48 * abs(value))
            return Decision(Verdict.RIGHT if right else Verdict.WRONG, by=Oracle.DIGITS.value, expected=value)
    if row.infinite:
        return Decision(Verdict.OUTSIDE, expected=row.autodiff)
    if not np.isfinite(row.autodiff):
        return Decision(Verdict.UNDECIDED, expected=row.autodiff)
    if within(row.actual, row.autodiff, row.tolerance):
        return Decision(Verdict.WRONG if apart and row.along else Verdict.RIGHT, expected=row.autodiff)
    if (
        known
        and not apart
        and row.numerical is not None
        and row.numerical[1] < SHARP * abs(row.autodiff - row.numerical[0])
    ):
        return Decision(Verdict.RIGHT, by=Oracle.NUMERICAL.value, expected=row.numerical[0])
    for value, bound in row.sides:  # at a jump one side is as good as the other
        if abs(row.actual - value) <= 4 * bound + row.tolerance and bound < SHARP * abs(row.autodiff - value):
            return Decision(Verdict.RIGHT, by=Oracle.INTERVAL.value, expected=value)
    far = not np.isfinite(row.actual) or abs(row.actual - row.autodiff) > 100 * row.tolerance
    blunt = not known or not apart or row.numerical is None
    return Decision(Verdict.WRONG if far or not blunt else Verdict.UNDECIDED, expected=row.autodiff)


def within(actual: Any, expected: Any, tolerance: Any) -> Any:
    """Whether two finite numbers, or arrays of them, differ by no more than a tolerance."""
    with np.errstate(all="ignore"):
        return (actual == expected) | (np.abs(actual - expected) <= tolerance)


# The arithmetic: the formula is right, and the question is what a precision loses.

ALLOWED_ROUNDINGS = 10.0
ALLOWED_OF_AUTODIFF = 4.0


@dataclass(frozen=True)
class ArithmeticRow:
    """What is known about one number as a precision computes it.

    Attributes:
        actual: the handwritten backward pass's, run in that precision.
        exact: the same in float64, at the same inputs.
        rounding: how far rounding in that precision moves autodiff's program.
        own_rounding: how far it moves the handwritten one.
        floor: what a last place is worth here.
        autodiff_error: how far autodiff is off in that precision; None where that is not known yet.
    """

    actual: Any
    exact: Any
    rounding: float
    own_rounding: float
    floor: float
    autodiff_error: float | None = None


def decide_arithmetic(row: ArithmeticRow) -> Verdict | None:
    """Whether no more is lost than autodiff may lose; None: what autodiff really loses must be known first.

    1. Within the rounding of autodiff's program: right.
    2. No more than 4 times what autodiff loses in that precision here, or autodiff has no value: right.
    3. Within what rounding does to the handwritten program itself: imprecise. Beyond that: wrong.
    """
    if not np.isfinite(row.exact):
        return Verdict.OUTSIDE
    allowed = ALLOWED_ROUNDINGS * (row.rounding + row.floor)
    gap = abs(row.actual - row.exact)
    if gap <= allowed:
        return Verdict.RIGHT
    if row.autodiff_error is None:
        return None
    if not np.isfinite(row.autodiff_error):
        return Verdict.RIGHT if np.isfinite(row.actual) else Verdict.OUTSIDE
    if gap <= ALLOWED_OF_AUTODIFF * row.autodiff_error + allowed:
        return Verdict.RIGHT
    own = 3 * ALLOWED_ROUNDINGS * (row.own_rounding + row.rounding + row.floor)
    return Verdict.IMPRECISE if gap <= own else Verdict.WRONG
