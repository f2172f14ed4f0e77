"""One path from one device to many: the same losses on 1, 2, 4 and 8 simulated devices, and across a resumption.

An MLP with batch norm and dropout, a minibatch split over the devices of one process. The last run is stopped after
half its epochs on 8 devices and resumed on 2.

    python experiments/data_parallel.py
"""

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from harness import report

import jaxbackprop as jbp

X = np.random.default_rng(0).normal(size=(240, 8)).astype(np.float32)
Y = (X @ np.random.default_rng(1).normal(size=(8, 3))).argmax(1)
TOLERANCE = 1e-5
EPOCHS = 4


def losses(devices: int, epochs: int = EPOCHS, **settings: Any) -> list[float]:
    model = jbp.MLP(8, [16], 3, dropout=0.2, norm="batch", rngs=nnx.Rngs(0))
    data = {"data": (X, Y), "valid": 0.2, "batch": 16, "lr": 0.05, "optimizer": "momentum"}
    history = jbp.fit(model, **data, epochs=epochs, devices=jax.devices()[:devices], **settings)
    return [epoch.loss for epoch in history.epochs]


def measure() -> dict[str, Any]:
    found = {str(count): losses(count) for count in (1, 2, 4, 8)}
    with tempfile.TemporaryDirectory() as folder:
        losses(8, EPOCHS // 2, out=Path(folder) / "run")
        found["8, resumed on 2"] = losses(2, out=Path(folder) / "run", resume=True)
    one = np.array(found["1"])
    return {
        name: {"losses": each, "difference": float(np.abs(np.array(each) / one - 1).max())}
        for name, each in found.items()
    }


def claim(measured: dict[str, Any]) -> None:
    for name, row in measured.items():
        assert row["difference"] <= TOLERANCE, f"{name} devices: {row['difference']}"


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    report(measure, claim)
