"""fastText's own names: `train_supervised` and `load_model`, as its Python module has them.

What they answer is a TextClassifier, whose methods are those of fastText's model.
"""

from collections.abc import Callable
from os import PathLike
from typing import Any

from .classifier import TextClassifier
from .corpus.corpus import Unlabelled
from .corpus.reading import Source
from .options import FASTTEXT_NAMES, refuse_unknown, whole_number

OURS = {ours: theirs for theirs, ours in FASTTEXT_NAMES.items()}

NO_SETTINGS = (
    "input", "thread", "verbose", "pretrainedVectors", "autotuneValidationFile", "autotuneMetric",
    "autotunePredictions", "autotuneDuration", "autotuneModelSize",
)  # fmt: skip


def train_supervised(
    input: Source,
    lr: float | None = None,
    dim: int | None = None,
    ws: int | None = None,
    epoch: int | None = None,
    minCount: int | None = None,
    minCountLabel: int | None = None,
    minn: int | None = None,
    maxn: int | None = None,
    neg: int | None = None,
    wordNgrams: int | None = None,
    loss: str | None = None,
    bucket: int | None = None,
    thread: int | None = None,
    lrUpdateRate: int | None = None,
    t: float | None = None,
    label: str | None = None,
    verbose: int = 2,
    pretrainedVectors: str = "",
    seed: int | None = None,
    autotuneValidationFile: Source = "",
    autotuneMetric: str = "f1",
    autotunePredictions: int = 1,
    autotuneDuration: float = 300,
    autotuneModelSize: int | str = "",
    *,
    unlabelled: Unlabelled = "refuse",
    progress: Callable[..., None] | None = None,
    **others: Any,
) -> TextClassifier:
    """Train a text classifier on a file of lines such as `__label__x some words`.

    None stands for fastText's default: lr 0.1, dim 100, epoch 5, minCount 1, minCountLabel 0, minn 0, maxn 0, neg 5,
    wordNgrams 1, loss "softmax" (or "hs", "ns", "ova"), bucket 2000000, label "__label__", seed 0. With an
    autotuneValidationFile, what is given is fixed and the others are searched for. `min_count` and the like are
    understood too. How many threads work, JAX decides; but as several of fastText's come to the texts in no fixed
    order, a `thread` above 1 is `shuffle`: each pass in an order of its own, drawn by the seed. Under "ova" a text
    moves none of its rows by more than 5, where fastText's steps may run off (Encountered NaN).
    `verbose` is taken and changes nothing: for progress give a function. With an autotuneModelSize ("2M") all are
    quantized to fit into it before they are scored.

    Args:
        unlabelled: a line without label is an error ("refuse"), or is passed over as fastText does ("skip").

    Raises:
        TypeError: an option that is none, with the nearest that is one; a value of another type.
        ValueError: a value that cannot be; a file that cannot be used (DataError).
    """
    given = {
        "lr": lr, "dim": dim, "ws": ws, "epoch": epoch, "minCount": minCount, "minCountLabel": minCountLabel,
        "minn": minn, "maxn": maxn, "neg": neg, "wordNgrams": wordNgrams, "loss": loss, "bucket": bucket,
        "lrUpdateRate": lrUpdateRate, "t": t, "label": label, "seed": seed,
    }  # fmt: skip
    if thread is not None:
        given["shuffle"] = whole_number(thread, "thread", "train_supervised") > 1
    for name, value in others.items():
        refuse_unknown(OURS.get(name, name), [*given, *NO_SETTINGS], "train_supervised")
        given[OURS[name]] = value
    settings = {FASTTEXT_NAMES.get(name, name): value for name, value in given.items() if value is not None}
    if not autotuneValidationFile:
        return TextClassifier.train(
            input, unlabelled=unlabelled, pretrained=pretrainedVectors or None, progress=progress, **settings
        )
    if pretrainedVectors:
        raise ValueError("train_supervised: autotune draws its tables; give no pretrainedVectors.")
    from .tune.search import autotune

    return autotune(
        input, autotuneValidationFile, seconds=autotuneDuration, metric=autotuneMetric,
        predictions=autotunePredictions, unlabelled=unlabelled, progress=progress,
        model_size=autotuneModelSize or None, **settings,
    ).classifier  # fmt: skip


def load_model(path: str | PathLike[str]) -> TextClassifier:
    """The classifier in a .bin or .ftz file, fastText's or ours, or in a folder.

    Raises:
        DataError: no such file, or none of fastText's supervised models, or a damaged one, with the byte.
    """
    return TextClassifier.load(path)
