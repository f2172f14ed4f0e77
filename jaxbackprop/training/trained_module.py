"""A trained flax module as a run holds it: built from its description, its best parameters loaded, ready to predict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..data import DataError
from ..gates import softmax
from ..models import build
from ..models.registry import MODELS
from .checkpoints import Checkpoints
from .evaluation import scores
from .preprocessing import Preprocessor
from .run_folder import CHECKPOINTS, CONFIG, RunFolder


@dataclass(frozen=True, eq=False)
class TrainedModule:
    """A module in evaluation mode, and how data become its input.

    model         the module, with the best epoch's parameters
    preprocessor  of the data it was trained on by `jaxbackprop train`; None where `fit` was given arrays
    """

    model: nnx.Module = field(repr=False)
    preprocessor: Preprocessor | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty where `fit` was given arrays."""
        return self.preprocessor.classes if self.preprocessor else ()

    def probabilities(self, x: Any) -> np.ndarray:
        """The softmax of the module's scores, (N, classes)."""
        return np.asarray(softmax(jnp.asarray(self._scores(x))))

    def predict(self, x: Any) -> np.ndarray:
        """The class with the highest score; of a module without `classes`, its output."""
        computed = self._scores(x)
        if not hasattr(self.model, "classes"):
            return computed
        best = computed.argmax(-1)
        return np.array(self.classes)[best] if self.classes else best

    def _scores(self, x: Any) -> np.ndarray:
        return scores(self.model, x if self.preprocessor is None else self.preprocessor.scaled(np.asarray(x)))


def load(path: Path, config: Mapping[str, Any], model: nnx.Module | None = None) -> TrainedModule:
    """The module of a run.

    Raises:
        DataError: the run has no checkpoint, or its arrays do not fit the module; its module is not the library's,
            and none was given.
    """
    if model is None:
        description = config.get("model", {})
        if description.get("class") not in MODELS:
            raise DataError(
                f"a run that trained {description.get('class')!r}",
                expected=f"one of the library's models ({', '.join(MODELS)})",
                file=path,
                advice="Give the module to load the parameters into: load_run(folder, model=...).",
            )
        try:
            model = build(description, rngs=nnx.Rngs(0))
        except (TypeError, ValueError) as error:
            raise DataError(f"a model that cannot be made ({error})", file=path / CONFIG) from None
    checkpoints = Checkpoints(path / CHECKPOINTS)
    _, about = checkpoints.newest()
    RunFolder(path).check_epochs(about["epochs"], about["metrics"])
    nnx.update(model, checkpoints.load_best(jax.tree.map(jnp.asarray, nnx.state(model))))
    model.eval()
    described = config.get("preprocessor")
    return TrainedModule(model, Preprocessor.from_config(described) if described else None)
