"""The result of `verify`: verdict, checks, failures, likely cause, the failure as a program; text, HTML and JSON."""

import json
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from ..core.html_table import html_lines, html_table, verdict
from .checks.result import CheckResult
from .oracles.finite_field import NOT_DECIDED, PROVED, REFUTED
from .proof import Proof
from .wording import count

ROWS = 34
"""The lines of a report, about: it fits a screen."""


OF_THE_ARITHMETIC = ("precision", "bias", "accumulation")
"""The checks that judge what is lost in a precision, not the formula."""


class VerificationError(AssertionError):
    """A hand-derived rule is not right, or it could not be decided."""


@dataclass(frozen=True)
class Verification:
    """What is known about one hand-derived rule.

    Attributes:
        name: of the rule.
        checks: each check that was made, with its result; none where there was nothing to differentiate.
        source: file and line of its definition.
        inputs: how many inputs it was exercised at.
        likely_cause: of the first failure; empty where all is well.
        notes: what a reader should know, beside the checks.
        seconds: how long it took.
        by_design: what speaks for a difference that is meant.
        proof: whether the formula is autodiff's, without tolerance; None where that was not tried.
    """

    name: str
    checks: tuple[CheckResult, ...]
    source: str = ""
    inputs: int = 1
    likely_cause: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    by_design: str = ""
    proof: Proof | None = None

    @property
    def passed(self) -> bool:
        """Whether every check passed; undecided is not a pass, and nothing examined is none."""
        return all(check.passed is True for check in self.checks) and bool(self.checks)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if check.passed is not True)

    @property
    def verdict(self) -> str:
        """right, imprecise, wrong, undecided or not examined; or "by design?", with evidence that it is meant.

        "imprecise" is a right formula whose rounding is large. It has passed where autodiff loses as much, and failed
        where it loses less.
        """
        if not self.checks:
            return "not examined"
        if self.by_design and not self.passed:
            return "by design?"
        found = {check.verdict for check in self.checks if self.passed or check.passed is not True}
        return next((word for word in ("wrong", "imprecise", "not examined", "undecided") if word in found), "right")

    @property
    def arithmetic(self) -> str:
        """right, imprecise or wrong: the numbers as they are run, whatever the formula; empty where not judged."""
        found = {check.verdict for check in self.checks if check.check in OF_THE_ARITHMETIC}
        return next((word for word in ("wrong", "imprecise", "undecided") if word in found), "right" if found else "")

    @property
    def worst(self) -> CheckResult | None:
        """The failure to look at first; None where there is none."""
        rank = {"wrong": 0, "imprecise": 1, "undecided": 2, "not examined": 3}
        return min(self.failures, key=lambda c: rank[c.verdict], default=None)

    @property
    def reproduce(self) -> str:
        """Python that shows the failure again, at a small example; empty where nothing failed.

        The example is searched for when this is first read, which takes a few seconds.
        """
        return self.worst.reproduce if self.worst is not None else ""

    def units(self, name: str = "") -> float:
        """The largest error of a gradient in units of its dtype's resolution, in the precision `name` or in all."""
        found = [c.units for c in self.checks if c.units is not None and (not name or c.name == name)]
        return max(found, default=0.0)

    def strict(self) -> "Verification":
        """The same, with what is imprecise counted as failed, also where autodiff loses as much."""
        return replace(self, checks=tuple(replace(c, passed=c.passed and not c.imprecise) for c in self.checks))

    def with_proof(self, proof: Proof) -> "Verification":
        """The same with a proof, and how that fits the numerical verdict in words: neither overrules the other."""
        failed = next((check for check in self.checks if check.passed is False), None)
        imprecise = next((check for check in self.checks if check.imprecise), None)
        if proof.verdict == REFUTED and proof.iterates and self.passed:
            detail = "equal in numbers, not in algebra, as where a loop ends near enough to its limit"
            proof = replace(proof, verdict=NOT_DECIDED, detail=detail, at_a_tie=False)
        of_formula = any(c.name.startswith("gradient of") or c.name == "forward pass" for c in self.failures)
        words = ""
        if proof.verdict == PROVED and failed is not None and of_formula and not failed.imprecise:
            words = f"the numbers contradict it ({failed.name}): other branches, overflow or cancellation"
        elif proof.verdict == PROVED and imprecise is not None:
            words = f"the arithmetic loses much: {imprecise.name}"
        elif proof.verdict == PROVED and failed is not None:
            words = f"not the formula but something else is wrong: {failed.name}"
        elif proof.verdict == REFUTED and not proof.at_a_tie:
            words = "the formula is wrong" if failed is not None else "no numerical check sees the difference"
        return replace(self, proof=replace(proof, beside=words))

    def raise_if_failed(self) -> "Verification":
        """Itself, where all passed.

        Raises:
            VerificationError: with the report.
        """
        __tracebackhide__ = True
        if not self.passed:
            raise VerificationError(str(self))
        return self

    def _first_lines(self) -> list[tuple[str, str]]:
        """What a reader sees first, as (label, text): why, one number and its place, how to see it again."""
        worst = self.worst
        coarse = next((check.name for check in self.checks if check.imprecise), "")
        lines = [
            (
                "imprecise",
                f"it loses about as much as autodiff ({coarse}); strict=True counts it as failed"
                * (self.passed and bool(coarse)),
            ),
            ("likely cause", self.likely_cause),
            ("by design?", self.by_design),
            (worst.name, worst.finding) if worst is not None else ("", ""),
            ("proof", str(self.proof or "")),
            ("run again", worst.again if worst is not None else ""),
        ]
        return [(label, text) for label, text in lines if text]

    def _map(self) -> tuple[str, ...]:
        """The map of the failure to look at first, and how to read it."""
        lines = self.worst.heat if self.worst is not None else ()
        return (*lines, f"# wrong, + some of it, . right ({self.worst.name})") if self.worst and lines else ()

    def __repr__(self) -> str:
        checks = f"{count(len(self.checks), 'check')} at {count(self.inputs, 'input')}"
        return f"<verification of {self.name}: {self.verdict}, {checks}>"

    def __str__(self) -> str:
        word = "right, but imprecise" if self.passed and self.verdict == "imprecise" else self.verdict
        lines = [f"{self.name}: {word}{f'  ({self.source})' if self.source else ''}"]
        lines += [f"  {label}: {text}" for label, text in self._first_lines()]
        lines += [f"    {line}" for line in self._map()]
        lines += [f"  note: {n}" for n in self.notes]
        bad = list(self.failures)
        good = sorted((c for c in self.checks if c.passed is True), key=lambda c: not c.imprecise)
        shown = [*bad[:14], *good[: max(4, ROWS - len(lines) - len(bad[:14]))]]
        width = max((len(c.name) for c in shown), default=0)
        lines += [""] * bool(shown)
        for c in shown:
            size = f"{c.units:.2f} ulp" if c.units is not None and c.passed else ""
            lines.append(f"  {c.verdict:9}  {c.name:{width}}  {size:>9}  {c.finding or c.claim}".rstrip())
        left = len(self.checks) - len(shown)
        lines += [f"  ... and {left} more"] if left else []
        lines.append(f"  {count(len(self.checks), 'check')} at {count(self.inputs, 'input')}, {self.seconds:.1f} s")
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
            "arithmetic": self.arithmetic,
            "proof": self.proof and self.proof.to_dict(),
            "reproduce": self.reproduce,
            "largest_error_ulp": self.units(),
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
            "checks": [
                {"name": c.name, "check": c.check, "claim": c.claim, "passed": c.passed, "verdict": c.verdict,
                 "detail": c.detail, "at": c.at, "units": c.units, "again": c.again, "map": list(c.heat)}
                for c in self.checks
            ],
        }  # fmt: skip

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def _repr_html_(self) -> str:
        first = "".join(f"<p><b>{escape(label)}:</b> {escape(text)}</p>" for label, text in self._first_lines())
        rows = (
            [c.verdict, c.name, f"{c.units:.2f}" if c.units is not None and c.passed else "", c.detail or c.claim, c.at]
            for c in sorted(self.checks, key=lambda c: c.passed is True)
        )
        title = f"<p><b>{escape(self.name)}</b>: {verdict(self.verdict)} <small>{escape(self.source)}</small></p>"
        table = html_table(["", "check", "ulp", "finding", "at"], rows, verdicts=0)
        lines = escape("\n".join(self._map())).replace("#", _cell(0.9)).replace("+", _cell(0.4))
        picture = f"<pre>{lines}</pre>" if lines else ""
        return f"<div>{title}{first}{picture}{html_lines(self.notes)}{table}</div>"

    def __getstate__(self) -> dict[str, Any]:
        _ = self.reproduce  # a process that gets a copy has no function to search with
        return self.__dict__


