"""Expressions as Python over arrays: matrix products, sums over axes, gathers, their sizes read from the arrays.

An array holds a quantity's indices in their order, without axes of size 1; inside a loop without time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

from .axis_letters import Letters
from .factor import Contraction, Item, Term, factored, indices_of
from .index_notation import DELTA, SIZE, Expression, Factor, Index, expression, opened, quantity
from .quantities import Program, Quantity
from .substitution import substituted

FUNCTIONS = {
    "exp": "jnp.exp", "log": "jnp.log", "tanh": "jnp.tanh", "logistic": "jax.nn.sigmoid", "sqrt": "jnp.sqrt",
    "rsqrt": "jax.lax.rsqrt", "softplus": "jax.nn.softplus", "erf": "jax.lax.erf", "abs": "jnp.abs", "sin": "jnp.sin",
    "cos": "jnp.cos", "sign": "jnp.sign", "log1p": "jnp.log1p", "expm1": "jnp.expm1",
}  # fmt: skip

WIDTH = 110
Axes = tuple[Index | None, ...]


@dataclass(frozen=True)
class Piece:
    """Code for an array, and its axes."""

    code: str
    axes: tuple[Index, ...]
    is_mask: bool = False
    reduction: "Reduction | None" = None


@dataclass(frozen=True)
class Reduction:
    """A sum or mean over axes of one array, so that it may keep them or become a mean."""

    of: str
    axes: tuple[Index, ...]
    over: tuple[int, ...]
    how: str = "sum"

    def code(self, keep: bool = False) -> str:
        """The call."""
        whole = len(self.over) == len(self.axes)
        axes = "" if whole else str(self.over[0]) if len(self.over) == 1 else str(self.over)
        return f"{self.of}.{self.how}({axes}{', keepdims=True' if keep else ''})"

    def piece(self) -> Piece:
        """It as a piece."""
        return Piece(self.code(), tuple(i for k, i in enumerate(self.axes) if k not in self.over), reduction=self)


class Mean(NamedTuple):
    """A sum divided by the sizes of what it runs over."""

    of: Contraction


@dataclass
class Writer:
    """Writes expressions over the arrays that are known at this place of the program."""

    program: Program
    letters: Letters
    known: dict[str, Axes] = field(default_factory=dict)  # names of arrays, with their axes
    shapes_of: list[str] = field(default_factory=list)  # arguments of which only the shape is needed
    masks_allowed: bool = False  # whether a mask alone may stay boolean

    # Sizes.

    def size(self, axis: int) -> str:
        """Where the size of an axis can be read."""
        for name, axes in self.known.items():
            for k, i in enumerate(axes):
                if i is not None and i.axis == axis:
                    return f"{name}.shape[{k}]"
        for key in self.program.arguments:
            q = self.program[key]
            for k, i in enumerate(q.axes):
                if i is not None and i.axis == axis:
                    if q.name not in self.shapes_of:
                        self.shapes_of.append(q.name)
                    return f"{self.shape_name(q.name)}.shape[{k}]"
        if (found := self.program.size_by_others(axis)) is not None:
            code = self.whole_number(found)
            return f"({code})" if " " in code else code
        return str(int(self.program[f"{SIZE}{axis}"].value))  # a number in the function, of no argument

    def whole_number(self, e: Expression) -> str:
        """An expression in sizes as code for an integer."""
        text = ""
        for (_, powers), c in sorted(e.terms.items(), key=lambda term: (term[1] < 0, not term[0].powers)):
            sizes = [(self.size(int(f.key[len(SIZE) :])), p) for f, p in powers]
            above = [code for code, p in sizes if p > 0]
            if abs(c.numerator) != 1 or not above:
                above.insert(0, str(abs(c.numerator)))
            below = [code for code, p in sizes if p < 0] + [str(c.denominator)] * (c.denominator != 1)
            text += f" {'-' if c < 0 else '+'} {' // '.join([' * '.join(above), *below])}"
        return text[3:] if text.startswith(" + ") else text.strip() or "0"

    def resolved(self, e: Expression) -> Expression:
        """An expression in sizes, by those of the earliest axes: two that are equal at all sizes are the same."""
        for axis in sorted(self.program.size_of, reverse=True):  # a rule speaks of earlier axes
            found = self.program.size_by_others(axis)
            if found is not None and f"{SIZE}{axis}" in e.keys:
                changed = substituted(e, f"{SIZE}{axis}", (), found)
                e = e if changed is None else changed
        return e

    def length(self, parts: Sequence[Index]) -> Expression:
        """How many entries a placement has."""
        sizes = [(Factor(f"{SIZE}{i.axis}"), Fraction(1)) for i in parts]
        return self.resolved(expression([((), sizes, Fraction(1))]))

    def shape_name(self, name: str) -> str:
        """The name of what holds only an argument's shape."""
        return f"{name}_shape"

    def shape(self, indices: Sequence[Index | None]) -> str:
        """A tuple of sizes as code."""
        for name, axes in self.known.items():
            if [i and i.axis for i in axes] == [i and i.axis for i in indices] and axes:
                return f"{name}.shape"
        for key in self.program.arguments:
            q = self.program[key]
            if [i and i.axis for i in q.axes] == [i and i.axis for i in indices] and q.name not in self.known:
                if q.name not in self.shapes_of:
                    self.shapes_of.append(q.name)
                return f"{self.shape_name(q.name)}.shape"
        parts = [self.size(i.axis) if i is not None else "1" for i in indices]
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"

    def dtype(self) -> str:
        """The dtype in which deltas are added up."""
        upstream = self.program[self.program.upstream[0]].name
        floats = (q.name for key in self.program.arguments if (q := self.program[key]).dtype == "float")
        return f"{upstream if upstream in self.known else next(floats)}.dtype"

    # Arrays.

    def factor(self, f: Factor) -> Piece:
        """A quantity, number, size or delta by name."""
        if f.key.startswith(DELTA):
            return Piece(self.program.delta_name(f.key[1:]), f.indices)
        if f.key.startswith(SIZE):
            return Piece(self.size(int(f.key[1:])), ())
        q = self.program[f.key]
        if q.kind == "number":
            return Piece(q.text, ())
        if q.kind == "one-hot":
            ids = self.ids(q, f.indices[-1])
            dtype = ", dtype=bool" * self.masks_allowed
            code = f"jax.nn.one_hot({ids}, {self.size(f.indices[-1].axis)}{dtype})"
            return Piece(code, f.indices, is_mask=self.masks_allowed)
        if q.kind == "placement":
            return Piece(self.place_array(q, f), f.indices, is_mask=True)
        code = q.name
        axes = q.axes
        if q.kind in ("argument", "mask argument", "upstream") and None in axes:
            code = f"{code}[{', '.join('0' if i is None else ':' for i in axes)}]"
        if axes:
            order = [q.indices.index(i) for i in axes if i is not None]
            return Piece(code, tuple(f.indices[k] for k in order), q.is_mask)
        return Piece(code, f.indices, q.is_mask)

    def ids(self, q: Quantity, row: Index) -> str:
        """The integers of a one-hot."""
        assert q.selector is not None
        name = self.factor(q.selector).code
        return f"jnp.clip({name}, 0, {self.size(row.axis)} - 1)" if q.function == "clipped" else name

    def place_array(self, q: Quantity, f: Factor) -> str:
        """A placement as an array, where it is neither a slice nor a reshape."""
        whole, *parts = f.indices
        n, offset = _unwrapped(self.size(whole.axis)), self.whole_number(q.offsets[0])
        if not parts:
            return f"(jnp.arange({n}) == {offset})"
        count = _unwrapped(" * ".join(self.size(i.axis) for i in parts))
        code = f"jnp.eye({n}, {count}, {f'-({offset})' if ' ' in offset else f'-{offset}'}, dtype=bool)"
        return code if len(parts) == 1 else f"{code}.reshape({self.shape(f.indices)})"

    def laid_out(self, piece: Piece, target: Sequence[Index]) -> str:
        """The array with its axes in the order of `target`, broadcast against it."""
        order = [i for i in target if i in piece.axes]
        code = piece.code
        r = piece.reduction
        if r is not None and order and r.over[0] > 0 and _fits(r, target):
            return r.code(keep=True)
        if order != list(piece.axes):
            permutation = tuple(piece.axes.index(i) for i in order)
            code = f"{_bracketed(code)}.T" if permutation == (1, 0) else f"jnp.transpose({code}, {permutation})"
        if order and order != list(target[-len(order) :]):
            first = list(target).index(order[0])
            code = f"{_bracketed(code)}[{', '.join(':' if i in order else 'None' for i in target[first:])}]"
        return code

    # Expressions.

    def written(self, e: Expression, target: Sequence[Index]) -> str:
        """An expression over the axes of `target`; stretched to them where it does not depend on all."""
        if not e:
            return f"jnp.zeros({self.shape(target)}, {self.dtype()})"
        code = self.joined(e, target)
        if code is not None:
            return code
        missing = set(target) - e.free
        code = _unwrapped(self.sum(factored(e), target))
        return f"jnp.broadcast_to({code}, {self.shape(target)})" if missing else code

    def joined(self, e: Expression, target: Sequence[Index]) -> str | None:
        """Arrays end to end; None where an expression is not a sum of arrays that have places side by side."""
        places: dict[Factor, list] = {}
        wholes: set[Index] = set()
        for (bound, powers), c in opened(e):
            at = [f for f, p in powers if self.kind(f) == "placement" and p == 1 and f.indices[0] in target]
            if len(at) != 1 or not set(at[0].indices[1:]) <= set(bound):
                return None
            whole, *parts = at[0].indices
            if len(parts) > 1:
                return None
            rest = [(f, p) for f, p in powers if f != at[0]]
            if any(whole in f.indices for f, _ in rest):
                return None
            wholes.add(whole)
            q = self.program[at[0].key]
            names = dict(zip(parts, q.indices[1:], strict=True))
            renamed = [(f.renamed(names), p) for f, p in rest]
            places.setdefault(q.factor, []).append(([i for i in bound if i not in parts], renamed, c))
        if len(places) < 2 or len(wholes) != 1:
            return None
        (whole,) = wholes
        order = sorted(places, key=lambda f: self.offset_here(f.key))
        reached, pieces, axis = Expression({}), [], list(target).index(whole)
        for f in order:
            if self.resolved(self.program[f.key].offsets[0]) != reached:
                return None
            parts = f.indices[1:]
            reached = reached + self.length(parts)
            around = [*target[:axis], *parts, *target[axis + 1 :]]
            code = self.written(expression(places[f]), around)
            if not parts:
                places_of_none = ", ".join([*[":"] * axis, "None", *[":"] * (len(target) - axis - 1)])
                code = f"{_bracketed(code)}[{places_of_none}]"
            pieces.append(code)
        if reached != self.length([whole]):
            return None
        return f"jnp.concatenate([{', '.join(pieces)}], {axis})"

    def kind(self, f: Factor) -> str:
        """The kind of the quantity of a factor."""
        q = self.program.quantities.get(f.key)
        return q.kind if q is not None else ""

    def offset_here(self, key: str) -> int:
        """The offset of a placement at the sizes that the function was read at."""

        def at(e: Expression) -> Fraction:
            sizes = {f.key: int(self.program[f.key].value) for _, powers in e.terms for f, _ in powers}
            return sum(
                (
                    c * math.prod(Fraction(sizes[f.key]) ** int(p) for f, p in powers)
                    for (_, powers), c in e.terms.items()
                ),
                Fraction(0),
            )

        return int(at(self.program[key].offsets[0]))

    def sum(self, terms: Sequence[Term], target: Sequence[Index]) -> str:
        """Terms with their signs."""
        parts = []
        for term in terms:
            code = self.term(term, target, alone=len(terms) == 1 and term.coefficient > 0)
            code = _unwrapped(code) if len(terms) > 1 and "@" in code and term.coefficient > 0 else code
            parts.append(f"{'-' if term.coefficient < 0 else '+'} {code}")
        text = " ".join(parts)
        return text[2:] if text.startswith("+") else f"-{text[2:]}"

    def term(self, term: Term, target: Sequence[Index], alone: bool = False) -> str:
        """One product, without its sign: masks as `where`, numbers behind the arrays."""
        size = abs(term.coefficient)
        items = self.with_means(dict(term.items))
        scale = ""
        scattered = next((item for item in items if isinstance(item, Contraction) and self.is_scatter(item)), None)
        if scattered is not None:
            inside = [(item, e) for item, e in items.items() if isinstance(item, Factor) and not item.indices]
            scale = self.scaled("", inside, size)
            items = {item: e for item, e in items.items() if (item, e) not in inside}
            size = Fraction(1)
        masks, above, below, literals = [], [], [], []

        def place(entry: tuple[Item | Mean, Fraction]) -> tuple[int, int, str]:
            item, _ = entry
            extent = indices_of(item.of if isinstance(item, Mean) else item)
            is_sum = isinstance(item, Contraction | Mean)
            return (0 if is_sum and len(extent) == len(target) else 2 if is_sum else 1, len(extent), repr(item))

        for item, e in sorted(items.items(), key=place):
            piece = self.item(item, target, scale if item == scattered else "")
            code = self.laid_out(piece, target)
            if piece.is_mask and e > 0:
                masks.append(code)
            elif isinstance(item, Factor) and self.is_literal(item):
                literals.append((" * " if e > 0 else " / ") + _powered(code, abs(e)))
            else:
                (above if e > 0 else below).append(_powered(code, abs(e)))
        if term.bracket:
            above.append(f"({self.sum(term.bracket, target)})")
        if masks and size == 1 and not (above or literals or below):
            together = " & ".join(masks)
            return together if alone and self.masks_allowed else f"jnp.where({together}, 1.0, 0.0)"
        front, behind = _coefficient(size, bool(literals))
        text = " * ".join([*front, *above])
        if not text and literals and literals[0].startswith(" * "):
            text = literals.pop(0)[3:]
        text = (text or "1") + "".join(literals) + behind + "".join(f" / {x}" for x in below)
        if masks:
            return f"jnp.where({' & '.join(masks)}, {_unwrapped(text)}, 0)"
        return text

    def is_literal(self, f: Factor) -> bool:
        """Whether a factor is a number or a size."""
        return f.key.startswith(SIZE) or self.kind(f) in ("number", "size")

    def is_scatter(self, item: Contraction) -> bool:
        """Whether a sum adds up rows where integers say."""
        hots = [f for f, _ in item.powers if f.key in self.program.quantities and self.program[f.key].kind == "one-hot"]
        return len(hots) == 1 and hots[0].indices[-1] not in item.bound and set(hots[0].indices[:-1]) <= set(item.bound)

    def scaled(self, code: str, inside: Sequence[tuple[Item | Mean, Fraction]], coefficient: Fraction) -> str:
        """Code times numbers and sizes."""
        front, behind = _coefficient(coefficient, True)
        for item, e in inside:
            assert isinstance(item, Factor)
            code += (" * " if e > 0 else " / ") + _powered(self.factor(item).code, abs(e))
        return code + "".join(f" * {x}" for x in front) + behind

    def with_means(self, items: dict[Item, Fraction]) -> dict["Item | Mean", Fraction]:
        """Sums over axes divided by the sizes of those axes become means."""
        found: dict[Item | Mean, Fraction] = {**items}
        for item, e in items.items():
            if isinstance(item, Contraction) and e == 1:
                sizes = [Factor(f"{SIZE}{i.axis}") for i in item.bound]
                if len(set(sizes)) == len(sizes) and all(found.get(s) == -1 for s in sizes) and self.is_reduction(item):
                    del found[item]
                    for s in sizes:
                        del found[s]
                    found[Mean(item)] = Fraction(1)
        return found

    def is_reduction(self, item: Contraction) -> bool:
        """Whether a sum is one over axes of a single array."""
        return self.contraction(item, sorted(indices_of(item))).reduction is not None

    def item(self, item: "Item | Mean", target: Sequence[Index], scale: str = "") -> Piece:
        """A factor, or a sum or mean of products."""
        if isinstance(item, Factor):
            return self.factor(item)
        if isinstance(item, Mean):
            reduction = self.item(item.of, target).reduction
            assert reduction is not None
            return replace(reduction, how="mean").piece()
        out = [i for i in target if i in indices_of(item)]
        return self.contraction(item, out, scale)

    def contraction(self, item: Contraction, out: list[Index], scale: str = "") -> Piece:
        """A sum of products: a matrix product, a sum over axes, a gather, a scatter, else an einsum."""
        bound = list(item.bound)
        pieces, hots, places = [], [], []
        for f, e in item.powers:
            q = self.program.quantities.get(f.key)
            if q is not None and q.kind in ("one-hot", "placement"):
                (hots if q.kind == "one-hot" else places).append((f, q))
                continue
            piece = self.factor(f)
            if e < 0 or e != 1:
                code = _powered(piece.code, abs(e))
                piece = Piece(f"({code})" if e > 0 else f"(1 / {code})", piece.axes)
            pieces.append(piece)
        for f, q in sorted(places, key=lambda place: place[0].indices[0] not in bound):  # slices before joins
            others = [p for p, _ in (*places, *hots) if p != f]
            if not self.moved(f, q, pieces, bound, others):
                pieces.append(self.factor(f))
        if len(hots) == 1:
            made = self.picked(hots[0], pieces, bound, out, scale)
            if made is not None:
                return made
        pieces += [self.factor(f) for f, _ in hots]
        return self.product(pieces, bound, out)

    def moved(self, f: Factor, q: Quantity, pieces: list[Piece], bound: list[Index], others: list[Factor]) -> bool:
        """Replace pieces by what a placement makes of them: slices and splits, or zeros around and merged axes."""
        whole, *parts = f.indices
        taken = {i for other in others for i in other.indices}
        if whole in bound and whole not in taken and any(whole in p.axes for p in pieces):
            pieces[:] = [self.cut(p, f, q) if whole in p.axes else p for p in pieces]
            bound.remove(whole)
            return True
        inner = [p for p in pieces if {*parts} & {*p.axes}]
        if whole in bound or not parts or not inner or not {*parts} <= {*bound} or {*parts} & taken:
            return False
        outer = [p for p in pieces if p not in inner]
        elsewhere = taken.union(*(p.axes for p in outer))
        summed = [i for i in bound if i not in parts and i not in elsewhere and any(i in p.axes for p in inner)]
        kept = [i for i in dict.fromkeys(i for p in inner for i in p.axes) if i not in (*summed, *parts)]
        first = min(p.axes.index(i) for p in inner for i in parts if i in p.axes)
        out = [*kept[:first], *parts, *kept[first:]]
        made = self.product(inner, summed, out)
        if not {*parts} <= {*made.axes}:
            return False
        pieces[:] = [*outer, self.spread(Piece(self.laid_out(made, out), tuple(out)), f, q)]
        bound[:] = [i for i in bound if i not in (*summed, *parts)]
        return True

    def cut(self, piece: Piece, f: Factor, q: Quantity) -> Piece:
        """A slice of an array along an axis, or the axis split."""
        whole, *parts = f.indices
        at = piece.axes.index(whole)
        axes = (*piece.axes[:at], *parts, *piece.axes[at + 1 :])
        if len(parts) > 1:
            return Piece(f"{_bracketed(piece.code)}.reshape({_unwrapped(self.shape(axes))})", axes)
        offset, length = q.offsets[0], self.length(parts)
        start = self.whole_number(offset)
        if not parts:
            cut = start
        elif self.resolved(offset) + length == self.length([whole]):
            cut = f"{start}:"
        else:
            end = self.whole_number(self.resolved(offset) + length)
            cut = f"{start if start != '0' else ''}:{end}"
        return Piece(f"{_bracketed(piece.code)}[{', '.join([*[':'] * at, cut])}]", axes)

    def spread(self, piece: Piece, f: Factor, q: Quantity) -> Piece:
        """An array with zeros around it along an axis, or neighbouring axes merged."""
        whole, *parts = f.indices
        at = piece.axes.index(parts[0])
        axes = (*piece.axes[:at], whole, *piece.axes[at + len(parts) :])
        if len(parts) > 1:
            return Piece(f"{_bracketed(piece.code)}.reshape({_unwrapped(self.shape(axes))})", axes)
        offset = self.resolved(q.offsets[0])
        behind = self.length([whole]) - offset - self.length(parts)
        widths = ["(0, 0)"] * len(axes)
        widths[at] = f"({self.whole_number(offset)}, {self.whole_number(behind)})"
        return Piece(f"jnp.pad({piece.code}, ({', '.join(widths)}{',' * (len(widths) == 1)}))", axes)

    def picked(
        self, hot: tuple[Factor, Quantity], pieces: list[Piece], bound: list[Index], out: list[Index], scale: str
    ) -> Piece | None:
        """table[ids], take_along_axis, or a scatter-add; None where it is none of them."""
        factor, q = hot
        assert q.selector is not None
        row, at = factor.indices[-1], factor.indices[:-1]
        ids, is_padded = self.ids(q, row), q.function == "padded"
        fill = ', mode="fill", fill_value=0, wrap_negative_indices=False'
        tables = [k for k, p in enumerate(pieces) if row in p.axes]
        if row in bound and len(tables) == 1:
            table = pieces.pop(tables[0])
            rest = [i for i in bound if i != row]
            if table.axes[0] == row and not set(at) & set(table.axes):
                rows = f"{table.code}.at[{ids}].get({fill[2:]})" if is_padded else f"{table.code}[{ids}]"
                made = Piece(rows, (*at, *table.axes[1:]))
            elif table.axes == (*at, row) and not is_padded:
                made = Piece(f"jnp.take_along_axis({table.code}, {ids}[..., None], -1)[..., 0]", at)
            else:
                pieces.append(table)
                return None
            return self.product([*pieces, made], rest, out)
        if row in out and set(at) <= set(bound) and not tables and pieces:
            rest = [i for i in out if i != row]
            values = self.product(pieces, [i for i in bound if i not in at], [*at, *rest])
            code = self.laid_out(values, [*at, *rest])
            zeros = f"jnp.zeros({self.shape([row, *rest])}, {self.dtype()})"
            drop = ', mode="drop", wrap_negative_indices=False' * is_padded
            return Piece(f"{zeros}.at[{ids}].add({_unwrapped(code)}{scale}{drop})", (row, *rest))
        return None

    def product(self, pieces: list[Piece], bound: list[Index], out: list[Index]) -> Piece:
        """The product of arrays, summed over `bound`; its axes are those of `out` that occur."""
        occurring = {i for p in pieces for i in p.axes}
        out = [i for i in out if i in occurring]
        if not bound:
            return Piece(self.multiplied(pieces, out), tuple(out))
        if len(pieces) == 2 and len(bound) == 1 and all(len(p.axes) <= 2 for p in pieces):
            made = self.matrix_product(pieces[0], pieces[1], bound[0], out)
            if made is not None:
                return made
        largest = max(pieces, key=lambda p: len(p.axes))
        if all(set(p.axes) <= set(largest.axes) for p in pieces):
            over = tuple(k for k, i in enumerate(largest.axes) if i in bound)
            inner = largest.code if len(pieces) == 1 else f"({self.multiplied(pieces, list(largest.axes))})"
            return Reduction(_called(inner), largest.axes, over).piece()
        names: dict[Index, str] = {}
        for i in (i for p in pieces for i in p.axes):
            names[i] = self.letters.letters(names, [i])[i]
        if any(len(letter) != 1 for letter in names.values()):
            names = {i: chr(ord("a") + k) for k, i in enumerate(names)}
        subscripts = ",".join("".join(names[i] for i in p.axes) for p in pieces)
        codes = ", ".join(p.code for p in pieces)
        return Piece(f'jnp.einsum("{subscripts}->{"".join(names[i] for i in out)}", {codes})', tuple(out))

    def multiplied(self, pieces: list[Piece], out: list[Index]) -> str:
        masks = [self.laid_out(p, out) for p in pieces if p.is_mask]
        others = [self.laid_out(p, out) for p in sorted(pieces, key=lambda p: len(p.axes)) if not p.is_mask]
        if not masks:
            return " * ".join(others)
        if not others:
            return " & ".join(masks)
        return f"jnp.where({' & '.join(masks)}, {' * '.join(others)}, 0)"

    def matrix_product(self, one: Piece, other: Piece, j: Index, out: list[Index]) -> Piece | None:
        """`one @ other`, in the order that gives `out`; None where it is no matrix product."""
        if j not in one.axes or j not in other.axes or (set(one.axes) & set(other.axes)) - {j}:
            return None
        free = [i for i in one.axes if i != j], [i for i in other.axes if i != j]
        if (
            [*free[0], *free[1]] != out
            or (len(out) == 1 and one.axes[-1] != j)
            or (not free[0] and other.axes[-1] == j)
        ):
            one, other, free = other, one, free[::-1]
        left = one.code if one.axes[-1] == j else f"{one.code}.T"
        right = other.code if other.axes[0] == j else f"{other.code}.T"
        return Piece(f"({left} @ {right})", (*free[0], *free[1]))

    # Definitions.

    def definition(self, q: Quantity) -> str:
        """The code of a quantity's value."""
        assert q.definition is not None or q.kind in ("one-hot", "drawn")
        e = q.definition if q.definition is not None else quantity(q.factor)
        match q.kind:
            case "drawn":
                assert q.selector is not None
                key, shape = self.factor(q.selector).code, self.shape(q.indices)
                match q.function:
                    case "bernoulli":
                        return f"jax.random.bernoulli({key}, {q.value!r}, {shape})"
                    case "bits":
                        return f"jax.random.bits({key}, {shape}, jnp.uint32) < jnp.uint32({int(q.value)})"
                return f"jax.random.{q.function}({key}, {shape})"
            case "maximum":
                piece = self.factor(e.single or q.factor)
                over = tuple(k for k, i in enumerate(piece.axes) if i in q.over)
                return f"{piece.code}.max({over[0] if len(over) == 1 else over})"
            case "select":
                assert q.selector is not None
                assert q.otherwise is not None
                mask = self.laid_out(self.factor(q.selector), q.indices)
                return f"jnp.where({mask}, {self.branch(e, q.indices)}, {self.branch(q.otherwise, q.indices)})"
            case "mask":
                if q.function == "top":
                    assert q.selector is not None
                    return f"{self.written(e, q.indices)} == {self.laid_out(self.factor(q.selector), q.indices)}"
                if q.function == "at least":
                    assert q.selector is not None
                    return f"{self.laid_out(self.factor(q.selector), q.indices)} >= {self.whole_number(e)}"
                self.masks_allowed = True
                if q.function == "all":
                    code = " & ".join(self.laid_out(self.factor(f), q.indices) for (_, ps) in e.terms for f, _ in ps)
                else:
                    code = self.written(e, q.indices)
                self.masks_allowed = False
                if q.function == "all":
                    return code
                return {"positive": f"{code} > 0", "zero": f"{code} == 0", "not": f"~{code}"}[q.function]
            case "function" if q.function == "gauss":
                return f"jnp.exp(-({self.written(e, q.indices)})**2) * {2 / math.sqrt(math.pi)!r}"
            case "function" if q.function == "relu":
                return f"jnp.maximum({self.written(e, q.indices)}, 0)"
            case "function":
                return f"{FUNCTIONS[q.function]}({self.written(e, q.indices)})"
        return self.written(e, q.indices)

    def branch(self, e: Expression, indices: tuple[Index, ...]) -> str:
        """A branch of a select: no need to stretch it."""
        return _unwrapped(self.sum(factored(e), indices)) if e else "0"

    def lines(self, q: Quantity) -> list[str]:
        """The statements that compute a quantity."""
        lines = [f"{q.name} = {self.definition(q)}"]
        self.known[q.name] = q.indices
        return lines


