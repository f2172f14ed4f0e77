"""Words as vectors: what a model's rows come to.

Source  fastText 0.9.2: FastText::getWordVector
"""

from collections.abc import Sequence

import numpy as np

from ..model import Model, mean_rows

WORDS = 1 << 14  # so many words are worked on together


def word_vectors(model: Model, words: Sequence[str] | None = None) -> np.ndarray:
    """The mean of the rows that stand for each word, its character n-grams included: (words, dim) float32.

    All words of the vocabulary where none are given. One without any row is 0.
    """
    words = model.vocabulary.words if words is None else words
    parts = [mean_rows(model.input, model.word_bags(words[k : k + WORDS])) for k in range(0, len(words), WORDS)]
    return np.concatenate([np.zeros((0, model.input.shape[1]), np.float32), *parts])
