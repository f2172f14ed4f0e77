"""What a run learns, between a data set and arrays: the names of its classes, its vocabulary, its features.

Enough of it is kept in the run's folder to read any other data for the same model later on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Bags, DataError, Examples, Texts
from ..fasttext.corpus.vocabulary import Vocabulary
from .run_folder import RunFolder

VOCABULARY_FILE, ROWS_FILE = "vocabulary.json", "rows.npy"


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """Classes to tell apart, and how examples become the arrays a model takes.

    classes     their names, in the order of the model's scores
    shape       of one example of numbers; empty for texts
    vocabulary  of texts; None for numbers
    rows        those of the vocabulary's rows that occur in training, ascending: the model has these alone. What
                training never named it cannot learn, and a small table makes quick steps.
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...] = ()
    vocabulary: Vocabulary | None = None
    rows: np.ndarray | None = None

    @classmethod
    def of(cls, train: Examples | Texts, **vocabulary: Any) -> "Preprocessor":
        """The task that a training set poses; `vocabulary` as `Vocabulary.build` takes it, for texts."""
        if isinstance(train, Examples):
            return cls(train.classes, train.shape)
        built = Vocabulary.build(train, **vocabulary)
        return cls(built.labels, (), built, np.unique(built.encode(train).ids))

    @classmethod
    def load(cls, run: RunFolder) -> "Preprocessor":
        """The task of a run."""
        config = run.config
        classes, shape = tuple(config["task"]["classes"]), tuple(config["task"]["shape"])
        if not config["task"]["texts"]:
            return cls(classes, shape)
        vocabulary = Vocabulary.from_state(run.read(VOCABULARY_FILE))
        return cls(classes, shape, vocabulary, np.load(run.path / ROWS_FILE, allow_pickle=False))

    def describe(self) -> Mapping[str, Any]:
        """For the run's config; the vocabulary has a file of its own."""
        return {"texts": self.vocabulary is not None, "classes": list(self.classes), "shape": list(self.shape)}

    def save(self, run: RunFolder) -> None:
        """Write the vocabulary beside the run's config."""
        if self.vocabulary is not None and self.rows is not None:
            run.write(VOCABULARY_FILE, self.vocabulary.state())
            np.save(run.path / ROWS_FILE, self.rows)

    def features(self, side: Examples | Texts) -> np.ndarray | Bags:
        """The model's input, one row an example.

        Raises:
            DataError: numbers where texts were trained on or the other way round, examples of another size.
        """
        if isinstance(side, Texts) != (self.vocabulary is not None):
            found, expected = ("texts", "numbers") if isinstance(side, Texts) else ("numbers", "texts")
            raise DataError(found, expected=f"{expected}, as in training", file=side.source)
        if isinstance(side, Texts):
            assert self.vocabulary is not None
            return self.encode(side)
        return side.check_against(self._like(side)).x

    def encode(self, texts: Texts | Sequence[str]) -> Bags:
        """Texts as bags of the model's own rows; what training never named is left out."""
        assert self.vocabulary is not None
        assert self.rows is not None
        bags = self.vocabulary.encode(texts)
        at = np.searchsorted(self.rows, bags.ids)
        known = self.rows[np.minimum(at, len(self.rows) - 1)] == bags.ids
        return Bags(at[known], np.concatenate([[0], np.cumsum(known)])[bags.offsets])

    def labels(self, side: Examples | Texts) -> Bags:
        """The numbers of each example's classes; a class that training never saw is a DataError."""
        if isinstance(side, Texts):
            assert self.vocabulary is not None
            side.check_labels(self.classes)
            return self.vocabulary.encode_labels(side)
        y = side.check_against(self._like(side)).y
        return Bags(y, np.arange(len(y) + 1))

    def pairs(self, side: Examples | Texts) -> tuple[np.ndarray | Bags, np.ndarray]:
        """What a model is trained on: (x, y), an example with several labels once for each of them."""
        x, labels = self.features(side), self.labels(side)
        if (labels.lengths == 1).all():
            return x, labels.ids
        each = np.repeat(np.arange(len(labels)), labels.lengths)
        return (x.take(each) if isinstance(x, Bags) else x[each]), labels.ids

    def _like(self, side: Examples) -> Examples:
        """A stand-in for the training set, of whose classes and shape other examples must be."""
        if not self.shape:
            return side
        features = int(np.prod(self.shape))
        return Examples(np.zeros((1, features)), np.zeros(1, np.int32), self.classes, self.shape, "the training set")
