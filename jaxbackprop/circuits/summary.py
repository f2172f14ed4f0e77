"""What is kept of an array that is let go: shape, dtype and a few numbers about its elements. And who is let go when.

`trace(..., steps="summary")` keeps of arrays within loops no more than this, so that a long loop fits into memory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .model import Box, Gate, numbers, rms

WHOLE = 16
"""Arrays of at most this many elements are kept whole: they are no larger than their summary."""


@dataclass(frozen=True, eq=False)
class Summary:
    """In place of an array: `zeros` and `finite` are shares of its elements, the others are of the finite ones.

    `apart`, for a gradient by autodiff: how far it is from the one by hand, relative to the larger. `saturated`, for
    the gradient of what a unit makes: the share of elements that it hardly passes back.
    """

    shape: tuple[int, ...]
    dtype: Any
    min: float
    max: float
    mean: float
    rms: float
    zeros: float
    finite: float
    apart: float = 0.0
    saturated: float | None = None

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(f"of this array {list(self.shape)} only a summary was kept: trace with steps='whole'.")


def summarise(x: Any, apart: float = 0.0, saturated: float | None = None) -> Summary:
    """The summary of an array that has elements."""
    array = numbers(x)
    good = array[np.isfinite(array)]
    real = np.real(good).astype(np.float64)
    low, high, mean = (float(f(real)) if real.size else np.nan for f in (np.min, np.max, np.mean))
    zeros, finite = float(np.mean(array == 0)), good.size / array.size
    return Summary(tuple(array.shape), x.dtype, low, high, mean, rms(array), zeros, finite, apart, saturated)


def size(x: Any) -> float:
    """The root mean square of an array's finite elements, or of one of which a summary is left."""
    return x.rms if isinstance(x, Summary) else rms(numbers(x))


def all_finite(x: Any) -> bool:
    """Whether every element is a finite number."""
    return x.finite == 1 if isinstance(x, Summary) else bool(np.isfinite(numbers(x)).all())


def share_of_zeros(x: Any) -> float:
    """The share of elements that are 0."""
    if isinstance(x, Summary):
        return x.zeros
    array = numbers(x)
    return float(np.mean(array == 0)) if array.size else 0.0


def apart(hand: Any, auto: Any) -> float | None:
    """How far two gradients are apart, relative to the larger; None where they are one."""
    if hand is None or hand is auto:
        return None
    if isinstance(auto, Summary):
        return auto.apart
    h, a = numbers(hand), numbers(auto)
    largest = max(np.abs(h).max(initial=0.0), np.abs(a).max(initial=0.0))
    found = float(np.abs(h - a).max(initial=0.0) / largest) if largest else 0.0
    return found if np.isfinite(found) else 1.0


def let_go(gate: Gate) -> None:
    """Keep summaries of what a gate in a loop makes and sends back, once it has sent it and has been judged.

    Nobody needs those arrays any more: every gate that it feeds has been pulled before, and the shares have been added
    to their wires. What leaves the loop is kept.
    """
    from .analysis.health import saturated

    if not _in_a_loop(gate.box):
        return
    dead = [saturated(wire) for wire in gate.outputs]
    leaves = [w.is_output or not all(_in_a_loop(user.box) for user in w.gates) for w in gate.outputs]
    for edge in gate.edges if not any(leaves) else ():
        if edge.downstream is not None and np.size(edge.downstream) > WHOLE:
            edge.downstream, edge.autodiff_downstream = _two(edge.gradient, edge.autodiff_gradient)
    for wire, left, share in zip(gate.outputs, leaves, dead, strict=True):
        if not left and np.prod(wire.shape) > WHOLE:
            wire.upstream, wire.autodiff_upstream = _two(wire.gradient, wire.autodiff_gradient, share)
            wire.value = summarise(wire.value)


def is_whole(gate: Gate) -> bool:
    """Whether the gate can be run again: nothing that it saw is kept as a summary only."""
    return not any(isinstance(wire.value, Summary) for wire in gate.inputs)


def _two(hand: Any, auto: Any, saturated: float | None = None) -> tuple[Any, Any]:
    """Both gradients summarised; still one where they were one."""
    if hand is None:
        return None, None
    kept = summarise(hand, 0.0, saturated)
    return kept, kept if hand is auto else summarise(auto, apart(hand, auto) or 0.0)


def _in_a_loop(box: Box | None) -> bool:
    while box is not None and box.kind not in ("scan", "while"):
        box = box.parent
    return box is not None
