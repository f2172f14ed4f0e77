"""Linear cross-entropy in blocks of examples and of classes: logits are computed again, and never held as a whole."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import DROPPED, NARROW, OVERWRITTEN, RACE, Array, Kernel, f32, like, normal, rows, rule

IGNORED, Z = -1, 0.1


def capped(s: Array, cap: float) -> Array:
    return cap * jnp.tanh(s / cap) if cap else s


def plain(cap: float, z: float) -> Any:
    def linear_cross_entropy(x: Array, W: Array, labels: Array) -> Array:
        s = capped(x @ W.T, cap)
        lse = jax.nn.logsumexp(s, -1)
        loss = lse - jnp.take_along_axis(s, jnp.maximum(labels, 0)[:, None], 1)[:, 0] + z * lse * lse
        return jnp.where(labels == IGNORED, 0, loss)

    return linear_cross_entropy


def kernel(by: str, over: str, cap: float = 0.0, z: float = 0.0, fault: str = "", block: int = 4) -> Any:
    """In blocks `over` "examples" or "classes"."""

    def of_logits(x: Array, W: Array, labels: Array, u: Array, lse: Array, first: Any) -> Array:
        """The gradient of a block of logits, of which the first column is class `first`."""
        x, W, u, lse = f32(x, W, u, lse)
        raw = capped(x @ W.T, cap)
        classes = jnp.arange(W.shape[0])[None, :] + (0 if fault == "labels are counted within a block" else first)
        p = jnp.exp(raw - lse)
        if fault == "the softmax is of one block of classes":
            p = jax.nn.softmax(raw, -1)
        weight = 1 + (0 if fault == "the z-loss is forgotten" else 2 * z * lse)
        if fault == "the upstream gradient is a mean's":
            u = jnp.ones_like(u) * u.mean()
        if fault != "ignored labels count":
            u = jnp.where(labels == IGNORED, 0, u)
        hot = (classes == labels) if fault != "the label's class is left out" else 0
        ds = u * (p * weight - hot)
        return ds * (1 - (raw / cap) ** 2) if cap and fault != "the cap's derivative is forgotten" else ds

    def backward(u: Array, x: Array, W: Array, labels: Array) -> tuple:
        lse = jax.nn.logsumexp(capped(x @ W.T, cap), -1, keepdims=True)
        u, hot = u[:, None], labels[:, None]

        def of_examples(i: Any, x: Array, hot: Array, u: Array, lse: Array, W: Array) -> Any:
            ds = of_logits(x, W, hot, u, lse, 0)
            return [ds @ W.astype(jnp.float32)], [ds.T @ x.astype(jnp.float32)]

        def of_classes(j: Any, W: Array, x: Array, hot: Array, u: Array, lse: Array) -> Any:
            inside = j + jnp.arange(W.shape[0])[None, :] < classes
            ds = jnp.where(inside, of_logits(x, W, hot, u, lse, j), 0)
            return [ds.T @ x.astype(jnp.float32)], [ds @ W.astype(jnp.float32)]

        classes = W.shape[0]
        if over == "examples":
            (dx,), (dW,) = rows(by, of_examples, block, [x, hot, u, lse], [W], like(x), like(W), fault)
        else:
            (dW,), (dx,) = rows(by, of_classes, block, [W], [x, hot, u, lse], like(W), like(x), fault)
        return dx, dW, np.zeros(labels.shape, jax.dtypes.float0)

    return rule(plain(cap, z), backward)


def arguments(n: int = 6, classes: int = 10, d: int = 3) -> tuple:
    labels = np.random.default_rng(7).integers(0, classes, n).astype(np.int32)
    labels[1], labels[2] = IGNORED, classes - 1
    return normal(n, d), normal(classes, d, seed=1), labels


EVERYWHERE = ("all", "of 18", "of 30", "rows")
LAST = ("the last, partial block", "the last 2 rows", "all")
FAULTS: tuple[tuple[str, float, float, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("classes", 0, 0, "labels are counted within a block", ("x", "W"), EVERYWHERE),
    ("classes", 0, 0, "the softmax is of one block of classes", ("x", "W"), EVERYWHERE),
    ("examples", 0, 0, "ignored labels count", ("x", "W"), ("row 1", "row", "all")),
    ("examples", 0, Z, "the z-loss is forgotten", ("x", "W"), EVERYWHERE),
    ("examples", 2.0, 0, "the cap's derivative is forgotten", ("x", "W"), EVERYWHERE),
    ("examples", 0, 0, "the upstream gradient is a mean's", ("x", "W"), EVERYWHERE),
    ("classes", 0, 0, "the label's class is left out", ("x", "W"), EVERYWHERE),
    ("classes", 0, 0, DROPPED, ("x", "W"), LAST),
    ("examples", 0, 0, DROPPED, ("x", "W"), LAST),
    ("classes", 0, 0, OVERWRITTEN, ("x",), EVERYWHERE),
    ("examples", 0, 0, NARROW, ("W",), EVERYWHERE),
    ("examples", 0, 0, RACE, (), ("race",)),
)


def wrong() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for over, cap, z, fault, outputs, places in FAULTS:
            if fault == RACE and by == "chunks":
                continue
            fun = kernel(by, over, cap, z, fault)
            name = f"linear cross-entropy over {over}, {by}: {fault}"
            yield Kernel(name, fun, arguments(), plain(cap, z), outputs=outputs, places=places)


def right() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for over in ("examples", "classes"):
            for cap, z in ((0.0, 0.0), (2.0, 0.0), (0.0, Z)):
                words = " with a soft cap" * bool(cap) + " with z-loss" * bool(z)
                name = f"linear cross-entropy over {over}{words}, {by}"
                yield Kernel(name, kernel(by, over, cap, z), arguments(), plain(cap, z))
