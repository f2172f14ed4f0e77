"""Training in batches, for accelerators: a chunk of texts, some hundred at a time, in one program, on all devices.

The derivation of a step is in step.py.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Float

from .losses import Loss, Targets, clip_row_update
from .sequential import Texts
from .step import EXACTLY, BinaryTargets, through_output
from .tables import HostOrDevice, Rows, Tables, change_rows, take_rows

AXIS = "rows"


class Batching(NamedTuple):
    """How a chunk is cut into batches.

    Attributes:
        batch: texts a step.
        ids: room for the rows of a batch, at least as many as any has.
        labels: room for the labels of a batch (ova).
        hot: how many first rows, those of the most frequent words, are summed by a matrix product; 0: none.
    """

    batch: int
    ids: int
    labels: int
    hot: int = 0


@partial(jax.jit, static_argnames=("loss", "smoothing", "cut", "mesh"), donate_argnums=(0, 1))
def train_chunk_in_batches(
    tables: Tables,
    times: Float[Array, " V"],
    texts: Texts,
    targets: Targets,
    *,
    loss: Loss,
    smoothing: float,
    cut: Batching,
    mesh: Mesh | None = None,
) -> tuple[Tables, Float[Array, " V"], Float[Array, ""]]:
    """The tables after all texts were visited, `cut.batch` at a time, by `sparse_step`'s scaled update.

    An input row's change is divided by the square root of how often a batch names it, an output row's is not:
    experiments/batch_exponents.py compares the exponents.

    Args:
        tables: donated.
        times: zeros, one a row of the input table, in which the rows of a batch are counted; zeros again afterwards.
        texts: of the chunk.
        targets: of the chunk.
        loss: softmax, hs, ns or ova.
        smoothing: share of the target spread over all labels.
        cut: the size of batches.
        mesh: devices with an axis "rows" that share the input table's rows: each adds up and changes its own, and the
            hidden vectors, not the table, are exchanged; the table's rows must be a multiple of the devices.

    Returns:
        The tables, `times`, and the sum of the losses.
    """
    every = partial(_every_batch, loss=loss, smoothing=smoothing, cut=cut, sharded=mesh is not None)
    if mesh is None:
        return every(tables, times, texts, targets)
    split, whole = PartitionSpec(AXIS), PartitionSpec()
    of_tables = Tables(jax.tree.map(lambda _: split, tables.input), jax.tree.map(lambda _: whole, tables.output))
    rest = jax.tree.map(lambda _: whole, (texts, targets))
    every = jax.shard_map(
        every, mesh=mesh, in_specs=(of_tables, split, *rest), out_specs=(of_tables, split, whole), check_vma=False
    )
    return every(tables, times, texts, targets)


def _every_batch(tables: Tables, times: Array, texts: Texts, targets: Targets, *, loss, smoothing, cut, sharded):
    def batch(b: Array, carry: tuple[Tables, Array, Array]) -> tuple[Tables, Array, Array]:
        tables, times, total = carry
        first = b * jnp.uint32(cut.batch)
        ids, text, lengths = _batch(texts.ids, texts.offsets, first, cut.batch, cut.ids)
        counts = (lengths > 0).astype(jnp.float32)
        if texts.weights is not None:
            counts = jnp.where(lengths > 0, lax.dynamic_slice(texts.weights, (first,), (cut.batch,)), 0)
        batch_targets = _targets(targets, first, lengths > 0, tables.output.rows.shape[0], loss, cut)
        lr = lax.dynamic_slice(texts.rates, (first,), (1,))[0]
        here = tables.input.rows.shape[0]
        begin = lax.axis_index(AXIS) * here if sharded else 0
        ids = jnp.where((ids >= begin) & (ids < begin + here), ids - begin, here)  # another's, or none
        cold, named = _without_hot(ids, text, cut)
        h = jnp.zeros((cut.batch, tables.input.rows.shape[1]), jnp.float32)
        h = h.at[text].add(take_rows(tables.input.rows, cold), mode="drop", indices_are_sorted=True)
        if named is not None:
            h = h + jnp.matmul(named, tables.input.rows[: cut.hot], precision=EXACTLY)
        h = lax.psum(h, AXIS) if sharded else h
        shares = 1 / jnp.maximum(lengths, 1)[:, None]
        output, dh, losses = through_output(tables.output, h * shares, batch_targets, counts, lr, smoothing=smoothing)
        each = clip_row_update(dh * shares, tables.input, lr, loss=loss, batch=cut.batch)
        rows, times = _change(tables.input, times, cold, text, each, named, lr, cut)
        return Tables(rows, output), times, total + losses.sum()

    batches = (texts.total + jnp.uint32(cut.batch - 1)) // jnp.uint32(cut.batch)
    return lax.fori_loop(jnp.uint32(0), batches, batch, (tables, times, jnp.float32(0)))


def _batch(ids: HostOrDevice, offsets: HostOrDevice, first: Array, batch: int, room: int) -> tuple[Array, Array, Array]:
    """The ids of texts first, ..., first + batch - 1 (room,), which text each belongs to, and their lengths (batch,).

    Places that no text fills have the id -1 and belong to text `batch`.
    """
    ends = lax.dynamic_slice(offsets, (first,), (batch + 1,)).astype(jnp.int32)
    begin = jnp.minimum(ends[0], ids.shape[0] - room)  # a slice may not reach over the end of the chunk
    place = jnp.arange(room) + begin
    text = jnp.zeros(room + 1, jnp.int32).at[ends[1:] - begin].add(1, mode="drop").cumsum()[:room]
    text = jnp.where(place < ends[0], batch, text)
    part = lax.dynamic_slice(ids, (begin,), (room,)).astype(jnp.int32)
    order = jnp.roll(jnp.arange(room), begin - ends[0])  # those before the first text go to the end
    return jnp.where(text < batch, part, -1)[order], text[order], (ends[1:] - ends[:-1]).astype(jnp.float32)


def _without_hot(ids: Array, text: Array, cut: Batching) -> tuple[Array, Array | None]:
    """The ids without those of hot rows, and how often each text names each hot row (batch, hot)."""
    if not cut.hot:
        return ids, None
    named = jnp.zeros((cut.batch, cut.hot), jnp.float32).at[text, ids].add(1, mode="drop")
    return jnp.where(ids < cut.hot, jnp.iinfo(jnp.int32).max, ids), named


def _change(table: Rows, times: Array, cold: Array, text: Array, each: Array, named, lr: Array, cut: Batching):
    """The input table after the texts' rows were updated by `each` (batch, D), and `times` as it was."""
    gradients = take_rows(each, text)
    if cut.batch == 1 or table.second_moment is not None:
        return change_rows(table, cold, gradients, lr), times
    times = times.at[cold].add(1, mode="drop")
    learning_rate_scale = lax.rsqrt(jnp.maximum(take_rows(times, cold), 1))
    times = times.at[cold].set(
        0 * learning_rate_scale, mode="drop"
    )  # after they were read: else a copy is kept for that
    table = change_rows(table, cold, gradients, lr, learning_rate_scale=learning_rate_scale)
    if named is None:
        return table, times
    learning_rate_scale = lax.rsqrt(jnp.maximum(named.sum(0), 1))[:, None]
    learning_rate_scale = (
        learning_rate_scale
        if table.learning_rate_scale is None
        else table.learning_rate_scale[: cut.hot] * learning_rate_scale
    )
    step = -lr * learning_rate_scale * jnp.matmul(named.T, each, precision=EXACTLY)
    return table._replace(rows=table.rows.at[: cut.hot].add(step)), times


