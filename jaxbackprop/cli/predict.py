"""`predict`: the classes of texts or of rows of numbers, as they come."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import app, print_json, warnings_as_notes
from .options import RunPath, Threshold

if TYPE_CHECKING:
    import numpy as np

    from ..fasttext import TextClassifier
    from ..fasttext.predict.predictor import Predictions
    from ..training import Run
    from ..training.preprocessing import Preprocessor


@app.command("predict")
def predict_command(
    run: RunPath,
    file: Annotated[str, typer.Argument(help="Texts, one a line, or rows of numbers; - for stdin.")] = "-",
    top: Annotated[int, typer.Option("--top", "--k", help="The K best classes of each example; -1 for all.")] = 1,
    threshold: Threshold = 0.0,
    plain: Annotated[bool, typer.Option("--plain", help="Text: lines as fastText prints them, not JSON.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, which is what it does by default.")] = False,
) -> None:
    """Classify texts or rows of numbers; one JSON object an example, its classes by falling probability."""
    from ..training.run import MODULE, load_run

    if top < 1 and top != -1:
        raise ValueError(f"--top is {top}; it is at least 1, or -1 for all.")
    if plain and as_json:
        raise ValueError("--plain and --json exclude each other.")
    loaded = load_run(run)
    if loaded.kind != MODULE:
        return _predict_texts(loaded.model, file, top, threshold, plain=plain)
    if plain:
        raise ValueError("--plain is for text classifiers.")
    _predict_numbers(loaded, file, top, threshold)


def _predict_numbers(run: "Run", file: str, top: int, threshold: float) -> None:
    import numpy as np

    preprocessor = run.trained.preprocessor  # type: ignore[attr-defined]
    if preprocessor is None:
        raise ValueError(f"{run.path} was trained by fit() on arrays: load_run(folder).predict(x) predicts.")
    with warnings_as_notes():
        features = _features(preprocessor, file)
        probabilities = run.probabilities(features) if len(features) else ()
    for row in probabilities:
        best = np.argsort(-row, kind="stable")[: None if top == -1 else top]
        likely = (k for k in best if row[k] >= threshold)
        classes = [{"label": run.classes[k], "probability": round(float(row[k]), 6)} for k in likely]
        nothing = {"label": None, "probability": None}
        print_json({"classes": classes} if top != 1 else classes[0] if classes else nothing)


def _features(preprocessor: "Preprocessor", file: str) -> "np.ndarray":
    """The features in a file, or in rows of numbers on stdin."""
    from ..data import load

    if Path(file).suffix in (".npz", ".gz") or Path(file).is_dir():
        loaded = load(file, kind="examples")
        return preprocessor.features(loaded.test or loaded.train)
    return _rows(preprocessor, file)


def _rows(preprocessor: "Preprocessor", file: str) -> "np.ndarray":
    """Rows of numbers with commas or blanks between them; a first line of names is skipped, a label is not read."""
    import numpy as np

    from ..data import DataError

    features, rows, label = int(np.prod(preprocessor.shape)), [], None
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


def _predict_texts(classifier: "TextClassifier", file: str, k: int, threshold: float, *, plain: bool) -> None:
    """Classify the lines of a file or of stdin as they come, many at a time."""
    from ..fasttext.corpus.reading import iter_prediction_batches

    names = classifier.get_labels(on_unicode_error="replace")
    prefix = len(classifier.model.vocabulary.label_prefix)
    heads = [f"{name} " if plain else f'{{"label": {json.dumps(name[prefix:], ensure_ascii=False)}, ' for name in names]
    for tokens in iter_prediction_batches(file):
        for predictions in classifier.predictions(tokens, k=k, threshold=threshold):
            as_text = _fasttext_lines(predictions, heads) if plain else _json_lines(predictions, heads, single=k == 1)
            sys.stdout.write(as_text)
            sys.stdout.flush()


def _json_lines(predictions: "Predictions", heads: list[str], *, single: bool) -> str:
    """A JSON object per text: its label, or its labels."""
    tails = [f'"probability": {p:.6f}}}' for p in predictions.probabilities.clip(max=1).tolist()]
    each = [heads[label] + tail for label, tail in zip(predictions.labels.tolist(), tails, strict=True)]
    ends: list[Any] = predictions.offsets.tolist()
    if single:
        nothing = '{"label": null, "probability": null}'
        rows = [each[a] if a < b else nothing for a, b in pairwise(ends)]
    else:
        rows = [f'{{"classes": [{", ".join(each[a:b])}]}}' for a, b in pairwise(ends)]
    return "".join(f"{row}\n" for row in rows)


def _fasttext_lines(predictions: "Predictions", heads: list[str]) -> str:
    """A line per text as fastText prints it: label, probability, label, probability."""
    pairs = zip(predictions.labels.tolist(), predictions.probabilities.tolist(), strict=True)
    each = [heads[label] + f"{p:g}" for label, p in pairs]
    return "".join(f"{' '.join(each[a:b])}\n" for a, b in pairwise(predictions.offsets.tolist()))
