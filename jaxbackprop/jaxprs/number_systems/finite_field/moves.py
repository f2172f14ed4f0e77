"""Primitives that only move elements: on arrays of anything, numbers' positions or integers themselves.

Each is `(params, fill, *arrays)` -> the result or results; `fill` is what stands where a gather or a window fetches
nothing.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax import lax


def _broadcast_in_dim(p: Any, fill: Any, x: np.ndarray, *dynamic: Any) -> np.ndarray:
    shape = [1] * len(p["shape"])
    for d, size in zip(p["broadcast_dimensions"], x.shape, strict=True):
        shape[d] = size
    return np.broadcast_to(x.reshape(shape), p["shape"])


def _reshape(p: Any, fill: Any, x: np.ndarray, *dynamic: Any) -> np.ndarray:
    x = x if p.get("dimensions") is None else np.transpose(x, p["dimensions"])
    return x.reshape(p["new_sizes"])


def _pad(p: Any, fill: Any, x: np.ndarray, padding: np.ndarray) -> np.ndarray:
    for d, (low, high, inside) in enumerate(p["padding_config"]):
        size = x.shape[d]
        shape = list(x.shape)
        shape[d] = max(size + max(size - 1, 0) * inside, 0)
        wide = np.full(shape, padding, x.dtype)
        _along(wide, d, slice(None, None, inside + 1))[...] = x
        ends = list(shape)
        parts = []
        for extra in (low, high):
            ends[d] = max(extra, 0)
            parts.append(np.full(ends, padding, x.dtype))
        wide = _along(wide, d, slice(max(-low, 0), shape[d] - max(-high, 0)))
        x = np.concatenate([parts[0], wide, parts[1]], d)
    return x


def _along(x: np.ndarray, d: int, part: slice) -> np.ndarray:
    return x[(*[slice(None)] * d, part)]


def _starts(shape: Sequence[int], sizes: Sequence[int], starts: Sequence[Any]) -> tuple[slice, ...]:
    made = []
    for n, size, start in zip(shape, sizes, starts, strict=True):
        first = min(max(int(start), 0), n - size)
        made.append(slice(first, first + size))
    return tuple(made)


def _dynamic_slice(p: Any, fill: Any, x: np.ndarray, *starts: Any) -> np.ndarray:
    return x[_starts(x.shape, p["slice_sizes"], starts)]


def _dynamic_update_slice(p: Any, fill: Any, x: np.ndarray, update: np.ndarray, *starts: Any) -> np.ndarray:
    made = np.array(x)
    made[_starts(x.shape, update.shape, starts)] = update
    return made


def _split(p: Any, fill: Any, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"])


def _select_n(p: Any, fill: Any, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    which = np.broadcast_to(np.asarray(which).astype(np.int64), cases[0].shape)
    return np.take_along_axis(np.stack(cases), which[None], 0)[0]


def _places(shape: Sequence[int], indices: np.ndarray, index_map: Sequence[int], sizes: Sequence[int],
            batching: Sequence[tuple[int, int]], mode: Any) -> np.ndarray:  # fmt: skip
    """Where windows start: flat positions (*batch, *sizes) of the elements of each window, -1 for those out of bounds.

    Args:
        shape: of the array that the windows lie in.
        indices: (*batch, number of indices).
        index_map: the axis that each index counts along.
        sizes: of a window.
        batching: (axis of the array, axis of the batch) that go together.
        mode: what happens to a window out of bounds.
    """
    batch = indices.shape[:-1]
    start = np.zeros((*batch, len(shape)), np.int64)
    for k, d in enumerate(index_map):
        column = indices[..., k]
        # An unsigned index that is too large is out of bounds, not negative.
        start[..., d] = np.minimum(column, 2**62) if column.dtype == np.uint64 else column
    for d, axis in batching:
        start[..., d] = np.arange(shape[d]).reshape([-1 if a == axis else 1 for a in range(len(batch))])
    room = np.array(shape, np.int64) - np.array(sizes, np.int64)
    if mode == lax.GatherScatterMode.CLIP:
        start = np.clip(start, 0, room)
    outside = ((start < 0) | (start > room)).any(-1)
    strides = np.array([int(np.prod(shape[d + 1 :])) for d in range(len(shape))], np.int64)
    offsets = np.zeros(tuple(sizes), np.int64)
    for d, size in enumerate(sizes):
        offsets = offsets + (np.arange(size) * strides[d]).reshape([-1 if a == d else 1 for a in range(len(sizes))])
    first = np.where(outside, 0, start @ strides)
    places = first.reshape((*batch, *[1] * len(sizes))) + offsets
    return np.where(outside.reshape((*batch, *[1] * len(sizes))), -1, places)


def _gather(p: Any, fill: Any, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    d = p["dimension_numbers"]
    batching = list(zip(d.operand_batching_dims, d.start_indices_batching_dims, strict=True))
    places = _places(x.shape, np.asarray(indices), d.start_index_map, p["slice_sizes"], batching, p["mode"])
    batch = np.ndim(indices) - 1
    gone = {*d.collapsed_slice_dims, *d.operand_batching_dims}
    places = places.reshape((*places.shape[:batch], *(n for a, n in enumerate(p["slice_sizes"]) if a not in gone)))
    rest = [a for a in range(places.ndim) if a not in d.offset_dims]
    order = np.argsort([*rest, *d.offset_dims])  # the batch's axes stand in front, the window's behind
    places = np.transpose(places, order)
    flat = np.append(x.reshape(-1), np.asarray(fill, x.dtype))  # -1 fetches the last one
    return flat[places]


def landing(p: Any, shape: Sequence[int], indices: np.ndarray, updates: Sequence[int]) -> np.ndarray:
    """For each element of the updates of a scatter the flat position it lands at, -1 where it is dropped."""
    d = p["dimension_numbers"]
    batching = list(zip(d.operand_batching_dims, d.scatter_indices_batching_dims, strict=True))
    gone = {*d.inserted_window_dims, *d.operand_batching_dims}
    window = iter([updates[a] for a in d.update_window_dims])
    sizes = [1 if a in gone else next(window) for a in range(len(shape))]
    places = _places(shape, np.asarray(indices), d.scatter_dims_to_operand_dims, sizes, batching, p["mode"])
    batch = np.ndim(indices) - 1
    places = places.reshape((*places.shape[:batch], *(n for a, n in enumerate(sizes) if a not in gone)))
    rest = [a for a in range(places.ndim) if a not in d.update_window_dims]
    return np.transpose(places, np.argsort([*rest, *d.update_window_dims]))


def _scatter(p: Any, fill: Any, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    places = landing(p, x.shape, indices, updates.shape).reshape(-1)
    made = np.array(x).reshape(-1)
    lands = places >= 0
    made[places[lands]] = updates.reshape(-1)[lands]
    return made.reshape(x.shape)


def windows(shape: Sequence[int], sizes: Sequence[int], strides: Sequence[int], padding: Sequence[tuple[int, int]],
            dilation: Sequence[int], window_dilation: Sequence[int]) -> np.ndarray:  # fmt: skip
    """Flat positions (*outputs, *sizes) of the elements of each window that slides over an array, -1 outside of it."""
    places, at = np.zeros((), np.int64), []
    for n, size, stride, (low, high), wide, apart in zip(
        shape, sizes, strides, padding, dilation, window_dilation, strict=True
    ):
        whole = (n - 1) * wide + 1 if n else 0
        count = max((whole + low + high - ((size - 1) * apart + 1)) // stride + 1, 0)
        where = np.arange(count)[:, None] * stride + np.arange(size) * apart - low
        inside = (where >= 0) & (where < whole) & (where % wide == 0)
        at.append(np.where(inside, where // wide, -1))
    outputs = tuple(len(a) for a in at)
    places = np.zeros((*outputs, *sizes), np.int64)
    outside = np.zeros(places.shape, bool)
    for d, where in enumerate(at):
        around = [1] * (2 * len(at))
        around[d], around[len(at) + d] = where.shape
        where = where.reshape(around)
        places = places * shape[d] + where
        outside |= where < 0
    return np.where(outside, -1, places)


MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "transpose": lambda p, fill, x: np.transpose(x, p["permutation"]),
    "squeeze": lambda p, fill, x: np.squeeze(x, tuple(p["dimensions"])),
    "expand_dims": lambda p, fill, x: np.expand_dims(x, tuple(p["dimensions"])),
    "rev": lambda p, fill, x: np.flip(x, p["dimensions"]),
    "concatenate": lambda p, fill, *xs: np.concatenate(xs, p["dimension"]),
    "split": _split,
    "stack": lambda p, fill, *xs: np.stack(xs, p["axis"]),
    "unstack": lambda p, fill, x: list(np.moveaxis(x, p["axis"], 0)),
    "tile": lambda p, fill, x: np.tile(x, p["reps"]),
    "slice": lambda p, fill, x: x[
        tuple(
            itertools.starmap(
                slice, zip(p["start_indices"], p["limit_indices"], p["strides"] or [1] * x.ndim, strict=True)
            )
        )
    ],
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "pad": _pad,
    "gather": _gather,
    "scatter": _scatter,
    "select_n": _select_n,
    **{
        name: lambda p, fill, *xs: list(xs)
        for name in "copy copy_p stop_gradient optimization_barrier name device_put pvary pcast".split()
    },
}