def _targets(targets: Targets, first: Array, there: Array, labels: int, loss: Loss, cut: Batching):
    """What `sparse_step` takes as targets, for the texts from `first` on.

    Beyond the chunk's last text its arrays hold anything: a row that is named there must not be updated.
    """
    if loss == "ova":
        which, text, _ = _batch(targets.labels, targets.offsets, first, cut.batch, cut.labels)
        return jnp.zeros((cut.batch, labels), jnp.float32).at[text, which].set(1, mode="drop")
    if loss == "ns":
        most = targets.most.shape[1]
        rows = lax.dynamic_slice(targets.labels, (first * jnp.uint32(most),), (cut.batch * most,))
        rows = jnp.where(there[:, None], rows.reshape(cut.batch, most).astype(jnp.int32), -1)
        return BinaryTargets(rows, jnp.eye(1, most).repeat(cut.batch, 0))
    label = lax.dynamic_slice(targets.labels, (first,), (cut.batch,)).astype(jnp.int32)
    if loss == "softmax":
        return label
    begin, end = (take_rows(targets.offsets, label + k).astype(jnp.int32)[:, None] for k in (0, 1))
    place = begin + jnp.arange(targets.most.shape[1])
    rows = jnp.where(there[:, None] & (place < end), take_rows(targets.nodes, place).astype(jnp.int32), -1)
    return BinaryTargets(rows, take_rows(targets.codes, place))
