"""Runs that are killed or stopped anywhere are resumed to the bits of one that never was.

An MLP and a text classifier by the commands, and an own model with an own loss on a loader by `fit`. Each run is cut
off at a random event: a step, the beginning or end of writing a checkpoint, the saving of the model, or up to 20 ms
after it; by SIGKILL, SIGTERM or SIGINT. Every process is a fork of one that has imported everything and computed
nothing.

    python experiments/crash_test.py [--seconds 240]

goes on where the call before has ended, for so many seconds at most, with one kind of run and one signal.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
from harness import RESULTS, report_each

import jaxbackprop as jbp
from jaxbackprop.cli import main
from jaxbackprop.fasttext.run import RunFolder
from jaxbackprop.fasttext.train import chunks, loop  # noqa: F401  (so is what trains texts)
from jaxbackprop.fasttext.train.checkpoints import storage
from jaxbackprop.training import checkpoints, data_source, fitting
from jaxbackprop.training.content_hashes import of_file

KINDS = ("mlp", "own model", "text")
TRIALS = {"SIGKILL": 20, "SIGTERM": 7, "SIGINT": 4}
KNOWN = [f"{kind}, {name}" for kind in KINDS for name in TRIALS]
DELAY = 0.02
JAX_CACHE = "compiled"


class Net(nnx.Module):
    """Not one of the library's models: its loss is given to `fit`."""

    def __init__(self, rngs: nnx.Rngs):
        self.first, self.drop, self.last = (
            nnx.Linear(4, 8, rngs=rngs),
            nnx.Dropout(0.2, rngs=rngs),
            nnx.Linear(8, 2, rngs=rngs),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.drop(jax.nn.tanh(self.first(x))))


def squared_error(model: Net, x: jax.Array, y: jax.Array) -> Any:
    error = model(x) - y
    return (error**2).sum(-1), {"absolute error": jnp.abs(error)}


def minibatches(epoch: int) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    y = x[:, :2] * x[:, 2:]
    rows = np.random.default_rng(epoch).permutation(60)
    return ((x[rows[i : i + 8]], y[rows[i : i + 8]]) for i in range(0, 60, 8))


def write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for side, size in (("train", 90), ("test", 30)):
        rows = rng.normal(size=(size, 2))
        lines = ["left,right,label", *(f"{a},{b},{'left' if a > b else 'right'}" for a, b in rows)]
        (folder / f"{side}.csv").write_text("\n".join(lines) + "\n")
        words = {"warm": "sun heat fire summer sand".split(), "cold": "snow ice frost winter wind".split()}
        texts = [f"__label__{name} " + " ".join(rng.choice(words[name], 3)) for name in rng.choice([*words], size)]
        (folder / f"{side}.txt").write_text("\n".join(texts) + "\n")


def train(kind: str, out: Path, *, resume: bool) -> None:
    """One run, or its continuation; ends as a process ends."""
    if kind == "own model":
        model = Net(nnx.Rngs(0))
        jbp.fit(model, minibatches, loss=squared_error, epochs=4, valid=next(minibatches(0)), out=out, resume=resume)
        return
    test = ["--test-data", "test.csv" if kind == "mlp" else "test.txt"]
    if resume:
        main(["resume", str(out)])
    elif kind == "mlp":
        main(["train", "mlp", "--data", "train.csv", *test, "--hidden", "8", "--epochs", "4", "--out", str(out)])
    else:
        small = ["--dim", "4", "--bucket", "50", "--epochs", "4", "--valid", "0.2", "--checkpoint-seconds", "1e-9"]
        main(["train", "text", "--data", "train.txt", *test, *small, "--out", str(out)])


