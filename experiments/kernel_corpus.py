"""Of backward kernels with a planted fault none passes `verify`, of right ones none is rejected, and faults are placed.

The kernels are those of tests/helpers/kernel_corpus: chunked JAX, and Pallas as JAX interprets it. Beside `verify(...,
shapes=True)`: `jax.test_util.check_grads` at the same arguments, and what benchmarks of kernels do, `allclose` with
their tolerance at one shape that the blocks divide.

    python experiments/kernel_corpus.py          # all of them; a family with its name, such as attention
"""

import json
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import RESULTS, setting
from jax.test_util import check_grads

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
import kernel_corpus  # pyright: ignore[reportMissingImports]

CLOSE = 1e-2
"""The relative and absolute tolerance of benchmarks of kernels."""


def of_floats(fun: Any, args: tuple) -> tuple[Any, list[np.ndarray]]:
    """`fun` as a function of its floating-point arguments alone, and these."""
    live = [i for i, x in enumerate(args) if x.dtype.kind == "f"]

    def call(*floats: Any) -> Any:
        given = list(args)
        for i, x in zip(live, floats, strict=True):
            given[i] = x
        return fun(*given)

    return call, [args[i] for i in live]


def passes_check_grads(entry: Any) -> bool:
    """Whether `jax.test_util.check_grads` accepts the kernel."""
    call, floats = of_floats(entry.fun, entry.args)
    try:
        check_grads(call, tuple(floats), order=1, modes=["rev"])
    except Exception:
        return False
    return True


def passes_allclose(entry: Any) -> bool:
    """Whether its gradients are `allclose` to autodiff's at a shape that the blocks divide."""
    args = tuple(x[tuple(slice(8 if n == 10 else n) for n in x.shape)] for x in entry.args)
    args = tuple(np.minimum(x, 7) if x.dtype.kind == "i" else x for x in args)
    found = []
    for fun in (entry.fun, entry.reference):
        call, floats = of_floats(fun, args)
        try:
            y, pull = jax.vjp(call, *floats)
        except Exception:
            return False
        found.append(pull(jnp.asarray(kernel_corpus.entry.normal(*y.shape, seed=9))))
    return all(np.allclose(a, b, rtol=CLOSE, atol=CLOSE) for a, b in zip(*found, strict=True))


def verified(entry: Any) -> dict[str, Any]:
    """What is found about one kernel."""
    start, clock = time.process_time(), time.perf_counter()
    report = entry.verified()
    row = {
        "verdict": report.verdict,
        "passed": report.passed,
        "cause": report.likely_cause,
        "findings": [f"{check.name}: {check.detail}"[:240] for check in report.failures],
        "notes": list(report.notes),
        "placed": entry.placed(report),
        "cpu_seconds": round(time.process_time() - start, 1),
        "seconds": round(time.perf_counter() - clock, 1),
    }
    return {**row, "check_grads": passes_check_grads(entry), "allclose": passes_allclose(entry)}


def summary(right: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
    """The figures, and the names of what is not as it should be."""
    rows = [*right.values(), *wrong.values()]
    return {
        "right": len(right),
        "rejected": [name for name, row in right.items() if not row["passed"]],
        "wrong": len(wrong),
        "missed": [name for name, row in wrong.items() if row["passed"]],
        "not_placed": [name for name, row in wrong.items() if not row["placed"]],
        "check_grads": {
            "missed": sum(row["check_grads"] for row in wrong.values()),
            "rejected": sum(not row["check_grads"] for row in right.values()),
        },
        "allclose": {
            "missed": sum(row["allclose"] for row in wrong.values()),
            "rejected": sum(not row["allclose"] for row in right.values()),
        },
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in rows), 1),
        "longest_cpu_seconds": max((row["cpu_seconds"] for row in rows), default=0.0),
    }


def main(family: str = "") -> None:
    """Verify every kernel, and write what is found after each one."""
    path = RESULTS / "kernel_corpus.json"
    kinds: dict[str, dict[str, Any]] = {"right": {}, "wrong": {}}
    if family and path.exists():
        kinds = json.loads(path.read_text())["kernels"]
    entries = [("wrong", e) for e in kernel_corpus.wrong()] + [("right", e) for e in kernel_corpus.right()]
    for kind, entry in sorted(entries, key=lambda pair: zlib.crc32(pair[1].name.encode())):  # of each sort some, early
        if family in entry.name:
            kinds[kind][entry.name] = verified(entry)
            figures = summary(kinds["right"], kinds["wrong"])
            path.write_text(json.dumps({**figures, "setting": setting(), "kernels": kinds}, indent=1) + "\n")
            print(entry.name, kinds[kind][entry.name]["verdict"], flush=True)
    print(json.dumps(summary(kinds["right"], kinds["wrong"]), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
