"""`train mlp`: a multi-layer perceptron on examples of numbers."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ..console import err, note, out, print_json, warnings_as_notes
from ..options import HELD_OUT, Output, Patience, Seed, takes_options
from .shared import as_text, files_in, progress_bar, run_folder, says_how_to_go_on, train_app

if TYPE_CHECKING:
    from ...data import DataSet
    from ...training import Epoch, History
    from ...training.preprocessing import Preprocessor


@dataclass(frozen=True)
class Data:
    """What to train and test on."""

    data: Annotated[
        str, typer.Option(help="digits, mnist, ..., a folder of IDX files, FILE.csv with a header, or FILE.npz.")
    ] = "digits"
    test_data: Annotated[str | None, typer.Option(help="Data to test on, where --data has none of its own.")] = None
    label_column: Annotated[str | None, typer.Option(help="The column of a CSV file that holds the label.")] = None

    @property
    def config(self) -> dict[str, Any]:
        """As the run's configuration holds it."""
        return {"name": self.data, "test": self.test_data, "label_column": self.label_column}


@dataclass(frozen=True)
class Network:
    """The network's shape and regularisation."""

    hidden: Annotated[str, typer.Option(help="Sizes of the hidden layers; '' for a linear classifier.")] = "256,256"
    unit: Annotated[str, typer.Option(help="relu, tanh, gelu, selu, ...: any unit of one input.")] = "relu"
    dropout: Annotated[float, typer.Option(help="Share of each hidden layer that is dropped.")] = 0.3
    norm: Annotated[str, typer.Option(help="batch, layer, rms or none.")] = "batch"
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.0


@dataclass(frozen=True)
class Training:
    """How the network is trained."""

    valid: Annotated[
        float | None,
        typer.Option(
            help="Share of the training examples to hold out, to keep the best epoch; 0.1 where there is --patience."
        ),
    ] = None
    optimizer: Annotated[str, typer.Option(help="sgd, momentum, nesterov, adagrad, rmsprop, adam or adamw.")] = "adam"
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 2e-3
    schedule: Annotated[str, typer.Option(help="Of the learning rate: constant, linear or cosine (to 0).")] = "cosine"
    warmup: Annotated[float, typer.Option(help="Share of all steps over which the rate rises from 0.")] = 0.0
    batch: Annotated[int, typer.Option(help="Examples per step.")] = 32
    epochs: Annotated[int, typer.Option(help="Passes over the examples.")] = 60
    weight_decay: Annotated[float | None, typer.Option(help="Decoupled weight decay, as AdamW's.")] = None
    l2: Annotated[float, typer.Option("--l2", help="Lambda of the penalty lambda/2 ||W||^2.")] = 0.0
    clip: Annotated[float | None, typer.Option(help="The largest norm of the gradient.")] = None
    patience: Patience = None
    gradient_norm: Annotated[bool, typer.Option(help="Record the norm of the gradient.")] = False
    dtype: Annotated[
        str | None, typer.Option(help="bfloat16: what the passes compute in, on accelerators; updates stay float32.")
    ] = None
    seed: Seed = 0

    @property
    def settings(self) -> dict[str, Any]:
        """As `fit` takes them."""
        if self.valid is not None and not 0 <= self.valid < 1:
            raise ValueError(f"--valid is {self.valid}; it is a share of the training examples, below 1.")
        held_out = self.valid if self.valid is not None else HELD_OUT if self.patience is not None else 0
        return asdict(self) | {"valid": held_out or None}


