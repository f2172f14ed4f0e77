"""Prediction gives fastText's labels on 100,000 documents; one text is predicted within a tenth of a millisecond.

    python experiments/text_prediction.py --fasttext PROGRAM --predict PYTHON [--data FOLDER] [--rounds N] [NAME...]

The same model, trained by fastText's own compiled program (PROGRAM, made by its Makefile), predicts the best label and
its probability of each document: by `jaxbackprop predict`, by the program's `predict-prob`, and by the package
fasttext-predict, one call a document (PYTHON has it). The documents are a test file, repeated. What is timed is the
whole process, from start to last line, with one core and with two; the programs take turns, the medians are kept.
One text: CPU time of a call of `predict` in a running process, the median of some documents, each called many times.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import report_each
from text_cases import COMPARED
from text_comparison import FASTTEXT, OURS, TIMED

PREDICT = "fasttext-predict"
DOCUMENTS = 100_000
SETS = ("imdb", "clinc150")
CORES = (1, 2)
ONE_BY_ONE = """
import sys, fasttext
model = fasttext.load_model(sys.argv[1])
for line in open(sys.argv[2], encoding="utf-8", errors="surrogateescape", newline="\\n"):
    labels, chances = model.predict(line.rstrip("\\n"))
    sys.stdout.write(f"{labels[0]} {chances[0]:.6g}\\n")
"""
LATENCY = """
import json, statistics, sys, time
from {module} import load_model
model, found = load_model(sys.argv[1]), []
texts = json.load(sys.stdin)
for text in texts:
    model.predict(text)
for text in texts:
    began = time.process_time()
    for _ in range(200):
        model.predict(text)
    found.append((time.process_time() - began) / 200)
print(statistics.median(found))
"""


def timed(command: list[str], cores: int, out: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of a process that may use so many cores; what it prints goes to a file."""
    few = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]
    shell = ["bash", "-c", 'exec "${@:2}" > "$1"', "bash", str(out), *command]
    ran = subprocess.run([*few, sys.executable, "-S", "-c", TIMED, *shell], capture_output=True, text=True, check=True)
    seconds, cpu, _ = json.loads(ran.stdout)
    return seconds, cpu


def differing(one: Path, other: Path) -> int:
    """How many lines have another label."""
    with open(one) as a, open(other) as b:
        return sum(x.split()[:1] != y.split()[:1] for x, y in zip(a, b, strict=True))


def compare(name: str, data: Path, fasttext: str, python: str, rounds: int) -> dict[str, Any]:
    """All programs on one set."""
    with tempfile.TemporaryDirectory() as folder:
        here, rows = Path(folder), {}
        train, asked, model = here / "train.txt", here / "asked.txt", str(here / "model.bin")
        train.write_bytes(gzip.decompress((data / name / "train.txt.gz").read_bytes()))
        options = [part for key, value in COMPARED[name].options.items() for part in (f"-{key}", str(value))]
        subprocess.run([fasttext, "supervised", "-input", train, "-output", here / "model", "-thread", "1", "-verbose",
                        "0", *options], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        lines = gzip.decompress((data / name / "test.txt.gz").read_bytes()).decode().splitlines()
        texts = [" ".join(word for word in line.split() if not word.startswith("__label__")) for line in lines]
        texts = (texts * (-(-DOCUMENTS // len(texts))))[:DOCUMENTS]
        asked.write_text("\n".join(texts) + "\n")
        commands = {
            OURS: [sys.executable, "-m", "jaxbackprop", "predict", model, str(asked), "--plain"],
            FASTTEXT: [fasttext, "predict-prob", model, str(asked)],
            PREDICT: [python, "-c", ONE_BY_ONE, model, str(asked)],
        }
        said = {program: here / f"{program}.txt" for program in commands}
        for cores in CORES:
            found: dict[str, list[tuple[float, float]]] = {program: [] for program in commands}
            for _ in range(rounds):
                for program, command in commands.items():
                    found[program].append(timed(command, cores, said[program]))
            for program, of in found.items():
                seconds, cpu = map(statistics.median, zip(*of, strict=True))
                rows.setdefault(program, {})[f"{cores} cores"] = {"seconds": seconds, "CPU seconds": cpu}
        for program, path in said.items():
            rows[program]["other labels"] = differing(path, said[FASTTEXT])
        some = json.dumps(texts[:20])
        for program, module in ((OURS, "jaxbackprop.fasttext"), (PREDICT, "fasttext")):
            command = [sys.executable if program == OURS else python, "-c", LATENCY.format(module=module), model]
            ran = subprocess.run(command, input=some, capture_output=True, text=True, check=True)
            rows[program]["microseconds a text"] = 1e6 * float(ran.stdout)
        return {"documents": len(texts), "bytes": asked.stat().st_size, "programs": rows}


def claim(measured: dict[str, Any]) -> None:
    """The same labels, and a short text within 0.1 ms."""
    assert all(of["programs"][OURS]["other labels"] == 0 for of in measured.values())
    assert measured["clinc150"]["programs"][OURS]["microseconds a text"] <= 100


def main() -> int:
    """Measure what is asked for, beside what was measured before, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SETS)}")
    parser.add_argument("--fasttext", required=True, help="fastText's compiled program")
    parser.add_argument("--predict", required=True, help="a Python that has the package fasttext-predict")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    return report_each(
        lambda name: compare(name, options.data, options.fasttext, options.predict, options.rounds),
        claim, SETS, options.names,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
