"""A million steps of a tiny model take no more memory at their end than after a tenth; saving costs under a twentieth.

A linear classifier on 4,000 examples in minibatches of 4: 1,000 epochs of 1,000 steps, saved as `fit` saves by itself.
The memory is the process's resident set after each epoch; the time of saving is that of the thread that saves.

    python experiments/long_run.py
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from harness import report

import jaxbackprop as jbp
from jaxbackprop.training.checkpoints import Checkpoints

GROWTH = 1.02
SHARE = 0.05


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(epochs: int = 1000) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 4)).astype(np.float32)
    y = (x @ rng.normal(size=(4, 3))).argmax(1)
    memory: list[float] = []
    saves: list[float] = []
    save = Checkpoints._save

    def timed(self: Checkpoints, *arguments: Any) -> None:
        began = time.perf_counter()
        save(self, *arguments)
        saves.append(time.perf_counter() - began)

    Checkpoints._save = timed  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            model = jbp.MLP(4, [], 3, rngs=nnx.Rngs(0))
            history = jbp.fit(
                model, (x, y), batch=4, epochs=epochs, optimizer="sgd", lr=0.01, out=Path(folder) / "run",
                on_epoch=lambda _: memory.append(resident_mib()),
            )  # fmt: skip
            seconds = time.perf_counter() - began
    finally:
        Checkpoints._save = save
    return {
        "steps": history.epochs[-1].step,
        "seconds": seconds,
        "MiB after a tenth": memory[epochs // 10],
        "MiB at the end": memory[-1],
        "saves": len(saves),
        "share of the time for saving": sum(saves) / seconds,
    }


def claim(measured: dict[str, Any]) -> None:
    assert measured["MiB at the end"] < GROWTH * measured["MiB after a tenth"]
    assert measured["share of the time for saving"] < SHARE


if __name__ == "__main__":
    report(measure, claim)
