"""Between a data set of numbers and a model's arrays: the names of the classes and the shape of an example.

It is kept in the run's configuration, so that other data can be read for the same model later on. What text needs is
the text classifier's vocabulary, which its model holds.
"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..data import DataError, Examples, Texts


@dataclass(frozen=True)
class Preprocessor:
    """Classes to tell apart, and how examples become the arrays a model takes.

    classes  their names, in the order of the model's scores
    shape    of one example
    scale    what the numbers of training were divided by when they were read
    range    the smallest and the largest number of training, as the model got them
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    scale: float
    range: tuple[float, float]

    @classmethod
    def of(cls, train: Examples) -> "Preprocessor":
        """The preprocessor for a training set."""
        return cls(train.classes, train.shape, train.scale, (float(train.x.min()), float(train.x.max())))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preprocessor":
        """The preprocessor that a run's configuration describes."""
        low, high = config["range"]
        return cls(tuple(config["classes"]), tuple(config["shape"]), config["scale"], (low, high))

    def to_config(self) -> dict[str, Any]:
        """What the run's configuration holds of it."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Numbers as the model got them in training: raw ones, beyond the range of training, are divided as there.

        A warning says so, and names numbers that lie far outside the range of training all the same.
        """
        low, high = self.range
        if self.scale != 1 and x.size and x.max() > high:
            warnings.warn(f"Numbers up to {x.max():g} are divided by {self.scale:g}, as in training.", stacklevel=3)
            x = x / np.float32(self.scale)
        far = high - low
        if x.size and (x.min() < low - far or x.max() > high + far):
            span = f"Numbers from {x.min():g} to {x.max():g}; in training they were from {low:g} to {high:g}"
            warnings.warn(f"{span}: the predictions are guesses.", stacklevel=3)
        return x

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
        checked = data.check_against(like)
        return replace(checked, x=self.scaled(checked.x))
