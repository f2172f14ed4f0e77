"""`train text`: fastText's bag-of-words classifier, row by row from the hand-derived deltas."""

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ..console import err, out, print_json, warnings_as_notes
from ..options import HELD_OUT, Output, Patience, Seed, takes_options
from .shared import as_text, files_in, progress_bar, run_folder, says_how_to_go_on, train_app

if TYPE_CHECKING:
    from ...fasttext import TextClassifier, Trial
    from ...fasttext.predict.calibration import Calibration
    from ...fasttext.run import TextRequest
    from ...fasttext.train.loop import Report
    from ...training import Epoch
    from ...training.tensorboard import TensorBoard


@dataclass(frozen=True)
class Data:
    """What to train and test on."""

    data: Annotated[
        str,
        typer.Option(help="docstrings, ag_news, FILE.txt of lines '__label__x words' (also .gz), FILE.csv, a folder."),
    ] = "docstrings"
    test_data: Annotated[str | None, typer.Option(help="Data to test on, where --data has none of its own.")] = None
    label_column: Annotated[str | None, typer.Option(help="The column of a CSV file that holds the label.")] = None
    label_prefix: Annotated[str | None, typer.Option(help="What labels begin with. [__label__]")] = None
    skip_unlabelled: Annotated[bool, typer.Option(help="Skip lines without label.")] = False
    cache: Annotated[Path | None, typer.Option(file_okay=False, help="A folder to keep the encoded text in.")] = None


@dataclass(frozen=True)
class Table:
    """Which words and n-grams have a row, and how long it is. What is not given is the preset's."""

    model: Annotated[
        str, typer.Option(help="fasttext, or linear: tf-idf weighted words and n-grams straight to the labels' scores.")
    ] = "fasttext"
    preset: Annotated[
        str, typer.Option(help="default, or fasttext: fastText's own defaults (in brackets, after the default).")
    ] = "default"
    dim: Annotated[int | None, typer.Option(help="The length of a row. [50; 100]")] = None
    ngrams: Annotated[int | None, typer.Option(help="Runs of up to this many words have a row. [2; 1]")] = None
    bucket: Annotated[int | None, typer.Option(help="Rows that n-grams share. [500000; 2000000]")] = None
    min_count: Annotated[int | None, typer.Option(help="Words that occur less often have no row. [1]")] = None
    max_words: Annotated[int | None, typer.Option(help="So many words at most, those that occur most.")] = None
    min_count_label: Annotated[int | None, typer.Option(help="Labels that occur less often are left out. [0]")] = None
    minn: Annotated[int | None, typer.Option(help="Shortest character n-gram. [0]")] = None
    maxn: Annotated[int | None, typer.Option(help="Longest character n-gram; 0 for none. [0]")] = None
    lowercase: Annotated[
        bool | None,
        typer.Option("--lowercase/--no-lowercase", help="linear: lower-case words and drop punctuation. [yes]"),
    ] = None
    pretrained: Annotated[str | None, typer.Option(help="A .vec file of word vectors to start from.")] = None


@dataclass(frozen=True)
class Training:
    """How the tables are trained. What is not given is the preset's."""

    C: Annotated[
        float | None, typer.Option("--C", help="linear: the losses' weight beside the weights' square. [1]")
    ] = None
    loss: Annotated[
        str | None,
        typer.Option(
            help="softmax, hs (hierarchical), ns (negative sampling) or ova (one against all); linear: squared_hinge, "
            "hinge, ova or softmax. [softmax, linear squared_hinge]"
        ),
    ] = None
    neg: Annotated[int | None, typer.Option(help="ns: labels drawn at random beside the right one. [5]")] = None
    smoothing: Annotated[float | None, typer.Option(help="softmax: label smoothing. [0.05; 0]")] = None
    optimizer: Annotated[str | None, typer.Option(help="sgd, adagrad or adam, one rate per row. [sgd]")] = None
    lr: Annotated[
        float | None, typer.Option(help="The learning rate, falling to 0. [0.35, adagrad 0.05, adam 0.01; 0.1]")
    ] = None
    idf: Annotated[
        float | None,
        typer.Option(
            help="sgd: rows learn in proportion to their idf to this power; linear: they weigh so. [2; 0, linear 1]"
        ),
    ] = None
    class_weight: Annotated[
        str | None,
        typer.Option(help="How much a text counts by its label: balanced, or such as rare=5,other=0.5; else 1."),
    ] = None
    sample_weight: Annotated[
        str | None, typer.Option(help="A file with a number for each line of the data: how much it counts.")
    ] = None
    epochs: Annotated[int | None, typer.Option(help="Passes over the texts. [12; 5]")] = None
    batch: Annotated[int | None, typer.Option(help="Texts per step. [1 on a CPU, 256 on an accelerator]")] = None
    shuffle: Annotated[
        bool | None, typer.Option("--shuffle/--no-shuffle", help="A new order of the texts in each epoch. [yes; no]")
    ] = None
    thread: Annotated[
        int | None, typer.Option(help="fastText's: 1 is --no-shuffle, more --shuffle; how many work, JAX decides.")
    ] = None
    seed: Seed = 0


