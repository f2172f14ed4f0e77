"""A table of rows with the optimizer's slots of each row, and the update of some rows or of all of them.

Optimizers are row-wise: one rate a row. A row that no text names is neither read nor written, and its slots stay.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

Optimizer = Literal["sgd", "adagrad", "adam"]
HostOrDevice = Array | np.ndarray

BETA1, BETA2, TINY = 0.9, 0.999, 1e-8
BLOCK = 1 << 24
"""Bytes of a table that are written at a time."""


class Rows(NamedTuple):
    """A table, and the optimizer's slots of its rows.

    Attributes:
        rows: (V, D).
        second_moment: adagrad: (V, 1) the sum of the squares of a row's gradients; adam: (V, 2) their running mean, and
            how often the row was updated; sgd: None. The square of a gradient is the mean of its D numbers' squares.
        first_moment: adam: (V, D) the running mean of a row's gradients; else None.
        learning_rate_scale: sgd: (V, 1) by how much each row's learning rate is multiplied; None: by nothing.
    """

    rows: Float[Array, "V D"]
    second_moment: Float[Array, "V N"] | None = None
    first_moment: Float[Array, "V D"] | None = None
    learning_rate_scale: Float[Array, "V 1"] | None = None


class Tables(NamedTuple):
    """The two tables of a model: a row for each word or n-gram, and a row for each label (or node of the tree)."""

    input: Rows
    output: Rows


def init_slots(rows: Float[Array, "V D"], optimizer: Optimizer) -> Rows:
    """A table with the slots that its optimizer needs, all zero."""
    if optimizer == "sgd":
        return Rows(rows)
    if optimizer == "adagrad":
        return Rows(rows, jnp.zeros((len(rows), 1), jnp.float32))
    return Rows(rows, jnp.zeros((len(rows), 2), jnp.float32), jnp.zeros(rows.shape, jnp.float32))


def update_slots(slot: Array, gradient: Array, square: Array, *, first_moment: bool) -> Array:
    """`second_moment` or `first_moment` of some rows after a gradient whose square is `square`.

    Update  adagrad  s += g^2
            adam     s = b2 s + (1 - b2) g^2,  t += 1;  m = b1 m + (1 - b1) g
    """
    if first_moment:
        return BETA1 * slot + (1 - BETA1) * gradient
    if slot.shape[-1] == 1:
        return slot + square
    return jnp.concatenate([BETA2 * slot[..., :1] + (1 - BETA2) * square, slot[..., 1:] + 1], -1)


def row_step(gradient: Array, lr: Array, second_moment: Array | None, first_moment: Array | None) -> Array:
    """What is added to some rows with this gradient; the slots are those after `update_slots`.

    Update  sgd      -lr g
            adagrad  -lr g / sqrt(s)
            adam     -lr m / (1 - b1^t) / sqrt(s / (1 - b2^t))
    Source  Duchi, Hazan, Singer 2011; Kingma, Ba 2015, arXiv:1412.6980; one accumulator a row: Gupta et al. 2014

    A row's t counts its own updates: the bias of a rare row's moments is corrected as that of a young one.
    """
    if second_moment is None:
        return -lr * gradient
    if first_moment is None:
        return -lr * gradient * lax.rsqrt(second_moment + TINY**2)
    mean, t = second_moment[..., :1], second_moment[..., 1:]
    return -lr * first_moment * (jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t) * lax.rsqrt(mean + TINY**2))


def change_all_rows(table: Rows, gradient: Float[Array, "V D"], lr: Array) -> Rows:
    """The table after every row was updated by its gradient."""
    second_moment, first_moment = table.second_moment, table.first_moment
    if second_moment is not None:
        square = (gradient**2).mean(-1, keepdims=True)
        second_moment = update_slots(second_moment, gradient, square, first_moment=False)
        if first_moment is not None:
            first_moment = update_slots(first_moment, gradient, square, first_moment=True)
    return Rows(table.rows + row_step(gradient, lr, second_moment, first_moment), second_moment, first_moment)


def take_rows(table: HostOrDevice, ids: Array) -> Array:
    """The rows at `ids`, zeros for an id outside the table."""
    return jnp.asarray(table).at[ids].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def change_rows(
    table: Rows,
    ids: Int[Array, " T"],
    gradients: Float[Array, "T D"],
    lr: Array,
    *,
    learning_rate_scale: Array | None = None,
) -> Rows:
    """The table after the rows at `ids` were updated, all at once; a row named more than once gets their sum.

    Args:
        table: the table and its slots.
        ids: row numbers; those outside the table are dropped.
        gradients: one for each id.
        lr: the learning rate.
        learning_rate_scale: (T,) a factor for each gradient under sgd; adagrad and adam divide by their second moment,
            the squares of this very step included, and ignore it.
    """
    drop = {"mode": "drop", "wrap_negative_indices": False}
    if table.second_moment is None:
        scaled = gradients if learning_rate_scale is None else learning_rate_scale[:, None] * gradients
        scaled = scaled if table.learning_rate_scale is None else take_rows(table.learning_rate_scale, ids) * scaled
        return table._replace(rows=table.rows.at[ids].add(row_step(scaled, lr, None, None), **drop))
    squares = (gradients**2).mean(-1, keepdims=True)
    if table.first_moment is None:
        second_moment = table.second_moment.at[ids].add(squares, **drop)
        step = row_step(gradients, lr, take_rows(second_moment, ids), None)
        return Rows(table.rows.at[ids].add(step, **drop), second_moment)
    # Each slot decays once, alike wherever its row is named; then all the gradients of the row are added.
    nothing = jnp.zeros((), gradients.dtype)
    decayed = update_slots(take_rows(table.second_moment, ids), nothing, nothing, first_moment=False)
    second_moment = table.second_moment.at[ids].set(decayed, **drop)
    second_moment = second_moment.at[ids].add(jnp.pad((1 - BETA2) * squares, ((0, 0), (0, 1))), **drop)
    decayed = update_slots(take_rows(table.first_moment, ids), nothing, nothing, first_moment=True)
    first_moment = table.first_moment.at[ids].set(decayed, **drop)
    first_moment = first_moment.at[ids].add((1 - BETA1) * gradients, **drop)
    step = row_step(gradients, lr, take_rows(second_moment, ids), take_rows(first_moment, ids))
    rows = table.rows.at[ids].set(take_rows(table.rows, ids) + step, **drop)
    return Rows(rows, second_moment, first_moment)


def write_table(path: Path, table: Array) -> None:
    """The table as a .npy file, some rows at a time: a view of all of it would keep it from being written in place."""
    rows = min(max(BLOCK // (4 * table.shape[1]), 1), table.shape[0])
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": table.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, table.shape[0], max(rows, 1)):
            start = min(first, table.shape[0] - rows)  # a slice may not reach over the end
            part = lax.dynamic_slice_in_dim(table, start, rows)
            file.write(np.asarray(part)[first - start :].astype("<f4", copy=False).tobytes())
