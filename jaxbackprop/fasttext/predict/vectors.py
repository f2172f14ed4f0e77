"""Words and texts as vectors: what a model's rows come to, and which words are near to one another.

Source  fastText 0.9.2: FastText::getWordVector, getSentenceVector, getNN, getAnalogies
"""

from collections.abc import Sequence

import numpy as np

from ..model import Model, mean_rows
from .hidden import hidden_of_one
from .top_k import top_k

WORDS = 1 << 14  # words worked on together
TINY = 1e-8  # fastText's least norm that is divided by


def word_vectors(model: Model, words: Sequence[str] | None = None) -> np.ndarray:
    """The mean of the rows that stand for each word, its character n-grams included: (words, dim) float32.

    All words of the vocabulary where none are given. One without any row is 0.
    """
    words = model.vocabulary.words if words is None else words
    parts = [mean_rows(model.input, model.word_bags(words[k : k + WORDS])) for k in range(0, len(words), WORDS)]
    return np.concatenate([np.zeros((0, model.input.shape[1]), np.float32), *parts])


def text_vector(model: Model, text: str) -> np.ndarray:
    """A text as fastText has it, (dim,): the mean of its rows; under cbow and skipgram, of its words' unit vectors.

    Under a linear model it is the labels' scores.
    """
    if model.kind in ("supervised", "linear"):
        return hidden_of_one(model, model.encode_line(text))
    words = text.encode("utf-8", "surrogateescape").split()
    vectors = unit_rows(word_vectors(model, [word.decode("utf-8", "surrogateescape") for word in words]))
    return vectors.sum(0) / np.float32(max(vectors.any(1).sum(), 1))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each vector divided by its length; zeros stay: (N, dim)."""
    lengths = norms(vectors)
    return vectors / np.where(lengths == 0, 1, lengths)


def norms(vectors: np.ndarray) -> np.ndarray:
    """The length of each vector, (N, 1)."""
    return np.sqrt((vectors**2).sum(1, keepdims=True))


def nearest_rows(
    model: Model, units: np.ndarray, query: np.ndarray, k: int, without: Sequence[str]
) -> list[tuple[float, int]]:
    """The `k` words whose vectors point most in the direction of `query`: the cosine, and the word's row.

    Args:
        units: (words, dim) the vectors of all words, each of length 1.
        query: (dim,).
        k: how many.
        without: words that are not among the answers.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1.")
    length = float(np.sqrt((query**2).sum()))
    scores = units @ query / np.float32(length if length >= TINY else 1)
    scores[[row for row in map(model.vocabulary.word_id, without) if row >= 0]] = -np.inf
    _, rows, best = top_k(scores[None], min(k, len(scores)), np.finfo(np.float32).min)
    return list(zip(best.tolist(), rows.tolist(), strict=True))


def analogy(model: Model, words: Sequence[str]) -> np.ndarray:
    """The direction of the first of three words less the second plus the third, each by its unit vector: (dim,)."""
    vectors = word_vectors(model, words)
    return (vectors / (norms(vectors) + TINY) * np.array([[1], [-1], [1]], np.float32)).sum(0)
