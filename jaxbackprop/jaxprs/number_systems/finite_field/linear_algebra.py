"""Factorisations over finite fields: exact where they are made of quotients and roots, as Cholesky's and LU are."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...compat import JaxprEqn, dtype_of
from .field import Field, Numbers, stacked


def _entries(x: Numbers) -> list[list[Numbers]]:
    """The entries of the matrices on the last two axes, each an array over the batch."""
    places = np.arange(x.value.size).reshape(x.shape)
    return [[x.at(places[..., i, j]) for j in range(x.shape[-1])] for i in range(x.shape[-2])]


def _matrix(entries: list[list[Numbers]], batch: tuple[int, ...]) -> Numbers:
    rows = [[x if x.shape == batch else x.at(np.zeros(batch, int)) for x in row] for row in entries]
    n, m = len(rows), len(rows[0]) if rows else 0
    whole = stacked([x for row in rows for x in row]).reshape(n, m, *batch)
    places = np.arange(whole.value.size).reshape(whole.shape)
    return whole.at(np.moveaxis(places, (0, 1), (-2, -1)))


def _cholesky(field: Field, eqn: JaxprEqn, a: Numbers) -> Numbers:
    """L of A = L L^T, entry by entry; of A only the lower half is read, as by JAX after it has made A symmetric."""
    n, given = a.shape[-1], _entries(a)
    zero = field.constant(np.zeros(a.shape[:-2]))
    made = [[zero] * n for _ in range(n)]
    for j in range(n):
        for i in range(j, n):
            left = given[i][j]
            for k in range(j):
                left = field.sub(left, field.mul(made[i][k], made[j][k]))
            made[i][j] = field.sqrt(left) if i == j else field.div(left, made[j][j])
    return _matrix(made, a.shape[:-2]) if n else a


def _triangular_solve(field: Field, eqn: JaxprEqn, a: Numbers, b: Numbers) -> Numbers:
    """X of A X = B, or of X A = B, for a triangular A, by substitution."""
    p = eqn.params
    lower, transposed = p["lower"], p["transpose_a"]
    if not p["left_side"]:  # X A = B is A^T X^T = B^T
        a, b, lower = _flipped(a), _flipped(b), not lower
    if transposed:
        a, lower = _flipped(a), not lower
    rows, right, n = _entries(a), _entries(b), a.shape[-1]
    made: list[list[Numbers]] = [[] for _ in range(n)]
    for i in range(n) if lower else reversed(range(n)):
        for j in range(b.shape[-1]):
            left = right[i][j]
            for k in range(i) if lower else range(i + 1, n):
                left = field.sub(left, field.mul(rows[i][k], made[k][j]))
            made[i].append(left if p["unit_diagonal"] else field.div(left, rows[i][i]))
    if not b.value.size:
        return b
    found = _matrix(made, a.shape[:-2])
    return found if p["left_side"] else _flipped(found)


def _flipped(x: Numbers) -> Numbers:
    return x.at(np.swapaxes(np.arange(x.value.size).reshape(x.shape), -1, -2))


def _lu(field: Field, eqn: JaxprEqn, a: Numbers) -> list[Any]:
    """L and U of P A = L U in one matrix, with the pivots that the floats choose, and the permutation P."""
    batch, (n, m) = a.shape[:-2], a.shape[-2:]
    flat = a.reshape(-1, n, m)
    parts, pivots, orders = [], [], []
    for b in range(flat.shape[0]):
        rows, order, chosen = _entries(flat.row(b)), list(range(n)), []
        for k in range(min(n, m)):
            sizes = [abs(float(rows[i][k].value)) for i in range(k, n)]
            best = k + int(np.argmax(sizes))
            chosen.append(best)
            rows[k], rows[best], order[k], order[best] = rows[best], rows[k], order[best], order[k]
            for i in range(k + 1, n):
                rows[i][k] = factor = field.div(rows[i][k], rows[k][k])
                for j in range(k + 1, m):
                    rows[i][j] = field.sub(rows[i][j], field.mul(factor, rows[k][j]))
        parts.append(_matrix(rows, ()))
        pivots.append(chosen)
        orders.append(order)
    integers = [
        np.array(found, dtype_of(v)).reshape(*batch, -1)
        for found, v in zip((pivots, orders), eqn.outvars[1:], strict=True)
    ]
    return [stacked(parts).reshape(*a.shape) if parts else a, *integers]


def _tridiagonal_solve(
    field: Field, eqn: JaxprEqn, low: Numbers, middle: Numbers, high: Numbers, b: Numbers
) -> Numbers:
    """By elimination from the first row to the last, and back."""
    n = middle.shape[-1]
    columns = [[x.at(np.arange(x.value.size).reshape(x.shape)[..., i]) for i in range(n)] for x in (low, middle, high)]
    right = _entries(b)
    (lower, diagonal, upper), made = columns, []
    ratios: list[Numbers] = []
    for i in range(n):
        below = diagonal[i] if not i else field.sub(diagonal[i], field.mul(lower[i], ratios[-1]))
        ratios.append(field.div(upper[i], below))
        row = (
            right[i]
            if not i
            else [field.sub(x, field.mul(lower[i], y)) for x, y in zip(right[i], made[-1], strict=True)]
        )
        made.append([field.div(x, below) for x in row])
    for i in reversed(range(n - 1)):
        made[i] = [field.sub(x, field.mul(ratios[i], y)) for x, y in zip(made[i], made[i + 1], strict=True)]
    return _matrix(made, middle.shape[:-1])


LINEAR_ALGEBRA: dict[str, Callable[..., Any]] = {
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "lu": _lu,
    "tridiagonal_solve": _tridiagonal_solve,
}
