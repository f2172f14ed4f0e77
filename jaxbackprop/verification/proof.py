"""The algebra's verdict, without tolerance: is the handwritten backward pass the same function as autodiff's?

Each example is one answer about the branches taken there; where a comparison goes one way only, other points are tried.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.domains import real
from ..jaxprs.compat import ClosedJaxpr
from ..jaxprs.inputs import Leaves, replaced
from ..jaxprs.queries import UNTRACEABLE
from .checks.second_order import second_derivatives
from .oracles.finite_field import ENOUGH, NOT_DECIDED, PROVED, REFUTED, Answer, Element, prove
from .points import domain_of
from .problem import OutOfTime, Problem
from .wording import count, expected_and_got, index


@dataclass(frozen=True)
class Proof:
    """What is known of the formulas.

    Attributes:
        verdict: "proved", "refuted" or "not decided".
        detail: in one line: where it holds, where it does not, or what stopped it.
        at_a_tie: whether it is refuted at kinks and ties alone, where a derivative is a convention.
        inputs: how many inputs it holds at.
        regions: how many different ways through the branches these took.
        second_order: the same verdict about the derivative of the backward pass; empty where there is none.
        one_way: how many comparisons went one way only, at all these inputs and at others that were tried.
        chance: the binary logarithm of the chance that "proved" is false, at any one input.
        iterates: whether a program has a loop: one that ends near enough to a limit is another function than the limit.
        beside: how it fits the numerical verdict; empty where there is nothing to say.
    """

    verdict: str
    detail: str = ""
    at_a_tie: bool = False
    inputs: int = 0
    regions: int = 0
    second_order: str = ""
    one_way: int = 0
    chance: float = 0.0
    iterates: bool = False
    beside: str = ""

    @property
    def word(self) -> str:
        """The verdict for a table; "kink or tie" where that alone, a convention, is refuted."""
        return "kink or tie" if self.at_a_tie else self.verdict

    @property
    def text(self) -> str:
        """Everything in one line; it begins with the verdict."""
        return "; ".join(part for part in (f"{self.verdict}: {self.detail}", self.beside) if part)

    def __str__(self) -> str:
        """In short, for a report: what `text` says, without what every proof says and what the report says anyway."""
        if self.verdict != PROVED:
            return self.text
        regions = f", {count(self.regions, 'branch region')}" if self.regions > 1 else ""
        twice = {PROVED: ", the second derivative too", NOT_DECIDED: ", the second derivative not decided"}
        found = f"{self.verdict} at {count(self.inputs, 'input')}{regions}{twice.get(self.second_order, '')}"
        return "; ".join(part for part in (found, self.beside) if part)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "verdict": self.verdict,
            "text": self.text,
            "at_a_tie": self.at_a_tie,
            "inputs": self.inputs,
            "regions": self.regions,
            "second_order": self.second_order,
            "one_way": self.one_way,
            "log2_chance_of_error": self.chance,
        }


@dataclass(frozen=True)
class _Found:
    """An answer, and what it is about; `at_a_tie`: a little aside both programs are the same function."""

    problem: Problem
    answer: Answer
    order: int
    at_a_tie: bool = False


def proved(problems: Sequence[Problem]) -> Proof:
    """The proof at all these inputs, and the second order's at the main one."""
    try:
        found = list(_answers(problems))
    except OutOfTime:
        return Proof(NOT_DECIDED, "the time limit was reached")
    first = [f for f in found if f.order == 1]
    second = _verdict([f for f in found if f.order == 2])
    if not first:
        return Proof(NOT_DECIDED, "autodiff cannot differentiate the plain function")
    verdict = REFUTED if second == REFUTED else _verdict(first)
    good = [f for f in first if f.answer.verdict == PROVED]
    about = {
        "inputs": len(good),
        "regions": len({(id(f.problem.programs), f.answer.region) for f in good}),
        "second_order": second,
        "one_way": _one_way(f for f in first if f.problem.main),
        "iterates": any(f.problem.holds(loop) for f in first for loop in ("while", "scan")),
    }
    if verdict == REFUTED:
        bad = sorted((f for f in found if f.answer.verdict == REFUTED), key=lambda f: (f.at_a_tie, f.order))
        return Proof(REFUTED, _difference(bad[0], good), bad[0].at_a_tie, **about)
    if verdict == NOT_DECIDED:
        why = next(f.answer.why for f in first if f.answer.verdict == NOT_DECIDED)
        return Proof(NOT_DECIDED, why + (f" (proved at {len(good)} of {len(first)} inputs)" if good else ""), **about)
    chance = max(f.answer.chance for f in good)
    return Proof(PROVED, _holds(about, [f for f in found if f.order == 2]), chance=chance, **about)


def _one_way(found: Iterable[_Found]) -> int:
    sides: dict[int, set[bool]] = {}
    for f in found:
        for key, seen in f.answer.sides.items():
            sides.setdefault(key, set()).update(seen)
    return sum(len(seen) == 1 for seen in sides.values())


def _verdict(found: Sequence[_Found]) -> str:
    verdicts = {f.answer.verdict for f in found}
    return next((v for v in (REFUTED, NOT_DECIDED, PROVED) if v in verdicts), "")


