"""Scores of many classes and their cross-entropy in one: the scores are never all there at the same time.

These losses see every class, a chunk at a time. Those that see only some classes are in `sampled_softmax`.
"""

import jax
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
from ..core.vmap_dependence import to_common_axes


def _plain(x, W, labels, b=None, *, at_once=0, z_loss=0.0, soft_cap=None, axis_name=None):
    """The loss of each example with all scores in memory: what autodiff differentiates."""
    z = _scores(x, W, b, soft_cap)
    top = lax.stop_gradient(_finite(z.max(-1, initial=-jnp.inf)))
    rest = jnp.log(jnp.exp(z - top[..., None]).sum(-1))
    at = jnp.clip(index(labels), 0, W.shape[1] - 1)[..., None]
    loss = _with_z_loss((top - jnp.take_along_axis(z, at, -1)[..., 0]) + rest, top + rest, z_loss)
    return jnp.where(inside(labels, W.shape[1]) & (rest != -jnp.inf), loss, 0).astype(_dtype(x, W, b))


def _plain_mean(x, W, labels, b=None, *, at_once=0, z_loss=0.0, soft_cap=None, axis_name=None):
    total = _plain(x, W, labels, b, z_loss=z_loss, soft_cap=soft_cap).sum()
    return total / jnp.maximum(inside(labels, W.shape[1]).sum(), 1)


