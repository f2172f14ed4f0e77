"""The order in which texts are visited after the first pass: that in which threads of fastText come to them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from ..data import Bags
from ..data.parallel import in_parallel
from ..data.spill import Spill
from .corpus import MEMORY, Chunk
from .train_slabs import ROWS, TEXTS

SHARE = 0.75  # of a slab's room that the texts ordered at once fill on average: so that most need one slab


def in_turns(chunks: Sequence[Chunk], threads: int, passes: int) -> Iterator[Chunk]:
    """Passes over all texts, one of each of `threads` parts in turn: the first of every part, then the second, ...

    Each thread of fastText reads from its own place in the file on, at equal distances, all at about one speed. Texts
    that stand side by side and have much in common (IMDB's: .8764 right in the file's order, .8786 in turns of two)
    are visited less close to each other so. They are copied, once for all passes, on another thread.
    """
    lengths = [len(rows) for rows, _ in chunks]
    ends, texts, ids = np.cumsum(lengths), sum(lengths), sum(len(rows.ids) for rows, _ in chunks)
    at_once = max(int(min(SHARE * ROWS * texts / max(ids, 1), TEXTS)) // threads, 1)
    parts = list(pairwise(np.arange(threads + 1) * texts // threads))

    def ordered(turn: int) -> Chunk:
        pieces = [range(start + turn, min(start + turn + at_once, stop)) for start, stop in parts]
        order = np.argsort(np.concatenate([np.arange(len(piece)) for piece in pieces]), kind="stable")
        rows, labels = zip(*(part for piece in pieces for part in _stretch(chunks, ends, piece)), strict=True)
        return Bags.joined(rows).take(order), Bags.joined(labels).take(order)

    turns = range(0, max(stop - start for start, stop in parts), at_once)
    spill, kept = Spill(MEMORY), []
    for rows, labels in in_parallel(ordered, turns, threads=1):
        kept.append((Bags(spill.keep(rows.ids), rows.offsets), labels))
        yield kept[-1]
    for _ in range(1, passes):
        yield from kept


def _stretch(chunks: Sequence[Chunk], ends: np.ndarray, numbers: range) -> Iterator[Chunk]:
    """The texts of these numbers, in as many pieces as they are spread over chunks."""
    for (rows, labels), end in zip(chunks, ends, strict=True):
        first = end - len(rows)
        start, stop = max(numbers.start - first, 0), min(numbers.stop, end) - first
        if start < stop:
            yield rows.part(start, stop), labels.part(start, stop)
