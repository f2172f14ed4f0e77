"""The defaults of `train text` lose nothing on held-out training data of four sets, beside each set's own flax module.

    python experiments/text_defaults.py [FOLDER OF THE DATA SETS] [CANDIDATE...]

Nothing here reads a test file. Each set's training texts are cut into five parts; a candidate is trained on four and
scored on the fifth, on as many of the five as the set's size allows. The docstrings are cut by module, as their test
set is. The reference is the flax module `BagOfWords`, trained by `fit` with the settings that `train text` had for that
set when it trained that. Of the candidates that are below the reference on no set, the one that gains most in the mean
is the default. Candidates that are named are measured alone, and added to the figures there are.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as `train text` sets it, before JAX starts
    flag = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1048576"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
import numpy as np
from flax import nnx
from harness import RESULTS, setting

from jaxbackprop.data import Bags, Texts, load
from jaxbackprop.data.docstrings import modules
from jaxbackprop.fasttext.corpus.corpus import Corpus
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.predict.predictor import Predictor
from jaxbackprop.fasttext.presets import with_defaults
from jaxbackprop.fasttext.settings import Settings
from jaxbackprop.fasttext.train.loop import train
from jaxbackprop.models import BagOfWords
from jaxbackprop.training import evaluate, fit

DATA = Path("../shared/data")
PARTS = 5
SETS = {"docstrings": 5, "trec": 5, "clinc150": 2, "imdb": 1}
"""How many of the five parts are held out, one after another."""
REFERENCE: dict[str, dict[str, Any]] = {
    "docstrings": {},
    "trec": {},
    "clinc150": {"dim": 50},
    "imdb": {"batch": 256, "epochs": 4},
}
NGRAMS, BUCKET = 2, 200_000
CANDIDATES: dict[str, dict[str, Any]] = {
    f"bucket {bucket}, dim {dim}, lr {lr}, epochs {epoch}, idf {idf:g}, smoothing {smoothing:g}": {
        "bucket": bucket, "dim": dim, "lr": lr, "epoch": epoch, "idf": idf, "smoothing": smoothing, "shuffle": True,
    }
    for bucket, dims, rates, exponents, smoothings in (
        (BUCKET, (16, 50), ((0.25, 8), (0.25, 15), (0.5, 8), (0.5, 15)), (1.0, 2.0, 3.0), (0.0, 0.05)),
        (BUCKET, (50, 100), ((0.35, 8), (0.35, 12), (0.5, 8), (0.5, 12)), (1.5, 2.0), (0.05, 0.1)),
        (BUCKET, (50, 100), ((0.75, 8), (0.75, 12)), (1.5, 2.0), (0.05, 0.1)),
        (500_000, (50, 64), ((0.35, 12), (0.5, 8)), (2.0,), (0.05,)),
        (1_000_000, (50,), ((0.35, 12), (0.5, 8)), (2.0,), (0.05,)),
    )
    for dim in dims
    for lr, epoch in rates
    for idf in exponents
    for smoothing in smoothings
}  # fmt: skip
"""The larger tables were added after the smaller ones were measured."""


def parts_of(name: str, data: Path) -> Iterator[tuple[Texts, Texts]]:
    """(trained on, held out), for each part of a set's training texts that is held out."""
    texts = load(name if name == "docstrings" else data / name / "train.txt.gz", kind="texts").train
    assert isinstance(texts, Texts)
    if name == "docstrings":
        module = {sentence: path for found in modules().values() for path, said in found.items() for sentence in said}
        part = np.array([zlib.crc32(module[text].encode()) % PARTS for text in texts.texts])
    else:
        part = np.random.default_rng(0).permutation(len(texts)) % PARTS
    for held_out in range(SETS[name]):
        yield texts.take(np.flatnonzero(part != held_out)), texts.take(np.flatnonzero(part == held_out))


def encoded(pair: tuple[Texts, Texts], bucket: int) -> tuple[Vocabulary, list[tuple[Bags, Bags]]]:
    """The vocabulary of what is trained on, and the rows and labels of both sides."""
    vocabulary = Vocabulary.build(pair[0], word_ngrams=NGRAMS, bucket=bucket)
    sides = []
    for side in pair:
        rows, labels = vocabulary.encode(side), vocabulary.encode_labels(side, unknown="drop")
        usable = np.flatnonzero((rows.lengths > 0) & (labels.lengths > 0))
        sides.append((rows.take(usable), labels.take(usable)))
    return vocabulary, sides


