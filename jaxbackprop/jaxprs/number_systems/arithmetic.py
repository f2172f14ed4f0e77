"""The three kinds of number in which a program is evaluated: as written, in float64 throughout, in many digits.

`Written` rounds each result to the type the program says. `Float64` reads the same program as mathematics over
float64. `Digits` does so with mpmath: slow, and right where float64 overflows or cancels.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..inputs import about_one
from ..lazy_import import mpmath, special

Functions = dict[str, Callable[..., Any]]


def _round(x: Any, rounding_method: Any) -> Any:
    if int(rounding_method) == 1:
        return np.rint(x)
    return np.trunc(x + np.copysign(0.5, x))


def _integer_division(x: Any, y: Any) -> Any:
    """Rounded towards zero, as XLA does, and -1 where it divides by zero."""
    safe = np.where(y == 0, 1, y)
    return np.where(y == 0, -1, (x - np.fmod(x, safe)) // safe)


_NUMPY: Functions = {
    "div": lambda x, y: np.true_divide(x, y) if np.asarray(x).dtype.kind not in "iu" else _integer_division(x, y),
    "rem": np.fmod,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "atan2": np.arctan2,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "cbrt": np.cbrt,
    "logistic": lambda x: special.expit(x) if np.asarray(x).dtype.kind == "f" else 1 / (1 + np.exp(-x)),
    "erf": lambda x: special.erf(x),
    "erfc": lambda x: special.erfc(x),
    "erf_inv": lambda x: special.erfinv(x),
    "lgamma": lambda x: special.gammaln(x),
    "digamma": lambda x: special.digamma(x),
    "pow": np.power,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": _round,
    "is_finite": np.isfinite,
    "integer_pow": lambda x, y: 1 / np.power(x, -y) if y < 0 else np.power(x, y),
    "complex": lambda re, im: re + 1j * im,
}


class Written:
    """Numbers as the program says: every result rounded to its own type."""

    functions = _NUMPY

    def saw(self, eqn: Any, args: list[Any]) -> None:
        """Told of each call of a hand-derived rule, with its inputs. Nobody listens by default."""

    def leap(self, eqn: Any, args: list[Any], done: int) -> list[Any] | None:
        """The outputs of a loop, `done` iterations of which are over, without its other steps; None: do them all."""
        return None

    def lift(self, x: Any) -> Any:
        """An input or a constant in this arithmetic."""
        return np.asarray(x)

    def result(self, x: Any, dtype: Any) -> Any:
        """The result of a primitive whose type is `dtype`."""
        return np.asarray(x).astype(dtype, copy=False)

    def apply(self, function: Callable, args: tuple, keywords: dict[str, Any]) -> Any:
        """A function that NumPy has not for every kind of number."""
        # SciPy and half precision: evaluated in float32, rounded by `result`.
        if any(_half(x) for x in args):
            args = tuple(x.astype(np.float32) if _half(x) else x for x in args)
        return function(*args, **keywords)

    def rounded(self, name: str, found: list[Any]) -> list[Any]:
        """The results of a primitive as this arithmetic rounds them: not at all, beyond `result`."""
        return found


def _half(x: Any) -> bool:
    return hasattr(x, "dtype") and x.dtype.itemsize <= 2 and jnp.issubdtype(x.dtype, jnp.floating)


@cache
def _widest(dtype: Any) -> Any:
    """float64 for a floating-point type, complex128 for a complex one, else the type itself."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.dtype(np.float64)
    return np.dtype(np.complex128) if jnp.issubdtype(dtype, jnp.complexfloating) else dtype


class Float64(Written):
    """Every floating-point number is a float64 (complex: complex128), whatever the program says."""

    def lift(self, x: Any) -> Any:
        """An input or a constant in this arithmetic."""
        x = np.asarray(x)
        return self.result(x, x.dtype)

    def result(self, x: Any, dtype: Any) -> Any:
        """The result of a primitive whose type is `dtype`."""
        return np.asarray(x).astype(_widest(dtype), copy=False)


_EXACT = frozenset({"neg", "max", "min", "abs", "sign", "floor", "ceil", "round", "is_finite", "real", "imag", "conj"})
_ROUNDING = (
    frozenset({"add", "add_any", "sub", "mul", "square", "dot_general", "reduce_sum", "cumsum", *_NUMPY}) - _EXACT
)


class Noisy(Float64):
    """float64 in which every operation makes an error of one rounding of a coarser type, up or down at random.

    What moves under this is what any program of the same formula may get wrong in that type.
    """

    def __init__(self, unit: float, rng: np.random.Generator):
        self.unit, self.rng = unit, rng

    def rounded(self, name: str, found: list[Any]) -> list[Any]:
        """The results of a primitive, with this arithmetic's errors."""
        if name not in _ROUNDING:
            return found
        return [
            x * (1 + self.unit * about_one(self.rng, np.shape(x))) if np.asarray(x).dtype.kind in "fc" else x
            for x in found
        ]


