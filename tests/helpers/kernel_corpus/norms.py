"""RMS norm and layer norm in blocks of rows: dx row by row, dscale and dshift added up over the blocks."""

from collections.abc import Iterator
from typing import Any

from jax import lax

from .entry import DROPPED, NARROW, OVERWRITTEN, RACE, UNMASKED, Array, Kernel, f32, like, normal, rows, rule

EPS = 1e-2


def rms_norm(x: Array, scale: Array) -> Array:
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + EPS) * scale


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + EPS) * scale + shift


def kernel(by: str, layer: bool, fault: str = "", block: int = 4) -> Any:
    """The backward pass of layer norm, or of RMS norm."""
    eps = 0.0 if fault == "epsilon is left out" else EPS

    def step(start: Any, x: Array, u: Array, scale: Array) -> Any:
        x, u, scale = f32(x, u, scale)
        centred = x - x.mean(-1, keepdims=True) if layer else x
        width = 4 if fault == "the mean is over a fixed width" else x.shape[1]
        r = lax.rsqrt((centred * centred).sum(-1, keepdims=True) / width + eps)
        n = centred * r
        delta = u if fault == "scale is left out of dx" else u * scale
        through_r = n * (delta * n).mean(-1, keepdims=True)
        through_m = delta.mean(-1, keepdims=True) if layer else 0.0
        if fault == "the path through the spread is left out":
            through_r = 0.0
        if fault == "the path through the mean is left out":
            through_m = 0.0
        dx = r * (delta - through_m - through_r)
        of_scale = u * centred if fault == "dscale is of what is not normalised" else u * n
        sums = [of_scale.sum(0, keepdims=True), u.sum(0, keepdims=True)]
        if fault == "dscale is averaged over the rows of a block":
            sums[0] = sums[0] / x.shape[0]
        if fault == "the first row of each block counts twice":
            sums[0] = sums[0] + of_scale[:1]
        if fault == "dscale and dshift are exchanged":
            sums = sums[::-1]
        return [dx], sums[: 2 if layer else 1]

    def backward(u: Array, x: Array, *parameters: Array) -> tuple:
        flat = [p[None] for p in parameters]
        (dx,), sums = rows(by, step, block, [x, u], flat[:1], like(x), like(*flat), fault)
        return dx, *(s[0] for s in sums)

    return rule(layer_norm if layer else rms_norm, backward)


EVERYWHERE = ("all",)
FAULTS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("both", "epsilon is left out", ("x", "scale"), EVERYWHERE),
    ("rms", "the mean is over a fixed width", ("x", "scale"), EVERYWHERE),
    ("both", "scale is left out of dx", ("x",), EVERYWHERE),
    ("both", "the path through the spread is left out", ("x",), EVERYWHERE),
    ("layer", "the path through the mean is left out", ("x",), EVERYWHERE),
    ("rms", "dscale is of what is not normalised", ("scale",), EVERYWHERE),
    ("rms", "dscale is averaged over the rows of a block", ("scale",), EVERYWHERE),
    ("rms", "the first row of each block counts twice", ("scale",), EVERYWHERE),
    ("layer", "dscale and dshift are exchanged", ("scale", "shift"), EVERYWHERE),
    ("both", DROPPED, ("x", "scale"), ("the last, partial block", "the last 2 rows", "all")),
    ("rms", OVERWRITTEN, ("scale",), EVERYWHERE),
    ("layer", NARROW, ("scale", "shift"), EVERYWHERE),
    ("rms", UNMASKED, ("scale",), EVERYWHERE),
    ("rms", RACE, (), ("race",)),
)


def _plain(layer: bool) -> Any:
    return layer_norm if layer else rms_norm


def _arguments(layer: bool, n: int = 10, d: int = 5) -> tuple:
    scale, shift = normal(d, seed=1) + 1, normal(d, seed=2)
    return (normal(n, d), scale, shift) if layer else (normal(n, d), scale)


def wrong() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for which, fault, outputs, places in FAULTS:
            for layer in {"both": (False, True), "rms": (False,), "layer": (True,)}[which]:
                if fault == RACE and by == "chunks":
                    continue
                name = f"{_plain(layer).__name__}, {by}: {fault}"
                fun = kernel(by, layer, fault)
                yield Kernel(name, fun, _arguments(layer), _plain(layer), outputs=outputs, places=places)


def right() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for layer in (False, True):
            for n, block in ((8, 4), (10, 4), (7, 3)):
                name = f"{_plain(layer).__name__} of {n} rows in blocks of {block}, {by}"
                yield Kernel(name, kernel(by, layer, block=block), _arguments(layer, n), _plain(layer))
