"""Of rules written after public reports and other libraries no wrong one passes and no right one is rejected.

The rules are those of tests/helpers/foreign. Each is verified with arguments in one type, by default float32; run it
once for each of float32, float64 and bfloat16:

    python experiments/foreign_rules.py bfloat16

The result is written for each type and each release of JAX, and the figures so far when it is stopped early.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import RESULTS, setting

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))
import foreign  # pyright: ignore[reportMissingImports]

DTYPES = {"float32": jnp.float32, "float64": jnp.float64, "bfloat16": jnp.bfloat16}


def in_dtype(entry: Any, dtype: str) -> Any:
    """The entry with its float32 arrays in `dtype`."""
    if dtype == "float32":
        return entry

    def cast(x: Any) -> Any:
        return np.asarray(x).astype(DTYPES[dtype]) if getattr(x, "dtype", None) == np.float32 else x

    return dataclasses.replace(entry, args=jax.tree.map(cast, entry.args))


def verified(entries: Iterable[Any], dtype: str) -> dict[str, dict[str, Any]]:
    """What is found about each entry."""
    found = {}
    for entry in entries:
        start = time.process_time()
        try:
            result = in_dtype(entry, dtype).verified()
        except Exception as error:
            row: dict[str, Any] = {"verdict": "raised", "finding": f"{type(error).__name__}: {error}"[:300]}
        else:
            worst = result.failures[0] if result.failures else None
            row = {
                "verdict": result.verdict,
                "passed": result.passed,
                "cause": result.likely_cause,
                "named": entry.named(result.likely_cause),
                "finding": f"{worst.name}: {worst.finding}"[:300] if worst else "",
            }
        found[entry.name] = {**row, "cpu_seconds": round(time.process_time() - start, 2)}
    return found


def is_found(row: dict[str, Any]) -> bool:
    """Whether a wrong rule is called wrong, or its fault named where it may be meant."""
    verdicts = ("wrong", "imprecise", "by design?") if row.get("named") else ("wrong", "imprecise")
    return row["verdict"] in verdicts and not row["passed"]


def summary(right: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
    """The figures, and the names of what is not as it should be."""
    found = [name for name, row in wrong.items() if is_found(row)]
    return {
        "right": len(right),
        "rejected": [name for name, row in right.items() if not row.get("passed")],
        "wrong": len(wrong),
        "missed": [name for name in wrong if name not in found],
        "causes_named": sum(wrong[name]["named"] for name in found),
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in (*right.values(), *wrong.values())), 1),
    }


def main(dtype: str = "float32") -> None:
    """Verify every entry, and write what is found after each one."""
    path = RESULTS / f"foreign_rules_{dtype}_jax_{jax.__version__.replace('.', '_')}.json"
    kinds: dict[str, dict[str, Any]] = {"right": {}, "wrong": {}}
    for kind, entries in (("wrong", foreign.wrong()), ("right", foreign.right())):
        for entry in entries:
            kinds[kind] |= verified([entry], dtype)
            figures = summary(kinds["right"], kinds["wrong"])
            result = {"dtype": dtype, **figures, "setting": setting(), "rules": kinds}
            path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(summary(kinds["right"], kinds["wrong"]), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
