"""Losses of scores: scores in, one number an example out.

These are the losses of a score for each class or each number. Losses with a margin are in `hinge`, penalties on weights
in `regularization`, losses that never hold all scores in memory in `fused_cross_entropy`.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from ..core.accumulation import index, inside, to_accumulator
from ..core.domains import below, probabilities, within
from ..core.rule import WithResiduals, rule


@rule(
    domain={"labels": {"int": below("C", padding=True), "float": probabilities}, "weights": within(0, 2)},
    example_settings=({"smoothing": 0.1},),
)
def softmax_cross_entropy(
    logits: Float[Array, "*B C"],
    labels: Int[Array, "*B"] | Float[Array, "*B C"],
    weights: Float[Array, "*B"] | None = None,
    *,
    smoothing: float = 0.0,
) -> WithResiduals[Float[Array, "*B"]]:
    """Softmax and cross-entropy in one: minus the log of the probability that the scores give the true class.

    Forward   p_c = exp(z_c) / sum_k exp(z_k),  loss = w sum_c q_c s_c,  q the targets,  s_c = -log p_c
              s_c = (m - z_c) + log sum_k exp(z_k - m),  m = max z: no overflow, no cancellation
    Backward  delta_c = p_c sum_k q_k - q_c;  with one true class: p minus its one-hot vector
              dz_c = w upstream delta_c,  dq_c = w upstream s_c,  dw = upstream sum_c q_c s_c
    Residuals delta, known as soon as the loss is; with probabilities as labels also s; with weights also w and the loss
    Source    CS231n notes, "Linear classification", https://cs231n.github.io/linear-classify/;
              smoothing: Szegedy et al. 2016, arXiv:1512.00567

    Label smoothing: q = (1 - smoothing) target + smoothing / C. A class whose logit is -inf is not there: the loss
    is that of the other classes alone, and smoothing shares among them; as the true class it makes the loss infinite.
    An example counts for nothing (loss 0, gradient 0) where its weight is 0, even if its logits are not finite; where
    its label is outside 0..C-1, conventionally -1; and where no class is there at all.

    Args:
        logits: scores (*B, C).
        labels: the true class (*B,), or a probability for each class (*B, C).
        weights: one an example; None for 1.
        smoothing: the share of the target that is spread evenly over all classes, from 0 to 1.

    Raises:
        ValueError: smoothing outside 0..1.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"softmax_cross_entropy: smoothing is {smoothing}; it is a share of the target, from 0 to 1.")
    exps, total, top = _exponentials(logits)
    there = total != 0  # else no class is; NaN is there
    total = jnp.where(there, total, 1)
    rest = jnp.log(total)[..., None]
    p, q = exps / total[..., None], _targets(labels, logits, smoothing)
    s = None
    if _one_class(labels) and smoothing == 0:  # picking one number of each row is cheaper than a sum over the row
        at = jnp.clip(index(labels), 0, logits.shape[-1] - 1)[..., None]
        loss = ((top - to_accumulator(jnp.take_along_axis(logits, at, -1))) + rest)[..., 0]
    else:
        s = _zero_where_untargeted((top - to_accumulator(logits)) + rest, q)
        loss = (q * s).sum(-1)
    counts = there & inside(labels, logits.shape[-1]) if _one_class(labels) else there
    loss, weighted = _weigh(jnp.where(counts, loss, 0), weights)
    dtype = _dtype(logits, labels, weights)
    delta = p - q if _one_class(labels) else p * q.sum(-1, keepdims=True) - q
    counts = counts if weighted is None else counts & ~_silent(*weighted)
    delta = jnp.where(counts[..., None], delta, 0).astype(dtype)
    s = None if _one_class(labels) or s is None else jnp.where(counts[..., None], s, 0).astype(dtype)
    return loss.astype(dtype), (delta, s, weighted)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(residuals, upstream, *, smoothing):
    delta, s, weighted = residuals
    share, dw = _share(upstream, weighted)
    dq = None if s is None else (1 - smoothing) * share * s
    return share * delta, dq, dw


@rule(domain={"targets": within(0, 1), "weights": within(0, 2)})
def sigmoid_cross_entropy(
    logits: Float[Array, "*B C"], targets: Float[Array, "*B C"], weights: Float[Array, "*B"] | None = None
) -> WithResiduals[Float[Array, "*B"]]:
    """Sigmoid and cross-entropy in one, summed over the classes: each class answers yes or no for itself.

    Forward   p = sigmoid(z),  loss = w sum_c (-t_c log p_c - (1 - t_c) log(1 - p_c))
              = w sum_c (d_c |z_c| + log(1 + exp(-|z_c|))),  d = 1 - t where z > 0, else t: nothing overflows or cancels
    Backward  dz = w upstream (p - t),  dt = -w upstream z,  dw = upstream sum_c (...)
    Residuals z, t; with weights also w and the loss
    Source    CS231n notes, "Neural networks 2", https://cs231n.github.io/neural-networks-2/ (attribute classification)

    A logit of +-inf is a certain answer: if the target is exactly that answer, loss and gradient of the class are 0.
    An example of weight 0 has loss 0 and gradient 0, even if its logits are not finite.

    Beside the arguments it saves a number or two an example, where autodiff saves six arrays.

    Args:
        logits: scores (*B, C).
        targets: from 0 (no) to 1 (yes), (*B, C).
        weights: one an example; None for 1.
    """
    d, size, e, _ = _likelier_answer(logits, targets)
    loss, weighted = _weigh((d * size + jnp.log1p(e)).sum(-1), weights)
    return loss.astype(_dtype(logits, targets, weights)), (logits, targets, weighted)


