"""`audit`: every hand-derived rule inside a JAX program, checked at the values it really sees there."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ..core.rule import registered_as
from ..jaxprs import rule_calls
from ..jaxprs.compat import JaxprEqn, binding, jaxpr_as_fun
from ..jaxprs.inputs import Inputs
from ..jaxprs.provenance import key, place
from ..jaxprs.queries import outputs_read
from ..jaxprs.rule_calls import RuleCalls
from ..jaxprs.rules import kind_of, plain_program
from .checks.registry import CHECKS
from .checks.result import Check, CheckResult, what_happened
from .collect import Collected
from .problem import HandwrittenFunction, Problem
from .report import Verification
from .surroundings import undisturbed

SAMPLES = 3
"""At so many of its calls a rule is verified: the first ones of different shapes or values."""

_ASKED = (
    "forward_pass", "gradient", "linear_in_the_upstream", "precision", "structure", "same_value_when_differentiated",
    "vmap", "second_order",
)  # fmt: skip


def could_be_judged(problem: Problem) -> None:
    """The rule can be called and differentiated at the values it saw."""


UNJUDGED = Check(could_be_judged)


@dataclass(frozen=True)
class Site:
    """One hand-derived rule as the program uses it.

    Attributes:
        name: of the rule.
        source: file and line of its definition.
        calls: how often the program called it; 0 where it stands on a branch not taken.
        verification: what was found at the values it saw; None where it was never called.
    """

    name: str
    source: str
    calls: int
    verification: Verification | None

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.verification is None:
            return "not reached"
        unjudged = all(check.name == UNJUDGED.name for check in self.verification.checks)
        return "not judged" if unjudged else self.verification.verdict


@dataclass(frozen=True)
class Audit:
    """All hand-derived rules of a program.

    Attributes:
        sites: one for each rule.
        seconds: how long it took.
    """

    sites: tuple[Site, ...]
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every rule that was called is right."""
        return all(site.verification is None or site.verification.passed for site in self.sites)

    @property
    def failures(self) -> tuple[Site, ...]:
        """The sites whose rule is not right."""
        return tuple(s for s in self.sites if s.verification is not None and not s.verification.passed)

    def raise_if_failed(self) -> "Audit":
        """Itself, where all passed.

        Raises:
            VerificationError: with the report of the first rule that failed.
        """
        for site in self.failures:
            assert site.verification is not None
            site.verification.raise_if_failed()
        return self

    def __str__(self) -> str:
        if not self.sites:
            return f"no hand-derived rule in this program ({self.seconds:.1f} s)"
        width = max(len(s.name) for s in self.sites)
        lines = [f"{'rule':{width}}  calls  verdict"]
        for s in self.sites:
            lines.append(f"{s.name:{width}}  {s.calls:5d}  {s.verdict:10}  {s.source}")
            if s.verification is not None and not s.verification.passed:
                worst = s.verification.failures[0]
                why = s.verification.by_design or s.verification.likely_cause
                lines.append(f"{'':{width}}         {worst.name}: {worst.detail}")
                lines += [f"{'':{width}}         {why}"] if why else []
        lines.append(f"{len(self.sites)} rules, {len(self.failures)} not right, {self.seconds:.1f} s")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "sites": [
                {"name": s.name, "source": s.source, "calls": s.calls, "verdict": s.verdict,
                 "verification": s.verification and s.verification.to_dict()}
                for s in self.sites
            ],
        }  # fmt: skip

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.to_dict(), indent=2)


