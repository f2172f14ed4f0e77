"""What the commands do with text classifiers of fastText's kind: train, test, predict, quantize.

Which command comes here, and which options it has, is said in train.py and runs.py.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from .console import INTERRUPTED, err, fail, note, out, print_json

if TYPE_CHECKING:
    from ..fasttext import TextClassifier, Trial
    from ..fasttext.corpus.reading import Source
    from ..fasttext.predict.metrics import Scoring
    from ..fasttext.predict.predictor import Predictions
    from ..fasttext.train.loop import Report


TRAINING = "training"  # where a run keeps its checkpoints


def train_classifier(
    train: "Source",
    test: "Source | None",
    settings: Mapping[str, Any],
    folder: Path,
    *,
    asked: Mapping[str, Any],
    unlabelled: Any,
    cache: Path | None,
    tuning: Mapping[str, Any] | None,
    every: float,
    calibrate_on: str | None,
    as_json: bool,
    resume: bool = False,
) -> None:
    """Train by the sparse trainer, keep the model, test it, and say how it went.

    every  so many seconds of training lie between two checkpoints; 0 keeps none
    """
    from ..data import DataError
    from ..fasttext import TextClassifier, autotune
    from ..fasttext.files.model_folder import save
    from ..fasttext.options import settings_of
    from ..fasttext.train.checkpointing import Checkpoints
    from ..fasttext.train.row_loops import flags

    dim = settings_of(settings, called="train text").dim  # checked before anything is begun
    if told := flags(dim):  # JAX has not started yet: here alone it can be told
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {told}".strip()
    if folder.exists() and any(folder.iterdir()) and not resume:
        advice = "Give another folder, or remove it."
        raise DataError("a folder that is not empty", expected="a new folder", file=folder, advice=advice)
    if not as_json:
        err().print(f"[bold]run  [/] {escape(str(folder))}", soft_wrap=True)
    began = time.perf_counter()
    reading = {"unlabelled": unlabelled, "cache": None if cache is None else str(cache)}
    how = {"asked": dict(asked), "settings": dict(settings), "every": every, "on": calibrate_on, **reading}
    kept = Checkpoints(folder / TRAINING, every, how) if every and tuning is None and asked["name"] != "-" else None
    try:
        if tuning is None:
            with _training(as_json) as show:
                made = TextClassifier.train(train, progress=show, checkpoints=kept, **reading, **settings)
        else:
            with _tuning(tuning["seconds"]) as show:
                made = autotune(train, unlabelled=unlabelled, progress=show, **tuning, **settings).classifier
    except KeyboardInterrupt:
        go_on = f"go on with: jaxbackprop resume {folder}"
        fail(f"interrupted; {go_on if is_unfinished(folder) else 'nothing is kept'}", INTERRUPTED)
    seconds = time.perf_counter() - began
    calibrated = None if calibrate_on is None else made.calibrate(_all_of(calibrate_on))
    save(made.model, folder, {"data": dict(asked)})
    result = None if test is None else _reported(_scored(made, test, 1, 0.0), 1)
    if result is not None:
        (folder / "test.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if as_json:
        found = {} if calibrated is None else {"calibration": dataclasses.asdict(calibrated)}
        return print_json({"run": str(folder), "seconds": seconds, "test": result, **found})
    chosen = made.model.settings
    if tuning is not None:
        names = ("lr", "epoch", "dim", "word_ngrams", "minn", "maxn", "bucket", "loss")
        out().print(f"[bold]best [/] {', '.join(f'{name} {_short(getattr(chosen, name))}' for name in names)}")
    if calibrated is not None:
        (loss, new), (error, new_error) = calibrated.log_loss, calibrated.error
        said = f"log loss {loss:.4f} -> {new:.4f}, calibration error {error:.2%} -> {new_error:.2%}"
        out().print(f"[bold]sure [/] temperature {calibrated.temperature:.3f}: {said}")
    if result is not None:
        out().print(_said(result))
    out().print(f"[bold]files[/] {', '.join(sorted(p.name for p in folder.iterdir() if p.is_file()))}")


def is_unfinished(run: Path) -> bool:
    """Whether a text classifier's training was cut off there, and can go on."""
    from ..fasttext.train.checkpointing import asked_in

    return asked_in(run / TRAINING) is not None


