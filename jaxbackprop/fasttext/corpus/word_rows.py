"""From words to rows of a table as array arithmetic: each word has some rows, a line has those of its words."""

from itertools import pairwise

import numpy as np

from ...data.bags import ranges, starts

BLOCK = 1 << 18  # tokens worked on together: their arrays stay in the cache


class WordRows:
    """The rows of each word, and from them those of lines of words."""

    def __init__(self, rows: np.ndarray, counts: np.ndarray, is_word: np.ndarray):
        self.rows, self.counts, self.first = rows, counts, starts(counts)[:-1]
        self.one_or_none = bool((counts <= 1).all())
        self.one_each = bool((counts[is_word] == 1).all())
        self.single = rows[np.minimum(self.first, len(rows) - 1)] if self.one_or_none and len(rows) else rows

    def of(self, codes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of lines of words, and their offsets."""
        if self.one_or_none:
            codes, offsets = (codes, offsets) if self.one_each else select(codes, self.counts > 0, offsets)
            return self.single[codes], offsets
        lengths = self.counts[codes]
        return self.rows[ranges(self.first[codes], lengths)], starts(lengths)[offsets]


def select(codes: np.ndarray, chosen: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes for which chosen[code], and the offsets of the lines they are left in."""
    at = np.flatnonzero(chosen[codes])
    return codes[at], np.searchsorted(at, offsets)


def shifted(n: int, offsets: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The numbers 0 to n - 1, those of line k moved up by shift[k]."""
    return np.arange(n) + np.repeat(shift, np.diff(offsets))


def blocks(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Lines first to last, cut so that each piece holds about BLOCK tokens."""
    edges = np.searchsorted(offsets, np.arange(0, offsets[-1] + BLOCK, BLOCK))
    edges = np.unique(np.append(np.minimum(edges, len(offsets) - 1), len(offsets) - 1))
    return [(int(a), int(b)) for a, b in pairwise(edges)]