@rule(
    domain={"labels": below("C", padding=True)},
    example_settings=({"at_once": 12, "z_loss": 0.1, "soft_cap": 2.0}, {"at_once": 1}),
    reference=_plain,
)
def linear_cross_entropy(
    x: Float[Array, "*B D"],
    W: Float[Array, "D C"],
    labels: Int[Array, "*B"],
    b: Float[Array, " C"] | None = None,
    *,
    at_once: int = 2**21,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
    axis_name: str | None = None,
) -> WithResiduals[Float[Array, "*B"]]:
    """Linear layer, softmax and cross-entropy as one, a chunk of classes at a time.

    Forward   z = x W + b,  or with a soft cap  z = soft_cap tanh((x W + b) / soft_cap)
              loss = -log p_label + z_loss l^2,  p_c = exp(z_c - m) / s,  m = max z,  s = sum_k exp(z_k - m),
              l = log sum_k exp(z_k) = m + log s
              m and s run along: a chunk with a larger maximum m' turns s into s exp(m - m') + sum exp(z - m')
    Backward  delta = upstream (p (1 + 2 z_loss l) - one-hot label) arrives at z, chunk by chunk, z computed again;
              with a soft cap it goes on to x W + b as delta (1 - (z / soft_cap)^2)
              dx = sum over chunks delta W^T,  dW = x^T delta,  db = sum_B delta
    Residuals x, W, b, labels, and m and log s of each example, m infinite where it counts for nothing; no score
    Source    Milakov, Gimelshein 2018, arXiv:1805.02867 (m and s run along); Wijmans et al. 2024, arXiv:2411.09009;
              Chowdhery et al. 2022, arXiv:2204.02311 (z-loss); Gemma Team 2024, arXiv:2408.00118 (soft cap)

    Four products where autodiff does three, but none of its passes over all scores: faster with few features, a little
    slower where some hundreds make the products nearly all of the time; right to have for its memory, a fiftieth of
    autodiff's (`scripts/bench`). The less memory it takes the more chunks it has: `at_once` is for the device's cache.
    On accelerators delta is rounded to the type of x and W before it is multiplied with them.
    As in `softmax_cross_entropy`, an example whose label is no class, conventionally -1, counts for nothing, and
    without a soft cap a class of score -inf is not there.

    Under `jax.shard_map` the classes may be split over devices: each has its columns of W and b, and all have the
    examples. Three numbers an example go between the devices, and dx is summed over them.

    Args:
        x: examples (*B, D).
        W: weights (D, C).
        labels: the true class (*B,).
        b: bias (C,), or None.
        at_once: about how many scores there are at a time; at least one class's.
        z_loss: how much of l^2 is added, so that l stays near 0.
        soft_cap: the scores are kept between -soft_cap and soft_cap; None for no such bound.
        axis_name: the axis of the mesh over which the classes are split; None where every device has all of them.
    """
    rows, size = x.reshape(-1, x.shape[-1]), W.shape[1]
    chosen = _in_shard(labels, size, axis_name)
    width, chunks = _cut(size, at_once // max(len(rows), 1))

    def add(carry, start, width):
        m, s, z_label = carry
        z = _scores(rows, *_columns(W, b, start, width), soft_cap)
        larger = lax.stop_gradient(jnp.maximum(m, z.max(-1, initial=-jnp.inf)))
        s = s * jnp.exp(m - _finite(larger)) + jnp.exp(z - _finite(larger)[:, None]).sum(-1)
        here, at = inside(chosen - start, width), jnp.clip(chosen - start, 0, width - 1)
        return larger, s, jnp.where(here, jnp.take_along_axis(z, at[:, None], -1)[:, 0], z_label)

    zero = _varying(jnp.zeros(len(rows), accumulator_dtype(_dtype(x, W, b))), x, W)
    m, s, z_label = _along(add, (zero - jnp.inf, zero, zero), size, width, chunks)
    top = _finite(_largest(m, axis_name))
    rest = jnp.log(_total(s if axis_name is None else s * jnp.exp(m - top), axis_name))
    counts = (_total(inside(chosen, size), axis_name) > 0) & (rest != -jnp.inf)
    loss = _with_z_loss((top - _total(z_label, axis_name)) + rest, top + rest, z_loss)
    loss = jnp.where(counts, loss, 0).astype(_dtype(x, W, b))
    return loss.reshape(labels.shape), (x, W, labels, b, jnp.where(counts, top, jnp.inf), rest)


@linear_cross_entropy.backward
def linear_cross_entropy_backward(residuals, upstream, *, at_once, z_loss, soft_cap, axis_name):
    x, W, labels, b, top, rest = residuals
    counts = jnp.isfinite(top)
    top = jnp.where(counts, top, 0)
    rows, size = x.reshape(-1, x.shape[-1]), W.shape[1]
    chosen = _in_shard(labels, size, axis_name)
    upstream = to_accumulator(_to_all_shards(upstream, W, axis_name)).reshape(-1)
    share = jnp.where(counts, upstream, 0)[:, None]
    of_p = _factor_of_p((top + rest)[:, None], z_loss)
    width, chunks = _cut(size, at_once // max(len(rows), 1))

    def add(carry, start, width):
        dx, dW, db = carry
        part, part_of_b = _columns(W, b, start, width)
        z = _scores(rows, part, part_of_b, soft_cap)
        hot = chosen[:, None] == start + jnp.arange(width)
        p = jnp.exp((z - top[:, None]) - rest[:, None])
        delta = _before_cap(share * (jnp.where(share == 0, 0, of_p * p) - hot), z, soft_cap)
        low = narrowed(delta, _dtype(x, W))
        dx = dx + matmul_accumulating(low, part.T)
        dW = lax.dynamic_update_slice_in_dim(dW, outer_sum(rows, low).astype(W.dtype), start, 1)
        db = lax.dynamic_update_slice_in_dim(db, leading_sum(delta), start, 0)
        return dx, dW, db

    zero = to_accumulator(jnp.zeros_like(rows)), jnp.zeros_like(W), jnp.zeros(size, share.dtype)
    dx, dW, db = _along(add, tuple(_varying(z, x, W) for z in zero), size, width, chunks)
    return dx.reshape(x.shape), dW, None if b is None else db


@rule(
    domain={"labels": below("C", padding=True)},
    example_settings=({"at_once": 14, "z_loss": 0.1, "soft_cap": 2.0}, {"at_once": 1}),
    reference=_plain_mean,
)
def mean_linear_cross_entropy(
    x: Float[Array, "*B D"],
    W: Float[Array, "D C"],
    labels: Int[Array, "*B"],
    b: Float[Array, " C"] | None = None,
    *,
    at_once: int = 2**22,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
    axis_name: str | None = None,
) -> WithResiduals[Float[Array, ""]]:
    """The mean of `linear_cross_entropy` over all examples, its gradient found on the way forward.

    Forward   z = x W + b,  p = softmax z,  loss = 1/N sum_B -log p_label, N the examples whose label is a class;
              z-loss and soft cap as there
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
        z_loss: as in `linear_cross_entropy`, like the others.
        soft_cap: None for none.
        axis_name: None where every device has all classes.
    """
    rows, size = x.reshape(-1, x.shape[-1]), W.shape[1]
    chosen = _in_shard(labels, size, axis_name)
    dtype, low = accumulator_dtype(_dtype(x, W, b)), _dtype(x, W)
    scale = 1 / jnp.maximum(_total(inside(chosen, size), axis_name).sum(), 1).astype(dtype)
    height, chunks = _cut(len(rows), at_once // max(size, 1))

    def add(carry, start, height):
        loss, dx, dW, db = carry
        part = lax.dynamic_slice_in_dim(rows, start, height)
        label = lax.dynamic_slice_in_dim(chosen, start, height)[:, None]
        z = _scores(part, W, b, soft_cap)
        top = _finite(_largest(z.max(-1, keepdims=True, initial=-jnp.inf), axis_name))
        e = jnp.exp(z - top)
        s = _total(e.sum(-1, keepdims=True), axis_name)
        here, at = inside(label, size), jnp.clip(label, 0, size - 1)
        z_label = _total(jnp.where(here, jnp.take_along_axis(z, at, -1), 0), axis_name)
        counts = (_total(here, axis_name) > 0) & (s != 0)
        log_sum = top + jnp.log(s)
        each = _with_z_loss((top - z_label) + jnp.log(s), log_sum, z_loss)
        p = e / jnp.where(counts, s, 1)
        delta = jnp.where(counts, _factor_of_p(log_sum, z_loss) * p - (label == jnp.arange(size)), 0)
        delta = scale * _before_cap(delta, z, soft_cap)
        dx_part = matmul_accumulating(narrowed(delta, low), W.T).astype(x.dtype)
        dW = dW + matmul_accumulating(part.T, narrowed(delta, low))
        dx = lax.dynamic_update_slice_in_dim(dx, dx_part, start, 0)
        return loss + scale * jnp.where(counts, each, 0).sum(), dx, dW, db + leading_sum(delta)

    zero = jnp.zeros((), dtype), jnp.zeros_like(rows), jnp.zeros(W.shape, dtype), jnp.zeros(size, dtype)
    zero_loss, *zeros = (_varying(z, x, W) for z in zero)
    loss, dx, dW, db = _along(add, (_total(zero_loss, axis_name), *zeros), len(rows), height, chunks)
    residuals = dx.reshape(x.shape), dW.astype(W.dtype), None if b is None else db.astype(b.dtype)
    return loss.astype(_dtype(x, W, b)), residuals


@mean_linear_cross_entropy.backward
def mean_linear_cross_entropy_backward(residuals, upstream, *, axis_name):
    upstream = to_accumulator(_to_all_shards(upstream, residuals[1], axis_name))
    return tuple(None if gradient is None else upstream * gradient for gradient in residuals)


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


def _scores(x: Array, W: Array, b: Array | None, soft_cap: float | None) -> Array:
    """x W + b in the accumulator type, not rounded: the softmax is next."""
    z = matmul_accumulating(x, W)
    z = z if b is None else z + to_accumulator(b)
    return z if soft_cap is None else soft_cap * jnp.tanh(z / soft_cap)


def _before_cap(delta: Array, z: Array, soft_cap: float | None) -> Array:
    """The gradient at x W + b from the one at the scores."""
    return delta if soft_cap is None else delta * ((1 - z / soft_cap) * (1 + z / soft_cap))


def _with_z_loss(loss: Array, log_sum: Array, z_loss: float) -> Array:
    return loss + z_loss * log_sum**2 if z_loss else loss


def _factor_of_p(log_sum: Array, z_loss: float) -> Array | float:
    return 1 + 2 * z_loss * log_sum if z_loss else 1.0


def _finite(m: Array) -> Array:
    """`m`, 0 where there was nothing to take the maximum of."""
    return jnp.where(jnp.isfinite(m), m, 0)


def _in_shard(labels: Array, size: int, axis_name: str | None) -> Array:
    """The labels in one row, counted from the first class that this device has."""
    labels = index(labels).reshape(-1)
    return labels if axis_name is None else labels - size * lax.axis_index(axis_name)


def _largest(m: Array, axis_name: str | None) -> Array:
    m = lax.stop_gradient(m)
    return m if axis_name is None else lax.pmax(m, axis_name)


def _total(x: Array, axis_name: str | None) -> Array:
    """`x` summed over the devices that share out the classes; that is the same on each of them."""
    return x if axis_name is None else lax.psum(x.astype(jnp.int32) if x.dtype == bool else x, axis_name)


def _to_all_shards(upstream: Array, W: Array, axis_name: str | None) -> Array:
    """The gradient at each device's term of `_total`: JAX's transpose of the sum, with `check_vma` and without."""
    if axis_name is None:
        return upstream
    return jax.vjp(lambda x: lax.psum(x, axis_name), _varying(jnp.zeros_like(upstream), W))[1](upstream)[0]


def _varying(x: Array, *others: Array) -> Array:
    """`x`, under `jax.shard_map` counted as differing over the devices as the others do."""
    return to_common_axes((x, others))[0]


def _dtype(*arrays: Array | None):
    return jnp.result_type(*(x for x in arrays if x is not None))
