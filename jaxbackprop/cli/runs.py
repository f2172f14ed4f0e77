"""`test`, `predict` and `resume`: what can be done with a run that was trained before."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import app, out, print_json

if TYPE_CHECKING:
    from ..data import Examples, Texts
    from ..training.task import Task

Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command("test")
def assess_command(
    run: Run,
    data: Annotated[str | None, typer.Option(help="Other labelled data than the run's own test set.")] = None,
    as_json: Json = False,
) -> None:
    """Test the best model of a run."""
    from .training import assess, reported, said

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
    top: Annotated[int, typer.Option(help="So many classes an example.")] = 1,
) -> None:
    """Classify texts or rows of numbers; one JSON object an example, its classes by falling probability."""
    import jax.numpy as jnp
    import numpy as np

    from ..gates import softmax
    from ..training import scores

    if top < 1:
        raise ValueError(f"--top is {top}; it is at least 1.")
    model, task = load_run(run)
    found = _read_features(task, file)
    if not len(found):
        return
    probabilities = np.asarray(softmax(jnp.asarray(scores(model, found))))
    for row in probabilities:
        best = np.argsort(-row, kind="stable")[:top]
        classes = [{"label": task.classes[k], "probability": round(float(row[k]), 6)} for k in best]
        print_json(classes[0] if top == 1 else {"classes": classes})


@app.command("resume")
def resume_command(
    run: Run,
    epochs: Annotated[int | None, typer.Option(help="Train for so many epochs in all, not as many as asked.")] = None,
    as_json: Json = False,
) -> None:
    """Go on with a run that was interrupted, to the bits it would have had without the interruption."""
    from ..data import load
    from ..training import RunFolder
    from ..training.task import Task
    from .training import train

    folder = RunFolder.open(run)
    config, task = folder.config, Task.load(folder)
    asked = config["data"]
    kind = "texts" if config["task"]["texts"] else "examples"
    found = load(asked["name"], asked["test"], kind=kind, label_column=asked["label_column"])
    settings = {**config["fit"], **({} if epochs is None else {"epochs": epochs})}
    train(found, task, config["model"], settings, asked, run, resume=True, as_json=as_json)


def load_run(path: Path) -> tuple[Any, "Task"]:
    """The best model of a run and what it was trained for."""
    from flax import nnx

    from ..models import build
    from ..training import RunFolder
    from ..training.task import Task

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
