"""Numbers that are a float, which takes the branches, and residues, which tell whether two formulas are one.

A residue modulo p is the number itself, one modulo q the number in an exponent: exp(x) = w^(x modulo q) turns sums of
exponents into products, as exp does. The inputs' residues are drawn at random, several times. Two formulas that are the
same function have the same residues; two that are not have them with a small chance only (Schwartz and Zippel).
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from .constants import Constant, recognised
from .degree import NONE, UNKNOWN, Degree, common
from .modular import PRIMES, Moduli, Squares, mixed, salt

COLOURS = 64
"""Inputs are distinguished by so many colours, the bits of a 64-bit integer."""

ONE = np.uint64(1)


class OtherDraw(Exception):
    """In some repetitions a number has no root, or no inverse: what it depends on must be drawn again.

    Attributes:
        failed: in which repetitions.
        colours: for each repetition a set of colours; where none helps, another prime is taken.
    """

    def __init__(self, failed: np.ndarray, colours: np.ndarray):
        super().__init__("drawn again")
        self.failed, self.colours = failed, colours


@dataclass
class Draw:
    """What is drawn at random for each repetition: a prime, and a residue for each number of the inputs.

    Attributes:
        repetitions: how many.
        seed: decides everything.
        primes: for each repetition which one of `PRIMES`.
        generation: for each repetition and colour how often it was drawn again.
        squares: whether numbers whose logarithm is taken must be squares, so that exp finds them again.
    """

    repetitions: int
    seed: int = 0
    primes: list[int] = field(init=False)
    generation: np.ndarray = field(init=False)
    squares: bool = False

    def __post_init__(self) -> None:
        self.primes = [(self.seed + k) % len(PRIMES) for k in range(self.repetitions)]
        self.generation = np.zeros((self.repetitions, COLOURS), np.uint64)

    def again(self, other: OtherDraw) -> None:
        """Draw what has failed again."""
        for k in np.flatnonzero(other.failed):
            if other.colours[k]:
                self.generation[k] += (other.colours[k] >> np.arange(COLOURS, dtype=np.uint64)) & ONE
            else:
                self.primes[k] = (self.primes[k] + self.repetitions) % len(PRIMES)

    def bits(self, numbers: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Random bits (k, n) for inputs counted by `numbers`, of these colours."""
        salts = mixed(np.arange(self.repetitions, dtype=np.uint64) + salt(self.seed))[:, None]
        return mixed(numbers + mixed(salts + self.generation[:, colours]))


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of numbers.

    Attributes:
        value: their floats.
        r: their residues modulo p, one row for each repetition.
        s: their residues modulo q; None in a program without exponentials.
        on: the colours of the inputs each depends on.
        degree: as rational functions of the inputs, exponentials, logarithms and atoms.
        unsure: of which functions an identity could be missed that makes two of them equal.
        unsure_exponent: the same in an exponent.
        odd: where exp of the number is -w^s: logarithms of numbers that are no squares, sums of these; None: nowhere.
    """

    value: np.ndarray
    r: np.ndarray
    s: np.ndarray | None
    on: np.ndarray
    degree: Degree = NONE
    unsure: frozenset[str] = frozenset()
    unsure_exponent: frozenset[str] = frozenset()
    odd: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """As NumPy's."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """As NumPy's."""
        return self.value.ndim

    def reshape(self, *shape: int) -> "Numbers":
        """As NumPy's."""
        s = None if self.s is None else self.s.reshape(len(self.s), *shape)
        r = self.r.reshape(len(self.r), *shape)
        odd = None if self.odd is None else self.odd.reshape(len(self.r), *shape)
        return replace(self, value=self.value.reshape(shape), r=r, s=s, on=self.on.reshape(shape), odd=odd)

    def at(self, positions: np.ndarray) -> "Numbers":
        """The numbers at these positions of the flat array, in the positions' shape."""
        s = None if self.s is None else self.s.reshape(len(self.s), -1)[:, positions]
        r = self.r.reshape(len(self.r), -1)[:, positions]
        odd = None if self.odd is None else self.odd.reshape(len(self.r), -1)[:, positions]
        value, on = self.value.reshape(-1)[positions], self.on.reshape(-1)[positions]
        return replace(self, value=value, r=r, s=s, on=on, odd=odd)

    def row(self, i: int) -> "Numbers":
        """The i-th along the first axis."""
        s, odd = (None if x is None else x[:, i] for x in (self.s, self.odd))
        return replace(self, value=np.asarray(self.value[i]), r=self.r[:, i], s=s, on=np.asarray(self.on[i]), odd=odd)

    @property
    def signless(self) -> "Numbers":
        """The numbers, for what is not a sum of them: exp does not know the sign of the result any more."""
        if self.odd is None:
            return self
        return replace(self, odd=None, unsure_exponent=self.unsure_exponent | {NOT_SQUARE})


