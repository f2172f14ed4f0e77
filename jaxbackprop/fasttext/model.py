"""A trained text classifier as data: its vocabulary, its settings, its two tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from ..data import Bags
from .corpus.vocabulary import Readable, Vocabulary
from .settings import Settings

Kind = Literal["supervised", "cbow", "skipgram", "linear"]
FEW = 1 << 10  # rows that are copied to be added up


class Table(Protocol):
    """Rows that can be looked up by number: a plain array of float32 does, and a quantized one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and the length of one."""
        ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """The rows of these numbers: (...) integers -> (..., dim) float32."""
        ...


def row_blocks(table: Table, size: int) -> Iterator[np.ndarray]:
    """All rows, `size` at a time, float32; views where the table is an array of that: it is not copied whole."""
    plain = np.asarray(table) if hasattr(table, "__array__") else None
    for first in range(0, table.shape[0], size):
        last = min(first + size, table.shape[0])
        rows = table[np.arange(first, last)] if plain is None else plain[first:last]
        yield np.asarray(rows, np.float32)


@dataclass(frozen=True, eq=False)
class Model:
    """fastText's model: a text is the mean of the input rows of its words and n-grams; the output rows score it.

    Attributes:
        input: (vocabulary.rows, dim) float32, or quantized.
        output: (labels, dim) float32, or quantized: a row a label; under hs the first labels - 1 rows are the inner
            nodes of the Huffman tree, in the order in which they were joined.
        kept: for a pruned table, (P, 2) int32: the number of an n-gram (from 0, its bucket), and which row after the
            words it has now; other n-grams have none. None where nothing was pruned.
        kind: "supervised", a classifier; or "cbow" or "skipgram", word vectors that fastText trained: the output rows
            are of words, and there is nothing to predict; or "linear": the input rows are the labels' weights, (rows,
            labels), and there are no output rows.
        idf: of a linear model the weight of each row, (rows,) float32.
        bias: of a linear model, (labels,) float32.
    """

    vocabulary: Vocabulary
    settings: Settings
    input: Table
    output: Table
    kept: np.ndarray | None = None
    kind: Kind = "supervised"
    idf: np.ndarray | None = None
    bias: np.ndarray | None = None

    def encode(self, texts: Readable) -> Bags:
        """The rows of the input table that stand for each text: what prediction and sentence vectors ask for.

        `vocabulary.encode` numbers rows as if nothing had been pruned; this is right for a pruned table too.
        """
        return self.remaining(self.vocabulary.encode(texts))

    def remaining(self, bags: Bags) -> Bags:
        """Rows numbered as if nothing had been pruned -> those that are left, as they are numbered now."""
        if self.kept is None:
            return bags
        ids, is_left = self._renumbered(bags.ids)
        return Bags(ids, np.concatenate([[0], np.cumsum(is_left)])[bags.offsets])

    def encode_line(self, text: str) -> np.ndarray:
        """The rows of one text, as `encode` has them."""
        return self._left_of(self.vocabulary.encode_line(text))

    def subwords(self, word: str) -> np.ndarray:
        """The rows of the input table that stand for one word."""
        return self._left_of(self.vocabulary.subwords(word))

    def word_bags(self, words: Sequence[str]) -> Bags:
        """The rows of the input table that stand for each word: its own, and those of its character n-grams."""
        return self.remaining(self.vocabulary.word_bags(words))

    def _left_of(self, ids: np.ndarray) -> np.ndarray:
        return ids if self.kept is None else self._renumbered(ids)[0]

    def _renumbered(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        old, new = self._kept_sorted
        grams = ids - self.vocabulary.word_count
        at, is_word = old.searchsorted(grams), grams < 0
        is_left = is_word | (old[at] == grams)
        return np.where(is_word, ids, new[at])[is_left], is_left

    @cached_property
    def _kept_sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of n-grams, rising, and their rows; a number above all, which is none, ends them."""
        assert self.kept is not None
        order = np.argsort(self.kept[:, 0])
        none = np.int32(np.iinfo(np.int32).max)  # of one type with the others: else a search would convert them all
        return np.append(self.kept[order, 0], none), np.append(self.kept[order, 1] + self.vocabulary.word_count, none)


def mean_rows(table: Table, bags: Bags) -> np.ndarray:
    """The mean of each text's rows, summed in their order as fastText sums: (N, dim) float32; 0 for no rows."""
    import scipy.sparse  # slow to import, and needed by few

    ids, rows = bags.ids, table
    if not (isinstance(table, np.ndarray) and table.flags.c_contiguous):  # scipy would copy one with gaps
        different, ids = _different(bags.ids, table.shape[0])
        rows = table[different]
    ones = np.ones(len(ids), np.float32)
    sums = scipy.sparse.csr_array((ones, ids, bags.offsets), shape=(len(bags), rows.shape[0])) @ rows
    return sums * (1 / np.maximum(bags.lengths, 1)).astype(np.float32)[:, None]


def mean_row(table: Table, ids: np.ndarray) -> np.ndarray:
    """`mean_rows` of one text: (dim,) float32."""
    if len(ids) > FEW:
        return mean_rows(table, Bags(ids, np.array([0, len(ids)])))[0]
    return np.einsum("nd->d", table[ids]) * np.float32(1 / max(len(ids), 1))


def _different(ids: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The different ones among ids below `count`, rising, and the place of each id among them."""
    if len(ids) < count // 8:
        return np.unique(ids, return_inverse=True)
    named = np.zeros(count, bool)
    named[ids] = True
    return np.flatnonzero(named), (np.cumsum(named) - 1)[ids]
