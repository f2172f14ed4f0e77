"""One path from one device to several processes: the same losses to 1e-5, and a lost process loses nothing saved.

An MLP with batch norm and dropout, its minibatches split over 1, 2, 4 and 8 simulated devices of one process, then over
two processes with four each. Two runs are continued elsewhere: one begun on 8 devices on 2, and one whose second
process is killed in the third epoch on one device; there, how long the first process went on without it is measured.

    python experiments/data_parallel.py
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
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
EPOCHS, KILLED_AT = 4, 30
HEARTBEAT = 10
"""Seconds after which JAX takes a process that does not answer for lost, 100 where nothing else is said."""


def losses(devices: int | None, epochs: int = EPOCHS, **settings: Any) -> list[float]:
    model = jbp.MLP(8, [16], 3, dropout=0.2, norm="batch", rngs=nnx.Rngs(0))
    data = {"data": (X, Y), "valid": 0.2, "batch": 16, "lr": 0.05, "optimizer": "momentum"}
    chosen = None if devices is None else jax.devices()[:devices]
    history = jbp.fit(model, **data, epochs=epochs, devices=chosen, **settings)
    return [epoch.loss for epoch in history.epochs]


def be_one_of_two(number: int, port: int, out: str, kill: bool) -> None:
    """Train as one process of two, and print the losses; where one is to be killed, the second kills itself."""
    jax.config.update("jax_num_cpu_devices", 4)
    jax.distributed.initialize(f"localhost:{port}", 2, number, heartbeat_timeout_seconds=HEARTBEAT)

    def on_step(step: Any) -> None:
        if kill and number == 1 and step.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    print(json.dumps(losses(None, out=out, save_every=4, on_step=on_step)))


def two_processes(out: Path, *, kill: bool = False) -> tuple[list[subprocess.CompletedProcess[str]], float]:
    """Both processes at their end, and the seconds from the end of the second to the end of the first."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(number), str(port), str(out), "kill" * kill],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for number in (0, 1)
    ]  # fmt: skip
    second = processes[1].communicate()
    ended = time.perf_counter()
    first = processes[0].communicate()
    seconds = time.perf_counter() - ended
    said = zip(processes, (first, second), strict=True)
    return [subprocess.CompletedProcess(p.args, p.returncode, *texts) for p, texts in said], seconds


def measure() -> dict[str, Any]:
    found = {f"{count} devices": losses(count) for count in (1, 2, 4, 8)}
    with tempfile.TemporaryDirectory() as folder:
        losses(8, EPOCHS // 2, out=Path(folder) / "eight")
        found["8 devices, resumed on 2"] = losses(2, out=Path(folder) / "eight", resume=True)
        both, _ = two_processes(Path(folder) / "two")
        for number, process in enumerate(both):
            found[f"2 processes of 4 devices, process {number}"] = json.loads(process.stdout.splitlines()[-1])
        cut = Path(folder) / "cut"
        (first, second), seconds = two_processes(cut, kill=True)
        found["2 processes, one killed, resumed on one device"] = losses(1, out=cut, resume=True)
    one = np.array(found["1 devices"])
    errors = [line for line in first.stderr.splitlines() if line.startswith("RuntimeError: fit:")]
    return {
        "runs": {
            name: {"losses": each, "difference": float(np.abs(np.array(each) / one - 1).max())}
            for name, each in found.items()
        },
        "killed": {
            "status of the second": second.returncode, "status of the first": first.returncode,
            "seconds until the first ended": seconds, "heartbeat": HEARTBEAT, "error": errors,
        },
    }  # fmt: skip


def claim(measured: dict[str, Any]) -> None:
    for name, row in measured["runs"].items():
        assert row["difference"] <= TOLERANCE, f"{name}: {row['difference']}"
    killed = measured["killed"]
    assert killed["status of the second"] == -signal.SIGKILL
    assert killed["status of the first"] != 0
    assert killed["seconds until the first ended"] < 3 * HEARTBEAT
    assert "another process ended" in killed["error"][0]


if __name__ == "__main__":
    if sys.argv[1:]:
        be_one_of_two(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], bool(sys.argv[4]))
    else:
        jax.config.update("jax_num_cpu_devices", 8)
        report(measure, claim)
