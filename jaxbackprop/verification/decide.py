"""Is this gradient right? What autodiff disputes is settled by numerical derivatives, and in many digits."""

from typing import Any

import numpy as np

from ..jaxprs.flatten import dual, flatten
from ..jaxprs.inputs import Leaves, jittered, unit_roundoff
from ..jaxprs.number_systems.interpreter import FLOAT64, evaluate
from .oracles.autodiff import JITTERS, Case
from .oracles.finite_differences import LARGE, scales, slopes
from .oracles.many_digits import exactly, in_digits
from .oracles.subgradient_interval import admits
from .rounding import (
    ALLOWED,
    Judgement,
    allow_for_rounding,
    as_wide,
    compare,
    doubled,
    jumps,
    spread,
    tolerance,
    without,
)


def judge_values(case: Case, found: Leaves, dtype: Any) -> Judgement:
    """Whether `found` are the outputs of the plain function."""
    upstream = case.upstream(0)
    if case.differentiable:
        samples = [y for y, _ in case.auto_near(upstream, dtype)]
    else:
        samples = [evaluate(case.value_program, arrays, FLOAT64) for arrays, _ in case.jitters(upstream, dtype)]
    judged = compare(found, samples[0], tolerance(samples[0], spread(samples), dtype), dtype)
    if judged.passed is False and case.differentiable:
        allow_for_rounding(judged, [y for y, _ in case.auto_noisy(upstream, dtype)], dtype)
    # What overflows or is not a number in the plain function as well is what the function says.
    judged.undecided = [
        u & ~(np.isnan(as_wide(f)) == np.isnan(as_wide(t)))
        for u, f, t in zip(judged.undecided, found, samples[0], strict=True)
    ]
    return judged


def judge_gradient(case: Case, found: Leaves, upstream: Leaves, dtype: Any) -> Judgement:
    """Whether `found` is the gradient at `case` (which is in float64) for `upstream`, to the accuracy of `dtype`."""
    samples = [g for _, g in case.auto_near(upstream, dtype)]
    judged = compare(found, samples[0], tolerance(samples[0], spread(samples), dtype), dtype)
    if any(w.any() for w in judged.wrong):
        allow_for_rounding(judged, [g for _, g in case.auto_noisy(upstream, dtype)], dtype)
    jumping = jumps(judged, lambda: _close_by(case, upstream), dtype)
    disputed = [w | u | j for w, u, j in zip(judged.wrong, judged.undecided, jumping, strict=True)]
    if any(x.any() for x in disputed):
        _settle_one_by_one(case, judged, disputed, upstream, dtype)
        _settle_in_digits(case, judged, upstream, dtype)
        without(judged, [d & ~w & ~u for d, w, u in zip(disputed, judged.wrong, judged.undecided, strict=True)], dtype)
    return judged


FINEST = 2**13
"""In units in the last place of float64: near enough for all but a jump, and so many that no two numbers stay tied."""


def _close_by(case: Case, upstream: Leaves) -> list[Leaves]:
    """Autodiff's gradient at the point, and moved by next to nothing."""
    rng, arrays = case.random("close by"), case.point.arrays
    moved = [(jittered(rng, arrays, np.float64, FINEST), upstream) for _ in range(JITTERS)]
    return [g for _, g in case.auto_many([(arrays, upstream), *moved])]


def judge_by_differences(case: Case, found: Leaves, upstream: Leaves) -> tuple[bool | None, str]:
    """The gradient against numerical derivatives alone, for a plain function that autodiff cannot differentiate.

    Such functions iterate until they are near enough, so that their values jump a little: only a difference of more
    than a hundredth is called wrong, and one of more than a thousandth is undecided.
    """
    s, weights, mine = case.slopes, flatten(dual(upstream)), flatten(dual(found))
    worst: bool | None = True
    detail = "by numerical derivatives alone: autodiff cannot differentiate the plain function"
    for k, direction in enumerate(case.directions):
        value, bar, along = s.value[k] @ weights, s.bar[k] @ np.abs(weights), direction @ mine
        off = abs(along - value)
        size = np.abs(direction) @ np.abs(mine) + abs(value)
        if not np.isfinite(value + bar) or off <= 4 * bar + 1e-3 * size:
            worst = worst if np.isfinite(value + bar) else None
        elif off > 4 * bar + 1e-2 * size:
            return False, f"{_direction_name(case, k)}: by hand {along:.6g}, true {value:.6g} +- {bar:.1g}"
        else:
            worst = None
    return worst, detail


