"""A text classifier's run in a folder: trained into it, continued in it, tested, loaded from it.

config.json    data, settings, validation and versions
metrics.jsonl  the metrics of each epoch
checkpoints/   what an interrupted training continues from; removed once it is trained
model.bin      the model, as fastText reads it
test.json      the metrics on the test set
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import DataError
from ..training.content_hashes import of_file
from ..training.history import Epoch
from ..training.plots import draw_confusion, draw_curves
from ..training.run import TEXT_CLASSIFIER
from ..training.run_folder import CHECKPOINTS, CONFIG, METRICS, TEST, RunFolder
from .classifier import TextClassifier
from .corpus.reading import STDIN, Source, text_groups, train_and_test_sources
from .files import model_folder
from .files.model_folder import FILES, is_model
from .options import settings_of
from .predict.metrics import Scoring, Skipped, encoded, nothing_to_score
from .predict.predictor import Predictor
from .train.checkpoints.storage import Checkpoints, whole_checkpoints

if TYPE_CHECKING:
    from .predict.calibration import Calibration
    from .train.loop import Report


MOST_CONFUSED = 1000
"""Of more labels than this no confusion matrix is made."""


@dataclass(frozen=True)
class TextRequest:
    """What to train a text classifier on, and how.

    data               the name of a set, a file, or a folder with train.* and perhaps test.*
    test               other data to test on
    label_column       the column of a CSV file that holds the label
    settings           by the names of `Settings`
    valid              the share of the lines to hold out, or a file of held-out texts
    patience           stop after this many epochs without a better one on the held-out texts
    unlabelled         "refuse" or "skip" lines without label
    cache              a folder for the encoded text
    pretrained         a .vec file of word vectors to start from
    sample_weight      a file with a number for each line: how much it counts
    calibrate_on       texts to fit the temperature of the probabilities on
    checkpoint_seconds the time between two checkpoints; 0 for none
    """

    data: str
    test: str | None = None
    label_column: str | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    valid: float | str | None = None
    patience: int | None = None
    unlabelled: Any = "refuse"
    cache: str | None = None
    pretrained: str | None = None
    sample_weight: str | None = None
    calibrate_on: str | None = None
    checkpoint_seconds: float = 60.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "TextRequest":
        """The request that a run's configuration holds."""
        names = {field.name for field in dataclasses.fields(cls)} - {"data", "test", "label_column"}
        data = config["data"]
        rest = {name: config[name] for name in names if name in config}
        return cls(data=data["name"], test=data["test"], label_column=data["label_column"], **rest)

    def to_config(self) -> dict[str, Any]:
        """What config.json holds: every option of the training with its value."""
        rest = dataclasses.asdict(self)
        data = {"name": rest.pop("data"), "test": rest.pop("test"), "label_column": rest.pop("label_column")}
        settings = dataclasses.asdict(settings_of(rest.pop("settings"), called="train text"))
        return {"kind": TEXT_CLASSIFIER, "data": data, "settings": settings, **rest}

    def content(self) -> dict[str, str]:
        """The hashes of the files that are trained on."""
        given = {"data": self.data, "valid": self.valid, "pretrained": self.pretrained}
        paths = {name: Path(value) for name, value in given.items() if isinstance(value, str)}
        files = {name: path if path.is_file() else next(path.glob("train.*"), path) for name, path in paths.items()}
        return {name: of_file(path) for name, path in files.items() if path.is_file()}

    @cached_property
    def sources(self) -> tuple[Source, Source | None]:
        """The texts to train on and to test on."""
        return train_and_test_sources(self.data, self.test, self.label_column)


