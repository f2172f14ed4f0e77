"""The fused rules save what they promise, no rule costs more than autodiff, and an epoch is faster than its peers'.

    python experiments/bench_suite.py [--quick] [--only rules|fused|epochs|text|costs] [--against CONTENDER]

With --against, epochs are measured of this library and that contender alone, and its ratios join those on file.

Writes results/bench_<device>[_quick].json, section by section, and then the tables and plots (bench_tables.py).
"""

import argparse
import gzip
import json
import re
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import bench_tables
import bench_training
import jax
import text_against_fasttext
from bench_cases import Case, fused
from harness import RESULTS, setting
from text_cases import Case as TextCase

from jaxbackprop.benchmarking import Benchmark, bench_rules
from jaxbackprop.data import Texts, load

PEERS = ("torch", "flax", "optax", "fasttext", "fasttext-wheel")
TEXT = TextCase("docstrings", {"lr": 0.5, "dim": 10, "epoch": 25, "wordNgrams": 2})


def installed() -> dict[str, str]:
    """The versions of the peers that are installed."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fused_row(case: Case, seconds: float) -> dict[str, Any]:
    """What a case measured, beside what was expected of it."""
    found = case.run(seconds)
    rival = found.row(case.rival)
    return {
        "case": case.name,
        "against": rival.name,
        "time": rival.time_ratio,
        "interval": rival.time_interval,
        "within noise": rival.within_noise,
        "memory": rival.memory_ratio,
        "expected": {"time": case.time, "memory": case.memory},
        "rows": json.loads(found.to_json())["rows"],
    }


def rule_rows(found: Benchmark) -> list[dict[str, Any]]:
    """One row a size: by hand against plain autodiff."""
    made = []
    for size in found.sizes:
        hand, plain = found.row("by hand", size), found.row("autodiff", size)
        made.append({
            "rule": found.name, "size": size, "seconds": hand.seconds, "time": plain.time_ratio,
            "interval": plain.time_interval, "within noise": plain.within_noise, "memory": plain.memory_ratio,
            "bytes": [hand.temporary_bytes, plain.temporary_bytes], "error": hand.error,
            "residuals": [hand.residual_bytes, plain.residual_bytes],
        })  # fmt: skip
    return made


def beside_fasttext(pairs: int) -> dict[str, Any]:
    """Whole processes, reading and saving included, on the built-in texts; {} where fastText is not installed."""
    if not find_spec("fasttext"):
        return {}
    found = load(TEXT.data)
    assert isinstance(found.train, Texts)
    assert isinstance(found.test, Texts)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / TEXT.data).mkdir()
        for name, side in (("train", found.train), ("test", found.test)):
            with gzip.open(Path(folder) / TEXT.data / f"{name}.txt.gz", "wt", encoding="utf-8") as file:
                pairs_of = zip(side.labels, side.texts, strict=True)
                file.writelines(f"__label__{label} {text}\n" for (label,), text in pairs_of)
        pythons: dict[str, str] = {}
        for program in (text_against_fasttext.OURS, text_against_fasttext.THEIRS):
            pythons[program] = sys.executable
        return text_against_fasttext.compare(TEXT, Path(folder), pythons, pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, a few minutes on two cores")
    parser.add_argument("--only", choices=("rules", "fused", "epochs", "text", "costs"), help="one section alone")
    parser.add_argument("--against", choices=[*bench_training.CONTENDERS], help="with --only epochs: one rival alone")
    options = parser.parse_args()
    quick = options.quick
    device = re.sub(r"\W+", "_", jax.devices()[0].device_kind).strip("_").lower()
    path = RESULTS / f"bench_{device}{'_quick' * quick}.json"
    result = json.loads(path.read_text()) if options.only and path.exists() else {}
    result |= {"setting": setting() | {"quick": quick}, "peers": result.get("peers", {}) | installed()}

    def keep(section: str, value: Any) -> None:
        result[section] = value
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1, default=str) + "\n")
        print(f"{section}: done", flush=True)

    sections = [options.only] if options.only else ["fused", "epochs", "text", "costs", "rules"]
    if "fused" in sections:
        keep("fused", [fused_row(case, 1.0 if quick else 6.0) for case in fused(quick)])
    if "epochs" in sections:
        batches, examples = ((8, 128), 2048) if quick else ((8, 32, 128, 512, 2048, 4096), 16384)
        names = [options.against] if options.against else [*bench_training.CONTENDERS]
        measured = {str(b): bench_training.epochs(b, examples, 3.0 if quick else 12.0, names) for b in batches}
        if options.against and "epochs" in result:  # each ratio is paired with our own epochs of its run
            for batch, row in result["epochs"].items():
                row[options.against] = measured[batch][options.against] | {"apart": True}
            measured = result["epochs"]
        keep("epochs", measured)
    if "text" in sections:
        keep("text", beside_fasttext(3 if quick else 9))
    if "costs" in sections:
        keep("costs", bench_training.costs(2048, 1.0 if quick else 10.0))
    if "rules" in sections:
        keep("rules", [row for found in bench_rules(quick=quick) for row in rule_rows(found)])
    bench_tables.draw(result, path.stem)
    print(bench_tables.markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
