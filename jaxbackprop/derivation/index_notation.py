"""Sums of products over named quantities with named indices, in a normal form: what a derivation calculates with.

`x_nj W_jk summed over j` is a term: a rational coefficient, bound indices, factors with rational exponents. A transpose
is a change of names here, a broadcast an index that does not occur, a sum a bound index. Equal expressions are equal
objects: like terms are collected and bound indices stand in a canonical order. Nothing knows JAX here.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import NamedTuple

SIZE = "n"
DELTA = "d"
_COUNT = itertools.count(1)


class Index(NamedTuple):
    """One index. A bound one, inside a term, has a negative number."""

    axis: int  # indices of one axis run over the same range, whatever its size
    size: int
    number: int


class Factor(NamedTuple):
    """A quantity, by its key, at indices."""

    key: str
    indices: tuple[Index, ...] = ()

    def renamed(self, names: Mapping[Index, Index]) -> "Factor":
        """The same with other indices."""
        return Factor(self.key, tuple(names.get(i, i) for i in self.indices))


Powers = tuple[tuple[Factor, Fraction], ...]


class Product(NamedTuple):
    """Factors with exponents, summed over the bound indices."""

    bound: tuple[Index, ...]
    powers: Powers


def new_index(axis: int, size: int) -> Index:
    """An index that occurs nowhere yet."""
    return Index(axis, size, next(_COUNT))


def fresh(index: Index) -> Index:
    """Another index of the same axis."""
    return new_index(index.axis, index.size)


def delta_of(key: str) -> str:
    """The key of a quantity's delta: the gradient of the loss with respect to it."""
    return DELTA + key


class Expression:
    """A sum of products with rational coefficients. Immutable."""

    __slots__ = ("_hash", "_keys", "terms")

    def __init__(self, terms: Mapping[Product, Fraction]):
        self.terms = dict(terms)
        self._hash: int | None = None
        self._keys: set[str] | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expression) and self.terms == other.terms)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __add__(self, other: "Expression") -> "Expression":
        return _collected(itertools.chain(self.terms.items(), other.terms.items()))

    def __neg__(self) -> "Expression":
        return Expression({product: -c for product, c in self.terms.items()})

    def __sub__(self, other: "Expression") -> "Expression":
        return self + -other

    def __mul__(self, other: "Expression") -> "Expression":
        return _collected(
            (normal((*bound, *others), (*powers, *factors)), c * d)
            for (bound, powers), c in opened(self)
            for (others, factors), d in opened(other)
        )

    def summed(self, indices: Iterable[Index]) -> "Expression":
        """The sum over indices that are free so far."""
        over = tuple(indices)
        return _collected((normal((*bound, *over), powers), c) for (bound, powers), c in self.terms.items())

    def renamed(self, names: Mapping[Index, Index]) -> "Expression":
        """Free indices replaced by others."""
        return _collected(
            (normal(bound, [(f.renamed(names), e) for f, e in powers]), c) for (bound, powers), c in self.terms.items()
        )

    def with_axes(self, root: Mapping[int, int]) -> "Expression":
        """Axes that turned out to be the same one, written as one."""

        def index(i: Index) -> Index:
            return Index(root.get(i.axis, i.axis), i.size, i.number)

        def factor(f: Factor) -> Factor:
            if f.key.startswith(SIZE):
                axis = int(f.key[len(SIZE) :])
                return Factor(f"{SIZE}{root.get(axis, axis)}")
            return Factor(f.key, tuple(map(index, f.indices)))

        return _collected(
            (normal(tuple(map(index, bound)), [(factor(f), e) for f, e in powers]), c)
            for (bound, powers), c in self.terms.items()
        )

    def power(self, exponent: Fraction) -> "Expression":
        """A power of a single product without sum, its coefficient 1 unless the exponent is whole."""
        ((product, c),) = self.terms.items()
        if product.bound or (exponent.denominator != 1 and c != 1):
            raise ValueError("only a product has a power that is a product")
        powers = [(f, e * exponent) for f, e in product.powers]
        return _collected([(normal((), powers), Fraction(c ** int(exponent) if c != 1 else 1))])

    @property
    def free(self) -> set[Index]:
        """The indices it depends on."""
        return {i for _, powers in self.terms for f, _ in powers for i in f.indices if i.number > 0}

    @property
    def keys(self) -> set[str]:
        """The quantities in it."""
        if self._keys is None:
            self._keys = {f.key for _, powers in self.terms for f, _ in powers}
        return self._keys

    @property
    def constant(self) -> Fraction | None:
        """The number that it is, if it is one."""
        if not self.terms:
            return Fraction(0)
        return self.terms.get(ONE) if len(self.terms) == 1 else None

    @property
    def single(self) -> Factor | None:
        """The quantity that it is, if it is one to the power 1."""
        if len(self.terms) != 1:
            return None
        (((bound, powers), c),) = self.terms.items()
        return powers[0][0] if c == 1 and not bound and len(powers) == 1 and powers[0][1] == 1 else None

    @property
    def is_product(self) -> bool:
        """Whether it is one product without sum."""
        return len(self.terms) == 1 and not next(iter(self.terms)).bound