def joined(parts: Sequence[Numbers]) -> Numbers:
    """The numbers of all parts in one row."""
    flat = [x.reshape(-1) for x in parts]
    return _together(flat, lambda arrays, first: np.concatenate(arrays, first))


def stacked(rows: Sequence[Numbers]) -> Numbers:
    """The parts along a new first axis."""
    return _together(rows, lambda arrays, first: np.stack(arrays, first))


def _together(parts: Sequence[Numbers], function: Callable[[list[Any], int], np.ndarray]) -> Numbers:
    return Numbers(
        function([x.value for x in parts], 0),
        function([x.r for x in parts], 1),
        None if parts[0].s is None else function([x.s for x in parts], 1),
        function([x.on for x in parts], 0),
        common(x.degree for x in parts),
        frozenset().union(*(x.unsure for x in parts)),
        frozenset().union(*(x.unsure_exponent for x in parts)),
        None if all(x.odd is None for x in parts) else function([_odd(x) for x in parts], 1),
    )


def _odd(x: Numbers) -> np.ndarray:
    return np.zeros(x.r.shape, bool) if x.odd is None else x.odd


@dataclass
class Decisions:
    """What the floats decided.

    Attributes:
        taken: a checksum of all decisions: two points with the same one lie in the same region.
        ties: the operations that met two different numbers with equal floats, or a zero of the inputs at a bound.
        sides: for each comparison whether it was seen to be true, and to be false.
    """

    taken: int = 0
    ties: set[str] = field(default_factory=set)
    sides: dict[int, set[bool]] = field(default_factory=dict)


