"""Minibatches drawn on the device: which examples, in which order, as arrays of one shape.

Every example is in exactly one minibatch of an epoch: after the whole ones comes a smaller one with the remainder.
What is done with a minibatch is not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding

from ..data.bags import Bags
from ..models import RaggedBags
from .processes import everywhere, local, put

Data = Any
"""Arrays with one row an example, or `Bags`: a tuple of them, or anything that has them as `x` and `y`."""

STATIC = {"static": True}
MOST_SHOWN = 4
"""Of so many parts an error says how many rows they have."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Strata:
    """Examples sorted by length into as many strata as a minibatch has examples, each minibatch one of each stratum.

    So all minibatches hold nearly the same number of tokens, and that number is known before anything is shuffled:
    texts of any length fit into arrays of one shape, no token is dropped and next to nothing is padded.

    sorted    (N,) the examples by length
    stratum   (N,) the stratum of each
    begins    (batch,) where each stratum begins among them
    longer    (rest,) where the strata begin that have one example more: those make up the remainder
    """

    sorted: Array
    stratum: Array
    begins: Array
    longer: Array

    def order(self, key: Array | None, steps: int) -> Array:
        shuffled = self.sorted
        if key is not None:
            chance = jax.random.bits(key, self.sorted.shape)
            _, _, shuffled = jax.lax.sort((self.stratum, chance, self.sorted), num_keys=2)
        whole = shuffled[self.begins + jnp.arange(steps)[:, None]]
        return jnp.concatenate([whole.ravel(), shuffled[self.longer + steps]])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batches:
    """Data on the device, cut into `steps` minibatches of `batch` examples and one of the `rest` that remains.

    arrays    one row an example; the place of the bags is None
    bags      their ids (T,), the first of each (N,) and how many each has (N,); None where there are no bags
    room      how many ids a whole minibatch and the remainder have room for
    share     how a whole minibatch is split over several devices; None where there is one
    """

    arrays: tuple
    bags: tuple[Array, Array, Array] | None
    strata: Strata | None
    size: int = field(metadata=STATIC)
    batch: int = field(metadata=STATIC)
    room: tuple[int, int] = field(metadata=STATIC, default=(0, 0))
    share: NamedSharding | None = field(metadata=STATIC, default=None)

    @property
    def steps(self) -> int:
        return self.size // self.batch

    @property
    def rest(self) -> int:
        return self.size % self.batch

    def order(self, key: Array | None) -> Array:
        """The numbers of the examples in the order in which they are visited (size,), shuffled where there is a key."""
        if self.strata is not None:
            return self.strata.order(key, self.steps)
        return jnp.arange(self.size) if key is None else jax.random.permutation(key, self.size)

    def whole(self, order: Array) -> Array:
        """The whole minibatches of an order: (steps, batch)."""
        return order[: self.steps * self.batch].reshape(self.steps, self.batch)

    def remainder(self, order: Array) -> Array:
        """What the whole minibatches leave of an order: (rest,)."""
        return order[self.steps * self.batch :]

    def split(self, share: NamedSharding) -> "Batches":
        """The same on several devices: each holds all examples, and works on its share of every whole minibatch.

        Raises:
            ValueError: minibatches that cannot be split evenly.
        """
        if self.batch % share.num_devices:
            message = f"fit: a minibatch of {self.batch} examples cannot be split over {share.num_devices} devices."
            raise ValueError(message)
        return replace(put(self, everywhere(share)), share=share)

    def on_one_device(self) -> "Batches":
        """The same on this process's first device alone."""
        return self if self.share is None else replace(local(self), share=None)

    def take(self, which: Array) -> tuple:
        """The minibatch of the examples numbered by `which`: (batch,) or (rest,)."""

        def rows(a: Array) -> Array:
            whole = self.share is not None and which.shape[0] == self.batch
            return jax.lax.with_sharding_constraint(a[which], self.share) if whole else a[which]

        return tuple(self._ragged(which) if part is None else jax.tree.map(rows, part) for part in self.arrays)

    def _ragged(self, which: Array) -> RaggedBags:
        assert self.bags is not None
        ids, first, lengths = self.bags
        room = self.room[0] if which.shape[0] == self.batch else self.room[1]
        ends = jnp.cumsum(lengths[which])
        starts = ends - lengths[which]
        at = jnp.arange(room, dtype=starts.dtype)
        bag = jnp.searchsorted(ends, at, side="right")
        source = (first[which] - starts).at[bag].get(mode="fill", fill_value=0) + at
        return RaggedBags(jnp.where(at < ends[-1], ids[source], -1), starts)


