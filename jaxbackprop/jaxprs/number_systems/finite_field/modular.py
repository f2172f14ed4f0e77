"""Arithmetic modulo several numbers at once, in NumPy's 64-bit integers, with groups that make exp a homomorphism.

An array has one more axis in front: along it stand the residues of one number modulo different primes. All moduli are
below 2^32, so that products fit.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

PRIMES: tuple[tuple[int, int, int], ...] = (
    (4165538159, 49391, 42169), (3504066719, 52631, 33289), (4123598639, 39191, 52609), (3068770319, 38351, 40009),
    (3483387599, 49199, 35401), (3039035999, 33911, 44809), (2801539439, 35159, 39841), (4191265679, 46199, 45361),
    (4195699199, 40151, 52249), (3111689279, 37799, 41161), (2991765839, 44519, 33601), (3188631599, 42719, 37321),
    (4008579119, 33311, 60169), (3896247599, 46919, 41521), (3674731199, 35279, 52081), (2763803279, 39791, 34729),
    (3383387279, 46679, 36241), (2844505439, 41879, 33961), (2950802399, 34439, 42841), (4228092959, 36671, 57649),
    (3426477599, 34319, 49921), (4050422879, 49871, 40609), (3726990959, 52391, 35569), (2355007199, 34919, 33721),
)  # fmt: skip
"""(p, a, b), all prime, with p = 2 a b + 1.

The squares modulo p are a cyclic group of order q = a b. So x -> w^x is a homomorphism from the integers modulo q to
the squares, and because a and b are small its inverse, the logarithm, can be looked up (Pohlig and Hellman). As p is 3
modulo 4, one root of a square is a square itself: roots multiply, as those of positive numbers do. Modulo p, 2, 3, 5,
7, 11 and 13 are squares; modulo a and b, 2, 3, 5 and 7.
"""

WINDOW = 11
"""A power of w is a product of so many bits' powers from tables."""


@dataclass(frozen=True)
class Group:
    """The squares modulo a prime p: a cyclic group of order q = a b, its generator and tables.

    Attributes:
        prime: p.
        first: a.
        second: b.
        powers: w^(i 2^(11 j)) for j = 0, 1, 2.
        logs: for a and for b the elements of that order, sorted, and which power of their generator each is.
    """

    prime: int
    first: int
    second: int
    powers: np.ndarray
    logs: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def order(self) -> int:
        """How many squares there are, but for zero."""
        return self.first * self.second


@cache
def group(number: int) -> Group:
    """The group of the prime of that number in `PRIMES`."""
    p, a, b = PRIMES[number % len(PRIMES)]
    w = next(g * g % p for g in range(2, p) if pow(g, 2 * a, p) != 1 and pow(g, 2 * b, p) != 1)
    powers = np.stack([_powers(pow(w, 2 ** (WINDOW * j), p), 2**WINDOW, p) for j in range(3)])
    logs = []
    for order, other in ((a, b), (b, a)):
        elements = _powers(pow(w, other, p), order, p)
        places = np.argsort(elements)
        logs.append((elements[places], places.astype(np.uint64)))
    return Group(p, a, b, powers, tuple(logs))


def _powers(w: int, count: int, p: int) -> np.ndarray:
    made = np.ones(1, np.uint64)
    while made.size < count:  # twice as many each time
        made = np.concatenate([made, made * np.uint64(pow(w, made.size, p)) % np.uint64(p)])
    return made[:count]


def salt(*words: Any) -> np.uint64:
    """64 random-looking bits for a name, a number and the like."""
    return np.uint64(zlib.crc32(repr(words).encode()) * 0x9E3779B1)


