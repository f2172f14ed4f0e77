"""The tables training begins with, made where they will be used."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, UInt32

from ..model import Model
from .compile_cache import compiled

Start = Model | np.ndarray | None


@partial(jax.jit, static_argnames=("rows", "dim", "padded"))
def uniform(
    seed: UInt32[Array, "2"] | UInt32[np.ndarray, "2"], *, rows: int, dim: int, padded: int
) -> Float[Array, "rows padded"]:
    """Numbers between -1/dim and 1/dim by a hash of each one's place, made in one pass; nothing else is stored.

    The hash is that of `layers.hashed_dropout`. Columns from `dim` on are 0.

    Source  fastText 0.9.2 (the range); Wellons 2018, "Prospecting for hash functions"
    """
    row = jax.lax.broadcasted_iota(jnp.uint32, (rows, padded), 0)
    column = jax.lax.broadcasted_iota(jnp.uint32, (rows, padded), 1)
    h = row * jnp.uint32(dim) + column + seed[0]
    h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D)
    h = (h ^ (h >> 15) ^ seed[1]) * jnp.uint32(0x846CA68B)
    h = (h ^ (h >> 16)) >> 8  # 24 bits, as many as a float holds
    numbers = (h.astype(jnp.float32) + 0.5) * (2**-23 / dim) - 1 / dim
    return jnp.where(column < dim, numbers, 0)


def initial_tables(
    rows: int, labels: int, dim: int, seed: int, start: Start, *, padded: tuple[int, int] | None = None
) -> tuple[Array, Array]:
    """The input table (rows, dim) and the output table (labels, dim) that training begins with.

    Args:
        start: None: uniform numbers by `seed`, and zeros; an array (rows, dim): it, and zeros; a model: its tables.
        padded: how many rows the input table is made, by some that no text names, and how long the rows of both, by
            zeros at their ends; None for (rows, dim).

    Raises:
        ValueError: `start` has another shape.
    """
    made, columns = padded or (rows, dim)
    if start is None:
        words = np.random.SeedSequence(seed).generate_state(2, np.uint32)
        first = compiled(uniform, words, rows=made, dim=dim, padded=columns)(words)
    else:
        first = _given(start.input if isinstance(start, Model) else start, (rows, dim), (made, columns), "input")
    if isinstance(start, Model):
        return first, _given(start.output, (labels, dim), (labels, columns), "output")
    return first, jax.device_put(np.zeros((labels, columns), np.float32))  # nothing to compile


def _given(table, shape: tuple[int, int], padded: tuple[int, int], name: str) -> Array:
    if tuple(table.shape) != shape:
        raise ValueError(f"the {name} table to start from is {tuple(table.shape)}; the settings ask for {shape}.")
    rows = table if isinstance(table, np.ndarray) else table[np.arange(shape[0])]
    if padded != shape:
        more, wider = padded[0] - shape[0], padded[1] - shape[1]
        rows = np.pad(np.asarray(rows, np.float32), ((0, more), (0, wider)))
    return jnp.array(rows, jnp.float32, copy=True)  # training writes into it
