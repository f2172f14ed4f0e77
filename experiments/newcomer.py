"""From a fresh clone to an own rule verified, an own model trained, a run resumed and a wrong gradient found.

Each step is a command that a newcomer would type, in a new environment of its own; what it prints and the time it takes
are kept. The packages come from the package index, or from pip's cache.

    python experiments/newcomer.py
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import report

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    "unit.py": """import jax
import jax.numpy as jnp
import jaxbackprop as jbp
from jaxtyping import Array, Float


@jbp.rule
def squareplus(z: Float[Array, "..."]) -> jbp.WithResiduals[Float[Array, "..."]]:
    root = jnp.sqrt(z**2 + 4)
    return (z + root) / 2, (z, root)


@squareplus.backward
def squareplus_backward(residuals, upstream):
    z, root = residuals
    return upstream * (1 + z / root) / 2


if __name__ == "__main__":
    print(jbp.verify(squareplus))
""",
    "train.py": """import sys
import jaxbackprop as jbp
from flax import nnx
from jaxbackprop.data import load
from unit import squareplus


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.scores = nnx.Linear(64, 128, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        return self.scores(squareplus(self.hidden(x)))


def loss(model, x, y):
    scores = model(x)
    return jbp.losses.softmax_cross_entropy(scores, y), {"accuracy": scores.argmax(-1) == y}


digits = load("digits").train
data = digits.x, digits.y


def show(epoch):
    if epoch.epoch % 100 == 0:
        print(f"epoch {epoch.epoch}: {epoch.valid_accuracy:.2%} of the held-out digits", flush=True)


settings = {"loss": loss, "valid": 0.2, "epochs": 400, "on_epoch": show}
history = jbp.fit(Net(nnx.Rngs(0)), data, **settings, out="run", resume="resume" in sys.argv)
print(f"best epoch {history.best.epoch}: {history.best.valid_accuracy:.2%} of the held-out digits")
""",
    "wrong.py": """import jax
import jax.numpy as jnp
import jaxbackprop as jbp


@jax.custom_vjp
def squareplus(z):
    return (z + jnp.sqrt(z**2 + 4)) / 2


squareplus.defvjp(lambda z: (squareplus(z), z), lambda z, upstream: (upstream * (1 + z / jnp.sqrt(z**2 + 4)),))
print(jbp.verify(squareplus, jnp.linspace(-2.0, 2.0, 5)))
""",
}
STEPS = (
    ("clone", "git clone -q {root} jaxbackprop"),
    ("install", "{python} -m venv env && env/bin/pip install -q './jaxbackprop[data,plots]'"),
    ("an own rule verified", "env/bin/python unit.py"),
    ("an own model trained, stopped by Ctrl-C", "env/bin/python train.py"),
    ("the run resumed", "env/bin/python train.py resume"),
    ("a wrong gradient found", "env/bin/python wrong.py"),
)


def step(command: str, folder: Path, stopped_at: str | None) -> dict[str, Any]:
    """Run a command; where a line is to stop it, Ctrl-C comes when that line is printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    began, lines = time.perf_counter(), []
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}" if stopped_at else command], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        if stopped_at and line.startswith(stopped_at):
            process.send_signal(signal.SIGINT)
    return {"status": process.wait(), "seconds": time.perf_counter() - began, "printed": lines}


def measure() -> dict[str, Any]:
    measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in FILES.items():
            (folder / file).write_text(text)
        for title, command in STEPS:
            written = command.format(root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable))
            measured[title] = step(written, folder, "epoch 100" if "Ctrl-C" in title else None)
            print(title, measured[title], flush=True)
    return measured


def claim(measured: dict[str, Any]) -> None:
    status = {title: row["status"] for title, row in measured.items()}
    stopped = status.pop("an own model trained, stopped by Ctrl-C")
    assert stopped in (1, 130, -signal.SIGINT)
    assert not any(status.values()), status
    assert "squareplus: right" in measured["an own rule verified"]["printed"]
    assert "squareplus: wrong" in measured["a wrong gradient found"]["printed"]
    resumed = [line for line in measured["the run resumed"]["printed"] if line.startswith("epoch")]
    assert [line.split(":")[0] for line in resumed] == ["epoch 200", "epoch 300", "epoch 400"]


if __name__ == "__main__":
    report(measure, claim)
