"""Numerical derivatives with an error bar: Richardson's extrapolation of difference quotients in float64.

A value and its bar are computed from the same evaluations: the bar is the larger of what the extrapolation still
changes and what rounding can do. Both one-sided derivatives come along, for kinks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .later import mpmath

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

    @property
    def kinked(self) -> np.ndarray:
        """Where the derivatives from the two sides differ by more than their bars."""
        gap = np.abs(self.right - self.left)
        return gap > 4 * (self.right_bar + self.left_bar) + 1e-6 * (np.abs(self.right) + np.abs(self.left))


def slopes(
    outputs: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    directions: np.ndarray,
    shaken: np.ndarray | float = 0.0,
) -> Slopes:
    """The derivatives at the flat `x` of `outputs`, a function of many points (points, n) -> (points, m), along rows.

    A direction is scaled by the size of the numbers it moves, so that steps are relative. What rounding inside the
    function does to each output is `shaken`.
    """
    steps = FIRST * RATIO ** -np.arange(STEPS)
    moves = directions[:, None, None, :] * np.array([1.0, -1.0])[None, None, :, None] * steps[None, :, None, None]
    points = np.concatenate([x[None], (x + moves).reshape(-1, x.size)])
    with np.errstate(all="ignore"):
        y = outputs(points)
        here, around = y[0], y[1:].reshape(len(directions), STEPS, 2, -1)
        h = steps[None, :, None]
        size = np.maximum(np.abs(around).max(2, initial=0), np.abs(here))
        # What rounding does to the outputs, and to all they are made of ((a + b) - b): relative to the step.
        noise = (8 * _UNIT * size + 4 * shaken) / h
        central = (around[:, :, 0] - around[:, :, 1]) / (2 * h)
        right = (around[:, :, 0] - here) / h
        left = (here - around[:, :, 1]) / h
        return Slopes(
            *extrapolate(central, noise, power=2),
            *extrapolate(right, noise, power=1),
            *extrapolate(left, noise, power=1),
            steps=steps,
            rise=around[:, :, 0] - here,
            size=size.max(1, initial=0),
            shaken=np.broadcast_to(shaken, here.shape),
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
    """Each number of `x` alone where there are few; else 8 random directions and 8 numbers. Always all at once, too."""
    ones = np.ones((1, x.size)) * (np.abs(x).max(initial=0) or 1.0)
    if x.size <= SMALL:
        return np.concatenate([np.diag(scale), ones, rng.choice([-1.0, 1.0], (2, x.size)) * scale])
    single = np.zeros((8, x.size))
    single[np.arange(8), rng.choice(x.size, 8, replace=False)] = 1.0
    return np.concatenate([single * scale, ones, rng.choice([-1.0, 1.0], (8, x.size)) * scale])


def in_many_digits(quotient: Callable[[Any], Any], steps: tuple[Any, ...]) -> Any:
    """Difference quotients at decreasing `steps`: the last one, or NaN where the last two still differ."""
    before, last = (np.array(quotient(h), object) for h in steps)
    near = mpmath.mpf(10) ** -330
    agree = np.array([bool(abs(a - b) <= 1e-12 * abs(b) + near) for a, b in zip(before, last, strict=True)])
    return np.where(np.asarray(agree), last.astype(float), np.nan)