def arguments_of(data: Data) -> tuple:
    """What is passed to a loss behind the model: the parts of a tuple, x and y of what has them, or one argument."""
    if isinstance(data, Mapping) and set(data) == {"x", "y"}:
        return data["x"], data["y"]
    if not isinstance(data, Mapping) and hasattr(data, "x") and hasattr(data, "y"):
        return data.x, data.y
    return tuple(data) if isinstance(data, tuple | list) else (data,)


def parts_of(data: Data) -> tuple:
    """The parts of `data`, each a pytree of NumPy arrays or `Bags`, checked to be of one length.

    Raises:
        ValueError: no examples, parts of unequal length, or what are no numbers.
    """
    parts = tuple(part if isinstance(part, Bags) else jax.tree.map(np.asarray, part) for part in arguments_of(data))
    sizes = [_rows(leaf) for part in parts for leaf in jax.tree.leaves(part)]
    if len(set(sizes)) != 1 or not sizes[0]:
        each = ", ".join(map(str, sizes[:MOST_SHOWN])) + ", ..." * (len(sizes) > MOST_SHOWN)
        raise ValueError(
            f"fit: the parts of the data have {each or 'no'} rows.\n"
            "  Each is an array with one row an example, the same number of them and at least one."
        )
    for leaf in jax.tree.leaves(parts):
        if not isinstance(leaf, Bags) and leaf.dtype.kind in "OSU":
            raise ValueError(f"fit: the data have an array of {leaf.dtype}; it is trained on arrays of numbers.")
    return parts


def take_rows(parts: Sequence, which: np.ndarray) -> tuple:
    """The examples numbered by `which`."""
    return tuple(
        part.take(which) if isinstance(part, Bags) else jax.tree.map(lambda a: a[which], part) for part in parts
    )


def size_of(parts: Sequence) -> int:
    """How many examples there are."""
    return _rows(jax.tree.leaves(parts[0])[0])


def _rows(leaf: Any) -> int:
    return len(leaf) if isinstance(leaf, Bags) or np.ndim(leaf) else 0


def on_device(parts: Sequence, batch: int) -> Batches:
    """The data moved to the device, to be taken in minibatches of `batch` (or all of it, where that is less).

    Raises:
        ValueError: batch below 1, or more than one part that is `Bags`.
    """
    if batch < 1:
        raise ValueError(f"fit: batch is {batch}; a minibatch has at least one example.")
    size = size_of(parts)
    batch = min(batch, size)
    ragged = [part for part in parts if isinstance(part, Bags)]
    arrays = tuple(None if isinstance(part, Bags) else jax.tree.map(jnp.asarray, part) for part in parts)
    if not ragged:
        return Batches(arrays, None, None, size, batch)
    if len(ragged) > 1:
        raise ValueError(f"fit: {len(ragged)} parts of the data are Bags; there is room for one.")
    (bags,) = ragged
    by_length = np.argsort(bags.lengths, kind="stable").astype(np.int32)
    edges = np.arange(batch + 1) * size // batch  # strata of size // batch examples, or of one more
    longer = np.flatnonzero(np.diff(edges) > size // batch)
    longest = bags.lengths[by_length[edges[1:] - 1]]  # of each stratum
    room = max(int(longest.sum()), 1), max(int(longest[longer].sum()), 1)
    stratum = np.repeat(np.arange(batch, dtype=np.int32), np.diff(edges))
    strata = Strata(*map(jnp.asarray, (by_length, stratum, edges[:-1], edges[longer])))
    ids = bags.ids if len(bags.ids) else np.full(1, -1, np.int32)
    moved = jnp.asarray(ids), jnp.asarray(bags.offsets[:-1]), jnp.asarray(bags.lengths)
    return Batches(arrays, moved, strata, size, batch, room)