def confirm(case: Case, judged: Judgement, upstream: Leaves) -> None:
    """Hold the gradient against the numerical derivative along every direction of `case`; marks what fails."""
    if not case.x.size or case.stops_gradient:
        return
    s, weights = case.slopes, flatten(dual(upstream))
    found, tight = flatten(dual(judged.found)), flatten(doubled(judged.tight or judged.bar, judged.found))
    with np.errstate(all="ignore"):
        for k, direction in enumerate(case.directions):
            mine, slack = direction @ found, ALLOWED * (np.abs(direction) @ tight)
            kinked = s.kinked[k].any()
            value, bar = s.value[k] @ weights, s.bar[k] @ np.abs(weights)
            if not kinked and (not np.isfinite(value) or abs(mine - value) <= 4 * bar + slack):
                continue
            # Of a kink nothing need be seen along a direction: |x| - |y| at 0, moved alike. Close by it is seen.
            inside, low, high = admits(case, s, k, direction, weights, mine, slack)
            if inside:
                continue
            truth = f"in [{low:.6g}, {high:.6g}]" if kinked else f"{value:.6g} +- {bar:.1g}"
            judged.outside.append(f"{_direction_name(case, k)}: {mine:.6g} is not {truth}")
    if judged.outside and not any(w.any() for w in judged.wrong):
        _ask_digits(case, judged, upstream)


def _direction_name(case: Case, k: int) -> str:
    n = case.x.size
    if np.count_nonzero(case.directions[k]) == 1:
        return f"along element {int(np.flatnonzero(case.directions[k])[0])} of {n}"
    return "along all elements at once" if len(set(case.directions[k])) == 1 else "along a random direction"


def _ask_digits(case: Case, judged: Judgement, upstream: Leaves) -> None:
    """Autodiff and the gradient agree, the numerical derivative does not: many digits decide."""
    exact = exactly(case, upstream, [np.ones(np.shape(f), bool) for f in judged.found]) if case.x.size <= 64 else None
    if exact is None:
        return
    again = compare(judged.found, exact, judged.bar, case.dtype)
    if again.passed and not np.any(case.slopes.kinked):
        judged.outside.clear()
        judged.by.add("many digits")


def _settle_one_by_one(case: Case, judged: Judgement, disputed: list[np.ndarray], upstream: Leaves, dtype: Any) -> None:
    """Numerical derivatives along the disputed elements alone: at a kink anything between the two sides is right.

    Of very many a few are looked at. Those that lie between autodiff's derivatives close by are right where all that
    were looked at are; the others are then undecided.
    """
    if case.stops_gradient or any(np.iscomplexobj(f) for f in judged.found):
        return
    at = np.flatnonzero(np.concatenate([d.reshape(-1) for d in disputed]))
    if len(at) <= SMALL_LOOK:
        _look_at(case, judged, at, upstream, dtype)
        return
    between, few = _between_close_by(case, judged, upstream)[at], 8 if case.x.size <= LARGE else 3
    for there, settled in ((at[between], True), (at[~between], False)):
        looked = there[np.linspace(0, len(there) - 1, min(few, len(there))).astype(int)]
        _look_at(case, judged, looked, upstream, dtype, near_enough=1e-3 if settled else 1e-6)
        if not any(judged.wrong[leaf][k] or judged.undecided[leaf][k] for leaf, k in _places(judged, looked)):
            others = np.zeros(case.x.size, bool)
            others[np.setdiff1d(there, looked)] = True
            starts = np.cumsum([np.size(f) for f in judged.found])[:-1]
            for leaf, part in enumerate(np.split(others, starts)):
                part = part.reshape(judged.wrong[leaf].shape)
                judged.wrong[leaf] = judged.wrong[leaf] & ~part
                judged.undecided[leaf] = (judged.undecided[leaf] & ~part) | (part & (not settled))


def _between_close_by(case: Case, judged: Judgement, upstream: Leaves) -> np.ndarray:
    """For each number of the gradient whether it lies between autodiff's values at points close by.

    The points come in pairs, on either side: both sides of a kink are seen.
    """
    rng, reach = case.random("both sides"), 1e-7 * scales(case.x, case.groups)
    low, high = np.full(case.x.size, np.inf), np.full(case.x.size, -np.inf)
    for _ in range(32 if case.x.size <= LARGE else 4):
        away = rng.normal(size=case.x.size) * reach
        for x in (case.x + away, case.x - away):
            arrays = [a[0] if i in case.point.live else a for i, a in enumerate(case.unflat(x[None]))]
            found = flatten(case.auto(arrays, upstream)[1])
            low, high = np.fmin(low, found), np.fmax(high, found)
    slack, found = ALLOWED * flatten(judged.tight or judged.bar), flatten(judged.found)
    return (low - slack <= found) & (found <= high + slack)