@dataclass(frozen=True)
class Validation:
    """Texts that are not trained on, and what they are for."""

    valid: Annotated[
        str | None,
        typer.Option(
            help="A file of labelled texts, or the share of the training texts to hold out, to keep the best epoch; "
            "0.1 where there is --patience."
        ),
    ] = None
    patience: Patience = None
    calibrate_on: Annotated[
        str | None, typer.Option(help="Labelled texts not trained on, to fit the probabilities' temperature on.")
    ] = None

    @property
    def held_out(self) -> float | str | None:
        """The share of the texts, or the file."""
        if self.valid is None:
            return HELD_OUT if self.patience is not None else None
        try:
            share = float(self.valid)
        except ValueError:
            return self.valid
        if not 0 <= share < 1:
            raise ValueError(f"--valid is {self.valid}; it is a share of the training texts, below 1, or a file.")
        return share or None


@dataclass(frozen=True)
class Tuning:
    """The search for settings, and checkpoints."""

    tune_on: Annotated[
        str | None, typer.Option(help="Search for the settings not given that do best on this file.")
    ] = None
    tune_seconds: Annotated[float, typer.Option(help="--tune-on: the time for the search.")] = 300
    tune_metric: Annotated[str, typer.Option(help="--tune-on: f1, f1:LABEL, macroF1, precisionAtRecall:30, ...")] = "f1"
    tune_predictions: Annotated[int, typer.Option(help="--tune-on: how many labels of a text are counted.")] = 1
    tune_size: Annotated[
        str | None, typer.Option(help="--tune-on: the model's size, such as 2M; it is quantized to fit.")
    ] = None
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between checkpoints, for `resume`; 0 for none.")
    ] = 60


@train_app.command("text")
@takes_options
def text_command(
    data: Data, table: Table, training: Training, validation: Validation, tuning: Tuning, output: Output
) -> None:
    """Train a bag-of-words text classifier, fastText's model: words and n-grams, averaged, then one layer of scores.

    Every step touches only the rows of its texts, by the hand-derived deltas. The model is a model.bin that fastText
    reads; with --model linear, a linear support vector machine on tf-idf weighted words and bigrams, a model.linear.
    """
    from ...fasttext.options import settings_of
    from ...fasttext.presets import with_defaults
    from ...fasttext.run import TextRequest

    given = _given(data, table, training)
    settings = given if tuning.tune_on is not None or table.model == "linear" else with_defaults(given, table.preset)
    settings_of(settings, called="train text")  # checked before anything is begun
    request = TextRequest(
        data=data.data, test=data.test_data, label_column=data.label_column, settings=settings,
        valid=validation.held_out, patience=validation.patience,
        unlabelled="skip" if data.skip_unlabelled else "refuse", cache=None if data.cache is None else str(data.cache),
        calibrate_on=validation.calibrate_on, checkpoint_seconds=tuning.checkpoint_seconds,
        pretrained=table.pretrained, sample_weight=training.sample_weight,
    )  # fmt: skip
    if output.tensorboard and tuning.tune_on is not None:
        raise ValueError("--tensorboard belongs to training without --tune-on.")
    with run_folder(output.out, "text", data.data) as folder:
        if tuning.tune_on is None:
            train_classifier(request, folder, tensorboard=output.tensorboard, as_json=output.as_json)
        else:
            _tune(request, tuning, folder, as_json=output.as_json)


