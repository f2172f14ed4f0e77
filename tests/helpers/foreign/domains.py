"""Functions with a meaning at some arguments only: knots in order, labels in range, matrices of one kind, sizes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy import special

from .entry import Foreign, normal, of_arguments

Array = Any


def soft_clip(x: Array, s: Array) -> Array:
    return s * jnp.tanh(x / s)


def soft_clip_backward(kept: Any, u: Array) -> Any:
    x, s = kept
    t = jnp.tanh(x / s)
    slope = 1 - t * t
    return u * slope, (u * (t - x / s * slope)).sum()


def interpolate(x: Array, knots: Array, values: Array) -> Array:
    i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    t = (x - knots[i]) / (knots[i + 1] - knots[i])
    return (1 - t) * values[i] + t * values[i + 1]


def interpolate_backward(kept: Any, u: Array) -> Any:
    x, knots, values = kept
    i = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
    width = knots[i + 1] - knots[i]
    t, slope = (x - knots[i]) / width, (values[i + 1] - values[i]) / width
    dknots = jnp.zeros_like(knots).at[i].add(-u * slope * (1 - t)).at[i + 1].add(-u * slope * t)
    return u * slope, dknots, jnp.zeros_like(values).at[i].add(u * (1 - t)).at[i + 1].add(u * t)


def cross_entropy(z: Array, label: Array) -> Array:
    return jax.nn.logsumexp(z) - z[label]


def cross_entropy_backward(kept: Any, u: Array) -> Any:
    z, label = kept
    return (u * (jax.nn.softmax(z) - jax.nn.one_hot(label, z.size, dtype=z.dtype)), None)


def kl(p: Array, q: Array) -> Array:
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)))


def kl_of_distributions_backward(kept: Any, u: Array) -> Any:
    p, q = kept
    return u * (jnp.log(p / q) + 1), -u * p / q


def geodesic(q: Array, r: Array) -> Array:
    """The angle between two unit quaternions."""
    return 2 * jnp.arccos(jnp.abs(q @ r))


def beta_log(a: Array, b: Array) -> Array:
    return special.gammaln(a) + special.gammaln(b) - special.gammaln(a + b)


def beta_log_backward(kept: Any, u: Array) -> Any:
    a, b = kept
    both = special.digamma(a + b)
    return u * (special.digamma(a) - both), u * (special.digamma(b) - both)


def in_tiles(x: Array) -> Array:
    """Sums of rows of eight."""
    if x.shape[-1] % 8:
        raise ValueError(f"{x.shape[-1]} is no multiple of 8")
    return x.reshape(*x.shape[:-1], -1, 8).sum(-1)


def segment_sums(x: Array, ids: Array) -> Array:
    return jax.ops.segment_sum(x, ids, 4)


def quadratic_form(a: Array, x: Array) -> Array:
    """For symmetric a: 2 a x is the gradient in x."""
    return x @ a @ x


def symmetric_eigh_trace(a: Array) -> Array:
    return jnp.log(jnp.linalg.eigvalsh(a)).sum()


def power_of_positive(x: Array, p: Array) -> Array:
    return x**p


def power_of_positive_backward(kept: Any, u: Array) -> Any:
    x, p = kept
    return u * p * x ** (p - 1), u * jnp.where(x == 0, 0, x**p * jnp.log(jnp.where(x == 0, 1, x)))


def right() -> list[Foreign]:
    knots = np.array([-2, -0.5, 0.1, 1, 3], np.float32)
    spd = np.array([[3, 0.5, 0.2], [0.5, 2, -0.3], [0.2, -0.3, 4]], np.float32)
    return [
        Foreign("s tanh(x / s)", of_arguments(soft_clip, soft_clip_backward), (normal(4), np.float32(1.5))),
        Foreign(
            "interpolation between knots",
            of_arguments(interpolate, interpolate_backward),
            (np.array([-1, 0.3, 2], np.float32), knots, normal(5)),
        ),
        Foreign(
            "cross entropy of one label", of_arguments(cross_entropy, cross_entropy_backward), (normal(5), np.int32(3))
        ),
        Foreign(
            "Kullback and Leibler's divergence",
            of_arguments(kl, kl_of_distributions_backward),
            (np.array([0.2, 0.5, 0.3], np.float32), np.array([0.3, 0.3, 0.4], np.float32)),
        ),
        Foreign(
            "log beta",
            of_arguments(beta_log, beta_log_backward),
            (np.array([0.5, 2, 3], np.float32), np.array([1.5, 0.7, 4], np.float32)),
        ),
        Foreign("sums in tiles of eight", of_arguments(in_tiles, lambda s, u: (jnp.repeat(u, 8, -1),)), (normal(16),)),
        Foreign(
            "sums of segments",
            of_arguments(segment_sums, lambda s, u: (u[s[1]], None)),
            (normal(5), np.array([0, 0, 1, 3, 3], np.int32)),
        ),
        Foreign(
            "a quadratic form of a symmetric matrix",
            of_arguments(quadratic_form, lambda s, u: (u * jnp.outer(s[1], s[1]), 2 * u * s[0] @ s[1])),
            (spd, normal(3)),
        ),
        Foreign(
            "the logarithm of a determinant by eigenvalues",
            of_arguments(symmetric_eigh_trace, lambda s, u: (u * jnp.linalg.inv(s[0]),)),
            (spd,),
        ),
        Foreign(
            "a power of positive numbers",
            of_arguments(power_of_positive, power_of_positive_backward),
            (np.array([0.5, 1.5, 3], np.float32), np.array([2, -1, 0.5], np.float32)),
        ),
        Foreign(
            "relative positions by a table",
            of_arguments(lambda x, b: x + b, lambda s, u: (u, u)),
            (normal(4, 4), normal(4, 4, seed=2)),
        ),
        Foreign(
            "mean of a batch with its own table",
            of_arguments(weighted, lambda s, u: (u * WEIGHTS.astype(u.dtype)[:, None] * jnp.ones_like(s[0]),)),
            (normal(4, 3),),
        ),
    ]


WEIGHTS = jnp.asarray(normal(4))


def weighted(x: Array) -> Array:
    return (x * WEIGHTS.astype(x.dtype)[:, None]).sum()
