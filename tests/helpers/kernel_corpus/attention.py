"""Flash attention's backward pass (Dao 2022, arXiv:2205.14135) in blocks of queries and of keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import DROPPED, Array, Kernel, f32, like, normal, rows, rule


@dataclass(frozen=True)
class Setting:
    """A kind of attention: causal, with a soft cap, with a bias, with grouped heads."""

    causal: bool = False
    cap: float = 0.0
    bias: bool = False
    group: int = 0
    window: int = 0

    @property
    def name(self) -> str:
        words = [
            "causal" * self.causal, "soft cap" * bool(self.cap), "bias" * self.bias, "grouped heads" * bool(self.group),
            "window" * bool(self.window),
        ]  # fmt: skip
        return " ".join(["attention", *filter(None, words)])


def capped(s: Array, cap: float) -> Array:
    return cap * jnp.tanh(s / cap) if cap else s


def seen(setting: Setting, row: Array, column: Array, off: int = 0) -> Array:
    """Which keys a query sees; `off` moves the edge."""
    mask = jnp.ones(jnp.broadcast_shapes(row.shape, column.shape), bool)
    if setting.causal:
        mask &= row >= column + off
    if setting.window:
        mask &= row - column < setting.window + off
    return mask


def plain_head(setting: Setting, q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
    s = capped(q @ k.T / np.sqrt(q.shape[1]).astype(q.dtype), setting.cap)
    s = s if bias is None else s + bias
    mask = seen(setting, jnp.arange(q.shape[0])[:, None], jnp.arange(k.shape[0]))
    return jax.nn.softmax(jnp.where(mask, s, -1e30), -1) @ v


def plain(setting: Setting) -> Any:
    def attention(q: Array, k: Array, v: Array) -> Array:
        return plain_head(setting, q, k, v)

    def with_bias(q: Array, k: Array, v: Array, bias: Array) -> Array:
        return jax.vmap(lambda q, k, v: plain_head(setting, q, k, v, bias))(q, k, v)

    def grouped(q: Array, k: Array, v: Array) -> Array:
        k, v = (jnp.repeat(x, q.shape[0] // x.shape[0], 0) for x in (k, v))
        return jax.vmap(lambda q, k, v: plain_head(setting, q, k, v))(q, k, v)

    return with_bias if setting.bias else grouped if setting.group else attention


def head(by: str, setting: Setting, fault: str, block: int, u: Array, q: Array, k: Array, v: Array, bias: Any) -> Any:
    """dq, dk, dv and the gradient of the scores of one head."""
    n, m, scale = q.shape[0], k.shape[0], 1 / np.sqrt(q.shape[1])
    s = capped(q @ k.T * jnp.asarray(scale, q.dtype), setting.cap) + (0 if bias is None else bias)
    s = jnp.where(seen(setting, jnp.arange(n)[:, None], jnp.arange(m)), s, -1e30).astype(jnp.float32)
    lse = jax.nn.logsumexp(s, -1, keepdims=True)
    if fault == "the row's largest score stands for its log-sum-exp":
        lse = s.max(-1, keepdims=True)
    delta = (u * (jnp.exp(s - lse) @ v)).sum(-1, keepdims=True)
    no_bias = jnp.zeros((n, m), q.dtype) if bias is None else bias

    def pair(i: Any, j: Any, q: Array, k: Array, v: Array, u: Array, lse: Array, delta: Array, bias: Array) -> Any:
        """What rows from `i` and keys from `j` add to dq, dk, dv; and the gradient of their scores."""
        q, k, v, u, bias = f32(q, k, v, u, bias)
        row, column = i + jnp.arange(q.shape[0])[:, None], j + jnp.arange(k.shape[0])[None, :]
        raw = capped(q @ k.T * scale, setting.cap)
        s = jnp.minimum(raw + bias, 3.0) if fault == "scores beyond 3 are cut off" else raw + bias
        off = 1 if fault == "the mask is off by one" else 0
        p = jnp.where(seen(setting, row, column, off) & (row < n) & (column < m), jnp.exp(s - lse), 0)
        dp = u @ (k if fault == "keys stand for values" else v).T
        if fault == "row sums are of one block of keys":
            delta = (p * dp).sum(-1, keepdims=True)
        ds = p * (dp if fault == "row sums are left out" else dp - delta)
        before = (
            ds
            if not setting.cap or fault == "the cap's derivative is forgotten"
            else ds * (1 - (raw / setting.cap) ** 2)
        )
        skipped = fault == "a causal block too many is skipped" and setting.causal
        keep = jnp.where(j >= i, 0.0, 1.0) if skipped else 1.0
        square = scale * scale if fault == "dq is scaled twice" else scale
        dk = keep * before.T @ q * (1.0 if fault == "dk is not scaled" else scale)
        return keep * before @ k * square, dk, keep * p.T @ u, ds

    def pad(x: Array, axis: int = 0) -> Array:
        width = [(0, -x.shape[axis] % block) if a == axis else (0, 0) for a in range(x.ndim)]
        return jnp.pad(x, width)

    keys, values, wide = pad(k), pad(v), pad(no_bias, 1)

    def of_queries(i: Any, q: Array, u: Array, lse: Array, delta: Array, bias: Array, k: Array, v: Array) -> Any:
        parts = [
            pair(i, j, q, k[j : j + block], v[j : j + block], u, lse, delta, bias[:, j : j + block])
            for j in range(0, keys.shape[0], block)
        ]
        dq = parts[-1][0] if fault == "dq is that of the last block of keys" else sum(p[0] for p in parts)
        return [dq, jnp.concatenate([p[3] for p in parts], 1)], []

    def of_keys(j: Any, k: Array, v: Array, bias: Array, q: Array, u: Array, lse: Array, delta: Array) -> Any:
        parts = [
            pair(
                i,
                j,
                q[i : i + block],
                k,
                v,
                u[i : i + block],
                lse[i : i + block],
                delta[i : i + block],
                bias[:, i : i + block].T,
            )
            for i in range(0, queries[0].shape[0], block)
        ]
        if fault == "dv is summed in bfloat16":
            dv = jnp.zeros(v.shape, jnp.bfloat16)
            for p in parts:
                dv = (dv.astype(jnp.float32) + p[2]).astype(jnp.bfloat16)
            return [sum(p[1] for p in parts), dv], []
        return [sum(p[1] for p in parts), sum(p[2] for p in parts)], []

    queries = [pad(x) for x in (q, u, lse, delta)]
    of_loop = fault if fault == DROPPED else ""
    outs = [*like(q), jax.ShapeDtypeStruct((n, keys.shape[0]), jnp.float32)]
    (dq, ds), _ = rows(by, of_queries, block, [q, u, lse, delta, wide], [keys, values], outs)
    (dk, dv), _ = rows(by, of_keys, block, [k, v, pad(no_bias.T, 1)], queries, like(k, v), fault=of_loop)
    if fault == "dk and dv are exchanged":
        dk, dv = dv, dk
    return dq, dk, dv, ds[:, :m].astype(q.dtype)


def kernel(by: str, setting: Setting, fault: str = "", block: int = 4) -> Any:
    def single(u: Array, q: Array, k: Array, v: Array) -> tuple:
        return head(by, setting, fault, block, u, q, k, v, None)[:3]

    def heads(u: Array, q: Array, k: Array, v: Array, bias: Array | None = None) -> Any:
        each = lambda u, q, k, v: head(by, setting, fault, block, u, q, k, v, bias)  # noqa: E731
        return jax.vmap(each)(u, q, k, v)

    def with_bias(u: Array, q: Array, k: Array, v: Array, bias: Array) -> tuple:
        dq, dk, dv, ds = heads(u, q, k, v, bias)
        return dq, dk, dv, ds[0] if fault == "dbias is that of the first head" else ds.sum(0)

    def grouped(u: Array, q: Array, k: Array, v: Array) -> tuple:
        group = q.shape[0] // k.shape[0]
        dq, dk, dv, _ = heads(u, q, *(jnp.repeat(x, group, 0) for x in (k, v)))
        dk, dv = (x.reshape(k.shape[0], group, *x.shape[1:]) for x in (dk, dv))
        if fault == "one head of each group counts":
            return dq, dk[:, 0], dv[:, 0]
        dk, dv = dk.sum(1), dv.sum(1)
        return dq, jnp.roll(dk, 1, 0) if fault == "a head's gradient is given to its neighbour" else dk, dv

    return rule(plain(setting), with_bias if setting.bias else grouped if setting.group else single)


def arguments(setting: Setting, n: int = 10, m: int = 10, d: int = 3) -> tuple:
    heads = (2,) if setting.bias else (4,) if setting.group else ()
    q, k, v = normal(*heads, n, d, seed=1), normal(*heads, m, d, seed=2), normal(*heads, m, d, seed=3)
    if setting.group:
        k, v = k[:2], v[:2]
    return (q, k, v, normal(n, m, seed=4)) if setting.bias else (q, k, v)


PLAIN, CAUSAL, CAP = Setting(), Setting(causal=True), Setting(cap=2.0)
BIAS, GROUPED, WINDOW = Setting(bias=True), Setting(group=2), Setting(causal=True, window=3)

EVERYWHERE = ("all",)
FAULTS: tuple[tuple[Setting, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (CAUSAL, "the mask is off by one", ("q", "k", "v"), EVERYWHERE),
    (WINDOW, "the mask is off by one", ("q", "k", "v"), EVERYWHERE),
    (PLAIN, "dk is not scaled", ("k",), EVERYWHERE),
    (PLAIN, "dq is scaled twice", ("q",), EVERYWHERE),
    (PLAIN, "keys stand for values", ("q", "k"), EVERYWHERE),
    (PLAIN, "row sums are of one block of keys", ("q", "k"), EVERYWHERE),
    (PLAIN, "row sums are left out", ("q", "k"), EVERYWHERE),
    (PLAIN, "the row's largest score stands for its log-sum-exp", ("q", "k", "v"), EVERYWHERE),
    (CAUSAL, "a causal block too many is skipped", ("q", "k", "v"), EVERYWHERE),
    (PLAIN, "dq is that of the last block of keys", ("q",), EVERYWHERE),
    (PLAIN, "dk and dv are exchanged", ("k", "v"), EVERYWHERE),
    (PLAIN, DROPPED, ("k", "v"), ("the last, partial block", "the last 2 rows")),
    (PLAIN, "dv is summed in bfloat16", ("v",), EVERYWHERE),
    (PLAIN, "scores beyond 3 are cut off", ("q", "k", "v"), ("all", "row", "of 30", "element")),
    (CAP, "the cap's derivative is forgotten", ("q", "k"), EVERYWHERE),
    (BIAS, "dbias is that of the first head", ("bias",), EVERYWHERE),
    (GROUPED, "one head of each group counts", ("k", "v"), EVERYWHERE),
    (GROUPED, "a head's gradient is given to its neighbour", ("k",), EVERYWHERE),
)


def wrong() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for setting, fault, outputs, places in FAULTS:
            name = f"{setting.name}, {by}: {fault}"
            fun = kernel(by, setting, fault)
            yield Kernel(name, fun, arguments(setting), plain(setting), outputs=outputs, places=places)


def right() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for setting in (PLAIN, CAUSAL, CAP, BIAS, GROUPED, WINDOW, Setting(causal=True, cap=3.0)):
            yield Kernel(f"{setting.name}, {by}", kernel(by, setting), arguments(setting), plain(setting))
        yield Kernel(f"attention of few queries, {by}", kernel(by, PLAIN), arguments(PLAIN, 5, 9, 4), plain(PLAIN))
        yield Kernel(
            f"attention in small blocks, {by}", kernel(by, CAUSAL, block=2), arguments(CAUSAL, 6, 6), plain(CAUSAL)
        )
