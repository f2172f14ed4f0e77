"""From a file to a trained model: reading, starting vectors, checkpoints and training put together.

Each of them stands in a file of its own; nothing is computed here. JAX is imported while the file is read.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..corpus.corpus import Corpus, Unlabelled
from ..corpus.reading import Source
from ..model import Model
from ..settings import Settings
from .checkpointing import Checkpoints
from .starting import starting

if TYPE_CHECKING:
    from .loop import Report


def train_from_file(
    data: Source,
    settings: Settings,
    unlabelled: Unlabelled,
    cache: str | PathLike[str] | None,
    pretrained: str | PathLike[str] | None,
    checkpoints: str | PathLike[str] | Checkpoints | None,
    progress: "Callable[[Report], None] | None",
) -> Model:
    """What `TextClassifier.train` does, the settings checked.

    With `pretrained` vectors all their words have a row, also those that the text does not hold, as in fastText. That
    also counts them among the tokens that an epoch must read, and so visits the text more often than `epoch` says (a
    million vectors and a text of a million tokens: twice as often); here an epoch visits each text once.
    """
    if isinstance(checkpoints, str | PathLike):
        checkpoints = Checkpoints(Path(checkpoints))
    with starting() as trainer:
        words, vectors = None, None
        if pretrained is not None:
            from ..files.vec_file import read_vectors

            words, vectors = read_vectors(pretrained, settings.dim)
        kept = None if cache is None else Path(cache)
        corpus = Corpus.read(data, settings, unlabelled=unlabelled, cache=kept, also=words)
        train, start = trainer().train, None
        if words is not None and vectors is not None:
            from .fine_tune import pretrained_table

            start = pretrained_table(words, vectors, corpus.vocabulary, settings)
        model = train(corpus, settings, start=start, progress=progress, checkpoints=checkpoints)
    if not np.isfinite(np.asarray(model.output)).all():
        raise FloatingPointError(f"training met a number that is not finite; lr {settings.lr} is too large.")
    return model
