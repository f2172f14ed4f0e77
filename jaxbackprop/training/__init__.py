"""Training: fit() and what belongs to a run. Each name is loaded when it is first used: reading a run needs no JAX."""

from typing import TYPE_CHECKING

from ..jaxprs.lazy_import import lazy_names

if TYPE_CHECKING:
    from .evaluation import Evaluation as Evaluation
    from .evaluation import evaluate as evaluate
    from .evaluation import scores as scores
    from .first_nonfinite import Fault as Fault
    from .first_nonfinite import NotFinite as NotFinite
    from .fitting import fit as fit
    from .history import Epoch as Epoch
    from .history import History as History
    from .history import Step as Step
    from .optimizer import make_optimizer as make_optimizer
    from .run import Run as Run
    from .run import load_run as load_run
    from .run_folder import RunFolder as RunFolder
    from .seeds import SeedHistories as SeedHistories
    from .seeds import fit_seeds as fit_seeds
    from .stop_signals import Terminated as Terminated

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "evaluation": ("Evaluation", "evaluate", "scores"),
        "first_nonfinite": ("Fault", "NotFinite"),
        "fitting": ("fit",),
        "history": ("Epoch", "History", "Step"),
        "run": ("Run", "load_run"),
        "optimizer": ("make_optimizer",),
        "run_folder": ("RunFolder",),
        "seeds": ("SeedHistories", "fit_seeds"),
        "stop_signals": ("Terminated",),
    },
)
