"""The loss of one text at the output table, its deltas, and the update of the table.

Every delta is that of the library's rules: `score_deltas` runs the forward and backward passes of
`losses.softmax_cross_entropy` and `losses.sigmoid_cross_entropy`, and the loops over a path or some samples share
`logistic_loss_and_delta` with `losses.hierarchical_softmax` and `losses.negative_sampling`. For many texts: step.py.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, UInt32

from ...losses.cross_entropy import (
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from ...losses.logistic import logistic_loss_and_delta
from .row_loops import Index, add_row, at, change_one_by_one, dot_row
from .tables import HostOrDevice, Rows, change_all_rows

Loss = Literal["softmax", "hs", "ns", "ova"]
RowAndTarget = Callable[[Array], tuple[Array, Array]]
# One against all: dh is a sum over all labels, bounded by nothing but their number, and frequent rows such as that of
# `</s>` would be thrown far out by one text. In batches the same happens under every loss: a row that all texts name
# gets the sum of what they give it. experiments/text_quality.py shows what the bound gains.
MAX_ROW_STEP = 5.0


class Targets(NamedTuple):
    """The targets of N texts, in the order of the visits.

    Attributes:
        labels: softmax and hs: (N,) a label a text; ns: (N * (1 + neg),) a label a text and its negative samples; ova:
            (M,) all labels of all texts, one text after another.
        offsets: ova: (N + 1,) where a text's labels begin; hs: (labels + 1,) where a label's path begins; else one 0.
        nodes: hs: the nodes of all paths; else one 0.
        codes: hs: 1 where the path goes to the second child; else one 0.
        most: ns and hs: how many rows a text looks at, at most, as the shape of an empty array (0, most).
    """

    labels: UInt32[HostOrDevice, " M"]
    offsets: UInt32[HostOrDevice, " P1"]
    nodes: UInt32[HostOrDevice, " P"]
    codes: Float[HostOrDevice, " P"]
    most: Float[HostOrDevice, "0 most"]


def loss_step(
    output: Rows, h: Float[Array, "1 D"], targets: Targets, n: Array, lr: Array, *, loss: Loss, smoothing: float
) -> tuple[Rows, Float[Array, "1 D"], Float[Array, ""]]:
    """The output table after text n with hidden vector h, the gradient of h, and the loss."""
    if loss in ("softmax", "ova"):
        W = output.rows
        target = at(targets.labels, n).astype(jnp.int32)[None] if loss == "softmax" else _many_hot(targets, n, W)
        value, delta = score_deltas((W @ h[0])[None], target, smoothing=smoothing)
        dh, dW = through_scores(delta, h, W)
        return change_all_rows(output, dW, _after(dh, lr)), dh, value[0]
    first, last, row_and_target = _path(targets, n) if loss == "hs" else _samples(targets, n)
    value, deltas = logistic_deltas(output.rows, h, first, last, row_and_target, targets.most.shape[1])
    dh = logistic_dh(output.rows, h, first, last, row_and_target, deltas)

    def row_and_delta(k: Array) -> tuple[Array, Array]:
        return row_and_target(k)[0], at(deltas, k - first)

    return change_one_by_one(output, first, last, h, row_and_delta, _after(dh, lr)), dh, value


def score_deltas(
    z: Float[Array, "B C"], target: Int[Array, " B"] | Float[Array, "B C"], *, smoothing: float = 0.0
) -> tuple[Float[Array, " B"], Float[Array, "B C"]]:
    """The losses of scores, and their gradient: softmax for a label a text, else one against all."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        loss, residuals = softmax_cross_entropy.forward(z, target, smoothing=smoothing)
        delta, *_ = softmax_cross_entropy_backward(residuals, jnp.ones_like(loss), smoothing=smoothing)
    else:
        loss, residuals = sigmoid_cross_entropy.forward(z, target)
        delta, *_ = sigmoid_cross_entropy_backward(residuals, jnp.ones_like(loss))
    return loss, delta


def through_scores(
    delta: Float[Array, "B C"], h: Float[Array, "B D"], W: Float[Array, "C D"]
) -> tuple[Float[Array, "B D"], Float[Array, "C D"]]:
    """The gradients of h and W at the scores z = h W^T, where delta arrives.

    Backward  dh = delta W,  dW = delta^T h
    """
    precision = lax.Precision.HIGHEST
    dW = delta.T * h if len(h) == 1 else jnp.matmul(delta.T, h, precision=precision)
    return jnp.matmul(delta, W, precision=precision), dW


