"""At length 4,096 attention takes a tenth of the memory of autodiff of the textbook form at most, and 0.9 of its time.

    python experiments/attention_at_length.py

Memory is the temporary memory of the compiled program, value and gradients of q, k and v. Time is CPU time, of both in
turn, so that another load on the machine counts for little.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import report

from jaxbackprop.layers import attention

HEADS, NUMBERS = 4, 64
SETTINGS: dict[str, dict[str, Any]] = {
    "all keys": {},
    "causal": {"causal": True},
    "causal, soft cap": {"causal": True, "soft_cap": 20.0},
}


def compiled(function: Callable, arrays: tuple) -> Any:
    """The program of the value and of the gradients, with q as the upstream."""

    def both(q, k, v):
        o, pull = jax.vjp(function, q, k, v)
        return o, pull(q)

    return jax.jit(both).lower(*arrays).compile()


def cpu_seconds(program: Any, arrays: tuple) -> float:
    start = time.process_time()
    jax.block_until_ready(program(*arrays))
    return time.process_time() - start


def measure(lengths: tuple[int, ...] = (1024, 4096), rounds: int = 5) -> dict[str, Any]:
    """Temporary bytes and CPU seconds of both, and the median of the ratios, pair by pair."""
    found = {}
    for length in lengths:
        rng = np.random.default_rng(0)
        arrays = tuple(jnp.asarray(rng.normal(size=(1, length, HEADS, NUMBERS)), jnp.float32) for _ in range(3))
        for name, settings in SETTINGS.items():
            programs = [compiled(partial(f, **settings), arrays) for f in (attention, attention.primal)]
            memory = [program.memory_analysis().temp_size_in_bytes for program in programs]
            pairs = np.array([[cpu_seconds(p, arrays) for p in programs] for _ in range(rounds + 1)][1:])
            ratios = np.sort(pairs[:, 0] / pairs[:, 1])
            found[f"{name}, {length}"] = {
                "bytes": memory,
                "CPU seconds": np.median(pairs, 0).round(3).tolist(),
                "memory": round(memory[0] / memory[1], 4),
                "time": round(float(np.median(ratios)), 3),
                "time, smallest and largest": [round(float(r), 3) for r in ratios[[0, -1]]],
            }
    return found


def claim(measured: dict[str, Any]) -> None:
    """At the largest length each is below both bounds."""
    for name, row in measured.items():
        if name.endswith(", 4096"):
            assert row["memory"] <= 0.1, name
            assert row["time"] <= 0.9, name


if __name__ == "__main__":
    report(measure, claim)
