"""load_run(): what `fit(out=)` or `jaxbackprop train` saved, loaded again."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .content_hashes import check_file
from .history import History, best_of
from .run_folder import METRICS, RunFolder

TEXT_CLASSIFIER, MODULE = "text classifier", "module"
LOADERS = {TEXT_CLASSIFIER: "..fasttext.run", MODULE: ".trained_module"}
"""The module whose `load` loads a run of each kind, imported when it is needed: text classifiers stand above this
package, and predict without JAX."""
MODEL_FILES = (".bin", ".ftz", ".linear")


class Trained(Protocol):
    """A trained model, ready to predict."""

    @property
    def model(self) -> Any:
        """The model itself."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty where the run does not know them."""
        ...

    def probabilities(self, x: Any) -> np.ndarray:
        """The probability of each class, (N, classes)."""
        ...

    def predict(self, x: Any) -> np.ndarray:
        """The prediction for each example, (N, ...)."""
        ...


@dataclass(frozen=True, eq=False)
class Run:
    """A run that was saved: its model, what it was trained with, and how training went.

    path     the run's folder, or the file of a text classifier
    config   its configuration, config.json; empty for a file
    trained  the model with the names of its classes, as `predict` uses it
    """

    path: Path
    config: Mapping[str, Any] = field(repr=False)
    trained: Trained = field(repr=False)

    @property
    def kind(self) -> str:
        """Either "text classifier" or "module"."""
        return kind_of(self.path, self.config)

    @property
    def model(self) -> Any:
        """The model: a flax.nnx module in evaluation mode with the best epoch's parameters, or a TextClassifier."""
        return self.trained.model

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities; empty where the run does not know them."""
        return self.trained.classes

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of training: optimizer, learning rate, epochs, ..."""
        return self.config.get("fit") or self.config.get("settings") or {}

    @cached_property
    def history(self) -> History | None:
        """The metrics of every epoch, and the best one; None where none were recorded."""
        check_file(self.path / METRICS, self.config.get("files", {}))
        epochs = RunFolder(self.path).epochs() if self.path.is_dir() else []
        if not epochs:
            return None
        best, patience = best_of(epochs), self.config.get("patience", self.settings.get("patience"))
        return History(tuple(epochs), best, patience is not None and len(epochs) - best.epoch >= patience, None)

    def probabilities(self, x: Any) -> np.ndarray:
        """The probability of each class, (N, classes).

        Args:
            x: what the model takes: an array with one row per example, or a list of texts.
        """
        return self.trained.probabilities(x)

    def predict(self, x: Any) -> np.ndarray:
        """The most probable class of each example: its name, or its number where the run does not know the names.

        Of a module that is no classifier: what the module computes.

        Args:
            x: what the model takes: an array with one row per example, or a list of texts.
        """
        return self.trained.predict(x)


def load_run(path: str | Path, *, model: Any = None) -> Run:
    """Load what `fit(out=)` or `jaxbackprop train` saved.

    Args:
        path: the folder of the run; a .bin or .ftz file of a text classifier is loaded, too.
        model: a flax.nnx module for the parameters, where the run trained one that is not the library's own.

    Returns:
        The run: model, configuration, history, and `predict`.

    Raises:
        DataError: there is no run, it was interrupted before its first checkpoint, or the model does not fit.
    """
    path = Path(path)
    config = {} if _is_bare_model(path) else RunFolder.open(path).config
    loader = importlib.import_module(LOADERS[kind_of(path, config)], __package__)
    return Run(path, config, loader.load(path, config, model))


def kind_of(path: Path, config: Mapping[str, Any]) -> str:
    """The kind of a run: "text classifier", or "module" for all others."""
    return TEXT_CLASSIFIER if config.get("kind") == TEXT_CLASSIFIER or _is_bare_model(path) else MODULE


def _is_bare_model(path: Path) -> bool:
    """Whether the path names a text classifier's file, or a folder that holds nothing but one."""
    if not path.is_dir():
        return path.suffix in MODEL_FILES
    names = {entry.name for entry in path.iterdir()}
    return bool(names) and names <= {f"model{ending}" for ending in MODEL_FILES}