@train_app.command("mlp")
@takes_options
def mlp_command(data: Data, network: Network, training: Training, output: Output) -> None:
    """Train a multi-layer perceptron on examples of numbers."""
    from ...data import Examples, load
    from ...training.preprocessing import Preprocessor

    settings, sizes = training.settings, _sizes(network.hidden)
    with run_folder(output.out, "mlp", data.data) as folder:
        loaded = load(data.data, data.test_data, kind="examples", label_column=data.label_column)
        assert isinstance(loaded.train, Examples)
        preprocessor = Preprocessor.of(loaded.train)
        model = {
            "class": "MLP", "features": math.prod(preprocessor.shape), "hidden": sizes,
            "classes": len(preprocessor.classes), "unit": network.unit, "dropout": network.dropout,
            "norm": None if network.norm == "none" else network.norm, "smoothing": network.smoothing,
        }  # fmt: skip
        train_module(
            loaded, preprocessor, model, settings, data.config, folder,
            tensorboard=output.tensorboard, as_json=output.as_json,
        )  # fmt: skip


def train_module(
    data: "DataSet",
    preprocessor: "Preprocessor",
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    data_config: Mapping[str, Any],
    folder: Path,
    *,
    resume: bool = False,
    tensorboard: bool = False,
    as_json: bool = False,
) -> None:
    """Train the model of that description, test it, and print the result."""
    import jax
    from flax import nnx

    from ...data import DataError
    from ...models import build
    from ...training import RunFolder, fit
    from ...training.run_folder import CONFIG

    module = build(model, rngs=nnx.Rngs(settings["seed"]))
    params = sum(x.size for x in jax.tree.leaves(nnx.state(module, nnx.Param)))
    x, y = preprocessor.pairs(data.train)
    test = None if data.test is None else preprocessor.pairs(data.test)
    if not as_json:
        _print_setup(data, len(y), preprocessor, model, params, settings, folder)
    config = {"data": dict(data_config), "preprocessor": preprocessor.to_config()}
    was_tested = test is None or (folder / "test.json").exists()
    with says_how_to_go_on(folder, (folder / CONFIG).exists):
        with warnings_as_notes(), _epochs_bar(settings["epochs"]) as on_epoch:
            history = fit(
                module, (x, y), **settings, out=folder, resume=resume, config=config, tensorboard=tensorboard,
                on_epoch=on_epoch,
            )  # fmt: skip
        if resume and was_tested and history.compile_seconds is None:
            advice = "Train it further with --epochs, more than it has."
            raise DataError("a finished run", expected="one that was interrupted", file=folder, advice=advice)
        result = None if test is None else _test(module, test, preprocessor, RunFolder.open(folder))
    _print_result(folder, history, result, as_json=as_json)


def resume_module(run: Path, epochs: int | None, *, as_json: bool) -> None:
    """Continue a run that was interrupted, or train it for more epochs."""
    from ...data import load
    from ...training import RunFolder
    from ...training.preprocessing import Preprocessor
    from ...training.run_folder import TENSORBOARD

    config = RunFolder.open(run).config
    if "preprocessor" not in config or "data" not in config:
        raise ValueError(f"{run} was trained by fit() on arrays: continue with fit(..., out=, resume=True).")
    data = config["data"]
    loaded = load(data["name"], data["test"], kind="examples", label_column=data["label_column"])
    settings = {**config["fit"], **({} if epochs is None else {"epochs": epochs})}
    preprocessor = Preprocessor.from_config(config["preprocessor"])
    train_module(
        loaded, preprocessor, config["model"], settings, data, run, resume=True,
        tensorboard=(run / TENSORBOARD).is_dir(), as_json=as_json,
    )  # fmt: skip


def metrics_of(evaluation: Any) -> dict[str, Any]:
    """What is printed and saved of an evaluation."""
    return {"examples": len(evaluation.predicted), "accuracy": evaluation.accuracy, "loss": evaluation.loss}


def as_line(result: Mapping[str, Any]) -> str:
    """The metrics of a test as a line."""
    wrong = round(result["examples"] * (1 - result["accuracy"]))
    count = f"{wrong:,} of {result['examples']:,} wrong"
    return f"[bold]test [/] [bold green]{result['accuracy']:.2%}[/] right, {count}, loss {result['loss']:.4f}"


