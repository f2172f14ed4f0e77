"""The one place where numbers are compared, with a tolerance that has a reason.

The tolerance of an element is D = u |truth| + the truth's spread when inputs and cotangent are moved by one unit in
the last place + u rms(truth), u the unit round-off of the precision at hand. A right rule stays within about 10 D.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..jaxprs.inputs import Leaves, unit_roundoff

ALLOWED = 32.0
"""In units of D. Right rules stayed within 10 in float32 and 3.4 in bfloat16 over six layers."""


@dataclass
class Judgement:
    """What was found about one gradient (or output): per live leaf.

    Attributes:
        wrong: the elements that are wrong.
        undecided: the elements about which the oracles do not agree, and that could not be settled.
        truth: the true values, as far as known.
        bar: the error bar of the truth.
        units: the largest difference, in units of D.
        by: which oracle decided where autodiff did not.
        confirmed: elements whose true value by autodiff the numerical derivative supports, against what was found.
        jumps: the elements at which the truth jumps; empty where nobody asked.
        tight: the bars without what such a jump adds; empty where nobody asked.
        outside: directions along which the gradient leaves the interval between the one-sided derivatives.
    """

    found: Leaves
    truth: Leaves
    bar: Leaves
    wrong: list[np.ndarray]
    undecided: list[np.ndarray]
    units: list[float]
    ulps: list[float]
    by: set[str] = field(default_factory=set)
    outside: list[str] = field(default_factory=list)
    confirmed: set[int] = field(default_factory=set)
    jumps: list[np.ndarray] = field(default_factory=list)
    tight: Leaves = field(default_factory=list)

    @property
    def passed(self) -> bool | None:
        """True, False, or None: undecided."""
        if any(w.any() for w in self.wrong) or self.outside:
            return False
        return None if any(x.any() for x in self.undecided) else True


def spread(samples: list[Leaves]) -> Leaves:
    """How far the samples lie from the first one, element by element."""
    with np.errstate(all="ignore"):
        return [
            np.max([np.nan_to_num(np.abs(s[j] - first), nan=0.0, posinf=0.0) for s in samples[1:]], 0)
            if len(samples) > 1
            else np.zeros(np.shape(first))
            for j, first in enumerate(samples[0])
        ]


def tolerance(truth: Leaves, spreads: Leaves, dtype: Any) -> Leaves:
    """D for each element: see the module's docstring. Underflow is forgiven: D is at least the smallest normal."""
    u, tiny = unit_roundoff(dtype), float(jnp.finfo(dtype).tiny)
    made = []
    with np.errstate(all="ignore"):
        for t, s in zip(truth, spreads, strict=True):
            size = np.where(np.isfinite(t), np.abs(t), 0.0)
            rms = np.sqrt(np.mean(size**2)) if size.size else 0.0
            made.append(u * size + np.where(np.isfinite(s), s, 0.0) + u * rms + tiny)
    return made


def jumps(judged: Judgement, finest: Callable[[], list[Leaves]], dtype: Any) -> list[np.ndarray]:
    """Where another value was found than the truth, and the truth jumps: at a kink.

    Moving by one unit in the last place of `dtype` changes it wholly, and so do the `finest` moves: what is only badly
    conditioned they leave alone. Such a spread is no measure of accuracy: sets `judged.jumps`, and `judged.tight`, the
    bars without it.
    """
    u, tiny = unit_roundoff(dtype), float(jnp.finfo(dtype).tiny)
    judged.tight = list(judged.bar)
    judged.jumps = [np.zeros(np.shape(t), bool) for t in judged.truth]
    with np.errstate(all="ignore"):
        sizes = [np.where(np.isfinite(t), np.abs(t), 0.0) for t in judged.truth]
        sizes = [size + (np.sqrt(np.mean(size**2)) if size.size else 0.0) for size in sizes]
        wide = [bar > 1e-2 * size + tiny for bar, size in zip(judged.bar, sizes, strict=True)]
        if any(w.any() for w in wide):
            moved = spread(finest())
            judged.jumps = [w & (m > 1e-2 * size + tiny) for w, m, size in zip(wide, moved, sizes, strict=True)]
            judged.tight = [
                np.where(jump, u * size + tiny, bar)
                for jump, size, bar in zip(judged.jumps, sizes, judged.bar, strict=True)
            ]
        return [
            jump & (np.abs(as_wide(f) - t) > ALLOWED * tight)
            for jump, f, t, tight in zip(judged.jumps, judged.found, judged.truth, judged.tight, strict=True)
        ]


