"""The answer of `verify`: checks, failures, likely cause; as text, HTML and JSON."""

import json
from dataclasses import dataclass
from html import escape
from typing import Any

from .checks.result import CheckResult

MARKS = {True: "ok", False: "wrong", None: "undecided"}


class VerificationError(AssertionError):
    """A hand-derived rule is wrong, or nobody could tell."""


@dataclass(frozen=True)
class Verification:
    """What is known about one hand-derived rule.

    Attributes:
        name: of the rule.
        source: file and line of its definition.
        inputs: how many inputs it was exercised at.
        checks: each law with its verdict.
        likely_cause: of the first failure; empty where all is well.
        notes: what a reader should know and nobody need mend.
        seconds: how long it took.
    """

    name: str
    checks: tuple[CheckResult, ...]
    source: str = ""
    inputs: int = 1
    likely_cause: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    by_design: str = ""

    @property
    def passed(self) -> bool:
        """Whether every check passed; undecided is not a pass."""
        return all(check.passed is True for check in self.checks) and bool(self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if check.passed is not True)

    @property
    def verdict(self) -> str:
        """right, wrong, undecided, or "by design?": another derivative, and evidence that this is meant."""
        if self.passed:
            return "right"
        if self.by_design:
            return "by design?"
        return "wrong" if any(check.passed is False for check in self.checks) else "undecided"

    def units(self, name: str = "") -> float:
        """The largest error of a gradient in units of its dtype's resolution, in the precision `name` or in all."""
        found = [c.units for c in self.checks if c.units is not None and (not name or c.name == name)]
        return max(found, default=0.0)

    def raise_if_failed(self) -> "Verification":
        """Itself, where all passed.

        Raises:
            VerificationError: with the report.
        """
        if not self.passed:
            raise VerificationError(str(self))
        return self

    def __str__(self) -> str:
        head = f"{self.name}: {self.verdict}  ({len(self.checks)} checks at {self.inputs} inputs, {self.seconds:.1f} s)"
        lines = [head]
        if self.source:
            lines.append(f"  defined in {self.source}")
        if self.by_design:
            lines.append(f"  differs from its primal by design? {self.by_design}")
        if self.likely_cause:
            lines.append(f"  likely cause: {self.likely_cause}")
        shown = sorted(self.checks, key=lambda c: (c.passed is True, c.passed is None))
        width = max((len(c.name) for c in shown), default=0)
        bad = [c for c in shown if c.passed is not True]
        good = [c for c in shown if c.passed is True]
        for c in bad[:14]:
            where = f"  [{c.at}]" if c.at else ""
            lines.append(f"  {MARKS[c.passed]:9} {c.name:{width}}  {c.detail}{where}")
        if len(bad) > 14:
            lines.append(f"  ... and {len(bad) - 14} more that failed")
        for c in good[: max(4, 30 - len(lines))]:
            size = f"{c.units:8.2f} ulp" if c.units is not None else ""
            lines.append(f"  {MARKS[True]:9} {c.name:{width}}  {size}  {c.detail}".rstrip())
        lines += [f"  note: {n}" for n in self.notes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "name": self.name,
            "source": self.source,
            "passed": self.passed,
            "verdict": self.verdict,
            "inputs": self.inputs,
            "likely_cause": self.likely_cause,
            "by_design": self.by_design,
            "largest_error_ulp": self.units(),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "checks": [
                {"name": c.name, "passed": c.passed, "detail": c.detail, "at": c.at, "units": c.units}
                for c in self.checks
            ],
        }

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def _repr_html_(self) -> str:
        colours = {True: "#1a7f37", False: "#cf222e", None: "#9a6700"}
        rows = "".join(
            f"<tr><td style='color:{colours[c.passed]};font-weight:600'>{MARKS[c.passed]}</td><td>{escape(c.name)}</td>"
            f"<td>{'' if c.units is None else f'{c.units:.2f}'}</td>"
            f"<td>{escape(c.detail)}</td><td>{escape(c.at)}</td></tr>"
            for c in sorted(self.checks, key=lambda c: c.passed is True)
        )
        cause = f"<p><b>Likely cause:</b> {escape(self.likely_cause)}</p>" if self.likely_cause else ""
        design = f"<p>Differs from its primal by design? {escape(self.by_design)}</p>" if self.by_design else ""
        colour = colours[True if self.passed else False if self.verdict == "wrong" else None]
        return (
            f"<div><p><b>{escape(self.name)}</b>: <span style='color:{colour}'>{self.verdict}</span> "
            f"<small>{escape(self.source)}</small></p>{cause}{design}<table><tr><th></th><th>check</th><th>ulp</th>"
            f"<th>finding</th><th>at</th></tr>{rows}</table></div>"
        )


def table(results: list[Verification]) -> str:
    """One line a rule: name, inputs, largest error in units of each dtype's resolution, verdict, cause."""
    columns = ("float64", "float32", "bfloat16", "float16")
    width = max((len(r.name) for r in results), default=4)
    lines = [f"{'rule':{width}}  inputs  " + "  ".join(f"{c:>8}" for c in columns) + "  verdict"]
    for r in results:
        exact = max((c.units or 0.0 for c in r.checks if c.name.startswith("gradient")), default=0.0)
        cells = [exact, *(r.units(c) for c in columns[1:])]
        cause = f": {r.likely_cause}" if r.likely_cause else ""
        lines.append(
            f"{r.name:{width}}  {r.inputs:6d}  " + "  ".join(f"{c:8.2f}" for c in cells) + f"  {r.verdict}{cause}"
        )
    wrong = sum(not r.passed for r in results)
    total = sum(r.seconds for r in results)
    lines.append(f"{len(results)} rules, {wrong} not right, {total:.1f} s; errors in units of each type's resolution")
    return "\n".join(lines)