def _test(module: Any, test: tuple[Any, Any], preprocessor: "Preprocessor", run: Any) -> dict[str, Any]:
    """Test the module, and save the metrics and the confusion matrix beside it."""
    from ...training import evaluate
    from ...training.plots import draw_confusion

    evaluation = evaluate(module, test)
    result = metrics_of(evaluation)
    run.write("test.json", result)
    try:
        path = run.path / "confusion.png"
        draw_confusion(evaluation.confusion, path, classes=preprocessor.classes, title="Test examples")
    except ModuleNotFoundError:
        pass  # fit has warned
    return result


def _print_setup(
    data: "DataSet",
    examples: int,
    preprocessor: "Preprocessor",
    model: Mapping[str, Any],
    params: int,
    settings: Mapping[str, Any],
    folder: Path,
) -> None:
    console = err()
    tested = "" if data.test is None else f", {len(data.test):,} to test on"
    about = f"{escape(data.name)}: {examples:,} examples{tested}, {len(preprocessor.classes):,} classes"
    console.print(f"[bold]data [/] {about}", soft_wrap=True)
    described = ", ".join(f"{name} {value}" for name, value in model.items() if name != "class" and value is not None)
    console.print(f"[bold]model[/] {model['class']}: {params:,} parameters ({escape(described)})", soft_wrap=True)
    console.print(f"[bold]fit  [/] {escape(as_text(settings))}", soft_wrap=True)
    console.print(f"[bold]run  [/] {escape(str(folder))}", soft_wrap=True)


def _print_result(folder: Path, history: "History", result: Mapping[str, Any] | None, *, as_json: bool) -> None:
    best = history.best
    seconds = sum(epoch.seconds for epoch in history.epochs)
    if as_json:
        summary = {"run": str(folder), "best": best.as_dict(), "epochs": len(history.epochs), "seconds": seconds}
        return print_json({**summary, "compile_seconds": history.compile_seconds, "test": result})
    compiled = "" if history.compile_seconds is None else f"compiled in {history.compile_seconds:.1f} s, "
    note(f"{compiled}trained in {seconds:.1f} s")
    console = out()
    if best.valid_accuracy is not None:
        early = f" of {len(history.epochs)} (stopped early)" if history.stopped_early else ""
        console.print(f"[bold]best [/] epoch {best.epoch}{early}: {best.valid_accuracy:.2%} of the held-out examples")
    if result is not None:
        console.print(as_line(result))
    elif best.valid_accuracy is None and best.accuracy is not None:
        about = "there is no test set, and nothing was held out"
        console.print(f"[bold]best [/] epoch {best.epoch}: training accuracy {best.accuracy:.2%}; {about}")
    console.print(f"[bold]files[/] {files_in(folder)}")


@contextmanager
def _epochs_bar(epochs: int) -> Iterator[Any]:
    """A bar over the epochs: loss, accuracy, examples per second, time left. Yields what is called after each."""
    with progress_bar("compiling", epochs) as (bar, task):

        def after(epoch: "Epoch") -> None:
            bar.update(task, completed=epoch.epoch, description=f"epoch {epoch.epoch}/{epochs}", status=_status(epoch))

        yield after
        bar.update(task, total=bar.tasks[0].completed)  # a run that stopped early is at its end


def _status(epoch: "Epoch") -> str:
    held_out = "" if epoch.valid_accuracy is None else f"  held out {epoch.valid_accuracy:.2%}"
    speed = f"{epoch.examples_per_second:,.0f} examples/s"
    return f"loss {epoch.loss:.4f}  training accuracy {epoch.accuracy:.2%}{held_out}  {speed}"


def _sizes(hidden: str) -> list[int]:
    try:
        return [int(size) for size in hidden.replace(" ", "").split(",") if size]
    except ValueError:
        raise ValueError(f"--hidden is {hidden!r}; it is sizes with commas between them, such as 512,512.") from None
