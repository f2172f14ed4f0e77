"""Gradients computed elsewhere beside the exact ones: right, wrong, or only following from a wrong one.

Each given gradient is also compared with what the exact rules make of the given gradients further on: if that explains
it, it follows; if not, the error was made there. So every wrong step is named, and no right one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ...core.html_table import html_table
from ...derivation.formulas import evaluated, parsed
from ...derivation.line_check import difference
from ...jaxprs.inputs import unit_roundoff
from ...verification.diagnosis.from_numbers import fits, multiple
from ...verification.rounding import apart, unmeasured
from ...verification.wording import count, expected_and_got
from ...verification.wording import index as shown_index
from ..gradients import add
from ..model import Gate, Graph, Wire
from ..summary import is_inexact, rms, to_numpy

Array = Shaped[np.ndarray, "..."]


@dataclass(frozen=True)
class Row:
    """One wire.

    Attributes:
        name: the wire's.
        verdict: "right", "wrong" (the error was made here) or "follows" (right, given an earlier wrong one).
        mine: the given gradient.
        exact: the exact one.
        index: where they differ most.
        hint: a simple change that would have made it right, where there is one.
        between: the gates from here to the nearest given gradients further on.
    """

    name: str
    verdict: str
    mine: Array
    exact: Array
    index: tuple[int, ...]
    hint: str
    between: tuple[Gate, ...]

    def __str__(self) -> str:
        if self.verdict == "right":
            return f"{self.name}: right"
        numbers = ""
        if self.mine.shape == self.exact.shape and self.exact.size:
            both = expected_and_got(self.exact[self.index], self.mine[self.index])
            numbers = f" {self.name}{shown_index(self.index)}: {both}."
        if self.verdict == "follows":
            return f"{self.name}: follows from a wrong one; the step itself is right.{numbers}"
        gates = ", ".join(f"{g.name}{f' ({g.source})' if g.source else ''}" for g in self.between)
        return f"{self.name}: wrong.{numbers}{f' {self.hint}.' if self.hint else ''}" + (
            f"\n    It was made on the way back through {gates}." if gates else ""
        )


@dataclass(frozen=True)
class Checked:
    """The result of a comparison.

    Attributes:
        rows: one for each given gradient, in backward order.
        passed: whether all are right.
        culprits: the names of those where an error was made, the first in backward order first.
        followers: the names of those that are wrong only because a culprit is.
    """

    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        return all(row.verdict == "right" for row in self.rows)

    @property
    def culprits(self) -> list[str]:
        return [row.name for row in self.rows if row.verdict == "wrong"]

    @property
    def culprit(self) -> str | None:
        return self.culprits[0] if self.culprits else None

    @property
    def followers(self) -> list[str]:
        return [row.name for row in self.rows if row.verdict == "follows"]

    def __repr__(self) -> str:
        wrong = f"; wrong: {', '.join(self.culprits)}" if self.culprits else ""
        return f"<check of {count(len(self.rows), 'gradient')}: {'passed' if self.passed else 'not passed'}{wrong}>"

    def _repr_html_(self) -> str:
        return html_table(["wire", "verdict", "finding"], ([r.name, r.verdict, r.hint] for r in self.rows), verdicts=1)

    def __str__(self) -> str:
        right = sum(row.verdict == "right" for row in self.rows)
        return "\n".join([f"{right} of {len(self.rows)} gradients are right", *(f"  {row}" for row in self.rows)])


def check(graph: Graph, gradients: Mapping[str, Any], tolerance: float | None = None) -> Checked:
    """Compare given gradients with the graph's exact (autodiff) ones.

    Args:
        graph: the traced function.
        gradients: wire name -> gradient, any array, or a formula in the names of wires and of their gradients (dz1 is
            that of z1): "x.T @ dz1", "(W2^T dz2) o a1 o (1 - a1)"; W1 is enough for params['W1'].
        tolerance: largest difference allowed, in units of the largest element of the exact gradient. Left out, it is
            what rounding explains in the coarser of the two precisions; give it for numbers rounded on paper.

    Raises:
        KeyError: a name that is no wire, or more than one.
        ValueError: a wire that has no gradient (integers, literals), or a formula that cannot be read.
    """
    given: dict[Wire, Array] = {}
    names = _names(graph)
    for name, value in gradients.items():
        wire = graph.wire(name)
        if not wire.differentiable:
            raise ValueError(f"{name} is {wire.dtype} and has no gradient.")
        given[wire] = evaluated(parsed(value), names) if isinstance(value, str) else np.asarray(value)
    explained = _explained(graph, given, tolerance)
    order = {wire: wire.source.id if wire.source else -1 for wire in given}
    rows = []
    for wire in sorted(given, key=lambda w: (-order[w], w.id)):
        value, exact = given[wire], to_numpy(wire.autodiff_gradient)
        verdict = "right"
        if not close(value, exact, tolerance):
            verdict = "follows" if close(value, explained[wire], tolerance) else "wrong"
        own = explained[wire] if verdict == "wrong" else exact
        rows.append(
            Row(
                wire.name,
                verdict,
                value,
                exact,
                _worst(value, exact),
                hint(value, own) or _difference(value, own, names) if verdict == "wrong" else "",
                _between(wire, given),
            )
        )
    return Checked(tuple(rows))


def _explained(graph: Graph, given: Mapping[Wire, Array], tolerance: float | None) -> dict[Wire, Array]:
    """For each given wire the gradient that the exact rules make of the given ones that lie further on."""
    arriving: dict[Wire, Any] = {
        wire: wire.output_cotangent for wire in graph.outputs if wire.output_cotangent is not None
    }
    explained: dict[Wire, Array] = {}

    def arrived(wire: Wire) -> Any:
        gradient = arriving.get(wire)
        if wire in given and wire not in explained:
            explained[wire] = to_numpy(wire.dense(gradient))
            mine = given[wire]
            if mine.shape == wire.shape and not close(mine, explained[wire], tolerance):
                arriving[wire] = gradient = mine.astype(wire.dtype)
        return gradient

    for gate in reversed(graph.gates):
        wanted = tuple(wire.differentiable for wire in gate.inputs)
        upstream = [arrived(wire) if is_inexact(wire.value) else None for wire in gate.outputs]
        if all(u is None for u in upstream) or not any(wanted):
            continue
        back = gate.vjp(upstream, autodiff=gate.operation.handwritten)
        for wire, gradient in zip((w for w, want in zip(gate.inputs, wanted, strict=True) if want), back, strict=True):
            arriving[wire] = add(arriving.get(wire), gradient)
    for wire in given:
        arrived(wire)
    return explained


def close(mine: Array, exact: Array, tolerance: float | None) -> bool:
    """Whether two gradients agree: to `tolerance`, or to what rounding explains in the coarser precision."""
    if not exact.size:
        return mine.shape == exact.shape
    if tolerance is not None:
        return fits(exact, mine, tolerance)
    if mine.shape != exact.shape:
        return False
    coarser = max((x.dtype for x in (mine, exact) if is_inexact(x)), key=unit_roundoff)
    return not apart(mine, exact, unmeasured([exact], coarser)[0]).any()


def hint(mine: Array, exact: Array) -> str:
    """A simple change that would have made `mine` right, where there is one."""
    if mine.shape != exact.shape:
        if mine.shape[::-1] == exact.shape and close(mine.T, exact, None):
            return f"transposed: it has shape {mine.shape}, expected {exact.shape}"
        return f"it has shape {mine.shape}, expected {exact.shape}"
    if not exact.size or not rms(exact) or not np.isfinite(mine).all():
        return ""
    if not np.any(mine):
        return "the gradient is left out: it is zero"
    if mine.ndim == 2 and close(mine.T, exact, None):
        return "transposed"
    factor = multiple(mine, exact)
    if factor is None or abs(factor - 1) < 1e-6:
        return ""
    return "sign: minus the right one" if abs(factor + 1) < 1e-4 else f"constant factor {factor:.4g}"


LARGEST = 10_000
"""Arrays with more numbers than this are not tried as a forgotten factor or term."""


def _names(graph: Graph) -> dict[str, Array]:
    """What a formula may name: the values of wires, and their gradients with a d before the name."""
    names: dict[str, Array] = {}
    for wire in graph.wires:
        name = re.findall(r"\w+", wire.name)[-1]  # of params['W1'] the last
        if name.isidentifier() and is_inexact(wire.value):
            names[name] = to_numpy(wire.value)
            if wire.autodiff_gradient is not None:
                names[f"d{name}"] = to_numpy(wire.autodiff_gradient)
    return names


def _difference(mine: Array, exact: Array, names: Mapping[str, Array]) -> str:
    """What lies between a wrong gradient and the right one: a factor or a term among the wires' values."""
    if mine.shape != exact.shape or exact.size > LARGEST or not np.isfinite(mine).all():
        return ""
    small = {name: x for name, x in names.items() if x.size <= LARGEST}
    return difference(mine, exact, small, lambda a, b: close(a, b, None))


def _worst(mine: Array, exact: Array) -> tuple[int, ...]:
    if mine.shape != exact.shape or not exact.size:
        return ()
    error = np.nan_to_num(np.abs(mine - exact), nan=np.inf)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))


def _between(wire: Wire, given: Mapping[Wire, Array]) -> tuple[Gate, ...]:
    """The gates from `wire` on to the nearest given gradients: where the step to it was made."""
    seen: dict[Gate, None] = {}
    reached = [wire]
    while reached and len(seen) <= 12:
        for gate in reached.pop().gates:
            if gate not in seen:
                seen[gate] = None
                reached += [out for out in gate.outputs if out not in given]
    return tuple(sorted(seen, key=lambda gate: -gate.id))
