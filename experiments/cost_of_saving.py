"""A checkpoint every 100 steps makes a run of MNIST's size less than 3 % longer.

An MLP 784-512-512-10 with Adam, minibatches of 128, 400 steps an epoch; eight megabytes a checkpoint. The same training
without a folder and with one, in turn, in one process; of each the time from the first epoch's end to the last's, as
seconds on the clock and as CPU seconds of all threads, which other processes on the machine disturb less.

    python experiments/cost_of_saving.py
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from harness import report

import jaxbackprop as jbp
from jaxbackprop.training.checkpoints import Checkpoints

STEPS, BATCH, EVERY = 400, 128, 100
MOST = 1.03


def seconds(x: np.ndarray, y: np.ndarray, epochs: int, out: Path | None) -> tuple[float, float]:
    """On the clock, and of the CPU."""
    at: list[tuple[float, float]] = []
    saving = {} if out is None else {"out": out, "save_every": EVERY}
    jbp.fit(
        jbp.MLP(784, [512, 512], 10, rngs=nnx.Rngs(0)), (x, y), batch=BATCH, epochs=epochs, **saving,
        on_epoch=lambda _: at.append((time.perf_counter(), time.process_time())),
    )  # fmt: skip
    return at[-1][0] - at[0][0], at[-1][1] - at[0][1]


def measure(pairs: int = 6, epochs: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.random((STEPS * BATCH, 784), np.float32)
    y = rng.integers(0, 10, len(x)).astype(np.int32)
    saves: list[float] = []
    save = Checkpoints._save

    def timed(self: Checkpoints, *arguments: Any) -> None:
        began = time.thread_time()
        save(self, *arguments)
        saves.append(time.thread_time() - began)

    Checkpoints._save = timed  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with tempfile.TemporaryDirectory() as folder:
            rounds = [
                [seconds(x, y, epochs, out) for out in (None, Path(folder) / str(number))] for number in range(pairs)
            ]
    finally:
        Checkpoints._save = save
    ratios = {name: [with_[k] / without[k] for without, with_ in rounds] for k, name in enumerate(("clock", "CPU"))}
    return {
        "steps of each run": STEPS * (epochs - 1),
        "checkpoints of each run": STEPS * (epochs - 1) // EVERY,
        "seconds without": float(np.median([without[0] for without, _ in rounds])),
        "CPU milliseconds of a checkpoint": 1e3 * float(np.median(saves)),
        "times as long": {name: float(np.median(each)) for name, each in ratios.items()},
        "of each pair": ratios,
    }


def claim(measured: dict[str, Any]) -> None:
    assert measured["times as long"]["CPU"] < MOST
    assert measured["times as long"]["clock"] < MOST


if __name__ == "__main__":
    report(measure, claim)