def _cell(opacity: float) -> str:
    return f'<span style="background:rgba(200,40,40,{opacity})">&nbsp;</span>'


def table(results: list[Verification]) -> str:
    """One line a rule: name, inputs, largest error in units of each dtype's resolution, verdict, cause."""
    columns = ("float64", "float32", "bfloat16", "float16")
    width = max((len(r.name) for r in results), default=4)
    lines = [f"{'rule':{width}}  inputs  " + "  ".join(f"{c:>8}" for c in columns) + "  proof        verdict"]
    for r in results:
        exact = max((c.units or 0.0 for c in r.checks if c.name.startswith("gradient")), default=0.0)
        cells = [exact, *(r.units(c) for c in columns[1:])]
        cause = f": {r.likely_cause}" if r.likely_cause else ""
        proof = r.proof.word if r.proof else ""
        numbers = "  ".join(f"{c:8.2f}" for c in cells)
        lines.append(f"{r.name:{width}}  {r.inputs:6d}  {numbers}  {proof:11}  {r.verdict}{cause}")
    wrong = sum(not r.passed for r in results)
    total = sum(r.seconds for r in results)
    lines.append(
        f"{count(len(results), 'rule')}, {wrong} not right, {total:.1f} s; errors in units of each type's resolution"
    )
    return "\n".join(lines)
