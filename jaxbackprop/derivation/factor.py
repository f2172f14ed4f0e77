"""Brackets: an expression as a person would write it, common factors put before a bracket; and what it costs.

The printers walk this tree, and the simplification counts it.
"""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from .index_notation import Expression, Factor, Index, Powers, Product, normal


class Contraction(NamedTuple):
    """Factors that a sum holds together: a matrix product, a sum over an axis."""

    bound: tuple[Index, ...]
    powers: Powers


Item = Factor | Contraction


@dataclass(frozen=True)
class Term:
    """coefficient * items ** exponents * (bracket)."""

    coefficient: Fraction
    items: tuple[tuple[Item, Fraction], ...]
    bracket: tuple["Term", ...] = ()


def indices_of(item: Item) -> set[Index]:
    """What an item depends on."""
    if isinstance(item, Factor):
        return set(item.indices)
    return {i for f, _ in item.powers for i in f.indices if i not in item.bound}


@lru_cache(maxsize=20_000)
def factored(e: Expression) -> tuple[Term, ...]:
    """The expression with common factors before brackets, in a person's order."""
    terms = _horner([(c, _items(p)) for p, c in sorted(e.terms.items())])
    sizes = {abs(t.coefficient) for t in terms}
    if len(terms) > 1 and len(sizes) == 1 and sizes != {Fraction(1)}:
        c = sizes.pop()
        return (Term(c, (), tuple(Term(t.coefficient / c, t.items, t.bracket) for t in terms)),)
    return tuple(terms)


def _items(product: Product) -> dict[Item, Fraction]:
    """Factors without bound index, and one contraction for each set of factors that bound indices connect."""
    items: dict[Item, Fraction] = {}
    groups: list[tuple[set[Index], list[tuple[Factor, Fraction]]]] = []
    for factor, e in product.powers:
        bound = {i for i in factor.indices if i in product.bound}
        if not bound:
            items[factor] = items.get(factor, Fraction(0)) + e
            continue
        joined = [g for g in groups if g[0] & bound]
        groups = [g for g in groups if not g[0] & bound]
        groups.append((bound.union(*(g[0] for g in joined)), [(factor, e), *(p for g in joined for p in g[1])]))
    for bound, powers in groups:
        # Indices are numbered anew, so that equal sums in two terms are one item.
        made = Contraction(*normal(tuple(bound), powers))
        items[made] = items.get(made, Fraction(0)) + 1
    return items


def _extent(indices: set[Index]) -> float:
    """How long an array over these indices is, for comparing: an example's sizes say which axes are long."""
    return math.prod(8.0 * i.size for i in indices)


def _horner(terms: list[tuple[Fraction, dict[Item, Fraction]]]) -> list[Term]:
    best: tuple[tuple[int, float], Item, int] | None = None
    if len(terms) > 1:
        for sign in (1, -1):
            for item in {i for _, items in terms for i, e in items.items() if e * sign > 0}:
                count = sum(1 for _, items in terms if items.get(item, 0) * sign > 0)
                rank = (count, _extent(indices_of(item)))
                # A number before a bracket of some terms multiplies what is long, inside only what is short.
                worth = count == len(terms) or indices_of(item)
                if count < 2 or not worth or (best is not None and rank < best[0]):
                    continue
                if best is None or rank > best[0] or (sign == best[2] and repr(item) > repr(best[1])):
                    best = rank, item, sign
    if best is None:
        return _positive_first([Term(c, tuple(items.items())) for c, items in terms])
    _, item, sign = best
    having = [(c, dict(items)) for c, items in terms if items.get(item, 0) * sign > 0]
    rest = [t for t in terms if t[1].get(item, 0) * sign <= 0]
    power = sign * min(abs(items[item]) for _, items in having)
    for _, items in having:
        items[item] -= power
        if items[item] == 0:
            del items[item]
    inner = _horner(having)
    if len(inner) == 1:
        (one,) = inner
        items = dict(one.items)
        items[item] = items.get(item, Fraction(0)) + power
        out = [Term(one.coefficient, tuple(items.items()), one.bracket)]
    else:
        sizes = {abs(t.coefficient) for t in inner}
        c = sizes.pop() if len(sizes) == 1 else Fraction(1)
        c = -c if all(t.coefficient < 0 for t in inner) else c
        bracket = _positive_first([Term(t.coefficient / c, t.items, t.bracket) for t in inner])
        out = [Term(c, ((item, power),), tuple(bracket))]
    return _positive_first(out + (_horner(rest) if rest else []))


def _positive_first(terms: list[Term]) -> list[Term]:
    """As a person writes them: what is positive first, matrix products before biases, a number last."""

    def place(t: Term) -> tuple[bool, bool, bool]:
        has_sum = any(isinstance(item, Contraction) for item, _ in t.items)
        return t.coefficient < 0, not (t.items or t.bracket), not has_sum

    return sorted(terms, key=place)


# What it costs.

LONG = 12
"""A line with more symbols than this is hard to read."""


@lru_cache(maxsize=100_000)
def line_cost(e: Expression) -> float:
    """Operations, and symbols to read, of one line."""
    operations, symbols, _ = _cost(factored(e), set())
    return operations + symbols + max(0, 4 * (symbols - LONG))


def _cost(terms: tuple[Term, ...], counted: set[Contraction]) -> tuple[float, int, set[Index]]:
    operations, symbols = 0.0, 0
    over: set[Index] = set()
    for term in terms:
        parts = []
        for item, e in term.items:
            parts.append(indices_of(item))
            symbols += 1
            if isinstance(item, Contraction):
                symbols += len(item.powers)
                if item not in counted:
                    counted.add(item)
                    operations += _best_order(tuple(frozenset(f.indices) for f, _ in item.powers), frozenset(parts[-1]))
            if abs(e) != 1:
                operations += _extent(parts[-1]) / 2
        if term.bracket:
            inner_operations, inner_symbols, inner = _cost(term.bracket, counted)
            operations += inner_operations
            symbols += inner_symbols
            parts.append(inner)
        together: set[Index] = set()
        for k, part in enumerate(sorted(parts, key=len)):
            together |= part
            if k:
                operations += _extent(together)
        over |= together
    return operations + _extent(over) * (len(terms) - 1), symbols, over


@lru_cache(maxsize=10_000)
def _best_order(sets: tuple[frozenset[Index], ...], out: frozenset[Index]) -> float:
    """Multiplications of a contraction in its best order of pairs."""
    if len(sets) == 1:
        return _extent(set(sets[0])) if sets[0] - out else 0.0
    if len(sets) == 2:
        return _extent(set(sets[0] | sets[1]))
    best = math.inf
    for i, j in itertools.combinations(range(len(sets)), 2):
        rest = [s for k, s in enumerate(sets) if k not in (i, j)]
        kept = (sets[i] | sets[j]) & frozenset().union(out, *rest)
        best = min(best, _extent(set(sets[i] | sets[j])) + _best_order((*rest, kept), out))
    return best
