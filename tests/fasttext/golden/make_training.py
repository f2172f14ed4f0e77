"""Writes training.json with fastText 0.9.2 (`pip install fasttext-wheel==0.9.2`): tables before and after a training,
and the words and labels in the order of their rows.

`python make_training.py` writes it anew: one thread, lines of equal length, over which the rate falls evenly, and the
rate set anew at every line. Not for ns, whose negative samples are drawn by fastText's own generator.
"""

import json
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

fasttext: Any = import_module("fasttext")

SETTINGS = {"dim": 5, "wordNgrams": 2, "bucket": 20}
TRAINED = {"lr": 0.2, "epoch": 4}


def lines():
    """Sixty lines of a label and eight words that lean to it."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        label = "abc"[rng.choice(3, p=[0.6, 0.3, 0.1])]
        words = [f"{label if rng.random() < 0.4 else 'w'}{rng.integers(6)}" for _ in range(8)]
        yield f"__label__{label} {' '.join(words)}"


def main():
    """Write everything."""
    text, losses, known = list(lines()), {}, {}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(text) + "\n")
        file.flush()
        for loss in ("softmax", "hs", "ova"):
            given = {"input": file.name, "thread": 1, "loss": loss, "lrUpdateRate": 1, "verbose": 0, **SETTINGS}
            begun = fasttext.train_supervised(**given, lr=1e-30, epoch=1)
            ended = fasttext.train_supervised(**given, **TRAINED)
            tables = {"first": begun.get_input_matrix(), "input": ended.get_input_matrix(),
                      "output": ended.get_output_matrix()}  # fmt: skip
            losses[loss] = {name: [[float(f"{x:.9g}") for x in row] for row in table] for name, table in tables.items()}
            known = {"words": begun.words, "labels": begun.labels}
    found = {"lines": text, **known, "settings": SETTINGS | TRAINED, "losses": losses}
    path = Path(__file__).parent / "training.json"
    path.write_text(json.dumps(found, separators=(",", ":")).replace('"],', '"],\n').replace("]],", "]],\n") + "\n")


if __name__ == "__main__":
    fasttext.FastText.eprint = lambda _: None
    main()
