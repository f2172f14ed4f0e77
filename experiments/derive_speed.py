"""Derived rules are within 1.1 of the time of the library's own for 55 or more, and beat autodiff on eight papers.

A rule derived from the plain function at a small example is measured at a large one, forward and backward pass
together, in interleaved rounds: beside the handwritten rule and beside autodiff of the plain function. Papers: beaten
is a factor 2 in the bytes saved for the backward pass, or 1.3 in time. With names: those alone, written beside the
others.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import report_each

import jaxbackprop as jbp
from jaxbackprop.benchmarking.timing import interleaved
from jaxbackprop.benchmarking.workload import Contender, Workload
from jaxbackprop.core.example_inputs import Example, examples, large

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
from derivable import normal  # pyright: ignore[reportMissingImports]
from derivable_papers import PAPERS, positive  # pyright: ignore[reportMissingImports]

ROUNDS = 9
RULES, OF_PAPERS = 55, 8


def at_full_size(name: str) -> tuple:
    """Arguments of a paper's function at a size at which it is used, small enough for a CPU."""
    match name:
        case "rope_with_rms_norm":
            return normal(2048, 256), normal(256), normal(2048, 128), normal(2048, 128)
        case "swiglu":
            return normal(512, 256), normal(256, 512), normal(256, 512), normal(512, 256)
        case "focal_loss":
            return normal(2048, 256), jnp.arange(2048) % 256
        case "info_nce":
            return normal(512, 128), normal(512, 128), jnp.arange(512), jnp.float32(0.7)
        case "crf_step":
            return normal(256, 48), normal(48, 48), normal(256, 48)
        case "soft_dtw_cells":
            return *(normal(2**17) for _ in range(4)), jnp.float32(0.8)
        case "group_norm":
            return normal(32, 64, 256), normal(64), normal(64)
        case "causal_linear_attention":
            return positive(256, 32), positive(256, 32), normal(256, 32), positive(32, 32), positive(32)
        case "selective_scan":
            return (
                normal(256, 64),
                positive(256, 64),
                -positive(64, 16),
                normal(256, 16),
                normal(256, 16),
                normal(64, 16),
            )
        case "gaussian_mixture":
            return normal(512, 32), normal(128, 32), normal(128)
        case "cosine_margin":
            return normal(512, 128), normal(256, 128), jnp.arange(512) % 256
        case "grouped_attention_with_soft_cap":
            return normal(4, 4, 128, 32), normal(4, 128, 32), normal(4, 128, 32), np.tri(128, dtype=bool)
        case "kalman_update":
            return normal(256), normal(256, 256), normal(256), jnp.float32(0.3), jnp.float32(200.0)
        case "sinkhorn_step":
            return normal(512), normal(512, 512), normal(512), jnp.float32(0.6)
    return normal(4096, 64), normal(3, 64), normal(64)


def compared(args: tuple, contenders: dict[str, Any]) -> dict[str, Any]:
    """Times by that of the first contender, the median of rounds, and the bytes saved beside the arguments."""
    work = Workload(contenders["autodiff"], args)
    programs = [functools.partial(work.compile(Contender(name, f)), *work.inputs) for name, f in contenders.items()]
    times = interleaved(programs, seconds=1.0, rounds=ROUNDS)
    ratios = np.median(times[:, :1] / times, 0)
    return {
        "milliseconds": round(1e3 * float(np.median(times[:, 0])), 3),
        **{f"time by {name}": round(float(r), 3) for name, r in list(zip(contenders, ratios, strict=True))[1:]},
        **{f"bytes {name}": work.residual_bytes(Contender(name, f)) for name, f in contenders.items()},
    }


def axes(example: Example) -> list[int]:
    """How many each array of an example has."""
    return [np.ndim(x) for x in jax.tree.leaves(example.args)]


def measure(name: str) -> dict[str, Any]:
    """A rule or a paper's function, derived, beside what it is compared with."""
    if name in PAPERS:
        case = PAPERS[name]
        derived = jbp.derive(case.function, *case.args)
        return compared(at_full_size(name), {"derived": derived.rule, "autodiff": case.function})
    rule = jbp.rules()[name]
    # A derived rule has any sizes, and the number of axes that it was derived for.
    like = large(rule, size=4, batch=3)
    example = next((e for e in examples(rule) if axes(e) == axes(like)), like)
    by_hand = functools.partial(rule, **example.settings)
    plain = functools.update_wrapper(functools.partial(rule.primal, **example.settings), rule.primal)
    try:
        derived = jbp.derive(plain, *example.cast(jnp.float32))
    except jbp.CannotDerive:
        return {}
    return compared(large(rule).cast(jnp.float32), {"derived": derived.rule, "hand": by_hand, "autodiff": plain})


def claim(measured: dict[str, Any]) -> None:
    rules = [found for name, found in measured.items() if found and name not in PAPERS]
    assert sum(found["time by hand"] <= 1.1 for found in rules) >= RULES
    papers = [measured[name] for name in PAPERS]
    beaten = [2 * f["bytes derived"] <= f["bytes autodiff"] or 1.3 * f["time by autodiff"] <= 1 for f in papers]
    assert sum(beaten) >= OF_PAPERS


if __name__ == "__main__":
    sys.exit(report_each(measure, claim, [*jbp.rules(), *PAPERS], sys.argv[1:]))
