"""From a file to a trained model: reading, starting vectors, held-out texts, checkpoints and training put together.

JAX is imported on a thread while the file is read: that takes longer than to train on a small one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, get_args

import numpy as np

from ...jaxprs.lazy_import import lazy_import
from ...training.history import Epoch, History
from ..corpus.corpus import Corpus, Unlabelled
from ..corpus.reading import SampleWeight, Source, read_weights, text_groups
from ..files.vec_file import read_vectors
from ..model import Model
from ..options import file_name, whole_number
from ..predict.metrics import encoded, nothing_to_score
from ..settings import Settings
from .checkpoints.storage import Checkpoints

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
    sample_weight: SampleWeight | None = None,
    checkpoints: str | PathLike[str] | Checkpoints | None = None,
    progress: "Callable[[Report], None] | None" = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[Model, History | None]:
    """What `TextClassifier.train` does, the settings checked; the history where epochs were measured.

    With `pretrained` vectors all their words have a row, also those that the text does not hold, as in fastText. That
    also counts them among the tokens that an epoch must read, and so visits the text more often than `epoch` says (a
    million vectors and a text of a million tokens: twice as often); here an epoch visits each text once.
    """
    called = "TextClassifier.train"
    if checkpoints is not None and not isinstance(checkpoints, Checkpoints):
        checkpoints = Checkpoints(file_name(checkpoints, "checkpoints", called))
    vectors_file = None if pretrained is None else file_name(pretrained, "pretrained", called)
    folder = None if cache is None else file_name(cache, "cache", called)
    patience = None if patience is None else whole_number(patience, "patience", called)
    for name, function in {"progress": progress, "on_epoch": on_epoch}.items():
        if function is not None and not callable(function):
            raise TypeError(f"{called}: {name} is {function!r}; it must be a function.")
    if unlabelled not in get_args(Unlabelled):
        raise ValueError(
            f"{called}: unlabelled is {unlabelled!r}; it must be one of {', '.join(get_args(Unlabelled))}."
        )
    if isinstance(valid, int | float) and not 0 < valid < 1:
        raise ValueError(f"valid is {valid}; it is a share of the training texts, between 0 and 1, or a file.")
    if settings.model == "linear":
        for name, value in {"pretrained": pretrained, "checkpoints": checkpoints}.items():
            if value is not None:
                raise ValueError(f"{name}: not for the linear model; its objective has one minimum, found in seconds.")
    if patience is not None and valid is None:
        raise ValueError("patience counts epochs without progress on held-out texts: give valid as well.")
    with ThreadPoolExecutor(1) as thread:
        loop = thread.submit(import_module, "..linear.train" if settings.model == "linear" else ".loop", __package__)
        words, vectors = (None, None) if vectors_file is None else read_vectors(vectors_file, settings.dim)
        corpus = Corpus.read(
            data, settings, unlabelled=unlabelled, cache=folder, also=words,
            hold_out=valid if isinstance(valid, int | float) else None,
            sample_weight=None if sample_weight is None else read_weights(sample_weight),
        )  # fmt: skip
        is_measured = valid is not None or on_epoch is not None
        monitor_of = partial(_monitor, corpus, settings, valid, patience, on_epoch) if is_measured else None
        if settings.model == "linear":
            model, monitor = loop.result().train_linear(corpus, settings, progress=progress, monitor_of=monitor_of)
            return model, None if monitor is None else monitor.history(settings.epoch)
        train, start, nothing = loop.result().train, None, np.zeros((0, settings.dim), np.float32)
        if words is not None and vectors is not None:
            start = fine_tune.pretrained_table(words, vectors, corpus.vocabulary, settings)
        monitor = None if monitor_of is None else monitor_of(Model(corpus.vocabulary, settings, nothing, nothing))
        model = train(corpus, settings, start=start, progress=progress, checkpoints=checkpoints, monitor=monitor)
    return model, None if monitor is None else monitor.history(settings.epoch)


def _monitor(
    corpus: Corpus,
    settings: Settings,
    valid: Source | float | None,
    patience: int | None,
    on_epoch: Callable[[Epoch], None] | None,
    untrained: Model,
) -> "EpochMonitor":
    """What measures each epoch, on the texts held out of the corpus or on those of a file."""
    if valid is None:
        return epochs.EpochMonitor((), patience, on_epoch)
    groups = corpus.held_out if isinstance(valid, int | float) else text_groups(valid, settings.label_prefix)
    held_out, skipped = encoded(untrained, groups)
    if not sum(len(rows) for rows, _ in held_out):
        raise nothing_to_score(
            skipped, settings.label_prefix, "the held-out texts" if isinstance(valid, int | float) else valid
        )
    return epochs.EpochMonitor(held_out, patience, on_epoch)