@undisturbed()
def audit(fun: Callable, *args: Any, **settings: Any) -> Audit:
    """Find every `custom_vjp` and `custom_jvp` that `fun(*args)` calls, and verify each at the values it sees.

    Looks through jit, scan, while, cond, checkpoint, vmap, shard_map and rules inside rules. Give the function whose
    gradient is taken, not its gradient: differentiating has already used the rules up.

    Args:
        fun: any JAX function.
        args: its arguments; Python values that are no arrays are held static.
        settings: keyword arguments, held static.

    Raises:
        TypeError: `fun` is no function.
    """
    if not callable(fun):
        raise TypeError(f"audit: {fun!r:.60} is no function that could be looked through.")
    start = time.perf_counter()
    point = Inputs(args)
    program = jax.make_jaxpr(point.call_all(lambda *a: fun(*a, **settings)))(*point.arrays)
    watched, error = rule_calls.watch(program, point.arrays)
    broken = f"the program could not be run as far as this rule: {what_happened(error)}" if error else ""
    found: dict[tuple[Any, ...], Seen] = {}
    for calls in watched:
        found.setdefault(key(calls.eqn), Seen(calls.eqn)).add(calls)
    used = outputs_read(program.jaxpr)
    sites = tuple(_site(seen, used, broken) for seen in found.values())
    return Audit(sites, time.perf_counter() - start)


@dataclass
class Seen:
    """A rule in a program: one of its equations, how often it is called, and some of its inputs."""

    eqn: JaxprEqn
    calls: int = 0
    samples: list[tuple[JaxprEqn, list[Any]]] = field(default_factory=list)

    def add(self, one: RuleCalls) -> None:
        """The calls of one equation, and its inputs where they are news."""
        self.calls += one.calls
        for given in one.inputs:
            shapes = [np.shape(x) for x in given]
            alike = [k for k, (_, old) in enumerate(self.samples) if [np.shape(x) for x in old] == shapes]
            # A call of other shapes is worth more than another one of the same; of those, the first ones and the last.
            if len(self.samples) < SAMPLES:
                self.samples.append((one.eqn, given))
            elif alike:
                self.samples[alike[-1]] = one.eqn, given


def _site(seen: Seen, used: dict[int, list[int]], broken: str) -> Site:
    """What is found about one rule; an exception on the way is what was found, and the other rules are still judged."""
    name, source = place(seen.eqn)
    try:
        verification = _judged(seen, used, name, source)
    except Exception as error:
        verification = Verification(name, (CheckResult(None, what_happened(error), UNJUDGED.name),), source)
    if verification is None and broken and not seen.calls:
        verification = Verification(name, (CheckResult(None, broken, UNJUDGED.name),), source)
    return Site(name, source, seen.calls, verification)


def _judged(seen: Seen, used: dict[int, list[int]], name: str, source: str) -> Verification | None:
    start, collected, problems = time.perf_counter(), Collected(prove=True), []
    for k, (eqn, args) in enumerate(seen.samples):
        function = _function(eqn, name, source, used.get(id(eqn), []))
        problem = Problem(function, Inputs(tuple(args), f"its call {k + 1}"))
        if not problem.inputs.live:
            continue
        problems.append(problem)
        try:
            _ = problem.trace("handwritten")
        except Exception as error:
            collected.enter(UNJUDGED, CheckResult(None, what_happened(error)), problem)
            continue
        collected.make(problem, (CHECKS[check] for check in _ASKED if k == 0 or CHECKS[check].everywhere))
    if not problems:
        return None
    return collected.verification(problems[0].function, len(problems), time.perf_counter() - start)


def _function(eqn: JaxprEqn, name: str, source: str, kept: list[int]) -> HandwrittenFunction:
    """The equation, bound again, beside the plain function that it holds: their outputs that are `kept`."""
    # No gradient arrives at an output the program throws away: the running maximum a softmax hands out beside.
    kept = kept or list(range(len(eqn.outvars)))
    whole = jaxpr_as_fun(plain_program(eqn))

    def handwritten(*args: Any) -> list[Any]:
        outputs = binding(eqn)(*args)
        return [outputs[i] for i in kept]

    def plain(*args: Any) -> list[Any]:
        outputs = whole(*args)
        return [outputs[i] for i in kept]

    own = registered_as(name)
    names = (
        tuple(p.name for p in own.signature.parameters)
        if own and len(own.signature.parameters) == len(eqn.invars)
        else ()
    )
    names = names or tuple(f"input {i}" for i in range(len(eqn.invars)))
    return HandwrittenFunction(name, handwritten, plain, names, source, kind_of(eqn), typed=True)
