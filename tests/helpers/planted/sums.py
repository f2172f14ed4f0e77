"""Sums that lose digits, each beside its right twin: one program, in which `wide` is the type it adds up in or not.

The formulas are all right; what is wrong is the type of a sum, or that something is rounded before it is added up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .formulas import by_hand

Wide = Callable[[Any], Any]


@dataclass(frozen=True)
class Twins:
    """A function with two backward passes, the same but for the type of a sum.

    Attributes:
        name: unique.
        right: adds up in float32.
        wrong: adds up in the type of its arguments.
        args: where they are verified.
    """

    name: str
    right: Callable
    wrong: Callable
    args: tuple


def to_float32(x: Any) -> Any:
    """In float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def as_it_is(x: Any) -> Any:
    """In its own type."""
    return x


def total(x: Any, axis: int = 0) -> Any:
    """A sum that is rounded to the type of its terms at every step: XLA's own sums on CPU are not."""
    x = jnp.moveaxis(x, axis, 0)
    return jnp.zeros((1, *x.shape[1:]), x.dtype).at[jnp.zeros(x.shape[0], int)].add(x)[0]


def rounded(wide: Wide, x: Any, dtype: Any) -> Any:
    """`x` as one that adds up in `dtype` takes it; as it is, where `wide` adds up in float32."""
    return x.astype(dtype) if wide is as_it_is else x


def mean(x: Any, axis: int = 0) -> Any:
    """A mean likewise, along an axis that stays."""
    return jnp.expand_dims(total(x, axis) / x.shape[axis], axis)


def one_by_one(start: Any, step: Callable[[Any, Any], Any], rows: Any) -> Any:
    """What is left after a step for each row."""
    return lax.scan(lambda carry, row: (step(carry, row), None), start, rows)[0]


_rng = np.random.default_rng(5)
rows = _rng.normal(size=(5, 3))
few = _rng.normal(size=3)
table = _rng.normal(size=(4, 3))
ids = np.array([0, 2, 1, 0, 3, 1, 2], np.int32)
signal = _rng.normal(size=7)

SUMS: dict[str, tuple[Callable[..., Any], Callable[[Wide], Callable[..., Any]], tuple]] = {}
"""By name: the plain function, its backward pass as a function of `wide`, and arguments."""
FORWARDS: dict[str, tuple[Callable[[Wide], Callable[..., Any]], tuple]] = {}
"""By name: a function of `wide` whose forward pass adds up, and arguments; the plain one is that of float32."""


def backward(name: str, plain: Callable[..., Any], *args: Any) -> Callable[[Callable], Callable]:
    """Enter `(wide, residuals, upstream) -> gradients`."""

    def enter(made: Callable[..., Any]) -> Callable[..., Any]:
        SUMS[name] = plain, lambda wide: lambda residuals, upstream: made(wide, residuals, upstream), args
        return made

    return enter


def forward(name: str, *args: Any) -> Callable[[Callable], Callable]:
    """Enter `(wide, *args) -> output`."""

    def enter(made: Callable[..., Any]) -> Callable[..., Any]:
        FORWARDS[name] = lambda wide: lambda *given: made(wide, *given), args
        return made

    return enter


# Rows of a table, by ids that repeat.


def lookup(table: Any, ids: Any) -> Any:
    return table[ids]


@backward("embedding: scattered", lookup, table, ids)
def _(wide, s, u):
    return jnp.zeros(s[0].shape, wide(u).dtype).at[s[1]].add(wide(u)).astype(u.dtype), None


@backward("embedding: row by row", lookup, table, ids)
def _(wide, s, u):
    add = lambda grad, row: grad.at[row[0]].add(row[1])  # noqa: E731
    return one_by_one(jnp.zeros(s[0].shape, wide(u).dtype), add, (s[1], wide(u))).astype(u.dtype), None


@backward("embedding: segment_sum", lookup, table, ids)
def _(wide, s, u):
    return jax.ops.segment_sum(wide(u), s[1], s[0].shape[0]).astype(u.dtype), None