class Field:
    """The numbers of one draw, and their arithmetic.

    Args:
        draw: what is drawn at random.
        exponents: whether the program has exponentials.
    """

    def __init__(self, draw: Draw, exponents: bool = True):
        self.draw, self.exponents, self.k = draw, exponents, draw.repetitions
        self.squares = Squares(draw.primes)
        self.p, self.q = self.squares.p, self.squares.q
        self.decisions = Decisions()
        self.roots = np.zeros(COLOURS, int)
        self.zero_inputs = 0
        self._hidden = self._divisions = 0
        self._counted: set[int] = set()
        self._fixed = np.uint64(0)  # the colours of what has a root already
        self._constants: dict[Constant, tuple[np.ndarray, np.ndarray]] = {}
        self._exponents: list[tuple[np.ndarray, np.ndarray]] = []
        self._sums_left = MOST_SUMS_OF_A_PROGRAM

    # Making numbers.

    def inputs(self, arrays: Sequence[Any]) -> list[Numbers]:
        """Unknowns with these floats, those that are exactly zero aside: they are zero."""
        total, made, start = sum(np.size(x) for x in arrays), [], 0
        for i, x in enumerate(arrays):
            value = np.asarray(x).astype(np.float64)
            numbers = np.arange(start, start + value.size, dtype=np.uint64)
            start += value.size
            colours = numbers
            if total > COLOURS:  # a row has one colour
                rows = np.arange(value.size, dtype=np.uint64) // np.uint64(max(value.shape[-1] if value.ndim else 1, 1))
                colours = mixed(rows * np.uint64(64) + np.uint64(i))
            colours = (colours % np.uint64(COLOURS)).astype(np.int64)
            bits = self.draw.bits(numbers, colours)
            zero = value.reshape(-1) == 0
            on = ONE << colours.astype(np.uint64)
            self.zero_inputs |= int(np.bitwise_or.reduce(on[zero], initial=0))
            r, s = (np.where(zero, np.uint64(0), m.of(b)) for m, b in ((self.p, bits), (self.q, mixed(bits))))
            made.append(Numbers(value.reshape(-1), r, s if self.exponents else None, on, UNKNOWN).reshape(*value.shape))
        return made

    def constant(self, x: Any, single: bool = False) -> Numbers:
        """Numbers written in the program; `single`: in 32 bits or fewer."""
        value = np.asarray(x).astype(np.float64)
        different, places = np.unique(value, return_inverse=True, equal_nan=False)
        known = [self._constant(float(v), single) for v in different]
        r = np.stack([r for r, _ in known], 1)[:, places.reshape(-1)] if known else np.zeros((self.k, 0), np.uint64)
        s = np.stack([s for _, s in known], 1)[:, places.reshape(-1)] if known else np.zeros((self.k, 0), np.uint64)
        unsure = frozenset() if np.isfinite(different).all() else frozenset({"infinity"})
        on = np.broadcast_to(np.uint64(0), value.size)
        made = Numbers(value.reshape(-1), r, s if self.exponents else None, on, NONE, unsure, unsure)
        return made.reshape(*value.shape)

    def _constant(self, value: float, single: bool) -> tuple[np.ndarray, np.ndarray]:
        if not np.isfinite(value):
            return self._unknown(repr(value))
        return self._residues(recognised(value, single))

    def _residues(self, constant: Constant) -> tuple[np.ndarray, np.ndarray]:
        found = self._constants.get(constant)
        if found is None:
            found = self._constants[constant] = self._computed(constant)
        return found

    def _computed(self, constant: Constant) -> tuple[np.ndarray, np.ndarray]:
        r, s = (self._fraction(constant.fraction, m) for m in (self.p, self.q))
        for name, power in constant.powers:
            if name == "e":  # to the power of one, in the field's own way
                e = self.squares.exp(np.ones(self.k, np.uint64)), self._unknown("e")[1]
            else:
                e = self._integer_root(name) if isinstance(name, int) else self._unknown(name)
            for _ in range(abs(power)):
                r, s = (m.mul(x, y if power > 0 else m.inverse(y)) for m, x, y in zip((self.p, self.q), (r, s), e))
        if constant.log_of is not None:
            of = self._residues(constant.log_of)[0]
            log_s = self.squares.log(of)
            log_r = self._logs_known(log_s[:, None])[0][:, 0]
            self._exponents.append((log_s[:, None], log_r[:, None]))
            if constant.log_power < 0:
                log_r, log_s = self.p.inverse(log_r), self.q.inverse(log_s)
            r, s = self.p.mul(r, log_r), self.q.mul(s, log_s)
        return r, s

    def _fraction(self, x: Fraction, moduli: Moduli) -> np.ndarray:
        top, bottom = (np.array([n % int(m) for m in moduli.m], np.uint64) for n in (x.numerator, x.denominator))
        return moduli.mul(top, moduli.inverse(bottom)) if x.denominator != 1 else top

    def _integer_root(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        r = self.squares.root(np.full(self.k, n, np.uint64))
        s = []
        for g in self.squares.groups:
            first, second = (next(a for a in range(m) if a * a % m == n) for m in (g.first, g.second))
            s.append((first + g.first * ((second - first) * pow(g.first, -1, g.second) % g.second)) % g.order)
        return r, np.array(s, np.uint64)

    def _unknown(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A number of which nothing is known but its name: the root of a square is a square."""
        bits = mixed(np.arange(self.k, dtype=np.uint64) + salt(name, self.draw.seed))
        r = self.p.of(bits)
        return self.p.mul(r, r), self.q.of(mixed(bits))

    # Arithmetic.

    def aligned(self, *xs: Numbers) -> list[Numbers]:
        """A scalar among arrays gets their number of axes."""
        most = max(x.ndim for x in xs)
        return [x if x.ndim == most else x.reshape(*[1] * (most - x.ndim), *x.shape) for x in xs]

    def made(self, value: Any, r: np.ndarray, s: np.ndarray | None, degree: Degree, *of: Numbers) -> Numbers:
        """A result of numbers: it depends on what they depend on."""
        on = of[0].on
        for x in of[1:]:
            on = on | x.on
        unsure, unsure_exponent = of[0].unsure, of[0].unsure_exponent
        for x in of[1:]:
            unsure, unsure_exponent = unsure | x.unsure, unsure_exponent | x.unsure_exponent
        return Numbers(np.asarray(value), r, s, np.asarray(on), degree, unsure, unsure_exponent)

    def add(self, x: Numbers, y: Numbers) -> Numbers:
        """x + y."""
        return self._sum(x, y, np.add, Moduli.add)

    def sub(self, x: Numbers, y: Numbers) -> Numbers:
        """x - y."""
        return self._sum(x, y, np.subtract, Moduli.sub)

    def _sum(self, x: Numbers, y: Numbers, floats: Any, residues: Any) -> Numbers:
        x, y = self.aligned(x, y)
        s = None if x.s is None or y.s is None else residues(self.q, x.s, y.s)
        made = self.made(floats(x.value, y.value), residues(self.p, x.r, y.r), s, x.degree + y.degree, x, y)
        return made if x.odd is None and y.odd is None else replace(made, odd=_odd(x) ^ _odd(y))

    def mul(self, x: Numbers, y: Numbers) -> Numbers:
        """x y."""
        x, y = self.aligned(x, y)
        odd = None
        for a, b in ((x, y), (y, x)):
            if a.odd is not None and not b.on.any() and (b.value == np.rint(b.value)).all():
                odd = a.odd & (b.value % 2 == 1)
                x, y = replace(a, odd=None), b
        x, y = x.signless, y.signless
        s = None if x.s is None or y.s is None else self.q.mul(x.s, y.s)
        made = self.made(x.value * y.value, self.p.mul(x.r, y.r), s, x.degree * y.degree, x, y)
        return made if odd is None else replace(made, odd=odd)

    def neg(self, x: Numbers) -> Numbers:
        """-x."""
        s = None if x.s is None else self.q.sub(np.zeros_like(x.s), x.s)
        return replace(x, value=-x.value, r=self.p.sub(np.zeros_like(x.r), x.r), s=s)

    def div(self, x: Numbers, y: Numbers) -> Numbers:
        """x / y; where y is zero in all repetitions nothing is known of it."""
        x, y = self.aligned(x, y)
        return replace(self.mul(x, self.reciprocal(y)), value=np.asarray(x.value / y.value))

    def reciprocal(self, x: Numbers) -> Numbers:
        """1 / x."""
        x = x.signless
        none = ~self.p.has_inverse(x.r)
        if x.s is not None:
            none |= ~self.q.has_inverse(x.s)
        zero = (x.r == 0).all(0)
        self._again_where(none & ~zero, x.on, "")
        r, s = self.p.inverse(x.r), None if x.s is None else self.q.inverse(x.s)
        self._divisions += 1
        made = replace(x, value=1 / x.value, r=r, s=s, degree=x.degree.inverse(self._divisions, x.value.size))
        return self.hidden(made, zero, "division by zero")

    def hidden(self, x: Numbers, where: np.ndarray, why: str) -> Numbers:
        """The numbers; of those at `where` nothing is known."""
        if not where.any():
            return x
        self._hidden += 1  # no two of them are equal
        bits = mixed(np.arange(x.value.size, dtype=np.uint64).reshape(x.shape) + salt(self._hidden))
        r = np.where(where, self.p.of(np.broadcast_to(bits, x.r.shape)), x.r)
        s = None if x.s is None else np.where(where, self.q.of(np.broadcast_to(mixed(bits), x.r.shape)), x.s)
        return replace(x, r=r, s=s, unsure=x.unsure | {why}, unsure_exponent=x.unsure_exponent | {why})

    def times(self, x: Numbers, factor: Fraction | int) -> Numbers:
        """A rational multiple of x, the float as well."""
        return self.mul(x, self.constant_fraction(factor))

    def constant_fraction(self, x: Fraction | int) -> Numbers:
        """A fraction, exactly."""
        r, s = self._residues(Constant(Fraction(x)))
        return Numbers(np.asarray(float(x)), r, s if self.exponents else None, np.zeros((), np.uint64))

    def power(self, x: Numbers, n: int) -> Numbers:
        """x to an integer power."""
        x = x.signless
        if n < 0:
            return replace(self.reciprocal(self.power(x, -n)), value=np.asarray(x.value ** float(n)))
        exponents = [n] * self.k
        s = None if x.s is None else self.q.power(x.s, exponents)
        r = self.p.power(x.r, exponents)
        return replace(x, value=np.asarray(x.value ** float(n)), r=r, s=s, degree=x.degree.power(n))

    def sum(self, x: Numbers, axes: Sequence[int]) -> Numbers:
        """The sum along some axes."""
        axes = tuple(axes)
        behind = tuple(d + 1 for d in axes)
        s = None if x.s is None else self.q.of(x.s.sum(behind, dtype=np.uint64))
        on = np.asarray(np.bitwise_or.reduce(x.on, axes) if axes else x.on)
        r = self.p.of(x.r.sum(behind, dtype=np.uint64))
        odd = None if x.odd is None else np.asarray(np.bitwise_xor.reduce(x.odd, behind) if axes else x.odd)
        return replace(x, value=np.asarray(x.value.sum(axes)), r=r, s=s, on=on, odd=odd)

    def matmul(self, x: Numbers, y: Numbers) -> Numbers:
        """(b, m, n) (b, n, l) -> (b, m, l)."""
        x, y = x.signless, y.signless
        s = None if x.s is None or y.s is None else self.q.matmul(x.s, y.s)
        on = np.bitwise_or.reduce(x.on, 2)[:, :, None] | np.bitwise_or.reduce(y.on, 1)[:, None]
        return Numbers(
            x.value @ y.value,
            self.p.matmul(x.r, y.r),
            s,
            on,
            x.degree * y.degree,
            x.unsure | y.unsure,
            x.unsure_exponent | y.unsure_exponent,
        )

    # Functions.

    def exp(self, x: Numbers) -> Numbers:
        """exp(x): w to the power of x modulo q."""
        exponent = x.s
        assert exponent is not None
        if NOT_SQUARE in x.unsure_exponent and not self.draw.squares:
            self.draw.squares = True
            raise OtherDraw(np.zeros(self.k, bool), np.zeros(self.k, np.uint64))
        r = self.squares.exp(exponent)
        r = r if x.odd is None else np.where(x.odd, self.p.sub(np.zeros_like(r), r), r)
        self._exponents.append((exponent.reshape(self.k, -1), x.r.reshape(self.k, -1)))
        zero = x.value == -np.inf
        r, s = (np.where(zero, np.uint64(0), a) for a in (r, self._of(r, "exp", self.q)))
        unsure = x.unsure_exponent - {"infinity"} if zero.any() else x.unsure_exponent
        above = unsure | {"exp in an exponent"}
        return Numbers(np.exp(x.value), r, s, x.on, UNKNOWN, unsure, above)

    def _of(self, r: np.ndarray, name: str, moduli: Moduli) -> np.ndarray:
        """A number of which only is known that it is this function of `r`."""
        return moduli.of(mixed(mixed(r) + salt(name, self.draw.seed)))

    def atom(self, name: str, value: np.ndarray, *of: Numbers, unsure: bool = True) -> Numbers:
        """A function of which nothing is known but its name."""
        of = tuple(x.signless for x in self.aligned(*of))
        r = of[0].r
        for x in of[1:]:
            r = mixed(r) + x.r
        r = np.broadcast_to(r, (self.k, *np.shape(value)))
        s = self._of(r, f"{name} in an exponent", self.q) if self.exponents else None
        made = self.made(value, self._of(r, name, self.p), s, UNKNOWN, *of)
        more = frozenset({name}) if unsure else frozenset()
        return replace(made, unsure=made.unsure | more, unsure_exponent=made.unsure | {name})

    def log(self, x: Numbers) -> Numbers:
        """log(x): the inverse of exp, looked up.

        Only squares are powers of w. Of other numbers -x is one, log(-x) still turns products into sums, and the sign
        is kept aside, for exp.
        """
        x = x.signless
        negative = x.value < 0
        zero = (x.r == 0).all(0)
        if self.draw.squares:
            self._must_be_square(x, ~negative & ~zero)
        square = self.squares.is_square(x.r)
        s = self.squares.log(np.where(square, x.r, self.p.sub(np.zeros_like(x.r), x.r)))
        known, missing = self._logs_known(s)
        self._exponents.append((s.reshape(self.k, -1), known.reshape(self.k, -1)))
        odd = None if square.all() else ~square
        made = replace(x, value=np.log(x.value), r=known, s=s, degree=UNKNOWN, unsure_exponent=x.unsure, odd=odd)
        made = replace(made, unsure=made.unsure | {"log"}) if missing and x.on.any() else made
        return self.hidden(made, negative | zero, "logarithm of a number that is not positive")

    def _logs_known(self, s: np.ndarray) -> tuple[np.ndarray, bool]:
        """Logarithms modulo p of numbers with logarithms `s` modulo q: those of exponents seen before.

        log(exp(x)) is x, and the logarithm of a product or quotient of such things is the sum or difference. What is
        none of them is a new unknown, and those after it may be made of it.
        """
        shape, t = s.shape, s.reshape(self.k, -1)
        found = self._of(t, "log", self.p)
        left, missing = np.ones(t.shape[1], bool), False
        for _ in range(MOST_NEW_LOGARITHMS):
            for exponents, logs in self._sums():
                places = np.minimum(np.searchsorted(exponents[0], t[0]), exponents.shape[1] - 1)
                same = left & (exponents[:, places] == t).all(0)
                found = np.where(same, logs[:, places], found)
                left &= ~same
                if not left.any():
                    return found.reshape(shape), missing
            first, missing = int(np.argmax(left)), True
            left[first] = False
            self._exponents.append((t[:, first : first + 1], found[:, first : first + 1]))
        return found.reshape(shape), missing

    def _sums(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Exponents seen so far and their negatives, in both residues, sorted; then sums of two, and of three."""
        zero = np.zeros((self.k, 1), np.uint64)
        s, r = (np.concatenate([zero, *(e[i] for e in self._exponents)], 1) for i in (0, 1))
        self._exponents = [_sorted(s, r)]
        both = [
            np.concatenate([x, m.sub(np.zeros_like(x), x)], 1) for x, m in zip(self._exponents[0], (self.q, self.p))
        ]
        sums = one = _sorted(*both)
        yield one
        for _ in range(2):
            count = sums[0].shape[1] * one[0].shape[1]
            if count > min(MOST_SUMS, self._sums_left):
                return
            self._sums_left -= count
            sums = _sorted(
                *(m.add(x[:, :, None], y[:, None]).reshape(self.k, -1) for x, y, m in zip(sums, one, (self.q, self.p)))
            )
            yield sums

    def sqrt(self, x: Numbers) -> Numbers:
        """The root of a number: it must be a square, and then its root is one."""
        x = x.signless
        value = np.sqrt(x.value)
        zero = (x.r == 0).all(0)
        if not x.on.any() and np.isfinite(value).all():
            known = self.constant(value)  # the root of 2 is called that
            if (self.p.mul(known.r, known.r) == x.r).all():
                return known
        self._must_be_square(x, ~(x.value < 0) & ~zero)
        r = self.squares.root(x.r)
        s = np.where(zero, np.uint64(0), self._of(r, "sqrt", self.q)) if self.exponents else None
        made = replace(x, value=value, r=r, s=s, unsure_exponent=x.unsure | {"sqrt in an exponent"})
        made = replace(made, unsure=x.unsure | {"sqrt"})
        return self.hidden(made, x.value < 0, "root of a negative number")

    def cbrt(self, x: Numbers) -> Numbers:
        """The cube root: every number has one."""
        x = x.signless
        r = self.squares.cube_root(x.r)
        s = self._of(r, "cbrt", self.q) if self.exponents else None
        return replace(x, value=np.cbrt(x.value), r=r, s=s, unsure_exponent=x.unsure | {"cbrt in an exponent"})

    def general_power(self, x: Numbers, y: Numbers) -> Numbers:
        """x^y = exp(y log x)."""
        x, y = self.aligned(x, y)
        value = x.value**y.value
        whole = _same_integer(y)
        if whole is not None:
            return replace(self.power(x, whole), value=np.asarray(value))
        if not y.on.any() and (y.value == 0.5).all():
            return self.sqrt(x)
        self._must_be_square(x, (x.value >= 0) & (x.r != 0).any(0))
        logs = self.log(x)
        made = replace(self.exp(self.mul(y, replace(logs, unsure_exponent=x.unsure))), value=np.asarray(value))
        vanishes = (x.r == 0).all(0) & (y.value > 0)
        assert made.s is not None
        return replace(made, r=np.where(vanishes, np.uint64(0), made.r), s=np.where(vanishes, np.uint64(0), made.s))

    def _must_be_square(self, x: Numbers, where: np.ndarray) -> None:
        if not where.any():
            return
        self._again_where(~self.squares.is_square(x.r) & where, x.on, "square")
        fresh = [i for i, r in enumerate(x.r[0].reshape(-1).tolist()) if r not in self._counted]
        self._counted.update(x.r[0].reshape(-1)[fresh].tolist())
        on = np.ascontiguousarray(np.broadcast_to(x.on, x.shape).reshape(-1)[fresh])
        bits = np.unpackbits(on.view(np.uint8), bitorder="little").reshape(-1, COLOURS)
        self.roots += bits.sum(0, dtype=int)

    def _again_where(self, failed: np.ndarray, on: np.ndarray, what: str) -> None:
        """Ask for another draw where something has failed, of colours that nothing good depends on, if that can be."""
        on = np.broadcast_to(on, failed.shape[1:])
        if what:
            self._fixed |= np.bitwise_or.reduce(on[~failed.any(0)].reshape(-1), initial=np.uint64(0))
        if not failed.any():
            return
        colours = np.zeros(self.k, np.uint64)
        for k in np.flatnonzero(failed.reshape(self.k, -1).any(1)):
            for one in np.unique(on[failed[k]]):
                free = one & ~self._fixed
                colours[k] |= free or one
        raise OtherDraw(np.asarray(failed.reshape(self.k, -1).any(1)), colours)

    # Decisions.

    def decide(self, name: str, key: int, which: np.ndarray, x: Numbers, y: Numbers) -> np.ndarray:
        """Keep what the floats decided between x and y, and whether it was close."""
        x, y = self.aligned(x, y)
        on = np.broadcast_to(x.on | y.on, which.shape)
        if on.any():
            self.decisions.taken = zlib.crc32(np.packbits(which[on != 0]).tobytes(), self.decisions.taken)
            self.decisions.sides.setdefault(key, set()).update(bool(v) for v in np.unique(which[on != 0]))
            at_zero = (on & np.uint64(self.zero_inputs) != 0) & (x.on != y.on)
            close = (x.value == y.value) & ((x.r != y.r).any(0) | at_zero)
            self.tie(name, on, np.broadcast_to(close, which.shape))
        return which

    def tie(self, name: str, on: np.ndarray, where: np.ndarray) -> None:
        """Keep that a decision could as well have been another one."""
        if (on[where] != 0).any():
            self.decisions.ties.add(name)


NOT_SQUARE = "log"

MOST_SUMS = 100_000
"""More sums of exponents than so many are not looked through."""

MOST_SUMS_OF_A_PROGRAM = 50 * MOST_SUMS
"""Nor more than so many in a whole program, as one with a logarithm in a long loop."""

MOST_NEW_LOGARITHMS = 6
"""After so many unknown ones of one array no more are looked for that are made of them."""


def _sorted(s: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, first = np.unique(s[0], return_index=True)
    return s[:, first], r[:, first]


def _same_integer(y: Numbers) -> int | None:
    """The one small integer that a constant array is full of."""
    if y.on.any() or not y.value.size:
        return None
    first = y.value.reshape(-1)[0]
    whole = np.isfinite(first) and first == int(first) and abs(first) <= 64 and (y.value == first).all()
    return int(first) if whole else None
