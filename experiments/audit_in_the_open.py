"""Every handwritten derivative that other libraries call is right or meant, but the faults in `audit_findings`.

The functions stand in `audit_cases`, one module for each group of libraries. A library has a process of its own, where
a function that takes too long is given up and the others go on:

    python experiments/audit_in_the_open.py --library jaxopt --library ott

Without `--library` all are looked at; results are written after each one. What is not right was looked into, see
`audit_findings`.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from audit_cases import LIBRARIES
from audit_findings import FALSE_ALARMS, FAULTS, MEANT
from harness import report_each

from jaxbackprop.verification import audit
from jaxbackprop.verification.audit import Audit, Site

SECONDS = 90
"""CPU time for one function; a process that does nothing at all is ended after ten times that."""

DISTRIBUTIONS = {
    "flax.linen": "flax", "flax.nnx": "flax", "haiku": "dm-haiku", "tensorflow_probability": "tfp-nightly",
    "ott": "ott-jax", "mujoco.mjx": "mujoco-mjx",
}  # fmt: skip


def measure(library: str) -> dict[str, Any]:
    """For each function of a library the rules it calls, with their verdicts."""
    rows: dict[str, Any] = {}
    names, absent = [], ""
    while True:
        command = [sys.executable, __file__, "--worker", library, "--skip", str(len(rows))]
        for said in _messages(command):
            names, absent = said.get("names", names), said.get("absent", absent)
            rows |= said.get("row", {})
        if len(rows) == len(names):
            break
        rows[names[len(rows)]] = {"error": f"not finished within {SECONDS} s of CPU time"}
    try:
        version = importlib.metadata.version(DISTRIBUTIONS.get(library, library))
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"version": version, "absent": absent, "rows": rows}


def _messages(command: list[str]) -> Iterator[dict[str, Any]]:
    """What a process says, a line of JSON each; it is ended when it says nothing for too long."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in itertools.chain(process.stdout, [""]):
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    try:
        while line := lines.get(timeout=10 * SECONDS):
            yield json.loads(line)
    except queue.Empty:
        pass
    finally:
        process.kill()
        process.wait()


def work(library: str, skip: int) -> None:
    """Audit the functions of a library from the given one on, and say what is found about each."""
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no message

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=say, flush=True)

    try:
        cases = LIBRARIES[library]()
    except Exception as error:
        tell(absent=_first_line(error), names=[])
        return
    tell(names=list(cases))
    for name, (fun, args) in itertools.islice(cases.items(), skip, None):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # its signal ends the process, also inside of compiled code
        try:
            row = _row(audit(fun, *args))
        except Exception as error:
            row = {"error": _reason(error, fun, args)}
        tell(row={name: row})


def _row(found: Audit) -> dict[str, Any]:
    """What is worth keeping of an audit."""
    rules: dict[str, Any] = {}
    for site in found.sites:
        said = site.verification
        rules[_named(site, rules)] = {
            "verdict": site.verdict,
            "calls": site.calls,
            "proof": site.proof,
            "arithmetic": site.arithmetic,
            "why": ""
            if said is None
            else next((said.by_design or said.likely_cause or _within(c.detail) for c in said.failures), ""),
            **({"program": site.program} if site.program else {}),
        }
    row: dict[str, Any] = {"rules": rules} if rules else {}
    if found.not_examined:
        row["not examined"] = {f"{one.name} at {place(one.place)}": _within(one.reason) for one in found.not_examined}
    if found.gradient is not None:
        row["gradient"] = found.gradient.verdict
        row |= {"gradient's detail": found.gradient.detail} if found.gradient.verdict == "wrong" else {}
    return row


def _named(site: Site, taken: dict[str, Any]) -> str:
    """Name and place; several rules that one line makes are numbered from the second on."""
    names = (f"{site.name}{f' ({k})' * (k > 1)} at {place(site.source)}" for k in itertools.count(1))
    return next(name for name in names if name not in taken)


def place(source: str) -> str:
    """File and line, from the library's own folder on."""
    return source.replace("\\", "/").rpartition("site-packages/")[2]


def _within(text: str) -> str:
    """A remark, with the places in it as they are within their libraries."""
    return re.sub(r"[^\s(]*(site-packages|lib/python[\d.]+)/", "", text)


def _reason(error: Exception, fun: Callable, args: tuple[Any, ...]) -> str:
    """Whether the function itself raises, or only its audit."""
    try:
        fun(*args)
    except Exception as own:
        return f"cannot be called here: {_first_line(own)}"
    return f"audit raised {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:160]


def claim(measured: dict[str, Any]) -> None:
    rows = [row for library in measured.values() for row in library["rows"].values()]
    fine, rules = {"right", "imprecise", "by design?", "not reached", "no gradient", "not judged"}, set()
    for row in rows:
        for rule, found in row.get("rules", {}).items():
            rules.add(rule)
            assert found["verdict"] in fine or rule.partition(" at ")[2] in FAULTS | MEANT | FALSE_ALARMS, rule
    assert sum(bool(library["rows"]) for library in measured.values()) >= 25
    assert sum("error" not in row for row in rows) >= 400


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", action="append", default=[], choices=LIBRARIES)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.skip)
    else:
        sys.exit(report_each(measure, claim, LIBRARIES, options.library))
