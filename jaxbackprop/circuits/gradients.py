"""Both gradients on every wire, by the handwritten rules and by autodiff, swept backward over the gates.

Here are also the operations of gates: an equation of a jaxpr, a loop's slices, a loop's results.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, lru_cache
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from ..core.rule import Rule
from ..jaxprs.compat import RULES, JaxprEqn, backward_function, binding, body_of, closed_over, inner_jaxprs
from ..jaxprs.provenance import text_of
from ..jaxprs.rules import (
    HANDWRITTEN_BACKWARD,
    cannot_be_stripped,
    evaluate_stripped,
    holds_rule_inside,
    strip_equation,
)
from .model import Gate
from .summary import WHOLE, Value, is_inexact, relative_gap, summarise


class Equation:
    """An equation of a jaxpr as an operation: forward, backward by its own rule, backward by plain autodiff."""

    def __init__(self, eqn: JaxprEqn):
        self.eqn = eqn
        self.bind = binding(eqn)
        self.handwritten = eqn.primitive.name in RULES or holds_rule_inside(eqn, HANDWRITTEN_BACKWARD)
        self.sealed = self.handwritten and cannot_be_stripped(eqn)

    @property
    def key(self) -> Hashable:
        """Its backward pass, where it is one of our rules'; else the equation itself."""
        return self.eqn if self._own_key is None else self._own_key

    def forward(self, *inputs: Any) -> list[Any]:
        return self.bind(*inputs)

    def handwritten_vjp(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        return self._vjp(self.bind, self._own_key, inputs, upstream, wanted)

    def autodiff_vjp(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        return self._vjp(self.plain, self._plain_key, inputs, upstream, wanted)

    def plain(self, *inputs: Any) -> list[Any]:
        """The function that it computes, handwritten backward passes left out."""
        body = body_of(self.eqn)
        if body is not None:
            return evaluate_stripped(*body, inputs, HANDWRITTEN_BACKWARD)
        return strip_equation(self.eqn, list(inputs), HANDWRITTEN_BACKWARD)

    def _vjp(self, function: Any, key: Any, inputs: Any, upstream: Any, wanted: tuple[bool, ...]) -> list[Any]:
        fixed = closed_over(self.eqn)
        if any(wanted[:fixed]):  # zero, by autodiff as well: a rule has no gradient for what it closes over
            others = (*[False] * fixed, *wanted[fixed:])
            given = self._vjp(function, key, inputs, upstream, others) if any(others) else []
            return [*(jnp.zeros_like(x) for x, w in zip(inputs[:fixed], wanted, strict=False) if w), *given]
        live = tuple(u is not None for u in upstream)
        arriving = [u for u in upstream if u is not None]
        if key is None:
            return _vjp(function, inputs, arriving, wanted, live)
        return _jitted(_Keyed(key, function), wanted, live)(list(inputs), arriving)

    @cached_property
    def _own_key(self) -> Any:
        """What tells this equation's own backward pass from others'; None where nothing short does."""
        if self.eqn.primitive.name in HANDWRITTEN_BACKWARD:
            # One of our rules has one backward pass for each of its settings. Two of anybody else's may share one, and
            # differ in what the forward pass saves.
            backward, text = backward_function(self.eqn), self._plain_key
            ours = getattr(backward, "__module__", None) == Rule.__module__
            return (backward, text) if ours and text is not None else None
        if self.handwritten or inner_jaxprs(self.eqn):
            return None
        return (self.eqn.primitive, tuple(sorted(self.eqn.params.items())))

    @cached_property
    def _plain_key(self) -> Any:
        return text_of(self.eqn)


class _Keyed:
    """A function that equals others of the same key, to look up its compiled backward pass.

    It holds the function and the key themselves, never an id alone, which another object may get later.
    """

    def __init__(self, key: Any, function: Any):
        self.key, self.function = key, function
        try:
            self.hash = hash(key)
        except TypeError:  # an unhashable parameter: the function itself is the key
            self.key = self.hash = id(function)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key


@lru_cache(maxsize=4096)
def _jitted(keyed: _Keyed, wanted: tuple[bool, ...], live: tuple[bool, ...]) -> Any:
    return jax.jit(lambda inputs, upstream: _vjp(keyed.function, inputs, upstream, wanted, live))


def _vjp(function: Any, inputs: Sequence[Any], upstream: list[Any], wanted: Sequence[bool], live: Sequence[bool]):
    def of_wanted(*active: Any) -> list[Any]:
        remaining = iter(active)
        full = [next(remaining) if w else x for x, w in zip(inputs, wanted, strict=True)]
        return [out for out, alive in zip(function(*full), live, strict=True) if alive]

    _, vjp = jax.vjp(of_wanted, *(jnp.asarray(x) for x, w in zip(inputs, wanted, strict=True) if w))
    return list(vjp([jnp.asarray(u) for u in upstream]))


class Unstack:
    """A loop's slices: one array in, one value a step out."""

    handwritten = sealed = False

    def __init__(self, length: int):
        self.length = length
        self.key = ("slices", length)

    def forward(self, *inputs: Any) -> list[Any]:
        (x,) = inputs
        return [x[i] for i in range(self.length)]

    plain = forward

    def handwritten_vjp(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        zero = jnp.zeros_like(inputs[0][0])
        return [jnp.stack([zero if u is None else u for u in upstream])]

    autodiff_vjp = handwritten_vjp


class Stack:
    """A loop's results: one value a step in, one array out."""

    handwritten = sealed = False
    key = "stack"

    def forward(self, *inputs: Any) -> list[Any]:
        return [jnp.stack(inputs)]

    plain = forward

    def handwritten_vjp(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        return [upstream[0][i] for i, want in enumerate(wanted) if want]

    autodiff_vjp = handwritten_vjp


def sweep(gates: Sequence[Gate], check: Callable[[Gate], None], *, autodiff: bool, summaries: bool) -> None:
    """Fill in every wire's and every edge's gradients, given the cotangents on the output wires.

    Args:
        gates: in program order.
        check: called with each gate after its backward pass, where there is autodiff to compare it with.
        autodiff: also by autodiff alone.
        summaries: keep only summaries of the arrays within loops.
    """
    for gate in reversed(gates):
        pull_back(gate, autodiff=autodiff)
        if autodiff:
            check(gate)
        if summaries:
            release_arrays(gate)


def pull_back(gate: Gate, *, autodiff: bool) -> None:
    """Send what arrived at the gate's outputs back through its inputs, and add it to their wires."""
    if not any(gate.wanted):
        return
    outputs = gate.outputs
    by_hand = gate.vjp([w.upstream if is_inexact(w.value) else None for w in outputs])
    diverged = autodiff and (gate.operation.handwritten or any(w.diverged for w in outputs))
    by_autodiff = by_hand
    if diverged:
        arriving = [w.autodiff_upstream if is_inexact(w.value) else None for w in outputs]
        by_autodiff = gate.vjp(arriving, autodiff=gate.operation.handwritten)
    wanted = [edge for edge, want in zip(gate.edges, gate.wanted, strict=True) if want]
    for edge, h, a in zip(wanted, by_hand, by_autodiff, strict=True):
        edge.downstream, edge.autodiff_downstream = h, a
        wire, before = edge.wire, edge.wire.autodiff_upstream
        wire.upstream = add(wire.upstream, h)
        wire.diverged |= diverged and not (h is None and a is None)
        wire.autodiff_upstream = add(before, a) if wire.diverged else wire.upstream


def add(x: Any, y: Any) -> Any:
    """The sum of two gradients, None standing for zero."""
    if x is None or y is None:
        return y if x is None else x
    return x + y


def release_arrays(gate: Gate) -> None:
    """Keep only summaries of what a gate in a loop makes and sends back, after its backward pass and its check.

    Those arrays are no longer needed: every gate that it feeds has been pulled back before, and the shares have been
    added to their wires. What leaves the loop is kept.
    """
    if gate.box is None or not gate.box.in_a_loop:
        return
    saturated = [wire.saturated for wire in gate.outputs]
    leaves = [w.is_output or not all(g.box is not None and g.box.in_a_loop for g in w.gates) for w in gate.outputs]
    for edge in gate.edges if not any(leaves) else ():
        if edge.downstream is not None and np.size(edge.downstream) > WHOLE:
            same = edge.downstream is edge.autodiff_downstream
            edge.downstream, edge.autodiff_downstream = _summaries(edge.gradient, edge.autodiff_gradient, same)
    for wire, kept, share in zip(gate.outputs, leaves, saturated, strict=True):
        if not kept and np.prod(wire.shape) > WHOLE:
            wire.upstream, wire.autodiff_upstream = _summaries(
                wire.gradient, wire.autodiff_gradient, not wire.diverged, share
            )
            wire.value = cast(Value, summarise(wire.value))


def _summaries(hand: Any, autodiff: Any, same: bool, saturated: float | None = None) -> tuple[Any, Any]:
    """Both gradients summarised; still one where they were one."""
    if hand is None:
        return None, None
    kept = summarise(hand, 0.0, saturated)
    return kept, kept if same else summarise(autodiff, relative_gap(hand, autodiff))
