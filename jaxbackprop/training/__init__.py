"""Training: fit() and what belongs to a run. Each name is loaded when it is first used: reading a run needs no JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation import Evaluation as Evaluation
    from .evaluation import evaluate as evaluate
    from .evaluation import scores as scores
    from .first_nonfinite import Fault as Fault
    from .first_nonfinite import NotFinite as NotFinite
    from .fitting import fit as fit
    from .history import Epoch as Epoch
    from .history import History as History
    from .optimizer import make_optimizer as make_optimizer
    from .run import Run as Run
    from .run import load_run as load_run
    from .run_folder import RunFolder as RunFolder

_PUBLIC = {
    "evaluation": ("Evaluation", "evaluate", "scores"),
    "first_nonfinite": ("Fault", "NotFinite"),
    "fitting": ("fit",),
    "history": ("Epoch", "History"),
    "run": ("Run", "load_run"),
    "optimizer": ("make_optimizer",),
    "run_folder": ("RunFolder",),
}


def __getattr__(name: str) -> Any:
    for file, names in _PUBLIC.items():
        if name in names:
            return getattr(importlib.import_module(f".{file}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *(name for names in _PUBLIC.values() for name in names)])