def candidate(parts: list, settings: dict[str, Any]) -> tuple[int, int]:
    """How many held-out texts were right, of how many, over all parts."""
    right = total = 0
    for vocabulary, (trained, (rows, gold)) in parts:
        model = train(Corpus(vocabulary, len(trained[0]), [trained]), Settings(word_ngrams=NGRAMS, **settings))
        right += int((Predictor(model).best(rows).labels == gold.ids).sum())
        total += len(rows)
    return right, total


def reference(parts: list, settings: dict[str, Any]) -> tuple[int, int]:
    """The same of the flax module, whose table has the rows that training names."""
    chosen = {"dim": 10, "epochs": 10, "batch": 64, **settings}
    right = total = 0
    for vocabulary, ((rows, labels), (held_out, gold)) in parts:
        used = np.unique(rows.ids)
        dim = chosen.pop("dim") if "dim" in chosen else 10
        model = BagOfWords(len(used), dim, len(vocabulary.labels), rngs=nnx.Rngs(0))
        fit(model, (among(used, rows), labels.ids), optimizer="adam", lr=0.03, schedule="linear", **chosen)
        right += int((evaluate(model, (among(used, held_out), gold.ids)).predicted == gold.ids).sum())
        total += len(held_out)
        chosen["dim"] = dim
    return right, total


def among(used: np.ndarray, bags: Bags) -> Bags:
    """Rows numbered by their place among those that are used; others are left out."""
    at = np.searchsorted(used, bags.ids)
    known = used[np.minimum(at, len(used) - 1)] == bags.ids
    return Bags(at[known], np.concatenate([[0], np.cumsum(known)])[bags.offsets])


def measure(data: Path, names: list[str], before: dict[str, Any]) -> dict[str, Any]:
    """For each set the reference's accuracy and each candidate's, added to what was measured before."""
    measured = {name: before.get(name, {"reference": None, "candidates": {}}) for name in SETS}
    for name in SETS:
        row, parts = measured[name], {BUCKET: [encoded(pair, BUCKET) for pair in parts_of(name, data)]}
        row["held out"] = sum(len(sides[1][0]) for _, sides in parts[BUCKET])
        if row["reference"] is None:
            right, total = reference(parts[BUCKET], REFERENCE[name])
            row["reference"] = right / total
            print(f"{name}: reference {right / total:.2%}", flush=True)
        for which in names:
            began, bucket = time.process_time(), CANDIDATES[which]["bucket"]
            if bucket not in parts:
                parts = {bucket: [encoded(pair, bucket) for pair in parts_of(name, data)]}
            right, total = candidate(parts[bucket], CANDIDATES[which])
            row["candidates"][which] = right / total
            print(f"{name}: {which}: {right / total:.2%}, {time.process_time() - began:.0f} s", flush=True)
    return measured


def gains(measured: dict[str, Any]) -> dict[str, list[float]]:
    """For each candidate that all sets have, its gain over the reference on each."""
    common = set.intersection(*(set(row["candidates"]) for row in measured.values()))
    return {
        which: [row["candidates"][which] - row["reference"] for row in measured.values()]
        for which in CANDIDATES
        if which in common
    }


def best_of(all_gains: dict[str, list[float]]) -> str:
    """The candidate that gains most in the mean, of those that lose on no set."""
    return max((which for which in all_gains if min(all_gains[which]) >= 0), key=lambda which: sum(all_gains[which]))


def claim(measured: dict[str, Any]) -> None:
    """The package's defaults are the best candidate, and there is one that loses on no set."""
    all_gains, defaults = gains(measured), with_defaults({})
    assert any(min(gain) >= 0 for gain in all_gains.values())
    chosen = CANDIDATES[best_of(all_gains)]
    assert {name: defaults[name] for name in chosen} == chosen


def main() -> int:
    """Measure what is asked for, keep it beside what was measured before, and judge."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    path = RESULTS / "text_defaults.json"
    before = json.loads(path.read_text())["measured"] if path.exists() else {}
    measured = measure(folder, sys.argv[2:] or list(CANDIDATES), before)
    all_gains = gains(measured)
    try:
        claim(measured)
        holds = True
    except AssertionError:
        holds = False
    text = (__doc__ or "").partition("\n")[0]
    result = {"claim": text, "holds": holds, "measured": measured, "setting": setting()}
    path.write_text(json.dumps(result, indent=1) + "\n")
    for which in sorted(all_gains, key=lambda which: (min(all_gains[which]) < 0, -sum(all_gains[which])))[:5]:
        each = ", ".join(f"{name} {gain:+.2%}" for name, gain in zip(SETS, all_gains[which], strict=True))
        print(f"{which}: {each}")
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {text}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
