"""Both gradients on every wire: by the hand-derived rules, and by autodiff, swept backward over the gates.

Also what each gate does alone: its operation forward, its pull backward, its local derivative. Verdicts are blame.py's.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.rule import Rule
from ..jaxprs.compat import RULES, JaxprEqn, backward_function, binding, body_of, inner_jaxprs
from ..jaxprs.provenance import text_of
from ..jaxprs.rules import (
    HANDWRITTEN_BACKWARD,
    cannot_be_stripped,
    evaluate_stripped,
    holds_rule_inside,
    strip_equation,
)
from .model import Gate, is_inexact, precision
from .summary import is_whole, let_go


class Equation:
    """An equation of a jaxpr as an operation: forward, backward by its own rule, backward by plain autodiff."""

    def __init__(self, eqn: JaxprEqn):
        self.eqn = eqn
        self.bind = binding(eqn)
        self.differs = eqn.primitive.name in RULES or holds_rule_inside(eqn, HANDWRITTEN_BACKWARD)
        self.sealed = self.differs and cannot_be_stripped(eqn)

    def forward(self, *inputs: Any) -> list[Any]:
        return self.bind(*inputs)

    def pull(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        """One gradient for each wanted input, from one upstream gradient (or None) for each output."""
        return self._pulled(self.bind, self._own_key, inputs, upstream, wanted)

    def autodiff_pull(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        """The same by autodiff, hand-written backward passes left out."""
        return self._pulled(self._plain, self._plain_key, inputs, upstream, wanted)

    def _plain(self, *inputs: Any) -> list[Any]:
        body = body_of(self.eqn)
        if body is not None:
            return evaluate_stripped(*body, inputs, HANDWRITTEN_BACKWARD)
        return strip_equation(self.eqn, list(inputs), HANDWRITTEN_BACKWARD)

    def _pulled(self, function: Any, key: Any, inputs: Any, upstream: Any, wanted: tuple[bool, ...]) -> list[Any]:
        live = tuple(u is not None for u in upstream)
        arriving = [u for u in upstream if u is not None]
        if key is None:
            return _pull(function, inputs, arriving, wanted, live)
        return _jitted(_Same(key, function), wanted, live)(list(inputs), arriving)

    @cached_property
    def _own_key(self) -> Any:
        """What tells this equation's own backward pass from others'; None where nothing short does."""
        if self.eqn.primitive.name in HANDWRITTEN_BACKWARD:
            # One of our rules has one backward pass for each of its settings. Two of anybody else's may share one, and
            # differ in what the forward pass saves.
            backward, text = backward_function(self.eqn), self._plain_key
            ours = getattr(backward, "__module__", None) == Rule.__module__
            return (backward, text) if ours and text is not None else None
        if self.differs or inner_jaxprs(self.eqn):
            return None
        return (self.eqn.primitive, tuple(sorted(self.eqn.params.items())))

    @cached_property
    def _plain_key(self) -> Any:
        return text_of(self.eqn)


class _Same:
    """Equal for functions that do the same: the key of a compiled pull. It holds the function, never an id alone."""

    def __init__(self, key: Any, function: Any):
        self.key, self.function = key, function
        try:
            self.hash = hash(key)
        except TypeError:  # an unhashable parameter: the function itself is the key
            self.key = self.hash = id(function)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.key == other.key


@lru_cache(maxsize=4096)
def _jitted(same: _Same, wanted: tuple[bool, ...], live: tuple[bool, ...]) -> Any:
    return jax.jit(lambda inputs, upstream: _pull(same.function, inputs, upstream, wanted, live))


def _pull(function: Any, inputs: Sequence[Any], upstream: list[Any], wanted: Sequence[bool], live: Sequence[bool]):
    def of_wanted(*active: Any) -> list[Any]:
        given = iter(active)
        full = [next(given) if w else x for x, w in zip(inputs, wanted, strict=True)]
        return [out for out, alive in zip(function(*full), live, strict=True) if alive]

    _, pull = jax.vjp(of_wanted, *(jnp.asarray(x) for x, w in zip(inputs, wanted, strict=True) if w))
    return list(pull([jnp.asarray(u) for u in upstream]))


class Unstack:
    """A loop's slices: one array in, one value a step out."""

    differs = False

    def __init__(self, length: int):
        self.length = length

    def forward(self, x: Any) -> list[Any]:
        return [x[i] for i in range(self.length)]

    def pull(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        zero = jnp.zeros_like(inputs[0][0])
        return [jnp.stack([zero if u is None else u for u in upstream])]

    autodiff_pull = pull


class Stack:
    """A loop's results: one value a step in, one array out."""

    differs = False

    def forward(self, *steps: Any) -> list[Any]:
        return [jnp.stack(steps)]

    def pull(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        return [upstream[0][i] for i, want in enumerate(wanted) if want]

    autodiff_pull = pull


def sweep(gates: Sequence[Gate], *, autodiff: bool, judge: Callable[[Gate], None], summarise: bool) -> None:
    """Fill in every wire's and every edge's gradients, given the seeds on the output wires.

    Each gate is judged once it has been pulled, where there is autodiff to hold it against; `summarise` then lets go of
    the arrays it made within a loop.
    """
    for gate in reversed(gates):
        pull_gate(gate, autodiff=autodiff)
        if autodiff:
            judge(gate)
        if summarise:
            let_go(gate)


def pull_gate(gate: Gate, *, autodiff: bool = True) -> None:
    """Send what arrived at the gate's outputs back through its inputs, and add it to their wires."""
    wanted = tuple(wire.differentiable for wire in gate.inputs)
    hand = [wire.upstream if is_inexact(wire.value) else None for wire in gate.outputs]
    auto = [wire.autodiff_upstream if is_inexact(wire.value) else None for wire in gate.outputs]
    if not any(wanted):
        return
    inputs = [wire.value for wire in gate.inputs]
    shared = all(h is a for h, a in zip(hand, auto, strict=True)) and not gate.operation.differs
    by_hand = _back(gate, "pull", inputs, hand, wanted)
    if shared or not autodiff:
        by_autodiff = by_hand
    else:
        by_autodiff = _back(gate, "autodiff_pull" if gate.operation.differs else "pull", inputs, auto, wanted)
    slots = [slot for slot, want in enumerate(wanted) if want]
    for slot, h, a in zip(slots, by_hand, by_autodiff, strict=True):
        edge, wire = gate.edges[slot], gate.inputs[slot]
        edge.downstream, edge.autodiff_downstream = h, a
        together = wire.upstream is wire.autodiff_upstream and h is a
        wire.upstream = add(wire.upstream, h)
        wire.autodiff_upstream = wire.upstream if together else add(wire.autodiff_upstream, a)


def _back(gate: Gate, how: str, inputs: list[Any], upstream: list[Any], wanted: tuple[bool, ...]) -> list[Any]:
    """The gradients of the wanted inputs: None (zero) where nothing arrives, NaN where no derivative is defined."""
    if all(u is None for u in upstream):
        return [None] * sum(wanted)
    if not is_whole(gate):
        raise ValueError(f"{gate.name} saw arrays of which only summaries were kept: trace with steps='whole'.")
    try:
        with precision(*inputs, *upstream):
            return getattr(gate.operation, how)(inputs, upstream, wanted)
    except (TypeError, ValueError, NotImplementedError, ArithmeticError) as error:
        kind = "autodiff gives no derivative" if how == "autodiff_pull" else "no backward pass"
        note = f"{kind}: {str(error).partition(chr(10))[0]}"
        if note not in gate.note:
            gate.note = "; ".join(filter(None, [gate.note, note]))
        return [jnp.full_like(jnp.asarray(x), jnp.nan) for x, want in zip(inputs, wanted, strict=True) if want]


def add(x: Any, y: Any) -> Any:
    """The sum of two gradients, None standing for zero."""
    if x is None or y is None:
        return y if x is None else x
    return x + y


def local_derivative(gate: Gate, slot: int) -> Any:
    """d output / d input of a gate with one output, both single numbers, by its own rule; None otherwise."""
    out, into = gate.outputs[0], gate.inputs[slot]
    scalar = out.shape == () == into.shape and len(gate.outputs) == 1
    if not is_whole(gate) or not scalar or not is_inexact(into.value) or not is_inexact(out.value):
        return None
    wanted = tuple(i == slot for i in range(len(gate.inputs)))
    (found,) = _back(gate, "pull", [w.value for w in gate.inputs], [np.ones((), out.dtype)], wanted)
    return found


def jacobian(gate: Gate, slot: int, output: int = 0) -> np.ndarray:
    """The matrix d output / d input of a gate, both flattened, by its own rule: (output size, input size)."""
    out, into = gate.outputs[output], gate.inputs[slot]
    wanted = tuple(i == slot for i in range(len(gate.inputs)))
    inputs = [w.value for w in gate.inputs]
    rows = []
    for unit in np.eye(int(np.prod(out.shape, dtype=int))):
        upstream: list[Any] = [None] * len(gate.outputs)
        upstream[output] = unit.reshape(out.shape).astype(out.dtype)
        rows.append(np.ravel(_back(gate, "pull", inputs, upstream, wanted)[0]))
    return np.stack(rows) if rows else np.zeros((0, int(np.prod(into.shape, dtype=int))))
