"""The health of a training step: dead, saturated, vanishing, exploding wires; the gate that made the first NaN."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Inexact

from ...core.html_table import html_lines, html_table
from ...verification.wording import count
from ..model import Gate, Graph, Wire
from ..summary import all_finite, is_inexact, rms, share_of_zeros, size, to_numpy

VANISHED = 1e-5
"""A gradient smaller than this share of the arguments' median gradient has vanished."""

EXPLODED = 1e5
"""A gradient larger than this many times the arguments' median gradient has exploded."""


@dataclass(frozen=True)
class Vital:
    """One wire: root mean squares of its value and gradient, shares of zeros and saturated elements.

    `ratio` is the size of the update over the size of the argument (1e-3 is usual), where an update is known.
    """

    wire: Wire
    value: float
    gradient: float
    zeros: float
    saturated: float | None
    ratio: float | None
    finite: bool


@dataclass(frozen=True)
class Health:
    """A training step seen from inside.

    Attributes:
        vitals: one row for each wire that has a gradient, in program order.
        origin: the first gate that made a number that is not finite out of finite ones, forward; None if none did.
        backward_origin: the same on the way back, for gradients.
        vanishing: arguments whose gradient is smaller than `VANISHED` times the median of all arguments' gradients.
        exploding: arguments whose gradient is larger than `EXPLODED` times that median; where others vanish, which
            makes the median small, it must be larger than `EXPLODED` itself.
        path: the wires from the argument with the smallest gradient to the output, with the gradient's size.
        worst: the gate on that path which weakens the gradient most.
    """

    vitals: tuple[Vital, ...]
    origin: Gate | None
    backward_origin: Gate | None
    vanishing: tuple[Wire, ...]
    exploding: tuple[Wire, ...]
    path: tuple[tuple[Wire, float], ...]
    worst: Gate | None

    def __repr__(self) -> str:
        return f"<health of {count(len(self.vitals), 'wire')}: {'; '.join(self._findings()) or 'nothing to report'}>"

    def _repr_html_(self) -> str:
        rows = (
            [v.wire.name, _shape(v), f"{v.value:.2e}", f"{v.gradient:.2e}", f"{v.zeros:.0%}", _saturated(v), _ratio(v),
             "" if v.finite else "not finite"]
            for v in self.vitals
        )  # fmt: skip
        header = ["wire", "shape", "value", "gradient", "zeros", "saturated", "update/size", ""]
        return html_table(header, rows, verdicts=7) + html_lines(self._findings())

    def __str__(self) -> str:
        lines = [
            f"{'wire':<28}{'shape':>14}{'value':>11}{'gradient':>11}{'zeros':>8}{'saturated':>11}{'update/size':>13}"
        ]
        for v in self.vitals:
            row = f"{v.wire.name[:27]:<28}{_shape(v):>14}{v.value:>11.2e}{v.gradient:>11.2e}{v.zeros:>8.0%}"
            lines.append(f"{row}{_saturated(v):>11}{_ratio(v):>13}{'' if v.finite else '  NOT FINITE'}")
        return "\n".join([*lines, *self._findings()])

    def _findings(self) -> list[str]:
        lines = []
        for title, gate in (("forward", self.origin), ("backward", self.backward_origin)):
            if gate is not None:
                lines.append(f"first number that is not finite, {title}: {_with_place(gate)}")
        for title, wires in (("vanishing", self.vanishing), ("exploding", self.exploding)):
            if wires:
                lines.append(f"{title} gradient: {', '.join(w.name for w in wires)}")
        if self.vanishing and self.worst is not None:
            lines.append(f"weakest gate on the way to {self.path[0][0].name}: {_with_place(self.worst)}")
        return lines


def _shape(v: Vital) -> str:
    return "x".join(map(str, v.wire.shape)) or "scalar"


def _saturated(v: Vital) -> str:
    return "" if v.saturated is None else f"{v.saturated:.0%}"


