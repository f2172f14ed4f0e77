"""A lecture's project on IMDB, stage by stage: each change is kept or dropped by its numbers on held-out reviews.

Data: a tenth of the training reviews is held out, the test reviews are looked at once, at the end. Metric: the share of
reviews judged right. A change is kept where it mends more held-out reviews than it breaks by two standard errors,
sqrt(mended + broken) each. A baseline of word counts, a first model of single words, its surest errors, three changes.

    python experiments/imdb_project.py [FOLDER OF THE DATA SETS]
"""

import gzip
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import report

from jaxbackprop.fasttext import TextClassifier

DATA = Path("../shared/data")
LABELS = ("neg", "pos")
FIRST: dict[str, Any] = {"dim": 10, "epoch": 5, "lr": 0.5, "shuffle": True}
CHANGES: dict[str, dict[str, Any]] = {
    "pairs of words": {"word_ngrams": 2, "bucket": 500_000},
    "rare words learn faster (idf 2), labels smoothed": {"idf": 2.0, "smoothing": 0.05},
    "vectors of 50 numbers": {"dim": 50},
}


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def split(lines: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The labels, 0 or 1, and the texts of labelled lines."""
    pairs = [line.removeprefix("__label__").partition(" ")[::2] for line in lines]
    return np.array([LABELS.index(label) for label, _ in pairs]), [text for _, text in pairs]


def counts_of_words(train: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """The baseline: naive Bayes, each word's share among the texts of a label, with one added to every count."""
    y, learned = split(train)
    number: dict[str, int] = {}
    counts: list[list[int]] = [[], []]
    for label, text in zip(y, learned, strict=True):
        for word in set(text.split()):
            at = number.setdefault(word, len(number))
            if at == len(counts[0]):
                counts[0].append(1)
                counts[1].append(1)
            counts[label][at] += 1
    logs = np.log(counts[1]) - np.log(counts[0])
    logs -= np.log((y == 1).sum() + 2) - np.log((y == 0).sum() + 2)
    known = ([number[word] for word in set(text.split()) if word in number] for text in texts)
    return np.array([logs[words].sum() > 0 for words in known]).astype(int)


def trained(train: Sequence[str], settings: dict[str, Any], folder: Path) -> TextClassifier:
    path = folder / "train.txt"
    path.write_text("\n".join(train) + "\n", encoding="utf-8")
    return TextClassifier.train(str(path), **settings)


def answers(model: TextClassifier, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The label of each text, and its probability."""
    probabilities = model.probabilities(texts)
    order = [model.labels.index(f"__label__{label}") for label in LABELS]
    return probabilities[:, order].argmax(1), probabilities.max(1)


def project(train: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    held_out, train = train[: len(train) // 10], train[len(train) // 10 :]
    y, texts = split(held_out)
    stages: list[dict[str, Any]] = []

    def stage(name: str, right: np.ndarray, seconds: float, **more: Any) -> None:
        stages.append({"stage": name, "held-out accuracy": float(right.mean()), "seconds": seconds, **more})
        print(stages[-1], flush=True)

    stage("always the more frequent label", y == np.bincount(split(train)[0]).argmax(), 0.0)
    began = time.perf_counter()
    stage("baseline: counts of words", counts_of_words(train, texts) == y, time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        settings, began = FIRST, time.perf_counter()
        model = trained(train, settings, Path(folder))
        found, sure = answers(model, texts)
        stage("first model: single words", found == y, time.perf_counter() - began)
        surest = np.argsort(np.where(found != y, -sure, 0))[:3]
        errors = [
            {"label": LABELS[y[k]], "answer": LABELS[found[k]], "probability": float(sure[k]), "text": texts[k][:300]}
            for k in surest
        ]
        for name, change in CHANGES.items():
            began = time.perf_counter()
            other = trained(train, settings | change, Path(folder))
            new, _ = answers(other, texts)
            mended, broken = (int(((a == y) & (b != y)).sum()) for a, b in ((new, found), (found, new)))
            keep = mended - broken > 2 * np.sqrt(mended + broken)
            seconds = time.perf_counter() - began
            stage(name, new == y, seconds, mended=mended, broken=broken, kept=bool(keep))
            if keep:
                model, found, settings = other, new, settings | change
    y, texts = split(test)
    return {
        "stages": stages,
        "surest errors of the first model": errors,
        "settings": settings,
        "test": {
            "accuracy": float((answers(model, texts)[0] == y).mean()),
            "of the baseline": float((counts_of_words(train, texts) == y).mean()),
        },
    }


def measure(data: Path | None = None) -> dict[str, Any]:
    data = data or DATA
    return project(lines_of(data / "imdb" / "train.txt.gz"), lines_of(data / "imdb" / "test.txt.gz"))


def claim(measured: dict[str, Any]) -> None:
    kept = [stage for stage in measured["stages"] if "kept" in stage]
    for stage in kept:
        difference, error = stage["mended"] - stage["broken"], np.sqrt(stage["mended"] + stage["broken"])
        assert stage["kept"] == bool(difference > 2 * error)
    assert measured["test"]["accuracy"] > measured["test"]["of the baseline"]


if __name__ == "__main__":
    if sys.argv[1:]:
        DATA = Path(sys.argv[1])
    report(measure, claim)
