"""The linear model is in the mean at least as accurate as LinearSVC on tf-idf bigrams, in at most its CPU time.

    python experiments/linear_against_linearsvc.py

Each run is a process of its own that reads the training and the test file, trains, and scores the test texts; both have
their defaults. Where a text has several labels the measure is the best F1 of one threshold over all labels. What was
compiled is kept from run to run, and JAX is told how to compile short loops, as with the command `train text`.
"""

import gzip
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import report
from text_against_fasttext import run

from jaxbackprop.data import Texts, load
from jaxbackprop.fasttext.train.row_loops import flags

OURS, THEIRS = "linear", "LinearSVC"
DATA = Path("../shared/data")
SETS = {"imdb": False, "trec": False, "clinc150": False, "cooking": True, "reuters21578": True, "docstrings": False}
"""Whether a text has several labels."""
QUALITY = """
import json, sys
import numpy as np

def quality(scores, gold, multi):
    if not multi:
        return float(gold[np.arange(len(gold)), scores.argmax(1)].mean())
    order = np.argsort(-scores, axis=None, kind="stable")
    hit = np.cumsum(gold.ravel()[order])
    last = np.append(np.diff(scores.ravel()[order]) != 0, True)
    return float((2 * hit / (np.arange(1, hit.size + 1) + gold.sum()))[last].max())

def told(value):
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    print(json.dumps([value, int(peak) / 1e3]))

def lines(path):
    for line in open(path, encoding="utf-8", errors="surrogateescape"):
        words = line.split()
        labels = [word for word in words if word.startswith("__label__")]
        yield " ".join(word for word in words if not word.startswith("__label__")), labels

def gold_of(given, names):
    number = dict(zip(names, range(len(names))))
    gold = np.zeros((len(given), len(names)), bool)
    for k, labels in enumerate(given):
        gold[k, [number[label] for label in labels if label in number]] = True
    return gold
"""
SOURCES = {
    OURS: """
from jaxbackprop.fasttext import TextClassifier
model = TextClassifier.train(sys.argv[1], model="linear")
texts, given = zip(*lines(sys.argv[2]))
told(quality(model.probabilities(texts), gold_of(given, model.labels), sys.argv[3] == "True"))
""",
    THEIRS: """
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC
texts, given = zip(*lines(sys.argv[1]))
vectorizer, multi = TfidfVectorizer(ngram_range=(1, 2)), sys.argv[3] == "True"
X = vectorizer.fit_transform(texts)
if multi:
    labels = MultiLabelBinarizer()
    model = OneVsRestClassifier(LinearSVC()).fit(X, labels.fit_transform(given))
    names = labels.classes_
else:
    model = LinearSVC().fit(X, [labels[0] for labels in given])
    names = model.classes_
texts, given = zip(*lines(sys.argv[2]))
scores = model.decision_function(vectorizer.transform(texts))
told(quality(scores if scores.ndim == 2 else np.stack([-scores, scores], 1), gold_of(given, names), multi))
""",
}


def measure(sets: Sequence[str] = tuple(SETS), pairs: int = 1) -> dict[str, Any]:
    """Quality, CPU seconds, seconds and peak megabytes of both on each set: medians over the pairs."""
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in sets:
            files = [str(path) for path in written(name, Path(folder))]
            runs: dict[str, list[tuple[float, ...]]] = {OURS: [], THEIRS: []}
            for pair in range(-1, pairs):  # before the first pair ours compiles
                for program, source in SOURCES.items():
                    if pair >= 0 or program == OURS:
                        arguments = (program, sys.executable, plain(QUALITY + source), *files, str(SETS[name]))
                        seconds, cpu, said = run(*arguments, told=flags(1))
                        if pair >= 0:
                            runs[program].append((*json.loads(said), cpu, seconds))
            columns = ("quality", "peak MB", "CPU seconds", "seconds")
            medians = {program: map(statistics.median, zip(*of, strict=True)) for program, of in runs.items()}
            measured[name] = {program: dict(zip(columns, of, strict=True)) for program, of in medians.items()}
            print(name, measured[name], file=sys.stderr, flush=True)
    return measured


def claim(measured: dict[str, Any]) -> None:
    """Judge the means over the sets."""
    mean = {
        (program, what): statistics.fmean(of[program][what] for of in measured.values())
        for program in (OURS, THEIRS)
        for what in ("quality", "CPU seconds")
    }
    assert mean[OURS, "quality"] >= mean[THEIRS, "quality"]
    assert mean[OURS, "CPU seconds"] <= mean[THEIRS, "CPU seconds"]


def written(name: str, folder: Path) -> tuple[Path, Path]:
    """The training and the test file of a set, as labelled lines."""
    train, test = folder / f"{name}.train.txt", folder / f"{name}.test.txt"
    if name == "docstrings":
        found = load(name)
        for side, path in ((found.train, train), (found.test, test)):
            assert isinstance(side, Texts)
            path.write_text("".join(f"{' '.join(f'__label__{x}' for x in labels)} {' '.join(text.split())}\n"
                                    for text, labels in zip(side.texts, side.labels, strict=True)))  # fmt: skip
        return train, test
    for path, side in ((train, "train"), (test, "test")):
        with gzip.open(DATA / name / f"{side}.txt.gz", "rb") as packed, open(path, "wb") as file:
            shutil.copyfileobj(packed, file)
    return train, test


def plain(source: str) -> str:
    """The source as `run` takes it, which fills in what stands in braces."""
    return source.replace("{", "{{").replace("}", "}}")


if __name__ == "__main__":
    report(measure, claim)
