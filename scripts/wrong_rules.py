#!/usr/bin/env python3
"""Every planted fault and every odd right rule, judged by jaxbackprop, `check_grads` and PyTorch's `gradcheck`.

    python scripts/wrong_rules.py [--seeds 20] [--no-rivals]

Writes experiments/results/wrong_rules.json: the tables in the README and docs/benchmarks.md.
"""

import argparse
import importlib.util
import json
import multiprocessing
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import jax  # noqa: E402
import numpy as np  # noqa: E402
from jax.test_util import check_grads  # noqa: E402
from planted import Planted, judge, mutations, odd, written  # noqa: E402  # pyright: ignore[reportMissingImports]
from planted.cases import problem  # noqa: E402  # pyright: ignore[reportMissingImports]
from planted.torch_gradcheck import by_gradcheck  # noqa: E402  # pyright: ignore[reportMissingImports]

from jaxbackprop.jaxprs.inputs import Inputs, inexact, replaced  # noqa: E402
from jaxbackprop.verification.problem import handwritten_function  # noqa: E402


def by_us(case: Planted, dtype: str, seeds: int) -> list[str]:
    """For each seed right, undecided, caught or named (the cause as well)."""
    shared, answers = problem(case, dtype), []
    for seed in range(seeds):
        found = judge(case, dtype, seed, shared)
        named = "named" if case.named(found.likely_cause) else "caught"
        answers.append("right" if found.passed else "undecided" if found.verdict == "undecided" else named)
    return answers


def by_check_grads(case: Planted, dtype: str) -> str:
    """What `jax.test_util.check_grads(order=1, modes=["rev"])` says."""
    about = handwritten_function(case.fun, case.reference, dict(case.settings))
    point = Inputs(case.args).cast(np.dtype(dtype))
    with jax.enable_x64(dtype == "float64"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = [x if isinstance(x, jax.Array) else jax.numpy.asarray(x) for x in point.arrays]

        def of_floats(*floats: Any) -> Any:
            return inexact(about.handwritten(*point.rebuild(replaced(arrays, point.live, floats))))

        try:
            check_grads(of_floats, [arrays[i] for i in point.live], order=1, modes=["rev"])
        except AssertionError:
            return "caught"
        except Exception:
            return "raises"
    return "right"


def _by_gradcheck(wrong: list[Planted], right: list[Planted]) -> dict[str, Any]:
    """PyTorch's answer, where a case translates; gradcheck is meant for double precision alone."""
    found, other = ([(c.name, by_gradcheck(c)) for c in cases] for cases in (wrong, right))
    return {
        "missed": sum(a == "right" for _, a in found),
        "rejected": sum(a == "caught" or a.startswith("raises") for _, a in other),
        "asked": [sum(not a.startswith("not asked") for _, a in answers) for answers in (found, other)],
        "raises": sum(a.startswith("raises") for _, a in [*found, *other]),
        "missed ones": [name for name, a in found if a == "right"],
        "rejected ones": [name for name, a in other if a == "caught" or a.startswith("raises")],
        "not asked": {name: a.partition(": ")[2] for name, a in [*found, *other] if a.startswith("not asked")},
    }


def measure(seeds: int, rivals: bool) -> dict[str, Any]:
    """For each precision and judge: how many wrong rules were missed, and right ones rejected."""
    rows: dict[str, Any] = {"wrong rules": len([*mutations(), *written()]), "right rules": len(odd()), "seeds": seeds}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(_in_precision, ("float64", "float32"), (seeds,) * 2, (rivals,) * 2):
            rows |= found
    return rows


def _in_precision(dtype: str, seeds: int, rivals: bool) -> dict[str, Any]:
    wrong, right, rows = [*mutations(), *written()], odd(), {}
    start = time.process_time()
    answers = list(zip(*(by_us(case, dtype, seeds) for case in wrong), strict=True))
    alarms = list(zip(*(by_us(case, dtype, seeds) for case in right), strict=True))
    rows[f"jaxbackprop, {dtype}"] = {
        "missed": max(sum(a in ("right", "undecided") for a in one) for one in answers),
        "rejected": max(sum(a != "right" for a in one) for one in alarms),
        "named": min(sum(a == "named" for a in one) for one in answers),
        "missed ones": sorted(
            {c.name for one in answers for c, a in zip(wrong, one, strict=True) if a in ("right", "undecided")}
        ),
        "rejected ones": sorted({c.name for one in alarms for c, a in zip(right, one, strict=True) if a != "right"}),
        "CPU seconds a seed": round((time.process_time() - start) / seeds, 1),
    }
    if rivals and dtype == "float64" and importlib.util.find_spec("torch"):
        rows["torch gradcheck, float64"] = _by_gradcheck(wrong, right)
    if rivals:
        found = [by_check_grads(case, dtype) for case in wrong]
        other = [by_check_grads(case, dtype) for case in right]
        rows[f"check_grads, {dtype}"] = {
            "missed": found.count("right"),
            "rejected": len(other) - other.count("right"),
            "raises": found.count("raises") + other.count("raises"),
            "missed ones": [c.name for c, a in zip(wrong, found, strict=True) if a == "right"],
            "rejected ones": [c.name for c, a in zip(right, other, strict=True) if a != "right"],
        }
    return rows


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds of random cotangents and points")
    parser.add_argument("--no-rivals", action="store_true", help="only jaxbackprop")
    chosen = parser.parse_args()
    rows = measure(chosen.seeds, not chosen.no_rivals)
    out = ROOT / "experiments" / "results" / ("wrong_rules.json" if chosen.seeds == 1 else "wrong_rules_seeds.json")
    out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{rows['wrong rules']} wrong rules, {rows['right rules']} right but odd ones")
    for name, row in rows.items():
        if isinstance(row, dict):
            named = f", cause named for {row['named']}" if "named" in row else ""
            print(f"  {name:22} missed {row['missed']:3}, rejected {row['rejected']:3}{named}")


if __name__ == "__main__":
    main()