def _bracketed(code: str) -> str:
    """Code of which an entry can be taken: in brackets, if it is an operation."""
    depth = 0
    for k, character in enumerate(code):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and (character == " " or code[k : k + 2] == "**" or character in "-~"):
            return f"({code})"
    return code


def _fits(reduction: Reduction, target: Sequence[Index]) -> bool:
    """Whether the array before the reduction has the axes of `target`, so that keeping its axes is enough."""
    return len(reduction.axes) == len(target) and all(
        own.axis == i.axis if k in reduction.over else own == i
        for k, (own, i) in enumerate(zip(reduction.axes, target))
    )


def _called(code: str) -> str:
    """Code whose method can be called: a call of a function needs no brackets around it."""
    inner = _unwrapped(code)
    return inner if inner.startswith("jnp.where(") and _unwrapped(inner[9:]) != inner[9:] else code


def _powered(code: str, e: Fraction) -> str:
    if e == 1:
        return code
    if e == Fraction(1, 2):
        return f"jnp.sqrt({code})"
    operator = "**" if code.isidentifier() else " ** "
    return f"{code}{operator}{e}" if e.denominator == 1 else f"{code}{operator}{float(e)}"


def _coefficient(c: Fraction, beside_literals: bool) -> tuple[list[str], str]:
    """A coefficient before the arrays, or behind them: Python must not round the product of two numbers first."""
    if c == 1:
        return [], ""
    exact = c.denominator & (c.denominator - 1) == 0
    if exact:
        text = str(c) if c.denominator == 1 else repr(float(c))
        return ([], f" * {text}") if beside_literals else ([text], "")
    inverse = 1 / c
    if inverse.denominator & (inverse.denominator - 1) == 0:
        return [], f" / {inverse}" if inverse.denominator == 1 else f" / {float(inverse)!r}"
    return ([], f" * {c.numerator} / {c.denominator}") if c.numerator != 1 else ([], f" / {c.denominator}")


def _unwrapped(code: str) -> str:
    """The code without brackets around all of it."""
    if code.startswith("("):
        depth = 0
        for k, character in enumerate(code):
            depth += (character == "(") - (character == ")")
            if depth == 0:
                return _unwrapped(code[1:-1]) if k == len(code) - 1 else code
    return code
