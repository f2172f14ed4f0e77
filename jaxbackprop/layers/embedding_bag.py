"""Rows of a table: the sum or mean of the rows an example names, or those rows side by side.

Ids outside the table (conventionally -1) are padding: they take no row, count for nothing and get no gradient. The
gradient of a table is as large as the table; a train step that updates only the rows in use is no rule and is in
`fasttext.train`.
"""

import math

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from ..core.accumulation import accumulator_dtype, index, inside, to_accumulator
from ..core.domains import below, positive, starts
from ..core.rule import ShapeDtype, WithResiduals, rule


def _plain(table, ids, weights=None, *, pool="mean", at_once=0):
    """All rows side by side, and then their sum: what autodiff differentiates."""
    share, _ = _padded_shares(ids, weights, table, pool)
    h = _weighted_sum(_take(table, ids), share)
    return h.astype(table.dtype if weights is None else jnp.result_type(table, weights))


@rule(
    domain={"ids": below("V", padding=True), "weights": positive},
    example_settings=({"pool": "sum"}, {"at_once": 1}, {"at_once": 50}),
    reference=_plain,
)
def embedding_bag(
    table: Float[Array, "V D"],
    ids: Int[Array, "*B L"],
    weights: Float[Array, "*B L"] | None = None,
    *,
    pool: str = "mean",
    at_once: int = 2**20,
) -> WithResiduals[Float[Array, "*B D"]]:
    """The mean or the sum of the table's rows that an example names.

    Forward   h = sum_l share_l table[id_l]
              sum: share_l = w_l;  mean: share_l = w_l / t, t = sum_l w_l;  w = 1 where no weights are given
    Backward  dtable[id] = sum share_l upstream over all places l that name id (a row named twice is a fork)
              dw_l = g_l (sum),  dw_l = (g_l - sum_k share_k g_k) / t (mean),  g_l = table[id_l] . upstream
    Residuals ids; with weights also the weights and the table
    Source    Joulin, Grave, Bojanowski, Mikolov 2016, arXiv:1607.01759 (fastText: mean of the line's rows)

    On a CPU some places are done at a time, so that the rows of a large batch never lie side by side in memory.

    Args:
        table: the rows (V, D).
        ids: which rows, padded with ids outside 0..V-1, which count for nothing.
        weights: one a place. A mean is the weighted mean: it divides by the sum of the weights, which is the number
            of ids where all weights are 1 (fastText's and torch's mean). Weights of a mean should not be negative.
        pool: "mean" or "sum".
        at_once: about how many numbers are taken from the table at a time on a CPU; at least one place's.

    Returns:
        h; 0 for an empty bag, and for a mean whose weights sum to 0.
    """
    share, _ = _padded_shares(ids, weights, table, pool)

    def add(h, ids, share):
        return h + _weighted_sum(_take(table, ids), share), None

    zero = jnp.zeros((*ids.shape[:-1], table.shape[1]), share.dtype)
    h, _ = _along_places(add, zero, ids, share, table, at_once)
    residuals = (ids, ShapeDtype(table), None if weights is None else (table, weights))
    return h.astype(table.dtype if weights is None else jnp.result_type(table, weights)), residuals


@embedding_bag.backward
def embedding_bag_backward(residuals, upstream, *, pool, at_once):
    ids, table_like, weighted = residuals
    table, weights = weighted or (None, None)
    share, total = _padded_shares(ids, weights, table_like, pool)
    arriving = to_accumulator(upstream)[..., None, :]  # (*B, 1, D)

    def add(dtable, ids, share):
        dtable = _added(dtable, ids, share[..., None] * arriving)
        if table is None:
            return dtable, None
        return dtable, jnp.matmul(to_accumulator(_take(table, ids)), arriving.swapaxes(-1, -2))[..., 0]

    dtable, dw = _along_places(add, jnp.zeros(table_like.shape, share.dtype), ids, share, table_like, at_once)
    if dw is None:
        return dtable, None
    if total is not None:
        # Divided separately: the sum is then one number per bag in memory, not one per place.
        dw = _divided(dw, total) - _divided((share * dw).sum(-1, keepdims=True), total)
    return dtable, jnp.where(inside(ids, table_like.shape[0]), dw, 0)


