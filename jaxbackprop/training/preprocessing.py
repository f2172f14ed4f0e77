"""Between a data set of numbers and a model's arrays: the names of the classes and the shape of an example.

It is kept in the run's configuration, so that other data can be read for the same model later on. What text needs is
the text classifier's vocabulary, which its model holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import DataError, Examples, Texts


@dataclass(frozen=True)
class Preprocessor:
    """Classes to tell apart, and how examples become the arrays a model takes.

    classes  their names, in the order of the model's scores
    shape    of one example
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, train: Examples) -> "Preprocessor":
        """The preprocessor for a training set."""
        return cls(train.classes, train.shape)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preprocessor":
        """The preprocessor that a run's configuration describes."""
        return cls(tuple(config["classes"]), tuple(config["shape"]))

    def to_config(self) -> dict[str, Any]:
        """What the run's configuration holds of it."""
        return {"classes": list(self.classes), "shape": list(self.shape)}

    def features(self, data: Examples | Texts) -> np.ndarray:
        """The model's input, one row per example.

        Raises:
            DataError: texts, or examples of another size.
        """
        return self._checked(data).x

    def pairs(self, data: Examples | Texts) -> tuple[np.ndarray, np.ndarray]:
        """What a model is trained and evaluated on: the features and the class of each example.

        Raises:
            DataError: as for `features`; a class that training never saw.
        """
        checked = self._checked(data)
        return checked.x, checked.y

    def _checked(self, data: Examples | Texts) -> Examples:
        """The examples, their classes numbered as in training."""
        if isinstance(data, Texts):
            raise DataError("texts", expected="numbers, as in training", file=data.source)
        features = int(np.prod(self.shape))
        like = Examples(np.zeros((1, features)), np.zeros(1, np.int32), self.classes, self.shape, "the training set")
        return data.check_against(like)
