"""The gradient of an embedding table, without a scatter: in blocks of the table, or by sorted segments."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import DROPPED, Array, Kernel, f32, like, normal, rows, rule


def embedding(table: Array, ids: Array) -> Array:
    return table[ids]


def of_table(by: str, fault: str = "", block: int = 4) -> Any:
    """In blocks of the table's rows: each gathers the tokens that are its own."""

    def step(start: Any, table: Array, ids: Array, u: Array) -> Any:
        (u,) = f32(u)
        own = start + jnp.arange(table.shape[0])[:, None]
        if fault == "rows are counted within a block":
            own = own - start
        hits = (own == ids[:, 0][None, :]).astype(jnp.float32)
        if fault == "of a repeated id the last counts":
            later = jnp.cumsum(hits[:, ::-1], 1)[:, ::-1] - hits
            hits = jnp.where(later > 0, 0, hits)
        if fault == "rows are averaged over their tokens":
            hits = hits / jnp.maximum(hits.sum(1, keepdims=True), 1)
        if fault == "the first token is left out":
            hits = hits.at[:, :1].set(0)
        if fault == "rows are added up in bfloat16":
            u = u.astype(jnp.bfloat16).astype(jnp.float32)
            hits, u = hits.astype(jnp.bfloat16), u.astype(jnp.bfloat16)
            total = jnp.zeros((table.shape[0], u.shape[1]), jnp.bfloat16)
            for t in range(u.shape[0]):
                total = total + hits[:, t : t + 1] * u[t]
            return [total.astype(jnp.float32)], []
        return [hits @ u], []

    def backward(u: Array, table: Array, ids: Array) -> tuple:
        (made,), _ = rows(by, step, block, [table], [ids[:, None], u], like(table), fault=fault)
        return made, np.zeros(ids.shape, jax.dtypes.float0)

    return rule(embedding, backward)


def by_segments(fault: str = "") -> Any:
    """Ids sorted, tokens added up from one change of the id to the next."""

    def backward(u: Array, table: Array, ids: Array) -> tuple:
        order = jnp.argsort(ids)
        if fault == "the upstream gradient is not sorted":
            ordered, u = ids[order], u
        else:
            ordered, u = ids[order], u[order]
        total = jnp.cumsum(u.astype(jnp.float32), 0)
        last = jnp.concatenate([ordered[1:] != ordered[:-1], jnp.ones((1,), bool)])
        if fault == "the last segment is dropped":
            last = last.at[-1].set(False)
        ends = jnp.where(last, jnp.arange(ids.size), 0)
        before = jnp.concatenate([jnp.zeros((1,), ends.dtype), jax.lax.cummax(ends)[:-1]])
        started = jnp.concatenate([jnp.zeros((1,), bool), jnp.cumsum(last)[:-1] > 0])
        parts = total - jnp.where(started[:, None], total[before], 0)
        if fault == "segments are not taken apart":
            parts = total
        made = jnp.zeros(table.shape, jnp.float32).at[jnp.where(last, ordered, table.shape[0])].set(parts, mode="drop")
        return made.astype(table.dtype), np.zeros(ids.shape, jax.dtypes.float0)

    return rule(embedding, backward)


IDS = np.array([3, 0, 9, 3, 3, 7, 0], np.int32)
ARGUMENTS = normal(10, 3), IDS
FAULTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("rows are counted within a block", ("rows", "of 30", "all", "block")),
    ("of a repeated id the last counts", ("rows 0 and 3", "rows")),
    ("rows are averaged over their tokens", ("rows 0 and 3", "rows")),
    ("the first token is left out", ("row 3", "row", "all")),
    ("rows are added up in bfloat16", ("row", "of 30", "all")),
    (DROPPED, ("the last, partial block", "the last row", "row 9", "last")),
)
OF_SEGMENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the last segment is dropped", ("the last row", "row")),
    ("segments are not taken apart", ("row", "of 30")),
    ("the upstream gradient is not sorted", ("row", "of 30")),
)


def wrong() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        for fault, places in FAULTS:
            name, fun = f"embedding, {by}: {fault}", of_table(by, fault)
            yield Kernel(name, fun, ARGUMENTS, embedding, outputs=("table",), places=places)
    for fault, places in OF_SEGMENTS:
        name, fun = f"embedding by segments: {fault}", by_segments(fault)
        yield Kernel(name, fun, ARGUMENTS, embedding, outputs=("table",), places=places)


def right() -> Iterator[Kernel]:
    for by in ("chunks", "pallas"):
        yield Kernel(f"embedding, {by}", of_table(by), ARGUMENTS, embedding)
        yield Kernel(f"embedding in blocks of 3, {by}", of_table(by, block=3), ARGUMENTS, embedding)
    yield Kernel("embedding by segments", by_segments(), ARGUMENTS, embedding)