def _look_at(
    case: Case, judged: Judgement, at: np.ndarray, upstream: Leaves, dtype: Any, near_enough: float = 1e-6
) -> None:
    """Judge these elements of the gradient by numerical derivatives along each of them.

    Against autodiff such a derivative counts where its bar is `near_enough` to nothing, relative to its value.
    """
    if not at.size:
        return
    directions = np.zeros((len(at), case.x.size))
    size = scales(case.x, case.groups)
    directions[np.arange(len(at)), at] = size[at]
    s, weights = slopes(case.flat_outputs, case.x, directions, case.shaken), flatten(upstream)
    found, bars, tight = flatten(judged.found), flatten(judged.bar), flatten(judged.tight or judged.bar)
    with np.errstate(all="ignore"):
        for row, (i, (leaf, place)) in enumerate(zip(at, _places(judged, at), strict=True)):
            if s.kinked[row].any():
                mine, slack = float(found[i] * size[i]), float(ALLOWED * tight[i] * size[i])
                right, low, high = admits(case, s, row, directions[row], weights, mine, slack)
                value = min(max(found[i], low / size[i]), high / size[i])
            else:
                value, bar = s.value[row] @ weights / size[i], s.bar[row] @ np.abs(weights) / size[i]
                # The tolerance was made for autodiff's value, which may be 0 where this one is not.
                slack = 4 * bar + ALLOWED * (bars[i] + unit_roundoff(dtype) * abs(value))
                apart, near = abs(found[i] - value) > slack, abs(judged.truth[leaf][place] - value) <= slack
                if apart and near and bar < 1e-3 * abs(found[i] - value):
                    judged.confirmed.add(int(i))
                if np.isfinite(value) and not apart and not near and bar < near_enough * abs(value):
                    # A seam: where(w == 0, 0, w log p) at w = 0, of which autodiff sees the constant alone.
                    judged.wrong[leaf][place] = judged.undecided[leaf][place] = False
                    judged.by.add("numerical derivatives, at a seam of the program")
                    continue
                if not np.isfinite(value + bar) or np.isfinite(judged.truth[leaf][place]):
                    continue
                if not apart or bar > 1e-3 * abs(value) + 1e-9:
                    continue  # no contradiction, but no proof: many digits decide
                right = False
            judged.wrong[leaf][place], judged.undecided[leaf][place] = not right, False
            judged.by.add("one-sided derivatives")
            if not right:
                judged.truth[leaf] = np.array(judged.truth[leaf])
                judged.truth[leaf][place] = value


SMALL_LOOK = 48


def _places(judged: Judgement, at: np.ndarray) -> list[tuple[int, tuple[Any, ...]]]:
    """Of positions in the flat gradient the leaves and the indices there."""
    starts = np.cumsum([0, *map(np.size, judged.found)])
    leaves = np.searchsorted(starts, at, "right") - 1
    return [
        (leaf, np.unravel_index(i - starts[leaf], np.shape(judged.found[leaf])))
        for leaf, i in zip(leaves, at, strict=True)
    ]


def _settle_in_digits(case: Case, judged: Judgement, upstream: Leaves, dtype: Any) -> None:
    """What is still disputed is compared with the derivative in many digits, where it can be had."""
    disputed = [w | u for w, u in zip(judged.wrong, judged.undecided, strict=True)]
    count = sum(int(x.sum()) for x in disputed)
    if not count or case.x.size > MOST_IN_DIGITS or case.stops_gradient or _clearly_wrong(judged):
        return
    _rejudge(case, judged, disputed, in_digits(case, upstream), upstream, dtype)
    if judged.passed is not True and count <= SMALL_LOOK:
        _rejudge(case, judged, disputed, exactly(case, upstream, disputed), upstream, dtype)


MOST_IN_DIGITS = 600


def _rejudge(
    case: Case, judged: Judgement, disputed: list[np.ndarray], exact: Leaves | None, upstream: Leaves, dtype: Any
) -> None:
    """Judge the disputed elements again, now that their true values are known in many digits."""
    if exact is None:
        return
    # No less accurate than autodiff: what autodiff itself gets wrong by rounding belongs to the bar.
    _, auto = case.auto(case.point.arrays, upstream)
    # Autodiff's spread says nothing where autodiff is wrong: there the hand-derived function's own, within reason.
    mine = spread([case.hand(*moved)[1] for moved in case.jitters(upstream, dtype)])
    own = tolerance(exact, [np.minimum(m, 1e-6 * np.abs(e)) for m, e in zip(mine, exact, strict=True)], dtype)
    bar = [np.maximum(b, o) + _rounding_of(a, e) / 8 for a, e, b, o in zip(auto, exact, judged.bar, own, strict=True)]
    again = compare(judged.found, exact, bar, dtype)
    for j, flags in enumerate(disputed):
        known = flags & np.isfinite(exact[j])
        judged.wrong[j] = np.where(known, again.wrong[j], judged.wrong[j])
        judged.undecided[j] = np.where(known, False, judged.undecided[j])
        judged.truth[j] = np.where(known, exact[j], judged.truth[j])
    judged.units, judged.ulps = again.units, again.ulps
    judged.by.add("many digits")


def _rounding_of(auto: Any, exact: np.ndarray) -> float:
    """The largest error of autodiff in float64, where it is an error of rounding and not of principle."""
    with np.errstate(all="ignore"):
        error, size = np.abs(np.asarray(auto) - exact), np.abs(exact)
        small = np.isfinite(error) & (error <= 1e-6 * size)
    return float(np.max(np.where(small, error, 0.0), initial=0.0))


def _clearly_wrong(judged: Judgement) -> bool:
    """Autodiff is finite, and the numerical derivative agrees with it against what was found, somewhere."""
    return bool(judged.confirmed) and not any(u.any() for u in judged.undecided)
