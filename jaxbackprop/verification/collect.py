"""Checks are made and their results collected: for each check the worst one, and what explains the failures."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace

from .checks.result import Check, CheckResult, what_happened
from .diagnosis.intended import by_design, knows_more
from .diagnosis.likely_cause import likely_cause
from .problem import HandwrittenFunction, Problem
from .report import Verification

RAISES = "it raises an exception"

Failure = tuple[CheckResult, Problem]


def can_be_differentiated(problem: Problem) -> None:
    """The handwritten function can be called and differentiated."""


class Collected:
    """Results as they come in."""

    def __init__(self) -> None:
        self.results: dict[str, CheckResult] = {}
        self.failed: list[Failure] = []
        self.notes: list[str] = []
        self.stopped: dict[str, list[str]] = {}

    def make(self, problem: Problem, checks: Iterable[Check]) -> None:
        """Make checks of a problem; one that raises has failed, and a function that always raises is not asked."""
        try:
            _ = problem.trace("handwritten")
        except Exception as error:
            self.enter(Check(can_be_differentiated), self.raised(error, problem), problem)
            return
        for check in checks:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    found = list(check.results(problem))
            except Exception as error:
                found = [self.raised(error, problem)]
            for result in found:
                self.enter(check, result, problem)

    def raised(self, error: Exception, problem: Problem) -> CheckResult:
        """A check met an exception: the rule's fault, unless the plain function itself raises at these arguments."""
        try:
            problem.value()
        except Exception as of_plain:
            return CheckResult(None, f"could not be judged, the plain function raises: {what_happened(of_plain)}")
        return CheckResult(False, what_happened(error), suspect=RAISES)

    def enter(self, check: Check, result: CheckResult, problem: Problem) -> None:
        """Keep a result."""
        name = result.name or check.name
        if result.note:
            self.notes.append(f"{name}: {result.detail}")
            return
        if result.suspect == RAISES:
            self.stopped.setdefault(result.detail, []).append(name)
            if len(self.stopped[result.detail]) > 1:
                return
        if result.passed is not True:
            self.failed.append((result, problem))
        new = replace(result, name=name, check=check.key, at=result.at or problem.given.label, evidence=None)
        old = self.results.get(name)
        self.results[name] = new if old is None else _worse(old, new)

    def verification(self, function: HandwrittenFunction, inputs: int, seconds: float) -> Verification:
        """Everything that was found."""
        cause, design = (self.explained(what) for what in (self.cause, self.by_design))
        also = [f"the same exception stops {len(n) - 1} more checks" for n in self.stopped.values() if len(n) > 1]
        return Verification(
            name=function.name,
            checks=tuple(self.results.values()),
            source=function.source,
            inputs=inputs,
            likely_cause=cause,
            notes=tuple(dict.fromkeys([*self.notes, *also])),
            seconds=seconds,
            by_design=design,
        )

    def explained(self, explain: Callable[[], str]) -> str:
        """An explanation of a failure; a rule that raises wherever it is asked has none, and the failure stands."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return explain()
        except Exception as error:
            what = what_happened(error)
            self.notes += [] if what in self.stopped else [f"no explanation was found: {what}"]
            return ""

    def by_design(self) -> str:
        """What speaks for a difference that is meant; it must explain every gradient that is wrong."""
        more = ""
        found = []
        for result, problem in self.failed:
            words = by_design(result.evidence) if result.evidence is not None else ""
            more = more or ("" if words else knows_more(problem))
            if result.evidence is not None:
                found.append(words or more)
        return (found[0] if all(found) else "") if found else more

    def cause(self) -> str:
        """The first failure whose numbers an hypothesis explains; else what a check itself suspects."""
        given = [result.evidence for result, _ in self.failed if result.evidence is not None]
        # One number, as a batch of one leaves, fits almost anything; unless there is no more to go by.
        for evidence in [e for e in given if e.expected.size > 1] or given:
            found = likely_cause(evidence)
            if found:
                return found
        for result, _ in sorted(self.failed, key=lambda f: f[0].suspect == RAISES):
            if result.suspect:
                return result.suspect
            if result.evidence is not None and result.evidence.found.at_a_kink:
                return "at a kink: another value than those between the derivatives from its sides"
            if result.evidence is not None:
                return "none of the known ones: the numbers are those of another formula"
        return ""


def _worse(a: CheckResult, b: CheckResult) -> CheckResult:
    rank = {True: 0, None: 1, False: 2}
    units = max((u for u in (a.units, b.units) if u is not None), default=None)
    return replace(b if rank[b.passed] > rank[a.passed] else a, units=units)
