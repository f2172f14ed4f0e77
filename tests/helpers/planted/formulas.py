"""What planted rules are made of: numbers, a custom_vjp of any two passes, and backward passes that are wrong."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_rng = np.random.default_rng(11)


def n(*shape: int) -> np.ndarray:
    """Random numbers, none near zero."""
    return _rng.uniform(0.4, 1.6, shape) * _rng.choice([-1.0, 1.0], shape)


def by_hand(primal: Callable, backward: Callable, forward: Callable | None = None) -> Any:
    """A custom_vjp of `primal` whose backward pass gets all arguments and the upstream gradient."""
    fun = jax.custom_vjp(lambda *args: primal(*args))
    fun.defvjp(forward or (lambda *args: (primal(*args), args)), backward)
    return fun


def layer_norm(x):
    c = x - x.mean(-1, keepdims=True)
    return c * lax.rsqrt((c * c).mean(-1, keepdims=True) + 1e-5)


def layer_norm_parts(x, u):
    c = x - x.mean(-1, keepdims=True)
    r = lax.rsqrt((c * c).mean(-1, keepdims=True) + 1e-5)
    return c * r, r, u - u.mean(-1, keepdims=True)


def norm_without_spread(s, u):
    _, r, centred = layer_norm_parts(s[0], u)
    return (r * centred,)


def norm_without_mean(s, u):
    k, r, _ = layer_norm_parts(s[0], u)
    return (r * (u - k * (u * k).mean(-1, keepdims=True)),)


def naive_sigmoid(s, u):
    e = jnp.exp(s[0])
    return (u * e / (1 + e) ** 2,)


def softmax_diagonal(s, u):
    p = jax.nn.softmax(s[0])
    return (u * p * (1 - p),)


def ce(z, y):
    return jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], -1)[:, 0]


def ce_delta(z, y):
    return jax.nn.softmax(z) - jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype)


def smooth(x):
    return 0.25 * x[:-2] + 0.5 * x[1:-1] + 0.25 * x[2:]


def smooth_inside(s, u):
    full = jnp.zeros_like(s[0]).at[:-2].add(0.25 * u).at[1:-1].add(0.5 * u).at[2:].add(0.25 * u)
    return (full.at[0].set(0).at[-1].set(0),)


def max_both(s, u):
    x, y = s
    return u * (x >= y), u * (y >= x)


def reversed_mean(s, u):
    return (jnp.broadcast_to(u[:, None], s[0].shape),)


def silu_one_branch(s, u):
    return (u * jax.nn.sigmoid(s[0]),)


def rows(table, ids):
    return table[ids]


def twice(x, w):
    return x * w, w * w
