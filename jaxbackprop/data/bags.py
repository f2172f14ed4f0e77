"""Bags of row numbers: what a text is to a model. Flat arrays and their padding; where the numbers come from is not
known here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Bags:
    """N bags of whole numbers, one after another: bag k is ids[offsets[k]:offsets[k + 1]].

    ids      (T,) int32
    offsets  (N + 1,) int32 where T fits into it, int64 where not; offsets[0] = 0, offsets[N] = T
    """

    ids: np.ndarray
    offsets: np.ndarray

    def __post_init__(self):
        ids, offsets = np.ascontiguousarray(self.ids, np.int32), np.asarray(self.offsets)
        if ids.ndim != 1 or offsets.ndim != 1 or not len(offsets):
            raise ValueError(f"Bags: ids {ids.shape} and offsets {offsets.shape} must be vectors, offsets not empty.")
        if offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
            raise ValueError(f"Bags: offsets must rise from 0 to {len(ids)}, the number of ids.")
        fits = len(ids) <= np.iinfo(np.int32).max
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "offsets", np.ascontiguousarray(offsets, np.int32 if fits else np.int64))

    @classmethod
    def joined(cls, parts: "Sequence[Bags]") -> "Bags":
        """The bags of several lists of bags, one list after another."""
        if len(parts) == 1:
            return parts[0]
        ids = [np.zeros(0, np.int32), *(part.ids for part in parts)]
        lengths = [np.zeros(0, np.int64), *(part.lengths for part in parts)]
        return cls(np.concatenate(ids), starts(np.concatenate(lengths)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, k: int) -> np.ndarray:
        """The ids of bag `k`, a view."""
        k = range(len(self))[k]
        return self.ids[self.offsets[k] : self.offsets[k + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many ids each bag has, (N,)."""
        return np.diff(self.offsets)

    @property
    def longest(self) -> int:
        """The length of the longest bag, 0 where there is none."""
        return int(self.lengths.max(initial=0))

    def part(self, start: int, stop: int) -> "Bags":
        """Bags start to stop - 1; their ids are not copied."""
        offsets = self.offsets[start : stop + 1]
        return Bags(self.ids[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, which: np.ndarray) -> "Bags":
        """The bags numbered by `which` (integers, or one bool a bag), in that order."""
        which = np.asarray(which)
        which = np.flatnonzero(which) if which.dtype == bool else which
        lengths = self.lengths[which]
        return Bags(self.ids[ranges(self.offsets[:-1][which], lengths)], starts(lengths))


def starts(lengths: np.ndarray) -> np.ndarray:
    """The offsets of pieces of these lengths laid end to end: (N,) -> (N + 1,) int64."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """All of first[k], first[k] + 1, ..., first[k] + lengths[k] - 1 for k = 0, 1, ...: (N,) (N,) -> (T,) int64."""
    offsets = starts(lengths)
    return np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])


def pad(bags: Bags, *, max_length: int | None = None) -> np.ndarray:
    """The bags as the rows of one array, filled up with -1 on the right: for training in minibatches.

    max_length  longer bags keep their first `max_length` ids; None keeps all
    ->          (N, L) int32, L the longest length left, at least 1
    """
    if max_length is not None and max_length < 1:
        raise ValueError(f"pad: max_length is {max_length}; a row needs room for at least one id.")
    length = max(bags.longest if max_length is None else min(bags.longest, max_length), 1)
    lengths = np.minimum(bags.lengths, length)
    padded = np.full((len(bags), length), -1, np.int32)
    padded[np.arange(length) < lengths[:, None]] = bags.ids[ranges(bags.offsets[:-1], lengths)]
    return padded
