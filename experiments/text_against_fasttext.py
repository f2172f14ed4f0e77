"""The text classifier is as accurate as fastText 0.9.2 and faster, start, reading and saving the model included.

    python experiments/text_against_fasttext.py [--data FOLDER] [--pairs N] [--fasttext PYTHON] [NAME...]

Each run is a process of its own that reads the text, trains with two threads, and saves a .bin; the two programs take
turns with seeds 0, 1, 2, ..., and what is quoted is the median of the pairs' ratios. What was compiled, Python's
bytecode included, is kept from pair to pair, JAX is told how to compile short loops, and the process seldom
searches for garbage: as with the command `train text`. Accuracy is asked of the saved model afterwards, untimed; one
pair is one seed, five by default. The programs that train/compile_cache.py keeps save 0.15 s of CPU time a process
beside JAX's own cache, which must trace a program to find it: a tenth of TREC's whole process, less of longer ones.
`--fasttext` names a Python that has the package fasttext (by default this one); its process imports nothing else.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import RESULTS, setting
from text_cases import CASES, Case

from jaxbackprop.fasttext.train.row_loops import flags

OURS, THEIRS = "jaxbackprop", "fasttext"
TRAIN = """
import atexit, gc, json, sys
gc.set_threshold(100_000)
atexit.register(gc.freeze)
from {module} import train_supervised
options = json.loads(sys.argv[1])
train_supervised(**options).save_model(sys.argv[2])
# Its own peak: what a parent is told of a child is at least what the parent took itself.
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
ASK = """
import json, sys
from {module} import load_model
model, right, asked = load_model(sys.argv[1]), [], []
lines = open(sys.argv[2], encoding="utf-8", errors="surrogateescape").read().split("\\n")
for line in lines:
    words = line.split()
    labels = [word for word in words if word.startswith("__label__")]
    text = " ".join(word for word in words if not word.startswith("__label__"))
    if labels and text:
        right.append(labels)
        asked.append(text)
found, chances = model.predict(asked, k=int(sys.argv[3]))
print(json.dumps([right, [list(f) for f in found], [[float(c) for c in p] for p in chances]]))
"""


