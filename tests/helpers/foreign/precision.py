"""Rules that compute in a narrow type on their way, or for one type alone; types of a byte; sums in a wide type."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .entry import Foreign, normal, of_arguments, vjp

Array = Any


def narrow_product(dtype: Any) -> Any:
    """Mixed precision: operands rounded to `dtype`, the sum in float32 (or wider)."""

    def product(x: Array, w: Array) -> Array:
        return rounded(x, dtype) @ rounded(w, dtype)

    def backward(kept: Any, u: Array) -> Any:
        x, w = kept
        return u @ rounded(w, dtype).T, rounded(x, dtype).T @ u

    return of_arguments(product, backward)


def rounded(x: Array, dtype: Any) -> Array:
    return x.astype(dtype).astype(x.dtype)


def gelu_in_float32(x: Array) -> Array:
    y = x.astype(jnp.float32)
    return (y * jax.scipy.stats.norm.cdf(y)).astype(x.dtype)


def gelu_in_float32_backward(kept: Any, u: Array) -> Any:
    x = kept[0].astype(jnp.float32)
    slope = jax.scipy.stats.norm.cdf(x) + x * jax.scipy.stats.norm.pdf(x)
    return ((u.astype(jnp.float32) * slope).astype(u.dtype),)


def cast_to(dtype: Any) -> Any:
    """A cast there and back whose backward pass casts, too."""
    return of_arguments(lambda x: rounded(x, dtype), lambda s, u: (rounded(u, dtype),))


def sum_in_float32(x: Array) -> Array:
    return x.astype(jnp.float32).sum(-1).astype(x.dtype)


def kahan_sum(x: Array) -> Array:
    def step(carry: Any, v: Array) -> Any:
        total, lost = carry
        y = v - lost
        t = total + y
        return (t, (t - total) - y), None

    return lax.scan(step, (jnp.zeros((), x.dtype),) * 2, x)[0][0]


def embedding(table: Array, ids: Array) -> Array:
    return table[ids]


def embedding_backward(kept: Any, u: Array) -> Any:
    table, ids = kept
    wide = (
        jnp.zeros(table.shape, jnp.promote_types(jnp.float32, table.dtype))
        .at[ids]
        .add(u.astype(jnp.float32) if table.dtype == jnp.bfloat16 else u)
    )
    return wide.astype(table.dtype), None


def softmax_in_float32(x: Array) -> Array:
    return jax.nn.softmax(x.astype(jnp.float32), -1).astype(x.dtype)


def softmax_in_float32_forward(x: Array) -> Any:
    p = jax.nn.softmax(x.astype(jnp.float32), -1)
    return p.astype(x.dtype), (p, jnp.zeros((), x.dtype))


def softmax_in_float32_backward(kept: Any, u: Array) -> Any:
    p, like = kept
    v = u.astype(jnp.float32)
    return ((p * (v - (p * v).sum(-1, keepdims=True))).astype(like.dtype),)


def bf16(x: np.ndarray) -> Array:
    return jnp.asarray(x, jnp.bfloat16)


def right() -> list[Foreign]:
    return [
        Foreign("a product of bfloat16 operands", narrow_product(jnp.bfloat16), (normal(2, 3), normal(3, 2))),
        Foreign("a product of float16 operands", narrow_product(jnp.float16), (normal(2, 3), normal(3, 2))),
        Foreign("a product of float8 operands", narrow_product(jnp.float8_e4m3fn), (normal(2, 3), normal(3, 2))),
        Foreign("gelu computed in float32", of_arguments(gelu_in_float32, gelu_in_float32_backward), (normal(4),)),
        Foreign(
            "gelu computed in float32, of bfloat16",
            of_arguments(gelu_in_float32, gelu_in_float32_backward),
            (bf16(normal(4)),),
        ),
        Foreign("a cast to float16 and back", cast_to(jnp.float16), (normal(4),)),
        Foreign(
            "a sum in float32 of bfloat16",
            of_arguments(sum_in_float32, lambda s, u: (jnp.broadcast_to(u[:, None], s[0].shape),)),
            (bf16(normal(2, 6)),),
        ),
        Foreign("Kahan's sum", of_arguments(kahan_sum, lambda s, u: (jnp.broadcast_to(u, s[0].shape),)), (normal(7),)),
        Foreign(
            "an embedding added up in float32, of bfloat16",
            of_arguments(embedding, embedding_backward),
            (bf16(normal(5, 2)), np.array([1, 3, 1, 1, 0], np.int32)),
        ),
        Foreign(
            "softmax in float32 of bfloat16",
            vjp(softmax_in_float32, softmax_in_float32_forward, softmax_in_float32_backward),
            (bf16(normal(2, 4)),),
        ),
        Foreign(
            "sine of float16", of_arguments(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),)), (normal(4).astype(np.float16),)
        ),
        Foreign(
            "a product of float8 arguments",
            of_arguments(jnp.multiply, lambda s, u: (u * s[1], u * s[0])),
            (jnp.asarray(normal(4), jnp.float8_e4m3fn), jnp.asarray(normal(4, seed=1), jnp.float8_e4m3fn)),
        ),
        Foreign("bfloat16 beside float32", of_arguments(mixed, mixed_backward), (bf16(normal(2, 3)), normal(3, 2))),
        Foreign(
            "a loss scaled by its caller",
            of_arguments(lambda x: 1e4 * jnp.tanh(x), lambda s, u: (1e4 * u / jnp.cosh(s[0]) ** 2,)),
            (normal(4),),
        ),
    ]


def mixed(x: Array, w: Array) -> Array:
    return x.astype(w.dtype) @ w


def mixed_backward(kept: Any, u: Array) -> Any:
    x, w = kept
    return (u @ w.T).astype(x.dtype), x.astype(w.dtype).T @ u
