"""What the forward pass saves for the backward pass: the fewest bytes from which the rest is cheaply computed again.

Cheap is what costs about one pass over an array: elementwise functions, and sums over one array. A matrix product is
not computed again. A mask is one byte a number; an argument costs what any other array costs.
"""

import itertools
import math
from dataclasses import dataclass

from .index_notation import SIZE, Factor
from .numeric import is_delta
from .quantities import LITERAL_KINDS, Program, Quantity
from .reverse_mode import Lines

WORTH = 0.95
"""All that one quantity gives is computed again from it only if the bytes fall at least by this factor."""


@dataclass(frozen=True)
class Residuals:
    """What is saved, and what is computed again from it, each in the order of the forward pass.

    Attributes:
        saved: keys.
        recomputed: keys.
        bytes: of what is saved, at the sizes it was derived with: a number four bytes, a mask or a sign one.
    """

    saved: tuple[str, ...]
    recomputed: tuple[str, ...]
    bytes: int


def chosen_residuals(program: Program, lines: Lines, operations_per_byte: float = 0) -> Residuals:
    """The cheapest choice that greedy replacement finds.

    Args:
        program: the quantities.
        lines: the deltas.
        operations_per_byte: how many operations a byte is worth; sums of products that cost less are computed again.
    """
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
    chooser = _Chooser(program, operations_per_byte)
    while (better := chooser.better(saved)) is not None:
        saved = better
    order = [q.key for q in program.in_order(needed)]
    again = _recomputed(program, needed, saved)
    return Residuals(tuple(k for k in order if k in saved), tuple(k for k in order if k in again), chooser.bytes(saved))


def _parents(program: Program, key: str) -> set[str]:
    q = program[key]
    after = {q.recurrence.key} if q.kind == "previous" and q.recurrence else set()
    return {k for k in q.parents | after if program.quantities[k].kind not in LITERAL_KINDS}


class _Chooser:
    def __init__(self, program: Program, operations_per_byte: float):
        self.program, self.operations_per_byte = program, operations_per_byte
        self.carried = {p.recurrence.key for p in program.previous if p.recurrence is not None}
        self.cheap: dict[str, bool] = {}
        self.parents: dict[str, set[str]] = {}
        self.size: dict[str, int] = {}

    def bytes(self, keys: set[str]) -> int:
        return sum(map(self.bytes_of, keys))

    def bytes_of(self, key: str) -> int:
        if key not in self.size:
            self.size[key] = self.program[key].elements * self.program[key].bytes_each
        return self.size[key]

    def parents_of(self, key: str) -> set[str]:
        if key not in self.parents:
            self.parents[key] = _parents(self.program, key)
        return self.parents[key]

    def is_cheap(self, key: str) -> bool:
        """Whether computing it again costs about one pass over an array, or is worth the bytes."""
        if key not in self.cheap:
            self.cheap[key] = self._is_cheap(self.program[key])
        return self.cheap[key]

    def _is_cheap(self, q: Quantity) -> bool:
        if q.key in self.carried or q.kind in ("last", "argument", "mask argument", "ids", "upstream", "key"):
            return False  # what a loop carries is not computed again
        if q.kind in ("previous", "maximum", "select", "one-hot", "drawn"):
            return True
        assert q.definition is not None
        for bound, powers in q.definition.terms:
            summed = [f for f, _ in powers if {*f.indices} & {*bound} and not self.is_place(f)]
            operations = 2 * math.prod(i.size for i in (*q.indices, *bound))
            if len(summed) > 1 and operations > self.operations_per_byte * q.elements * q.bytes_each:
                return False
        return True

    def is_place(self, f: Factor) -> bool:
        """Whether a factor says where entries stand: a slice, or rows picked by integers."""
        return self.program.quantities[f.key].kind in ("placement", "one-hot")

    def frontier(self, key: str, saved: set[str]) -> set[str]:
        """What a quantity is cheaply computed from, down to what is saved anyway."""
        found: set[str] = set()
        waiting, met = [key], {key}
        while waiting:
            for parent in self.parents_of(waiting.pop()):
                if parent in saved - {key} or not self.is_cheap(parent):
                    found.add(parent)
                elif parent not in met:
                    met.add(parent)
                    waiting.append(parent)
        return found

    def with_root(self, saved: set[str], root: str) -> set[str]:
        """One more saved, and all that can be computed from it and the others left out."""
        kept = saved | {root}
        for key in sorted(filter(self.is_cheap, saved - {root}), key=lambda k: (-self.bytes_of(k), k)):
            if self.frontier(key, kept) <= kept - {key}:
                kept = kept - {key}
        return kept

    def better(self, saved: set[str]) -> set[str] | None:
        """A choice with fewer bytes: one quantity replaced, or two, or all that one other quantity gives."""
        program, total = self.program, self.bytes(saved)
        cheap = sorted((k for k in saved if self.is_cheap(k)), key=lambda k: (-program[k].elements, k))
        for key in cheap:
            rest = saved - {key}
            options = [rest | self.parents_of(key), rest | self.frontier(key, saved)]
            best = min(options, key=self.bytes)
            if key not in best and self.bytes(best) < total:
                return best
        for a, b in itertools.combinations(cheap, 2):
            both = (saved - {a, b}) | self.parents_of(a) | self.parents_of(b)
            if not {a, b} & both and self.bytes(both) < total:
                return both
        roots = {q.key for q in program.in_order(saved) if q.kind not in LITERAL_KINDS} - saved
        options = [self.with_root(saved, root) for root in sorted(roots, key=lambda k: (len(k), k))]
        best = min(options, key=self.bytes, default=saved)
        return best if self.bytes(best) < WORTH * total else None


def _recomputed(program: Program, needed: set[str], saved: set[str]) -> set[str]:
    again: set[str] = set()
    waiting = list(needed - saved)
    while waiting:
        key = waiting.pop()
        if key not in again:
            again.add(key)
            waiting += [k for k in _parents(program, key) if k not in saved]
    return again