def logistic_deltas(
    W: Float[Array, "C D"],
    h: Float[Array, "1 D"],
    first: Index,
    last: Index,
    row_and_target: RowAndTarget,
    most: int,
) -> tuple[Float[Array, ""], Float[Array, " most"]]:
    """The loss at rows first, ..., last - 1 of a path or of some samples, and the delta at each.

    Forward   z_k = W[row_k] . h,  loss = sum_k -log sigmoid(z_k) where the target is 1, else -log sigmoid(-z_k)
    Backward  delta_k = sigmoid(z_k) - target_k; all are computed before any row is changed
    """

    def one(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        deltas, total = carry
        i, target = row_and_target(k)
        loss, delta = logistic_loss_and_delta(dot_row(W, i, h), target)
        return lax.dynamic_update_slice(deltas, delta[None], (k - first,)), total + loss

    deltas, total = lax.fori_loop(first, last, one, (jnp.zeros_like(h, shape=(most,)), jnp.zeros_like(h, shape=())))
    return total, deltas


def logistic_dh(
    W: Float[Array, "C D"],
    h: Float[Array, "1 D"],
    first: Index,
    last: Index,
    row_and_target: RowAndTarget,
    deltas: Float[Array, " most"],
) -> Float[Array, "1 D"]:
    """The gradient of h, where delta_k arrives at z_k = W[row_k] . h:  dh = sum_k delta_k W[row_k]."""

    def one(k: Array, dh: Array) -> Array:
        return add_row(dh, W, row_and_target(k)[0], at(deltas, k - first))

    return lax.fori_loop(first, last, one, jnp.zeros_like(h))


def clip_row_update(
    gradient: Float[Array, "B D"], table: Rows, lr: Array, *, loss: Loss, batch: int = 1
) -> Float[Array, "B D"]:
    """The gradient of each text's input rows, by sgd so small that no row moves by more than MAX_ROW_STEP.

    Forward   g min(1, MAX_ROW_STEP / (sqrt(B) |lr g|));  g itself for one text at a time under other losses than
              "ova", as in fastText, and by adagrad and adam
    Source    clipping by norm: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063

    h, the mean of a text's rows, moves as far as they do; a row named twice moves twice, and `learning_rate_scale`
    comes on top. A row that each of B texts of a batch names moves by the sum of what they give it over sqrt(B), see
    `train_chunk_in_batches`: it, too, goes no farther.
    """
    if table.second_moment is not None or (batch == 1 and loss != "ova"):
        return gradient
    length = jnp.sqrt(batch * (gradient**2).sum(1, keepdims=True))
    return gradient * jnp.minimum(1, MAX_ROW_STEP / (lr * length))


def _many_hot(targets: Targets, n: Array, W: Array) -> Float[Array, "1 C"]:
    """1 at each label of text n, else 0."""

    def mark(k: Array, hot: Array) -> Array:
        return lax.dynamic_update_slice(hot, jnp.ones((1, 1), W.dtype), (np.uint32(0), at(targets.labels, k)))

    zeros = jnp.zeros((1, len(W)), W.dtype)
    return lax.fori_loop(at(targets.offsets, n), at(targets.offsets, n + 1), mark, zeros)


def _path(targets: Targets, n: Array) -> tuple[Array, Array, RowAndTarget]:
    """Where the path of text n's label begins and ends, and the node and code at a place."""
    label = at(targets.labels, n)
    first, last = at(targets.offsets, label), at(targets.offsets, label + 1)
    return first, last, lambda k: (at(targets.nodes, k), at(targets.codes, k))


def _samples(targets: Targets, n: Array) -> tuple[Array, Array, RowAndTarget]:
    """Where text n's label and its negative samples begin and end, and the row and target at a place."""
    most = np.uint32(targets.most.shape[1])
    first = n * most
    return first, first + most, lambda k: (at(targets.labels, k), (k == first).astype(jnp.float32))


def _after(dh: Array, lr: Array) -> Array:
    """`lr`, but not before dh is there: else XLA keeps a copy of the table for it."""
    return lr + 0 * dh[0, 0]
