"""Attention, its softmax and its masks: fused backward passes that keep the log-sum-exp of each row."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import Foreign, normal, vjp

Array = Any


def scores(q: Array, k: Array, mask: Callable | None = None) -> Array:
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]).astype(q.dtype)
    return s if mask is None else jnp.where(mask(s.shape[-2], s.shape[-1]), s, -jnp.inf)


def attention(q: Array, k: Array, v: Array, mask: Callable | None = None) -> Array:
    return jax.nn.softmax(scores(q, k, mask), -1) @ v


def causal(rows: int, columns: int) -> Array:
    return jnp.arange(rows)[:, None] >= jnp.arange(columns)[None, :]


def flash(
    mask: Callable | None = None,
    backward_mask: Callable | None = None,
    delta: Callable = lambda do, o, p, dp: (do * o).sum(-1, keepdims=True),
    scale: Callable = lambda d: 1 / np.sqrt(d),
    change: Callable = lambda dq, dk, dv: (dq, dk, dv),
) -> Any:
    """FlashAttention's algorithm (Dao 2022, arXiv:2205.14135, algorithm 4), one block."""

    def forward(q: Array, k: Array, v: Array) -> Any:
        s = scores(q, k, mask)
        lse = jax.nn.logsumexp(s, -1, keepdims=True)
        o = jnp.exp(s - lse) @ v
        return o, (q, k, v, o, lse)

    def backward(kept: Any, do: Array) -> Any:
        q, k, v, o, lse = kept
        p = jnp.exp(scores(q, k, backward_mask or mask) - lse)
        dv = p.swapaxes(-1, -2) @ do
        dp = do @ v.swapaxes(-1, -2)
        ds = p * (dp - delta(do, o, p, dp)) * jnp.asarray(scale(q.shape[-1]), q.dtype)
        return change(ds @ k, ds.swapaxes(-1, -2) @ q, dv)

    return vjp(lambda q, k, v: attention(q, k, v, mask), forward, backward)


def qkv(rows: int, columns: int, width: int, times: float = 1.0, heads: tuple[int, ...] = ()) -> tuple:
    return (
        normal(*heads, rows, width, seed=1) * np.float32(times),
        normal(*heads, columns, width, seed=2),
        normal(*heads, columns, width, seed=3),
    )


def right() -> list[Foreign]:
    return [
        Foreign("flash attention 5x8", flash(), qkv(5, 5, 8)),
        Foreign("flash attention 16x4", flash(), qkv(16, 16, 4)),
        Foreign("flash attention, saturated", flash(), qkv(6, 7, 4, times=30)),
        Foreign("flash attention, causal", flash(causal), qkv(6, 6, 4)),
        Foreign("flash attention, heads", flash(), qkv(3, 4, 2, heads=(2,))),
    ]
