"""What a number written in a program stands for: 0.7978845608028654 is the root of 2 / pi, 0.1 is a tenth.

A float that is within two units of its last place of a fraction with a small denominator, or of such a fraction times a
well-known number, is that number. What is none of these is exactly what it is, a fraction over a power of two.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import numpy as np

ROOTS = (2, 3, 5, 7)
"""Whose roots are known by name."""

NAMED = {"root of pi": math.sqrt(math.pi), "e": math.e}
NAMED |= {"selu's alpha": 1.6732632423543772848170429916717, "selu's scale": 1.0507009873554804934193349852946}
"""Unknowns of their own: no polynomial with rational coefficients vanishes at them, as far as anyone knows."""


@dataclass(frozen=True)
class Constant:
    """A fraction times powers of `NAMED` numbers times roots of integers; or the logarithm of such a thing.

    Attributes:
        fraction: the rational factor.
        powers: name -> exponent; a root's name is its integer.
        log_of: where the factor is a logarithm, its argument.
        log_power: 1, or -1 where it is one over it.
    """

    fraction: Fraction
    powers: tuple[tuple[str | int, int], ...] = ()
    log_of: "Constant | None" = None
    log_power: int = 1


def _well_known() -> Iterator[tuple[float, Constant]]:
    one = Fraction(1)
    roots = [(1,), *((n,) for n in ROOTS), (2, 3), (2, 5), (2, 7), (3, 5)]
    for ns in roots:
        for half in range(-2, 5):  # powers of the root of pi
            if ns != (1,) or half:
                powers = [(n, 1) for n in ns if n > 1] + ([("root of pi", half)] if half else [])
                yield math.sqrt(math.prod(ns)) * math.pi ** (half / 2), Constant(one, tuple(powers))
    for power in (1, -1, 2):
        yield math.e**power, Constant(one, (("e", power),))
    alpha, scale = NAMED["selu's alpha"], NAMED["selu's scale"]
    yield alpha, Constant(one, (("selu's alpha", 1),))
    yield scale, Constant(one, (("selu's scale", 1),))
    yield alpha * scale, Constant(one, (("selu's alpha", 1), ("selu's scale", 1)))
    pi = (("root of pi", 2),)
    arguments = [(n, Constant(Fraction(n))) for n in (2, 3, 10)]
    arguments += [(math.pi, Constant(one, pi)), (2 * math.pi, Constant(Fraction(2), pi))]
    for value, of in arguments:
        for power in (1, -1):
            yield math.log(value) ** power, Constant(one, log_of=of, log_power=power)


@dataclass(frozen=True)
class _Precision:
    """How far a literal of some type may be off, and the largest denominators that are then no accident."""

    unit: float
    fractions: int
    multiples: int
    digits: int


_DOUBLE, _SINGLE = _Precision(2.0**-52, 200_000, 360, 14), _Precision(2.0**-23, 64, 4, 6)


@cache
def recognised(value: float, single: bool = False) -> Constant:
    """What a finite float stands for; `single`: it was written in 32 bits or fewer."""
    if value == int(value) and abs(value) < 2**53:
        return Constant(Fraction(int(value)))
    if not single and abs(value) < 2 and value * 2**24 == int(value * 2**24) and value * 2**8 != int(value * 2**8):
        return Constant(Fraction(value))  # a uniform random number of 32 bits
    precision = _SINGLE if single else _DOUBLE
    written = str(np.float32(value)) if single else repr(value)
    decimal = Fraction(written)
    if len(written.partition("e")[0].replace(".", "").strip("-0")) <= precision.digits:
        return Constant(decimal)
    chance = (1e-5 / (precision.unit * abs(value))) ** 0.5  # larger numbers are farther apart
    near = decimal.limit_denominator(max(1, int(min(precision.fractions, chance))))
    if near and abs(near - decimal) <= 2 * precision.unit * abs(decimal):
        return Constant(near)
    multiples = value / _VALUES[:, None] * np.arange(1, precision.multiples + 1)
    whole = np.rint(multiples)
    near_one = np.abs(multiples - whole) <= 2 * precision.unit * np.abs(multiples)
    near_one &= (whole != 0) & (np.abs(whole) <= 4 * precision.multiples)
    if near_one.any():
        known, denominator = np.unravel_index(int(np.argmax(near_one)), near_one.shape)
        return replace(_KNOWN[known], fraction=Fraction(int(whole[known, denominator]), int(denominator) + 1))
    return Constant(Fraction(value))


_VALUES = np.array([value for value, _ in _well_known()])
_KNOWN = [constant for _, constant in _well_known()]
