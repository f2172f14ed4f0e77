"""A text costs log2 of the labels under hs, the same under ns, in proportion to them under softmax; a word the same
until its table is larger than the caches.

    python experiments/text_cost.py            measures, and draws docs/text_cost.svg
    python experiments/text_cost.py --draw     draws what was measured

Corpora of words and labels drawn at random, each as likely as any other, rows of 16 numbers; CPU time of the
training loop alone (user and system: apart they are known to some milliseconds only), compiled before; the median run.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as `train text --loss` sets it, before JAX starts
    flag = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1048576"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
import jax
import numpy as np
from harness import DOCS, RESULTS, report

from jaxbackprop.data import Bags
from jaxbackprop.fasttext.predict.huffman import paths
from jaxbackprop.fasttext.settings import Loss, Settings
from jaxbackprop.fasttext.train.chunks import Chunker
from jaxbackprop.fasttext.train.initial_tables import initial_tables
from jaxbackprop.fasttext.train.sampler import Sampler
from jaxbackprop.fasttext.train.sequential import train_chunk
from jaxbackprop.fasttext.train.tables import Rows, Tables

PICTURE = DOCS / "text_cost.svg"
DIM, WORDS, TEXTS = 16, 20, 20_000
REPEATS, LEAST = 3, 0.5  # runs, and seconds of them in all
LABELS = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
MOST: dict[Loss, int] = {
    "hs": 1_000_000,
    "ns": 1_000_000,
    "softmax": 30_000,
}  # labels; beyond, a text takes too long to wait for
SCORES = 20_000_000  # that softmax forms in all: fewer texts where there are more labels
VOCABULARIES = (300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
MISS = 0.4  # microseconds to read a row from main memory and to write it, at most
L2 = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # of a core


def microseconds(loss: Loss, labels: int, vocabulary: int, texts: int, seed: int = 0) -> float:
    """CPU time of training on one text, once."""
    random = np.random.default_rng(seed)
    rows = Bags(random.integers(0, vocabulary, texts * WORDS).astype(np.int32), np.arange(texts + 1) * WORDS)
    gold = Bags(random.integers(0, labels, texts).astype(np.int32), np.arange(texts + 1))
    counts = np.ones(labels, np.int64)
    settings = Settings(loss=loss, dim=DIM)
    chunker = Chunker(settings, Sampler(counts, settings.neg, seed), paths(counts) if loss == "hs" else None)
    data = jax.device_put(list(chunker.of(rows, gold, np.full(texts, 0.05, np.float32))))
    tables = Tables(*map(Rows, initial_tables(vocabulary, labels, DIM, seed, None)))
    program = train_chunk.lower(tables, *data[0], loss=loss, smoothing=0.0).compile()
    taken = []
    while len(taken) < REPEATS or sum(taken) < LEAST:
        jax.block_until_ready(tables)
        begun = time.process_time()
        for part in data:
            tables, _ = program(tables, *part)
        jax.block_until_ready(tables)
        taken.append(time.process_time() - begun)
    return 1e6 * float(np.median(taken)) / texts


def measure() -> dict[str, Any]:
    """Microseconds a text against labels, by loss; nanoseconds a word against the vocabulary."""
    labels = {
        loss: {
            str(count): microseconds(loss, count, 1_000, TEXTS if loss != "softmax" else _fewer(count))
            for count in LABELS
            if count <= most
        }
        for loss, most in MOST.items()
    }
    words = {str(count): 1e3 * microseconds("ns", 10, count, TEXTS) / WORDS for count in VOCABULARIES}
    return {
        "microseconds a text against labels": labels,
        "nanoseconds a word against vocabulary": words,
        "rows in a core's cache": _rows_in_cache(),
    }


def claim(measured: dict[str, Any]) -> None:
    """The curves are those of the theory, but for what memory adds once a table is larger than the caches.

    The limits were set when first figures were there: they tell when something changes, and foretold nothing.
    """
    curves, small = measured["microseconds a text against labels"], measured["rows in a core's cache"]
    counts, cost = _points(curves["hs"])
    near = counts <= small
    slope, begin = np.polyfit(np.log2(counts[near]), cost[near], 1)
    assert np.corrcoef(np.log2(counts[near]), cost[near])[0, 1] > 0.95  # hs: in the caches a straight line over log2
    assert (cost < begin + slope * np.log2(counts) + np.log2(counts) * MISS).all()  # and a miss a node above it at most
    counts, cost = _points(curves["ns"])
    assert cost[counts <= small].max() < 1.3 * cost[counts <= small].min()  # ns: flat in the caches
    assert cost.max() < cost.min() + 6 * MISS  # the label and five samples
    counts, cost = _points(curves["softmax"])
    large = counts >= 1_000
    assert 0.8 < np.polyfit(np.log(counts[large]), np.log(cost[large]), 1)[0] < 1.3  # softmax: in proportion
    counts, cost = _points(measured["nanoseconds a word against vocabulary"])
    assert cost[counts <= small].max() < 1.3 * cost[counts <= small].min()  # words: flat in the caches
    assert cost.max() < cost.min() + 1e3 * MISS


def _rows_in_cache() -> int:
    """So many rows are as large as the cache a core has to itself, half a megabyte where that is not told."""
    size = L2.read_text().strip() if L2.is_file() else "512K"
    return int(size.rstrip("K")) * 1024 // (4 * DIM)


def _fewer(labels: int) -> int:
    return min(TEXTS, max(SCORES // labels, 100))


def _points(curve: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([int(count) for count in curve]), np.array(list(curve.values()))


def draw(measured: dict[str, Any]) -> None:
    """Both curves, beside those of the theory."""
    from matplotlib.figure import Figure

    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for loss, curve in measured["microseconds a text against labels"].items():
        counts, cost = _points(curve)
        (line,) = left.loglog(counts, cost, marker="o", label=loss)
        if loss == "hs":
            near = counts <= measured["rows in a core's cache"]
            slope, begin = np.polyfit(np.log2(counts[near]), cost[near], 1)
            left.loglog(
                counts, begin + slope * np.log2(counts), "--", color=line.get_color(), label="a + b log2 labels"
            )
        if loss == "softmax":
            left.loglog(counts[3:], cost[-1] * counts[3:] / counts[-1], "--", color=line.get_color(), label="b labels")
    right.text(measured["rows in a core's cache"], 3, " a core's cache", fontsize="small", color="gray")
    left.set(title=f"a text of {WORDS} words, rows of {DIM}", xlabel="labels", ylabel="microseconds a text")
    left.legend(fontsize="small")
    right.semilogx(*_points(measured["nanoseconds a word against vocabulary"]), marker="o")
    right.set(title="a word, read and written", xlabel="rows of the input table", ylabel="nanoseconds", ylim=(0, None))
    for axis in (left, right):
        axis.axvline(measured["rows in a core's cache"], color="gray", linewidth=0.8)
        axis.grid(alpha=0.3)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    kept = RESULTS / "text_cost.json"
    if "--draw" in sys.argv:
        draw(json.loads(kept.read_text())["measured"])
    else:
        try:
            report(measure, claim)
        finally:
            draw(json.loads(kept.read_text())["measured"])
