"""What the commands that train share: the progress bar, the course of a run, and what is said at its end."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from .console import INTERRUPTED, err, fail, note, out, print_json

if TYPE_CHECKING:
    from ..data import DataSet
    from ..training import Epoch, History, RunFolder
    from ..training.preprocessing import Preprocessor


def train(
    data: "DataSet",
    task: "Preprocessor",
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    asked: Mapping[str, Any],
    folder: Path,
    *,
    resume: bool = False,
    as_json: bool = False,
) -> None:
    """Train a model of that description on the data, test it, and say how it went."""
    import jax
    from flax import nnx

    from ..models import build
    from ..training import RunFolder, fit

    made = build(model, rngs=nnx.Rngs(settings["seed"]))
    numbers = sum(x.size for x in jax.tree.leaves(nnx.state(made, nnx.Param)))
    x, y = task.pairs(data.train)
    test = None if data.test is None else (task.features(data.test), task.labels(data.test))
    if not as_json:
        _say_what(data, len(y), task, model, numbers, folder)
    config = {"data": dict(asked), "task": task.describe()}
    with _warnings_as_notes(), _progress(settings["epochs"]) as show:

        def progress(epoch: "Epoch") -> None:
            if epoch.epoch == 1:  # the folder is there, and so is something to resume
                task.save(RunFolder.open(folder))
            show(epoch)

        try:
            history = fit(made, (x, y), **settings, out=folder, resume=resume, config=config, progress=progress)
        except KeyboardInterrupt:
            fail(f"interrupted; go on with: jaxbackprop resume {folder}", INTERRUPTED)
    result = None
    if test is not None:
        result = assess(made, *test)
        _keep(RunFolder.open(folder), task, result)
    _say_how(folder, history, result, as_json=as_json)


def assess(model: Any, x: Any, labels: Any) -> dict[str, Any]:
    """How a model does on labelled examples: loss, accuracy, how many, confusions (None for several labels)."""
    import numpy as np

    from ..data import Bags
    from ..training import evaluate, scores

    if (labels.lengths == 1).all():
        found = evaluate(model, (x, labels.ids))
        return {
            "examples": len(labels),
            "accuracy": found.accuracy,
            "loss": found.loss,
            "confusion": found.confusion,
            "predicted": found.predicted,
        }
    predicted = scores(model, x).argmax(-1)
    right = np.array([p in of for p, of in zip(predicted, labels, strict=True)])
    each = np.repeat(np.arange(len(labels)), labels.lengths)
    pairs = (x.take(each) if isinstance(x, Bags) else x[each], labels.ids)
    return {
        "examples": len(labels),
        "accuracy": float(right.mean()),
        "loss": evaluate(model, pairs).loss,
        "confusion": None,
        "predicted": predicted,
    }


def reported(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a result that are printed and kept."""
    return {name: result[name] for name in ("examples", "accuracy", "loss")}


def _keep(run: "RunFolder", task: "Preprocessor", result: Mapping[str, Any]) -> None:
    """The test's numbers and its picture, beside the model."""
    from ..training.plots import draw_confusion

    run.write("test.json", reported(result))
    if result["confusion"] is not None:
        try:
            picture = run.path / "confusion.png"
            draw_confusion(result["confusion"], picture, classes=task.classes, title="Test examples")
        except ModuleNotFoundError:
            pass  # fit has said so


def _say_what(
    data: "DataSet", examples: int, task: "Preprocessor", model: Mapping[str, Any], numbers: int, folder: Path
) -> None:
    console = err()
    tested = "" if data.test is None else f", {len(data.test):,} to test on"
    about = f"{escape(data.name)}: {examples:,} examples{tested}, {len(task.classes):,} classes"
    console.print(f"[bold]data [/] {about}", soft_wrap=True)
    described = ", ".join(f"{name} {value}" for name, value in model.items() if name != "class" and value is not None)
    console.print(f"[bold]model[/] {model['class']}: {numbers:,} parameters ({escape(described)})", soft_wrap=True)
    console.print(f"[bold]run  [/] {escape(str(folder))}", soft_wrap=True)


def _say_how(folder: Path, history: "History", result: Mapping[str, Any] | None, *, as_json: bool) -> None:
    best = history.best
    seconds = sum(epoch.seconds for epoch in history.epochs)
    if as_json:
        summary = {"run": str(folder), "best": best.as_dict(), "epochs": len(history.epochs), "seconds": seconds}
        summary["compile_seconds"] = history.compile_seconds
        return print_json({**summary, "test": None if result is None else reported(result)})
    note(f"compiled in {history.compile_seconds:.1f} s, trained in {seconds:.1f} s")
    console = out()
    if best.valid_accuracy is not None:
        early = f" of {len(history.epochs)} (stopped early)" if history.stopped_early else ""
        console.print(f"[bold]best [/] epoch {best.epoch}{early}: {best.valid_accuracy:.2%} of the held-out examples")
    if result is not None:
        console.print(said(result))
    console.print(f"[bold]files[/] {', '.join(sorted(p.name for p in folder.iterdir() if p.is_file()))}")


def said(result: Mapping[str, Any]) -> str:
    """A result as a line."""
    wrong = round(result["examples"] * (1 - result["accuracy"]))
    count = f"{wrong:,} of {result['examples']:,} wrong"
    return f"[bold]test [/] [bold green]{result['accuracy']:.2%}[/] right, {count}, loss {result['loss']:.4f}"


@contextmanager
def _progress(epochs: int) -> Iterator[Any]:
    """A bar over the epochs: loss, accuracy, examples a second, time left. Yields what is called after each."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[seen]}"))
    with Progress(*columns, TimeRemainingColumn(compact=True), console=err()) as bar:
        task = bar.add_task("compiling", total=epochs, seen="")

        def after(epoch: "Epoch") -> None:
            bar.update(task, completed=epoch.epoch, description=f"epoch {epoch.epoch}/{epochs}", seen=_seen(epoch))

        try:
            yield after
        except BaseException:
            bar.remove_task(task)
            raise
        bar.update(task, total=bar.tasks[0].completed)  # a run that stopped early is at its end


def _seen(epoch: "Epoch") -> str:
    held_out = "" if epoch.valid_accuracy is None else f"  held out {epoch.valid_accuracy:.2%}"
    speed = f"{epoch.examples_per_second:,.0f} examples/s"
    return f"loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}{held_out}  {speed}"


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """A warning of ours (matplotlib is missing) becomes a line on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        note(str(warning.message))


def free_folder(kind: str, data: str) -> Path:
    """runs/KIND-DATA-N, with the first N that is free."""
    name = Path(data).name.split(".")[0] or "data"
    number = 1
    while (folder := Path("runs") / f"{kind}-{name}-{number}").exists():
        number += 1
    return folder
