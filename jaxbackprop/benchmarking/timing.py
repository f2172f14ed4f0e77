"""Timing programs against one another: interleaved rounds, ratios within a round, and whether a difference is real.

Two times taken minutes apart compare two states of the machine. Here every round runs every program once, in a random
order, and only ratios within a round are compared. This file does not know what a program computes.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

SAMPLE_SECONDS = 1e-3
"""Seconds that one sample should last at least; a shorter program is called several times for it."""
WARM_UP_SECONDS = 0.05
"""Seconds a program may run before it is timed: clocks, caches and page tables settle."""
MIN_ROUNDS, MAX_ROUNDS = 5, 101
"""Rounds of a comparison: at least this many however long they take, at most that many."""


def interleaved(
    programs: Sequence[Callable[[], Any]], *, seconds: float, rounds: int | None = None, seed: int = 0
) -> np.ndarray:
    """Seconds per call of each program in each round, an array of shape (rounds, programs).

    Args:
        programs: functions of no argument; what they return is awaited.
        seconds: about how long all of it may take (the fewest rounds are always run).
        rounds: exactly this many rounds instead.
        seed: of the order within each round.
    """
    rng = np.random.default_rng(seed)
    calls = [_calls_per_sample(program) for program in programs]
    measured: list[list[float]] = []
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(measured) < (rounds or MIN_ROUNDS) or (
            rounds is None and len(measured) < MAX_ROUNDS and time.perf_counter() < end
        ):
            row = [0.0] * len(programs)
            for i in rng.permutation(len(programs)):
                row[i] = _sample(programs[i], calls[i])
            measured.append(row)
    finally:
        if gc_was_enabled:
            gc.enable()
    return np.array(measured)


def _sample(program: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(program())
    return (time.perf_counter() - start) / calls


def _calls_per_sample(program: Callable[[], Any]) -> int:
    """How often to call `program` for one sample; warms it up."""
    end = time.perf_counter() + WARM_UP_SECONDS
    once = _sample(program, 1)
    while time.perf_counter() < end:
        once = min(once, _sample(program, 1))
    return max(1, min(1000, round(SAMPLE_SECONDS / once)))


@dataclass(frozen=True)
class Ratio:
    """The time of one program divided by that of another.

    Attributes:
        median: of the ratios within a round.
        low: and `high`: where the median lies with 95 % confidence (bootstrap over the rounds).
        within_noise: the interval contains 1, or the median is no further from 1 than two copies of one program are.
    """

    median: float
    low: float
    high: float
    within_noise: bool


def ratio(numerator: np.ndarray, denominator: np.ndarray, repeat: np.ndarray) -> Ratio:
    """`numerator` / `denominator`, round by round.

    Args:
        numerator: times of one program, one per round.
        denominator: times of the other.
        repeat: times of the first program again: what it differs from itself is noise.
    """
    low, median, high = interval_of_median(numerator / denominator)
    floor = np.abs(np.log(interval_of_median(repeat / numerator))).max()
    return Ratio(median, low, high, bool(low <= 1 <= high or abs(np.log(median)) <= floor))


def interval_of_median(samples: np.ndarray, *, resamples: int = 2000) -> tuple[float, float, float]:
    """(low, median, high): the median of `samples` and where it lies with 95 % confidence, by the bootstrap."""
    drawn = np.random.default_rng(0).choice(samples, (resamples, len(samples)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(np.median(samples)), float(high)


def spread(samples: np.ndarray) -> float:
    """The width of the middle half of `samples`, divided by their median."""
    low, median, high = np.quantile(samples, [0.25, 0.5, 0.75])
    return float((high - low) / median)