@backward("embedding: one-hot rows added", lookup, table, ids)
def _(wide, s, u):
    hot = wide((s[1][:, None] == jnp.arange(s[0].shape[0])).astype(u.dtype))
    return total(hot[:, :, None] * wide(u)[:, None, :]).astype(u.dtype), None


@backward("embedding: sorted, cumulated and subtracted", lookup, table, ids)
def _(wide, s, u):
    order = jnp.argsort(s[1])
    step = lambda at, row: (at + row, at + row)  # noqa: E731
    sums = lax.scan(step, jnp.zeros_like(wide(u)[0]), wide(u)[order])[1]
    running = jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
    ends = jnp.searchsorted(s[1][order], jnp.arange(s[0].shape[0] + 1))
    return jnp.diff(running[ends], axis=0).astype(u.dtype), None


def bags(table: Any, ids: Any) -> Any:
    return jnp.broadcast_to(table[ids].mean(0), (2, table.shape[1]))


@backward("embedding bag: each row's share rounded", bags, table, ids)
def _(wide, s, u):
    each = jnp.broadcast_to(wide(u.sum(0)) / s[1].size, (s[1].size, u.shape[1]))
    return jnp.zeros(s[0].shape, wide(u).dtype).at[s[1]].add(each).astype(u.dtype), None


# A bias: the rows of the upstream gradient added up.


def biased(x: Any, b: Any) -> Any:
    return x + b


@backward("bias: added up", biased, rows, few)
def _(wide, s, u):
    return u, total(wide(u)).astype(u.dtype)


@backward("bias: row by row", biased, rows, few)
def _(wide, s, u):
    return u, one_by_one(jnp.zeros(u.shape[1], wide(u).dtype), jnp.add, wide(u)).astype(u.dtype)


@backward("bias: a running mean", biased, rows, few)
def _(wide, s, u):
    step = lambda at, row: (at[0] + 1, at[1] + (row - at[1]) / (at[0] + 1))  # noqa: E731
    start = jnp.zeros((), jnp.float32), jnp.zeros(u.shape[1], wide(u).dtype)
    shrink = lambda at, row: (step(at, row)[0], step(at, row)[1].astype(start[1].dtype))  # noqa: E731
    return u, (one_by_one(start, shrink, wide(u))[1] * wide(jnp.asarray(u.shape[0], u.dtype))).astype(u.dtype)


@backward("bias: two halves", biased, rows, few)
def _(wide, s, u):
    half = u.shape[0] // 2
    return u, (total(wide(u[:half])) + total(wide(u[half:]))).astype(u.dtype)


@backward("bias: even and odd rows", biased, rows, few)
def _(wide, s, u):
    return u, (total(wide(u[::2])) + total(wide(u[1::2]))).astype(u.dtype)


@backward("bias: a loop over rows", biased, rows, few)
def _(wide, s, u):
    start = jnp.zeros(u.shape[1], wide(u).dtype)
    return u, lax.fori_loop(0, u.shape[0], lambda i, b: b + wide(u)[i], start).astype(u.dtype)


# Products that are rounded before they are added up.


@backward("scale: products rounded", lambda x, w: x * w, rows, few)
def _(wide, s, u):
    return u * s[1], total(to_float32(lax.reduce_precision(wide(s[0]) * wide(u), 8, _bits(wide(u))))).astype(u.dtype)


@backward("quotient: the share rounded", lambda x, w: x / (2 + w * w), rows, few)
def _(wide, s, u):
    d = 2 + wide(s[1]) ** 2
    each = lax.reduce_precision(-wide(u) * wide(s[0]) / d**2 * 2 * wide(s[1]), 8, _bits(wide(u)))
    return (wide(u) / d).astype(u.dtype), total(to_float32(each)).astype(u.dtype)


def _bits(x: Any) -> int:
    """The bits of a number's fraction in its type: what a kernel that stores it there keeps."""
    return jnp.finfo(x.dtype).nmant


