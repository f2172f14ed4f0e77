"""Bag-of-words text classification at fastText's level: its model, its files, its names, hand-derived deltas.

Each name is loaded when it is first used: what reads a model needs no trainer, only the estimator scikit-learn.
"""

from typing import TYPE_CHECKING

from ..jaxprs.lazy_import import lazy_names

if TYPE_CHECKING:
    from .api import BOW as BOW
    from .api import EOS as EOS
    from .api import EOW as EOW
    from .api import load_model as load_model
    from .api import tokenize as tokenize
    from .api import train_supervised as train_supervised
    from .classifier import TextClassifier as TextClassifier
    from .corpus.corpus import Corpus as Corpus
    from .estimator import TextEstimator as TextEstimator
    from .model import Model as Model
    from .predict.metrics import Scoring as Scoring
    from .settings import Settings as Settings
    from .tune.search import Trial as Trial
    from .tune.search import Tuned as Tuned
    from .tune.search import autotune as autotune

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tune.search": ("Trial", "Tuned", "autotune"),
        "classifier": ("TextClassifier",),
        "corpus.corpus": ("Corpus",),
        "estimator": ("TextEstimator",),
        "api": ("BOW", "EOS", "EOW", "load_model", "tokenize", "train_supervised"),
        "model": ("Model",),
        "predict.metrics": ("Scoring",),
        "settings": ("Settings",),
    },
)
