"""Gated units, softmax, rotary positions and a bias shared by a batch: in blocks of rows."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import DROPPED, NARROW, OVERWRITTEN, RACE, UNMASKED, Array, Kernel, f32, like, normal, rows, rule

Fault = tuple[str, tuple[str, ...], tuple[str, ...]]
EVERYWHERE = ("all",)
LAST = ("the last, partial block", "the last 2 rows", "all")


# e = silu(a) b, or gelu(a) b


def swiglu(a: Array, b: Array) -> Array:
    return jax.nn.silu(a) * b


def geglu(a: Array, b: Array) -> Array:
    return jax.nn.gelu(a, approximate=False) * b


def gated(by: str, plain: Any, fault: str = "", block: int = 4) -> Any:
    def slope(a: Array) -> tuple[Array, Array]:
        if plain is swiglu:
            s = jax.nn.sigmoid(a)
            return a * s, s * (1 - s) if fault == "the gate's derivative is the sigmoid's" else s * (1 + a * (1 - s))
        if fault == "the gate's derivative is that of tanh's approximation":
            t = jnp.tanh(0.7978845608 * (a + 0.044715 * a**3))
            inner = 0.7978845608 * (1 + 3 * 0.044715 * a**2)
            return 0.5 * a * (1 + t), 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * inner
        cdf = 0.5 * (1 + jax.lax.erf(a / np.sqrt(2)))
        return a * cdf, cdf + a * jnp.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)

    def step(start: Any, a: Array, b: Array, u: Array) -> Any:
        a, b, u = f32(a, b, u)
        value, derivative = slope(a)
        if fault == "the gate's value stands for its derivative":
            derivative = value
        da, db = u * b * derivative, u * value
        if fault == "the gate is clipped on the way back":
            da = jnp.where(jnp.abs(a) > 4, 0, da)
        if fault == "gradients are clipped at 2":
            da = jnp.clip(da, -2, 2)
        if fault == "right only at zero":
            da = u * b * 0.5
        return ([db, da] if fault == "da and db are exchanged" else [da, db]), []

    def backward(u: Array, a: Array, b: Array) -> tuple:
        return tuple(rows(by, step, block, [a, b, u], outputs=like(a, b), fault=fault)[0])

    return rule(plain, backward)


GATED: tuple[tuple[Any, Fault], ...] = (
    (swiglu, ("the gate's derivative is the sigmoid's", ("a",), EVERYWHERE)),
    (geglu, ("the gate's derivative is that of tanh's approximation", ("a",), EVERYWHERE)),
    (swiglu, ("the gate's value stands for its derivative", ("a",), EVERYWHERE)),
    (swiglu, ("da and db are exchanged", ("a", "b"), EVERYWHERE)),
    (swiglu, ("the gate is clipped on the way back", ("a",), ("larger",))),
    (swiglu, ("gradients are clipped at 2", ("a",), ("of 30", "larger"))),
    (swiglu, ("right only at zero", ("a",), EVERYWHERE)),
    (geglu, (DROPPED, ("a", "b"), LAST)),
)


# Softmax of rows


def softmax(x: Array) -> Array:
    return jax.nn.softmax(x, -1)


def softmax_by(by: str, fault: str = "", block: int = 4) -> Any:
    def step(start: Any, x: Array, u: Array) -> Any:
        x, u = f32(x, u)
        y = jax.nn.softmax(x, -1)
        product = y * u
        if fault == "the row sum is of the first four columns":
            through = product[:, :4].sum(-1, keepdims=True)
        elif fault == "the row sum is averaged":
            through = product.mean(-1, keepdims=True)
        elif fault == "the row sum is the block's":
            through = jnp.broadcast_to(product.sum(keepdims=True), (x.shape[0], 1))
        else:
            through = product.sum(-1, keepdims=True)
        if fault == "the row sum is left out":
            through = 0.0
        if fault == "rows are shifted by one within a block":
            u = jnp.roll(u, 1, 0)
        if fault == "the logits stand for the probabilities":
            y = x
        return [y * (u - through)], []

    def backward(u: Array, x: Array) -> tuple:
        return tuple(rows(by, step, block, [x, u], outputs=like(x), fault=fault)[0])

    return rule(softmax, backward)


SOFTMAX: tuple[Fault, ...] = (
    ("the row sum is of the first four columns", ("x",), EVERYWHERE),
    ("the row sum is averaged", ("x",), EVERYWHERE),
    ("the row sum is the block's", ("x",), EVERYWHERE),
    ("the row sum is left out", ("x",), EVERYWHERE),
    ("rows are shifted by one within a block", ("x",), EVERYWHERE),
    ("the logits stand for the probabilities", ("x",), EVERYWHERE),
    (DROPPED, ("x",), LAST),
)


# Rotary positions (Su 2021)


def turned(x: Array, positions: Array, sign: float = 1.0) -> Array:
    angles = positions[:, None] / 10.0 ** (jnp.arange(x.shape[1] // 2, dtype=x.dtype) / 2)
    cos, sin = jnp.cos(angles), sign * jnp.sin(angles)
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def rotary(x: Array) -> Array:
    return turned(x, jnp.arange(x.shape[0]).astype(x.dtype))


def rotary_by(by: str, fault: str = "", block: int = 4) -> Any:
    def step(start: Any, u: Array) -> Any:
        (u,) = f32(u)
        first = 0 if fault == "positions start again in each block" else start
        first = first + 1 if fault == "positions are off by one" else first
        positions = (first + jnp.arange(u.shape[0])).astype(jnp.float32)
        return [turned(u, positions, 1.0 if fault == "it is not turned back" else -1.0)], []

    def backward(u: Array, x: Array) -> tuple:
        (dx,), _ = rows(by, step, block, [u], outputs=like(x), fault=fault)
        return (dx[:, ::-1] if fault == "columns are reversed" else dx,)

    def plain(x: Array) -> Array:
        if x.shape[1] % 2:
            raise ValueError(f"{x.shape[1]} columns do not make pairs")
        return rotary(x)

    return rule(plain, backward), plain


ROTARY: tuple[Fault, ...] = (
    ("positions start again in each block", ("x",), ("the last 6 rows", "block rows 2", "rows")),
    ("positions are off by one", ("x",), EVERYWHERE),
    ("it is not turned back", ("x",), ("the last 9 rows", "rows")),
    ("columns are reversed", ("x",), EVERYWHERE),
    (DROPPED, ("x",), LAST),
)


# A bias that a batch shares


def shared(x: Array, bias: Array) -> Array:
    return jnp.tanh(x + bias)


def bias_by(by: str, fault: str = "", block: int = 4) -> Any:
    def step(start: Any, x: Array, u: Array, bias: Array) -> Any:
        x, u, bias = f32(x, u, bias)
        y = jnp.tanh(x + bias)
        dx = u * (1 - y * y)
        total = dx.sum(0, keepdims=True)
        if fault == "dbias is that of one example of each block":
            total = dx[:1]
        if fault == "dbias is averaged over a block":
            total = dx.mean(0, keepdims=True)
        return [dx], [total]

    def backward(u: Array, x: Array, bias: Array) -> tuple:
        if fault == "right only at one seed":
            first = jnp.asarray(_arguments("bias")[0][0, 0])
            u = u * jnp.where(jnp.abs(x[0, 0].astype(jnp.float32) - first) < 1e-6, 1, 1.01).astype(u.dtype)
        (dx,), (dbias,) = rows(by, step, block, [x, u], [bias[None]], like(x), like(bias[None]), fault)
        if fault == "dbias is divided by the batch":
            dbias = dbias / x.shape[0]
        return dx, dbias[0]

    return rule(shared, backward)


SHARED: tuple[Fault, ...] = (
    ("dbias is that of one example of each block", ("bias",), EVERYWHERE),
    ("dbias is averaged over a block", ("bias",), EVERYWHERE),
    ("dbias is divided by the batch", ("bias",), EVERYWHERE),
    ("right only at one seed", ("x", "bias"), EVERYWHERE),
    (DROPPED, ("x", "bias"), LAST),
    (OVERWRITTEN, ("bias",), EVERYWHERE),
    (NARROW, ("bias",), EVERYWHERE),
    (UNMASKED, ("bias",), EVERYWHERE),
    (RACE, (), ("race",)),
)


def _arguments(which: str) -> tuple:
    return {
        "gated": (normal(10, 3, times=2), normal(10, 3, seed=1)),
        "softmax": (normal(10, 6, times=2),),
        "rotary": (normal(10, 6),),
        "bias": (normal(10, 3), normal(3, seed=1)),
    }[which]


def wrong() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for plain, (fault, outputs, places) in GATED:
            name, fun = f"{plain.__name__}, {by}: {fault}", gated(by, plain, fault)
            yield Kernel(name, fun, _arguments("gated"), plain, outputs=outputs, places=places)
        for fault, outputs, places in SOFTMAX:
            fun = softmax_by(by, fault)
            yield Kernel(f"softmax, {by}: {fault}", fun, _arguments("softmax"), softmax, outputs=outputs, places=places)
        for fault, outputs, places in ROTARY:
            fun, plain = rotary_by(by, fault)
            yield Kernel(f"rotary, {by}: {fault}", fun, _arguments("rotary"), plain, outputs=outputs, places=places)
        for fault, outputs, places in SHARED:
            if fault != RACE or by == "pallas":
                fun = bias_by(by, fault)
                yield Kernel(
                    f"shared bias, {by}: {fault}", fun, _arguments("bias"), shared, outputs=outputs, places=places
                )


def right() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for plain in (swiglu, geglu):
            yield Kernel(f"{plain.__name__}, {by}", gated(by, plain), _arguments("gated"), plain)
        yield Kernel(f"softmax, {by}", softmax_by(by), _arguments("softmax"), softmax)
        yield Kernel(f"softmax in blocks of 3, {by}", softmax_by(by, block=3), (normal(7, 5),), softmax)
        fun, plain = rotary_by(by)
        yield Kernel(f"rotary, {by}", fun, _arguments("rotary"), plain)
        yield Kernel(f"shared bias, {by}", bias_by(by), _arguments("bias"), shared)
        yield Kernel(f"shared bias in blocks of 8, {by}", bias_by(by, block=8), _arguments("bias"), shared)
