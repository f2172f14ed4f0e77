"""Whether each handwritten rule is right, at the values and the upstream gradient that reached it.

A gate checked by itself shows where an error was made: gates that only pass a wrong gradient on are not accused. Where
a gradient differs from autodiff's by more than rounding explains, for a whole program in one gate, and for rules that
run inside a derivative, the verdict is that of `audit`.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Inexact

from ...jaxprs.compat import JaxprEqn
from ...jaxprs.inputs import Inputs, unit_roundoff
from ...jaxprs.observed import part_of
from ...jaxprs.queries import equations_inside
from ...verification.audit import Site, audit, judged_rules
from ...verification.rounding import ALLOWED, as_wide
from ...verification.wording import expected_and_got, index
from ..model import Edge, Gate, Wire
from ..summary import is_inexact, rms, to_numpy

Array = Inexact[np.ndarray, "..."]


@dataclass(frozen=True)
class Finding:
    """A verdict ("agrees", "kink", "undecided" or "wrong") and the numbers behind it."""

    verdict: str
    detail: str = ""


def check_rule(gate: Gate) -> None:
    """Set the verdict of a gate in which there is a handwritten backward pass; leave all others.

    A rule is compared with autodiff of its own primal. Errors of the steps of a loop that was not unrolled may cancel
    in its gradient, so every rule in it is judged.
    """
    if not gate.operation.handwritten:
        return
    arrived = [wire for wire in gate.outputs if is_inexact(wire.value) and wire.upstream is not None]
    if not arrived or not any(gate.wanted):
        finding = Finding("undecided", "no gradient reached it")
    elif gate.kind == "opaque":
        finding = _of_a_program(gate)
    elif gate.operation.sealed:
        finding = _sealed(gate)
    else:
        finding = _of_a_rule(gate)
    gate.verdict, gate.detail = finding.verdict, finding.detail


def check_derivatives(gates: Sequence[Gate], function: Callable, args: tuple) -> None:
    """Mark the gates that a wrong rule's derivative is made of, in a program that takes derivatives itself.

    The rule is no gate there: differentiation used it up. It is found, and judged, as `audit` does.
    """
    for rule, site in judged_rules(function, Inputs(args))[1]:
        wrong = _wrong_gradient(site)
        if not rule.differentiated or not wrong:
            continue
        parts = [gate for gate in gates if any(part_of(rule, eqn) for eqn in _equations(gate))]
        for gate in {id(gate.box): gate for gate in parts}.values():  # the last one in each box
            gate.verdict, gate.defined = "wrong", site.source
            gate.detail = f"part of the derivative of {site.name}, which is wrong: {wrong}"


def _equations(gate: Gate) -> list[JaxprEqn]:
    """The equation of a gate, and those inside of it; none of a rule that is called there."""
    eqn = getattr(gate.operation, "eqn", None)
    return [] if eqn is None or gate.kind == "rule" else [eqn, *equations_inside(eqn)]


def _sealed(gate: Gate) -> Finding:
    return Finding("undecided", f"{gate.name} cannot be differentiated without its handwritten backward passes")


def _of_a_program(gate: Gate) -> Finding:
    """A loop, or another program in one gate: wrong where a rule in it is, or where its whole gradient is."""
    sites = _audited(gate)
    for site in sites:
        wrong = _wrong_gradient(site)
        if wrong:
            gate.defined = site.source
            return Finding("wrong", f"{site.name} in it is wrong: {wrong}")
    if gate.operation.sealed:
        return _sealed(gate)
    jump = next((c for c in _compared(gate) if c.jumps), None)
    unknown = [site.name for site in sites if site.verification is not None and not _right_gradient(site)]
    if sites and not unknown:
        return Finding("kink", f"a kink or a tie at {jump.wire.name}") if jump else Finding("agrees")
    # Its rules could not be judged one by one: what is left is the gradient of the whole.
    if jump:
        return Finding("wrong", jump.sentence())
    if gate.name in ("scan", "while"):
        return Finding("undecided", f"{', '.join(unknown) or 'a rule'} in it could not be judged")
    return Finding("agrees")


def _of_a_rule(gate: Gate) -> Finding:
    differing = [c for c in _compared(gate) if not c.same]
    if not differing:
        return Finding("agrees")
    key = (gate.operation.key, *((wire.shape, str(wire.dtype)) for wire in gate.inputs))
    if key not in _FOUND_WRONG:
        audited = _audited(gate)
        sites = [site for site in audited if site.source == gate.defined] or audited
        if any(map(_wrong_gradient, sites)):
            cause = next((s.verification.likely_cause for s in sites if s.verification is not None), "")
            if len(_FOUND_WRONG) >= _REMEMBERED:
                _FOUND_WRONG.clear()
            _FOUND_WRONG[key] = cause
        elif not all(map(_right_gradient, sites)):
            return Finding("undecided", f"the oracles do not agree about the gradient of {differing[0].wire.name}")
    if key in _FOUND_WRONG:
        cause = _FOUND_WRONG[key]
        return Finding("wrong", differing[0].sentence() + (f"; {cause}" if cause else ""))
    if any(not np.isfinite(c.autodiff).all() for c in differing):
        return Finding("undecided", f"autodiff of its primal is not finite for {differing[0].wire.name}; by hand it is")
    jumps = [c for c in differing if c.jumps]
    return Finding("kink", f"a kink or a tie at {jumps[0].wire.name}") if jumps else Finding("agrees")


_FOUND_WRONG: dict[Hashable, str] = {}
"""Rules found wrong at arguments of these shapes, with the likely cause: elsewhere they need no second audit."""

_REMEMBERED = 256


@dataclass(frozen=True)
class _Compared:
    """The gradient of one input, by the handwritten rule and by autodiff."""

    wire: Wire
    handwritten: Array
    autodiff: Array

    @property
    def size(self) -> Array:
        """What errors are relative to: the element and the array."""
        return np.abs(as_wide(self.autodiff)) + rms(self.autodiff)

    @property
    def gap(self) -> Array:
        with np.errstate(all="ignore"):
            h, a = as_wide(self.handwritten), as_wide(self.autodiff)
            return np.where((h == a) | (np.isnan(h) & np.isnan(a)), 0.0, np.abs(h - a))

    @property
    def same(self) -> bool:
        """Whether the two differ by no more than the last places of two programs of one formula."""
        if np.array_equal(self.handwritten, self.autodiff):  # the usual case, and quick
            return True
        with np.errstate(all="ignore"):
            return bool(np.all(self.gap <= ALLOWED * unit_roundoff(self.wire.dtype) * self.size))

    @property
    def jumps(self) -> bool:
        """Whether the difference is far beyond rounding."""
        with np.errstate(all="ignore"):
            return not np.all(self.gap <= np.sqrt(unit_roundoff(self.wire.dtype)) * self.size)

    def sentence(self) -> str:
        """The element that differs most, with both values."""
        error = np.nan_to_num(self.gap, nan=np.inf)
        at = tuple(map(int, np.unravel_index(int(np.argmax(error)), error.shape)))
        return f"gradient of {self.wire.name}{index(at)}: {expected_and_got(self.autodiff[at], self.handwritten[at])}"


def _compared(gate: Gate) -> list[_Compared]:
    """Each input's gradient beside autodiff's for the same upstream gradient."""
    edges = [edge for edge in gate.edges if edge.wire.differentiable]
    autodiff: Sequence[Any] = [edge.autodiff_downstream for edge in edges]
    if any(wire.diverged for wire in gate.outputs):
        upstream = [wire.upstream if is_inexact(wire.value) else None for wire in gate.outputs]
        autodiff = gate.vjp(upstream, autodiff=True)
    return [
        _Compared(edge.wire, _dense(edge.downstream, edge), _dense(other, edge))
        for edge, other in zip(edges, autodiff, strict=True)
    ]


def _dense(gradient: Any, edge: Edge) -> Array:
    return np.zeros_like(to_numpy(edge.wire.value)) if gradient is None else to_numpy(gradient)


def _audited(gate: Gate) -> tuple[Site, ...]:
    return audit(gate.operation.forward, *(wire.value for wire in gate.inputs)).sites


def _gradient_checks(site: Site) -> list[tuple[bool | None, str]]:
    checks = site.verification.checks if site.verification is not None else ()
    return [(check.passed, f"{check.name}: {check.detail}") for check in checks if check.name.startswith("gradient")]


def _wrong_gradient(site: Site) -> str:
    """What is wrong with a rule's gradient; "" where nothing is."""
    failed = [detail for passed, detail in _gradient_checks(site) if passed is False]
    cause = site.verification.likely_cause if failed and site.verification is not None else ""
    return f"{failed[0]}{f'; {cause}' if cause else ''}" if failed else ""


def _right_gradient(site: Site) -> bool:
    checks = _gradient_checks(site)
    return bool(checks) and all(passed is True for passed, _ in checks)
