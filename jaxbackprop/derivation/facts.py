"""What is known of quantities beyond their definitions, and conjectures that points in float64 decide.

Masks are 0 or 1; a sum over an axis may be 0 or 1; a local derivative may be a polynomial in the unit's output. A
conjecture that depends on a mask belongs to one branch alone, and is not made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from .index_notation import SIZE, Expression, Factor, Index, expression, quantity
from .numeric import Point, complete, is_delta, same
from .quantities import Program, Quantity
from .reverse_mode import Line, Lines


@dataclass
class Facts:
    """What may be used wherever it makes a line simpler.

    Attributes:
        masks: keys of quantities that are 0 or 1.
        sums: for (quantity, position of an index) what the sum over that index is.
        vanishing: for a mask, the quantities that are 0 where it is 0, each with the positions of the mask's indices
            in its own: beside one of them the mask changes nothing.
        used: in words, each fact that a line was simplified by, collected by `apply`.
    """

    program: Program
    masks: set[str] = field(default_factory=set)
    sums: dict[tuple[str, int], Fraction] = field(default_factory=dict)
    vanishing: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)

    def apply(self, e: Expression) -> Expression:
        """The expression with powers of masks and known sums written out."""
        if not (self.masks & e.keys) and not any(key in e.keys for key, _ in self.sums):
            return e
        while True:
            after = expression(self._term(bound, powers, c) for (bound, powers), c in e.terms.items())
            if after == e:
                return e
            e = after

    def _term(
        self, bound: tuple[Index, ...], powers: Sequence[tuple[Factor, Fraction]], c: Fraction
    ) -> tuple[tuple[Index, ...], list[tuple[Factor, Fraction]], Fraction]:
        left = [(f, Fraction(1) if f.key in self.masks and e > 0 else e) for f, e in powers]
        left = [(f, e) for f, e in left if not self.changes_nothing(f, left)]
        for i in bound:
            having = [(f, e) for f, e in left if i in f.indices]
            if len(having) == 1:
                factor, e = having[0]
                total = self.sums.get((factor.key, factor.indices.index(i)))
                if e == 1 and total is not None and factor.indices.count(i) == 1:
                    rest = [(f, p) for f, p in left if f != factor]
                    return tuple(j for j in bound if j != i), rest, c * total
        return bound, left, c

    def changes_nothing(self, mask: Factor, beside: Sequence[tuple[Factor, Fraction]]) -> bool:
        """Whether a mask stands beside what is 0 where the mask is, and nothing is divided by what may be 0 there."""
        if mask.key not in self.vanishing or any(e < 0 and not divides(self.program, f) for f, e in beside):
            return False
        return any(
            e > 0 and tuple(f.indices[k] for k in positions) == mask.indices
            for f, e in beside
            if (positions := self.vanishing[mask.key].get(f.key)) is not None
        )

    def words(self, keys: set[str]) -> list[str]:
        """The known sums of these quantities, in words."""
        return [
            f"the sum of {{{key}}} over its {ordinal(position)} index is {total}"
            for (key, position), total in self.sums.items()
            if key in keys
        ]


def ordinal(position: int) -> str:
    """first, second, ..."""
    return ("first", "second", "third", "fourth", "fifth", "sixth")[position]


def depends_on_branch(program: Program, key: str) -> bool:
    """Whether what holds of a quantity at one point may fail where a mask, a sign or an index differs."""
    return any(
        (q := program[k]).is_mask or q.kind in ("select", "ids") or q.function in ("sign", "relu", "abs")
        for k in program.ancestors([key])
    )


def known_facts(program: Program, points: Sequence[Point], simplex: Sequence[str]) -> Facts:
    """The facts that hold by definition, those given, and the sums over an axis that are 0 or 1 at every point."""
    facts = Facts(program, {q.key for q in program.quantities.values() if q.is_mask})
    for q in program.quantities.values():
        if q.kind == "one-hot" and q.function != "padded":
            facts.sums[q.key, len(q.indices) - 1] = Fraction(1)
        elif q.kind == "placement":
            facts.sums[q.key, 0] = Fraction(1)
        elif q.name in simplex:
            facts.sums[q.key, len(q.indices) - 1] = Fraction(1)
        elif q.kind in ("formula", "function") and not depends_on_branch(program, q.key):
            for k in range(len(q.indices)):
                add_known_sum(facts, q, k, points)
    for q in program.quantities.values():
        if q.kind == "mask" and q.function == "not" and q.definition is not None:
            facts.vanishing[q.key] = _vanishing_where(program, q)
    return facts


def _vanishing_where(program: Program, mask: Quantity) -> dict[str, tuple[int, ...]]:
    """What is 0 where a mask is that says that a sum is not 0: the numbers summed, none of them negative, and products.

    Such a mask guards a division by the sum, as that of a softmax in a row where all is masked.
    """
    zero = mask.definition.single if mask.definition is not None else None
    total = program[zero.key].definition if zero is not None and program[zero.key].function == "zero" else None
    summed = program[total.single.key] if total is not None and total.single is not None else None
    if zero is None or summed is None or summed.definition is None or len(summed.definition.terms) != 1:
        return {}
    (((bound, powers), c),) = summed.definition.terms.items()
    ((one, e), *others) = powers
    if others or e <= 0 or c <= 0 or not bound or not program[one.key].positive:
        return {}
    at = dict(zip(summed.indices, mask.indices, strict=True))
    known = {one.key: [at.get(i) for i in one.indices]}
    for q in program.in_order():
        if q.kind == "formula" and q.definition is not None and len(q.definition.terms) == 1:
            ((_, factors),) = q.definition.terms
            if any(p < 0 and not divides(program, f) for f, p in factors):
                continue
            for f, p in factors:
                if p > 0 and f.key in known and set(f.indices) <= set(q.indices) and q.key not in known:
                    names = {i: known[f.key][k] for k, i in enumerate(f.indices)}
                    known[q.key] = [names.get(i) for i in q.indices]
    return {
        key: tuple(names.index(i) for i in mask.indices)
        for key, names in known.items()
        if all(names.count(i) == 1 for i in mask.indices)
    }


def divides(program: Program, f: Factor) -> bool:
    """Whether a divisor is a number or a size, or chosen by a mask, so that 0 divided by it is 0."""
    return f.key.startswith(SIZE) or (
        f.key in program.quantities and program[f.key].kind in ("number", "size", "select")
    )


def add_known_sum(facts: Facts, q: Quantity, position: int, points: Sequence[Point]) -> None:
    """Enter the sum of `q` over an index, if it is 0 or 1 at every point."""
    for total in (0, 1):
        if all(_sums_to(p.values[q.key], position, total) for p in points):
            facts.sums[q.key, position] = Fraction(total)


def _sums_to(x: np.ndarray, position: int, total: int) -> bool:
    # Against the size of the terms: a sum that is zero is one of cancelling numbers, not of vanishing ones.
    size = np.abs(x).sum(position)
    return bool(np.all(size > 1e-6) and np.all(np.abs(x.sum(position) - total) <= 1e-10 * size))


def add_shares(program: Program, lines: Lines, facts: Facts, points: Sequence[Point]) -> None:
    """p = e / sum e becomes a quantity wherever a delta needs it: probabilities, whose sum is 1."""
    for t in list(program.quantities.values()):
        if t.kind != "formula" or t.definition is None or len(t.definition.terms) != 1:
            continue
        (((bound, powers), c),) = t.definition.terms.items()
        if c != 1 or not bound or len(powers) != 1 or powers[0][1] != 1:
            continue
        e = program[powers[0][0].key]
        if e.kind != "function" or not {e.key, t.key} <= set().union(
            *(line.expression.keys for line in lines.values())
        ):
            continue
        names = dict(zip(powers[0][0].indices, e.indices, strict=True))
        share = quantity(e.factor) * quantity(t.factor.renamed(names), -1)
        if any(q.definition == share for q in program.quantities.values()):
            continue
        p = program.add("p", e.indices, "formula", definition=share, positive=True)
        for point in points:
            complete(program, point)
        if len(bound) == 1:
            facts.sums[p.key, e.indices.index(names[bound[0]])] = Fraction(1)


def by_output(program: Program, key: str, line: Line, points: Sequence[Point]) -> Iterator[Line]:
    """An elementwise line `delta f(...)`, f written as a quadratic in another quantity: 1 - a^2, a (1 - a)."""
    indices = program[key].indices
    terms = line.expression.terms
    if not indices or not terms or any(bound for bound, _ in terms):
        return
    common = set.intersection(*({f for f, e in powers if e == 1} for _, powers in terms))
    carriers = [f for f in common if is_delta(f.key) or program[f.key].kind == "upstream"]
    if len(carriers) != 1:
        return
    local = expression(((), [p for p in powers if p[0] != carriers[0]], c) for (_, powers), c in terms.items())
    if any(is_delta(k) for k in local.keys) or local.single is not None:
        return
    if any(depends_on_branch(program, k) for k in local.keys if k in program.quantities):
        return
    for q in list(program.quantities.values()):
        same_shape = q.kind in ("formula", "function") and q.differentiable and set(q.indices) == set(indices)
        if same_shape and not depends_on_branch(program, q.key):
            found = _quadratic(local, q, indices, points)
            if found is not None:
                reason = f"the local derivative, by the output {q}"
                yield replace(line, expression=quantity(carriers[0]) * found, reasons=(*line.reasons, reason))


def _quadratic(
    local: Expression, q: Quantity, indices: tuple[Index, ...], points: Sequence[Point]
) -> Expression | None:
    """`local` as a quadratic with small whole coefficients in q, if it is one at every point."""
    a = np.concatenate([p.value(quantity(q.factor), indices).ravel() for p in points])
    r = np.concatenate([p.value(local, indices).ravel() for p in points])
    if len(a) < 6 or not np.all(np.isfinite(a)) or not np.all(np.isfinite(r)):
        return None
    powers = np.stack([a**0, a, a**2], 1)
    if not np.all(np.isfinite(powers)) or np.linalg.cond(powers) > 1e5:
        return None  # values too much alike to tell a quadratic
    fitted, *_ = np.linalg.lstsq(powers, r, rcond=None)
    whole = np.round(fitted)
    if np.abs(whole).max() > 4 or not same(whole[0] + whole[1] * a + whole[2] * a**2, r):
        return None
    return expression(((), [(q.factor, Fraction(k))], Fraction(int(c))) for k, c in enumerate(whole) if c)
