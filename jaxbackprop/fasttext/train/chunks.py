"""The corpus cut into chunks of one shape, so that one compiled program trains on all of them."""

from collections.abc import Iterator

import jax
import numpy as np
from numpy.typing import ArrayLike

from ...data import Bags
from ..predict.huffman import Paths
from ..settings import Settings
from .losses import Targets
from .sampler import Sampler
from .sequential import Texts

ROWS, TEXTS = 1 << 20, 1 << 16
"""The most rows and texts in a chunk; room that is not used costs nothing."""
CACHE_LINE = 64


class Chunker:
    """Cuts parts of the corpus into chunks; what a chunk holds depends on the loss."""

    def __init__(
        self, settings: Settings, sampler: Sampler, paths: Paths | None, *, batch: int = 1, weighted: bool = False
    ):
        self.settings, self.sampler, self.batch, self.weighted = settings, sampler, batch, weighted
        self.neg = settings.neg if settings.loss == "ns" and len(sampler.counts) > 1 else 0
        self.most = max(paths.longest, 1) if paths else 1 + self.neg  # one label has no path
        self.texts = -(-TEXTS // batch) * batch
        self.labels = {"ova": 2 * TEXTS, "ns": self.texts * (1 + self.neg)}.get(settings.loss, self.texts)
        self.paths = paths
        self.skip = 0  # how many chunks still to come were trained on before an interruption

    def of(
        self, rows: Bags, labels: Bags, rates: np.ndarray, weights: np.ndarray | None = None
    ) -> Iterator[tuple[Texts, Targets]]:
        """The chunks of a part of the corpus; texts without a row or without a label are left out."""
        usable = (rows.lengths > 0) & (labels.lengths > 0)
        if not usable.all():
            rows, labels, rates = rows.take(usable), labels.take(usable), rates[usable]
            weights = None if weights is None else weights[usable]
        start = 0
        while start < len(rows):
            stop = self._reach(rows, labels, start)
            if self.skip:
                self.skip -= 1
            else:
                own = None if weights is None else weights[start:stop]
                yield self._padded(rows.part(start, stop), labels.part(start, stop), rates[start:stop], own)
            start = stop

    def shapes(self) -> tuple[Texts, Targets]:
        """What an ordinary chunk's arrays look like, for compiling before there is one."""
        empty = Bags(np.zeros(0, np.int32), np.zeros(1, np.int32))
        nothing = np.zeros(0, np.float32)
        chunk = self._padded(empty, empty, nothing, nothing if self.weighted else None)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), chunk)

    def _reach(self, rows: Bags, labels: Bags, start: int) -> int:
        """Where a chunk that begins at text `start` ends; it has at least one text."""
        stop = np.searchsorted(rows.offsets, rows.offsets[start] + ROWS, side="right") - 1
        if self.settings.loss == "ova":
            stop = min(stop, np.searchsorted(labels.offsets, labels.offsets[start] + self.labels, side="right") - 1)
        return max(start + 1, min(int(stop), start + TEXTS, len(rows)))

    def _padded(self, rows: Bags, labels: Bags, rates: np.ndarray, weights: np.ndarray | None) -> tuple[Texts, Targets]:
        order = np.arange(len(rows))
        if self.settings.shuffle:
            permutation = self.sampler.order(len(rows))
            labels = labels.take(permutation)
            weights = None if weights is None else weights[permutation]
            if self.batch == 1:  # the rows stay where they are: copying them costs more than this order does
                order = permutation
            else:
                rows = rows.take(permutation)
        texts = Texts(
            _filled(ROWS, rows.ids, np.uint32),
            self._offsets(rows),
            _filled(self.texts, order, np.uint32),
            _filled(self.texts, rates, np.float32),
            np.array(len(rows), np.uint32),
            None if weights is None else _filled(self.texts, weights, np.float32),
        )
        none, nothing = np.zeros(1, np.uint32), np.zeros(1, np.float32)
        targets = Targets(none, none, none, nothing, np.zeros((0, self.most), np.float32))
        if self.settings.loss == "ova":
            return texts, targets._replace(
                labels=_filled(self.labels, labels.ids, np.uint32), offsets=self._offsets(labels)
            )
        chosen = self.sampler.labels(labels)
        if self.settings.loss == "ns":
            chosen = self.sampler.samples(chosen).ravel()
        targets = targets._replace(labels=_filled(self.labels, chosen, np.uint32))
        if self.paths is None:
            return texts, targets
        nodes, codes = (part if len(part) else np.zeros(1) for part in (self.paths.nodes, self.paths.codes))
        return texts, targets._replace(
            offsets=self.paths.offsets.view(np.uint32), nodes=nodes.astype(np.uint32), codes=codes.astype(np.float32)
        )

    def _offsets(self, bags: Bags) -> np.ndarray:
        """Where each bag begins; a last batch that is not full goes on with empty ones."""
        offsets = _filled(self.texts + 1, bags.offsets, np.uint32)
        offsets[len(bags.offsets) : len(bags.offsets) + self.batch] = bags.offsets[-1]
        return offsets


def most_in_a_batch(offsets: ArrayLike, count: int, batch: int) -> int:
    """How many ids the fullest batch has, rounded up: so that not every chunk needs a program of its own."""
    ends = np.asarray(offsets)[: -(-count // batch) * batch + 1 : batch].astype(np.int64)
    most = int(np.diff(ends).max(initial=1))
    step = 1 << max(most.bit_length() - 3, 0)
    return -(-most // step) * step


def _filled(room: int, numbers: np.ndarray, dtype) -> np.ndarray:
    """`numbers` at the beginning of an array of at least `room` that a device can use where it lies."""
    room = max(room, len(numbers))
    size = np.dtype(dtype).itemsize
    raw = np.empty(room * size + CACHE_LINE, np.uint8)
    begin = -raw.ctypes.data % CACHE_LINE
    array = raw[begin : begin + room * size].view(dtype)
    array[: len(numbers)] = numbers
    return array
