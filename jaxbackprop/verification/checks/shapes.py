"""At other lengths of the arguments' axes: what a kernel leaves out shows where its blocks do not fit.

A length that the plain function does not take is no matter; one that the handwritten function refuses with an error is
a precondition, and reported; one that it accepts must be right.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd

import numpy as np

from ..axes import Axis, axes_of, blocks_along, named_lengths
from ..diagnosis.evidence import Evidence
from ..examine import compare_gradient, compare_values, compared
from ..problem import Problem
from ..rounding import unmeasured
from .result import CheckResult, what_happened


def shapes(problem: Problem) -> Iterator[CheckResult]:
    """At other lengths of each axis value and gradient are the plain function's; a length that is refused is noted."""
    if not problem.shapes or not problem.main or problem.function.typed or not problem.differentiable:
        return
    if _judged(problem) is not None:
        yield CheckResult(True, "not tried: it is wrong at the given lengths already", note=True)
        return
    if isinstance(problem.shapes, Mapping):
        chosen = [(axis, blocks_along(problem, axis), n) for axis, n in named_lengths(problem, problem.shapes)]
    else:
        chosen = [(axis, blocks := blocks_along(problem, axis), lengths(axis, blocks)) for axis in axes_of(problem)]
    for axis, blocks, wanted in chosen:
        yield from _Sweep(problem, axis, blocks).results(wanted)


def lengths(axis: Axis, blocks: Sequence[int]) -> list[int]:
    """A block, one more and one less, several, a prime beyond them, one, none at all; without blocks, fewer."""
    near = [n for block in blocks for n in (block + 1, block - 1, block)]
    several = [2 * max(blocks), _prime_beyond(3 * max(blocks))] if blocks else [axis.size + 1, 2 * axis.size]
    wanted = [*near, *several, 1, 0]
    return [n for n in dict.fromkeys(wanted) if n != axis.size and n >= 0]


def _prime_beyond(n: int) -> int:
    return next(p for p in range(n + 1, 2 * n + 3) if all(p % k for k in range(2, int(p**0.5) + 1)))


def _judged(problem: Problem) -> CheckResult | None:
    """What is wrong at its arguments; None where nothing is."""
    upstream = problem.upstream(0)
    y, actual = problem.handwritten_vjp(upstream)
    expected = [x for part in problem.autodiff_vjp(upstream) for x in part]
    if compared([*y, *actual], expected, unmeasured(expected, np.float64), np.float64).passed:
        return None  # what a block leaves out is no matter of last places
    found = compare_gradient(problem, actual, upstream)
    leaf = next((j for j, wrong in enumerate(found.wrong) if wrong.any()), None)
    if leaf is not None:
        evidence = Evidence(problem, found, upstream, leaf)
        return CheckResult(False, f"gradient of {evidence.sentence()}", evidence=evidence)
    values = compare_values(problem, y)
    if values.passed is False:
        return CheckResult(False, values.worst_output(), suspect="forward pass: its value is not the plain function's")
    return None


@dataclass
class _Sweep:
    """One axis, length by length."""

    problem: Problem
    axis: Axis
    blocks: Sequence[int]
    right: list[int] = field(default_factory=list)
    refused: dict[int, Exception] = field(default_factory=dict)

    def results(self, wanted: Sequence[int]) -> Iterator[CheckResult]:
        """What is wrong, the first length of it alone; or where it is right, and what is refused."""
        name, wrong = f"shapes: {self.axis.name}", None
        for n in wanted:
            wrong = self.at(n)
            if wrong is not None:
                break
        if any(self.refused):
            yield CheckResult(True, self.precondition(), note=True)
        if wrong is not None:
            yield replace(wrong, name=name)
        elif self.right:
            said = f"right at {self.axis.name} = {', '.join(map(str, sorted(self.right)))}{self.in_blocks()}"
            yield CheckResult(True, said + "; 0 is refused" * (0 in self.refused), name)
        elif not self.refused:
            tried = ", ".join(map(str, sorted(wanted)))
            said = f"not tried along {self.axis.name}: the plain function takes none of the lengths {tried}"
            yield CheckResult(True, said, note=True)

    def in_blocks(self) -> str:
        """The block sizes in words."""
        return f" (in blocks of {' and '.join(map(str, self.blocks))})" if self.blocks else ""

    def at(self, n: int) -> CheckResult | None:
        """What is wrong at this length."""
        point = self.axis.at_length(self.problem, n)
        like = self.problem
        here = Problem(like.function, point, dtype=like.dtype, seed=like.seed, main=False, deadline=like.deadline)
        here.blocks = {place: self.blocks for place in self.axis.places}
        upstream, exact = None, []
        try:
            upstream = here.upstream(0)
            exact = [x for part in here.autodiff_vjp(upstream) for x in part]
        except Exception:  # the plain function does not take this length
            return None
        if not all(np.isfinite(x).all() for x in exact):
            return None  # it has no value there, as a mean of nothing
        try:
            _ = here.handwritten_vjp(upstream)
        except Exception as error:
            self.refused[n] = error
            return None
        wrong = _judged(here)
        if wrong is None:
            self.right.append(n)
            return None
        detail = f"at {n}{self.in_blocks()}: {wrong.detail}"
        return replace(wrong, detail=detail, at=point.label, options=(f"shapes={{{self.axis.name!r}: [{n}]}}",))

    def precondition(self) -> str:
        """What the lengths that are refused have in common."""
        name, taken = self.axis.name, [n for n in (*self.right, self.axis.size) if n]
        step, few = gcd(*taken), sorted(n for n in self.refused if n)
        error = what_happened(self.refused[few[-1]])
        if step > 1 and len(taken) > 1 and all(n % step for n in few):
            rule = f"must be a multiple of {step}"
        elif max(few) < min(taken):
            rule = f"must be at least {min(taken)}"
        else:
            rule = f"is refused at {', '.join(map(str, few))}"
        return f"{name} {rule}: {error}"
