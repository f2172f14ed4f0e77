"""What each loss asks of the output table for one text, and what its answers change there: the deltas by hand.

The same four losses for many texts at once stand in step.py; as rules, with their derivations, in losses/.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, UInt32

from .tables import Held, Rows, at, change_one_by_one, fitting, over_columns, step, update_slots

Loss = Literal["softmax", "hs", "ns", "ova"]
# One against all: dh is a sum over all labels, and no bound on it but their number. A text of two new words has h near
# 0 and every label at 1/2: dh is half the sum of all output rows, and `</s>`, which every text has, is thrown out with
# the others. Cooking (735 labels, lr 0.5): lr |dh| 1,459 where 12 is seldom passed, |h| 28 soon after, F1 .34 for .39,
# in some orders of the texts; at lr 1 fastText 0.9.2 ends there with "Encountered NaN". A trained |h| is 1 to 3. Every
# bound from 1 to 10 does alike at lr 0.25 and 0.5 (.392 in each of four orders); of those 5 is best at 0.7 and 1.
MAX_ROW_STEP = 5.0


class Targets(NamedTuple):
    """The right answers at N visits of texts.

    labels   softmax and hs: (N,) a label a text;  ns: (N * (1 + neg),) a label a text and its negative samples;
             ova: (M,) all labels of all texts, one text after another
    offsets  ova: (N + 1,) where a text's labels begin;  hs: (labels + 1,) where a label's path begins;  else one 0
    nodes    hs: the nodes of all paths;  else one 0
    codes    hs: 1 where the way goes to the second child;  else one 0
    most     ns and hs: how many questions a text is asked at most, as the shape of an empty array (0, most)
    """

    labels: UInt32[Held, " M"]
    offsets: UInt32[Held, " P1"]
    nodes: UInt32[Held, " P"]
    codes: Float[Held, " P"]
    most: Float[Held, "0 most"]


def loss_step(
    output: Rows, h: Float[Array, "1 D"], targets: Targets, n: Array, lr: Array, *, loss: Loss, smoothing: float
) -> tuple[Rows, Float[Array, "1 D"], Float[Array, ""]]:
    """The output table after text n with hidden vector h, the gradient of h, and the loss."""
    if loss == "softmax":
        return _softmax(output, h, at(targets.labels, n), lr, smoothing)
    if loss == "ova":
        return _one_vs_all(output, h, targets, n, lr)
    most = targets.most.shape[1]
    if loss == "hs":
        label = at(targets.labels, n)
        first, last = at(targets.offsets, label), at(targets.offsets, label + 1)
        return _questions(output, h, lr, first, last, most, lambda k: (at(targets.nodes, k), at(targets.codes, k)))
    first = n * np.uint32(most)

    def sample(k: Array) -> tuple[Array, Array]:
        return at(targets.labels, k), (k == first).astype(jnp.float32)

    return _questions(output, h, lr, first, first + np.uint32(most), most, sample)


def _softmax(output: Rows, h: Array, label: Array, lr: Array, smoothing: float):
    """Delta = softmax(z) - target at the scores; see losses.softmax_cross_entropy."""
    classes = output.rows.shape[0]
    z = (output.rows @ h[0])[:, None]  # (C, 1)
    z = z - z.max()
    exps = jnp.exp(z)
    total = exps.sum()
    target = (jnp.arange(classes, dtype=jnp.uint32)[:, None] == label).astype(z.dtype)
    expected = at(z[:, 0], label)
    if smoothing:
        target = (1 - smoothing) * target + smoothing / classes
        expected = (target * z).sum()
    return *_through_all(output, h, exps / total - target, lr), jnp.log(total) - expected


def _one_vs_all(output: Rows, h: Array, targets: Targets, n: Array, lr: Array):
    """Delta = sigmoid(z) - target at each score; see losses.sigmoid_cross_entropy."""
    z = (output.rows @ h[0])[:, None]

    def mark(k: Array, target: Array) -> Array:
        return lax.dynamic_update_slice(target, jnp.ones((1, 1), z.dtype), (at(targets.labels, k), jnp.uint32(0)))

    target = lax.fori_loop(at(targets.offsets, n), at(targets.offsets, n + 1), mark, jnp.zeros_like(z))
    surprise = (jax.nn.softplus(z) - target * z).sum()
    return *_through_all(output, h, jax.nn.sigmoid(z) - target, lr), surprise


def _through_all(output: Rows, h: Array, delta: Array, lr: Array) -> tuple[Rows, Array]:
    """All output rows changed, and dh; delta (C, 1)."""
    dh = (delta[:, 0] @ output.rows)[None]
    lr = lr + 0 * dh[0, 0]  # dh first: else a copy of the table is kept for it
    gradient, square = delta * h, delta**2 * (h**2).mean()
    second_moment = (
        None
        if output.second_moment is None
        else update_slots(output.second_moment, gradient, square, first_moment=False)
    )
    first_moment = (
        None if output.first_moment is None else update_slots(output.first_moment, gradient, square, first_moment=True)
    )
    return Rows(output.rows + step(gradient, lr, second_moment, first_moment), second_moment, first_moment), dh


def _questions(output: Rows, h: Array, lr: Array, first: Array, last: Array, most: int, question):
    """Yes-or-no questions, each put to its row: `question(k)` is the row and the right answer, 0 or 1.

    All are asked before any row is changed: a row asked twice answers the same twice, and is changed twice.
    """
    columns = h.shape[1]
    _, width = fitting(columns, lambda at_once, width: 4 * width)

    def piece(i: Array, column: Array) -> tuple[Array, Array]:
        w = lax.dynamic_slice(output.rows, (i, column), (1, width))
        return w, lax.dynamic_slice(h, (jnp.uint32(0), column), (1, width))

    def ask(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        deltas, total = carry
        i, yes = question(k)
        z = over_columns(lambda column, z: z + jnp.multiply(*piece(i, column)).sum(), jnp.float32(0), columns, width)
        delta = jax.nn.sigmoid(z) - yes
        return lax.dynamic_update_slice(deltas, delta[None], (k - first,)), total + jax.nn.softplus(z) - yes * z

    def back(k: Array, dh: Array) -> Array:
        i, delta = question(k)[0], at(deltas, k - first)

        def add(column: Array, dh: Array) -> Array:
            new = lax.dynamic_slice(dh, (jnp.uint32(0), column), (1, width)) + delta * piece(i, column)[0]
            return lax.dynamic_update_slice(dh, new, (jnp.uint32(0), column))

        return over_columns(add, dh, columns, width)

    deltas, total = lax.fori_loop(first, last, ask, (jnp.zeros(most, h.dtype), jnp.float32(0)))
    dh = lax.fori_loop(first, last, back, jnp.zeros_like(h))
    lr = lr + 0 * dh[0, 0]  # dh first, as in _through_all

    def met(k: Array) -> tuple[Array, Array]:
        return question(k)[0], at(deltas, k - first)

    return change_one_by_one(output, first, last, h, met, lr), dh, total


def clip_row_update(
    gradient: Float[Array, "B D"], table: Rows, lr: Array, *, loss: Loss, batch: int = 1
) -> Float[Array, "B D"]:
    """What each text's input rows meet: under "ova" and sgd so little that none moves by more than MAX_ROW_STEP.

    Forward   g min(1, MAX_ROW_STEP / (sqrt(B) |lr g|));  g itself under other losses, adagrad and adam
    Source    clipping by norm: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063

    h, the mean of a text's rows, moves as far as they do; a row named twice moves twice, and idf's shares come on top.
    A row that each of B texts of a batch names moves by the sum of what they give it over sqrt(B), see
    `train_chunk_in_batches`: it, too, goes no farther.
    """
    if loss != "ova" or table.second_moment is not None:
        return gradient
    length = jnp.sqrt(batch * (gradient**2).sum(1, keepdims=True))
    return gradient * jnp.minimum(1, MAX_ROW_STEP / (lr * length))
