"""Training on a CPU: one text after another in exact order, in one program that visits only the rows of each text."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, UInt32

from .losses import Loss, Targets, clip_row_update, loss_step
from .row_loops import add_to_rows, at, change_one_by_one, sum_rows
from .tables import HostOrDevice, Rows, Tables


class Texts(NamedTuple):
    """Texts one after another, and what there is to know of each; arrays may be longer than the texts they hold.

    Attributes:
        ids: (T,) text n has the rows ids[offsets[n] : offsets[n + 1]], at least one.
        offsets: (N + 1,).
        order: (N,) the k-th visit is to text order[k].
        rates: (N,) the learning rate at each visit.
        total: how many texts there are.
        weights: (N,) how much each visit counts; None: all alike.
    """

    ids: UInt32[HostOrDevice, " T"]
    offsets: UInt32[HostOrDevice, " N1"]
    order: UInt32[HostOrDevice, " N"]
    rates: Float[HostOrDevice, " N"]
    total: UInt32[HostOrDevice, ""]
    weights: Float[HostOrDevice, " N"] | None = None


@partial(jax.jit, static_argnames=("loss", "smoothing"), donate_argnums=0)
def train_chunk(
    tables: Tables, texts: Texts, targets: Targets, *, loss: Loss, smoothing: float
) -> tuple[Tables, Float[Array, ""]]:
    """The tables after each text was visited in turn, and the sum of the losses on the way.

    Forward   h = mean of the text's input rows,  the loss by the output rows, see `sparse_step`
    Backward  each input row: dh / L for a text of L rows (a row named twice gets it twice); see also `clip_row_update`
    Update    at once, before the next text is read

    The tables are donated: their memory is that of the tables returned. `jaxbackprop verify` examines these passes as
    the rules of step_rules.py.
    """

    def text(k: Array, carry: tuple[Tables, Array]) -> tuple[Tables, Array]:
        tables, total = carry
        n, lr = at(texts.order, k), at(texts.rates, k)
        weight = 1 if texts.weights is None else at(texts.weights, k)
        lr = lr * weight  # which under sgd is to multiply the gradients
        start, stop = at(texts.offsets, n), at(texts.offsets, n + 1)
        length = (stop - start).astype(jnp.float32)
        h = sum_rows(tables.input.rows, texts.ids, start, stop) / length
        output, dh, value = loss_step(tables.output, h, targets, k, lr, loss=loss, smoothing=smoothing)
        gradient = clip_row_update(dh / length, tables.input, lr, loss=loss)
        return Tables(_change(tables.input, texts.ids, start, stop, gradient, lr), output), total + weight * value

    return lax.fori_loop(np.uint32(0), texts.total, text, (tables, jnp.float32(0)))


def _change(table: Rows, ids: HostOrDevice, start: Array, stop: Array, gradient: Array, lr: Array) -> Rows:
    """The table after each of the rows ids[start:stop] was updated by `gradient`."""
    if table.second_moment is None:
        rows = add_to_rows(table.rows, ids, start, stop, -lr * gradient, table.learning_rate_scale)
        return table._replace(rows=rows)
    return change_one_by_one(table, start, stop, gradient, lambda k: (at(ids, k), jnp.float32(1)), lr)
