"""Deltas made simple: four moves, each taken only where it makes the whole derivation cheaper.

A delta is put into the lines that use it; a quantity is written by one that was computed from it (e by p s); a product
that has a name gets its name back; a known sum is written out. What is counted is what the lines cost to compute and to
read, and what must be saved for them. Every move is an identity; the printed program is proved all the same.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from .factor import line_cost
from .facts import Facts, add_shares, by_output, known_facts
from .index_notation import (
    Expression,
    Factor,
    Index,
    Product,
    delta_of,
    expression,
    opened,
    quantity,
)
from .numeric import Point, is_delta
from .quantities import LITERAL_KINDS, Program, Quantity
from .reverse_mode import Line, Lines
from .substitution import substituted

A_LINE = 20.0
"""What one line more costs the reader."""
LEAST = 1e-9


def simplified(program: Program, lines: Lines, points: Sequence[Point], simplex: Sequence[str]) -> tuple[Lines, Facts]:
    """The lines after all moves that make them cheaper, and the facts that were used.

    Args:
        program: the quantities; some may be added.
        lines: the chain rule's.
        points: where conjectures are decided.
        simplex: names of arguments whose last axis sums to 1.
    """
    facts = known_facts(program, points, simplex)
    add_shares(program, lines, facts, points)
    work = _Simplifier(program, facts, lines)
    work.polish_all()
    work.write_by_outputs(points)
    work.put_deltas_into_lines()
    work.write_by_outputs(points)
    work.drop_unused()
    work.join_masks()
    used = {k for line in work.lines.values() for k in line.expression.keys if k in program.quantities}
    program.number_anew(used | {output.factor.key for output in program.outputs})
    return work.lines, facts


@dataclass(frozen=True)
class Substitution:
    """A quantity written by one that was computed from it: u = by."""

    key: str
    indices: tuple[Index, ...]
    by: Expression
    output: str


class _Simplifier:
    def __init__(self, program: Program, facts: Facts, lines: Lines):
        self.program, self.facts = program, facts
        self.lines: Lines = {key: Line(facts.apply(line.expression), line.reasons) for key, line in lines.items()}
        self.results = {
            *program.arguments,
            *(q.key for q in program.quantities.values() if q.kind in ("previous", "last")),
        }
        self.substitutions, self.products = _rewrites(program)
        self.memo: dict[tuple, tuple[Expression | None, Line, Line]] = {}
        self.read: dict[Expression, list[str]] = {}

    # Cost.

    def forward(self, e: Expression) -> list[str]:
        """The forward quantities that a line would need saved."""
        if e not in self.read:
            nothing = (*LITERAL_KINDS, "upstream", "next", "first", "ids", "key", "argument", "mask argument")
            self.read[e] = [k for k in e.keys if not is_delta(k) and self.program[k].kind not in nothing]
        return self.read[e]

    def weight(self, key: str) -> float:
        """What saving a quantity costs; a mask is a bit a number."""
        q = self.program[key]
        extent = 1.0
        for i in q.indices:
            extent *= 8.0 * i.size
        return extent * (0.2 if q.is_mask else 1)

    def change(self, new: Mapping[str, Expression], gone: str | None) -> float:
        """By how much the whole gets dearer when lines are replaced and one is dropped."""
        cost, count = 0.0, dict[str, int]()
        for key, e in new.items():
            before = self.lines[key].expression
            cost += line_cost(e) - line_cost(before)
            for k in self.forward(before):
                count[k] = count.get(k, 0) - 1
            for k in self.forward(e):
                count[k] = count.get(k, 0) + 1
        if gone is not None:
            before = self.lines[gone].expression
            cost -= line_cost(before) + A_LINE
            for k in self.forward(before):
                count[k] = count.get(k, 0) - 1
        for k, difference in count.items():
            used = self.uses.get(k, 0)
            cost += self.weight(k) * ((used + difference > 0) - (used > 0))
        return cost

    def count_uses(self) -> None:
        self.uses: dict[str, int] = {}
        for line in self.lines.values():
            for key in self.forward(line.expression):
                self.uses[key] = self.uses.get(key, 0) + 1

    # Moves.

    def polished(self, e: Expression, needed_anyway: set[str]) -> Expression:
        """The line with outputs for inputs and names for products, while it gets cheaper."""

        def cost(x: Expression) -> float:
            return line_cost(x) + sum(self.weight(k) for k in self.forward(x) if k not in needed_anyway)

        best = cost(e)
        while True:
            for candidate in self.variants(e):
                if cost(candidate) < best - LEAST:
                    e, best = candidate, cost(candidate)
                    break
            else:
                return e

    def variants(self, e: Expression) -> Iterator[Expression]:
        keys = e.keys
        for s in self.substitutions:
            if s.key in keys:
                changed = substituted(e, s.key, s.indices, s.by)
                if changed is not None:
                    yield self.facts.apply(changed)
        for q in self.products:
            if q.definition is None or not q.definition.keys <= keys:
                continue
            for product, c in e.terms.items():
                folded = _folded(product, c, q)
                if folded is not None:
                    rest = Expression({p: k for p, k in e.terms.items() if p != product})
                    yield self.facts.apply(rest + folded)

    def needed_by_others(self, key: str) -> set[str]:
        return {k for other, line in self.lines.items() if other != key for k in self.forward(line.expression)}

    def polish_all(self) -> None:
        for key, line in list(self.lines.items()):
            self.count_uses()
            new = self.polished(line.expression, self.needed_by_others(key))
            if new != line.expression and self.change({key: new}, None) < -LEAST:
                self.lines[key] = replace(line, expression=new)

    def write_by_outputs(self, points: Sequence[Point]) -> None:
        """Local derivatives as quadratics in an output, where that is cheaper."""
        for key, line in list(self.lines.items()):
            self.count_uses()
            found = [
                (self.change({key: new.expression}, None), new) for new in by_output(self.program, key, line, points)
            ]
            best = min(found, key=lambda f: f[0], default=None)
            if best is not None and best[0] < -LEAST:
                self.lines[key] = best[1]

    def put_deltas_into_lines(self) -> None:
        """Put one delta into the lines that use it, the most useful first, until nothing gets cheaper."""
        while True:
            self.count_uses()
            best = min(self.insertions(), key=lambda found: found[0], default=None)
            if best is None or best[0] > -LEAST:
                return
            _, inserted, new, gone = best
            for key, e in new.items():
                self.lines[key] = Line(e, self.reasons(inserted, key), self.through(inserted, key))
            if gone is not None:
                del self.lines[gone]

    def reasons(self, inserted: str, into: str) -> tuple[str, ...]:
        """Why a line is what it is, once another was put into it."""
        both = (*self.lines[inserted].reasons, *self.lines[into].reasons)
        return tuple(dict.fromkeys(reason for reason in both if not reason.startswith("what arrives")))

    def through(self, inserted: str, into: str) -> tuple[str, ...]:
        """The quantities that a line goes through, once another was put into it; not one that only hands on."""
        own, other = self.lines[into], self.lines[inserted]
        factor = other.expression.single
        trivial = factor is not None and not is_delta(factor.key) and self.program[factor.key].kind == "upstream"
        return tuple(dict.fromkeys((*other.through, *([] if trivial else [inserted]), *own.through)))

    def insertions(self) -> Iterator[tuple[float, str, dict[str, Expression], str | None]]:
        readers: dict[str, list[str]] = {}
        for other, line in self.lines.items():
            for read in filter(is_delta, line.expression.keys):
                readers.setdefault(read, []).append(other)
        for key in self.lines:
            delta = delta_of(key)
            users = readers.get(delta, [])
            if key in self.results or not users:
                continue
            whole: dict[str, Expression] = {}
            for user in users:
                terms = [p for p in self.lines[user].expression.terms if any(f.key == delta for f, _ in p.powers)]
                for only in (None, *(terms if len(terms) > 1 else [])):
                    e = self.inserted(key, user, only)
                    if e is None:
                        continue
                    if only is None:
                        whole[user] = e
                    gone = key if users == [user] and delta not in e.keys else None
                    yield self.change({user: e}, gone), key, {user: e}, gone
            if len(users) > 1 and len(whole) == len(users):
                yield self.change(whole, key), key, whole, key

    def inserted(self, key: str, user: str, only: Product | None) -> Expression | None:
        line, other = self.lines[key], self.lines[user]
        question = (key, user, id(line), id(other), only)
        if question not in self.memo:
            made = substituted(other.expression, delta_of(key), self.program[key].indices, line.expression, only)
            if made:
                made = self.polished(self.facts.apply(made), self.needed_by_others(user))
            self.memo[question] = made, line, other  # the lines, so that their ids stay theirs
        return self.memo[question][0]

    def join_masks(self) -> None:
        """Two masks that only occur side by side are saved as one."""
        program = self.program
        terms = [(key, product) for key, line in self.lines.items() for product in line.expression.terms]
        places: dict[str, set[tuple[str, Product, tuple[Index, ...]]]] = {}
        for key, product in terms:
            for f, _ in product.powers:
                if not is_delta(f.key) and f.key in program.quantities and program[f.key].kind == "mask":
                    places.setdefault(f.key, set()).add((key, product, f.indices))
        for one, other in itertools.combinations(places, 2):
            if places[one] != places[other] or len(program[one].indices) != len(program[other].indices):
                continue
            q, names = program[one], dict(zip(program[other].indices, program[one].indices, strict=True))
            together = quantity(q.factor) * quantity(program[other].factor.renamed(names))
            both = program.add("m", q.indices, "mask", definition=together, function="all", differentiable=False)
            for key in {key for key, _, _ in places[one]}:
                self.lines[key] = replace(
                    self.lines[key],
                    expression=expression(
                        (
                            bound,
                            [
                                (Factor(both.key, f.indices) if f.key == one else f, e)
                                for f, e in powers
                                if f.key != other
                            ],
                            c,
                        )
                        for (bound, powers), c in self.lines[key].expression.terms.items()
                    ),
                )
            return self.join_masks()

    def drop_unused(self) -> None:
        """Unused lines: an upstream gradient under another name, what turned out to be zero."""
        while True:
            read = {key for line in self.lines.values() for key in line.expression.keys}
            unused = [key for key in self.lines if key not in self.results and delta_of(key) not in read]
            if not unused:
                return
            for key in unused:
                del self.lines[key]


def _folded(product: Product, c: Fraction, q: Quantity) -> Expression | None:
    """The term with q's name for q's definition, where it contains that."""
    assert q.definition is not None
    (((inner, wanted), d),) = q.definition.terms.items()
    ((bound, powers), _), = opened(Expression({product: c}))  # fmt: skip

    def match(k: int, names: dict[Index, Index], left: list[tuple[Factor, Fraction]]) -> Iterator[tuple[dict, list]]:
        if k == len(wanted):
            yield names, left
            return
        pattern, e = wanted[k]
        for j, (factor, p) in enumerate(left):
            enough = p == e or (not inner and abs(p) >= abs(e) and p * e > 0)
            if factor.key != pattern.key or not enough:
                continue
            extended = dict(names)
            if all(extended.setdefault(i, x) == x for i, x in zip(pattern.indices, factor.indices)):
                remaining = [(factor, p - e)] if p != e else []
                yield from match(k + 1, extended, left[:j] + remaining + left[j + 1 :])

    for names, left in match(0, {}, list(powers)):
        summed = [names[i] for i in inner]
        if len(set(names.values())) < len(names) or any(i not in names for i in q.indices):
            continue
        if any(i not in bound or any(i in f.indices for f, _ in left) for i in summed):
            continue
        named = Factor(q.key, tuple(names[i] for i in q.indices))
        return expression([([i for i in bound if i not in summed], [*left, (named, Fraction(1))], c / d)])
    return None


def _rewrites(program: Program) -> tuple[list[Substitution], list[Quantity]]:
    """For every product q = c u v ...: u = q / (c v ...), and q as a name for it."""
    substitutions, products = [], []
    for q in program.quantities.values():
        if q.kind != "formula" or q.definition is None or len(q.definition.terms) != 1 or not q.differentiable:
            continue
        (((bound, powers), c),) = q.definition.terms.items()
        if len(powers) + len(bound) < 2:
            continue
        products.append(q)
        if bound or c != 1:
            continue
        for factor, e in powers:
            u = program.quantities[factor.key]
            whole = abs(e) == 1 and set(factor.indices) == set(q.indices) and len(set(factor.indices)) == len(q.indices)
            if whole and u.kind not in LITERAL_KINDS and not u.is_mask:
                rest = [(f, -p / e) for f, p in powers if f != factor]
                by = expression([((), [*rest, (q.factor, 1 / e)], Fraction(1))])
                substitutions.append(Substitution(factor.key, factor.indices, by, q.key))
    return substitutions, products
