"""Checks are made and their results collected: for each check the worst one, and what explains the failures."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from .caller_settings import undisturbed
from .checks.result import Check, CheckResult, what_happened
from .diagnosis.from_numbers import described
from .diagnosis.intended import by_design, knows_more
from .diagnosis.likely_cause import likely_cause
from .examine import has_numbers
from .problem import HandwrittenFunction, OutOfTime, Problem
from .proof import proved
from .report import Verification
from .reproduce import Failure
from .wording import heat_map

RAISES = "it raises an exception"
NOT_LINEAR = "not linear"


def can_be_differentiated(problem: Problem) -> None:
    """The handwritten function can be called and differentiated."""


class Collected:
    """Results as they come in."""

    def __init__(self, prove: bool = False) -> None:
        self.prove = prove
        self.problems: list[Problem] = []
        self.results: dict[str, CheckResult] = {}
        self.failed: list[tuple[CheckResult, Problem]] = []
        self.notes: list[str] = []
        self.stopped: dict[str, list[str]] = {}
        self.not_made: list[str] = []

    @undisturbed()
    def make(self, problem: Problem, checks: Iterable[Check]) -> None:
        """Make checks of a problem, as long as there is time; one that raises has failed, and ends the others."""
        self.problems.append(problem)
        self.notes += [problem.note] if problem.note else []
        try:
            _ = problem.trace("handwritten")
        except OutOfTime:
            self.not_made += [check.name for check in checks]
            return
        except Exception as error:
            self.enter(Check(can_be_differentiated), self.raised(error, problem), problem)
            return
        for check in checks:
            try:
                if check.needs_numbers and not has_numbers(problem):
                    continue
                for result in check.results(problem):
                    self.enter(check, result, problem)
            except OutOfTime:
                self.not_made.append(check.name)
            except Exception as error:
                self.enter(check, self.raised(error, problem), problem)

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
        new = replace(
            result,
            name=name,
            check=check.key,
            claim=check.claim,
            at=result.at or problem.given.label,
            evidence=None,
            heat=heat_map(result.evidence.wrong) if result.evidence is not None else (),
        )
        if result.passed is False:
            failure = Failure.of(check, result, problem)
            new = replace(new, again=failure.call, example=undisturbed()(failure.program))
        old = self.results.get(name)
        self.results[name] = new if old is None else _worse(old, new)

    def verification(self, function: HandwrittenFunction, inputs: int, seconds: float) -> Verification:
        """Everything that was found."""
        cause, design = (self.explained(what) for what in (self.cause, self.by_design))
        also = [f"the same exception stops {len(n) - 1} more checks" for n in self.stopped.values() if len(n) > 1]
        left = list(dict.fromkeys(self.not_made))
        if left:
            detail = f"reached before these checks were made or completed: {', '.join(left)}"
            self.results["time limit"] = CheckResult(None, detail, "time limit")
        found = Verification(
            name=function.name,
            checks=tuple(self.results.values()),
            source=function.source,
            inputs=inputs,
            likely_cause=cause,
            notes=tuple(dict.fromkeys([*self.notes, *also])),
            seconds=seconds,
            by_design=design,
        )
        return found.with_proof(proved(self.problems)) if self.prove else found

    def explained(self, explain: Callable[[], str]) -> str:
        """An explanation of a failure; a rule that raises wherever it is called has none, and the failure stands."""
        try:
            with undisturbed():
                return explain()
        except OutOfTime:
            return ""
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
        # A backward pass that is not linear has no Jacobian to be described.
        for result, _ in sorted(self.failed, key=lambda f: (f[0].suspect != NOT_LINEAR, f[0].suspect == RAISES)):
            if result.suspect:
                return result.suspect
            if result.evidence is not None and result.evidence.found.at_a_kink:
                return "at a kink: another value than those between the derivatives from its sides"
            if result.evidence is not None:
                return described(result.evidence)
        return ""


def _worse(a: CheckResult, b: CheckResult) -> CheckResult:
    units = max((u for u in (a.units, b.units) if u is not None), default=None)
    return replace(max(a, b, key=_gravity), units=units)


def _gravity(result: CheckResult) -> tuple[int, bool]:
    if result.passed is True:
        return 0, result.imprecise
    return (1 if result.passed is None else 2), not result.imprecise
