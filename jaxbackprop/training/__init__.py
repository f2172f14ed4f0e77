"""Training: fit() and what belongs to a run."""

from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .evaluation import scores as scores
from .first_nonfinite import Fault as Fault
from .first_nonfinite import NotFinite as NotFinite
from .fit import fit as fit
from .history import Epoch as Epoch
from .history import History as History
from .optimizer import make_optimizer as make_optimizer
from .run_folder import RunFolder as RunFolder