def watch(event: Callable[[str], None]) -> None:
    """Call `event` at each step and around each write; checkpoints are written after every chunk."""

    def around(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def watched(*arguments: Any, **settings: Any) -> Any:
            event(f"begin {name}")
            result = function(*arguments, **settings)
            event(f"end {name}")
            return result

        setattr(owner, name, watched)

    for owner, name in ((checkpoints.Checkpoints, "_write"), (checkpoints.Checkpoints, "_remove_old"),
                        (storage.Checkpoints, "keep"), (RunFolder, "write"), (RunFolder, "record"),
                        (RunFolder, "forget_after"), (jbp.fasttext.TextClassifier, "save_model"),
                        (fitting._Loop, "_add"), (fitting._Loop, "_end_epoch")):  # fmt: skip
        around(owner, name)
    checkpoints.Checkpoints.due = lambda self: True
    chunks.TEXTS = 16
    data_source.SECONDS = 0.0  # chunks of one step


def child(kind: str, out: Path, *, resume: bool, at: int = -1, number: int = 0, delay: float = 0.0) -> int:
    """Fork, train, send the signal at event `at`; the exit status, negative where a signal ended the process.

    The number of events is written to the file `events`.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(status)
    code, count = 1, 0
    try:
        log = os.open(f"{out.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        jax.config.update("jax_compilation_cache_dir", str(Path(JAX_CACHE).absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

        def event(name: str) -> None:
            nonlocal count
            if count == at:
                if delay:
                    threading.Timer(delay, os.kill, (os.getpid(), number)).start()
                else:
                    os.kill(os.getpid(), number)
            count += 1

        watch(event)
        train(kind, out, resume=resume)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except KeyboardInterrupt:
        code = 130
    finally:
        if at < 0:
            Path("events").write_text(str(count))
        os._exit(code)


def result(kind: str, out: Path) -> dict[str, Any]:
    """What a run came to: the hash of its model, the losses of its epochs."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "examples_per_second", "steps_per_second")
    timeless = [{k: v for k, v in line.items() if k not in times} for line in lines]
    if kind == "text":
        model = hashlib.sha256((out / "model.bin").read_bytes()).hexdigest()
    else:
        newest = max(int(path.stem) for path in (out / "checkpoints" / "last").glob("*.json"))
        about = json.loads((out / "checkpoints" / "last" / f"{newest}.json").read_text())
        model = of_file(out / "checkpoints" / "best" / f"{about['best_epoch']}.npy")
    tested = json.loads((out / "test.json").read_text()) if (out / "test.json").exists() else None
    return {"model": model, "epochs": timeless, "test": tested}


def measure(name: str, before: Mapping[str, Any], trials: int, until: float = float("inf")) -> dict[str, Any]:
    """Of a kind of run and a signal: trials, those that were cut off, and those with the bits of a whole run.

    Args:
        name: the kind and the signal.
        before: what was measured before; each trial draws where it is cut off from its own number.
        trials: how many in all.
        until: when no other is begun, as `time.monotonic` has it.
    """
    kind, _, of_signal = name.partition(", ")
    row: dict[str, Any] = {"trials": 0, "cut off": 0, "same bits": 0, "wrong": [], **before}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_data(Path(folder))
        whole = Path(f"whole-{kind.replace(' ', '-')}")
        if child(kind, whole, resume=False):
            raise RuntimeError(Path(f"{whole}.log").read_text())
        expected, events = result(kind, whole), int(Path("events").read_text())
        while row["trials"] < trials and time.monotonic() < until:
            rng = random.Random(f"{name} {row['trials']}")
            out = Path("cut")
            shutil.rmtree(out, ignore_errors=True)
            Path("cut.log").unlink(missing_ok=True)
            at, delay = rng.randrange(events), rng.choice([0.0, rng.uniform(0, DELAY)])
            status = child(kind, out, resume=False, at=at, number=signal.Signals[of_signal], delay=delay)
            begun = (out / "config.json").exists()
            again = child(kind, out, resume=begun) if status else 0
            if status and again == 2 and "finished" in Path("cut.log").read_text().splitlines()[-2:][0]:
                again = 0  # it was cut off after its end
            right = again == 0 and result(kind, out) == expected
            row["trials"] += 1
            row["cut off"] += status != 0
            row["same bits"] += right
            if not right:
                row["wrong"].append({"event": at, "delay": delay, "status": status, "again": again,
                                     "log": Path("cut.log").read_text()[-600:]})  # fmt: skip
    return row


def claim(measured: dict[str, Any]) -> None:
    for name, row in measured.items():
        assert row["trials"] >= TRIALS[name.partition(", ")[2]], f"{name}: not all was measured"
        assert row["same bits"] == row["trials"], f"{name}: {row['wrong']}"
        assert row["cut off"] > row["trials"] / 2, name


def measure_what_is_left() -> int:
    """The first kind and signal of which trials are left; the next call has the next, for JAX has begun in this one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float("inf"))
    until = time.monotonic() + parser.parse_args().seconds
    path = RESULTS / "crash_test.json"
    rows = json.loads(path.read_text())["measured"] if path.exists() else {}
    for name in KNOWN:
        row, trials = rows.get(name, {}), TRIALS[name.partition(", ")[2]]
        if row.get("trials", 0) < trials:
            return report_each(functools.partial(measure, before=row, trials=trials, until=until), claim, KNOWN, [name])
    return 0


if __name__ == "__main__":
    sys.exit(measure_what_is_left())
