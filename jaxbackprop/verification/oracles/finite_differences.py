"""Numerical derivatives with an error bar: Richardson's extrapolation of difference quotients in float64.

A value and its bar are computed from the same evaluations: the bar is the larger of what the extrapolation still
changes and what rounding can do. Both one-sided derivatives come along, for kinks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...jaxprs.lazy_import import mpmath

STEPS = 7
RATIO = 4.0
FIRST = 2.0**-6
_UNIT = 2.0**-53


@dataclass(frozen=True)
class Slopes:
    """Directional derivatives of every output: arrays (directions, outputs), each with its error bar.

    Beside them what they were made of: `rise` (directions, steps, outputs) over the `steps`, and the outputs' `size`;
    and how far each output is `shaken` by rounding in float64.
    """

    value: np.ndarray
    bar: np.ndarray
    right: np.ndarray
    right_bar: np.ndarray
    left: np.ndarray
    left_bar: np.ndarray
    steps: np.ndarray
    rise: np.ndarray
    size: np.ndarray
    shaken: np.ndarray

    @cached_property
    def kinked(self) -> np.ndarray:
        """Where the derivatives from the two sides differ by more than their bars."""
        gap = np.abs(self.right - self.left)
        return gap > 4 * (self.right_bar + self.left_bar) + 1e-6 * (np.abs(self.right) + np.abs(self.left))


def slopes(
    outputs: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    directions: np.ndarray,
    shaken: np.ndarray | None = None,
) -> Slopes:
    """The derivatives at the flat `x` of `outputs`, a function of many points (points, n) -> (points, m), along rows.

    A direction is scaled by the size of the numbers it moves, so that steps are relative. What rounding inside the
    function does to each output is `shaken`: nothing where that is not given.
    """
    steps = FIRST * RATIO ** -np.arange(STEPS)
    noise: np.ndarray = np.zeros(outputs(x[None]).shape[1]) if shaken is None else shaken
    # All directions in one call of a small function; of a large one, one direction after the other.
    together, m = max(1, LARGE // (2 * STEPS * max(x.size, noise.size, 1))), noise.size
    shapes = [(m,)] * 6 + [(STEPS, m), (m,)]
    found = [np.zeros((len(directions), *shape)) for shape in shapes]
    for k in range(0, len(directions), together):
        _some(outputs, x, directions[k : k + together], steps, noise, [f[k : k + together] for f in found])
    *columns, rise, size = found
    return Slopes(*columns, steps=steps, rise=rise, size=size, shaken=noise)


LARGE = 100_000
"""Numbers: beyond them the cost of a derivative is that of reading and writing arrays, and fewer are taken."""


def _some(
    outputs: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    directions: np.ndarray,
    steps: np.ndarray,
    shaken: np.ndarray,
    found: list[np.ndarray],
) -> None:
    """Fill in the arrays of `Slopes` (zeros before) along some directions.

    Block by block of the outputs: what is at work stays in cache.
    """
    moves = directions[:, None, None, :] * np.array([1.0, -1.0])[None, None, :, None] * steps[None, :, None, None]
    h = steps[None, :, None]
    with np.errstate(all="ignore"):
        y = outputs(np.concatenate([x[None], (x + moves).reshape(-1, x.size)]))
        here, around = y[0], y[1:].reshape(len(directions), STEPS, 2, -1)
        # Of an output that never moves, as most do along one number, rounding alone is known.
        found[-1][:] = np.abs(here)
        for bar, power in zip(found[1:6:2], (2, 1, 1), strict=True):
            bar[:] = extrapolate(np.zeros((1, STEPS, 1)), 1 / h, power=power)[1] * _rounding(np.abs(here), shaken)
        moving = np.flatnonzero((around != here).any((0, 1, 2)))
        for at in (moving[a : a + BLOCK] for a in range(0, moving.size, BLOCK)):
            for whole, part in zip(found, _moved(here[at], around[..., at], h, shaken[at]), strict=True):
                whole[..., at] = part


def _rounding(size: np.ndarray, shaken: np.ndarray) -> np.ndarray:
    """What rounding does to outputs of this size, and to all they are made of ((a + b) - b)."""
    return 8 * _UNIT * size + 4 * shaken


BLOCK = 2**15


def _moved(here: np.ndarray, around: np.ndarray, h: np.ndarray, shaken: np.ndarray) -> tuple[np.ndarray, ...]:
    size = np.maximum(np.abs(around).max(2, initial=0), np.abs(here))
    noise = _rounding(size, shaken) / h
    rise = around[:, :, 0] - here
    return (
        *extrapolate((around[:, :, 0] - around[:, :, 1]) / (2 * h), noise, power=2),
        *extrapolate(rise / h, noise, power=1),
        *extrapolate((here - around[:, :, 1]) / h, noise, power=1),
        rise,
        size.max(1, initial=0),
    )


def extrapolate(quotients: np.ndarray, noise: np.ndarray, *, power: int) -> tuple[np.ndarray, np.ndarray]:
    """The limit of `quotients` (directions, steps, outputs) as the step goes to 0, and its error bar (Ridders).

    The error of the first column is of order h^power, that of each later one of an order `power` higher.
    """
    best = quotients[:, -1]
    bar = np.full(best.shape, np.inf)
    column, rounding = quotients, noise
    for k in range(1, STEPS):
        factor = RATIO ** (power * k)
        better = (factor * column[:, 1:] - column[:, :-1]) / (factor - 1)
        rounding = (factor * rounding[:, 1:] + rounding[:, :-1]) / (factor - 1)
        error = np.maximum(np.abs(better - column[:, 1:]), np.abs(better - column[:, :-1])) + rounding
        for i in range(better.shape[1]):
            take = error[:, i] < bar
            best, bar = np.where(take, better[:, i], best), np.where(take, error[:, i], bar)
        column = better
    return best, bar


def scales(x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """How far each number may move: its own size, or a thousandth of that of the leaf (`groups`) it belongs to."""
    size = np.abs(x)
    out = np.empty_like(size)
    for g in np.unique(groups):
        mine = groups == g
        rms = float(np.sqrt(np.mean(size[mine] ** 2))) or 1.0
        rms = rms if np.isfinite(rms) else 1.0
        out[mine] = np.maximum(size[mine], 1e-3 * rms)
    return np.where(np.isfinite(out), out, 1.0)


SMALL = 40
"""Up to so many numbers a derivative is taken along each of them; beyond, along random directions and some numbers."""


def directions(x: np.ndarray, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each number of `x` alone where there are few; else random directions and some numbers. Always all at once, too.

    Of both there are 8, or 2 beyond `LARGE` numbers.
    """
    ones = np.ones((1, x.size)) * (np.abs(x).max(initial=0) or 1.0)
    if x.size <= SMALL:
        return np.concatenate([np.diag(scale), ones, rng.choice([-1.0, 1.0], (2, x.size)) * scale])
    count = 8 if x.size <= LARGE else 2
    single = np.zeros((count, x.size))
    single[np.arange(count), rng.choice(x.size, count, replace=False)] = 1.0
    return np.concatenate([single * scale, ones, rng.choice([-1.0, 1.0], (count, x.size)) * scale])


def in_many_digits(quotient: Callable[[Any], Any], steps: tuple[Any, ...]) -> Any:
    """Difference quotients at decreasing `steps`: the last one, or NaN where the last two still differ."""
    before, last = (np.array(quotient(h), object) for h in steps)
    near = mpmath.mpf(10) ** -330
    agree = np.array([bool(abs(a - b) <= 1e-12 * abs(b) + near) for a, b in zip(before, last, strict=True)])
    return np.where(np.asarray(agree), last.astype(float), np.nan)