def run(program: str, python: str, source: str, *arguments: str, told: str = "") -> tuple[float, float, str]:
    """Seconds, CPU seconds and output of a process whose JAX is `told` some flags."""
    before, cache = time.perf_counter(), str(Path(tempfile.gettempdir()) / "jaxbackprop-compiled")
    settings = {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05"}
    settings |= {"XLA_FLAGS": told} if told else {}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [python, "-c", source.format(module=program), *arguments], stdout=said, env=environment | settings
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - before
        if status:
            raise RuntimeError(f"{program} ended with {status}; its message is above.")
        said.seek(0)
        return seconds, used.ru_utime + used.ru_stime, said.read()


def quality(answer: str, *, multi: bool) -> tuple[float, ...]:
    """Precision at 1; or F1, precision and recall of all labels above the threshold at which F1 is best.

    A threshold lies between two probabilities: those that are equal (fastText's sigmoid has 512 values) pass together.
    """
    asked = list(zip(*json.loads(answer), strict=True))
    if not multi:
        return (statistics.fmean(found[0] in right for right, found, _ in asked),)
    pairs = [
        (chance, label in right)
        for right, found, chances in asked
        for label, chance in zip(found, chances, strict=True)
    ]
    positives = sum(len(right) for right, _, _ in asked)
    chances, hits = np.array(sorted(pairs, reverse=True)).T
    last = np.append(np.flatnonzero(np.diff(chances)), len(chances) - 1)
    count, hit = last + 1, np.cumsum(hits)[last]
    f1 = 2 * hit / (count + positives)
    best = f1.argmax()
    return float(f1[best]), float(hit[best] / count[best]), float(hit[best] / positives)


def compare(case: Case, folder: Path, pythons: dict[str, str], pairs: int) -> dict[str, Any]:
    """Both programs on one case, in turn."""
    with tempfile.TemporaryDirectory() as here:
        files = {}
        for side in ("train", case.test):
            files[side] = str(Path(here) / f"{side}.txt")
            with gzip.open(folder / case.data / f"{side}.txt.gz", "rb") as packed, open(files[side], "wb") as plain:
                shutil.copyfileobj(packed, plain)
        rows: dict[str, list[tuple[float, float, int, tuple[float, ...]]]] = {OURS: [], THEIRS: []}
        for seed in range(-1, pairs):  # the first pair warms the machine's and the compiler's caches
            for program, python in pythons.items():
                options = case.options | {"input": files["train"], "thread": 2, "seed": max(seed, 0), "verbose": 0}
                model = str(Path(here) / f"{program}.bin")
                seconds, cpu, peak = run(
                    program, python, TRAIN, json.dumps(options), model, told=flags(case.options.get("dim", 100))
                )
                if seed >= 0:
                    *_, answer = run(program, python, ASK, model, files[case.test], "-1" if case.multi else "1")
                    rows[program].append((seconds, cpu, int(peak) * 1024, quality(answer, multi=case.multi)))
    ratios = [theirs[0] / ours[0] for ours, theirs in zip(rows[OURS], rows[THEIRS], strict=True)]
    accuracies = {program: list(zip(*(row[3] for row in of), strict=True)) for program, of in rows.items()}
    as_accurate = [
        statistics.fmean(ours) >= statistics.fmean(theirs) - (max(theirs) - min(theirs))
        for ours, theirs in zip(accuracies[OURS], accuracies[THEIRS], strict=True)
    ]
    others = ("precision", "recall") if case.multi else ()
    peak = {program: statistics.median(row[2] for row in of) / 1e6 for program, of in rows.items()}
    return {
        "options": case.options,
        "times as fast": statistics.median(ratios),
        "from": min(ratios),
        "to": max(ratios),
        "fast enough": statistics.median(ratios) >= (case.speed or 0),
        "wanted": case.speed,
        "small enough": case.memory is None or peak[OURS] <= peak[THEIRS] + case.memory,
        "measure": "F1 at the best threshold" if case.multi else "P@1",
        "as accurate": all(as_accurate),
        **{
            program: {
                "seconds": statistics.median(row[0] for row in of),
                "CPU seconds": statistics.median(row[1] for row in of),
                "peak MB": peak[program],
                "accuracy": statistics.fmean(accuracies[program][0]),
                "accuracies": accuracies[program][0],
                **dict(zip(others, accuracies[program][1:], strict=True)),
            }
            for program, of in rows.items()
        },
    }


def main() -> int:
    """Measure what is asked for, beside what was measured before, and judge."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}")
    asked.add_argument("--data", type=Path, default=Path("../shared/data"))
    asked.add_argument("--pairs", type=int, default=5)
    asked.add_argument("--fasttext", default=sys.executable, help="a Python that has the package fasttext")
    options = asked.parse_args()
    pythons = {OURS: sys.executable, THEIRS: options.fasttext}
    here = setting()
    path = RESULTS / f"text_against_fasttext_jax_{here['jax'].replace('.', '_')}.json"
    measured = json.loads(path.read_text())["measured"] if path.exists() else {}
    for name in options.names or CASES:
        measured[name] = compare(CASES[name], options.data, pythons, options.pairs)
        print(f"{name}: {said(measured[name])}", flush=True)
        holds = all(row[asked] for row in measured.values() for asked in ("as accurate", "fast enough", "small enough"))
        result = {"claim": (__doc__ or "").partition("\n")[0], "holds": holds, "measured": measured, "setting": here}
        path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def said(row: dict[str, Any]) -> str:
    """A case's result as a line."""
    return (
        f"{row['times as fast']:.2f} times as fast ({row['from']:.2f} to {row['to']:.2f}), {row['measure']} "
        f"{row[OURS]['accuracy']:.4f} against {row[THEIRS]['accuracy']:.4f}, "
        f"peak {row[OURS]['peak MB']:.0f} MB against {row[THEIRS]['peak MB']:.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
