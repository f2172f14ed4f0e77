"""What each JAX primitive does, in NumPy: arithmetic that works in any precision, and the moving of elements.

A table from a primitive's name to a function `(equation, inputs) -> output`. Elementwise functions that NumPy has
not, or not for every kind of number, are asked of the arithmetic in use (`arithmetic.py`).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .indexing import gather_positions, scatter_positions

ELEMENTWISE = {
    "neg": np.negative,
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "square": lambda x: x * x,
    "not": np.invert,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shift_left": np.left_shift,
    "conj": np.conj,
    "real": np.real,
    "imag": np.imag,
    "abs": np.abs,
}

IDENTITIES = frozenset(
    "copy copy_p stop_gradient optimization_barrier pvary pbroadcast sharding_constraint mesh_cast device_put name "
    "reduce_precision reshard layout_constraint "
    # Collectives, met inside a shard_map over one device.
    "psum psum2 psum_invariant pmax pmin all_gather all_gather_invariant all_reduced".split()
)

TABLE: dict[str, Callable[..., Any]] = {}


def primitive(*names: str) -> Callable:
    """Decorator: enter a function for the primitives of these names; it gets the parameters and the inputs."""

    def enter(function: Callable) -> Callable:
        TABLE.update(dict.fromkeys(names, function))
        return function

    return enter


@primitive("broadcast_in_dim")
def broadcast_in_dim(p, x, *_):
    """As `lax.broadcast_in_dim`."""
    shape = [1] * len(p["shape"])
    for size, d in zip(np.shape(x), p["broadcast_dimensions"], strict=True):
        shape[d] = size
    return np.broadcast_to(np.reshape(x, shape), p["shape"])


@primitive("reshape")
def reshape(p, x, *_):
    """As `lax.reshape`."""
    return np.reshape(x, p["new_sizes"])


@primitive("transpose")
def transpose(p, x):
    """As `lax.transpose`."""
    return np.transpose(x, p["permutation"])


@primitive("squeeze")
def squeeze(p, x):
    """As `lax.squeeze`."""
    return np.squeeze(x, tuple(p["dimensions"]))


@primitive("expand_dims")
def expand_dims(p, x):
    """As `lax.expand_dims`."""
    return np.expand_dims(x, tuple(p["dimensions"]))


@primitive("rev")
def rev(p, x):
    """As `lax.rev`."""
    return np.flip(x, p["dimensions"])


@primitive("iota")
def iota(p, *_):
    """As `lax.broadcasted_iota`."""
    shape = p["shape"]
    along = [-1 if d == p["dimension"] else 1 for d in range(len(shape))]
    return np.broadcast_to(np.arange(shape[p["dimension"]]).reshape(along), shape)


@primitive("concatenate")
def concatenate(p, *xs):
    """As `lax.concatenate`."""
    return np.concatenate(xs, p["dimension"])


@primitive("split")
def split(p, x):
    """As `lax.split`."""
    return np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"])


@primitive("slice")
def slice_(p, x):
    """As `lax.slice`."""
    strides = p["strides"] or [1] * x.ndim
    return x[tuple(slice(a, b, s) for a, b, s in zip(p["start_indices"], p["limit_indices"], strides, strict=True))]


def _window(shape, sizes, starts):
    clipped = [min(max(int(s), 0), n - k) for s, n, k in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(s, s + k) for s, k in zip(clipped, sizes, strict=True))


@primitive("dynamic_slice")
def dynamic_slice(p, x, *starts):
    """As `lax.dynamic_slice`."""
    return x[_window(x.shape, p["slice_sizes"], starts)]


@primitive("dynamic_update_slice")
def dynamic_update_slice(p, x, update, *starts):
    """As `lax.dynamic_update_slice`."""
    out = np.array(x)
    out[_window(x.shape, update.shape, starts)] = update
    return out


@primitive("pad")
def pad(p, x, value):
    """As `lax.pad`."""
    config = p["padding_config"]
    spread = [max(0, n + max(0, n - 1) * inner) for n, (_, _, inner) in zip(x.shape, config, strict=True)]
    out = np.full(spread, value, dtype=np.asarray(x).dtype)
    out[tuple(slice(None, None, inner + 1) for _, _, inner in config)] = x
    out = np.pad(out, [(max(lo, 0), max(hi, 0)) for lo, hi, _ in config], constant_values=np.asarray(value)[()])
    return out[
        tuple(
            slice(max(-lo, 0), n + min(hi, 0) or None) if n else slice(0, 0)
            for n, (lo, hi, _) in zip(out.shape, config, strict=True)
        )
    ]


@primitive("select_n")
def select_n(p, which, *cases):
    """As `lax.select_n`."""
    if len(cases) == 1:
        return cases[0]
    if len(cases) == 2:
        return np.where(np.asarray(which).astype(bool), cases[1], cases[0])
    return np.choose(np.broadcast_to(which, np.shape(cases[0])), cases)


@primitive("clamp")
def clamp(p, low, x, high):
    """As `lax.clamp`."""
    return np.minimum(np.maximum(x, low), high)


def _accumulating(function):
    """A reduction that sums halves in float32, as XLA does."""

    def reduce(p, x, **_):
        x = np.asarray(x)
        return function(x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x, tuple(p["axes"]))

    return reduce


TABLE["reduce_sum"] = _accumulating(lambda x, axes: np.sum(x, axes))
TABLE["reduce_prod"] = _accumulating(lambda x, axes: np.prod(x, axes))
TABLE["reduce_and"] = lambda p, x: np.all(x, tuple(p["axes"]))
TABLE["reduce_or"] = lambda p, x: np.any(x, tuple(p["axes"]))
TABLE["reduce_xor"] = lambda p, x: np.bitwise_xor.reduce(x, tuple(p["axes"]))


def _extreme(function, start):
    def reduce(p, x, **_):
        x = np.asarray(x)
        axes = tuple(p["axes"])
        if all(x.shape[d] for d in axes):
            return function(x, axes)
        return np.full([n for d, n in enumerate(x.shape) if d not in axes], start)

    return reduce


TABLE["reduce_max"] = _extreme(np.max, -math.inf)
TABLE["reduce_min"] = _extreme(np.min, math.inf)


@primitive("argmax")
def argmax(p, x):
    """As `lax.argmax`."""
    return np.argmax(x, p["axes"][0])


@primitive("argmin")
def argmin(p, x):
    """As `lax.argmin`."""
    return np.argmin(x, p["axes"][0])


def _running(function):
    def run(p, x):
        d = p["axis"]
        return np.flip(function(np.flip(x, d), d), d) if p["reverse"] else function(x, d)

    return run


TABLE["cumsum"] = _running(np.cumsum)
TABLE["cumprod"] = _running(np.cumprod)
TABLE["cummax"] = _running(np.maximum.accumulate)
TABLE["cummin"] = _running(np.minimum.accumulate)


@primitive("sort")
def sort(p, *xs):
    """As `lax.sort`."""
    d = p["dimension"]
    keys = xs[: p["num_keys"]]
    order = np.argsort(keys[0], axis=d, kind="stable") if len(keys) == 1 else np.lexsort(keys[::-1], axis=d)
    return [np.take_along_axis(x, order, d) for x in xs]


@primitive("dot_general")
def dot_general(p, x, y):
    """As `lax.dot_general`."""
    (cx, cy), (bx, by) = p["dimension_numbers"]
    fx = [d for d in range(x.ndim) if d not in {*cx, *bx}]
    fy = [d for d in range(y.ndim) if d not in {*cy, *by}]
    batch = [x.shape[d] for d in bx]
    inner = math.prod(x.shape[d] for d in cx)
    left = x.transpose([*bx, *fx, *cx]).reshape([*batch, math.prod(x.shape[d] for d in fx), inner])
    right = y.transpose([*by, *cy, *fy]).reshape([*batch, inner, math.prod(y.shape[d] for d in fy)])
    if left.dtype != object and left.dtype.itemsize <= 4 and left.dtype.kind in "fV":
        left, right = left.astype(np.float32), right.astype(np.float32)
    shape = [*batch, *(x.shape[d] for d in fx), *(y.shape[d] for d in fy)]
    if inner == 0 or 0 in shape:
        return np.zeros(shape, left.dtype)
    return np.matmul(left, right).reshape(shape)


@primitive("gather")
def gather(p, x, indices):
    """As `lax.gather`."""
    positions, valid = gather_positions(x.shape, indices, p["dimension_numbers"], p["slice_sizes"])
    if x.size == 0:
        return np.zeros(positions.shape, x.dtype)
    taken = np.reshape(x, -1)[positions]
    if "FILL" not in str(p["mode"]) or valid.all():
        return taken
    fill = p["fill_value"]
    if fill is None:
        kind = x.dtype.kind
        fill = np.iinfo(x.dtype).max if kind == "u" else np.iinfo(x.dtype).min if kind == "i" else math.nan
        fill = True if kind == "b" else fill
    return np.where(valid, taken, np.asarray(fill).astype(x.dtype))


def _scatter(write):
    def scatter(p, x, indices, updates):
        positions, valid = scatter_positions(x.shape, indices, p["dimension_numbers"], updates.shape)
        if "CLIP" in str(p["mode"]):
            valid = np.ones_like(valid)
        out = np.array(x)
        flat = out.reshape(-1)
        half = out.dtype.itemsize == 2 and out.dtype.kind in "fV"
        flat = flat.astype(np.float32) if half else flat
        write(flat, positions[valid], updates[valid].astype(flat.dtype))
        return flat.reshape(out.shape)

    return scatter


TABLE["scatter"] = _scatter(lambda x, at, new: x.__setitem__(at, new))
TABLE["scatter-add"] = TABLE["scatter_add"] = _scatter(np.add.at)
TABLE["scatter_sub"] = TABLE["scatter-sub"] = _scatter(np.subtract.at)
TABLE["scatter_mul"] = TABLE["scatter-mul"] = _scatter(np.multiply.at)
TABLE["scatter_max"] = TABLE["scatter-max"] = _scatter(np.maximum.at)
TABLE["scatter_min"] = TABLE["scatter-min"] = _scatter(np.minimum.at)
