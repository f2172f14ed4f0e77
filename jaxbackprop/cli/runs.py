"""`test`, `predict` and `resume`: what can be done with a run that was trained before."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import app, out, print_json

if TYPE_CHECKING:
    from ..data import Examples, Texts
    from ..training.preprocessing import Task

Run = Annotated[Path, typer.Argument(help="The folder of a run, or a fastText model (.bin, .ftz).")]
Threshold = Annotated[float, typer.Option(help="Only classes with at least this probability.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command("test")
def assess_command(
    run: Run,
    data: Annotated[str | None, typer.Option(help="Other labelled data than the run's own test set.")] = None,
    k: Annotated[int, typer.Option(help="Text, --loss: count so many labels of each example; -1 for all.")] = 1,
    threshold: Threshold = 0.0,
    labels: Annotated[bool, typer.Option(help="Text, --loss: precision, recall and F1 of each label too.")] = False,
    as_json: Json = False,
) -> None:
    """Test the best model of a run."""
    from .text import assess_classifier
    from .training import assess, reported, said

    if is_classifier(run):
        return assess_classifier(run, data, k, threshold, labels=labels, as_json=as_json)
    if k != 1 or threshold or labels:
        raise ValueError("--k, --threshold and --labels are for text classifiers trained with --loss.")

    model, task = load_run(run)
    side = _test_side(run, data)
    result = assess(model, task.features(side), task.labels(side))
    if as_json:
        return print_json({"run": str(run), **reported(result)})
    out().print(said(result))


@app.command("predict")
def predict_command(
    run: Run,
    file: Annotated[str, typer.Argument(help="Texts, one a line, or rows of numbers; - for stdin.")] = "-",
    top: Annotated[int, typer.Option("--top", "--k", help="So many classes an example; -1 for all.")] = 1,
    threshold: Threshold = 0.0,
    plain: Annotated[bool, typer.Option("--plain", help="Lines as fastText prints them, not JSON.")] = False,
) -> None:
    """Classify texts or rows of numbers; one JSON object an example, its classes by falling probability."""
    if top < 1 and top != -1:
        raise ValueError(f"--top is {top}; it is at least 1, or -1 for all.")
    if is_classifier(run):
        from .text import predict_with_classifier

        return predict_with_classifier(run, file, top, threshold, plain=plain)
    import jax.numpy as jnp
    import numpy as np

    from ..gates import softmax
    from ..training import scores

    if plain:
        raise ValueError("--plain is for text classifiers trained with --loss.")
    model, task = load_run(run)
    found = _read_features(task, file)
    if not len(found):
        return
    probabilities = np.asarray(softmax(jnp.asarray(scores(model, found))))
    for row in probabilities:
        best = np.argsort(-row, kind="stable")[: None if top == -1 else top]
        likely = (k for k in best if row[k] >= threshold)
        classes = [{"label": task.classes[k], "probability": round(float(row[k]), 6)} for k in likely]
        nothing = {"label": None, "probability": None}
        print_json({"classes": classes} if top != 1 else classes[0] if classes else nothing)


@app.command("resume")
def resume_command(
    run: Run,
    epochs: Annotated[int | None, typer.Option(help="Train for so many epochs in all, not as many as asked.")] = None,
    as_json: Json = False,
) -> None:
    """Go on with a run that was interrupted, to the bits it would have had without the interruption."""
    from ..data import DataError, load
    from ..training import RunFolder
    from ..training.preprocessing import Task
    from .text import is_unfinished, resume_classifier
    from .training import train

    if is_unfinished(run):
        if epochs is not None:
            raise ValueError("--epochs: the learning rate of this run falls to 0 over the epochs it was begun with.")
        return resume_classifier(run, as_json=as_json)
    if is_classifier(run):
        advice = "Train anew, with more --epochs."
        raise DataError("a finished model", expected="a run that was interrupted", file=run, advice=advice)
    folder = RunFolder.open(run)
    config, task = folder.config, Task.load(folder)
    asked = config["data"]
    kind = "texts" if config["task"]["texts"] else "examples"
    found = load(asked["name"], asked["test"], kind=kind, label_column=asked["label_column"])
    settings = {**config["fit"], **({} if epochs is None else {"epochs": epochs})}
    train(found, task, config["model"], settings, asked, run, resume=True, as_json=as_json)


@app.command("quantize")
def quantize_command(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="The .ftz file; by default beside the model.")] = None,
    cutoff: Annotated[int, typer.Option(help="Keep so many words and n-grams, those of greatest norm; 0 for all.")] = 0,
    retrain: Annotated[str | None, typer.Option(help="Train the rows that are kept further on this data.")] = None,
    epochs: Annotated[int | None, typer.Option(help="--retrain: so often; as before by default.")] = None,
    lr: Annotated[float | None, typer.Option(help="--retrain: the learning rate; as before by default.")] = None,
    qnorm: Annotated[bool, typer.Option("--qnorm", help="Quantize norms apart from directions.")] = False,
    qout: Annotated[bool, typer.Option("--qout", help="Quantize the output table too.")] = False,
    dsub: Annotated[int, typer.Option(help="How many numbers one byte stands for.")] = 2,
    test_data: Annotated[str | None, typer.Option(help="Labelled data to test on, before and after.")] = None,
    as_json: Json = False,
) -> None:
    """Make a text classifier small: a .ftz file, which fastText reads too."""
    from ..data import DataError
    from .text import quantize_classifier

    if not is_classifier(run):
        raise DataError("no model.bin", expected="a text classifier trained with --loss, or a .bin", file=run)
    quantize_classifier(
        run, out, test=test_data, as_json=as_json, cutoff=cutoff, retrain=retrain is not None, input=retrain,
        epoch=epochs, lr=lr, qnorm=qnorm, qout=qout, dsub=dsub,
    )  # fmt: skip


def is_classifier(run: Path) -> bool:
    """Whether it is a text classifier of fastText's kind; any other run is a flax module."""
    from ..fasttext.files.model_folder import is_model

    return is_model(run)


