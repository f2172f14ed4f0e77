"""Numerical derivatives with an error bound: Richardson's extrapolation of difference quotients in float64.

A value and its bound are computed from the same evaluations: the bound is the larger of what the extrapolation still
changes and what rounding can do. Both one-sided derivatives come along, for kinks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...jaxprs.flatten import flatten
from ...jaxprs.widen import BANK, banks
from ..problem import Problem

STEPS = 7
RATIO = 4.0
FIRST = 2.0**-6
_UNIT = 2.0**-53


@dataclass(frozen=True)
class Slopes:
    """Directional derivatives of every output: arrays (directions, outputs), each with its error bound.

    Beside them what they were made of: `rise` (directions, steps, outputs) over the `steps`, and the outputs' `size`;
    and how far rounding in float64 moves each output.
    """

    value: np.ndarray
    bound: np.ndarray
    right: np.ndarray
    right_bound: np.ndarray
    left: np.ndarray
    left_bound: np.ndarray
    steps: np.ndarray
    rise: np.ndarray
    size: np.ndarray
    rounding: np.ndarray

    @cached_property
    def kinked(self) -> np.ndarray:
        """Where the derivatives from the two sides differ by more than their bounds."""
        gap = np.abs(self.right - self.left)
        return gap > 4 * (self.right_bound + self.left_bound) + 1e-6 * (np.abs(self.right) + np.abs(self.left))

    @cached_property
    def breaks(self) -> np.ndarray:
        """Where an output ahead is not finite, or jumps: steps of any length change it by as much."""
        first, last = np.abs(self.rise[:, 0]), np.abs(self.rise[:, -1])
        with np.errstate(invalid="ignore"):
            jumps = (last > 0.5 * first) & (last > 8 * self.rounding + 64 * _UNIT * self.size)
        return jumps | ~np.isfinite(self.right_bound)


def directions_of(problem: Problem) -> np.ndarray:
    """See `directions`."""
    return problem.answers.get(
        "directions",
        lambda: directions(problem.x, scales(problem.x, problem.leaf_of), problem.random("directions")),
    )


def slopes_of(problem: Problem, *, with_rounding: bool = True) -> Slopes:
    """The plain function's derivatives along `directions_of`.

    Without what rounding inside the function does their bounds are too small: good for agreeing, not for contradicting,
    and one program less to compile.
    """
    along = directions_of(problem)
    if not with_rounding and "slopes" not in problem.answers.held:
        return problem.answers.get("sharp slopes", lambda: slopes(problem.values_at, problem.x, along))
    return problem.answers.get("slopes", lambda: slopes_along(problem, along))


def slopes_along(problem: Problem, along: np.ndarray) -> Slopes:
    """The plain function's derivatives along the rows of `along`."""
    return slopes(problem.values_at, problem.x, along, rounding_of_outputs(problem))


def rounding_of_outputs(problem: Problem) -> np.ndarray:
    """How far each output moves when the arguments and every step towards it are rounded at random in float64."""
    return problem.answers.get("rounding of outputs", lambda: _rounding_of_outputs(problem))


