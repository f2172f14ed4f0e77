"""Backpropagation derived by hand, proved against autodiff, and put to work.

The public names, grouped by floor. What needs flax (models and their training), and what classifies text, is loaded
when it is first used, so that a rule is quick to import.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import gates as gates
from . import layers as layers
from . import losses as losses
from .bench import Comparison as Comparison
from .bench import compare as compare
from .circuit import Circuit as Circuit
from .circuit import trace as trace
from .rule import Form as Form
from .rule import Rule as Rule
from .rule import Saving as Saving
from .rule import rule as rule
from .rule import rules as rules
from .verify import Audit as Audit
from .verify import Verification as Verification
from .verify import assert_verified as assert_verified
from .verify import audit as audit
from .verify import forward_mode as forward_mode
from .verify import verify as verify

if TYPE_CHECKING:
    from .models import MLP as MLP
    from .models import BagOfWords as BagOfWords
    from .models import TwoLayerScorer as TwoLayerScorer
    from .models import WindowClassifier as WindowClassifier
    from .text import TextClassifier as TextClassifier
    from .text import TextEstimator as TextEstimator
    from .text import autotune as autotune
    from .text import load_model as load_model
    from .text import train_supervised as train_supervised
    from .training import History as History
    from .training import fit as fit

__version__ = "0.1.0"

_LATER = {
    "models": ("MLP", "BagOfWords", "TwoLayerScorer", "WindowClassifier"),
    "training": ("History", "fit"),
    "text": ("TextClassifier", "TextEstimator", "autotune", "load_model", "train_supervised"),
}


def __getattr__(name: str) -> Any:
    for floor, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f".{floor}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(name for names in _LATER.values() for name in names)])