def load_run(path: Path) -> tuple[Any, "Task"]:
    """The best model of a run and what it was trained for."""
    from flax import nnx

    from ..models import build
    from ..training import RunFolder
    from ..training.preprocessing import Task

    folder = RunFolder.open(path)
    config = folder.config
    model = build(config["model"], rngs=nnx.Rngs(0))
    _, params, others = nnx.split(model, nnx.Param, ...)
    _, numbers = folder.load("best", (params, others))
    nnx.update(model, *numbers)
    return model, Task.load(folder)


def _test_side(run: Path, data: str | None) -> "Examples | Texts":
    from ..data import DataError, load
    from ..training import RunFolder

    config = RunFolder.open(run).config
    asked = config["data"]
    kind = "texts" if config["task"]["texts"] else "examples"
    if data is not None:
        found = load(data, kind=kind, label_column=asked["label_column"])
        return found.test or found.train
    found = load(asked["name"], asked["test"], kind=kind, label_column=asked["label_column"])
    if found.test is None:
        raise DataError("no test set", file=asked["name"], advice="Give labelled data to test on: --data.")
    return found.test


def _read_features(task: "Task", file: str) -> Any:
    """Texts as bags, or numbers as rows, from a file or stdin."""
    if task.vocabulary is not None:
        return task.encode([line.rstrip("\r\n") for line in _lines(file)])
    from ..data import load

    if Path(file).suffix in (".npz", ".gz") or Path(file).is_dir():
        found = load(file, kind="examples")
        return task.features(found.test or found.train)
    return _rows(task, file)


def _rows(task: "Task", file: str) -> Any:
    """Rows of numbers with commas or blanks between them; a first line of names is passed over, a label is not read."""
    import numpy as np

    from ..data import DataError

    features, rows, label = int(np.prod(task.shape)), [], None
    for number, line in enumerate(_lines(file), start=1):
        cells = [cell.strip() for cell in line.split(",")] if "," in line else line.split()
        if label is not None and len(cells) == features + 1:
            del cells[label]
        if not any(cells):
            continue
        try:
            row = np.array(cells, np.float32)
        except ValueError:
            if number == 1:
                label = cells.index("label") if "label" in cells else None
                continue
            raise DataError(f"{line.strip()[:40]!r}", expected="numbers", file=file, line=number) from None
        if len(row) != features or not np.isfinite(row).all():
            found = f"{len(row)} numbers" if len(row) != features else "a number that is not finite"
            raise DataError(found, expected=f"{features} finite numbers, as in training", file=file, line=number)
        rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, features), np.float32)


def _lines(file: str) -> list[str]:
    from ..data import DataError

    if file == "-":
        return sys.stdin.readlines()
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as lines:
            return lines.readlines()
    except FileNotFoundError:
        raise DataError("no such file", file=file) from None
