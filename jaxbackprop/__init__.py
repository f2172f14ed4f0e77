"""Backpropagation derived by hand, proved against autodiff, and put to work.

The public names, grouped by floor. Each is loaded when it is first used: what reads a text has no need of a verifier,
what asks a model none of JAX.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import gates as gates
    from . import layers as layers
    from . import losses as losses
    from .bench import Comparison as Comparison
    from .bench import compare as compare
    from .circuit import Circuit as Circuit
    from .circuit import trace as trace
    from .models import MLP as MLP
    from .models import BagOfWords as BagOfWords
    from .models import TwoLayerScorer as TwoLayerScorer
    from .models import WindowClassifier as WindowClassifier
    from .rule import Form as Form
    from .rule import Rule as Rule
    from .rule import Saving as Saving
    from .rule import rule as rule
    from .rule import rules as rules
    from .text import TextClassifier as TextClassifier
    from .text import TextEstimator as TextEstimator
    from .text import autotune as autotune
    from .text import load_model as load_model
    from .text import train_supervised as train_supervised
    from .training import History as History
    from .training import fit as fit
    from .verify import Audit as Audit
    from .verify import Verification as Verification
    from .verify import assert_verified as assert_verified
    from .verify import audit as audit
    from .verify import forward_mode as forward_mode
    from .verify import verify as verify

__version__ = "0.1.0"

_LATER = {
    "rule": ("Form", "Rule", "Saving", "rule", "rules"),
    "verify": ("Audit", "Verification", "assert_verified", "audit", "forward_mode", "verify"),
    "circuit": ("Circuit", "trace"),
    "bench": ("Comparison", "compare"),
    "models": ("MLP", "BagOfWords", "TwoLayerScorer", "WindowClassifier"),
    "training": ("History", "fit"),
    "text": ("TextClassifier", "TextEstimator", "autotune", "load_model", "train_supervised"),
}
_FLOOR = {name: floor for floor, names in _LATER.items() for name in names}
_ROOMS = ("gates", "layers", "losses")


class _Package(ModuleType):
    """`rule` and `verify` are functions, and where they live is called so too: what is imported must not hide them."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _FLOOR or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _FLOOR:
        return getattr(importlib.import_module(f".{_FLOOR[name]}", __name__), name)
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FLOOR, *_ROOMS])
