"""Scores of many classes and their cross-entropy in one: the scores are never all there at the same time.

These losses see every class, a chunk at a time. Those that see only some classes are in `sampled_softmax`.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from ..core.accumulation import (
    accumulator_dtype,
    index,
    inside,
    leading_sum,
    matmul_accumulating,
    narrowed,
    outer_sum,
    to_accumulator,
)
from ..core.domains import below
from ..core.rule import WithResiduals, rule


def _plain(x, W, labels, b=None, *, at_once=0):
    """The loss of each example with all scores in memory: what autodiff differentiates."""
    z = _scores(x, W, b)
    top = lax.stop_gradient(_finite(z.max(-1, initial=-jnp.inf)))
    rest = jnp.log(jnp.exp(z - top[..., None]).sum(-1))
    at = jnp.clip(index(labels), 0, W.shape[1] - 1)[..., None]
    loss = (top - jnp.take_along_axis(z, at, -1)[..., 0]) + rest
    return jnp.where(_counts(labels, W, rest), loss, 0).astype(_dtype(x, W, b))


def _plain_mean(x, W, labels, b=None, *, at_once=0):
    return _plain(x, W, labels, b).sum() / jnp.maximum(inside(labels, W.shape[1]).sum(), 1)


@rule(domain={"labels": below("C", padding=True)}, example_settings=({"at_once": 12}, {"at_once": 1}), reference=_plain)
def linear_cross_entropy(
    x: Float[Array, "*B D"],
    W: Float[Array, "D C"],
    labels: Int[Array, "*B"],
    b: Float[Array, " C"] | None = None,
    *,
    at_once: int = 2**21,
) -> WithResiduals[Float[Array, "*B"]]:
    """Linear layer, softmax and cross-entropy as one, a chunk of classes at a time.

    Forward   z = x W + b,  loss = -log p_label,  p_c = exp(z_c - m) / s,  m = max z,  s = sum_k exp(z_k - m)
              m and s run along: a chunk with a larger maximum m' turns s into s exp(m - m') + sum exp(z - m')
    Backward  delta = upstream (p - one-hot label) arrives at z, chunk by chunk, z computed again:
              dx = sum over chunks delta W^T,  dW = x^T delta,  db = sum_B delta
    Residuals x, W, b, labels, and m and log s of each example; no score
    Source    Milakov, Gimelshein 2018, arXiv:1805.02867 (m and s run along); Wijmans et al. 2024, arXiv:2411.09009

    Four products where autodiff does three, but none of its passes over all scores: faster with few features, a little
    slower where some hundreds make the products nearly all of the time; right to have for its memory, a fiftieth of
    autodiff's (`scripts/bench`). The less memory it takes the more chunks it has: `at_once` is for the device's cache.
    On accelerators delta is rounded to the type of x and W before it is multiplied with them.
    As in `softmax_cross_entropy`, an example whose label is no class, conventionally -1, counts for nothing, and a
    class of score -inf is not there.

    Args:
        x: examples (*B, D).
        W: weights (D, C).
        labels: the true class (*B,).
        b: bias (C,), or None.
        at_once: about how many scores there are at a time; at least one class's.
    """
    rows, size = x.reshape(-1, x.shape[-1]), W.shape[1]
    chosen = index(labels).reshape(-1)
    width, chunks = _cut(size, at_once // max(len(rows), 1))

    def add(carry, start, width):
        m, s, z_label = carry
        z = _scores(rows, *_columns(W, b, start, width))
        larger = lax.stop_gradient(jnp.maximum(m, z.max(-1, initial=-jnp.inf)))
        s = s * jnp.exp(m - _finite(larger)) + jnp.exp(z - _finite(larger)[:, None]).sum(-1)
        here, at = inside(chosen - start, width), jnp.clip(chosen - start, 0, width - 1)
        return larger, s, jnp.where(here, jnp.take_along_axis(z, at[:, None], -1)[:, 0], z_label)

    zero = jnp.zeros(len(rows), accumulator_dtype(_dtype(x, W, b)))
    carry = _along(add, (zero - jnp.inf, zero, zero), size, width, chunks)
    top, rest = _finite(carry[0]), jnp.log(carry[1])
    loss = jnp.where(_counts(chosen, W, rest), (top - carry[2]) + rest, 0).astype(_dtype(x, W, b))
    return loss.reshape(labels.shape), (x, W, labels, b, top, rest)


@linear_cross_entropy.backward
def linear_cross_entropy_backward(residuals, upstream, *, at_once):
    x, W, labels, b, top, rest = residuals
    rows, size = x.reshape(-1, x.shape[-1]), W.shape[1]
    chosen = index(labels).reshape(-1)
    share = jnp.where(_counts(chosen, W, rest), to_accumulator(upstream).reshape(-1), 0)[:, None]
    width, chunks = _cut(size, at_once // max(len(rows), 1))

    def add(carry, start, width):
        dx, dW, db = carry
        part, part_of_b = _columns(W, b, start, width)
        z = _scores(rows, part, part_of_b)
        hot = chosen[:, None] == start + jnp.arange(width)
        delta = share * (jnp.where(share == 0, 0, jnp.exp((z - top[:, None]) - rest[:, None])) - hot)
        low = narrowed(delta, _dtype(x, W))
        dx = dx + matmul_accumulating(low, part.T)
        dW = lax.dynamic_update_slice_in_dim(dW, outer_sum(rows, low).astype(W.dtype), start, 1)
        db = lax.dynamic_update_slice_in_dim(db, leading_sum(delta), start, 0)
        return dx, dW, db

    zero = to_accumulator(jnp.zeros_like(rows)), jnp.zeros_like(W), jnp.zeros(size, share.dtype)
    dx, dW, db = _along(add, zero, size, width, chunks)
    return dx.reshape(x.shape), dW, None if b is None else db


@rule(
    domain={"labels": below("C", padding=True)},
    example_settings=({"at_once": 14}, {"at_once": 1}),
    reference=_plain_mean,
)
def mean_linear_cross_entropy(
    x: Float[Array, "*B D"],
    W: Float[Array, "D C"],
    labels: Int[Array, "*B"],
    b: Float[Array, " C"] | None = None,
    *,
    at_once: int = 2**22,
) -> WithResiduals[Float[Array, ""]]:
    """The mean of `linear_cross_entropy` over all examples, its gradient found on the way forward.

    Forward   z = x W + b,  p = softmax z,  loss = 1/N sum_B -log p_label, N the examples whose label is a class
    Backward  delta = (p - one-hot label) / N is known as soon as the scores of an example are: one number arrives from
              above, and the gradients wait to be multiplied by it.
              dx = upstream delta W^T,  dW = upstream x^T delta,  db = upstream sum_B delta
    Residuals the gradients at upstream 1: as many numbers as x, W and b have
    Source    Hsu et al. 2024, arXiv:2410.10989 (Liger kernels: the gradient in the forward pass)

    Three products, as in autodiff, and no score is stored: the fastest of the three ways, if only by little where some
    hundreds of features make the products nearly all of the time. It works on a chunk of examples at a time, and adds
    up dW chunk by chunk: few, large chunks are faster. Called without being differentiated it computes the loss alone.

    Args:
        x: examples (*B, D).
        W: weights (D, C).
        labels: the true class (*B,); another number, conventionally -1, where an example counts for nothing.
        b: bias (C,), or None.
        at_once: about how many scores there are at a time; at least one example's.
    """
    rows, chosen, size = x.reshape(-1, x.shape[-1]), index(labels).reshape(-1), W.shape[1]
    dtype, low = accumulator_dtype(_dtype(x, W, b)), _dtype(x, W)
    scale = 1 / jnp.maximum(inside(chosen, size).sum(), 1).astype(dtype)
    height, chunks = _cut(len(rows), at_once // max(size, 1))

    def add(carry, start, height):
        loss, dx, dW, db = carry
        part = lax.dynamic_slice_in_dim(rows, start, height)
        label = lax.dynamic_slice_in_dim(chosen, start, height)
        z = _scores(part, W, b)
        top = lax.stop_gradient(_finite(z.max(-1, keepdims=True, initial=-jnp.inf)))
        e = jnp.exp(z - top)
        s = e.sum(-1, keepdims=True)
        at = jnp.clip(label, 0, size - 1)[:, None]
        each = (top - jnp.take_along_axis(z, at, -1)) + jnp.log(s)
        counts = _counts(label, W, jnp.log(s)[:, 0])[:, None]
        delta = scale * jnp.where(counts, e / jnp.where(counts, s, 1) - (label[:, None] == jnp.arange(size)), 0)
        dx_part = matmul_accumulating(narrowed(delta, low), W.T).astype(x.dtype)
        dW = dW + matmul_accumulating(part.T, narrowed(delta, low))
        dx = lax.dynamic_update_slice_in_dim(dx, dx_part, start, 0)
        return loss + scale * jnp.where(counts, each, 0).sum(), dx, dW, db + leading_sum(delta)

    zero = jnp.zeros((), dtype), jnp.zeros_like(rows), jnp.zeros(W.shape, dtype), jnp.zeros(size, dtype)
    loss, dx, dW, db = _along(add, zero, len(rows), height, chunks)
    residuals = dx.reshape(x.shape), dW.astype(W.dtype), None if b is None else db.astype(b.dtype)
    return loss.astype(_dtype(x, W, b)), residuals


@mean_linear_cross_entropy.backward
def mean_linear_cross_entropy_backward(residuals, upstream):
    return tuple(None if gradient is None else to_accumulator(upstream) * gradient for gradient in residuals)


def _cut(size: int, at_most: int) -> tuple[int, int]:
    """The length of a chunk, at most `at_most`, and how many whole ones fit; the rest is one more, shorter.

    As even as can be: a shorter chunk is compiled separately and prevents writing in place.
    """
    length = max(1, -(-size // max(1, -(-size // max(at_most, 1)))))
    return length, size // length


def _along(add, carry, size: int, length: int, chunks: int):
    """`carry` after add(carry, start, length) for every chunk; the shorter last one is compiled separately."""
    if chunks == 1:
        carry = add(carry, 0, length)
    elif chunks > 1:
        carry, _ = lax.scan(lambda c, k: (add(c, k * length, length), None), carry, jnp.arange(chunks))
    return add(carry, chunks * length, size - chunks * length) if size > chunks * length else carry


def _columns(W: Array, b: Array | None, start, width: int) -> tuple[Array, Array | None]:
    part = lax.dynamic_slice_in_dim(W, start, width, 1)
    return part, None if b is None else lax.dynamic_slice_in_dim(b, start, width)


def _scores(x: Array, W: Array, b: Array | None) -> Array:
    """x W + b in the accumulator type, not rounded: the softmax is next."""
    z = matmul_accumulating(x, W)
    return z if b is None else z + to_accumulator(b)


def _finite(m: Array) -> Array:
    """`m`, 0 where there was nothing to take the maximum of."""
    return jnp.where(jnp.isfinite(m), m, 0)


def _counts(labels: Array, W: Array, rest: Array) -> Array:
    """Whether an example's label names a class, and there is one at all."""
    return inside(labels, W.shape[1]) & (rest != -jnp.inf)


def _dtype(*arrays: Array | None):
    return jnp.result_type(*(x for x in arrays if x is not None))
