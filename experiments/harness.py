"""Runs an experiment: measures, judges its claim, keeps what was measured as JSON under `results/`."""

import inspect
import json
import platform
import sys
from collections.abc import Callable, Iterable
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
    measured = measure()
    holds = _holds(claim, measured)
    _write(measure, measured, holds)
    print(json.dumps(measured, indent=1))
    sys.exit(not holds)


def report_each(
    measure: Callable[[str], dict[str, Any]],
    claim: Callable[[dict[str, Any]], None],
    known: Iterable[str],
    names: Iterable[str] = (),
) -> int:
    """The same by name: each is measured and written beside what `results/` already has of the others.

    Args:
        measure: of a name.
        claim: of everything measured, by name; it is judged once nothing is missing.
        known: all names, in the order in which they are written.
        names: those to measure now; all where none is given.

    Returns:
        The exit status: 1 where the claim does not hold.
    """
    path = RESULTS / f"{Path(inspect.getfile(claim)).stem}.json"
    known, holds = list(known), False
    for name in list(names) or known:
        found = measure(name)
        print(name, json.dumps(found), flush=True)
        before = json.loads(path.read_text())["measured"] if path.exists() else {}  # another process may have written
        measured = {one: before[one] for one in known if one in before} | {name: found}
        measured = {one: measured[one] for one in known if one in measured}
        holds = len(measured) == len(known) and _holds(claim, measured)
        _write(claim, measured, holds)
    return 0 if holds else 1


def _holds(claim: Callable[[dict[str, Any]], None], measured: dict[str, Any]) -> bool:
    try:
        claim(measured)
    except AssertionError:
        return False
    return True


def _write(of: Callable, measured: dict[str, Any], holds: bool) -> None:
    """Write the result of the experiment that defines the function `of`."""
    text = (inspect.getmodule(of) or of).__doc__ or ""
    result = {"claim": text.partition("\n")[0], "holds": holds, "measured": measured, "setting": setting()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{Path(inspect.getfile(of)).stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'holds' if holds else 'DOES NOT HOLD'}: {result['claim']}")