def _ratio(v: Vital) -> str:
    return "" if v.ratio is None else f"{v.ratio:.1e}"


def health(graph: Graph, learning_rate: float | None, updates: Mapping[str, Any] | None) -> Health:
    """The health of a traced training step.

    Args:
        graph: the traced step.
        learning_rate: of plain SGD, for update ratios.
        updates: the updates themselves, by wire name.
    """
    steps = {graph.wire(name): to_numpy(update) for name, update in (updates or {}).items()}
    vitals = []
    for wire in graph.wires:
        if wire.differentiable:
            step = steps.get(wire)
            if step is None and learning_rate is not None and wire.kind == "argument":
                step = learning_rate * to_numpy(wire.gradient)
            vitals.append(_vital(wire, step))
    arguments = [v for v in vitals if v.wire.kind in ("argument", "constant") and v.finite and v.wire.edges]
    median = float(np.median([v.gradient for v in arguments])) if arguments else 0.0
    vanishing = tuple(v.wire for v in arguments if v.gradient < VANISHED * median)
    large = EXPLODED * max(median, 1.0 if vanishing else 0.0)
    weakest = min(arguments, key=lambda v: v.gradient, default=None)
    path = _path(weakest.wire) if weakest else ()
    return Health(
        vitals=tuple(vitals),
        origin=_origin(graph),
        backward_origin=_backward_origin(graph),
        vanishing=vanishing,
        exploding=tuple(v.wire for v in arguments if median and v.gradient > large),
        path=path,
        worst=_worst(path),
    )


def _vital(wire: Wire, step: Inexact[np.ndarray, "..."] | None) -> Vital:
    large = size(wire.value)
    return Vital(
        wire=wire,
        value=large,
        gradient=size(wire.gradient),
        zeros=share_of_zeros(wire.value),
        saturated=wire.saturated,
        ratio=None if step is None or not large else rms(step) / large,
        finite=all_finite(wire.value) and all_finite(wire.gradient),
    )


def _origin(graph: Graph) -> Gate | None:
    """The first gate in program order whose inputs are finite and whose outputs are not."""
    for gate in graph.gates:
        if not _finite(w.value for w in gate.outputs) and _finite(w.value for w in gate.inputs):
            return gate
    return None


def _backward_origin(graph: Graph) -> Gate | None:
    """The first gate in backward order that makes a gradient that is not finite out of finite ones."""
    for gate in reversed(graph.gates):
        arriving = _finite(gate.upstream) and _finite(w.value for w in gate.inputs)
        if arriving and not _finite(e.gradient for e in gate.edges):
            return gate
    return None


def _finite(values: Iterable[Any]) -> bool:
    return all(all_finite(v) for v in values if v is not None and is_inexact(v))


def _path(wire: Wire) -> tuple[tuple[Wire, float], ...]:
    """From `wire` to the output, at each fork along the branch that brings most of the gradient."""
    path, seen = [(wire, size(wire.gradient))], {wire}
    while wire.edges:
        edge = max(wire.edges, key=lambda e: size(e.gradient) if e.gradient is not None else 0.0)
        floating = [w for w in edge.gate.outputs if w.differentiable and w not in seen]
        if not floating:
            break
        wire = max(floating, key=lambda w: size(w.gradient))
        seen.add(wire)
        path.append((wire, size(wire.gradient)))
    return tuple(path)


def _worst(path: tuple[tuple[Wire, float], ...]) -> Gate | None:
    shrink = [(before / after, wire.source) for (_, before), (wire, after) in pairwise(path) if after]
    return min(shrink, key=lambda pair: pair[0])[1] if shrink else None


def _with_place(gate: Gate) -> str:
    place = gate.source or " > ".join(gate.box.path if gate.box else ())
    return f"{gate.name} -> {gate.output_names}{f' ({place})' if place else ''}"