def _padded_shares(
    ids: Array, weights: Array | None, table: Array | ShapeDtype, pool: str
) -> tuple[Array, Array | None]:
    """By what each row is multiplied (*B, L), and for a mean the total of each bag (*B, 1)."""
    counted = _counted(ids, weights, table)
    total = counted.sum(-1, keepdims=True) if _is_mean(pool) else None
    return _shares(counted, total), total


def _along_places(add, zero: Array, ids: Array, share: Array, table: Array | ShapeDtype, at_once: int):
    """`add(sum, ids, share)` over all places: at once, or on a CPU a few at a time where they are many."""
    (V, D), L = table.shape, ids.shape[-1]
    width = max(1, at_once // max(1, math.prod(ids.shape[:-1]) * D))

    def cut(x: Array, padding: int) -> Array:  # (*B, L) -> (L / width, *B, width)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -L % width)], constant_values=padding)
        return jnp.moveaxis(x.reshape(*x.shape[:-1], -1, width), -2, 0)

    def in_steps(zero, ids, share):
        chunks = cut(index(ids), V), cut(share, 0)
        total, each = lax.scan(lambda carry, chunk: add(carry, *chunk), zero, chunks)
        if each is not None:
            each = jnp.moveaxis(each, 0, -2)
            each = each.reshape(*each.shape[:-2], -1)[..., :L]
        return total, each

    if width >= L:
        return add(zero, ids, share)
    return lax.platform_dependent(zero, ids, share, cpu=in_steps, default=add)


@rule(
    domain={"ids": below("V", padding=True), "offsets": starts("N"), "weights": positive},
    example_settings=({"pool": "sum"},),
)
def ragged_embedding_bag(
    table: Float[Array, "V D"],
    ids: Int[Array, " N"],
    offsets: Int[Array, " B"],
    weights: Float[Array, " N"] | None = None,
    *,
    pool: str = "mean",
) -> WithResiduals[Float[Array, "B D"]]:
    """Embedding bags of unequal length, one behind the other: bag b is ids[offsets[b] : offsets[b + 1]].

    Forward   h_b = sum_{n in b} share_n table[id_n];  sum: share_n = w_n;  mean: share_n = w_n / t_b, t_b = sum_b w_n
    Backward  dtable[id] = sum share_n upstream_b over all n that name id, b the bag that holds n
              dw_n = g_n (sum),  dw_n = (g_n - sum_{k in b} share_k g_k) / t_b (mean),  g_n = table[id_n] . upstream_b
    Residuals ids, offsets; with weights also the weights and the table
    Source    for the meaning of offsets
              https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html

    Args:
        table: the rows (V, D).
        ids: the rows of all bags; ids outside 0..V-1 count for nothing.
        offsets: where each bag begins, ascending; two equal offsets make an empty bag, the last bag goes to the end.
            Ids before the first offset belong to no bag.
        weights: one an id, as in `embedding_bag`.
        pool: "mean" or "sum".

    Returns:
        h (B, D); 0 for an empty bag, and for a mean whose weights sum to 0.
    """
    bag = _bag_of(ids, offsets)
    share, _ = _ragged_shares(ids, weights, bag, offsets.shape[0], table, pool)
    h = _per_bag(to_accumulator(_take(table, ids)) * share[:, None], bag, offsets.shape[0])
    residuals = (ids, offsets, ShapeDtype(table), None if weights is None else (table, weights))
    return h.astype(table.dtype if weights is None else jnp.result_type(table, weights)), residuals


@ragged_embedding_bag.backward
def ragged_embedding_bag_backward(residuals, upstream, *, pool):
    ids, offsets, table_like, weighted = residuals
    table, weights = weighted or (None, None)
    bag = _bag_of(ids, offsets)
    share, total = _ragged_shares(ids, weights, bag, offsets.shape[0], table_like, pool)
    arriving = _take(to_accumulator(upstream), bag)  # (N, D)
    dtable = _scatter(table_like, ids, share[:, None] * arriving)
    if table is None:
        return dtable, None
    dw = (to_accumulator(_take(table, ids)) * arriving).sum(-1)
    if total is not None:
        dw = _divided(dw, total)
        dw = dw - _take(_per_bag(share * dw, bag, offsets.shape[0]), bag)
    return dtable, jnp.where(inside(ids, table_like.shape[0]), dw, 0)


def _ragged_shares(
    ids: Array, weights: Array | None, bag: Array, bags: int, table: Array | ShapeDtype, pool: str
) -> tuple[Array, Array | None]:
    """By what each row is multiplied (N,), and for a mean the total of its bag (N,)."""
    counted = _counted(ids, weights, table)
    total = _take(_per_bag(counted, bag, bags), bag) if _is_mean(pool) else None
    return _shares(counted, total), total


@rule(domain={"ids": below("V", padding=True)})
def window(table: Float[Array, "V D"], ids: Int[Array, "*B L"]) -> WithResiduals[Float[Array, "*B L*D"]]:
    """Word vectors side by side: the input of a window classifier.

    Forward   x = [table[id_1]  table[id_2]  ...  table[id_L]]
    Backward  dtable[id] = sum of the parts of upstream at the places of id (a word seen twice is a fork)
    Residuals ids
    Source    CS224n lecture notes 3, "Neural networks, backpropagation",
              https://web.stanford.edu/class/cs224n/readings/cs224n-2019-notes03-neuralnets.pdf

    An id outside 0..V-1 stands for a vector of zeros that is not learned.
    """
    return _take(table, ids).reshape(*ids.shape[:-1], ids.shape[-1] * table.shape[1]), (ids, ShapeDtype(table))


@window.backward
def window_backward(residuals, upstream):
    ids, table_like = residuals
    return _scatter(table_like, ids, to_accumulator(upstream).reshape(*ids.shape, table_like.shape[1]))


def _take(table: Array, ids: Array) -> Array:
    """The rows that `ids` name; zeros for an id outside the table."""
    if table.shape[0] == 0:  # a gather wants at least one row to read
        return jnp.zeros((*ids.shape, *table.shape[1:]), table.dtype)
    return table.at[index(ids)].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def _weighted_sum(rows: Array, share: Array) -> Array:
    """The sum of an example's rows (*B, L, D), each times its share (*B, L)."""
    return jnp.einsum("...l,...ld->...d", share, to_accumulator(rows), precision=lax.Precision.HIGHEST)


def _added(sums: Array, ids: Array, deltas: Array) -> Array:
    """`sums` with the rows of `deltas` added where `ids` say; ids outside the table are dropped."""
    return sums.at[index(ids)].add(deltas, mode="drop", wrap_negative_indices=False)


def _scatter(table: ShapeDtype, ids: Array, deltas: Array) -> Array:
    """A table in which the rows of `deltas` are added up where `ids` say."""
    return _added(jnp.zeros(table.shape, accumulator_dtype(table.dtype)), ids, deltas)


def _counted(ids: Array, weights: Array | None, table: Array | ShapeDtype) -> Array:
    """The weight of each place, 0 for padding."""
    present = inside(ids, table.shape[0])
    return (
        present.astype(accumulator_dtype(table.dtype))
        if weights is None
        else jnp.where(present, to_accumulator(weights), 0)
    )


def _shares(counted: Array, total: Array | None) -> Array:
    """By what each row is multiplied: its weight, divided by the bag's total in a mean."""
    return counted if total is None else _divided(counted, total)


def _divided(x: Array, total: Array) -> Array:
    """`x` / total; 0 where the total is 0, as in an empty bag."""
    return jnp.where(total == 0, 0, x / jnp.where(total == 0, 1, total))


def _is_mean(pool: str) -> bool:
    if pool not in ("mean", "sum"):
        raise ValueError(f"embedding bag: pool is {pool!r}; it is 'mean' or 'sum'.")
    return pool == "mean"


def _bag_of(ids: Array, offsets: Array) -> Array:
    """The bag that each place belongs to, -1 for none."""
    offsets = index(offsets)
    return jnp.searchsorted(offsets, jnp.arange(ids.shape[0], dtype=offsets.dtype), side="right") - 1


def _per_bag(x: Array, bag: Array, bags: int) -> Array:
    """The sum of `x` (N, ...) over the places of each bag; places of no bag are dropped."""
    if bags == 0:
        return x[:0]
    zeros = jnp.zeros((bags, *x.shape[1:]), x.dtype)
    return zeros.at[bag].add(x, mode="drop", wrap_negative_indices=False, indices_are_sorted=True)
