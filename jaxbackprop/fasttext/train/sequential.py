"""Training on a CPU: one text after another in exact order, in one program that visits only the rows of each text.

What a loss asks of the output table stands in losses.py; many texts at once are step.py's.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, UInt32

from .losses import Loss, Targets, clip_row_update, loss_step
from .tables import Held, Rows, Tables, at, change_one_by_one, fitting, over_columns, row


class Texts(NamedTuple):
    """Texts one after another, and what there is to know of each; arrays may be longer than the texts they hold.

    ids      (T,) uint32: text n has the rows ids[offsets[n] : offsets[n + 1]], at least one
    offsets  (N + 1,) uint32
    order    (N,) uint32: the k-th visit is to text order[k]
    rates    (N,) float32: the learning rate at each visit
    total    how many texts there are
    """

    ids: UInt32[Held, " T"]
    offsets: UInt32[Held, " N1"]
    order: UInt32[Held, " N"]
    rates: Float[Held, " N"]
    total: UInt32[Held, ""]


@partial(jax.jit, static_argnames=("loss", "smoothing"), donate_argnums=0)
def train_chunk(
    tables: Tables, texts: Texts, targets: Targets, *, loss: Loss, smoothing: float
) -> tuple[Tables, Float[Array, ""]]:
    """The tables after each text was visited in turn, and the sum of the losses met on the way.

    Forward   h = mean of the text's input rows,  the loss by the output rows, see `sparse_step`
    Backward  each input row: dh / L for a text of L rows (a row named twice meets it twice); see also `clip_row_update`
    Update    at once, before the next text is read

    The tables are given away: their memory is that of the tables returned.
    """

    def text(k: Array, carry: tuple[Tables, Array]) -> tuple[Tables, Array]:
        tables, total = carry
        n, lr = at(texts.order, k), at(texts.rates, k)
        start, stop = at(texts.offsets, n), at(texts.offsets, n + 1)
        length = (stop - start).astype(jnp.float32)
        h = _sum_of_rows(tables.input.rows, texts.ids, start, stop) / length
        output, dh, surprise = loss_step(tables.output, h, targets, k, lr, loss=loss, smoothing=smoothing)
        each = clip_row_update(dh / length, tables.input, lr, loss=loss)
        return Tables(_change(tables.input, texts.ids, start, stop, each, lr), output), total + surprise

    return lax.fori_loop(jnp.uint32(0), texts.total, text, (tables, jnp.float32(0)))


def _sum_of_rows(table: Array, ids: Held, start: Array, stop: Array) -> Array:
    """The sum of the rows ids[start:stop], (1, D)."""
    at_once, width = _reading(table.shape[1])

    def add(which: list[Array], h: Array) -> Array:
        def part(column: Array, h: Array) -> Array:
            piece = lax.dynamic_slice(h, (jnp.uint32(0), column), (1, width))
            for i in which:
                piece = piece + lax.dynamic_slice(table, (i, column), (1, width))
            return lax.dynamic_update_slice(h, piece, (jnp.uint32(0), column))

        return over_columns(part, h, table.shape[1], width)

    return _over_rows(add, jnp.zeros((1, table.shape[1]), table.dtype), ids, start, stop, at_once)


def _change(table: Rows, ids: Held, start: Array, stop: Array, gradient: Array, lr: Array) -> Rows:
    """The table after each of the rows ids[start:stop] met `gradient`."""
    if table.second_moment is None:
        return table._replace(
            rows=_add_to_rows(table.rows, table.learning_rate_scale, ids, start, stop, -lr * gradient)
        )

    return change_one_by_one(table, start, stop, gradient, lambda k: (at(ids, k), jnp.float32(1)), lr)


def _add_to_rows(
    table: Array, learning_rate_scale: Array | None, ids: Held, start: Array, stop: Array, step: Array
) -> Array:
    at_once, width = _writing(table.shape[1], shared=learning_rate_scale is not None)

    def add(which: list[Array], table: Array) -> Array:
        def part(column: Array, table: Array) -> Array:
            piece = lax.dynamic_slice(step, (jnp.uint32(0), column), (1, width))
            for i in which:
                own = piece if learning_rate_scale is None else row(learning_rate_scale, i) * piece
                new = lax.dynamic_slice(table, (i, column), (1, width)) + own
                table = lax.dynamic_update_slice(table, new, (i, column))
            return table

        return over_columns(part, table, table.shape[1], width)

    return _over_rows(add, table, ids, start, stop, at_once)


def _over_rows(body, carry, ids: Held, start: Array, stop: Array, at_once: int):
    """`body(rows, carry)` for the rows ids[start:stop], `at_once` of them at a time and the last few one by one."""
    together = (stop - start) // np.uint32(at_once)
    rest = start + together * np.uint32(at_once)

    def some(k: Array, carry):
        first = start + k * np.uint32(at_once)
        return body([at(ids, first + np.uint32(j)) for j in range(at_once)], carry)

    carry = lax.fori_loop(jnp.uint32(0), together, some, carry)
    if at_once == 1:
        return carry
    return lax.fori_loop(rest, stop, lambda k, carry: body([at(ids, k)], carry), carry)


def _reading(columns: int) -> tuple[int, int]:
    """How many rows are added up in one turn of the loop, and how many columns of them."""
    return fitting(columns, lambda at_once, width: (at_once + 2) * width)


def _writing(columns: int, *, shared: bool) -> tuple[int, int]:
    """How many rows are changed in one turn of the loop, and how many columns of them."""
    return fitting(columns, lambda at_once, width: (3 * width + shared) * at_once)