def mixed(x: np.ndarray) -> np.ndarray:
    """64 random-looking bits for each number (splitmix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Moduli:
    """The integers modulo each of `m` (k,), as arrays (k, ...); `factors` (k, 2) are those of moduli not prime.

    Only what is coprime to its modulus has an inverse.
    """

    m: np.ndarray
    factors: np.ndarray | None = None

    def over(self, x: np.ndarray) -> np.ndarray:
        """The moduli, to be broadcast over `x`."""
        return self.m.reshape(-1, *[1] * (x.ndim - 1))

    def of(self, x: np.ndarray) -> np.ndarray:
        """Any 64-bit integers, reduced."""
        return x % self.over(x)

    def add(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """x + y."""
        return self.of(x + y)

    def sub(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """x - y."""
        return self.of(x + (self.over(y) - y))

    def mul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """x y."""
        return self.of(x * y)

    def power(self, x: np.ndarray, exponents: Sequence[int]) -> np.ndarray:
        """x to the power of one exponent, not negative, for each modulus."""
        made = np.empty_like(x)
        for k, exponent in enumerate(exponents):
            m, base = self.m[k], x[k]
            done = np.ones_like(base)
            for bit in bin(exponent)[2:]:
                done = done * done % m
                done = done * base % m if bit == "1" else done
            made[k] = done
        return made

    def has_inverse(self, x: np.ndarray) -> np.ndarray:
        """Where x is coprime to its modulus."""
        if self.factors is None:
            return x != 0
        a, b = (self.factors[:, i].reshape(-1, *[1] * (x.ndim - 1)) for i in (0, 1))
        return (x % a != 0) & (x % b != 0)

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """1 / x, and 1 where there is none: one inverse for each modulus, of the product of all, and back down."""
        levels = [np.where(self.has_inverse(x), x, np.uint64(1)).reshape(len(x), -1)]
        while levels[-1].shape[1] > 1:
            row = levels[-1]
            if row.shape[1] % 2:
                row = levels[-1] = np.concatenate([row, np.ones((len(row), 1), np.uint64)], 1)
            levels.append(self.mul(row[:, ::2], row[:, 1::2]))
        top = levels.pop()
        pairs = zip(top.reshape(-1), self.m, strict=False)
        found = np.array([pow(int(v), -1, int(m)) for v, m in pairs], np.uint64).reshape(top.shape)
        for row in reversed(levels):
            down = np.empty_like(row)
            half = found[:, : row.shape[1] // 2]
            down[:, ::2], down[:, 1::2] = self.mul(half, row[:, 1::2]), self.mul(half, row[:, ::2])
            found = down
        return found[:, : x[0].size].reshape(x.shape)

    def matmul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(k, b, m, n) (k, b, n, l) -> (k, b, m, l)."""
        if x.shape[2] * x.shape[3] * y.shape[3] <= 4096:
            return self.of(self.mul(x[..., None], y[:, :, None]).sum(3))
        # Halves of 16 bits: their products and sums are exact in float64, where the product of matrices is fast.
        (a, b), (c, d) = (
            [half.astype(np.float64) for half in (z >> np.uint64(16), z & np.uint64(0xFFFF))] for z in (x, y)
        )
        total = np.zeros((1, 1, 1, 1), np.uint64)
        for part in (a @ c, a @ d + b @ c, b @ d):
            total = self.of((total << np.uint64(16)) + self.of(part.astype(np.uint64)))
        return total


class Squares:
    """exp, log and roots: between the integers modulo q and the squares modulo p, for several primes at once."""

    def __init__(self, numbers: Sequence[int]):
        self.groups = [group(n) for n in numbers]
        self.p = Moduli(np.array([g.prime for g in self.groups], np.uint64))
        self.q = Moduli(
            np.array([g.order for g in self.groups], np.uint64),
            np.array([[g.first, g.second] for g in self.groups], np.uint64),
        )
        self._powers = np.stack([g.powers for g in self.groups])

    def exp(self, s: np.ndarray) -> np.ndarray:
        """w^s modulo p, for s modulo q."""
        k = np.arange(len(s)).reshape(-1, *[1] * (s.ndim - 1))
        mask, made = np.uint64(2**WINDOW - 1), None
        for j in range(3):
            part = self._powers[k, j, (s >> np.uint64(WINDOW * j)) & mask]
            made = part if made is None else self.p.mul(made, part)
        assert made is not None
        return made

    def is_square(self, r: np.ndarray) -> np.ndarray:
        """Where r is a square; zero is not counted."""
        return self.p.power(r, [g.order for g in self.groups]) == 1

    def root(self, r: np.ndarray) -> np.ndarray:
        """The root of a square that is a square."""
        return self.p.power(r, [(g.prime + 1) // 4 for g in self.groups])

    def cube_root(self, r: np.ndarray) -> np.ndarray:
        """The one cube root of any number: 3 does not divide p - 1."""
        return self.p.power(r, [pow(3, -1, g.prime - 1) for g in self.groups])

    def log(self, r: np.ndarray) -> np.ndarray:
        """s modulo q with w^s = r, for a square r; anything for others."""
        parts = []
        for i, factor in enumerate(("second", "first")):
            x = self.p.power(r, [getattr(g, factor) for g in self.groups])
            found = np.empty_like(x)
            for k, g in enumerate(self.groups):
                elements, places = g.logs[i]
                found[k] = places[np.minimum(np.searchsorted(elements, x[k]), elements.size - 1)]
            parts.append(found)
        # s is parts[0] modulo a, parts[1] modulo b.
        first, second = parts
        made = np.empty_like(r)
        for k, g in enumerate(self.groups):
            a, b = np.uint64(g.first), np.uint64(g.second)
            steps = (second[k] + (b - first[k] % b)) % b * np.uint64(pow(g.first, -1, g.second)) % b
            made[k] = first[k] + a * steps
        return made
