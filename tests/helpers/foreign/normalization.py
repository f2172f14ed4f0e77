"""Normalizations, as layers and as losses' last step: a mean, a spread, and what each sends back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .entry import Foreign, normal, of_arguments, vjp

Array = Any
EPS = 1e-5


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    m = x.mean(-1, keepdims=True)
    return (x - m) * lax.rsqrt(((x - m) ** 2).mean(-1, keepdims=True) + EPS) * scale + shift


def of_layer_norm(
    delta: Callable = lambda g, n: g - g.mean(-1, keepdims=True) - n * (g * n).mean(-1, keepdims=True),
    of_scale: Callable = lambda u, n: (u * n).sum(0),
    eps: float = EPS,
    axis: int = -1,
) -> Any:
    def forward(x: Array, scale: Array, shift: Array) -> Any:
        m = x.mean(axis, keepdims=True)
        r = lax.rsqrt(((x - m) ** 2).mean(axis, keepdims=True) + eps)
        return layer_norm(x, scale, shift), ((x - m) * r, r, scale)

    def backward(kept: Any, u: Array) -> Any:
        n, r, scale = kept
        return r * delta(u * scale, n), of_scale(u, n), u.sum(0)

    return vjp(layer_norm, forward, backward)


def batch_norm(x: Array, scale: Array) -> Array:
    m, v = x.mean(0), x.var(0)
    return (x - m) * lax.rsqrt(v + EPS) * scale


def of_batch_norm(constant_statistics: bool = False, unbiased: bool = False) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, scale = kept
        count = x.shape[0]
        r = lax.rsqrt(x.var(0) + EPS)
        n = (x - x.mean(0)) * r
        g = u * scale
        if constant_statistics:
            return r * g, (u * n).sum(0)
        over = count - 1 if unbiased else count
        return r * (g - g.sum(0) / count - n * (g * n).sum(0) / over), (u * n).sum(0)

    return of_arguments(batch_norm, backward)


def group_norm(x: Array, groups: int = 2) -> Array:
    y = x.reshape(x.shape[0], groups, -1)
    c = y - y.mean(-1, keepdims=True)
    return (c * lax.rsqrt((c * c).mean(-1, keepdims=True) + EPS)).reshape(x.shape)


def of_group_norm(groups: int) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        (x,) = kept
        return jax.vjp(lambda x: group_norm(x, groups), x)[1](u)

    return of_arguments(lambda x: group_norm(x), backward)


def weight_norm(v: Array, g: Array) -> Array:
    """Salimans and Kingma 2016: w = g v / |v|."""
    return g * v / jnp.sqrt((v * v).sum())


def weight_norm_backward(kept: Any, u: Array) -> Any:
    v, g = kept
    size = jnp.sqrt((v * v).sum())
    dg = (u * v).sum() / size
    return g / size * (u - dg * v / size), dg


def cosine(a: Array, b: Array) -> Array:
    return a @ b / jnp.sqrt((a @ a) * (b @ b))


def of_cosine(projected: bool) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        a, b = kept
        c, sa, sb = cosine(a, b), jnp.sqrt(a @ a), jnp.sqrt(b @ b)
        if not projected:
            return u * b / (sa * sb), u * a / (sa * sb)
        return u * (b / (sa * sb) - c * a / (sa * sa)), u * (a / (sa * sb) - c * b / (sb * sb))

    return of_arguments(cosine, backward)


def normalize(x: Array) -> Array:
    return x / jnp.maximum(jnp.sqrt((x * x).sum(-1, keepdims=True)), 1e-12)


def normalize_backward(kept: Any, u: Array) -> Any:
    (x,) = kept
    size = jnp.maximum(jnp.sqrt((x * x).sum(-1, keepdims=True)), 1e-12)
    y = x / size
    return ((u - y * (u * y).sum(-1, keepdims=True)) / size,)


def rms_norm(x: Array, scale: Array) -> Array:
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + EPS) * scale


def of_rms_norm(offset: float = 0.0, mean: Callable = lambda a: a.mean(-1, keepdims=True)) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, scale = kept
        r = lax.rsqrt((x * x).mean(-1, keepdims=True) + EPS)
        g = u * (scale + offset)
        return r * (g - x * r * r * mean(g * x)), (u * x * r).sum(0)

    return of_arguments(rms_norm, backward)


def softmax_of(axis: int) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        p = jax.nn.softmax(kept[0], -1)
        return (p * (u - (p * u).sum(axis, keepdims=True)),)

    return of_arguments(lambda x: jax.nn.softmax(x, -1), backward)


def log_softmax_backward(kept: Any, u: Array) -> Any:
    return (u - jax.nn.softmax(kept[0]) * u.sum(-1, keepdims=True),)


def right() -> list[Foreign]:
    return [
        Foreign("layer norm", of_layer_norm(), (normal(3, 4), normal(4, seed=1), normal(4, seed=2))),
        Foreign("batch norm", of_batch_norm(), (normal(4, 2), normal(2, seed=1))),
        Foreign("group norm", of_group_norm(2), (normal(2, 6),)),
        Foreign("weight norm", of_arguments(weight_norm, weight_norm_backward), (normal(5), np.float32(1.3))),
        Foreign("cosine similarity", of_cosine(True), (normal(4), normal(4, seed=1))),
        Foreign("vectors of length one", of_arguments(normalize, normalize_backward), (normal(2, 3),)),
        Foreign("rms norm with a scale", of_rms_norm(), (normal(3, 4), normal(4, seed=1))),
        Foreign("softmax of rows", softmax_of(-1), (normal(3, 3),)),
        Foreign("log softmax", of_arguments(lambda x: jax.nn.log_softmax(x), log_softmax_backward), (normal(2, 4),)),
    ]


def wrong() -> list[Foreign]:
    gradient = ("gradient",)
    x, s, b = normal(3, 4), normal(4, seed=1), normal(4, seed=2)
    mean = lambda a: a.mean(-1, keepdims=True)  # noqa: E731
    return [
        # aprender 2196 has the right formula; the usual ways to miss a term of it follow.
        Foreign(
            "layer norm: the mean's term left out",
            of_layer_norm(lambda g, n: g - n * mean(g * n)),
            (x, s, b),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "layer norm: the spread's term left out",
            of_layer_norm(lambda g, n: g - mean(g)),
            (x, s, b),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "layer norm: sums for means",
            of_layer_norm(lambda g, n: g - g.sum(-1, keepdims=True) - n * (g * n).sum(-1, keepdims=True)),
            (x, s, b),
            causes=("mean", "factor", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "layer norm: epsilon of another framework",
            of_layer_norm(eps=1e-3),
            (x, s, b),
            causes=("constant",),
            checks=gradient,
        ),
        Foreign(
            "layer norm: statistics along the batch on the way back",
            of_layer_norm(axis=0),
            (x, s, b),
            causes=("axis",),
            checks=gradient,
        ),
        Foreign(
            "layer norm: the scale's gradient averaged",
            of_layer_norm(of_scale=lambda u, n: (u * n).mean(0)),
            (x, s, b),
            causes=("1/3",),
            checks=gradient,
        ),
        # candle 2168: the fused norm sends nothing back.
        Foreign(
            "layer norm: nothing for the scale",
            of_layer_norm(of_scale=lambda u, n: 0 * n[0]),
            (x, s, b),
            causes=("left out",),
            checks=gradient,
        ),
        Foreign(
            "layer norm: the scale counts once more",
            of_layer_norm(lambda g, n: mean(g * n) * 0 + g - mean(g) - n * mean(g * n), of_scale=lambda u, n: u.sum(0)),
            (x, s, b),
            causes=("swapped", "shift", "left out"),
            checks=gradient,
        ),
        Foreign(
            "batch norm: statistics held constant",
            of_batch_norm(constant_statistics=True),
            (normal(4, 2), normal(2, seed=1)),
            causes=("fork", "diagonal", "axis"),
            checks=gradient,
        ),
        Foreign(
            "batch norm: the unbiased variance on the way back",
            of_batch_norm(unbiased=True),
            (normal(4, 2), normal(2, seed=1)),
            causes=("constant", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "group norm: other groups on the way back",
            of_group_norm(3),
            (normal(2, 6),),
            causes=("mask", "layout", "axis", "group"),
            checks=gradient,
        ),
        Foreign(
            "weight norm: not projected",
            of_arguments(
                weight_norm, lambda k, u: (k[1] / jnp.sqrt((k[0] ** 2).sum()) * u, weight_norm_backward(k, u)[1])
            ),
            (normal(5), np.float32(1.3)),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "cosine similarity: not projected",
            of_cosine(False),
            (normal(4), normal(4, seed=1)),
            causes=("fork",),
            checks=gradient,
        ),
        # unsloth 45: no gradient of the scale; Gemma's scale is 1 + w, Llama's is w.
        Foreign(
            "rms norm: Gemma's offset for Llama's scale",
            of_rms_norm(offset=1.0),
            (x, s),
            causes=("term", "constant", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "rms norm: a sum for the mean",
            of_rms_norm(mean=lambda a: a.sum(-1, keepdims=True)),
            (x, s),
            causes=("constant", "mean", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "softmax: summed over the other axis", softmax_of(0), (normal(3, 3),), causes=("axis",), checks=gradient
        ),
        Foreign(
            "softmax: summed over the other axis, not square",
            softmax_of(0),
            (normal(2, 4),),
            causes=("axis",),
            checks=gradient,
        ),
        Foreign(
            "softmax: the diagonal alone",
            of_arguments(
                lambda a: jax.nn.softmax(a), lambda k, u: (jax.nn.softmax(k[0]) * (1 - jax.nn.softmax(k[0])) * u,)
            ),
            (normal(2, 4),),
            causes=("diagonal", "fork"),
            checks=gradient,
        ),
        Foreign(
            "log softmax: one for the sum of the upstream gradient",
            of_arguments(lambda a: jax.nn.log_softmax(a), lambda k, u: (u - jax.nn.softmax(k[0]),)),
            (normal(2, 4),),
            causes=("not linear", "another formula"),
            checks=("gradient", "linear_in_the_upstream"),
        ),
        Foreign(
            "vectors of length one: divided alone",
            of_arguments(normalize, lambda k, u: (u / jnp.sqrt((k[0] ** 2).sum(-1, keepdims=True)),)),
            (normal(2, 3),),
            causes=("fork",),
            checks=gradient,
        ),
    ]