def doubled(bars: Leaves, like: Leaves) -> Leaves:
    """The error bars, once for the real and once for the imaginary part where the gradient is complex."""
    return [b + 1j * b if np.iscomplexobj(f) else b for b, f in zip(bars, like, strict=True)]


def compare(found: Leaves, truth: Leaves, bar: Leaves, dtype: Any) -> Judgement:
    """Element by element; not a number beside not a number is a comparison of nothing, and undecided."""
    wrong, undecided, units, ulps = [], [], [], []
    largest = float(jnp.finfo(dtype).max)
    with np.errstate(all="ignore"):
        for f, t, d in zip(found, truth, bar, strict=True):
            f, t = as_wide(f), as_wide(t)
            same = (f == t) | ((np.abs(t) >= largest) & (np.abs(f) >= largest / 2) & (np.sign(f) == np.sign(t)))
            off = np.where(same, 0.0, np.abs(f - t) / d)
            nothing = ~np.isfinite(t) & ~same
            off = np.where(np.isnan(off), np.inf, off)
            wrong.append((off > ALLOWED) & ~nothing)
            undecided.append(nothing)
            units.append(float(np.max(np.where(nothing, 0.0, off), initial=0.0)))
            ulps.append(in_ulps(f, t, d, same | nothing, dtype))
    return Judgement(found, truth, bar, wrong, undecided, units, ulps)


def as_wide(x: Any) -> np.ndarray:
    """In float64 or complex128."""
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def in_ulps(found: np.ndarray, truth: np.ndarray, bar: np.ndarray, skip: np.ndarray, dtype: Any) -> float:
    """The largest error in units of the dtype's resolution, at the size of the largest true value or of its noise."""
    if not np.size(found):
        return 0.0
    found = np.asarray(found).astype(np.complex128 if np.iscomplexobj(found) else np.float64)
    u = unit_roundoff(dtype)
    scale = np.maximum(u * np.max(np.where(np.isfinite(truth), np.abs(truth), 0.0), initial=0.0), bar / 8)
    return float(np.max(np.where(skip, 0.0, np.abs(found - truth) / (2 * scale)), initial=0.0))


def allow_for_rounding(judged: Judgement, noisy: list[Leaves], dtype: Any) -> None:
    """Judge again with what rounding every step of autodiff's program does to its answer added to the bar."""
    bar = [b + s for b, s in zip(judged.bar, spread(noisy), strict=True)]
    again = compare(judged.found, judged.truth, bar, dtype)
    judged.bar, judged.wrong, judged.units, judged.ulps = bar, again.wrong, again.units, again.ulps


def without(judged: Judgement, settled: Leaves, dtype: Any) -> None:
    """Measure the largest error again, over all elements but those `settled` otherwise than by the truth's value."""
    for j, (f, t, bar, skip) in enumerate(zip(judged.found, judged.truth, judged.bar, settled, strict=True)):
        if skip.any():
            with np.errstate(all="ignore"):
                nothing = skip | ~np.isfinite(as_wide(t)) | (as_wide(f) == as_wide(t))
                judged.ulps[j] = in_ulps(f, as_wide(t), bar, nothing, dtype)


def elements(judged: Judgement) -> Sequence[tuple[int, tuple[int, ...]]]:
    """The wrong elements as (leaf, index), the worst first."""
    rows = []
    for leaf, w in enumerate(judged.wrong):
        gap = np.abs(as_wide(judged.found[leaf]) - as_wide(judged.truth[leaf]))
        rows += [(float(gap[i]), leaf, tuple(map(int, i))) for i in map(tuple, np.argwhere(w))]
    return [(leaf, i) for _, leaf, i in sorted(rows, key=lambda r: -np.nan_to_num(r[0], nan=np.inf))]


def worst_output(judged: Judgement) -> str:
    """The first output that is wrong, with both values."""
    for j, wrong in enumerate(judged.wrong):
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            return (
                f"output {j}{list(map(int, at))}: {judged.found[j][at]:.6g}, plain function {judged.truth[j][at]:.6g}"
            )
    return "not a number where the plain function has a value, or the reverse"
