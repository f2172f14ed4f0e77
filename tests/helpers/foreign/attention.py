"""Attention, its softmax and its masks: fused backward passes that keep the log-sum-exp of each row."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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


def flash_in_blocks(block: int, of_rest: Callable = lambda p: p) -> Any:
    """The same in blocks of keys: the forward pass rescales what it has at each new maximum.

    What is added up over blocks is float32 at least, as kernels do it.
    """

    def blocks(x: Array) -> Array:
        return x.reshape(-1, block, x.shape[-1])

    def wide(*arrays: Array) -> list[Array]:
        return [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in arrays]

    def forward(*given: Array) -> Any:
        q, k, v = wide(*given)

        def step(state: Any, kv: Any) -> Any:
            o, total, largest = state
            s = scores(q, kv[0])
            new = jnp.maximum(largest, s.max(-1, keepdims=True))
            p, shrink = jnp.exp(s - new), jnp.exp(largest - new)
            return (o * shrink + p @ kv[1], total * shrink + p.sum(-1, keepdims=True), new), None

        row = jnp.zeros_like(q[:, :1])
        start = jnp.zeros((q.shape[0], v.shape[1]), q.dtype), row, row - jnp.inf
        (o, total, largest), _ = lax.scan(step, start, (blocks(k), blocks(v)))
        return (o / total).astype(given[0].dtype), (*given, o / total, largest + jnp.log(total))

    def backward(kept: Any, given: Array) -> Any:
        (q, k, v, do), (o, lse) = wide(*kept[:3], given), kept[3:]
        delta = (do * o).sum(-1, keepdims=True)
        scale = jnp.asarray(1 / np.sqrt(q.shape[-1]), q.dtype)

        def step(dq: Array, kv: Any) -> Any:
            p = jnp.exp(scores(q, kv[0]) - lse)
            ds = p * (do @ kv[1].T - of_rest(delta)) * scale
            return dq + ds @ kv[0], (ds.T @ q, p.T @ do)

        dq, (dk, dv) = lax.scan(step, jnp.zeros_like(q), (blocks(k), blocks(v)))
        return tuple(x.astype(given.dtype) for x in (dq, dk.reshape(k.shape), dv.reshape(v.shape)))

    return vjp(attention, forward, backward)


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
        Foreign("flash attention in blocks", flash_in_blocks(2), qkv(4, 4, 2)),
        Foreign("flash attention, heads", flash(), qkv(3, 4, 2, heads=(2,))),
        Foreign("attention with capped scores", vjp(capped, capped_forward, capped_backward(True)), qkv(4, 4, 3)),
        Foreign(
            "attention with grouped heads",
            of_grouped(lambda x: x.sum(1)),
            qkv(3, 3, 2, heads=(4,))[:1] + qkv(3, 3, 2, heads=(2,))[1:],
        ),
    ]


def strictly_causal(rows: int, columns: int) -> Array:
    """One off: the diagonal is masked as well."""
    return jnp.arange(rows)[:, None] > jnp.arange(columns)[None, :]


def causal_from_the_end(rows: int, columns: int) -> Array:
    """The last query sees the last key, where there are fewer queries than keys."""
    return jnp.arange(rows)[:, None] + columns - rows >= jnp.arange(columns)[None, :]


def capped(q: Array, k: Array, v: Array) -> Array:
    """Scores capped softly at 2, as Gemma does."""
    return jax.nn.softmax(2 * jnp.tanh(scores(q, k) / 2)) @ v


def capped_forward(q: Array, k: Array, v: Array) -> Any:
    p = jax.nn.softmax(2 * jnp.tanh(scores(q, k) / 2))
    return p @ v, (q, k, v, p)


def capped_backward(with_cap: bool) -> Callable:
    def backward(kept: Any, do: Array) -> Any:
        q, k, v, p = kept
        dp = do @ v.T
        ds = p * (dp - (dp * p).sum(-1, keepdims=True))
        ds = ds * (1 - jnp.tanh(scores(q, k) / 2) ** 2) if with_cap else ds
        ds = ds / np.sqrt(q.shape[-1]).astype(q.dtype)
        return ds @ k, ds.T @ q, p.T @ do

    return backward


def grouped(q: Array, k: Array, v: Array) -> Array:
    """Two query heads share a key head."""
    return attention(q, jnp.repeat(k, 2, 0), jnp.repeat(v, 2, 0))


def grouped_backward(joined: Callable) -> Callable:
    def backward(kept: Any, do: Array) -> Any:
        q, k, v = kept
        dq, dk, dv = jax.vjp(attention, q, jnp.repeat(k, 2, 0), jnp.repeat(v, 2, 0))[1](do)
        return dq, joined(dk.reshape(-1, 2, *k.shape[1:])), joined(dv.reshape(-1, 2, *k.shape[1:]))

    return backward


def of_grouped(joined: Callable) -> Any:
    return vjp(grouped, lambda *a: (grouped(*a), a), grouped_backward(joined))


def window(rows: int, columns: int) -> Array:
    """Each query sees itself and two keys before it."""
    back = jnp.arange(rows)[:, None] - jnp.arange(columns)[None, :]
    return (back >= 0) & (back <= 2)


def wider_window(rows: int, columns: int) -> Array:
    back = jnp.arange(rows)[:, None] - jnp.arange(columns)[None, :]
    return (back >= 0) & (back <= 3)


def last_rows_dropped(x: Array) -> Array:
    return x.at[-2:].set(0)


GRADIENT = ("gradient",)


def wrong() -> list[Foreign]:
    short = qkv(4, 6, 4)
    return [
        # triton 4541, 7216: the backward kernel of the tutorial ignores the causal mask.
        Foreign(
            "flash: no mask on the way back",
            flash(causal, lambda r, c: jnp.ones((r, c), bool)),
            qkv(5, 5, 4),
            causes=("mask",),
            checks=GRADIENT,
        ),
        Foreign(
            "flash in blocks: delta of one block's share",
            flash_in_blocks(2, lambda delta: delta / 2),
            qkv(4, 4, 2),
            causes=("another formula", "left out", "factor", "fork"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: the mask off by one on the way back",
            flash(causal, strictly_causal),
            qkv(5, 5, 4),
            causes=("mask",),
            checks=GRADIENT,
        ),
        # ffpa-attn 300: bottom-right in the forward pass, top-left in the backward pass.
        Foreign(
            "flash: the mask aligned at the other end",
            flash(causal_from_the_end, causal),
            short,
            causes=("mask",),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: a window one too wide on the way back",
            flash(window, wider_window),
            qkv(6, 6, 4),
            causes=("mask",),
            checks=GRADIENT,
        ),
        Foreign(
            "flash, causal: delta left out",
            flash(causal, delta=lambda do, o, p, dp: 0 * do[..., :1]),
            qkv(4, 4, 3),
            causes=("fork", "left out"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: delta left out",
            flash(delta=lambda do, o, p, dp: 0 * do[..., :1]),
            qkv(4, 4, 3),
            causes=("fork", "left out"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: delta summed over the queries",
            flash(delta=lambda do, o, p, dp: (p * dp).sum(-2, keepdims=True)),
            qkv(4, 4, 3),
            causes=("axis",),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: the scale left out",
            flash(scale=lambda d: 1.0),
            qkv(4, 4, 3),
            causes=("factor", "scale"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: the scale twice",
            flash(scale=lambda d: 1 / d),
            qkv(4, 4, 3),
            causes=("factor", "scale"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: dk without its scale",
            flash(change=lambda dq, dk, dv: (dq, dk * 2, dv)),
            qkv(4, 4, 4),
            causes=("factor 2", "scale"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: the last block of keys dropped",
            flash(change=lambda dq, dk, dv: (dq, last_rows_dropped(dk), last_rows_dropped(dv))),
            qkv(6, 6, 3),
            causes=("last", "block"),
            checks=GRADIENT,
        ),
        Foreign(
            "flash: dk and dv exchanged",
            flash(change=lambda dq, dk, dv: (dq, dv, dk)),
            qkv(4, 4, 3),
            causes=("swapped",),
            checks=GRADIENT,
        ),
        # flash-attention's base-2 exponentials: log2(e) where ln 2 belongs.
        Foreign(
            "flash: base two forgotten",
            flash(change=lambda dq, dk, dv: (dq / np.float32(np.log(2)), dk, dv)),
            qkv(4, 4, 3),
            causes=("factor",),
            checks=GRADIENT,
        ),
        Foreign(
            "capped scores: the cap's derivative left out",
            vjp(capped, capped_forward, capped_backward(False)),
            qkv(4, 4, 3),
            causes=("left out", "tanh"),
            checks=GRADIENT,
        ),
        Foreign(
            "grouped heads: only the first of a group",
            of_grouped(lambda x: x[:, 0]),
            qkv(3, 3, 2, heads=(4,))[:1] + qkv(3, 3, 2, heads=(2,))[1:],
            causes=("is left out",),
            checks=GRADIENT,
        ),
        Foreign(
            "grouped heads: averaged over a group",
            of_grouped(lambda x: x.mean(1)),
            qkv(3, 3, 2, heads=(4,))[:1] + qkv(3, 3, 2, heads=(2,))[1:],
            causes=("1/2", "mean"),
            checks=GRADIENT,
        ),
    ]
