"""`train mlp` and `train text`."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import app

train_app = typer.Typer(help="Train a classifier: every gradient by a hand-derived rule.", no_args_is_help=True)
app.add_typer(train_app, name="train")

HELD_OUT = 0.1
"""What early stopping looks at, where nothing else is said."""

Valid = Annotated[
    float | None,
    typer.Option(
        help="Share of the training examples to hold out, to keep the best epoch; 0.1 where there is --patience."
    ),
]
Optimizer = Annotated[str, typer.Option(help="sgd, momentum, nesterov, adagrad, rmsprop, adam or adamw.")]
Rate = Annotated[float, typer.Option(help="The learning rate.")]
Schedule = Annotated[str, typer.Option(help="Of the learning rate: constant, linear or cosine (to 0).")]
Warmup = Annotated[float, typer.Option(help="Share of all steps over which the rate rises from 0.")]
Batch = Annotated[int, typer.Option(help="Examples a step.")]
Epochs = Annotated[int, typer.Option(help="How often each example is visited.")]
Decay = Annotated[float | None, typer.Option(help="Decoupled weight decay, as AdamW's.")]
L2 = Annotated[float, typer.Option("--l2", help="Lambda of the penalty lambda/2 ||W||^2.")]
Clip = Annotated[float | None, typer.Option(help="The largest norm of the gradient.")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without progress on held-out data.")]
Seed = Annotated[int, typer.Option(help="The same seed on the same machine gives the same bits.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder; runs/... by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Test = Annotated[str | None, typer.Option(help="Data to test on, where --data has none of its own.")]
Column = Annotated[str | None, typer.Option(help="The column of a CSV file that holds the label.")]


@train_app.command("mlp")
def mlp_command(
    data: Annotated[
        str, typer.Option(help="digits, mnist, ..., a folder of IDX files, FILE.csv with a header, or FILE.npz.")
    ] = "digits",
    test_data: Test = None,
    label_column: Column = None,
    hidden: Annotated[str, typer.Option(help="Sizes of the hidden layers; '' for a linear classifier.")] = "256,256",
    unit: Annotated[str, typer.Option(help="relu, tanh, gelu, selu, ...: any unit of one input.")] = "relu",
    dropout: Annotated[float, typer.Option(help="Share of each hidden layer that is silenced.")] = 0.3,
    norm: Annotated[str, typer.Option(help="batch, layer, rms or none.")] = "batch",
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.0,
    valid: Valid = None,
    optimizer: Optimizer = "adam",
    lr: Rate = 2e-3,
    schedule: Schedule = "cosine",
    warmup: Warmup = 0.0,
    batch: Batch = 32,
    epochs: Epochs = 60,
    weight_decay: Decay = None,
    l2: L2 = 0.0,
    clip: Clip = None,
    patience: Patience = None,
    dtype: Annotated[
        str | None, typer.Option(help="bfloat16: what the passes compute in, on accelerators; updates stay float32.")
    ] = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Train a multi-layer perceptron on examples of numbers."""
    from ..data import load
    from ..training.preprocessing import Task
    from .training import free_folder, train

    asked = {"name": data, "test": test_data, "label_column": label_column}
    found = load(data, test_data, kind="examples", label_column=label_column)
    task = Task.of(found.train)
    model = {
        "class": "MLP", "features": math.prod(task.shape), "hidden": _sizes(hidden), "classes": len(task.classes),
        "unit": unit, "dropout": dropout, "norm": None if norm == "none" else norm, "smoothing": smoothing,
    }  # fmt: skip
    settings = _settings(
        valid=valid, optimizer=optimizer, lr=lr, schedule=schedule, warmup=warmup, batch=batch, epochs=epochs,
        weight_decay=weight_decay, l2=l2, clip=clip, patience=patience, dtype=dtype, seed=seed,
    )  # fmt: skip
    train(found, task, model, settings, asked, out or free_folder("mlp", data), as_json=as_json)


