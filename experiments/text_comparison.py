"""fastText's accuracy by the same options, and a linear model that is not below LinearSVC in the mean.

    python experiments/text_comparison.py --fasttext PROGRAM [--data FOLDER] [--pairs N] [NAME...]

Four programs train on the same files, on all data sets and on small pieces of two of them: our fastText model and
fastText's own compiled program (PROGRAM, made by its Makefile) with the same options and two threads, our linear model
and scikit-learn's LinearSVC on tf-idf weighted words and bigrams, both with their defaults. What is timed is the whole
process, from its start to the saved model; the programs take turns, and a ratio is the median of the pairs'. Accuracy
is measured afterwards on the test file; where a text has several labels it is the best F1 of one threshold for all
labels. The fastText models have another seed in each pair, their accuracy is the mean; the others always find the
same minimum. What was compiled, Python's bytecode included, is kept from pair to pair, and JAX is told how to compile
short loops, as with the command `train text`.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import report_each
from text_against_fasttext import quality
from text_cases import COMPARED, Compared

from jaxbackprop.data import Texts, load
from jaxbackprop.fasttext.train.row_loops import flags

OURS, FASTTEXT, LINEAR, SVC = "jaxbackprop", "fastText", "jaxbackprop, linear", "LinearSVC"
PROGRAMS = (OURS, FASTTEXT, LINEAR, SVC)
RIVALS = {OURS: FASTTEXT, LINEAR: SVC}
OF_THE_MEAN = ("imdb", "trec", "clinc150", "cooking", "reuters21578", "docstrings")
"""The sets over which the linear model and LinearSVC are compared in the mean."""
# A small process of its own starts each program: the peak memory of a child is never reported below its parent's.
TIMED = """
import json, os, sys, time
began = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3]))
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""
BEGIN = """
import atexit, gc, json, sys
gc.set_threshold(100_000)
atexit.register(gc.freeze)
"""
TRAIN = {
    OURS: """
from jaxbackprop.fasttext import train_supervised
train_supervised(sys.argv[1], **json.loads(sys.argv[3])).save_model(sys.argv[2])
""",
    LINEAR: """
from jaxbackprop.fasttext import TextClassifier
TextClassifier.train(sys.argv[1], model="linear").save_model(sys.argv[2])
""",
    SVC: """
import pickle
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

def lines(path):
    for line in open(path, encoding="utf-8", errors="surrogateescape", newline="\\n"):
        words = line.split()
        labels = [word for word in words if word.startswith("__label__")]
        yield " ".join(word for word in words if not word.startswith("__label__")), labels

texts, given = zip(*lines(sys.argv[1]))
vectorizer = TfidfVectorizer(ngram_range=(1, 2))
X = vectorizer.fit_transform(texts)
if json.loads(sys.argv[3]):
    labels = MultiLabelBinarizer()
    model = OneVsRestClassifier(LinearSVC()).fit(X, labels.fit_transform(given))
    names = list(labels.classes_)
else:
    model = LinearSVC().fit(X, [labels[0] for labels in given])
    names = list(model.classes_)
with open(sys.argv[2], "wb") as file:
    pickle.dump((vectorizer, model, names), file, protocol=5)
""",
}
PREDICT = {
    OURS: """
from jaxbackprop.fasttext import load_model
found, scores = load_model(sys.argv[1]).predict(json.load(sys.stdin), k=int(sys.argv[2]))
print(json.dumps([[list(f) for f in found], [[float(s) for s in of] for of in scores]]))
""",
    SVC: """
import pickle
import numpy as np
vectorizer, model, names = pickle.load(open(sys.argv[1], "rb"))
scores = model.decision_function(vectorizer.transform(json.load(sys.stdin)))
scores = scores if scores.ndim == 2 else np.stack([-scores, scores], 1)
best = np.argsort(-scores, 1, kind="stable")[:, : int(sys.argv[2]) if sys.argv[2] != "-1" else None]
print(json.dumps([np.array(names)[best].tolist(), np.take_along_axis(scores, best, 1).tolist()]))
""",
}
PREDICT[LINEAR] = PREDICT[OURS]


def environment(case: Compared) -> dict[str, str]:
    """The environment of a process that trains or predicts."""
    cache = str(Path(tempfile.gettempdir()) / "jaxbackprop-compiled")
    ours = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05"}
    if told := flags(case.options.get("dim", 100)):
        ours["XLA_FLAGS"] = told
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | ours


def training(program: str, case: Compared, seed: int, fasttext: str, train: str, model: str) -> list[str]:
    """The command that trains on a file and saves a model."""
    if program == FASTTEXT:
        options = [part for name, value in case.options.items() for part in (f"-{name}", str(value))]
        output = model.removesuffix(".bin")
        return [fasttext, "supervised", "-input", train, "-output", output, "-thread", "2", "-verbose", "0",
                "-seed", str(seed), *options]  # fmt: skip
    given = case.options | {"thread": 2, "seed": seed, "verbose": 0} if program == OURS else case.several_labels
    return [sys.executable, "-c", BEGIN + TRAIN[program], train, model, json.dumps(given)]


