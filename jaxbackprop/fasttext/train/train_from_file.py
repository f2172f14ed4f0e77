"""From a file to a trained model: reading, starting vectors, held-out texts, checkpoints and training put together.

JAX is imported on a thread while the file is read: that takes longer than to train on a small one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...jaxprs.lazy_import import lazy_import
from ...training.history import Epoch, History
from ..corpus.corpus import Corpus, Unlabelled
from ..corpus.reading import Source, text_groups
from ..files.vec_file import read_vectors
from ..model import Model
from ..predict.metrics import encoded, nothing_to_score
from ..settings import Settings
from .checkpointing import Checkpoints

if TYPE_CHECKING:
    from .epochs import EpochMonitor
    from .loop import Report

# They need JAX, which is imported while the file is read.
epochs, fine_tune = (lazy_import(f"{__package__}.{name}") for name in ("epochs", "fine_tune"))


def train_from_file(
    data: Source,
    settings: Settings,
    *,
    valid: Source | float | None = None,
    patience: int | None = None,
    unlabelled: Unlabelled = "refuse",
    cache: str | PathLike[str] | None = None,
    pretrained: str | PathLike[str] | None = None,
    checkpoints: str | PathLike[str] | Checkpoints | None = None,
    progress: "Callable[[Report], None] | None" = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[Model, History | None]:
    """What `TextClassifier.train` does, the settings checked; the history where epochs were measured.

    With `pretrained` vectors all their words have a row, also those that the text does not hold, as in fastText. That
    also counts them among the tokens that an epoch must read, and so visits the text more often than `epoch` says (a
    million vectors and a text of a million tokens: twice as often); here an epoch visits each text once.
    """
    if isinstance(checkpoints, str | PathLike):
        checkpoints = Checkpoints(Path(checkpoints))
    if isinstance(valid, int | float) and not 0 < valid < 1:
        raise ValueError(f"valid is {valid}; it is a share of the training texts, between 0 and 1, or a file.")
    if settings.model == "linear":
        for name, value in {"valid": valid, "pretrained": pretrained, "checkpoints": checkpoints}.items():
            if value is not None:
                raise ValueError(
                    f"{name}: the linear model has it not; its objective has one minimum, found in seconds."
                )
    if patience is not None and valid is None:
        raise ValueError("patience counts epochs without progress on held-out texts: give valid as well.")
    with ThreadPoolExecutor(1) as thread:
        loop = thread.submit(import_module, "..linear.train" if settings.model == "linear" else ".loop", __package__)
        words, vectors = (None, None) if pretrained is None else read_vectors(pretrained, settings.dim)
        corpus = Corpus.read(
            data, settings, unlabelled=unlabelled, cache=None if cache is None else Path(cache), also=words,
            hold_out=valid if isinstance(valid, int | float) else None,
        )  # fmt: skip
        if settings.model == "linear":
            return loop.result().train_linear(corpus, settings, progress=progress, on_epoch=on_epoch), None
        train, start, monitor = loop.result().train, None, None
        if words is not None and vectors is not None:
            start = fine_tune.pretrained_table(words, vectors, corpus.vocabulary, settings)
        if valid is not None or on_epoch is not None:
            monitor = _monitor(corpus, settings, valid, patience, on_epoch)
        model = train(
            corpus, settings, start=start, progress=progress, checkpoints=checkpoints, monitor=monitor
        )  # fmt: skip
    return model, None if monitor is None else monitor.history(settings.epoch)


def _monitor(
    corpus: Corpus,
    settings: Settings,
    valid: Source | float | None,
    patience: int | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> "EpochMonitor":
    """What measures each epoch, on the texts held out of the corpus or on those of a file."""
    if valid is None:
        return epochs.EpochMonitor((), patience, on_epoch)
    groups = corpus.held_out if isinstance(valid, int | float) else text_groups(valid, settings.label_prefix)
    nothing = np.zeros((0, settings.dim), np.float32)
    held_out, skipped = encoded(Model(corpus.vocabulary, settings, nothing, nothing), groups)
    if not sum(len(rows) for rows, _ in held_out):
        raise nothing_to_score(
            skipped, settings.label_prefix, "the held-out texts" if isinstance(valid, int | float) else valid
        )
    return epochs.EpochMonitor(held_out, patience, on_epoch)
