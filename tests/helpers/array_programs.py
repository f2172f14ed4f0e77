"""Programs of JAX's array primitives, each with arguments: every number system of ours answers what JAX answers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

rng = np.random.default_rng(0)
A, B, V = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=6)
IDS = np.array([2, 0, 2, 1], np.int32)

Programs = dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]

PROGRAMS: Programs = {
    "elementwise": (lambda x: jnp.sin(x) * jnp.exp(-x) / (1 + x**2) - jnp.tanh(x) ** 3 + jax.nn.sigmoid(x), (A,)),
    "rounding": (lambda x: (jnp.round(3 * x), jnp.floor(x), jnp.sign(x), (4 * x).astype(jnp.int32) // 3), (A,)),
    "reductions": (lambda x: (x.sum(0), x.mean(1), x.max(), x.min(0), x.argmax(1), jnp.prod(x), (x > 0).any(0)), (A,)),
    "shapes": (lambda x: (x.T.reshape(2, 6), jnp.flip(x, 0), jnp.pad(x, ((1, 2), (0, 1))), x[1:, ::2], x[None]), (A,)),
    "a negative pad": (lambda x: lax.pad(x, 0.0, ((-1, 2, 1), (0, -1, 0))), (A,)),
    "matmul": (lambda a, b: a @ b, (A, B)),
    "einsum": (lambda a, b: jnp.einsum("ij,jk->ki", a, b), (A, B)),
    "batched": (lambda a: jnp.einsum("bij,bjk->bik", a, a), (rng.normal(size=(2, 3, 3)),)),
    "gather": (lambda a, i: a[i], (A, IDS)),
    "take along an axis": (lambda a, i: jnp.take_along_axis(a, i[:, None] % 3, 1), (A, IDS)),
    "out of bounds": (lambda a, i: a.at[i + 2].get(mode="fill", fill_value=7.0), (A, IDS)),
    "scatter": (lambda a, i: (a.at[i].add(1.5), a.at[i, 1].set(0), a.at[i].max(0.2)), (A, IDS)),
    "dynamic slices": (lambda a, i: lax.dynamic_slice(a, (i[0], i[3]), (3, 2)), (A, IDS)),
    "dynamic update": (lambda a, i: lax.dynamic_update_slice(a, jnp.ones((2, 2)), (i[0], i[0] + 9)), (A, IDS)),
    "sort": (
        lambda x: (jnp.sort(x), jnp.argsort(-x), jnp.cumsum(x), jnp.cumprod(x), lax.cummax(x, reverse=True)),
        (V,),
    ),
    "where and clip": (lambda x: jnp.where(x > 0, x, -2 * x).clip(0.2, 0.9), (A,)),
    "scan": (lambda x: lax.scan(lambda c, v: (jnp.tanh(c + v), c * v), x[0], x), (A,)),
    "a reversed scan": (lambda x: lax.scan(lambda c, v: (c + v, c), x[0], x, reverse=True), (A,)),
    "while": (lambda x: lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 1.5 + 1, x), (np.abs(V),)),
    "cond": (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), (V,)),
    "switch": (lambda x, i: lax.switch(i[0], [jnp.sin, jnp.cos, jnp.exp], x), (V, IDS)),
    "a gradient": (jax.grad(lambda x: jax.nn.logsumexp(x @ x.T).sum() + jax.nn.gelu(x).sum()), (A,)),
    "a map": (jax.vmap(lambda x, i: x[i] * x), (A, IDS % 3)),
    "checkpoint": (jax.grad(lambda x: jax.checkpoint(lambda y: jnp.sin(jnp.sin(y)))(x).sum()), (V,)),
}
