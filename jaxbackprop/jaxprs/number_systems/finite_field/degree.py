"""The degree of a formula: an upper bound, kept for an array at once, from which follows how likely a mistake is."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Degree:
    """Each number of the array is a polynomial over a product of divisors, the same product for all of them.

    Attributes:
        top: the largest degree of the polynomials.
        below: the divisors: for each division of the program how often, and the degree of the product of what is
            divided by there, over the whole array.
    """

    top: float = 0.0
    below: dict[int, tuple[int, float]] = field(default_factory=dict)

    def __mul__(self, other: "Degree") -> "Degree":
        below = dict(self.below)
        for division, (times, size) in other.below.items():
            below[division] = (times + below.get(division, (0, 0))[0], size)
        return Degree(self.top + other.top, below)

    def __add__(self, other: "Degree") -> "Degree":
        return common((self, other))

    def power(self, n: int) -> "Degree":
        """Of the n-th power."""
        return Degree(n * self.top, {d: (n * times, size) for d, (times, size) in self.below.items()})

    def inverse(self, division: int, count: int) -> "Degree":
        """Of one over each of `count` numbers; `division` is a number of its own."""
        return Degree(sum(times * size for times, size in self.below.values()), {division: (1, count * self.top)})


NONE, UNKNOWN = Degree(), Degree(1.0)


def common(degrees: Iterable[Degree]) -> Degree:
    """Of a sum, or of an array put together of several: brought over the least common product of divisors."""
    degrees = list(degrees)
    below: dict[int, tuple[int, float]] = {}
    for degree in degrees:
        for division, (times, size) in degree.below.items():
            if below.get(division, (0, 0))[0] < times:
                below[division] = (times, size)
    top = max(
        d.top + sum((times - d.below.get(division, (0, 0))[0]) * size for division, (times, size) in below.items())
        for d in degrees
    )
    return Degree(top, below)
