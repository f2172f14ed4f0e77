"""fastText's own names: `train_supervised`, `load_model` and `tokenize`, as its Python module has them.

They return a TextClassifier, whose methods are those of fastText's model.
"""

from collections.abc import Callable
from inspect import signature
from os import PathLike
from typing import Any

from ..jaxprs.lazy_import import lazy_import
from .classifier import TextClassifier
from .corpus.corpus import Unlabelled
from .corpus.reading import SampleWeight, Source
from .options import FASTTEXT_NAMES, KINDS, refuse_unknown, string, whole_number

BOW, EOW, EOS = "<", ">", "</s>"
"""What stands before and after a word in its character n-grams, and for the end of a line."""

search = lazy_import(f"{__package__}.tune.search")  # it needs JAX, which reading a model does not


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
    unlabelled: Unlabelled = "skip",
    valid: Source | float | None = None,
    patience: int | None = None,
    sample_weight: SampleWeight | None = None,
    cache: str | PathLike[str] | None = None,
    checkpoints: str | PathLike[str] | None = None,
    progress: Callable[..., None] | None = None,
    on_epoch: Callable[..., None] | None = None,
    **others: Any,
) -> TextClassifier:
    """Train a text classifier on a file of lines such as `__label__x some words`.

    None stands for fastText's default: lr 0.1, dim 100, epoch 5, minCount 1, minCountLabel 0, minn 0, maxn 0, neg 5,
    wordNgrams 1, loss "softmax" (or "hs", "ns", "ova"), bucket 2000000, label "__label__", seed 0. With an
    autotuneValidationFile, what is given is fixed and the others are searched for.

    How many threads work, JAX decides; but as several of fastText's come to the texts in no fixed order, each pass has
    an order of its own, drawn by the seed, unless `thread` is 1 or `shuffle` False: then the file's order, with a
    warning where that is by label. Under "ova" a text moves none of its rows by more than 5, where fastText's steps may
    run off (Encountered NaN). `verbose` is taken and changes nothing: for progress give a function. With an
    autotuneModelSize ("2M") all are quantized to fit into it before they are scored.

    Args:
        unlabelled: lines without label are skipped, and a warning says how many ("skip"), or the first is an error
            ("refuse").
        valid: see `TextClassifier.train`, as for patience, sample_weight, cache, checkpoints, progress and on_epoch.
        **others: `min_count` and the like, which is what fastText understands, too; and the settings that it has not:
            optimizer, batch, shuffle, max_words, smoothing, idf, class_weight, model, C, lowercase. See `Settings`.

    Raises:
        TypeError: an option that is none, with the nearest that is one; a value of another type.
        ValueError: a value that cannot be; a file that cannot be used (DataError).
    """
    given = {
        "lr": lr, "dim": dim, "ws": ws, "epoch": epoch, "minCount": minCount, "minCountLabel": minCountLabel,
        "minn": minn, "maxn": maxn, "neg": neg, "wordNgrams": wordNgrams, "loss": loss, "bucket": bucket,
        "lrUpdateRate": lrUpdateRate, "t": t, "label": label, "seed": seed,
    }  # fmt: skip
    settings = {FASTTEXT_NAMES.get(name, name): value for name, value in given.items() if value is not None}
    pretrained = others.pop("pretrained_vectors", "") or pretrainedVectors or None
    for name, value in others.items():
        refuse_unknown(name, [*KINDS, *signature(train_supervised).parameters], "train_supervised")
        if name in settings:
            raise TypeError(f"train_supervised: {name} is given twice.")
        settings[name] = value
    one_thread = thread is not None and whole_number(thread, "thread", "train_supervised") == 1
    settings.setdefault("shuffle", not one_thread)
    if not autotuneValidationFile:
        return TextClassifier.train(
            input, valid=valid, patience=patience, unlabelled=unlabelled, cache=cache, pretrained=pretrained,
            sample_weight=sample_weight, checkpoints=checkpoints, progress=progress, on_epoch=on_epoch, **settings,
        )  # fmt: skip
    more = {"pretrainedVectors": pretrained, "valid": valid, "patience": patience, "cache": cache,
            "checkpoints": checkpoints, "on_epoch": on_epoch}  # fmt: skip
    for name, value in more.items():
        if value is not None:
            raise ValueError(f"train_supervised: autotune draws its tables and reads its own file; give no {name}.")
    return search.autotune(
        input, autotuneValidationFile, seconds=autotuneDuration, metric=autotuneMetric,
        predictions=autotunePredictions, unlabelled=unlabelled, sample_weight=sample_weight,
        progress=progress, model_size=autotuneModelSize or None, **settings,
    ).classifier  # fmt: skip


def load_model(path: str | PathLike[str]) -> TextClassifier:
    """The model in a .bin or .ftz file, fastText's or ours, or in a folder.

    That is a classifier, or word vectors that fastText has trained (skipgram, cbow): these answer what concerns vectors
    and neighbours, and refuse to predict.

    Raises:
        DataError: no such file, or none of fastText's models, or a damaged one, with the byte.
    """
    return TextClassifier.load(path)


def tokenize(text: str) -> list[str]:
    """The words of a text, cut as in training; each newline is the word `</s>`."""
    data = string(text, "text", "tokenize").encode("utf-8", "surrogateescape")
    words = data.replace(b"\n", b" </s> ").replace(b"\0", b" ").split()
    return [word.decode("utf-8", "surrogateescape") for word in words]
