"""One step of a bag-of-words classifier on some texts at once, from hand-derived deltas: only touched rows are written.

A building block for people's own training loops, and the step that batched.py repeats.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from ...losses.logistic import logistic_loss_and_delta
from .losses import score_deltas, through_scores
from .tables import Rows, Tables, change_all_rows, change_rows, take_rows

EXACTLY = jax.lax.Precision.HIGHEST


class BinaryTargets(NamedTuple):
    """A binary target at some output rows of each text: the nodes of a path, or a label and its negative samples.

    Attributes:
        rows: (B, K) rows of the output table; one outside it, by custom -1, counts for nothing.
        yes: (B, K) the target at each, 1 or 0.
    """

    rows: Int[Array, "B K"]
    yes: Float[Array, "B K"]


BatchTargets = Int[Array, " B"] | Float[Array, "B C"] | BinaryTargets


@partial(jax.jit, static_argnames=("smoothing", "scaled"), donate_argnums=0)
def sparse_step(
    tables: Tables,
    ids: Int[Array, "B L"],
    targets: Int[Array, " B"] | Float[Array, "B C"] | BinaryTargets,
    lr: Float[Array, ""],
    *,
    smoothing: float = 0.0,
    scaled: bool = False,
) -> tuple[Tables, Float[Array, " B"]]:
    """Embedding bag, linear scores, loss and update in one: what `jax.grad` would do to all rows, done to a few.

    Forward   h = 1/L sum_l input[id_l],  L the rows a text has
              softmax (targets a label a text)   z = output h,  loss = -log softmax(z)_label
              one against all (targets (B, C))   z = output h,  loss = -sum_c t log sigmoid(z) + (1 - t) log sigmoid(-z)
              BinaryTargets (a tree, or samples)     z_k = output[row_k] . h,  loss = -sum_k log sigmoid(z_k), or (-z_k)
    Backward  delta arrives at the scores: softmax(z) - onehot(label), or sigmoid(z) - t
              output row c: delta_c h
              dh = sum_c delta_c output[c]
              each input row: dh / L; a row named twice receives it twice (a fork adds)
    Update    row -= lr g, or by adagrad or adam, as `tables` were made; no other row is read or written, no array as
              large as the table is formed, and the tables' memory is used again: they are donated
    Source    Joulin, Grave, Bojanowski, Mikolov 2016, arXiv:1607.01759; fastText 0.9.2, model.cc

    The sum of many texts' gradients on a row that most of them name is a step too long. `scaled` divides the change of
    an input row by the square root of how often the texts name it, so that learning rates meant for one text at a time
    hold at some hundred texts a step; the output rows take the whole sum. sgd only; adagrad and adam divide by their
    second moment. experiments/batch_exponents.py measures it.

    Args:
        tables: `Tables(init_slots(input, "sgd"), init_slots(output, "sgd"))`; donated.
        ids: rows of the input table, padded with ids outside it, by custom -1; a text without any changes nothing.
        targets: a label a text; or one number from 0 to 1 a text and class; or BinaryTargets.
        lr: the learning rate.
        smoothing: share of the target spread over all labels (softmax).
        scaled: whether a row's change is divided as above.

    Returns:
        The tables after the step, and each text's loss before it.

    >>> import jax.numpy as jnp
    >>> tables = Tables(Rows(jnp.array([[1.0], [3.0], [5.0]])), Rows(jnp.zeros((2, 1))))
    >>> tables, loss = sparse_step(tables, jnp.array([[0, 1]]), jnp.array([1]), jnp.float32(1))
    >>> tables.output.rows.tolist()  # h = 2, delta = (1/2, -1/2)
    [[-1.0], [1.0]]
    """
    texts, length = ids.shape
    flat, text = ids.ravel(), jnp.repeat(jnp.arange(texts), length)
    present = (flat >= 0) & (flat < tables.input.rows.shape[0])
    flat = jnp.where(present, flat, tables.input.rows.shape[0])
    lengths = jnp.zeros(texts, jnp.float32).at[text].add(present)
    taken = take_rows(tables.input.rows, flat).reshape(texts, length, -1).sum(1)
    h = taken / jnp.maximum(lengths, 1)[:, None]
    counts = (lengths > 0).astype(jnp.float32)
    output, dh, loss = through_output(tables.output, h, targets, counts, lr, smoothing=smoothing)
    gradients = (dh / jnp.maximum(lengths, 1)[:, None])[text]
    learning_rate_scale = None
    if scaled:
        ordered = jnp.sort(flat)
        times = jnp.searchsorted(ordered, flat, side="right") - jnp.searchsorted(ordered, flat, side="left")
        learning_rate_scale = jax.lax.rsqrt(times.astype(jnp.float32))
    return Tables(change_rows(tables.input, flat, gradients, lr, learning_rate_scale=learning_rate_scale), output), loss


def through_output(
    output: Rows, h: Array, targets: BatchTargets, counts: Array, lr: Array, *, smoothing: float
) -> tuple[Rows, Float[Array, "B D"], Float[Array, " B"]]:
    """The output table after one step on the hidden vectors h (B, D), dh, and each text's loss.

    `counts` (B,) is how much each text counts: 1, or 0 for one that changes nothing.
    """
    if isinstance(targets, BinaryTargets):
        return _through_binary_targets(output, h, targets, counts, lr)
    z = jnp.matmul(h, output.rows.T, precision=EXACTLY)
    loss, delta = score_deltas(z, targets, smoothing=smoothing)
    dh, dW = through_scores(delta * counts[:, None], h, output.rows)
    return change_all_rows(output, dW, lr), dh, loss * counts


def _through_binary_targets(output: Rows, h: Array, targets: BinaryTargets, counts: Array, lr: Array):
    """See `losses.hierarchical_softmax` and `losses.negative_sampling`: the same, without a gradient of all rows."""
    inside = (targets.rows >= 0) & (targets.rows < output.rows.shape[0])
    ids = jnp.where(inside, targets.rows, output.rows.shape[0])
    W = take_rows(output.rows, ids)  # (B, K, D)
    loss, delta = logistic_loss_and_delta((W * h[:, None]).sum(-1), targets.yes)
    delta = jnp.where(inside, delta, 0) * counts[:, None]
    dh = (delta[..., None] * W).sum(1)
    gradients = (delta[..., None] * h[:, None]).reshape(-1, h.shape[1])
    return change_rows(output, ids.ravel(), gradients, lr), dh, jnp.where(inside, loss, 0).sum(1) * counts
