"""Losses of many classes that look at only a few of them: the nodes on a path, or some samples.

These losses read, and their backward passes write, only the rows of the table that an example names. A rule's
gradient is as large as its table all the same; a train step that never forms it adds each row's delta to its row.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from ..core.accumulation import accumulator_dtype, index, inside, to_accumulator
from ..core.domains import Domain, below
from ..core.rule import WithResiduals, rule
from .logistic import logistic_loss_and_delta

bit = Domain("0 or 1", lambda rng, shape, _: rng.integers(0, 2, shape))


@rule(domain={"path": below("N", padding=True), "codes": bit})
def hierarchical_softmax(
    h: Float[Array, "*B D"], nodes: Float[Array, "N D"], path: Int[Array, "*B L"], codes: Int[Array, "*B L"]
) -> WithResiduals[Float[Array, "*B"]]:
    """Minus the log probability of a class at a leaf of a binary tree: a yes or no at each inner node, by its row.

    Forward   z_l = h . nodes[path_l],  loss = sum_l -log sigmoid(z_l) where the code is 1, -log sigmoid(-z_l) where 0
    Backward  delta_l = upstream (sigmoid(z_l) - code_l) arrives at z_l, a logistic regression at each node
              dh = sum_l delta_l nodes[path_l],  dnodes[path_l] += delta_l h
    Residuals h, nodes, path, sigmoid(z) - code: no other row is read, none else is written
    Source    Morin, Bengio 2005, https://proceedings.mlr.press/r5/morin05a.html; fastText's loss hs, whose code 1 is
              the second child

    The classes' probabilities sum to 1 without ever being computed: log C rows an example instead of C.

    Args:
        h: examples (*B, D).
        nodes: one row an inner node (N, D).
        path: the inner nodes from the root to the class, padded with ids outside 0..N-1, which count for nothing.
        codes: 0 or 1 at each of them.
    """
    loss, wrong = _yes_or_no(_products(h, nodes, path), path, codes, nodes)
    return loss.astype(_dtype(h, nodes)), (h, nodes, path, wrong)


@hierarchical_softmax.backward
def hierarchical_softmax_backward(residuals, upstream):
    h, nodes, path, wrong = residuals
    return _through_rows(h, nodes, path, to_accumulator(upstream)[..., None] * wrong)


@rule(domain={"label": below("V", padding=True), "samples": below("V", padding=True)})
def negative_sampling(
    h: Float[Array, "*B D"], W: Float[Array, "V D"], label: Int[Array, "*B"], samples: Int[Array, "*B K"]
) -> WithResiduals[Float[Array, "*B"]]:
    """Tell the true class from some drawn at random: a yes to the one, a no to each of the others.

    Forward   z = h . W[id] for the label and each sample,  loss = -log sigmoid(z_label) - sum_k log sigmoid(-z_k)
    Backward  delta = upstream (sigmoid(z) - 1) at the label, upstream sigmoid(z) at a sample
              dh = sum delta W[id],  dW[id] += delta h
    Residuals h, W, label, samples, sigmoid(z) - yes: no other row is read, none else is written
    Source    Mikolov, Sutskever, Chen, Corrado, Dean 2013, arXiv:1310.4546

    A class drawn twice counts twice, and the label among the samples counts as a sample: that is up to the sampler.

    Args:
        h: examples (*B, D).
        W: one row a class (V, D).
        label: the true class (*B,).
        samples: the others (*B, K); an id outside 0..V-1, conventionally -1, counts for nothing, the label's too.
    """
    ids, yes = _label_first(label, samples)
    loss, wrong = _yes_or_no(_products(h, W, ids), ids, yes, W)
    return loss.astype(_dtype(h, W)), (h, W, label, samples, wrong)


@negative_sampling.backward
def negative_sampling_backward(residuals, upstream):
    h, W, label, samples, wrong = residuals
    ids, _ = _label_first(label, samples)
    return _through_rows(h, W, ids, to_accumulator(upstream)[..., None] * wrong)


def _label_first(label: Array, samples: Array) -> tuple[Array, Array]:
    """The ids that an example uses, and which of them has the target yes."""
    ids = jnp.concatenate([index(label)[..., None], index(samples)], -1)
    return ids, jnp.zeros(ids.shape, jnp.int32).at[..., 0].set(1)


def _products(h: Array, table: Array, ids: Array) -> Array:
    """The product of each example with each of its rows, (*B, L), in the accumulator type."""
    return jnp.einsum("...d,...ld->...l", to_accumulator(h), _rows(table, ids), precision=lax.Precision.HIGHEST)


def _rows(table: Array, ids: Array) -> Array:
    """The rows named, zeros for padding."""
    return to_accumulator(table.at[index(ids)].get(mode="fill", fill_value=0, wrap_negative_indices=False))


def _yes_or_no(z: Array, ids: Array, yes: Array, table: Array) -> tuple[Array, Array]:
    """The logistic loss summed over an example's rows, and sigmoid(z) - yes of each row; padding has 0."""
    counts = inside(ids, table.shape[0])
    loss, wrong = logistic_loss_and_delta(jnp.where(counts, z, 0), yes)
    return jnp.where(counts, loss, 0).sum(-1), jnp.where(counts, wrong, 0)


def _through_rows(h: Array, table: Array, ids: Array, delta: Array):
    """dh, dtable and nothing for the integers."""
    dh = jnp.einsum("...l,...ld->...d", delta, _rows(table, ids), precision=lax.Precision.HIGHEST)
    zeros = jnp.zeros(table.shape, accumulator_dtype(table.dtype))
    each = delta[..., None] * to_accumulator(h)[..., None, :]
    return dh, zeros.at[index(ids)].add(each, mode="drop", wrap_negative_indices=False)


def _dtype(h: Array, table: Array):
    return jnp.result_type(h, table)