@backward("slope of a leaky unit: added up", lambda x, a: jnp.where(x > 0, x, a * x), rows, few)
def _(wide, s, u):
    x, a = s
    return jnp.where(x > 0, u, a * u), total(jnp.where(x > 0, 0, wide(x) * wide(u))).astype(u.dtype)


@backward("weights: outer products one by one", lambda x, W: x @ W, rows, table.T[:, :2])
def _(wide, s, u):
    x, W = s
    add = lambda grad, row: grad + jnp.outer(*row)  # noqa: E731
    grad = one_by_one(jnp.zeros(W.shape, wide(u).dtype), add, (wide(x), wide(u)))
    return (wide(u) @ wide(W).T).astype(x.dtype), grad.astype(W.dtype)


@backward("weights: outer products rounded", lambda x, W: x @ W, rows, table.T[:, :2])
def _(wide, s, u):
    x, W = s
    each = lax.reduce_precision(wide(x)[:, :, None] * wide(u)[:, None, :], 8, _bits(wide(u)))
    return (to_float32(u) @ to_float32(W).T).astype(x.dtype), total(to_float32(each)).astype(W.dtype)


@backward("input of a wide layer: terms one by one", lambda x, W: x @ W, rows[:2], table.T)
def _(wide, s, u):
    x, W = s
    add = lambda grad, row: grad + jnp.outer(row[0], row[1])  # noqa: E731
    dx = one_by_one(jnp.zeros(x.shape, wide(u).dtype), add, (wide(u).T, wide(W).T))
    return dx.astype(x.dtype), (to_float32(x).T @ to_float32(u)).astype(W.dtype)


# What is repeated, cumulated, windowed.


@backward("repeat: added up", lambda x: jnp.repeat(x[None], 1024, 0), few)
def _(wide, s, u):
    return (total(wide(u)).astype(u.dtype),)


@backward("cumsum: backwards one by one", lambda x: jnp.cumsum(x), signal)
def _(wide, s, u):
    step = lambda at, v: (at + v, at + v)  # noqa: E731
    return (lax.scan(step, jnp.zeros((), wide(u).dtype), wide(u), reverse=True)[1].astype(u.dtype),)


@backward("cumsum: the total less what stands before", lambda x: jnp.cumsum(x), signal)
def _(wide, s, u):
    step = lambda at, v: (at + v, at)  # noqa: E731
    everything, before = lax.scan(step, jnp.zeros((), wide(u).dtype), wide(u))
    return ((everything - before).astype(u.dtype),)


@backward("kernel of a convolution: one by one", lambda x, k: jnp.convolve(x, k, mode="same"), signal, few)
def _(wide, s, u):
    x, k = s
    padded = jnp.pad(x, (1, 1))
    shifts = jnp.stack([padded[2:], padded[1:-1], padded[:-2]])
    add = lambda grad, row: grad + row[0] * row[1]  # noqa: E731
    dk = one_by_one(jnp.zeros(3, wide(u).dtype), add, (wide(shifts.T), wide(u)))
    dx = jnp.convolve(to_float32(u), to_float32(k)[::-1], mode="same")
    return dx.astype(x.dtype), dk.astype(k.dtype)


# Norms and softmax.


def _norm_parts(x: Any) -> tuple[Any, Any]:
    x = to_float32(x)
    c = x - x.mean(-1, keepdims=True)
    r = lax.rsqrt((c * c).mean(-1, keepdims=True) + 1e-5)
    return c * r, r


def layer_norm(x: Any) -> Any:
    return _norm_parts(x)[0].astype(x.dtype)


@backward("layer norm: mean of delta", layer_norm, rows)
def _(wide, s, u):
    n, r = _norm_parts(s[0])
    u32 = to_float32(u)
    dx = r * (u32 - to_float32(mean(wide(u), -1)) - n * (u32 * n).mean(-1, keepdims=True))
    return (dx.astype(u.dtype),)


@backward("layer norm: mean of delta times n", layer_norm, rows)
def _(wide, s, u):
    n, r = _norm_parts(s[0])
    u32 = to_float32(u)
    through_r = n * to_float32(mean(rounded(wide, u32 * n, u.dtype), -1))
    return ((r * (u32 - u32.mean(-1, keepdims=True) - through_r)).astype(u.dtype),)


