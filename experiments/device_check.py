"""On an accelerator: what it moves and multiplies, its tests, every rule verified, epochs beside flax, optax and torch.

    python experiments/device_check.py [--only SECTION ...] [--texts FOLDER]

Sections: peaks, tests, verify, epochs, fused, chunks, text. Each runs in a process of its own with a time limit; its
result is written to results/device_<name>.json before the next begins, failures included.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import RESULTS, setting

ROOT = Path(__file__).resolve().parents[1]
LIMITS = {"peaks": 60, "tests": 150, "verify": 200, "epochs": 120, "fused": 120, "chunks": 60, "text": 150}
TEXT_BATCHES = (256, 1024, 4096)
DIM, RATE = 16, 0.1
FEW, MANY = 2, 12
"""Passes of two trainings: the difference of their seconds is what passes cost, without reading and compiling."""


def seconds_of(program: Any, rounds: int = 10) -> float:
    """The median time of a compiled program, after a first run."""
    jax.block_until_ready(program())
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        jax.block_until_ready(program())
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def peaks() -> dict[str, float]:
    """Bytes a second of a copy (read and written), and operations a second of square products."""
    large = jax.default_backend() != "cpu"
    x = jnp.ones((2**29 if large else 2**24,), jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    found = {"copy, bytes a second": 2 * x.nbytes / seconds_of(lambda: copy(x))}
    n = 8192 if large else 1024
    for dtype in ("float32", "bfloat16"):
        a = jax.random.normal(jax.random.key(0), (n, n), dtype)
        product = jax.jit(lambda a: a @ a)
        found[f"{dtype} products, operations a second"] = 2 * n**3 / seconds_of(lambda a=a, f=product: f(a))
    return found


def tests() -> dict[str, Any]:
    """The tests that only an accelerator can run."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", "-rA"]
    done = subprocess.run([*command, "tests/test_gpu.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().split("\n")
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    return {"summary": lines[-1], "failed": failed, "passed": sum(line.startswith("PASSED") for line in lines)}


def verify() -> dict[str, Any]:
    """Every rule of the library, judged by the accelerator's own arithmetic."""
    from jaxbackprop.verification import verify_rules

    started, rows = time.perf_counter(), {}
    for report in verify_rules():
        rows[report.name] = {"verdict": report.verdict, "seconds": round(report.seconds, 2)}
        if not report.passed:
            rows[report.name]["report"] = str(report)
            print(report, flush=True)
    right = sum(row["verdict"] == "right" for row in rows.values())
    return {"rules": len(rows), "right": right, "seconds": time.perf_counter() - started, "each": rows}


def epochs() -> dict[str, Any]:
    """An epoch of an MLP beside the same in flax and optax, and in torch, at three batch sizes."""
    import bench_training

    bench_training.CONTENDERS.pop("torch.compile", None)  # it tunes for minutes on an accelerator
    return {str(batch): bench_training.epochs(batch, 16384, 2.0) for batch in (128, 1024, 4096)}


def fused() -> list[dict[str, Any]]:
    """The fused rules, time and temporary memory beside autodiff."""
    import bench_suite

    return [bench_suite.fused_row(case, 1.0) for case in bench_suite.fused(False)]


def measured(loss: Callable[..., Any], x: Any, W: Any, labels: Any) -> tuple[float, int]:
    """Seconds and temporary bytes of a loss with its gradients for x and W."""
    program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, W, labels).compile()
    return seconds_of(partial(program, x, W, labels)), program.memory_analysis().temp_size_in_bytes


def mean_loss(x: Any, W: Any, labels: Any, *, rule: Callable[..., Any], at_once: int) -> Any:
    return rule(x, W, labels, at_once=at_once).mean()


def chunks() -> list[dict[str, Any]]:
    """The chunked cross-entropies at several sizes of a chunk, beside autodiff of the plain function."""
    from jaxbackprop.losses import linear_cross_entropy, mean_linear_cross_entropy

    rng, rows = np.random.default_rng(0), []
    for features in (64, 256, 1024):
        x = jnp.asarray(rng.normal(size=(2048, features)), jnp.float32)
        W = jnp.asarray(rng.normal(size=(features, 32_000)) / features**0.5, jnp.float32)
        labels = jnp.asarray(rng.integers(0, 32_000, 2048))
        usual = measured(mean_linear_cross_entropy.primal, x, W, labels)
        for rule in (linear_cross_entropy, mean_linear_cross_entropy):
            for exponent in (21, 22, 24, 25, 26):
                seconds, memory = measured(partial(mean_loss, rule=rule, at_once=2**exponent), x, W, labels)
                rows.append({
                    "rule": rule.name, "features": features, "scores at once": f"2^{exponent}",
                    "time": seconds / usual[0], "memory": memory / usual[1], "autodiff seconds": usual[0],
                })  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def text() -> dict[str, Any]:
    """Passes over labelled texts on the accelerator: texts and words a second, and the accuracy on the test part."""
    from jaxbackprop.fasttext import TextClassifier

    folder = Path(os.environ["TEXTS"])
    with tempfile.TemporaryDirectory() as made:
        files = {}
        for side in ("train", "test"):
            files[side] = Path(made) / f"{side}.txt"
            with gzip.open(folder / f"{side}.txt.gz") as source, files[side].open("wb") as target:
                shutil.copyfileobj(source, target)
        words = sum(len(line.split()) for line in files["train"].open("rb"))
        texts = sum(1 for _ in files["train"].open("rb"))
        rows: dict[str, Any] = {"texts": texts, "words": words}
        for batch in TEXT_BATCHES:
            spent = {}
            for passes in (FEW, FEW, MANY):  # the first compiles
                started = time.perf_counter()
                model = TextClassifier.train(files["train"], dim=DIM, epoch=passes, lr=RATE, batch=batch)
                spent[passes] = time.perf_counter() - started
            each = (spent[MANY] - spent[FEW]) / (MANY - FEW)
            moved = 4 * DIM * words * 3  # each row is read for the mean, read and written for its update
            rows[str(batch)] = {
                "seconds a pass": each, "texts a second": texts / each, "words a second": words / each,
                "bytes of rows a second": moved / each, "accuracy": model.test(str(files["test"]))[1],
            }  # fmt: skip
            print(batch, rows[str(batch)], flush=True)
    return rows


SECTIONS = {
    "peaks": peaks, "tests": tests, "verify": verify, "epochs": epochs, "fused": fused, "chunks": chunks, "text": text,
}  # fmt: skip
ATOMICS = "--xla_backend_extra_options=-nvptx-allow-ftz-atomics"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--texts", help="a folder with train.txt.gz and test.txt.gz, lines of __label__x and words")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.section:
        print("RESULT " + json.dumps(SECTIONS[options.section](), default=str), flush=True)
        return 0
    device = re.sub(r"\W+", "_", jax.devices()[0].device_kind).strip("_").lower()
    path = options.out / f"device_{device}.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    result["setting"] = setting()
    runs = [(name, name, "") for name in options.only if name != "text" or options.texts]
    if "text" in options.only and options.texts and jax.default_backend() == "gpu":
        runs.append(("text, native atomics", "text", ATOMICS))
    failed = 0
    for title, name, flags in runs:
        started = time.perf_counter()
        environment = os.environ | {"TEXTS": options.texts or "", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
        command = [sys.executable, __file__, "--section", name]
        try:
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, timeout=LIMITS[name], check=False
            )
            printed, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            printed, status = (error.stdout or b"").decode(), "time limit"
        lines = [line for line in printed.split("\n") if line.startswith("RESULT ")]
        print("\n".join(line for line in printed.split("\n") if not line.startswith("RESULT ")), flush=True)
        found = (
            json.loads(lines[0].removeprefix("RESULT "))
            if lines
            else {"failed": str(status), "printed": printed[-4000:]}
        )
        result[title] = found
        failed += not lines
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{title}: {time.perf_counter() - started:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
