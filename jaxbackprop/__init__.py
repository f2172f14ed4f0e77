"""Backpropagation derived by hand, proved against autodiff, and put to work.

The public names. Each is loaded when it is first used, so that a command or a script pays for what it uses alone.
"""

from typing import TYPE_CHECKING

from .jaxprs.lazy_import import lazy_names

if TYPE_CHECKING:
    from . import fasttext as fasttext
    from . import gates as gates
    from . import layers as layers
    from . import losses as losses
    from .benchmarking import Benchmark as Benchmark
    from .benchmarking import benchmark as benchmark
    from .circuits import Circuit as Circuit
    from .circuits import trace as trace
    from .core.forward_mode import forward_mode as forward_mode
    from .core.rule import Rule as Rule
    from .core.rule import ShapeDtype as ShapeDtype
    from .core.rule import WithResiduals as WithResiduals
    from .core.rule import rule as rule
    from .core.rule import rules as rules
    from .derivation import CannotDerive as CannotDerive
    from .derivation import Derivation as Derivation
    from .derivation import derive as derive
    from .models import MLP as MLP
    from .models import BagOfWords as BagOfWords
    from .models import TwoLayerScorer as TwoLayerScorer
    from .models import WindowClassifier as WindowClassifier
    from .training import History as History
    from .training import Run as Run
    from .training import fit as fit
    from .training import load_run as load_run
    from .verification import Audit as Audit
    from .verification import Verification as Verification
    from .verification import assert_verified as assert_verified
    from .verification import audit as audit
    from .verification import verify as verify

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "core.rule": ("Rule", "ShapeDtype", "WithResiduals", "rule", "rules"),
        "core.forward_mode": ("forward_mode",),
        "verification": ("Audit", "Verification", "assert_verified", "audit", "verify"),
        "derivation": ("CannotDerive", "Derivation", "derive"),
        "circuits": ("Circuit", "trace"),
        "benchmarking": ("Benchmark", "benchmark"),
        "models": ("MLP", "BagOfWords", "TwoLayerScorer", "WindowClassifier"),
        "training": ("History", "Run", "fit", "load_run"),
        "fasttext": (),
        "gates": (),
        "layers": (),
        "losses": (),
    },
)