ONE = Product((), ())
ZERO = Expression({})


def number(value: Fraction | int) -> Expression:
    """A number as an expression."""
    return Expression({ONE: Fraction(value)}) if value else ZERO


def quantity(factor: Factor, exponent: Fraction | int = 1) -> Expression:
    """A quantity, or a power of it, as an expression."""
    return Expression({Product((), ((factor, Fraction(exponent)),)): Fraction(1)})


def expression(terms: Iterable[tuple[Iterable[Index], Iterable[tuple[Factor, Fraction]], Fraction]]) -> Expression:
    """An expression from (bound indices, factors, coefficient) triples."""
    return _collected((normal(tuple(bound), powers), c) for bound, powers, c in terms)


def opened(of: Expression) -> Iterator[tuple[Product, Fraction]]:
    """The terms with fresh names for their bound indices, so that they may stand beside others."""
    for (bound, powers), c in of.terms.items():
        names = {i: fresh(i) for i in bound}
        yield Product(tuple(names.values()), tuple((f.renamed(names), e) for f, e in powers)), c


def normal(bound: tuple[Index, ...], powers: Iterable[tuple[Factor, Fraction]]) -> Product:
    """Exponents collected, a sum over nothing written as a size, bound indices in canonical order."""
    exponents: dict[Factor, Fraction] = {}
    for factor, e in powers:
        exponents[factor] = exponents[factor] + e if factor in exponents else e
    exponents = {f: e for f, e in exponents.items() if e}
    if not bound:
        return Product((), tuple(sorted(exponents.items())))
    occurring = {i for f in exponents for i in f.indices}
    for i in bound:
        if i not in occurring:
            size = Factor(f"{SIZE}{i.axis}")
            exponents[size] = exponents.get(size, Fraction(0)) + 1
    exponents = {f: e for f, e in exponents.items() if e}
    return _canonical([i for i in bound if i in occurring], list(exponents.items()))


def _canonical(bound: list[Index], powers: list[tuple[Factor, Fraction]]) -> Product:
    """The least of the ways to number the bound indices; only indices that look alike are permuted."""
    chosen = set(bound)

    def look(i: Index) -> tuple:
        return (
            i.axis,
            sorted(
                (
                    f.key,
                    e,
                    tuple(k in chosen and k != i for k in f.indices),
                    tuple(-1 if k == i else 0 for k in f.indices),
                )
                for f, e in powers
                if i in f.indices
            ),
        )

    groups = [list(g) for _, g in itertools.groupby(sorted(bound, key=look), key=look)]
    best: tuple[list[tuple[Factor, Fraction]], list[Index]] | None = None
    for orders in itertools.product(*(itertools.permutations(g) for g in groups)):
        order = [i for group in orders for i in group]
        names = {i: Index(i.axis, i.size, -k - 1) for k, i in enumerate(order)}
        candidate = sorted((f.renamed(names), e) for f, e in powers)
        if best is None or candidate < best[0]:
            best = candidate, list(names.values())
    assert best is not None
    return Product(tuple(best[1]), tuple(best[0]))


def _collected(terms: Iterable[tuple[Product, Fraction]]) -> Expression:
    total: dict[Product, Fraction] = {}
    for product, c in terms:
        total[product] = total[product] + c if product in total else c
    return Expression({product: c for product, c in total.items() if c})