@backward("layer norm: what is subtracted rounded first", layer_norm, rows)
def _(wide, s, u):
    n, r = _norm_parts(s[0])
    u32 = to_float32(u)
    level = (u32 - lax.reduce_precision(u32.mean(-1, keepdims=True), 8, _bits(wide(u)))) * r
    return ((level - r * n * (u32 * n).mean(-1, keepdims=True)).astype(u.dtype),)


def softmax(x: Any) -> Any:
    return jax.nn.softmax(to_float32(x)).astype(x.dtype)


@backward("softmax: sum of p u", softmax, rows)
def _(wide, s, u):
    p = jax.nn.softmax(to_float32(s[0]))
    through = jnp.expand_dims(total(rounded(wide, p * u, u.dtype), -1), -1)
    return ((p * (u - to_float32(through))).astype(u.dtype),)


@backward("softmax: the sum rounded before it cancels", softmax, rows)
def _(wide, s, u):
    p = jax.nn.softmax(to_float32(s[0]))
    through = lax.reduce_precision((p * u).sum(-1, keepdims=True), 8, _bits(wide(u)))
    return ((p * (u - through)).astype(u.dtype),)


@backward("softmax: probabilities saved in bits too few", softmax, rows)
def _(wide, s, u):
    p = lax.reduce_precision(jax.nn.softmax(to_float32(s[0])), 8, _bits(wide(u)))
    return ((p * (u - (p * u).sum(-1, keepdims=True))).astype(u.dtype),)


@backward("log softmax: sum of u", lambda x: jax.nn.log_softmax(to_float32(x)).astype(x.dtype), rows)
def _(wide, s, u):
    p = jax.nn.softmax(to_float32(s[0]))
    return ((u - p * to_float32(jnp.expand_dims(total(wide(u), -1), -1))).astype(u.dtype),)


# Attention: one query and many keys, or many queries and one key's row.


def attention(q: Any, k: Any, v: Any) -> Any:
    q32, k32, v32 = map(to_float32, (q, k, v))
    return (jax.nn.softmax(q32 @ k32.T) @ v32).astype(q.dtype)


def _attention_parts(s: Any, u: Any) -> tuple[Any, ...]:
    q, k, v = map(to_float32, s)
    p = jax.nn.softmax(q @ k.T)
    dp = to_float32(u) @ v.T
    return q, k, p, p * (dp - (p * dp).sum(-1, keepdims=True))


@backward("attention: keys, query by query", attention, rows[:, :2], table[:, :2], table)
def _(wide, s, u):
    q, k, p, delta = _attention_parts(s, u)
    add = lambda grad, row: grad + jnp.outer(*row)  # noqa: E731
    low = u.dtype
    dk = one_by_one(jnp.zeros(k.shape, wide(u).dtype), add, (rounded(wide, delta, low), rounded(wide, q, low)))
    return (delta @ k).astype(low), dk.astype(low), (p.T @ u).astype(low)


@backward("attention: values, query by query", attention, rows[:, :2], table[:, :2], table)
def _(wide, s, u):
    q, k, p, delta = _attention_parts(s, u)
    low = u.dtype
    dv = total(rounded(wide, p, low)[:, :, None] * wide(u)[:, None, :])
    return (delta @ k).astype(low), (delta.T @ q).astype(low), dv.astype(low)


# Forward passes that add up; their gradients are taken in float32.


@forward("sum of squares", signal)
def _(wide, x):
    return total(wide(x) * wide(x)).astype(x.dtype) * jnp.ones(2, x.dtype)


@forward("mean: sum, then divide", signal)
def _(wide, x):
    return (total(wide(x) + 4) / x.size).astype(x.dtype) * jnp.ones(2, x.dtype)


@forward("mean: divides before it adds", signal)
def _(wide, x):
    return total((wide(x) + 4) / x.size).astype(x.dtype) * jnp.ones(2, x.dtype)