def train(
    request: TextRequest,
    folder: Path,
    *,
    progress: "Callable[[Report], None] | None" = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TextClassifier:
    """Train into a new folder, or continue what was interrupted in it; `finish` saves the model.

    A run that fails before anything is saved leaves no folder behind.
    """
    train_on, _ = request.sources
    if request.calibrate_on is not None:
        all_of(request.calibrate_on)  # read once training is done, looked for before it is begun
    valid = all_of(request.valid) if isinstance(request.valid, str) else request.valid
    content = request.content()
    run = RunFolder(folder)
    if not is_unfinished(folder):
        run = RunFolder.create(folder, request.to_config() | {"content": content})
    elif run.config.get("content") != content:
        advice = "Resume with the data that the run was begun with, or train anew."
        raise DataError(f"{request.data} with another content than before", file=folder, advice=advice)
    checkpoints = None
    linear = request.settings.get("model") == "linear"
    if request.checkpoint_seconds and request.data != STDIN and not linear:
        checkpoints = Checkpoints(folder / CHECKPOINTS, request.checkpoint_seconds)

    def record(epoch: Epoch) -> None:
        run.forget_after(epoch.epoch - 1)  # of an epoch that is trained again after an interruption
        run.record(epoch)
        if on_epoch is not None:
            on_epoch(epoch)

    with run.locked():
        try:
            return TextClassifier.train(
                train_on, valid=valid, patience=request.patience, unlabelled=request.unlabelled, cache=request.cache,
                pretrained=request.pretrained, sample_weight=request.sample_weight, checkpoints=checkpoints,
                progress=progress, on_epoch=record, **request.settings,
            )  # fmt: skip
        except BaseException as error:
            useful = can_continue(folder) or (run.epochs() and not isinstance(error, KeyboardInterrupt))
            if not useful:
                shutil.rmtree(folder)
            raise


def finish(
    classifier: TextClassifier, request: TextRequest, folder: Path
) -> "tuple[Calibration | None, dict[str, Any] | None]":
    """Calibrate the classifier, save it, and test it.

    Returns:
        What calibration changed, and the metrics on the test set; None where there is none.
    """
    calibration = None if request.calibrate_on is None else classifier.calibrate(all_of(request.calibrate_on))
    # Settings that were searched for are known only now.
    run = RunFolder(folder) if (folder / CONFIG).exists() else RunFolder.create(folder, request.to_config())
    name, history, result = model_folder.name_of(classifier.model), classifier.history, None
    with run.locked():
        classifier.save_model(folder / name)
        _, test_on = request.sources
        if test_on is not None:
            scoring, _, confusion = evaluate(classifier, test_on)
            result = metrics_of(scoring, 1)
            run.write(TEST, result)
            if confusion is not None:
                draw_confusion(confusion, folder / "confusion.png", classes=_names(classifier), title="Test examples")
        if history is not None and history.best.valid_accuracy is not None:  # the training loss alone says little
            draw_curves(history, folder / "curves.png")
        files = {file: of_file(folder / file) for file in (name, METRICS) if (folder / file).exists()}
        settings = dataclasses.asdict(classifier.model.settings)
        run.write(CONFIG, run.config | {"settings": settings, FILES: files})  # with that, the run is finished
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return calibration, result


def is_unfinished(folder: Path) -> bool:
    """Whether a text classifier was being trained there, and its model has not been saved and tested."""
    config = RunFolder(folder).config if (folder / CONFIG).is_file() else {}
    return config.get("kind") == TEXT_CLASSIFIER and FILES not in config


def can_continue(folder: Path) -> bool:
    """Whether a checkpoint is there to continue from."""
    return is_unfinished(folder) and bool(whole_checkpoints(folder / CHECKPOINTS))


def all_of(data: str) -> Source:
    """Labelled texts that are only evaluated: a file, or the test side of a set that has two."""
    return next(side for side in train_and_test_sources(data)[::-1] if side is not None)


def evaluate(
    classifier: TextClassifier, data: Source, k: int = 1, threshold: float = 0.0
) -> tuple[Scoring, Skipped, np.ndarray | None]:
    """The metrics of the `k` best labels of each text, and what had to be skipped.

    Returns:
        The metrics, what was skipped, and for texts with one label each, the confusion matrix of the best label:
        (labels, labels), true label by row; None for others, and for more than a thousand labels.
    """
    model, predictor = classifier.model, Predictor(classifier.model)
    parts, skipped = encoded(model, text_groups(data, model.vocabulary.label_prefix))
    single = k == 1 and not threshold and predictor.labels <= MOST_CONFUSED
    scorings, confusion = [], np.zeros((predictor.labels,) * 2 if single else 0, np.int64)
    for rows, gold in parts:
        predictions = predictor.best(rows, k, threshold)
        scorings.append(Scoring.of(gold, predictions, predictor.labels))
        single = single and bool((gold.lengths == 1).all())
        if single:
            np.add.at(confusion, (gold.ids, predictions.labels), 1)
    scoring = Scoring.joined(scorings) if scorings else None
    if scoring is None or not scoring.texts:
        raise nothing_to_score(skipped, model.vocabulary.label_prefix, data)
    return scoring, skipped, confusion if single else None


def metrics_of(scoring: Scoring, k: int) -> dict[str, Any]:
    """What is printed and saved of a test of the `k` best labels."""
    metrics = {"examples": scoring.texts, "k": k, "precision": scoring.precision, "recall": scoring.recall}
    return {**metrics, "accuracy": float(scoring.right.sum() / scoring.texts)} if k == 1 else metrics


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A text classifier as a run holds it."""

    model: TextClassifier

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, without their prefix."""
        return _names(self.model)

    def probabilities(self, x: Sequence[str]) -> np.ndarray:
        """The probability of each label, (texts, labels)."""
        return self.model.probabilities(x)

    def predict(self, x: Sequence[str]) -> np.ndarray:
        """The most probable label of each text, without its prefix."""
        return np.array(self.classes)[self.probabilities(x).argmax(-1)]


def load(path: Path, config: Mapping[str, Any], model: Any = None) -> TrainedClassifier:
    """The classifier of a run, or in a .bin or .ftz file.

    Raises:
        DataError: training was interrupted; a damaged file.
    """
    if model is not None:
        raise ValueError("load_run: the model of a text classifier is in its file; give no model.")
    if config and not is_model(path):
        advice = f"Continue with: jaxbackprop resume {path}"
        raise DataError("a run that was interrupted", expected="a trained model", file=path, advice=advice)
    return TrainedClassifier(TextClassifier.load(path))


def _names(classifier: TextClassifier) -> tuple[str, ...]:
    return tuple(classifier.model.vocabulary.labels)
