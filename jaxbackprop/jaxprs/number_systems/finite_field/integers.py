"""Integers and booleans, as JAX computes with them, in NumPy: nothing is compiled for them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...compat import JaxprEqn, dtype_of


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    def each(eqn: JaxprEqn, *args: Any) -> np.ndarray:
        return np.asarray(function(*args)).astype(dtype_of(eqn.outvars[0]))

    return each


def _divided(x: Any, y: Any) -> Any:
    """Towards zero; by zero it is -1, all bits set."""
    safe = np.where(y == 0, 1, y)
    whole = x // safe + ((x % safe != 0) & ((x < 0) != (safe < 0)))
    return (
        np.where(y == 0, -1, whole) if np.asarray(x).dtype.kind == "i" else np.where(y == 0, ~np.zeros_like(x), whole)
    )


def _remainder(x: Any, y: Any) -> Any:
    return np.where(y == 0, x, np.fmod(x, np.where(y == 0, 1, y)))


def _reduced(function: Any) -> Callable[..., Any]:
    return lambda eqn, x: np.asarray(function.reduce(x, tuple(eqn.params["axes"]))).astype(dtype_of(eqn.outvars[0]))


def _place_of(function: Any) -> Callable[..., Any]:
    return lambda eqn, x: np.asarray(function(x, eqn.params["axes"][0])).astype(dtype_of(eqn.outvars[0]))


def _running(function: Any) -> Callable[..., Any]:
    def run(eqn: JaxprEqn, x: Any) -> np.ndarray:
        d = eqn.params["axis"]
        x = np.flip(x, d) if eqn.params["reverse"] else x
        found = function.accumulate(x, d, dtype=x.dtype)
        return np.flip(found, d) if eqn.params["reverse"] else found

    return run


def _shifted(function: Any, signed: bool) -> Callable[..., Any]:
    def shift(eqn: JaxprEqn, x: Any, by: Any) -> np.ndarray:
        x = np.asarray(x)
        bits = x.dtype.itemsize * 8
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        amount = np.asarray(by).astype(unsigned)
        if signed:
            return function(x, np.minimum(amount, bits - 1).astype(x.dtype))
        found = function(x.view(unsigned), np.minimum(amount, bits - 1))
        return np.where(amount >= bits, np.zeros_like(found), found).view(x.dtype).reshape(x.shape)

    return shift


def _iota(eqn: JaxprEqn, *dynamic: Any) -> Any:
    p = eqn.params
    row = np.arange(p["shape"][p["dimension"]]).reshape(
        [-1 if d == p["dimension"] else 1 for d in range(len(p["shape"]))]
    )
    return np.broadcast_to(row, p["shape"]).astype(p["dtype"])


INTEGERS: dict[str, Callable[..., Any]] = {
    "add": _each(np.add),
    "sub": _each(np.subtract),
    "mul": _each(np.multiply),
    "neg": _each(np.negative),
    "abs": _each(np.abs),
    "sign": _each(np.sign),
    "div": _each(_divided),
    "rem": _each(_remainder),
    "max": _each(np.maximum),
    "min": _each(np.minimum),
    "clamp": _each(lambda low, x, high: np.minimum(np.maximum(x, low), high)),
    "and": _each(np.bitwise_and),
    "or": _each(np.bitwise_or),
    "xor": _each(np.bitwise_xor),
    "not": _each(np.invert),
    "shift_left": _shifted(np.left_shift, signed=False),
    "shift_right_logical": _shifted(np.right_shift, signed=False),
    "shift_right_arithmetic": _shifted(np.right_shift, signed=True),
    "eq": _each(np.equal),
    "ne": _each(np.not_equal),
    "lt": _each(np.less),
    "le": _each(np.less_equal),
    "gt": _each(np.greater),
    "ge": _each(np.greater_equal),
    "convert_element_type": _each(lambda x: x),
    "reduce_sum": _reduced(np.add),
    "reduce_prod": _reduced(np.multiply),
    "reduce_max": _reduced(np.maximum),
    "reduce_min": _reduced(np.minimum),
    "reduce_and": _reduced(np.bitwise_and),
    "reduce_or": _reduced(np.bitwise_or),
    "argmax": _place_of(np.argmax),
    "argmin": _place_of(np.argmin),
    "cumsum": _running(np.add),
    "cumprod": _running(np.multiply),
    "cummax": _running(np.maximum),
    "cummin": _running(np.minimum),
    "iota": _iota,
}
