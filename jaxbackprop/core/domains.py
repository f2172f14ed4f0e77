"""The sets of values that a rule's arguments are drawn from: each domain draws, and knows what lies in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Sizes = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """A set of values an argument may take.

    Attributes:
        name: in words, for tables and errors.
        draw: (generator, shape, sizes of the named axes) -> float64, integer or boolean array.
        empty: whether an array without elements is allowed.
        holds: whether an array lies in it; None where only `draw` knows.
    """

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...], Sizes], np.ndarray]
    empty: bool = True
    holds: Callable[[np.ndarray], bool] | None = None


def _nonzero(rng: np.random.Generator, shape: tuple[int, ...], _: Sizes) -> np.ndarray:
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def _distinct(rng: np.random.Generator, shape: tuple[int, ...], _: Sizes) -> np.ndarray:
    # Steps of at least 0.1, so that a numerical derivative does not change who is the largest.
    return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.25 - 1.0 + rng.uniform(0, 0.15, shape)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...], _: Sizes) -> np.ndarray:
    weights = rng.uniform(0.2, 1.0, shape)
    return weights / weights.sum(-1, keepdims=True)


def _sum_to_one(x: np.ndarray) -> bool:
    return bool(np.all(x >= 0) and np.allclose(x.sum(-1), 1, rtol=0, atol=1e-12))


def _starts(rng: np.random.Generator, shape: tuple[int, ...], total: int) -> np.ndarray:
    starts = np.sort(rng.integers(0, total + 1, shape))
    starts[:1] = 0
    return starts


real = Domain("any real number", lambda rng, shape, _: rng.normal(size=shape), holds=lambda x: True)
nonzero = Domain("not zero", _nonzero, holds=lambda x: bool(np.all(x != 0)))
positive = Domain("above zero", lambda rng, shape, _: rng.uniform(0.3, 2.5, shape), holds=lambda x: bool(np.all(x > 0)))
distinct = Domain("no two alike, at least one", _distinct, empty=False, holds=lambda x: np.unique(x).size == x.size)
probabilities = Domain("non-negative, summing to 1 along the last axis", _probabilities, holds=_sum_to_one)
boolean = Domain("true or false", lambda rng, shape, _: rng.random(shape) < 0.5)


def within(low: float, high: float) -> Domain:
    """Real numbers between `low` and `high`."""
    return Domain(
        f"between {low:g} and {high:g}",
        lambda rng, shape, _: rng.uniform(low, high, shape),
        holds=lambda x: bool(np.all((low <= x) & (x <= high))),
    )


def below(axis: str, *, padding: bool = False) -> Domain:
    """Integers from 0 up to the size of `axis`, that excluded; with `padding`, -1 as well, and one last row of it."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
        ids = rng.integers(0, sizes[axis], shape)
        if padding and shape and 0 not in shape:
            ids[rng.random(shape) < 0.2] = -1
            ids[-1] = -1 if len(shape) > 1 else ids[-1]
        return ids

    return Domain(f"an integer below {axis}{', or -1 for padding' * padding}", draw)


def starts(axis: str) -> Domain:
    """Ascending positions in an axis, the first of them 0: where each bag of a ragged array begins."""
    return Domain(f"ascending positions in {axis}, from 0", lambda rng, shape, sizes: _starts(rng, shape, sizes[axis]))