def resume_classifier(run: Path, *, as_json: bool) -> None:
    """Go on with a training that was cut off."""
    from ..fasttext.corpus.reading import train_and_test_sources
    from ..fasttext.train.checkpointing import asked_in

    how = asked_in(run / TRAINING)
    assert how is not None
    asked, cache = how["asked"], how["cache"]
    train, test = train_and_test_sources(asked["name"], asked["test"], asked["label_column"])
    train_classifier(
        train, test, how["settings"], run, asked=asked, unlabelled=how["unlabelled"],
        cache=None if cache is None else Path(cache), tuning=None, every=how["every"], calibrate_on=how["on"],
        as_json=as_json, resume=True,
    )  # fmt: skip


def assess_classifier(run: Path, data: str | None, k: int, threshold: float, *, labels: bool, as_json: bool) -> None:
    """Test a classifier on labelled lines."""
    from ..data import DataError
    from ..fasttext import TextClassifier
    from ..fasttext.corpus.reading import train_and_test_sources
    from ..fasttext.files import model_folder as folder

    classifier = TextClassifier.load(run)
    asked = folder.config(run).get("data", {}) if (run / folder.CONFIG).is_file() else {}
    if data is None:
        side = train_and_test_sources(asked["name"], asked["test"], asked["label_column"])[1] if asked else None
    else:
        own, beside = None, None
        own, beside = train_and_test_sources(data, label_column=asked.get("label_column"))
        side = beside or own
    if side is None:
        raise DataError("no test set", file=run, advice="Give labelled data to test on: --data.")
    scoring = _scored(classifier, side, k, threshold)
    each = {label: scoring.of_label(number) for number, label in enumerate(classifier.labels)}
    if as_json:
        return print_json({"run": str(run), **_reported(scoring, k), **({"labels": each} if labels else {})})
    out().print(_said(_reported(scoring, k)))
    if labels:
        for label, found in each.items():
            numbers = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
            out().print(f"{numbers}  {label}", markup=False)


def predict_with_classifier(run: Path, file: str, k: int, threshold: float, *, plain: bool) -> None:
    """Classify the lines of a file or of stdin as they come, many at a time."""
    from ..fasttext import TextClassifier
    from ..fasttext.corpus.reading import iter_prediction_batches

    classifier = TextClassifier.load(run)
    names = classifier.get_labels(on_unicode_error="replace")
    prefix = len(classifier.model.vocabulary.label_prefix)
    said = [f"{name} " if plain else f'{{"label": {json.dumps(name[prefix:], ensure_ascii=False)}, ' for name in names]
    write = _fasttext_lines if plain else _json_lines
    for tokens in iter_prediction_batches(file):
        for found in classifier.predictions(tokens, k=k, threshold=threshold):
            sys.stdout.write(write(found, said, single=k == 1))
            sys.stdout.flush()


def _json_lines(found: "Predictions", said: list[str], *, single: bool) -> str:
    """A JSON object a text: its label, or its labels."""
    numbers = [f'"probability": {p:.6f}}}' for p in found.probabilities.clip(max=1).tolist()]
    each = [said[label] + number for label, number in zip(found.labels.tolist(), numbers, strict=True)]
    ends = found.offsets.tolist()
    if single:
        nothing = '{"label": null, "probability": null}'
        rows = [each[a] if a < b else nothing for a, b in pairwise(ends)]
    else:
        rows = [f'{{"classes": [{", ".join(each[a:b])}]}}' for a, b in pairwise(ends)]
    return "".join(f"{row}\n" for row in rows)


def _fasttext_lines(found: "Predictions", said: list[str], *, single: bool) -> str:
    """A line a text as fastText prints it: label, probability, label, probability."""
    del single
    each = [said[k] + f"{p:g}" for k, p in zip(found.labels.tolist(), found.probabilities.tolist(), strict=True)]
    ends = found.offsets.tolist()
    return "".join(f"{' '.join(each[a:b])}\n" for a, b in pairwise(ends))