@train_app.command("text")
def text_command(
    data: Annotated[
        str,
        typer.Option(help="docstrings, ag_news, FILE.txt of lines '__label__x words' (also .gz), FILE.csv, a folder."),
    ] = "docstrings",
    test_data: Test = None,
    label_column: Column = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="softmax, hs, ns or ova: train row by row, with fastText's defaults, to a model.bin it reads."
        ),
    ] = None,
    ngrams: Annotated[int | None, typer.Option(help="Runs of up to so many words have a row. [2; --loss: 1]")] = None,
    bucket: Annotated[int | None, typer.Option(help="Rows that n-grams share. [200000; --loss: 2000000]")] = None,
    dim: Annotated[int | None, typer.Option(help="The length of a row. [10; --loss: 100]")] = None,
    min_count: Annotated[int, typer.Option(help="Words that occur less often have no row.")] = 1,
    minn: Annotated[int, typer.Option(help="Shortest character n-gram.")] = 0,
    maxn: Annotated[int, typer.Option(help="Longest character n-gram; 0 for none.")] = 0,
    valid: Valid = None,
    optimizer: Annotated[
        str | None, typer.Option(help="As for mlp [adam]; --loss: sgd, adagrad or adam [sgd].")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="The learning rate. [0.03; --loss: 0.1]")] = None,
    schedule: Schedule = "linear",
    warmup: Warmup = 0.0,
    batch: Annotated[int | None, typer.Option(help="Examples a step. [64; --loss: as the device is quickest]")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often each example is visited. [10; --loss: 5]")] = None,
    weight_decay: Decay = None,
    l2: L2 = 0.0,
    clip: Clip = None,
    patience: Patience = None,
    seed: Seed = 0,
    neg: Annotated[int | None, typer.Option(help="--loss ns: labels drawn at random beside the right one. [5]")] = None,
    min_count_label: Annotated[
        int | None, typer.Option(help="--loss: labels that occur less often are left out.")
    ] = None,
    label_prefix: Annotated[str | None, typer.Option(help="--loss: what labels begin with. [__label__]")] = None,
    shuffle: Annotated[bool, typer.Option(help="--loss: visit the texts in another order each pass.")] = False,
    smoothing: Annotated[float | None, typer.Option(help="--loss softmax: label smoothing. [0]")] = None,
    idf: Annotated[
        float | None, typer.Option(help="--loss: rows learn at their idf to this power; 2 often helps. [0]")
    ] = None,
    calibrate_on: Annotated[
        str | None, typer.Option(help="--loss: labelled texts not trained on, to set the probabilities right by.")
    ] = None,
    skip_unlabelled: Annotated[bool, typer.Option(help="--loss: pass over lines without label.")] = False,
    cache: Annotated[Path | None, typer.Option(help="--loss: a folder to keep the encoded text in.")] = None,
    tune_on: Annotated[
        str | None, typer.Option(help="Search for the settings not given that do best on this file. Implies --loss.")
    ] = None,
    tune_seconds: Annotated[float, typer.Option(help="--tune-on: so long.")] = 300,
    tune_metric: Annotated[str, typer.Option(help="--tune-on: f1, f1:LABEL, precisionAtRecall:30, ...")] = "f1",
    checkpoint_seconds: Annotated[
        float, typer.Option(help="--loss: keep the training every so many seconds, for `resume`; 0 for never.")
    ] = 60,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Train a bag-of-words text classifier, fastText's model: words and n-grams, averaged, then one layer of scores.

    Without --loss it is a flax module trained by any optimizer, with held-out data, early stopping and resume. With it,
    every step touches only the rows of its texts: for large tables, many labels, and models that fastText reads.
    """
    chosen = {
        "lr": lr, "dim": dim, "epoch": epochs, "word_ngrams": ngrams, "bucket": bucket, "optimizer": optimizer,
        "batch": batch,
    }  # fmt: skip
    of_rows = {
        "neg": neg, "min_count_label": min_count_label, "label_prefix": label_prefix, "smoothing": smoothing,
        "idf": idf, "shuffle": shuffle or None,
    }  # fmt: skip
    of_module = {
        "valid": valid, "schedule": schedule != "linear", "warmup": warmup, "weight-decay": weight_decay, "l2": l2,
        "clip": clip, "patience": patience,
    }  # fmt: skip
    asked = {"name": data, "test": test_data, "label_column": label_column}
    if loss is None and tune_on is None:
        others = {"skip-unlabelled": skip_unlabelled, "cache": cache, "calibrate-on": calibrate_on}
        _refuse({**of_rows, **others}, "belongs to training with --loss")
        _train_module(
            asked, {"word_ngrams": 2, "bucket": 200_000, "min_count": min_count, "minn": minn, "maxn": maxn}, chosen,
            {"valid": valid, "schedule": schedule, "warmup": warmup, "weight_decay": weight_decay, "l2": l2,
             "clip": clip, "patience": patience, "seed": seed}, out, as_json=as_json,
        )  # fmt: skip
        return
    _refuse(of_module, "belongs to training without --loss and --tune-on")
    from ..fasttext.corpus.reading import train_and_test_sources
    from .text import train_classifier
    from .training import free_folder

    settings = {**chosen, **of_rows, "loss": loss, "minn": minn or None, "maxn": maxn or None, "seed": seed}
    settings["min_count"] = min_count
    train, test = train_and_test_sources(data, test_data, label_column)
    tuning = None if tune_on is None else {"valid": tune_on, "seconds": tune_seconds, "metric": tune_metric}
    train_classifier(
        train, test, {name: value for name, value in settings.items() if value is not None},
        out or free_folder("text", data), asked=asked, unlabelled="skip" if skip_unlabelled else "refuse",
        cache=cache, tuning=tuning, every=checkpoint_seconds, calibrate_on=calibrate_on, as_json=as_json,
    )  # fmt: skip


def _train_module(
    asked: dict[str, Any],
    cut: dict[str, Any],
    chosen: dict[str, Any],
    others: dict[str, Any],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Train the flax module; what was not chosen is as it suits that."""
    from ..data import load
    from ..training.preprocessing import Task
    from .training import free_folder, train

    given = {name: value for name, value in chosen.items() if value is not None}
    cut |= {name: given.pop(name) for name in ("word_ngrams", "bucket") if name in given}
    given = {"optimizer": "adam", "lr": 0.03, "batch": 64, "epoch": 10, "dim": 10, **given}
    found = load(asked["name"], asked["test"], kind="texts", label_column=asked["label_column"])
    task = Task.of(found.train, **cut)
    assert task.rows is not None
    model = {"class": "BagOfWords", "rows": len(task.rows), "dim": given.pop("dim"), "classes": len(task.classes)}
    settings = _settings(**others, epochs=given.pop("epoch"), **given)
    train(found, task, model, settings, asked, out or free_folder("text", asked["name"]), as_json=as_json)


def _refuse(given: dict[str, Any], why: str) -> None:
    for name, value in given.items():
        if value:
            raise ValueError(f"--{name.replace('_', '-')} {why}.")


def _settings(*, valid: float | None, patience: int | None, **others: Any) -> dict[str, Any]:
    if valid is not None and not 0 <= valid < 1:
        raise ValueError(f"--valid is {valid}; it is a share of the training examples, below 1.")
    held_out = valid if valid is not None else HELD_OUT if patience is not None else 0
    return {"valid": held_out or None, "patience": patience, **others}


def _sizes(hidden: str) -> list[int]:
    try:
        return [int(size) for size in hidden.replace(" ", "").split(",") if size]
    except ValueError:
        raise ValueError(f"--hidden is {hidden!r}; it is sizes with commas between them, such as 512,512.") from None
