"""What the forward pass saves for the backward pass: the fewest bytes from which the rest is cheaply computed again.

Cheap is what costs about one pass over an array: elementwise functions, and sums over one array. A matrix product is
not computed again. A mask is one byte a number; an argument costs what any other array costs.
"""

import itertools
from dataclasses import dataclass

from .deltas import Lines
from .index_notation import SIZE
from .numeric import is_delta
from .quantities import LITERAL_KINDS, Program, Quantity


@dataclass(frozen=True)
class Residuals:
    """What is saved, and what is computed again from it, each in the order of the forward pass.

    Attributes:
        saved: keys.
        recomputed: keys.
        bytes: of what is saved, at the sizes it was derived with, a number four bytes.
    """

    saved: tuple[str, ...]
    recomputed: tuple[str, ...]
    bytes: int


def chosen_residuals(program: Program, lines: Lines) -> Residuals:
    """The cheapest choice that greedy replacement finds."""
    needed = {
        key
        for line in lines.values()
        for key in line.expression.keys
        if not is_delta(key)
        and not key.startswith(SIZE)
        and program[key].kind not in ("upstream", "next", "first", *LITERAL_KINDS)
    }
    needed = {program[key].selector.key if program[key].kind == "one-hot" else key for key in needed}  # type: ignore[union-attr]
    saved = set(needed)
    while (better := _better(program, saved)) is not None:
        saved = better
    order = [q.key for q in program.in_order(needed)]
    again = _recomputed(program, needed, saved)
    return Residuals(
        tuple(k for k in order if k in saved), tuple(k for k in order if k in again), _bytes(program, saved)
    )


def _bytes(program: Program, keys: set[str]) -> int:
    return sum(program[k].elements * (1 if program[k].is_mask else 4) for k in keys)


def _parents(program: Program, key: str) -> set[str]:
    q = program[key]
    after = {q.recurrence.key} if q.kind == "previous" and q.recurrence else set()
    return {k for k in q.parents | after if program.quantities[k].kind not in LITERAL_KINDS}


def is_cheap(program: Program, q: Quantity) -> bool:
    """Whether computing it again costs about one pass over an array; what a loop carries is not computed again."""
    if any(p.recurrence is not None and p.recurrence.key == q.key for p in program.previous) or q.kind == "last":
        return False
    if q.kind in ("argument", "mask argument", "ids", "upstream"):
        return False
    if q.kind == "previous":
        return True
    if q.kind in ("maximum", "select", "one-hot"):
        return True
    assert q.definition is not None
    return all(
        sum(
            bool(set(f.indices) & set(product.bound)) and program.quantities[f.key].kind != "placement"
            for f, _ in product.powers
        )
        <= 1
        for product in q.definition.terms
    )


def _frontier(program: Program, key: str, saved: set[str]) -> set[str]:
    """What a quantity is cheaply computed from, down to what is saved anyway."""
    found: set[str] = set()
    waiting, met = [key], {key}
    while waiting:
        for parent in _parents(program, waiting.pop()):
            if parent in saved - {key} or not is_cheap(program, program[parent]):
                found.add(parent)
            elif parent not in met:
                met.add(parent)
                waiting.append(parent)
    return found


def _better(program: Program, saved: set[str]) -> set[str] | None:
    """A choice with fewer bytes that differs by one quantity, or by two."""
    total = _bytes(program, saved)
    cheap = sorted((k for k in saved if is_cheap(program, program[k])), key=lambda k: (-program[k].elements, k))
    for key in cheap:
        rest = saved - {key}
        options = [rest | _parents(program, key), rest | _frontier(program, key, saved)]
        best = min(options, key=lambda s: _bytes(program, s))
        if key not in best and _bytes(program, best) < total:
            return best
    for a, b in itertools.combinations(cheap, 2):
        both = (saved - {a, b}) | _parents(program, a) | _parents(program, b)
        if not {a, b} & both and _bytes(program, both) < total:
            return both
    return None


def _recomputed(program: Program, needed: set[str], saved: set[str]) -> set[str]:
    again: set[str] = set()
    waiting = list(needed - saved)
    while waiting:
        key = waiting.pop()
        if key not in again:
            again.add(key)
            waiting += [k for k in _parents(program, key) if k not in saved]
    return again