def timed(command: Sequence[str], case: Compared) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak megabytes of a process."""
    launched = [sys.executable, "-S", "-c", TIMED, *command]
    ran = subprocess.run(launched, env=environment(case), stdout=subprocess.PIPE, text=True, check=True)
    seconds, cpu, peak = json.loads(ran.stdout.splitlines()[-1])
    return seconds, cpu, peak


def accuracy(program: str, case: Compared, fasttext: str, model: str, test: str) -> float:
    """Of the best label, or the best F1 over all of them."""
    gold, texts = labelled_lines(test)
    k = "-1" if case.several_labels else "1"
    if program == FASTTEXT:
        command = [fasttext, "predict-prob", model, "-", k]
        asked = subprocess.run(command, input="\n".join(texts) + "\n", capture_output=True, text=True, check=True,
                               encoding="utf-8", errors="surrogateescape")  # fmt: skip
        lines = [line.split() for line in asked.stdout.split("\n")[: len(texts)]]
        found, scores = [line[::2] for line in lines], [[float(score) for score in line[1::2]] for line in lines]
    else:
        command = [sys.executable, "-c", "import json, sys\n" + PREDICT[program], model, k]
        asked = subprocess.run(
            command, input=json.dumps(texts), env=environment(case), stdout=subprocess.PIPE, text=True, check=True
        )
        found, scores = json.loads(asked.stdout)
    found = [labels or [""] for labels in found]  # no label for a text without a known word
    return quality(json.dumps([gold, found, [s or [0.0] for s in scores]]), multi=case.several_labels)[0]


def labelled_lines(path: str) -> tuple[list[list[str]], list[str]]:
    """The labels and the text of each line that has both."""
    gold, texts = [], []
    for line in Path(path).read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
        words = line.split()
        labels = [word for word in words if word.startswith("__label__")]
        text = " ".join(word for word in words if not word.startswith("__label__"))
        if labels and text:
            gold.append(labels)
            texts.append(text)
    return gold, texts


def written(case: Compared, data: Path, folder: Path) -> tuple[str, str]:
    """The training and the test file of a case, as plain labelled lines."""
    paths = folder / "train.txt", folder / "test.txt"
    if case.data == "docstrings":
        found = load("docstrings")
        for path, side in zip(paths, (found.train, found.test), strict=True):
            assert isinstance(side, Texts)
            lines = [
                f"{' '.join(f'__label__{label}' for label in labels)} {' '.join(text.split())}\n"
                for text, labels in zip(side.texts, side.labels, strict=True)
            ]
            path.write_text("".join(lines), encoding="utf-8")
    else:
        for path, side in zip(paths, ("train", "test"), strict=True):
            path.write_bytes(gzip.decompress((data / case.data / f"{side}.txt.gz").read_bytes()))
    if case.lines is not None:
        first = paths[0].read_bytes().split(b"\n")[: case.lines]
        paths[0].write_bytes(b"\n".join(first) + b"\n")
    return str(paths[0]), str(paths[1])


def compare(case: Compared, data: Path, fasttext: str, pairs: int) -> dict[str, Any]:
    """The programs on one case, in turn."""
    programs = PROGRAMS if case.linear else (OURS, FASTTEXT)
    rows: dict[str, list[tuple[float, float, float]]] = {program: [] for program in programs}
    accuracies: dict[str, list[float]] = {program: [] for program in programs}
    with tempfile.TemporaryDirectory() as folder:
        train, test = written(case, data, Path(folder))
        for seed in range(-1, pairs):  # before the first pair what JAX compiles is compiled once
            for program in programs if seed >= 0 else [p for p in programs if p in (OURS, LINEAR)]:
                model = str(Path(folder) / "model.bin")
                row = timed(training(program, case, max(seed, 0), fasttext, train, model), case)
                if seed < 0:
                    continue
                rows[program].append(row)
                if program in (OURS, FASTTEXT) or not accuracies[program]:
                    accuracies[program].append(accuracy(program, case, fasttext, model, test))
    result: dict[str, Any] = {"options": case.options, "measure": "best F1" if case.several_labels else "accuracy"}
    for program in programs:
        seconds, cpu, peak = map(statistics.median, zip(*rows[program], strict=True))
        result[program] = {
            "quality": statistics.fmean(accuracies[program]),
            "qualities": accuracies[program],
            "seconds": seconds,
            "CPU seconds": cpu,
            "peak MB": peak,
        }
    for ours, theirs in RIVALS.items():
        if ours in programs:
            for column, what in enumerate(("seconds", "CPU seconds")):
                ratios = [b[column] / a[column] for a, b in zip(rows[ours], rows[theirs], strict=True)]
                result[ours][f"{what}: times as fast"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return result


def claim(measured: dict[str, Any]) -> None:
    """As accurate as fastText within the spread of its seeds; the linear model's mean against LinearSVC's."""
    for row in measured.values():
        theirs = row[FASTTEXT]["qualities"]
        assert row[OURS]["quality"] >= row[FASTTEXT]["quality"] - max(max(theirs) - min(theirs), 0.01)
    if all(name in measured for name in OF_THE_MEAN):
        for what, sign in (("quality", 1), ("CPU seconds", -1)):
            ours, theirs = (
                statistics.fmean(measured[name][who][what] for name in OF_THE_MEAN) for who in (LINEAR, SVC)
            )
            assert sign * ours >= sign * theirs


def main() -> int:
    """Measure what is asked for, beside what was measured before, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(COMPARED)}")
    parser.add_argument("--fasttext", required=True, help="fastText's compiled program")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    return report_each(
        lambda name: compare(COMPARED[name], options.data, options.fasttext, options.pairs),
        claim, COMPARED, options.names,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
