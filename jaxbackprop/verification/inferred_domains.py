"""What an array of arguments has by more than chance, and what is drawn in its place has too: a domain nobody declared.

A symmetric matrix, knots in order, a distribution, a rotation: a function of one may mean nothing elsewhere, and a rule
that is right where the function has a meaning is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..jaxprs.inputs import is_key, unit_roundoff


@dataclass(frozen=True)
class Property:
    """A property that arrays of numbers may have.

    Attributes:
        name: in words.
        residual: how far an array is from having it, in units of its own size; infinite for one of another shape.
        restored: an array close by that has it.
        tangent: of `(x, g)`: g without what no change of x that keeps the property can see.
        if_unseen: it counts only where the function cannot tell an array from the restored one: where it cannot, a
            symmetric matrix is no condition, but what it was given by chance.
    """

    name: str
    residual: Callable[[np.ndarray], float]
    restored: Callable[[np.ndarray], np.ndarray]
    tangent: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda x, g: g
    if_unseen: bool = False


COARSE = 1e-3
"""In a type so coarse that an array may have a property by chance, only what holds exactly counts."""


def properties_of(x: np.ndarray) -> tuple[Property, ...]:
    """The properties that an array has, as far as its type can hold them."""
    if is_key(x) or x.size < 2 or x.dtype.kind in "iubc" or not np.isfinite(x).all() or not np.any(x):
        return ()
    tolerance = 8 * unit_roundoff(x.dtype) * float(np.sqrt(x.shape[-1])) if x.ndim else 0.0
    tolerance = tolerance if tolerance < COARSE else 0.0
    wide = x.astype(np.float64)
    return tuple(p for p in PROPERTIES if p.residual(wide) <= tolerance)


def restored(x: np.ndarray, properties: Sequence[Property]) -> np.ndarray:
    """An array close to `x` that has these properties; `x` where there is none."""
    made = x
    for p in properties:
        with np.errstate(all="ignore"):
            made = p.restored(made.astype(np.float64))
    return made.astype(x.dtype) if properties and np.isfinite(made).all() else x


def _square(x: np.ndarray) -> bool:
    return x.ndim >= 2 and x.shape[-1] == x.shape[-2] > 1


def _off(x: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.max(np.abs(x - wanted)) / np.max(np.abs(x)))


def _transposed(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def _sum_to_one(x: np.ndarray) -> float:
    return _off(x.sum(-1), np.ones(x.shape[:-1])) if x.ndim and x.shape[-1] > 1 and np.all(x >= 0) else np.inf


def _to_sum_one(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    total = x.sum(-1, keepdims=True)
    return np.where(total > 0, x / np.where(total > 0, total, 1), 1 / x.shape[-1])


def _of_length_one(x: np.ndarray) -> float:
    size = np.sqrt((x * x).sum(-1)) if x.ndim and x.shape[-1] > 1 else np.zeros(1)
    return _off(size, np.ones(size.shape)) if np.any(size) else np.inf


def _to_length_one(x: np.ndarray) -> np.ndarray:
    size = np.sqrt((x * x).sum(-1, keepdims=True))
    return np.where(size > 0, x / np.where(size > 0, size, 1), 1 / np.sqrt(x.shape[-1]))


def _orthogonal(x: np.ndarray) -> float:
    return _off(_transposed(x) @ x, np.broadcast_to(np.eye(x.shape[-1]), x.shape)) if _square(x) else np.inf


def _to_orthogonal(x: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(x)
    return q * np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]


def _triangular(which: str, part: Callable[[np.ndarray], np.ndarray]) -> Property:
    return Property(
        f"{which} triangular",
        lambda x: _off(x, part(x)) if _square(x) else np.inf,
        part,
        lambda x, g: part(g),
        if_unseen=True,
    )


PROPERTIES = (
    Property(
        "orthogonal", _orthogonal, _to_orthogonal, lambda x, g: g - x @ (_transposed(x) @ g + _transposed(g) @ x) / 2
    ),
    Property("summing to one", _sum_to_one, _to_sum_one, lambda x, g: g - g.mean(-1, keepdims=True)),
    Property("of length one", _of_length_one, _to_length_one, lambda x, g: g - x * (x * g).sum(-1, keepdims=True)),
    Property(
        "symmetric",
        lambda x: _off(x, _transposed(x)) if _square(x) else np.inf,
        lambda x: (x + _transposed(x)) / 2,
        lambda x, g: (g + _transposed(g)) / 2,
        if_unseen=True,
    ),
    _triangular("lower", np.tril),
    _triangular("upper", np.triu),
    Property(
        "ascending",
        lambda x: 0.0 if x.ndim and x.shape[-1] > 3 and np.all(np.diff(x) > 0) else np.inf,
        lambda x: np.sort(x, -1),
    ),
)
"""In the order in which they are restored: a later one keeps what an earlier one made."""
