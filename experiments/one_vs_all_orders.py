"""One against all is learned in every order of the texts, and at a rate at which fastText's steps run off.

    python experiments/one_vs_all_orders.py [--data FOLDER] [--fasttext PYTHON]

Cooking (735 labels) in five orders: F1 at the best threshold, and what stopped a program that came to no end.
"""

import argparse
import gzip
import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from harness import report
from text_against_fasttext import ASK, OURS, THEIRS, quality, run  # pyright: ignore[reportMissingImports]
from text_cases import CASES

from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.options import FASTTEXT_NAMES

CASE = CASES["cooking, ova"]
RATES, ORDERS = (0.5, 1.0), 5
BATCHES = {"one text at a time": 1, "64 texts at a time": 64}
THREADS = {"fastText, one thread": 1, "fastText, two threads": 2}
TRAIN_OR_SAY = """
import json, sys
from {module} import train_supervised
try:
    train_supervised(**json.loads(sys.argv[1])).save_model(sys.argv[2])
except RuntimeError as stopped:
    print(stopped)
"""


def measure() -> dict[str, Any]:
    """F1 of each way to train at each rate in each order, or what stopped it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", type=Path, default=Path("../shared/data"))
    asked.add_argument("--fasttext", default=sys.executable, help="a Python that has the package fasttext")
    options = asked.parse_args()
    found: dict[str, dict[str, list[Any]]] = {way: {str(lr): [] for lr in RATES} for way in (*BATCHES, *THREADS)}
    with tempfile.TemporaryDirectory() as here:
        train, test, model = (str(Path(here) / name) for name in ("train.txt", "test.txt", "model.bin"))
        Path(test).write_bytes(gzip.decompress((options.data / CASE.data / "test.txt.gz").read_bytes()))
        lines = gzip.decompress((options.data / CASE.data / "train.txt.gz").read_bytes()).splitlines(keepends=True)
        for order in range(ORDERS):
            random.Random(order).shuffle(lines)
            Path(train).write_bytes(b"".join(lines))
            for lr in RATES:
                given = CASE.options | {"lr": lr, "seed": order}
                for way, batch in BATCHES.items():
                    settings = {FASTTEXT_NAMES.get(name, name): value for name, value in given.items()}
                    TextClassifier.train(train, batch=batch, **settings).save_fasttext(model)
                    found[way][str(lr)].append(_f1(OURS, sys.executable, model, test))
                for way, thread in THREADS.items():
                    given |= {"input": train, "thread": thread, "verbose": 0}
                    *_, stopped = run(THEIRS, options.fasttext, TRAIN_OR_SAY, json.dumps(given), model)
                    f1 = stopped.strip() or _f1(THEIRS, options.fasttext, model, test)
                    found[way][str(lr)].append(f1)
    return found


def _f1(program: str, python: str, model: str, test: str) -> float:
    *_, answer = run(program, python, ASK, model, test, "-1")
    return quality(answer, multi=True)[0]


def claim(measured: dict[str, Any]) -> None:
    """Not below two threads of fastText by more than their spread, the orders within 0.02, and no rate stops it."""
    theirs = measured["fastText, two threads"]["0.5"]
    for way in BATCHES:
        ours = measured[way]["0.5"]
        assert fmean(ours) >= fmean(theirs) - (max(theirs) - min(theirs))
        assert max(ours) - min(ours) < 0.02
        assert all(f1 > 0.3 for f1 in measured[way]["1.0"])


if __name__ == "__main__":
    report(measure, claim)
