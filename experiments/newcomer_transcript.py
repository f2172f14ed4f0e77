"""A newcomer gets from a fresh clone to a verified rule, an own model trained and resumed, a wrong gradient found.

Everything is run in a new folder: the clone, the installation, each command. The page docs/newcomer.md shows the
files, what each command printed, and how long it took.

    python experiments/newcomer_transcript.py
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import DOCS, RESULTS, report

ROOT = DOCS.parent
PAGE = DOCS / "newcomer.md"
CLONE, INSTALL = "git clone {repository} jaxbackprop", "pip install -e 'jaxbackprop[data,plots]'"
VERIFY = "python check.py"
TRAIN, RESUME = "python train.py", "python train.py --resume"
AUDIT = "jaxbackprop audit norm.py:loss --args norm.py:arguments"
INTERRUPTED_AFTER = 6
"""Epochs after which Ctrl-C is pressed."""

FILES = {
    "mish.py": '''\
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxbackprop as jbp


@jbp.rule
def mish(z: Float[Array, "..."]) -> jbp.WithResiduals[Float[Array, "..."]]:
    t = jnp.tanh(jax.nn.softplus(z))
    return z * t, (z, t)


@mish.backward
def mish_backward(residuals, upstream):
    z, t = residuals
    return upstream * (t + z * (1 - t**2) * jax.nn.sigmoid(z))
''',
    "check.py": '''\
import jaxbackprop as jbp
from mish import mish

print(jbp.verify(mish))
''',
    "train.py": '''\
import sys

import jax
import jax.numpy as jnp
from flax import nnx

import jaxbackprop as jbp
from jaxbackprop.data import load
from mish import mish


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.scores = nnx.Linear(64, 128, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        return self.scores(mish(self.hidden(x)))


def squared_hinge(net, x, y):
    scores = net(x)
    margins = jnp.where(jax.nn.one_hot(y, 10) > 0, scores, -scores)
    return (jax.nn.relu(1 - margins) ** 2).sum(-1), {"accuracy": scores.argmax(-1) == y}


train, test = ((side.x, side.y) for side in (load("digits").train, load("digits").test))
net = Net(nnx.Rngs(0))
history = jbp.fit(
    net,
    train,
    loss=squared_hinge,
    valid=0.1,
    epochs=300,
    batch=4,
    lr=1e-3,
    schedule="cosine",
    out="runs/own",
    resume="--resume" in sys.argv,
)
print(f"{len(history.epochs)} epochs, the best is {history.best.epoch}")
print(f"test accuracy {float((net(test[0]).argmax(-1) == test[1]).mean()):.2%}")
''',
    "norm.py": '''\
import jax
import jax.numpy as jnp


@jax.custom_vjp
def centre(x):
    return x - x.mean(-1, keepdims=True)


centre.defvjp(lambda x: (centre(x), None), lambda _, upstream: (upstream,))


def loss(W, x, y):
    return ((centre(x @ W) - y) ** 2).mean()


def arguments():
    keys = jax.random.split(jax.random.key(0), 3)
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, [(8, 4), (16, 8), (16, 4)]))
''',
}  # fmt: skip


def measure() -> dict[str, Any]:
    """Each step: its command, the exit status, what was printed, the seconds it took and those of the CPU."""
    steps: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "JAX", "XLA"))}
        environment |= {"PATH": f"{folder}/.venv/bin:{os.environ['PATH']}", "XDG_CACHE_HOME": home, "COLUMNS": "120"}

        def step(name: str, command: str, shown: str, interrupt: bool = False) -> None:
            began, before = time.perf_counter(), os.times()
            with open(folder / "printed", "w+", encoding="utf-8") as printed:
                process = subprocess.Popen(
                    ["bash", "-c", f"exec {command}"],
                    cwd=folder,
                    env=environment,
                    stdout=printed,
                    stderr=printed,
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as at a terminal
                )
                if interrupt:
                    wait_for_epochs(folder / "runs" / "own" / "metrics.jsonl", process)
                    process.send_signal(signal.SIGINT)
                status = process.wait()
                printed.seek(0)
                text = printed.read().replace(f"{folder}/", "").replace(str(ROOT), "repository")
            after = os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            steps[name] = {"command": shown, "status": status, "printed": text.rstrip().splitlines(),
                           "seconds": time.perf_counter() - began, "CPU seconds": cpu}  # fmt: skip
            print(name, json.dumps(steps[name], indent=1), flush=True)

        step("clone", f"git clone --quiet {ROOT} jaxbackprop", CLONE.format(repository="REPOSITORY"))
        subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
        step("install", INSTALL.replace("pip install", "python -m pip install --quiet --quiet"), INSTALL)
        for name, text in FILES.items():
            (folder / name).write_text(text)
        step("verify", VERIFY, VERIFY)
        step("train", TRAIN, TRAIN, interrupt=True)
        step("resume", RESUME, RESUME)
        step("audit", AUDIT, AUDIT)
    return steps


def wait_for_epochs(metrics: Path, process: subprocess.Popen) -> None:
    """Wait until so many epochs are recorded."""
    while process.poll() is None and not (
        metrics.exists() and len(metrics.read_text().splitlines()) >= INTERRUPTED_AFTER
    ):
        time.sleep(0.1)


def claim(steps: dict[str, Any]) -> None:
    assert [steps[name]["status"] for name in ("clone", "install", "verify", "resume", "audit")] == [0, 0, 0, 0, 1]
    assert steps["verify"]["printed"][0].startswith("mish: right")
    assert "resume continues the run" in steps["train"]["printed"][-1]
    accuracy = re.search(r"test accuracy ([\d.]+)%", "\n".join(steps["resume"]["printed"]))
    assert accuracy is not None
    assert float(accuracy[1]) > 95
    assert "wrong" in "\n".join(steps["audit"]["printed"])


def page(result: Mapping[str, Any]) -> str:
    """The page of the documentation, of what `report` has written."""
    steps, setting = result["measured"], result["setting"]

    def shown(name: str, most: int = 16, last: bool = False) -> str:
        lines = steps[name]["printed"]
        cut = lines if len(lines) <= most else ["...", *lines[-most:]] if last else [*lines[:most], "..."]
        return "\n".join(["```sh", f"$ {steps[name]['command']}", *(line.rstrip() for line in cut), "```"])

    def file(name: str) -> str:
        return f'```py title="{name}"\n{FILES[name]}```'

    titles = {"clone": "clone", "install": "install", "verify": "an own rule, verified",
              "train": "an own model, trained until Ctrl-C", "resume": "the run, resumed to its end",
              "audit": "a wrong gradient, found"}  # fmt: skip
    times = [f"| {titles[name]} | {step['seconds']:.0f} | {step['CPU seconds']:.0f} |" for name, step in steps.items()]
    return "\n".join(
        [
            "# A first session",
            "",
            "Made by `experiments/newcomer_transcript.py`, which runs all of it in a new folder. Long outputs are cut.",
            f"With JAX {setting['jax']} on Python {setting['python']}, on two CPU cores that did other work meanwhile:",
            "",
            "| step | seconds | CPU seconds |",
            "|---|---:|---:|",
            *times,
            "",
            "## Clone and install",
            "",
            shown("clone"),
            "",
            shown("install"),
            "",
            "## An own rule, verified",
            "",
            file("mish.py"),
            "",
            file("check.py"),
            "",
            shown("verify", 30),
            "",
            "With the same function in NumPy as `formula=` its values far out are compared as well. There this simple",
            "form does not pass: at minus infinity it is not a number. CONTRIBUTING.md shows the way out.",
            "",
            "## An own model, trained and stopped",
            "",
            "The rule in an own model, with an own loss, on the digits; Ctrl-C after some epochs.",
            "",
            file("train.py"),
            "",
            shown("train", 1, last=True),
            "",
            "## Resumed",
            "",
            shown("resume"),
            "",
            "## A wrong gradient, found",
            "",
            "Somebody's `custom_vjp`, inside a loss: its backward pass forgets that the mean depends on `x`, too.",
            "",
            file("norm.py"),
            "",
            shown("audit", 30),
            "",
            f"The exit status is {steps['audit']['status']}: in a test or in CI, it fails.",
            "",
        ]
    )


def main(arguments: Sequence[str]) -> None:
    try:
        if "--page" not in arguments:
            report(measure, claim)
    finally:
        PAGE.write_text(page(json.loads((RESULTS / "newcomer_transcript.json").read_text())))


if __name__ == "__main__":
    main(sys.argv[1:])
