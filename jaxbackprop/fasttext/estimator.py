"""The text classifier as a scikit-learn estimator: lists of strings in, classes out. It alone needs scikit-learn."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..data import Texts
from ..data.labelled_text import LABEL_PREFIX
from .classifier import TextClassifier


class TextEstimator(ClassifierMixin, BaseEstimator):
    """fastText's text classifier for scikit-learn: in a Pipeline, a GridSearchCV, cross_val_score.

    X is a list (or array, or column) of strings, y a class for each of them, of any type that sorts. The settings are
    those of `Settings`; see there. There is no sparse matrix between: the estimator takes text itself. With
    `model="linear"` it is a linear support vector machine on tf-idf weighted words and bigrams, of strength `C`. epoch,
    word_ngrams, bucket, loss, idf and lowercase have the model's own defaults where they are None.

    Attributes:
        classes_: the classes, sorted; the columns of `predict_proba`.
        classifier_: the TextClassifier, whose labels are the numbers of the classes.
    """

    def __init__(
        self,
        *,
        model: str = "fasttext",
        C: float = 1.0,
        lowercase: bool | None = None,
        lr: float = 0.1,
        dim: int = 100,
        epoch: int | None = None,
        min_count: int = 1,
        word_ngrams: int | None = None,
        bucket: int | None = None,
        minn: int = 0,
        maxn: int = 0,
        loss: str | None = None,
        neg: int = 5,
        optimizer: str = "sgd",
        batch: int | None = None,
        shuffle: bool = True,
        max_words: int | None = None,
        smoothing: float = 0.0,
        idf: float | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        seed: int = 0,
    ):
        self.model, self.C, self.lowercase = model, C, lowercase
        self.lr, self.dim, self.epoch, self.min_count = lr, dim, epoch, min_count
        self.word_ngrams, self.bucket, self.minn, self.maxn = word_ngrams, bucket, minn, maxn
        self.loss, self.neg, self.optimizer, self.batch = loss, neg, optimizer, batch
        self.shuffle, self.max_words, self.smoothing = shuffle, max_words, smoothing
        self.idf, self.class_weight, self.seed = idf, class_weight, seed

    def fit(self, X: Sequence[str], y: Any, sample_weight: Any = None) -> "TextEstimator":
        """Train on texts and their classes, each of weight 1 or of its `sample_weight`.

        Raises:
            TypeError: X is one string, or holds something else than strings.
            ValueError: y is not of X's length, or not classes; no text holds a word; a class_weight of no class.
        """
        texts = _texts(X)
        y = column_or_1d(np.asarray(y), warn=True)
        check_classification_targets(y)
        if len(texts) != len(y):
            raise ValueError(f"X holds {len(texts)} texts, but y {len(y)} classes.")
        if not texts:
            raise ValueError("X holds no text; at least one is needed to train on.")
        self.classes_, numbers = np.unique(y, return_inverse=True)
        optional = ("epoch", "word_ngrams", "bucket", "loss", "lowercase", "idf")
        settings: dict[str, Any] = {k: v for k, v in self.get_params().items() if v is not None or k not in optional}
        if isinstance(self.class_weight, Mapping):
            settings["class_weight"] = self._by_number(self.class_weight)
        labels = tuple((str(number),) for number in numbers.tolist())
        self.classifier_ = TextClassifier.train(
            Texts(texts, labels, source="X"), sample_weight=sample_weight, **settings
        )
        return self

    def _by_number(self, class_weight: Mapping[Any, float]) -> dict[str, float]:
        """The weights by the labels that the classifier has, the numbers of the classes."""
        numbers = {name: str(number) for number, name in enumerate(self.classes_.tolist())}
        for name in class_weight:
            if name not in numbers:
                raise ValueError(f"class_weight: {name!r} is not among the classes {', '.join(map(str, numbers))}.")
        return {numbers[name]: weight for name, weight in class_weight.items()}

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """The most probable class of each text: (N,), of y's type."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(1)]

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """The probability of each class, (N, classes); under loss "ova" and "ns" a row need not sum to 1."""
        check_is_fitted(self)
        found = self.classifier_.probabilities(_texts(X))
        order = np.argsort([int(label) for label in self.classifier_.model.vocabulary.labels])
        return found[:, order]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags


def _texts(X: Any) -> tuple[str, ...]:
    if isinstance(X, str | bytes):
        raise TypeError("X is one string; it must be a list of strings, a text each.")
    if not isinstance(X, Iterable):
        raise TypeError(f"X is {X!r}; it must be a list of strings, a text each.")
    texts = tuple(X)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"X[{number}] is {text!r}, a {type(text).__name__}; it must be a string.")
        if LABEL_PREFIX in text:
            raise ValueError(f"X[{number}] holds {LABEL_PREFIX}, which begins a label; classes belong into y.")
    return texts
