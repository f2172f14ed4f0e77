"""Are two programs the same function? Both are evaluated over finite fields, without any tolerance.

Where every residue of an output agrees, the formulas are one, but for a chance that Schwartz and Zippel bound: a
polynomial of degree d that is not zero vanishes at a random point of a field of n numbers with a chance of at most
d / n. Exponentials, logarithms, roots and atoms such as erf count as unknowns of their own.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...jaxprs.compat import ClosedJaxpr, inner_programs, scan_of, shape_of
from ...jaxprs.inputs import is_key
from ...jaxprs.number_systems.finite_field import (
    Draw,
    Field,
    Numbers,
    OtherDraw,
    Refused,
    Unknown,
    has_exponentials,
    in_finite_field,
)

PROVED, REFUTED, NOT_DECIDED = "proved", "refuted", "not decided"

ENOUGH = -50.0
"""The chance of a false "proved" is below 2 to this power."""

REPETITIONS = (3, 6, 12)
"""So often the inputs are drawn; the next number where the degree of the formulas asks for it."""

MOST_STEPS = 4_000_000
"""Programs that compute more numbers than so many are not evaluated."""

SECONDS = 20.0
"""After so long no other inputs are drawn: where there are very many roots, all of them seldom exist."""

DIFFERENT = 1e-9
"""Numbers farther apart than this share of their size are different ones, whatever identity could be missed."""


@dataclass(frozen=True)
class Element:
    """A number in which the two programs differ.

    Attributes:
        output: the output it belongs to.
        index: its place there.
        one: the first program's value.
        other: the second program's.
        where: all elements of that output that differ.
    """

    output: int
    index: tuple[int, ...]
    one: float
    other: float
    where: np.ndarray


@dataclass(frozen=True)
class Answer:
    """Whether two programs are the same function of their inputs, where they take the same branches as here.

    Attributes:
        verdict: "proved", "refuted" or "not decided".
        differs: where refuted, one element of each output that differs.
        why: where not decided, what stopped it.
        chance: the binary logarithm of the chance that "proved" is false.
        region: a checksum of the branches taken.
        ties: the operations at whose kinks and ties this point is: where numbers that are compared are equal. There a
            derivative is a convention, and two that differ may both be right.
        sides: for each comparison in the programs, by a key of its own, whether it was true and false somewhere.
    """

    verdict: str
    differs: tuple[Element, ...] = ()
    why: str = ""
    chance: float = -math.inf
    region: int = 0
    ties: tuple[str, ...] = ()
    sides: dict[int, set[bool]] = field(default_factory=dict)


def prove(
    one: ClosedJaxpr, other: ClosedJaxpr, args: Sequence[Any], outputs: Sequence[int] | None = None, seed: int = 0
) -> Answer:
    """Whether two programs of the same flat arguments are the same function.

    Args:
        one: a program.
        other: another one; its outputs have the same shapes.
        args: where: the branches taken here are those that the answer is about. Floating-point numbers are unknowns,
            integers, booleans and keys stay what they are.
        outputs: the ones that are compared; all where none are given.
        seed: of what is drawn.
    """
    if max(_steps(one), _steps(other)) > MOST_STEPS:
        return Answer(NOT_DECIDED, why="the programs compute too many numbers")
    chosen = range(len(one.jaxpr.outvars)) if outputs is None else outputs
    answer = Answer(NOT_DECIDED, why="no inputs were drawn")
    for repetitions in REPETITIONS:
        answer = _answer(one, other, args, chosen, Draw(repetitions, seed))
        if answer.verdict != PROVED or answer.chance < ENOUGH:
            return answer
    return Answer(NOT_DECIDED, why=f"the degree of the formulas leaves a chance of error of 2^{answer.chance:.0f}")


def _steps(program: ClosedJaxpr) -> int:
    """How many numbers a program computes; the body of a while loop counts once."""
    total = 0
    for eqn in program.jaxpr.eqns:
        inside = sum(_steps(ClosedJaxpr(*body)) for body in inner_programs(eqn))
        times = scan_of(eqn).length if eqn.primitive.name == "scan" else 1
        total += inside * times or sum(math.prod(shape_of(v)) for v in eqn.outvars if hasattr(v.aval, "shape"))
    return total


def _answer(one: ClosedJaxpr, other: ClosedJaxpr, args: Sequence[Any], outputs: Sequence[int], draw: Draw) -> Answer:
    exponents, start = has_exponentials(one) or has_exponentials(other), time.perf_counter()
    while True:
        field = Field(draw, exponents)
        given = _given(field, args)
        try:
            found = [in_finite_field(field, program, given) for program in (one, other)]
            break
        except Refused as refused:
            return Answer(NOT_DECIDED, why=str(refused))
        except OtherDraw as again:
            if time.perf_counter() - start > SECONDS:
                return Answer(NOT_DECIDED, why="too many roots and logarithms for all of them to exist at once")
            draw.again(again)
    return _compared(field, found[0], found[1], outputs)


def _given(field: Field, args: Sequence[Any]) -> list[Any]:
    """The arguments with unknowns in the place of floating-point numbers."""
    which = [i for i, x in enumerate(args) if not is_key(x) and jnp.issubdtype(np.asarray(x).dtype, jnp.inexact)]
    real = [i for i in which if not np.iscomplexobj(args[i])]
    given = [x if is_key(x) else np.asarray(x) for x in args]
    for i, x in zip(real, field.inputs([args[i] for i in real]), strict=True):
        given[i] = x
    for i in set(which) - set(real):
        given[i] = Unknown("complex numbers")
    return given


def _compared(field: Field, one: list[Any], other: list[Any], outputs: Sequence[int]) -> Answer:
    differs, stopped, degree = [], [], 1.0
    for j in outputs:
        x, y = one[j], other[j]
        unknown = next((v for v in (x, y) if isinstance(v, Unknown)), None)
        if unknown is not None:
            stopped.append(unknown.why)
            continue
        if not isinstance(x, Numbers) or not isinstance(y, Numbers):
            continue  # no number to differentiate: float0, an integer
        if x.shape != y.shape:
            differs.append(Element(j, (), math.nan, math.nan, np.ones((), bool)))
            continue
        degree = max(degree, (x.degree + y.degree).top)
        element, why = _different(field, j, x, y)
        differs += [element] if element else []
        stopped += [why] if why else []
    verdict = REFUTED if differs else NOT_DECIDED if stopped else PROVED
    why = " and ".join(dict.fromkeys(stopped)) if verdict == NOT_DECIDED else ""
    return Answer(
        verdict,
        tuple(differs),
        why,
        _chance(field, degree),
        field.decisions.taken,
        tuple(field.decisions.ties),
        field.decisions.sides,
    )


def _chance(field: Field, degree: float) -> float:
    """The bound's binary logarithm. A number that must be a square excludes half of all draws: it counts twice."""
    smallest = min(float(np.log2(float(q))) for q in field.q.m)
    return field.k * min(0.0, math.log2(degree) + int(field.roots.max()) - smallest)


def _different(field: Field, j: int, x: Numbers, y: Numbers) -> tuple[Element | None, str]:
    """The element that differs most and for certain; or why it cannot be decided whether one differs."""
    off = (x.r != y.r).any(0)
    if not off.any():
        return None, ""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(x.value), np.abs(y.value))
        gap = np.abs(x.value - y.value)
        finite = np.isfinite(gap)
        apart = gap > DIFFERENT * size + 1e-12 * np.max(size, initial=0.0, where=np.isfinite(size))
    unsure = x.unsure | y.unsure
    certain = off & finite & (apart | (not unsure))
    if not certain.any():
        why = "a value that is not finite" if not (off & finite).any() else _names(unsure)
        return None, why
    share = np.where(certain, gap / np.where(size == 0, 1, size), -1.0)
    at = tuple(map(int, np.unravel_index(int(np.argmax(share)), share.shape)))
    return Element(j, at, float(x.value[at]), float(y.value[at]), certain), ""


def _names(unsure: frozenset[str]) -> str:
    return f"an identity of {', '.join(sorted(unsure))} that is not known here"