def _given(data: Data, table: Table, training: Training) -> dict[str, Any]:
    """The settings that were given, by the names of `Settings`."""
    options: dict[str, Any] = dataclasses.asdict(table) | dataclasses.asdict(training)
    options["label_prefix"] = data.label_prefix
    options["model"] = None if table.model == "fasttext" else table.model
    thread = options.pop("thread")
    if thread is not None and options["shuffle"] is None:
        options["shuffle"] = thread > 1
    if isinstance(options["class_weight"], str):
        options["class_weight"] = _class_weight(options["class_weight"])
    for no_setting in ("preset", "pretrained", "sample_weight"):
        del options[no_setting]
    ours = {"ngrams": "word_ngrams", "epochs": "epoch"}
    return {ours.get(name, name): value for name, value in options.items() if value is not None}


def _class_weight(text: str) -> str | dict[str, float]:
    """The weights in `label=2,other=0.5`; a word without `=` stays as it is."""
    if "=" not in text:
        return text
    weights = {}
    for part in text.split(","):
        label, _, number = part.rpartition("=")
        try:
            weights[label] = float(number)
        except ValueError:
            raise ValueError(f"--class-weight: {part!r} is not such as label=2.") from None
    return weights


def train_classifier(request: "TextRequest", folder: Path, *, tensorboard: bool, as_json: bool) -> None:
    """Train into a new folder or continue in it, save the model, test it, and print the result."""
    from ...fasttext.options import settings_of
    from ...fasttext.run import is_unfinished, train
    from ...training.run_folder import TENSORBOARD
    from ...training.tensorboard import TensorBoard

    board = TensorBoard(folder / TENSORBOARD) if tensorboard else None
    _set_compiler_flags(request)
    if not as_json:
        err().print(f"[bold]fit  [/] {escape(as_text(request.settings))}", soft_wrap=True)
        err().print(f"[bold]run  [/] {escape(str(folder))}", soft_wrap=True)
    began, epochs = time.perf_counter(), settings_of(request.settings, called="train text").epoch
    with says_how_to_go_on(folder, lambda: is_unfinished(folder)):
        with warnings_as_notes(), _training_bar(epochs, board) as (progress, on_epoch):
            classifier = train(request, folder, progress=progress, on_epoch=on_epoch)
        if board is not None:
            board.close()
        _finish(classifier, request, folder, time.perf_counter() - began, as_json=as_json)


def _set_compiler_flags(request: "TextRequest") -> None:
    """XLA's flags for rows of this length; it reads its flags when JAX starts, and JAX has not started yet."""
    from ...fasttext.options import settings_of
    from ...fasttext.train.row_loops import flags

    if more := flags(settings_of(request.settings, called="train text").dim):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {more}".strip()


def resume_classifier(run: Path, *, as_json: bool) -> None:
    """Continue a training that was interrupted."""
    from ...fasttext.run import TextRequest
    from ...training.run_folder import TENSORBOARD, RunFolder

    request, tensorboard = TextRequest.from_config(RunFolder.open(run).config), (run / TENSORBOARD).is_dir()
    train_classifier(request, run, tensorboard=tensorboard, as_json=as_json)


def _tune(request: "TextRequest", tuning: Tuning, folder: Path, *, as_json: bool) -> None:
    """Search for settings, and keep the model that does best."""
    from ...fasttext import autotune

    if request.valid is not None or request.patience is not None:
        raise ValueError("--valid and --patience belong to training without --tune-on, which holds out its own file.")
    if request.pretrained is not None:
        raise ValueError("--pretrained and --tune-on exclude each other: the search draws its tables.")
    train, _ = request.sources
    _set_compiler_flags(request)
    began = time.perf_counter()
    with warnings_as_notes(), _tuning_bar(tuning.tune_seconds) as progress:
        classifier = autotune(
            train, str(tuning.tune_on), seconds=tuning.tune_seconds, metric=tuning.tune_metric,
            predictions=tuning.tune_predictions, model_size=tuning.tune_size, unlabelled=request.unlabelled,
            progress=progress, sample_weight=request.sample_weight, **request.settings,
        ).classifier  # fmt: skip
    if not as_json:
        linear = request.settings.get("model") == "linear"
        names = ("C", "idf") if linear else ("lr", "epoch", "dim", "bucket")
        names = (*names, "word_ngrams", "minn", "maxn", "loss")
        chosen = [f"{name} {_short(getattr(classifier.model.settings, name))}" for name in names]
        out().print(f"[bold]best [/] {', '.join(chosen)}")
    _finish(classifier, request, folder, time.perf_counter() - began, as_json=as_json)