def quantize_classifier(run: Path, target: Path | None, *, test: str | None, as_json: bool, **options: Any) -> None:
    """Write a small copy of a model, and say how small, and how good."""
    from ..data import DataError
    from ..fasttext import TextClassifier
    from ..fasttext.files import model_folder as folder

    source = run / folder.PLAIN if run.is_dir() else run
    target = target or (run / folder.SMALL if run.is_dir() else run.with_suffix(".ftz"))
    if target.exists():
        raise DataError("a file that is there already", file=target, advice="Give another name: --out.")
    classifier = TextClassifier.load(run)
    side = None if test is None else _all_of(test)
    before = None if side is None else _reported(_scored(classifier, side, 1, 0.0), 1)
    classifier.quantize(**options)
    classifier.save_fasttext(target)
    after = None if side is None else _reported(_scored(classifier, side, 1, 0.0), 1)
    sizes = source.stat().st_size, target.stat().st_size
    if as_json:
        return print_json({"file": str(target), "bytes": sizes[1], "bytes_before": sizes[0], "test": after})
    out().print(f"[bold]file [/] {target}: {sizes[1]:,} bytes, {sizes[1] / sizes[0]:.1%} of {sizes[0]:,}")
    if before is not None and after is not None:
        out().print(f"{_said(after)}, before {before['precision']:.2%}")


@contextmanager
def _training(as_json: bool) -> Iterator[Any]:
    """A bar as fastText shows it: words a second, learning rate, loss, time left. Yields what is told of training."""
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[seen]}"))
    with Progress(*columns, console=err(), disable=as_json) as bar:
        task = bar.add_task("reading", total=1, seen="")

        def after(report: "Report") -> None:
            seen = f"{report.words_per_s:,.0f} words/s  lr {report.lr:.4f}  loss {report.loss:.4f}"
            left = "" if report.progress == 1 else f"  {report.seconds_left:.0f} s left"
            bar.update(task, completed=report.progress, description=f"{report.progress:5.1%}", seen=seen + left)

        yield after


@contextmanager
def _tuning(seconds: float) -> Iterator[Any]:
    """A bar over the time there is: trials, the best score so far."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[seen]}"))
    with Progress(*columns, TimeRemainingColumn(compact=True), console=err()) as bar:
        task, trials = bar.add_task("trial 1", total=seconds, seen=""), 0

        def after(trial: "Trial", best: float, left: float) -> None:
            nonlocal trials
            trials += 1
            seen = f"score {trial.score:.4f}  best {best:.4f}"
            bar.update(task, completed=seconds - left, description=f"trial {trials + 1}", seen=seen)

        yield after
        bar.update(task, completed=seconds, description=f"{trials} trials")


def _all_of(data: str) -> "Source":
    """Labelled texts that are only asked about: a file, or the test side of a set that has two."""
    from ..fasttext.corpus.reading import train_and_test_sources

    return next(side for side in train_and_test_sources(data)[::-1] if side is not None)


def _scored(classifier: "TextClassifier", side: "Source", k: int, threshold: float) -> "Scoring":
    scoring, skipped = classifier.score(side, k, threshold)
    if str(skipped):
        note(f"{skipped}.")
    return scoring


def _reported(scoring: "Scoring", k: int) -> dict[str, Any]:
    numbers = {"examples": scoring.texts, "k": k, "precision": scoring.precision, "recall": scoring.recall}
    return {**numbers, "accuracy": float(scoring.right.sum() / scoring.texts)} if k == 1 else numbers


def _said(result: Mapping[str, Any]) -> str:
    """A result as a line, in fastText's terms."""
    k, best = result["k"], f"[bold green]{result['precision']:.2%}[/]"
    return f"[bold]test [/] P@{k} {best}, R@{k} {result['recall']:.2%}, {result['examples']:,} examples"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
