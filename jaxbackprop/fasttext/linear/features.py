"""Texts as weighted rows: how often a word or n-gram occurs in a text, and in how many texts.

Source  Sparck Jones 1972 (idf); Salton, Buckley 1988 (tf-idf, texts of length 1)
"""

from typing import TYPE_CHECKING, cast

import numpy as np

from ...data import Bags
from ...data.tokens import END
from ..corpus.vocabulary import Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def counted(bags: Bags, rows: int) -> "csr_array":
    """How often each text names each row: (N, rows) float32."""
    import scipy.sparse  # slow to import, and needed by few

    ones = np.ones(len(bags.ids), np.float32)
    counts = scipy.sparse.csr_array((ones, bags.ids, bags.offsets), shape=(len(bags), rows), copy=True)
    counts.sum_duplicates()  # in place, so on copies
    return counts


def idf_of(counts: "csr_array", vocabulary: Vocabulary, exponent: float) -> np.ndarray:
    """The weight of each row, (log((1 + texts) / (1 + texts that name it)) + 1)^exponent; 0 for the end of the line."""
    texts, rows = cast("tuple[int, int]", counts.shape)
    named = np.bincount(counts.indices, minlength=rows)
    idf = (np.log((1 + texts) / (1 + named)) + 1) ** exponent
    if (end := vocabulary.word_id(END.decode())) >= 0:
        idf[end] = 0
    return idf.astype(np.float32)


def weigh(counts: "csr_array", idf: np.ndarray) -> "csr_array":
    """The counts as (1 + log count) idf, each text of length 1; in place."""
    counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
    squares = np.concatenate([[0], np.cumsum(counts.data**2, dtype=np.float64)])
    lengths = np.sqrt(np.diff(squares[counts.indptr]))
    counts.data /= np.repeat(np.where(lengths == 0, 1, lengths), np.diff(counts.indptr)).astype(np.float32)
    return counts
