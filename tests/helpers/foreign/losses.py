"""Losses, with the factors that their fused backward passes like to lose."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import Foreign, normal, of_arguments

Array = Any
LABELS = np.array([2, 0, 3], np.int32)
TARGETS = np.array([1, 0, 1, 0], np.float32)
SHARES = np.array([[0.125, 0.25, 0.5, 0.125], [0.625, 0.125, 0.125, 0.125], [0.25] * 4], np.float32)
"""They sum to one in any type."""


def picked(z: Array, y: Array) -> Array:
    return jnp.take_along_axis(z, y[:, None], -1)[:, 0]


def cross_entropy(z: Array, y: Array) -> Array:
    return (jax.nn.logsumexp(z, -1) - picked(z, y)).mean()


def delta(z: Array, y: Array) -> Array:
    return jax.nn.softmax(z) - jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype)


def soft_cross_entropy(z: Array, p: Array) -> Array:
    return -(p * jax.nn.log_softmax(z)).sum(-1).mean()


def soft_cross_entropy_backward(kept: Any, u: Array) -> Any:
    """Holds for shares that sum to one."""
    z, p = kept
    return u * (jax.nn.softmax(z) - p) / z.shape[0], -u * jax.nn.log_softmax(z) / z.shape[0]


def smoothed(z: Array, y: Array) -> Array:
    """Label smoothing of 0.1."""
    p = 0.9 * jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype) + 0.1 / z.shape[-1]
    return -(p * jax.nn.log_softmax(z)).sum(-1).mean()


def smoothed_backward(kept: Any, u: Array, smoothing: float = 0.1) -> Any:
    z, y = kept
    p = (1 - smoothing) * jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype) + smoothing / z.shape[-1]
    return u * (jax.nn.softmax(z) - p) / z.shape[0], None


def ignoring(z: Array, y: Array) -> Array:
    """Labels of -1 do not count."""
    counts = y >= 0
    losses = jax.nn.logsumexp(z, -1) - picked(z, jnp.maximum(y, 0))
    return jnp.where(counts, losses, 0).sum() / counts.sum()


def ignoring_backward(kept: Any, u: Array, over_all: bool = False, masked: bool = True) -> Any:
    z, y = kept
    counts = y >= 0
    d = delta(z, jnp.maximum(y, 0))
    d = jnp.where(counts[:, None], d, 0) if masked else d
    return u * d / (z.shape[0] if over_all else counts.sum()), None


def bce(z: Array, t: Array) -> Array:
    """With 3 as the weight of a positive."""
    return (3 * t * jax.nn.softplus(-z) + (1 - t) * jax.nn.softplus(z)).mean()


def bce_backward(kept: Any, u: Array, weight: float = 3.0) -> Any:
    z, t = kept
    s = jax.nn.sigmoid(z)
    dz = (1 - t) * s - weight * t * (1 - s)
    return u * dz / z.size, u * (3 * jax.nn.softplus(-z) - jax.nn.softplus(z)) / z.size


def focal(z: Array) -> Array:
    """Of a positive, gamma 2 (Lin 2017, arXiv:1708.02002)."""
    p = jax.nn.sigmoid(z)
    return ((1 - p) ** 2 * jax.nn.softplus(-z)).sum()


def focal_backward(kept: Any, u: Array, whole: bool = True) -> Any:
    (z,) = kept
    p = jax.nn.sigmoid(z)
    d = -((1 - p) ** 3)
    return (u * (d - 2 * (1 - p) ** 2 * p * jax.nn.softplus(-z) if whole else d),)


def triplet(a: Array, p: Array, n: Array) -> Array:
    return jnp.maximum(((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + 1, 0).sum()


def triplet_backward(kept: Any, u: Array, both: bool = True) -> Any:
    a, p, n = kept
    on = ((((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1) + 1) > 0).astype(a.dtype)[:, None] * u
    return 2 * on * (n - p) if both else 2 * on * (a - p), -2 * on * (a - p), 2 * on * (a - n)


def kl(p: Array, q: Array) -> Array:
    return (p * jnp.log(p / q)).sum()


def dice(p: Array, t: Array) -> Array:
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def dice_backward(kept: Any, u: Array, quotient: bool = True) -> Any:
    p, t = kept
    top, bottom = 2 * (p * t).sum() + 1, p.sum() + t.sum() + 1
    second = top / bottom**2 if quotient else 0
    return u * (second - 2 * t / bottom), u * (second - 2 * p / bottom)


def pinball(x: Array) -> Array:
    """The 0.9 quantile."""
    return jnp.maximum(0.9 * x, -0.1 * x).sum()


def gaussian(m: Array, log_s: Array, x: Array) -> Array:
    return (log_s + 0.5 * ((x - m) / jnp.exp(log_s)) ** 2).sum()


def gaussian_backward(kept: Any, u: Array, own: bool = True) -> Any:
    m, log_s, x = kept
    z = (x - m) / jnp.exp(log_s)
    return -u * z / jnp.exp(log_s), u * ((1 if own else 0) - z * z), u * z / jnp.exp(log_s)


def contrastive(a: Array, b: Array) -> Array:
    """InfoNCE from a to b, temperature 0.5."""
    z = 2 * a @ b.T
    return (jax.nn.logsumexp(z, -1) - jnp.diag(z)).mean()


def contrastive_backward(kept: Any, u: Array, temperature: float = 0.5) -> Any:
    a, b = kept
    d = u * (jax.nn.softmax(2 * a @ b.T) - jnp.eye(len(a), dtype=a.dtype)) / len(a) / temperature
    return d @ b, d.T @ a


def right() -> list[Foreign]:
    z, ignored = normal(3, 4), np.array([2, -1, 0], np.int32)
    three = tuple(normal(2, 3, seed=k) for k in range(3))
    return [
        Foreign(
            "cross entropy, its mean",
            of_arguments(cross_entropy, lambda k, u: (u * delta(*k) / len(k[1]), None)),
            (z, LABELS),
        ),
        Foreign("cross entropy of shares", of_arguments(soft_cross_entropy, soft_cross_entropy_backward), (z, SHARES)),
        Foreign("cross entropy, smoothed", of_arguments(smoothed, smoothed_backward), (z, LABELS)),
        Foreign("cross entropy, some labels ignored", of_arguments(ignoring, ignoring_backward), (z, ignored)),
        Foreign("binary cross entropy with a weight", of_arguments(bce, bce_backward), (normal(4), TARGETS)),
        Foreign("focal loss", of_arguments(focal, focal_backward), (normal(4),)),
        Foreign("triplet loss", of_arguments(triplet, triplet_backward), three),
        Foreign("dice loss", of_arguments(dice, dice_backward), (np.array([0.2, 0.7, 0.9, 0.4], np.float32), TARGETS)),
        Foreign(
            "pinball loss",
            of_arguments(pinball, lambda k, u: (u * jnp.where(k[0] > 0, 0.9, -0.1).astype(u.dtype),)),
            (normal(4),),
        ),
        Foreign(
            "a Gaussian's likelihood",
            of_arguments(gaussian, gaussian_backward),
            (normal(3), 0.3 * normal(3, seed=1), normal(3, seed=2)),
        ),
        Foreign("InfoNCE", of_arguments(contrastive, contrastive_backward), (normal(3, 2), normal(3, 2, seed=1))),
    ]


def wrong() -> list[Foreign]:
    gradient, z, ignored = ("gradient",), normal(3, 4), np.array([2, -1, 0], np.int32)
    three = tuple(normal(2, 3, seed=k) for k in range(3))
    p = np.array([0.2, 0.7, 0.9, 0.4], np.float32)
    return [
        Foreign(
            "cross entropy: a sum for the mean",
            of_arguments(cross_entropy, lambda k, u: (u * delta(*k), None)),
            (z, LABELS),
            causes=("factor 3",),
            checks=gradient,
        ),
        # pytorch 11750, sherjilozair/ctc 2: the upstream gradient is not multiplied in.
        Foreign(
            "cross entropy: the upstream gradient forgotten",
            of_arguments(cross_entropy, lambda k, u: (delta(*k) / len(k[1]), None)),
            (z, LABELS),
            causes=("upstream", "not linear"),
            checks=("gradient", "linear_in_the_upstream"),
        ),
        Foreign(
            "cross entropy: shares and labels the other way round",
            of_arguments(cross_entropy, lambda k, u: (-u * delta(*k) / len(k[1]), None)),
            (z, LABELS),
            causes=("sign",),
            checks=gradient,
        ),
        Foreign(
            "cross entropy: the label's one left out",
            of_arguments(cross_entropy, lambda k, u: (u * jax.nn.softmax(k[0]) / len(k[1]), None)),
            (z, LABELS),
            causes=("fork",),
            checks=gradient,
        ),
        # pytorch 52241, 82545: right only where the scores are log-probabilities.
        Foreign(
            "cross entropy: the scores taken for probabilities",
            of_arguments(
                cross_entropy,
                lambda k, u: (u * (jnp.exp(k[0]) - jax.nn.one_hot(k[1], 4, dtype=u.dtype)) / len(k[1]), None),
            ),
            (z, LABELS),
            causes=("left out", "constant", "another formula", "fork"),
            checks=gradient,
        ),
        Foreign(
            "smoothing forgotten on the way back",
            of_arguments(smoothed, lambda k, u: smoothed_backward(k, u, 0.0)),
            (z, LABELS),
            causes=("constant", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "ignored labels counted in the mean",
            of_arguments(ignoring, lambda k, u: ignoring_backward(k, u, over_all=True)),
            (z, ignored),
            causes=("factor",),
            checks=gradient,
        ),
        Foreign(
            "ignored labels get a gradient",
            of_arguments(ignoring, lambda k, u: ignoring_backward(k, u, masked=False)),
            (z, ignored),
            causes=("row 1", "mask", "where"),
            checks=gradient,
        ),
        Foreign(
            "binary cross entropy: the weight forgotten",
            of_arguments(bce, lambda k, u: bce_backward(k, u, 1.0)),
            (normal(4), TARGETS),
            causes=("constant", "another formula", "branch"),
            checks=gradient,
        ),
        Foreign(
            "focal loss: its factor held constant",
            of_arguments(focal, lambda k, u: focal_backward(k, u, whole=False)),
            (normal(4),),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "triplet loss: half of the anchor's gradient",
            of_arguments(triplet, lambda k, u: triplet_backward(k, u, both=False)),
            three,
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "divergence: one left out",
            of_arguments(kl, lambda k, u: (u * jnp.log(k[0] / k[1]), -u * k[0] / k[1])),
            (SHARES[0], SHARES[1]),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "dice loss: the quotient's second term left out",
            of_arguments(dice, lambda k, u: dice_backward(k, u, quotient=False)),
            (p, TARGETS),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "pinball loss: the tails exchanged",
            of_arguments(pinball, lambda k, u: (u * jnp.where(k[0] > 0, 0.1, -0.9).astype(u.dtype),)),
            (normal(4),),
            causes=("constant", "another formula", "branch"),
            checks=gradient,
        ),
        Foreign(
            "a Gaussian: the scale's own term left out",
            of_arguments(gaussian, lambda k, u: gaussian_backward(k, u, own=False)),
            (normal(3), 0.3 * normal(3, seed=1), normal(3, seed=2)),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "InfoNCE: the temperature forgotten",
            of_arguments(contrastive, lambda k, u: contrastive_backward(k, u, 1.0)),
            (normal(3, 2), normal(3, 2, seed=1)),
            causes=("factor 1/2",),
            checks=gradient,
        ),
        Foreign(
            "InfoNCE: one side alone",
            of_arguments(contrastive, lambda k, u: (contrastive_backward(k, u)[0], jnp.zeros_like(k[1]))),
            (normal(3, 2), normal(3, 2, seed=1)),
            causes=("left out",),
            checks=gradient,
        ),
        Foreign(
            "squared error: half of it",
            of_arguments(lambda a, b: ((a - b) ** 2).sum(), lambda k, u: (u * (k[0] - k[1]), -u * (k[0] - k[1]))),
            (normal(3), normal(3, seed=1)),
            causes=("factor 1/2",),
            checks=gradient,
        ),
        Foreign(
            "hinge loss: the margin forgotten",
            of_arguments(lambda a: jnp.maximum(0, 1 - a).sum(), lambda k, u: (-u * (k[0] < 0).astype(u.dtype),)),
            (np.array([-1, 0.5, 0.7, 2], np.float32),),
            causes=("branch", "constant", "elements"),
            checks=gradient,
        ),
    ]
