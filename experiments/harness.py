"""Runs an experiment: measures, judges its claim, keeps what was measured as JSON under `results/`."""

import inspect
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


def setting() -> dict[str, str]:
    """The versions and the device that a result belongs to."""
    device = jax.devices()[0]
    return {"python": platform.python_version(), "jax": jax.__version__, "device": device.device_kind}


def report(measure: Callable[..., dict[str, Any]], claim: Callable[[dict[str, Any]], None]) -> None:
    """Measure, write `results/<experiment>.json`, print it, and exit 1 where the claim does not hold.

    A claim that fails is reported, not tuned: its figures are written all the same.
    """
    path = Path(inspect.getfile(measure))
    measured = measure()
    try:
        claim(measured)
        holds = True
    except AssertionError:
        holds = False
    text = (inspect.getmodule(measure) or measure).__doc__ or ""
    result = {"claim": text.partition("\n")[0], "holds": holds, "measured": measured, "setting": setting()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{path.stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {result['claim']}")
    print(json.dumps(measured, indent=1))
    sys.exit(not holds)
