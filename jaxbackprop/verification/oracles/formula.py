"""A rule's `formula` as an oracle: the textbook's expression in float64, in many digits, and its limits at infinity.

A formula is written once, over NumPy arrays. NumPy calls the methods of what an array of objects holds, so the same
text is evaluated in as many digits as wanted on an array of `Digits`.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.rule import Rule
from ...jaxprs.lazy_import import mpmath


class Digits:
    """A number of mpmath's current precision that NumPy's functions take as an element of an array."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value.value if isinstance(value, Digits) else mpmath.mpf(value)

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        return mpmath.nstr(self.value, 17)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __neg__(self) -> "Digits":
        return Digits(-self.value)

    def __abs__(self) -> "Digits":
        return Digits(abs(self.value))

    def __hash__(self) -> int:
        return hash(self.value)


def _add_operators() -> None:
    for name in ("add", "sub", "mul", "truediv", "pow"):
        apply = getattr(operator, name)
        setattr(Digits, f"__{name}__", lambda x, y, apply=apply: Digits(apply(x.value, Digits(y).value)))
        setattr(Digits, f"__r{name}__", lambda x, y, apply=apply: Digits(apply(Digits(y).value, x.value)))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        apply = getattr(operator, name)
        setattr(Digits, f"__{name}__", lambda x, y, apply=apply: apply(x.value, Digits(y).value))
    for name in "exp expm1 log log1p sqrt sin cos tan sinh cosh tanh erf erfc".split():
        setattr(Digits, name, lambda x, name=name: Digits(getattr(mpmath, name)(x.value)))


_add_operators()


def derivative(formula: Callable[..., Any], z: float, order: int, digits: int) -> Any:
    """The derivative of that order (0: the value) of an elementwise formula at `z`, an mpmath number.

    Args:
        formula: a function of one NumPy array.
        z: where.
        order: how often it is differentiated, numerically.
        digits: decimal digits of the arithmetic; a step of a numerical derivative is 10^-digits.
    """

    def of_one_number(z: Any) -> Any:
        array = np.empty(1, object)
        array[0] = Digits(z)
        return Digits(formula(array)[0]).value

    with mpmath.workdps(digits):
        return mpmath.diff(of_one_number, mpmath.mpf(z), order) if order else of_one_number(mpmath.mpf(z))


@dataclass(frozen=True)
class Limits:
    """Value and slope at minus infinity and at infinity; None for one that does not exist or could not be found."""

    value: tuple[float | None, float | None]
    slope: tuple[float | None, float | None]


NEAR, FAR = 1e60, 1e120
"""A limit is read off at these two numbers: far beyond where anything that levels off in float64 still moves."""


def limits(formula: Callable[..., Any]) -> Limits:
    """The limits at minus infinity and infinity of an elementwise formula of one array, and of its derivative."""
    value, slope = ((_limit(formula, -1, order), _limit(formula, 1, order)) for order in (0, 1))
    return Limits(value, slope)


def _limit(formula: Callable[..., Any], sign: int, order: int) -> float | None:
    try:
        near, far = (derivative(formula, sign * z, order, 150) for z in (NEAR, FAR))
    except (ZeroDivisionError, ValueError, OverflowError, TypeError):
        return None
    return _at_infinity(near, far)


def _at_infinity(near: Any, far: Any) -> float | None:
    """What a function tends to whose values at NEAR and FAR are these; None where that cannot be said."""
    if abs(far) > 1e30 and abs(far) > abs(near):
        return float("inf") if far > 0 else float("-inf")
    if abs(far) < 1e-30:
        return 0.0
    return float(far) if abs(far - near) <= 1e-15 * abs(far) else None


def elementwise(rule: Rule, settings: Mapping[str, Any]) -> bool:
    """Whether a rule takes one floating-point array of any shape, and returns one of that shape."""
    parameters = rule.signature.parameters
    if len(parameters) != 1 or [(s.kind, s.axes) for s in parameters[0].specs] != [("float", ("...",))]:
        return False
    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    try:
        y = jax.eval_shape(partial(rule.primal, **settings), x)
    except (TypeError, ValueError):
        return False
    return getattr(y, "shape", None) == x.shape


def limits_of(rule: Rule, settings: Mapping[str, Any]) -> Limits:
    """The limits that an elementwise rule must return at infinity: those of its formula.

    Where it declares none, they are read off its plain function at finite numbers, where even a function that returns
    NaN at infinity has a value.
    """
    if rule.formula is not None:
        return limits(partial(rule.formula, **settings))
    with jax.enable_x64(True):
        points = jnp.array([-NEAR, -FAR, NEAR, FAR], jnp.float64)
        value, pull = jax.vjp(partial(rule.primal, **settings), points)
        found = [np.asarray(x, np.float64) for x in (value, pull(jnp.ones_like(value))[0])]
    value, slope = ((_at_infinity(x[0], x[1]), _at_infinity(x[2], x[3])) for x in found)
    return Limits(value, slope)