@sigmoid_cross_entropy.backward
def sigmoid_cross_entropy_backward(residuals, upstream):
    logits, targets, weighted = residuals
    d, size, e, yes = _likelier_answer(logits, targets)
    less = d - e / (1 + e)  # how far the target is from the likelier answer, less the probability of the other one
    delta, s = jnp.where(yes, less, -less), jnp.where(yes, -size, size)
    share, dw = _share(upstream, weighted)
    if weighted is not None:  # tested per example, not per number: cheaper
        silent = _silent(*weighted)[..., None]
        delta, s = jnp.where(silent, 0, delta), jnp.where(silent, 0, s)
    return share * delta, share * s, dw


def _likelier_answer(logits: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
    """How far each target is from the likelier answer, |z|, exp(-|z|), and whether the likelier answer is yes."""
    z, t = to_accumulator(logits), to_accumulator(targets)
    yes = z > 0
    doubt, d = jnp.where(yes, -z, z), jnp.where(yes, 1 - t, t)  # not abs: at 0 its derivative would be 0
    return d, _zero_where_untargeted(-doubt, d), jnp.exp(doubt), yes


@rule
def squared_error(prediction: Float[Array, "*B D"], target: Float[Array, "*B D"]) -> WithResiduals[Float[Array, "*B"]]:
    """Half the squared distance of prediction and target, summed over the last axis.

    Forward   e = prediction - target,  loss = 1/2 ||e||^2
    Backward  dprediction = upstream e,  dtarget = -upstream e
    Residuals e
    Source    UFLDL, http://ufldl.stanford.edu/wiki/index.php/Backpropagation_Algorithm
              With the half, the delta at a linear output is e itself
    """
    e = prediction - target
    return (0.5 * (to_accumulator(e) ** 2).sum(-1)).astype(e.dtype), e


@squared_error.backward
def squared_error_backward(e, upstream):
    delta = to_accumulator(upstream)[..., None] * e
    return delta, -delta


def _exponentials(z: Array) -> tuple[Array, Array, Array]:
    """exp(z - m), its sum, and m, the largest of each row, (*B, 1).

    m and the log of the sum are log sum exp z; added up, they would lose the digits of the second. Only of a row of
    -inf alone is the sum 0.
    """
    z = to_accumulator(z)
    top = lax.stop_gradient(z.max(-1, initial=-jnp.inf, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0)
    exps = jnp.exp(z - top)
    return exps, exps.sum(-1), top


def _one_class(labels: Array) -> bool:
    return jnp.issubdtype(labels.dtype, jnp.integer)


def _targets(labels: Array, z: Array, smoothing: float) -> Array:
    """The target of each class, (*B, C): one-hot for an integer label, smoothed over the classes that are there."""
    classes = jnp.arange(z.shape[-1])
    q = (
        to_accumulator(labels)
        if not _one_class(labels)
        else (index(labels)[..., None] == classes).astype(to_accumulator(z).dtype)
    )
    if smoothing == 0:
        return q
    there = z != -jnp.inf
    return (1 - smoothing) * q + smoothing * there / jnp.maximum(there.sum(-1, keepdims=True), 1)


def _zero_where_untargeted(s: Array, q: Array) -> Array:
    """`s`, 0 where it is infinite and its target is 0: infinity times 0 is meant to be 0."""
    return jnp.where((q == 0) & jnp.isinf(s), 0, s)


def _weigh(loss: Array, weights: Array | None) -> tuple[Array, tuple[Array, Array] | None]:
    """The weighted loss, and what its backward pass needs: the weights and the loss before."""
    if weights is None:
        return loss, None
    return to_accumulator(weights) * jnp.where(_silent(weights, loss), 0, loss), (weights, loss)


def _silent(weights: Array, loss: Array) -> Array:
    """Which examples count for nothing though their loss is not finite: those of weight 0."""
    return (weights == 0) & ~jnp.isfinite(loss)


def _share(upstream: Array, weighted: tuple[Array, Array] | None) -> tuple[Array, Array | None]:
    """The gradient at each example's loss before it is weighted, (*B, 1), and the gradient of the weights."""
    upstream = to_accumulator(upstream)
    if weighted is None:
        return upstream[..., None], None
    weights, loss = weighted
    return (upstream * weights)[..., None], upstream * jnp.where(_silent(weights, loss), 0, loss)


def _dtype(logits: Array, labels: Array, weights: Array | None):
    floating = [x for x in (logits, labels, weights) if x is not None and jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.result_type(*floating)
