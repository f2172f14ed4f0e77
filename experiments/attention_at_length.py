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

HEADS, NUMBERS = 2, 64
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


def by_jax_nn(q, k, v, causal: bool = False):
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal)


def measure(lengths: tuple[int, ...] = (1024, 4096), rounds: int = 3) -> dict[str, Any]:
    """Temporary bytes and CPU seconds beside those of each rival, and the median of the ratios, pair by pair."""
    found = {}
    for length in lengths:
        rng = np.random.default_rng(0)
        arrays = tuple(jnp.asarray(rng.normal(size=(1, length, HEADS, NUMBERS)), jnp.float32) for _ in range(3))
        for name, settings in SETTINGS.items():
            rivals = {"textbook": attention.primal} | ({} if "soft_cap" in settings else {"jax.nn": by_jax_nn})
            programs = [compiled(partial(f, **settings), arrays) for f in (attention, *rivals.values())]
            memory = [program.memory_analysis().temp_size_in_bytes for program in programs]
            seconds = np.array([[cpu_seconds(p, arrays) for p in programs] for _ in range(rounds + 1)][1:])
            found[f"{name}, {length}"] = {
                rival: {
                    "bytes": [memory[0], memory[i]],
                    "CPU seconds": np.median(seconds[:, [0, i]], 0).round(3).tolist(),
                    "memory": round(memory[0] / memory[i], 4),
                    "time": round(float(np.median(seconds[:, 0] / seconds[:, i])), 3),
                }
                for i, rival in enumerate(rivals, 1)
            }
    return found


def claim(measured: dict[str, Any]) -> None:
    """At the largest length each is below both bounds."""
    for name, row in measured.items():
        if name.endswith(", 4096"):
            assert row["textbook"]["memory"] <= 0.1, name
            assert row["textbook"]["time"] <= 0.9, name


if __name__ == "__main__":
    report(measure, claim)