@forward("dot product", signal, signal[::-1].copy() + 3)
def _(wide, x, y):
    return total(wide(x) * wide(x) * wide(y)).astype(x.dtype) * jnp.ones(2, x.dtype)


@forward("layer norm: the mean", rows + 3)
def _(wide, x):
    x32 = to_float32(x)
    c = x32 - to_float32(mean(rounded(wide, x32, x.dtype), -1))
    return (c * lax.rsqrt((c * c).mean(-1, keepdims=True) + 1e-5)).astype(x.dtype)


@forward("layer norm: the variance", rows)
def _(wide, x):
    c = to_float32(x)
    c = c - c.mean(-1, keepdims=True)
    low = rounded(wide, c, x.dtype)
    return (c * lax.rsqrt(to_float32(mean(low * low, -1)) + 1e-5)).astype(x.dtype)


@forward("rms norm: the mean of squares", rows)
def _(wide, x):
    x32 = to_float32(x)
    low = rounded(wide, x32, x.dtype)
    return (x32 * lax.rsqrt(to_float32(mean(low * low, -1)) + 1e-5)).astype(x.dtype)


def _exponentials(z: Any) -> Any:
    return jnp.exp(z - lax.stop_gradient(z.max(-1, keepdims=True)))


@forward("softmax: the normalizer", rows)
def _(wide, x):
    e = _exponentials(to_float32(x))
    return (e / to_float32(jnp.expand_dims(total(rounded(wide, e, x.dtype), -1), -1))).astype(x.dtype)


@forward("logsumexp", rows)
def _(wide, x):
    x32 = to_float32(x)
    s = total(rounded(wide, _exponentials(x32), x.dtype), -1)
    return (jnp.log(to_float32(s)) + lax.stop_gradient(x32.max(-1))).astype(x.dtype)


@forward("segment_sum", signal, ids)
def _(wide, x, ids):
    return jax.ops.segment_sum(wide(x) ** 2, ids, 4).astype(x.dtype)


@forward("Euclidean norm", signal)
def _(wide, x):
    return jnp.sqrt(to_float32(total(wide(x) * wide(x)))).astype(x.dtype) * jnp.ones(2, x.dtype)


@forward("attention: the row sums", rows[:2, :2] / 8, table[:, :2], table)
def _(wide, q, k, v):
    e = _exponentials(to_float32(q) @ to_float32(k).T)
    s = to_float32(total(rounded(wide, e, q.dtype), -1))
    return (e @ to_float32(v) / s[:, None]).astype(q.dtype)


@forward("a cross-entropy over many classes", rows, np.array([0, 2, 1, 0, 2], np.int32))
def _(wide, z, labels):
    e = _exponentials(to_float32(z))
    s = to_float32(total(rounded(wide, e, z.dtype), -1))
    return (jnp.log(s) - jnp.log(jnp.take_along_axis(e, labels[:, None], -1)[:, 0])).astype(z.dtype)


@forward("a state that is added to, token by token", rows)
def _(wide, x):
    step = lambda at, row: (at + row * row, at + row * row)  # noqa: E731
    return lax.scan(step, jnp.zeros(x.shape[1], wide(x).dtype), wide(x))[1].astype(x.dtype)


def twins() -> list[Twins]:
    """All of them."""
    made = []
    for name, (plain, of, args) in SUMS.items():
        made.append(Twins(name, by_hand(plain, of(to_float32)), by_hand(plain, of(as_it_is)), args))
    for name, (of, args) in FORWARDS.items():
        made.append(Twins(name, _summing(of, to_float32), _summing(of, as_it_is), args))
    return made


def _summing(of: Callable[[Wide], Callable[..., Any]], wide: Wide) -> Callable[..., Any]:
    """The function itself in float32 as the plain one, its derivative as the backward pass."""
    plain = of(to_float32)

    def backward(residuals: Any, upstream: Any) -> Any:
        return jax.vjp(plain, *residuals)[1](upstream)

    return by_hand(plain, backward, lambda *args: (of(wide)(*args), args))
