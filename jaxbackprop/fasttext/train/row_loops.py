"""Loops over the rows of a table that XLA compiles to one function on a CPU: each row is read, or changed, in place.

A loop's body moves a block of columns of one row or of a few. JAX 0.12 needs no blocks: whole rows, TOGETHER at a time.
What JAX 0.10 needs beside that stands in `_loop_shape`, and goes with it.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from .tables import HostOrDevice, Rows, row_step, update_slots

Carry = TypeVar("Carry")
Index = Array | np.uint32
TOGETHER = 8  # rows in one pass of a loop
# JAX 0.10 interprets a loop operation by operation where its body moves 1,024 bytes or more, unless this flag of XLA
# was set before JAX started.
LIMIT = "xla_cpu_small_while_loop_byte_threshold"
BUDGET = 228  # numbers that a body may move below that limit: four bytes each, less what its counters take
# LLVM unrolls the loop over a short row before it forms vectors, and then adds its numbers one at a time. This flag
# keeps it from that; longer rows stay loops anyhow.
ROLLED = "xla_cpu_disable_loop_unrolling"
SHORT = 48


def flags(dim: int) -> str:
    """What to add to XLA_FLAGS before JAX starts, in a process that is there to train rows of `dim` numbers."""
    wanted = [f"{LIMIT}=1048576"] if _is_limited() else []
    wanted += [f"{ROLLED}=true"] if dim <= SHORT and ROLLED not in os.environ.get("XLA_FLAGS", "") else []
    return f"--xla_backend_extra_options={','.join(wanted)}" if wanted else ""


def at(x: HostOrDevice, k: Index) -> Array:
    """Element k of a vector; k must be inside."""
    return lax.dynamic_slice(x, (k,), (1,))[0]


def sum_rows(
    table: Array, ids: HostOrDevice, start: Index, stop: Index, weights: HostOrDevice | None = None
) -> Float[Array, "1 D"]:
    """The sum of the rows ids[start:stop], each multiplied by its weight."""
    weighted = weights is not None
    at_once, width = _loop_shape(table.shape[1], lambda at_once, width: (at_once + 2) * width + weighted * at_once)

    def add(places: list[Index], total: Array) -> Array:
        which = [at(ids, k) for k in places]

        def block(column: Index, total: Array) -> Array:
            part = _block(total, np.uint32(0), column, width)
            for i, k in zip(which, places, strict=True):
                row = _block(table, i, column, width)
                part = part + (row if weights is None else at(weights, k) * row)
            return _with_block(total, part, np.uint32(0), column)

        return _over_columns(block, total, table.shape[1], width)

    return _over_places(add, jnp.zeros_like(table, shape=(1, table.shape[1])), start, stop, at_once)


def add_to_rows(
    table: Array,
    ids: HostOrDevice,
    start: Index,
    stop: Index,
    step: Float[Array, "1 D"],
    scale: Array | None = None,
    weights: HostOrDevice | None = None,
) -> Array:
    """The table with `step` added to each of the rows ids[start:stop].

    Multiplied by the row's `scale` (V, 1), and by the weight that stands beside its id, where these are given.
    """
    factors = (scale is not None) + (weights is not None)
    at_once, width = _loop_shape(table.shape[1], lambda at_once, width: (3 * width + factors) * at_once)

    def add(places: list[Index], table: Array) -> Array:
        which = [at(ids, k) for k in places]

        def block(column: Index, table: Array) -> Array:
            part = _block(step, np.uint32(0), column, width)
            for i, k in zip(which, places, strict=True):
                own = part if scale is None else _row(scale, i) * part
                own = own if weights is None else at(weights, k) * own
                table = _with_block(table, _block(table, i, column, width) + own, i, column)
            return table

        return _over_columns(block, table, table.shape[1], width)

    return _over_places(add, table, start, stop, at_once)


def dot_row(table: Array, i: Array, vector: Float[Array, "1 D"]) -> Float[Array, ""]:
    """The product of row i and `vector`."""
    columns, width = vector.shape[1], _one_row(vector.shape[1])

    def block(column: Index, total: Array) -> Array:
        return total + (_block(table, i, column, width) * _block(vector, np.uint32(0), column, width)).sum()

    return _over_columns(block, jnp.zeros_like(vector, shape=()), columns, width)


def add_row(total: Float[Array, "1 D"], table: Array, i: Array, factor: Array) -> Float[Array, "1 D"]:
    """`total` plus row i times `factor`."""
    columns, width = total.shape[1], _one_row(total.shape[1])

    def block(column: Index, total: Array) -> Array:
        part = _block(total, np.uint32(0), column, width) + factor * _block(table, i, column, width)
        return _with_block(total, part, np.uint32(0), column)

    return _over_columns(block, total, columns, width)


def change_one_by_one(
    table: Rows, first: Index, last: Index, vector: Float[Array, "1 D"], row_and_factor: Callable, lr: Array
) -> Rows:
    """The table after some rows were updated one after another, each by a multiple of `vector`.

    One part of the table after the other, so that no loop writes what it reads twice, which would copy the table.

    Args:
        table: the table and its slots.
        first: of the updates.
        last: one beyond the last update.
        vector: the gradient of each row but for its factor.
        row_and_factor: the row and the factor of update k = first, ..., last - 1.
        lr: the learning rate.
    """
    columns, width, square = vector.shape[1], _one_row(vector.shape[1]), (vector**2).mean()

    def change(part: Array, new: Callable) -> Array:
        def one(k: Array, part: Array) -> Array:
            i, factor = row_and_factor(k)

            def block(column: Index, part: Array) -> Array:
                gradient = factor * _block(vector, np.uint32(0), column, width)
                return _with_block(part, new(_block(part, i, column, width), i, column, gradient), i, column)

            return _over_columns(block, part, columns, width)

        return lax.fori_loop(first, last, one, part)

    def add_square(k: Array, second_moment: Array) -> Array:
        i, factor = row_and_factor(k)
        new = update_slots(_row(second_moment, i), factor, factor**2 * square, first_moment=False)
        return _with_block(second_moment, new, i, np.uint32(0))

    second_moment, first_moment = table.second_moment, table.first_moment
    if second_moment is not None:
        second_moment = lax.fori_loop(first, last, add_square, second_moment)
    if first_moment is not None:
        first_moment = change(
            first_moment, lambda old, i, column, gradient: update_slots(old, gradient, square, first_moment=True)
        )

    def moved(old: Array, i: Array, column: Index, gradient: Array) -> Array:
        own_first = None if first_moment is None else _block(first_moment, i, column, width)
        own_second = None if second_moment is None else _row(second_moment, i)
        return old + row_step(gradient, lr, own_second, own_first)

    return Rows(change(table.rows, moved), second_moment, first_moment)


def _block(table: Array, i: Index, column: Index, width: int) -> Array:
    """`width` numbers of row i from `column` on, (1, width)."""
    return lax.dynamic_slice(table, (i, column), (1, width))


def _with_block(table: Array, block: Array, i: Index, column: Index) -> Array:
    return lax.dynamic_update_slice(table, block, (i, column))


def _row(table: Array, i: Array) -> Array:
    return _block(table, i, np.uint32(0), table.shape[1])


def _over_places(
    body: Callable[[list[Index], Carry], Carry], carry: Carry, start: Index, stop: Index, at_once: int
) -> Carry:
    """`body(places, carry)` for the places from start to stop, `at_once` at a time and the last few one by one."""
    full = (stop - start) // np.uint32(at_once)
    rest = start + full * np.uint32(at_once)

    def several(k: Array, carry: Carry) -> Carry:
        first = start + k * np.uint32(at_once)
        return body([first + np.uint32(j) for j in range(at_once)], carry)

    carry = lax.fori_loop(np.uint32(0), full, several, carry)
    if at_once == 1:
        return carry
    return lax.fori_loop(rest, stop, lambda k, carry: body([k], carry), carry)


def _over_columns(body: Callable[[Index, Carry], Carry], carry: Carry, columns: int, width: int) -> Carry:
    """`body(column, carry)` for every `width`-th column."""
    if width == columns:
        return body(np.uint32(0), carry)
    blocks = np.uint32(columns // width)
    return lax.fori_loop(np.uint32(0), blocks, lambda k, carry: body(k * np.uint32(width), carry), carry)


def _is_limited() -> bool:
    """Whether XLA interprets a loop whose body moves many bytes."""
    return jax.__version_info__ < (0, 12) and LIMIT not in os.environ.get("XLA_FLAGS", "")


def _one_row(columns: int) -> int:
    """How many columns of one row a body takes."""
    return _loop_shape(columns, lambda at_once, width: 4 * width)[1]


def _loop_shape(columns: int, moved: Callable[[int, int], int]) -> tuple[int, int]:
    """How many rows one pass of a loop takes, and how many of their columns: `moved(rows, width)` numbers."""
    if not _is_limited():
        return TOGETHER, columns
    least = 1 if moved(1, 1) == moved(2, 1) else 2  # one row a pass only where more of them move no more
    fits = [
        (at_once, columns // parts)
        for parts in range(1, max(columns // 16, 1) + 1)
        for at_once in (TOGETHER, 4, 2, 1)
        if columns % parts == 0 and at_once >= least and moved(at_once, columns // parts) <= BUDGET
    ]
    # whole rows where they fit; else as many numbers a pass as there can be, and rather of many rows
    return max(fits, key=lambda fit: (fit[1] == columns, fit[0] * fit[1], fit[0]), default=(1, columns))
