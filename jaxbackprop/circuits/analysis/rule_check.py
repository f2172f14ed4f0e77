"""Which gate is wrong: each rule held against autodiff of its own primal, at the upstream gradient that reached it.

Judging a gate alone tells the culprit from those who only pass a wrong gradient on. The measure has a reason: what
one unit of rounding in the inputs can change, not a tolerance.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..model import Gate
from ..summary import is_inexact, rms, to_numpy

MARGIN = 32
"""How many units of what rounding explains a right gradient may be away; right rules stay within 10."""


def check_rule(gate: Gate) -> None:
    """Set the verdict of a gate that has a hand-written backward pass; leave all others."""
    if not gate.operation.handwritten:
        return
    upstream = [wire.upstream if is_inexact(wire.value) else None for wire in gate.outputs]
    wanted = tuple(wire.differentiable for wire in gate.inputs)
    if all(u is None for u in upstream) or not any(wanted):
        gate.verdict, gate.detail = "undecided", "no gradient reached it"
        return
    if gate.operation.sealed:
        gate.verdict = "undecided"
        gate.detail = f"autodiff of what {gate.name} runs, hand-written backward passes left out, cannot be had"
        return
    slots = [slot for slot, want in enumerate(wanted) if want]
    hand = [_dense(gate.edges[s].downstream, gate.inputs[s].value) for s in slots]
    same = not any(wire.diverged for wire in gate.outputs)
    if same:
        auto = [_dense(gate.edges[s].autodiff_downstream, gate.inputs[s].value) for s in slots]
    else:
        auto = _autodiff(gate, [w.value for w in gate.inputs], upstream, wanted)
    gate.verdict, gate.detail = "agrees", ""
    spread: list[np.ndarray] | None = None
    for i, slot in enumerate(slots):
        if within(hand[i], auto[i], 0.0):
            continue
        spread = _spread(gate, upstream, wanted, auto) if spread is None else spread
        verdict, detail = _verdict(hand[i], auto[i], spread[i], gate.inputs[slot].name)
        if _WORSE[verdict] > _WORSE[gate.verdict]:
            gate.verdict, gate.detail = verdict, detail


_WORSE = {"agrees": 0, "kink": 1, "undecided": 2, "wrong": 3}


def _verdict(hand: np.ndarray, auto: np.ndarray, spread: np.ndarray, name: str) -> tuple[str, str]:
    off = ~np.isfinite(auto)
    if off.any() and np.isfinite(hand).all():
        inside = np.where(off, hand, auto)
        if within(hand, inside, np.where(np.isfinite(spread), spread, 0.0)):
            return "undecided", f"autodiff of its primal is not finite for {name}; by hand it is"
    if within(hand, auto, spread):
        jumps = spread > np.sqrt(_unit(auto)) * (np.abs(auto) + rms(auto))
        return ("kink", f"a kink or a tie at {name}") if jumps.any() else ("agrees", "")
    error = np.abs(np.where(np.isfinite(hand), hand, np.inf) - np.where(off, 0, auto))
    at = np.unravel_index(int(np.argmax(np.nan_to_num(error, nan=np.inf))), error.shape)
    where = f"{name}[{', '.join(map(str, at))}]" if at else name
    return "wrong", f"gradient of {where} by hand {hand[at]:.9g}, by autodiff {auto[at]:.9g}"


def within(hand: np.ndarray, auto: np.ndarray, spread: Any) -> bool:
    """Whether two gradients are the same up to rounding: a small multiple of one unit of each element, of the
    array's size, and of what jittered inputs change (`spread`, which also covers a kink: twice it, once it jumps).
    """
    if np.array_equal(hand, auto):  # the usual case, and quick
        return True
    with np.errstate(invalid="ignore", over="ignore"):
        unit = _unit(auto) * (np.abs(auto) + rms(auto))
        jump = spread > np.sqrt(_unit(auto)) * (np.abs(auto) + rms(auto))
        allowed = MARGIN * unit + np.where(jump, 2.0, MARGIN) * spread
        close = np.abs(hand - auto) <= allowed
    return bool(np.all(close | (hand == auto) | (np.isnan(hand) & np.isnan(auto))))


def _unit(x: np.ndarray) -> float:
    return _UNITS.get(x.dtype.itemsize if x.dtype.kind == "f" else x.dtype.itemsize // 2, 2.0**-23)


_UNITS = {8: 2.0**-52, 4: 2.0**-23, 2: 2.0**-10}


def _spread(gate: Gate, upstream: list[Any], wanted: tuple[bool, ...], auto: list[np.ndarray]) -> list[np.ndarray]:
    """How far autodiff's gradients move when inputs and upstream move by one unit of rounding, four times over."""
    rng = np.random.default_rng(0)
    spread = [np.zeros(a.shape) for a in auto]
    for _ in range(4):
        inputs = [_jitter(wire.value, rng) if is_inexact(wire.value) else wire.value for wire in gate.inputs]
        moved = _autodiff(gate, inputs, [None if u is None else _jitter(u, rng) for u in upstream], wanted)
        with np.errstate(invalid="ignore"):
            spread = [np.fmax(s, np.abs(m - a)) for s, m, a in zip(spread, moved, auto, strict=True)]
    return spread


def _jitter(x: Any, rng: np.random.Generator) -> Any:
    array = to_numpy(x)
    unit = float(jnp.finfo(x.dtype).eps)
    size = np.abs(array) + (rms(array) or 1.0)
    moved = array + unit * size * rng.choice([-1.0, 1.0], array.shape)
    return np.asarray(moved).astype(x.dtype)


def _autodiff(gate: Gate, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[np.ndarray]:
    found = gate.vjp(upstream, autodiff=True, inputs=inputs, wanted=wanted)
    values = [x for x, want in zip(inputs, wanted, strict=True) if want]
    return [_dense(g, x) for g, x in zip(found, values, strict=True)]


def _dense(gradient: Any, like: Any) -> np.ndarray:
    return np.zeros_like(to_numpy(like)) if gradient is None else to_numpy(gradient)