def _holds(about: dict[str, Any], second: Sequence[_Found]) -> str:
    twice = {
        PROVED: ", the second derivative too",
        NOT_DECIDED: f", the second derivative not decided: {second[0].answer.why}" if second else "",
    }
    return (
        "the same function of its inputs wherever the program takes the same branches "
        f"({count(about['inputs'], 'input')}, {count(about['regions'], 'branch region')}"
        f"{twice.get(about['second_order'], '')}; chance of error below 2^{ENOUGH:.0f})"
    )


def _difference(bad: _Found, good: Sequence[_Found]) -> str:
    """Which number is another function, what it is, and where the formula holds."""
    element = bad.answer.differs[0]
    name, argument = _named(bad, element)
    values = expected_and_got(element.other, element.one)
    detail = f"{name}{index(element.index)} is another function: {values}"
    if bad.at_a_tie:
        ties = ", ".join(bad.answer.ties)
        return f"{detail}, at a kink or tie ({ties}) alone, where the derivative is a convention"
    side = _side(bad, element, argument)
    if side:
        return f"{detail}; right on the other side, wrong where {side}"
    elsewhere = [f for f in good if f.problem is not bad.problem]
    return f"{detail} ({bad.problem.given.label})" + (f"; proved at {len(elsewhere)} other inputs" if elsewhere else "")


def _named(bad: _Found, element: Element) -> tuple[str, int | None]:
    """What an output of the program is, and which argument it is the gradient of."""
    problem = bad.problem
    names, j = problem.names(), element.output
    if bad.order == 2:
        of = names[j] if j < len(names) else "the upstream gradient"
        return f"the second derivative by {of}", None
    if j < len(problem.outputs):
        return f"output {j}", None
    return f"the gradient of {names[j - len(problem.outputs)]}", problem.inputs.live[j - len(problem.outputs)]


def _side(bad: _Found, element: Element, argument: int | None) -> str:
    """The sign of the argument that separates the wrong elements from the right ones; empty where it does not."""
    if argument is None or element.where.all():
        return ""
    x, name = bad.problem.inputs.arrays[argument], bad.problem.inputs.label_of(argument, bad.problem.function.names)
    for sign, where in (("<", x < 0), (">", x > 0)):
        if np.array_equal(element.where, where):
            return f"{name} {sign} 0"
    return ""


def _answers(problems: Sequence[Problem]) -> Iterator[_Found]:
    for problem in problems:
        if not problem.differentiable:
            continue
        try:
            programs = problem.trace("handwritten"), problem.trace("autodiff")
        except UNTRACEABLE:
            continue
        sides: dict[int, set[bool]] = {}
        for here in (problem, *(_elsewhere(problem) if problem.main else ())):
            if here is not problem and all(len(seen) == 2 for seen in sides.values()):
                break
            found = _found(here, programs, [*here.inputs.arrays, *here.upstream(0)], 1)
            if here is not problem and found.answer.verdict == NOT_DECIDED:
                continue  # not finite so far away, say
            for key, seen in found.answer.sides.items():
                sides.setdefault(key, set()).update(seen)
            yield found
        if problem.main:
            yield from _second_order(problem)


def _second_order(problem: Problem) -> Iterator[_Found]:
    try:
        given = second_derivatives(problem)
    except Exception:
        return  # what cannot be differentiated twice, the check of second derivatives reports
    programs = problem.trace("twice, handwritten"), problem.trace("twice, plain")
    yield _found(problem, programs, given, 2)


def _found(problem: Problem, programs: tuple[ClosedJaxpr, ClosedJaxpr], given: Leaves, order: int) -> _Found:
    """The answer at a point; where it is at a kink or tie and the programs differ, with what they are close by."""
    answer = prove(*programs, given, seed=problem.seed)
    if answer.verdict != REFUTED or not answer.ties:
        return _Found(problem, answer, order)
    rng, close = problem.random("aside"), []
    for _ in range(2):
        moved = [
            (x + 1e-5 * (1 + np.abs(x)) * rng.uniform(-1, 1, x.shape)).astype(x.dtype) for x in _live(problem, given)
        ]
        close.append(prove(*programs, replaced(given, problem.inputs.live, moved), seed=problem.seed))
    elsewhere = next((a for a in close if a.verdict == REFUTED), None)
    return _Found(problem, elsewhere or answer, order, at_a_tie=elsewhere is None)


def _live(problem: Problem, given: Leaves) -> Leaves:
    return [np.asarray(given[i]) for i in problem.inputs.live]


def _elsewhere(problem: Problem) -> Iterator[Problem]:
    """Other points of the same shapes, on the other sides of branches; arguments with a domain stay as they are."""
    arrays = problem.inputs.arrays
    free = [i for i in problem.inputs.live if domain_of(problem, i) is real]

    def at(label: str, change: Any) -> Problem:
        moved: Leaves = replaced(arrays, free, [change(arrays[i]).astype(arrays[i].dtype) for i in free])
        return problem.moved(problem.inputs.with_arrays(moved, label))

    if free:
        yield at("negated", lambda x: -x)
        yield at("thirty times larger", lambda x: 30 * x)
        yield at("thirty times larger, negated", lambda x: -30 * x)
        yield at("a hundredth as large", lambda x: 0.01 * x)
