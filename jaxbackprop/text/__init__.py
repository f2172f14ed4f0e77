"""Bag-of-words text classification at fastText's level: its model, its files, its names, hand-derived deltas.

Each name is loaded when it is first asked for: what reads a model needs no trainer, only the estimator scikit-learn.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import TextClassifier as TextClassifier
    from .corpus import Corpus as Corpus
    from .estimator import TextEstimator as TextEstimator
    from .familiar import load_model as load_model
    from .familiar import train_supervised as train_supervised
    from .model import Model as Model
    from .scoring import Scoring as Scoring
    from .settings import Settings as Settings
    from .tuning import Trial as Trial
    from .tuning import Tuned as Tuned
    from .tuning import autotune as autotune

_LATER = {
    "tuning": ("Trial", "Tuned", "autotune"),
    "classifier": ("TextClassifier",),
    "corpus": ("Corpus",),
    "estimator": ("TextEstimator",),
    "familiar": ("load_model", "train_supervised"),
    "model": ("Model",),
    "scoring": ("Scoring",),
    "settings": ("Settings",),
}


def __getattr__(name: str) -> Any:
    for file, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f".{file}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(name for names in _LATER.values() for name in names)])
