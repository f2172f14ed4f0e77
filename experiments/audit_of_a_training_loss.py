"""Auditing a training loss (a transformer block of nnx with dropout, losses of optax) adds less than 30 seconds.

What it adds is measured in fresh processes: the seconds of a process that audits the loss and takes its gradient once,
less those of one that only takes the gradient.
"""

import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from harness import report

from jaxbackprop.gates import gelu
from jaxbackprop.verification import audit

PAIRS = 3


class Block(nnx.Module):
    """Attention and a two-layer network, each normalised before and dropped out after: (B, T, D) -> (B, classes)."""

    def __init__(self, width: int, classes: int, rngs: nnx.Rngs):
        self.before, self.between = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, width, decode=False, rngs=rngs)
        self.wide, self.back = nnx.Linear(width, 2 * width, rngs=rngs), nnx.Linear(2 * width, width, rngs=rngs)
        self.drop, self.out = nnx.Dropout(0.2, rngs=rngs), nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.drop(self.attention(self.before(x)))
        hidden = gelu(jax.nn.relu(self.wide(self.between(x))) + jax.nn.silu(self.wide(x)))
        return self.out(x + self.drop(self.back(hidden))).mean(1)


def training_loss(width: int = 8, length: int = 5, batch: int = 2, classes: int = 4) -> tuple[Any, tuple[Any, ...]]:
    """A loss of the block's state, inputs and labels, and its arguments."""
    graph, state = nnx.split(Block(width, classes, nnx.Rngs(0)))

    def loss(state: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        scores = nnx.merge(graph, state)(x)
        hard = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        soft = optax.sigmoid_binary_cross_entropy(scores, jax.nn.one_hot(labels, classes)).mean()
        shares = jax.nn.softmax(scores)
        careful = optax.safe_softmax_cross_entropy(scores, jax.nn.one_hot(labels, classes)).mean()
        return hard + soft + careful + jax.scipy.special.xlogy(shares, shares).sum(-1).mean() + jnp.zeros(())

    inputs = np.random.default_rng(0).normal(size=(batch, length, width)).astype(np.float32)
    return loss, (state, inputs, np.arange(batch, dtype=np.int32) % classes)


def once(audited: bool) -> None:
    """What each process does."""
    loss, args = training_loss()
    if audited:
        found = audit(loss, *args)
        print(len(found.sites), sum(s.calls for s in found.sites), int(found.passed))
    jax.block_until_ready(jax.jit(jax.grad(loss, allow_int=True))(*args))


def _seconds(audited: bool) -> tuple[float, str]:
    start = time.perf_counter()
    command = [sys.executable, __file__, "audited" if audited else "plain"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, said


def measure() -> dict[str, Any]:
    """The seconds of both kinds of process, in turn."""
    plain, audited, said = [], [], ""
    for _ in range(PAIRS):
        plain.append(_seconds(False)[0])
        seconds, said = _seconds(True)
        audited.append(seconds)
    rules, calls, right = map(int, said.split())
    return {
        "rules": rules,
        "calls": calls,
        "all right": bool(right),
        "seconds of the gradient alone": round(statistics.median(plain), 1),
        "seconds with the audit": round(statistics.median(audited), 1),
        "seconds added": round(statistics.median(audited) - statistics.median(plain), 1),
    }


def claim(measured: dict[str, Any]) -> None:
    assert measured["all right"]
    assert measured["rules"] >= 4
    assert measured["seconds added"] < 30


if __name__ == "__main__":
    if len(sys.argv) > 1:
        once(sys.argv[1] == "audited")
    else:
        report(measure, claim)