def _safely(function: Callable) -> Callable:
    """`function` elementwise over mpmath numbers; what it cannot answer (a pole, a complex root) is not a number."""

    def one(*args: Any) -> Any:
        try:
            found = function(*args)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError):
            return mpmath.nan
        return mpmath.nan if isinstance(found, mpmath.mpc) and found.imag != 0 else found

    return np.frompyfunc(one, function.__code__.co_argcount if hasattr(function, "__code__") else 1, 1)


def _divide(x: Any, y: Any) -> Any:
    if y == 0:
        return mpmath.nan if x == 0 or mpmath.isnan(x) else mpmath.inf * mpmath.sign(x)
    return x / y


def _log(x: Any) -> Any:
    return -mpmath.inf if x == 0 else mpmath.nan if x < 0 else mpmath.log(x)


def _power(x: Any, y: Any) -> Any:
    if x == 0:
        return mpmath.mpf(1) if y == 0 else mpmath.mpf(0) if y > 0 else mpmath.inf
    return mpmath.power(x, y)


def _one(function: Callable | str) -> Callable:
    """A function of one number, or the one that mpmath calls so."""
    return _safely(lambda x: (getattr(mpmath, function) if isinstance(function, str) else function)(x))


_MPMATH: Functions = {
    "div": _safely(_divide),
    "rem": _safely(lambda x, y: x - y * mpmath.floor(x / y) if x / y >= 0 else x - y * mpmath.ceil(x / y)),
    "exp": _one("exp"),
    "exp2": _one(lambda x: mpmath.power(2, x)),
    "log": _safely(_log),
    "expm1": _one(lambda x: mpmath.exp(x) - 1),
    "log1p": _safely(lambda x: _log(1 + x)),
    **{name: _one(name) for name in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: _one(name) for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    "atan2": _safely(lambda y, x: mpmath.atan2(y, x)),
    "sqrt": _one(lambda x: mpmath.nan if x < 0 else mpmath.sqrt(x)),
    "rsqrt": _safely(lambda x: mpmath.nan if x < 0 else _divide(mpmath.mpf(1), mpmath.sqrt(x))),
    "cbrt": _one(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
    "logistic": _one(lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf": _one("erf"),
    "erfc": _one("erfc"),
    "erf_inv": _one("erfinv"),
    "lgamma": _one(lambda x: mpmath.log(abs(mpmath.gamma(x)))),
    "digamma": _one("digamma"),
    "pow": _safely(_power),
    "sign": _one("sign"),
    "floor": _one("floor"),
    "ceil": _one("ceil"),
    "round": lambda x, rounding_method: _one("nint")(x),
    "integer_pow": lambda x, y: _safely(_power)(x, y),
}


class Digits:
    """Every floating-point number has `digits` decimal digits; integers and booleans stay what they are."""

    functions = _MPMATH

    def __init__(self, digits: int = 60):
        self.digits = digits

    def saw(self, eqn: Any, args: list[Any]) -> None:
        """Nobody listens."""

    def leap(self, eqn: Any, args: list[Any], done: int) -> list[Any] | None:
        """Every step is done."""
        return None

    def lift(self, x: Any) -> Any:
        """An input or a constant in this arithmetic."""
        x = np.asarray(x)
        if x.dtype == object or not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        wide = x.astype(np.float64)
        made = np.empty(x.shape, object)
        made.reshape(-1)[:] = [mpmath.mpf(float(v)) for v in wide.reshape(-1)]
        return made

    def result(self, x: Any, dtype: Any) -> Any:
        """The result of a primitive whose type is `dtype`."""
        x = np.asarray(x)
        if jnp.issubdtype(dtype, jnp.floating):
            return x if x.dtype == object else self.lift(x.astype(np.float64))
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise NotImplementedError("complex numbers in many digits")
        if x.dtype == object and jnp.issubdtype(dtype, jnp.integer):
            return np.vectorize(int, otypes=[np.int64])(x).astype(dtype)
        return x.astype(dtype, copy=False)

    def apply(self, function: Callable, args: tuple, keywords: dict[str, Any]) -> Any:
        """A function that NumPy has not for every kind of number."""
        return function(*args, **keywords)

    def rounded(self, name: str, found: list[Any]) -> list[Any]:
        """Digits are not counted here."""
        return found

    def is_finite(self, x: Any) -> Any:
        """Elementwise."""
        return np.asarray(np.frompyfunc(lambda v: bool(mpmath.isfinite(v)), 1, 1)(x), bool)


_MPMATH["is_finite"] = lambda x: Digits().is_finite(x)