def _finish(
    classifier: "TextClassifier", request: "TextRequest", folder: Path, seconds: float, *, as_json: bool
) -> None:
    """Save and test what was trained, and print the result."""
    from ...fasttext.run import finish

    with warnings_as_notes():
        calibration, result = finish(classifier, request, folder)
    history = classifier.history
    if as_json:
        summary: dict[str, Any] = {"run": str(folder), "seconds": seconds, "test": result}
        if history is not None:
            summary |= {"best": history.best.as_dict(), "epochs": len(history.epochs)}
        if calibration is not None:
            summary["calibration"] = dataclasses.asdict(calibration)
        return print_json(summary)
    console = out()
    if history is not None and history.best.valid_accuracy is not None:
        early = f" of {len(history.epochs)} (stopped early)" if history.stopped_early else ""
        right = f"{history.best.valid_accuracy:.2%} of the held-out texts"
        console.print(f"[bold]best [/] epoch {history.best.epoch}{early}: {right}")
    if calibration is not None:
        console.print(_calibration_line(calibration))
    if result is not None:
        console.print(as_line(result))
    console.print(f"[bold]files[/] {files_in(folder)}")


def _calibration_line(calibration: "Calibration") -> str:
    (loss, new), (error, new_error) = calibration.log_loss, calibration.error
    changes = f"log loss {loss:.4f} -> {new:.4f}, calibration error {error:.2%} -> {new_error:.2%}"
    return f"[bold]sure [/] temperature {calibration.temperature:.3f}: {changes}"


def as_line(result: dict[str, Any]) -> str:
    """The metrics of a test as a line, in fastText's terms."""
    k, best = result["k"], f"[bold green]{result['precision']:.2%}[/]"
    return f"[bold]test [/] P@{k} {best}, R@{k} {result['recall']:.2%}, {result['examples']:,} examples"


@contextmanager
def _training_bar(epochs: int, board: "TensorBoard | None") -> Iterator[tuple[Any, Any]]:
    """A bar as fastText shows it: words per second, learning rate, loss, time left; and the held-out texts' accuracy.

    Yields what is called with a report now and then, and what is called after each epoch.
    """
    with progress_bar("reading", 1, time_left=False) as (bar, task):
        held_out = ""

        def report(report: "Report") -> None:
            status = f"{report.words_per_s:,.0f} words/s  lr {report.lr:.4f}  loss {report.loss:.4f}{held_out}"
            left = "" if report.progress == 1 else f"  {report.seconds_left:.0f} s left"
            bar.update(task, completed=report.progress, description=f"{report.progress:5.1%}", status=status + left)

        def after_epoch(epoch: "Epoch") -> None:
            nonlocal held_out
            if board is not None:
                board.add(epoch)
            if epoch.valid_accuracy is not None:
                held_out = f"  epoch {epoch.epoch}/{epochs}: held out {epoch.valid_accuracy:.2%}"

        yield report, after_epoch


@contextmanager
def _tuning_bar(seconds: float) -> Iterator[Any]:
    """A bar over the time there is: trials, the best score so far."""
    with progress_bar("trial 1", seconds) as (bar, task):
        trials = 0

        def after(trial: "Trial", best: float, left: float) -> None:
            nonlocal trials
            trials += 1
            status = f"score {trial.score:.4f}  best {best:.4f}"
            bar.update(task, completed=seconds - left, description=f"trial {trials + 1}", status=status)

        yield after
        bar.update(task, completed=seconds, description=f"{trials} trials")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