def _rounding_of_outputs(problem: Problem) -> np.ndarray:
    rng, scale = problem.random("rounding of outputs"), scales(problem.x, problem.leaf_of)
    # Close by as well: exactly at 1 the root of 1 - y^2 is exact, and beside it half of the digits are lost.
    aside = problem.x + FIRST * RATIO ** -(STEPS // 2) * scale * rng.choice([-1.0, 1.0], problem.x.size)
    moved = np.zeros(1)
    for arrays in (problem.inputs.arrays, problem.at_flat(aside).inputs.arrays):
        with np.errstate(all="ignore"):
            *here, decisions = problem.noisy("value", arrays, np.zeros(BANK), (0.0, 0.0, 0.0))
            for bank in banks(rng, 4):
                *found, taken = problem.noisy("value", arrays, bank, (_UNIT, 0.0, 0.0))
                if abs(taken - decisions) <= 1e-9 * abs(decisions):
                    moved = np.fmax(moved, np.abs(flatten(found) - flatten(here)))
    return np.broadcast_to(np.nan_to_num(moved, posinf=0.0), flatten(here).shape)


def slopes(
    outputs: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    directions: np.ndarray,
    rounding: np.ndarray | None = None,
) -> Slopes:
    """The derivatives at the flat `x` of `outputs`, a function of many points (points, n) -> (points, m), along rows.

    A direction is scaled by the size of the numbers it moves, so that steps are relative. What rounding inside the
    function does to each output is `rounding`: nothing where that is not given.
    """
    steps = FIRST * RATIO ** -np.arange(STEPS)
    noise: np.ndarray = np.zeros(outputs(x[None]).shape[1]) if rounding is None else rounding
    # All directions in one call of a small function; of a large one, one direction after the other.
    together, m = max(1, LARGE // (2 * STEPS * max(x.size, noise.size, 1))), noise.size
    shapes = [(m,)] * 6 + [(STEPS, m), (m,)]
    found = [np.zeros((len(directions), *shape)) for shape in shapes]
    for k in range(0, len(directions), together):
        _some(outputs, x, directions[k : k + together], steps, noise, [f[k : k + together] for f in found])
    *columns, rise, size = found
    return Slopes(*columns, steps=steps, rise=rise, size=size, rounding=noise)


MANY = 5_000
"""Numbers: beyond them fewer derivatives are taken, as the numbers moved by a random direction are many."""

LARGE = 100_000
"""Numbers: beyond them the cost of a derivative is that of reading and writing arrays."""


def _some(
    outputs: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    directions: np.ndarray,
    steps: np.ndarray,
    rounding: np.ndarray,
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
        for bound, power in zip(found[1:6:2], (2, 1, 1), strict=True):
            bound[:] = extrapolate(np.zeros((1, STEPS, 1)), 1 / h, power=power)[1] * _rounding(np.abs(here), rounding)
        moving = np.flatnonzero((around != here).any((0, 1, 2)))
        for at in (moving[a : a + BLOCK] for a in range(0, moving.size, BLOCK)):
            for whole, part in zip(found, _moved(here[at], around[..., at], h, rounding[at]), strict=True):
                whole[..., at] = part


def _rounding(size: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """What rounding does to outputs of this size, and to all they are made of ((a + b) - b)."""
    return 8 * _UNIT * size + 4 * inside


BLOCK = 2**15


def _moved(here: np.ndarray, around: np.ndarray, h: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, ...]:
    size = np.maximum(np.abs(around).max(2, initial=0), np.abs(here))
    noise = _rounding(size, inside) / h
    rise = around[:, :, 0] - here
    return (
        *extrapolate((around[:, :, 0] - around[:, :, 1]) / (2 * h), noise, power=2),
        *extrapolate(rise / h, noise, power=1),
        *extrapolate((here - around[:, :, 1]) / h, noise, power=1),
        rise,
        size.max(1, initial=0),
    )


def extrapolate(quotients: np.ndarray, noise: np.ndarray, *, power: int) -> tuple[np.ndarray, np.ndarray]:
    """The limit of `quotients` (directions, steps, outputs) as the step goes to 0, and its error bound (Ridders).

    The error of the first column is of order h^power, that of each later one of an order `power` higher.
    """
    best = quotients[:, -1]
    bound = np.full(best.shape, np.inf)
    column, rounding = quotients, noise
    for k in range(1, STEPS):
        factor = RATIO ** (power * k)
        better = (factor * column[:, 1:] - column[:, :-1]) / (factor - 1)
        rounding = (factor * rounding[:, 1:] + rounding[:, :-1]) / (factor - 1)
        error = np.maximum(np.abs(better - column[:, 1:]), np.abs(better - column[:, :-1])) + rounding
        for i in range(better.shape[1]):
            take = error[:, i] < bound
            best, bound = np.where(take, better[:, i], best), np.where(take, error[:, i], bound)
        column = better
    return best, bound


def scales(x: np.ndarray, leaf_of: np.ndarray) -> np.ndarray:
    """How far each number may move: its own size, or a thousandth of that of the leaf it belongs to."""
    size = np.abs(x)
    out = np.empty_like(size)
    for leaf in np.unique(leaf_of):
        mine = leaf_of == leaf
        rms = float(np.sqrt(np.mean(size[mine] ** 2))) or 1.0
        rms = rms if np.isfinite(rms) else 1.0
        out[mine] = np.maximum(size[mine], 1e-3 * rms)
    return np.where(np.isfinite(out), out, 1.0)


SMALL = 40
"""Up to so many numbers a derivative is taken along each of them; beyond, along random directions and some numbers."""


def directions(x: np.ndarray, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each number of `x` alone where there are few; else random directions and some numbers. Always all at once, too.

    Of both there are 8, or 2 beyond `MANY` numbers.
    """
    ones = np.ones((1, x.size)) * (np.abs(x).max(initial=0) or 1.0)
    if x.size <= SMALL:
        return np.concatenate([np.diag(scale), ones, rng.choice([-1.0, 1.0], (2, x.size)) * scale])
    count = 8 if x.size <= MANY else 2
    single = np.zeros((count, x.size))
    single[np.arange(count), rng.choice(x.size, count, replace=False)] = 1.0
    return np.concatenate([single * scale, ones, rng.choice([-1.0, 1.0], (count, x.size)) * scale])
