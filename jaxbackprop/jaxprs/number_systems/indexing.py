"""Where gather and scatter read and write, as flat positions into the operand; plain NumPy."""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def gather_positions(shape: tuple[int, ...], indices: Array, numbers: Any, slice_sizes: Any) -> tuple[Array, Array]:
    """For each element of a gather's result the flat position it is read from, and whether that is in bounds.

    A window that leaves the operand is out of bounds as a whole; its positions are those of the clamped window.
    """
    collapsed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    window_axes = [d for d in range(len(shape)) if d not in collapsed]
    return _positions(
        shape,
        indices,
        start_index_map=numbers.start_index_map,
        operand_batching=numbers.operand_batching_dims,
        index_batching=numbers.start_indices_batching_dims,
        sizes=tuple(slice_sizes),
        window_axes=window_axes,
        offset_dims=numbers.offset_dims,
    )


def scatter_positions(
    shape: tuple[int, ...], indices: Array, numbers: Any, updates: tuple[int, ...]
) -> tuple[Array, Array]:
    """For each element of a scatter's updates the flat position it is written to, and whether that is in bounds."""
    inserted = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    window_axes = [d for d in range(len(shape)) if d not in inserted]
    sizes = [1] * len(shape)
    for axis, d in zip(window_axes, numbers.update_window_dims, strict=True):
        sizes[axis] = updates[d]
    return _positions(
        shape,
        indices,
        start_index_map=numbers.scatter_dims_to_operand_dims,
        operand_batching=numbers.operand_batching_dims,
        index_batching=numbers.scatter_indices_batching_dims,
        sizes=tuple(sizes),
        window_axes=window_axes,
        offset_dims=numbers.update_window_dims,
    )


def _positions(
    shape: tuple[int, ...],
    indices: Array,
    *,
    start_index_map: Any,
    operand_batching: Any,
    index_batching: Any,
    sizes: tuple[int, ...],
    window_axes: list[int],
    offset_dims: Any,
) -> tuple[Array, Array]:
    batch = indices.shape[:-1]
    starts = np.zeros((*batch, len(shape)), np.int64)
    for k, axis in enumerate(start_index_map):
        starts[..., axis] = indices[..., k].astype(np.int64)
    for axis, of_batch in zip(operand_batching, index_batching, strict=True):
        along = np.arange(batch[of_batch]).reshape([-1 if i == of_batch else 1 for i in range(len(batch))])
        starts[..., axis] = along
    room = np.array(shape, np.int64) - np.array(sizes, np.int64)
    inside = ((starts >= 0) & (starts <= room)).all(-1)
    starts = np.clip(starts, 0, np.maximum(room, 0))
    strides = np.array([math.prod(shape[d + 1 :]) for d in range(len(shape))], np.int64)
    base = (starts * strides).sum(-1)
    window = np.zeros((1,) * len(window_axes), np.int64)
    for i, axis in enumerate(window_axes):
        steps = np.arange(sizes[axis]) * strides[axis]
        window = window + steps.reshape([-1 if j == i else 1 for j in range(len(window_axes))])
    positions = base.reshape(base.shape + (1,) * len(window_axes)) + window
    valid = np.broadcast_to(inside.reshape(inside.shape + (1,) * len(window_axes)), positions.shape)
    # The window's axes stand behind the batch axes here; in the result they stand at offset_dims.
    rank = len(batch) + len(window_axes)
    batch_axes = [d for d in range(rank) if d not in set(offset_dims)]
    order = np.argsort([*batch_axes, *offset_dims], kind="stable")
    return positions.transpose(order), valid.transpose(order)
