"""What a circuit is made of: wires and their uses, gates, boxes, and the graph of all of them."""

import difflib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact

from .summary import Gradient, Summary, Value, is_inexact, precision_of, relative_gap, to_numpy


@dataclass(eq=False)
class Edge:
    """One use of a wire: the gate and the slot it enters, and the share of the gradient that comes back there."""

    wire: "Wire"
    gate: "Gate"
    slot: int
    downstream: Gradient | None = None
    autodiff_downstream: Gradient | None = None

    @property
    def gradient(self) -> Any:
        """What flows back through this use of the wire alone; None where no gradient can."""
        return self.wire.dense(self.downstream)

    @property
    def autodiff_gradient(self) -> Any:
        """The same share by autodiff."""
        return self.wire.dense(self.autodiff_downstream)


@dataclass(eq=False)
class Wire:
    """A value on its way from one gate to others.

    Attributes:
        id: its index in `circuit.wires`.
        name: the argument's path, the name assigned on the source line, or one made from the gate's.
        kind: "argument", "constant" (closed over), "literal" or "value".
        value: the array on it.
        source: the gate it comes from; None for arguments, constants and literals.
        edges: its uses, in program order.
        is_output: whether the function returns it.
        output_cotangent: the gradient that enters here from outside, where it is an output.
        upstream: the gradient that has arrived, handwritten rules included; None for zero.
        autodiff_upstream: the same by autodiff alone; the very same array unless `diverged`.
        diverged: whether a handwritten rule had a part in `upstream`, so that the two were computed apart.
        named: whether the name is final.
        short: of an argument with a long name, the parts of it that tell it from the others.
    """

    id: int
    name: str
    kind: str
    value: Value
    source: "Gate | None" = None
    edges: list[Edge] = field(default_factory=list)
    is_output: bool = False
    output_cotangent: Gradient | None = None
    upstream: Gradient | None = None
    autodiff_upstream: Gradient | None = None
    diverged: bool = False
    named: bool = False
    short: str = ""

    def __repr__(self) -> str:
        return f"<wire {self.name} {self.dtype}{list(self.shape)}>"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(getattr(self.value, "shape", ()))

    @property
    def dtype(self) -> Any:
        return getattr(self.value, "dtype", None) or jnp.result_type(self.value)

    @property
    def differentiable(self) -> bool:
        """Whether a gradient can flow here: integers, booleans, keys and literals have none."""
        return self.kind != "literal" and is_inexact(self.value)

    def dense(self, gradient: Gradient | None) -> Any:
        """`gradient` as an array, zeros for None; None where this wire can have no gradient."""
        if not self.differentiable:
            return None
        with precision_of(self.value):
            return jnp.zeros(self.shape, self.dtype) if gradient is None else gradient

    @property
    def gradient(self) -> Any:
        """The derivative of the output with respect to this wire, by the handwritten rules; the sum of its edges'."""
        return self.dense(self.upstream)

    @property
    def autodiff_gradient(self) -> Any:
        """The same gradient by autodiff alone."""
        return self.dense(self.autodiff_upstream)

    @property
    def shares(self) -> list[Any]:
        """What adds up to its gradient: the share of each use, and what enters from outside."""
        outside = [] if self.output_cotangent is None else [self.output_cotangent]
        return [edge.gradient for edge in self.edges] + outside

    @property
    def gap(self) -> float | None:
        """The `relative_gap` between the two gradients; None where no handwritten rule had a part in them."""
        return relative_gap(self.gradient, self.autodiff_gradient) if self.diverged else None

    @property
    def gates(self) -> "list[Gate]":
        """The gates it feeds."""
        return [edge.gate for edge in self.edges]

    @property
    def box(self) -> "Box | None":
        """The box of the gate it comes from."""
        return self.source.box if self.source is not None else None

    @property
    def saturated(self) -> float | None:
        """The share of elements that an activation hardly passes back; None where it leaves no activation."""
        gate = self.source
        if isinstance(self.upstream, Summary):
            return self.upstream.saturated
        if (
            gate is None
            or gate.name not in ACTIVATIONS
            or gate.inputs[0].shape != self.shape
            or not self.differentiable
        ):
            return None
        passed = gate.edges[0].gradient
        if isinstance(passed, Summary):
            return None
        arriving, passed = np.abs(to_numpy(self.gradient)), np.abs(to_numpy(passed))
        alive = arriving > 0
        return float(np.mean(passed[alive] < SATURATED * arriving[alive])) if alive.any() else None


SATURATED = 0.01
"""An element of an activation that passes back less than this share of what arrives is saturated."""

ACTIVATIONS = frozenset(
    "tanh logistic sigmoid relu leaky_relu prelu elu selu softplus silu swish gelu hard_tanh softsign soft_sign "
    "relu6 erf sin cos max".split()
)


@dataclass(eq=False)
class Box:
    """Gates drawn together: a named scope, a module, a loop, one step of it, a branch, a checkpointed or opened part.

    `kind` is one of "scope", "scan", "while", "step", "cond", "remat", "rule", "part" (of a long program).
    """

    id: int
    name: str
    kind: str
    parent: "Box | None" = None
    note: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the outermost box to this one."""
        return (*self.parent.path, self.name) if self.parent else (self.name,)

    @property
    def in_a_loop(self) -> bool:
        """Whether it is a loop or stands in one."""
        return self.kind in ("scan", "while") or (self.parent is not None and self.parent.in_a_loop)


class Operation(Protocol):
    """What a gate does, forward and back.

    A backward pass gives one gradient for each wanted input, from one upstream gradient (or None) for each output.

    Attributes:
        handwritten: whether a handwritten backward pass is in it, so that its gradient may differ from autodiff's.
        sealed: whether that backward pass cannot be left out.
        key: the same for operations that do the same.
    """

    handwritten: bool
    sealed: bool

    @property
    def key(self) -> Hashable: ...

    def forward(self, *inputs: Any) -> list[Any]: ...

    def plain(self, *inputs: Any) -> list[Any]: ...

    def handwritten_vjp(
        self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]
    ) -> list[Any]: ...

    def autodiff_vjp(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]: ...


@dataclass(eq=False)
class Gate:
    """One operation.

    Attributes:
        id: its index in `circuit.gates`, which is program order.
        name: the primitive's, the rule's or the opaque call's name.
        kind: "primitive", "rule" (a handwritten backward pass or forward rule, merged), "opaque" (a whole program in
            one gate) or "wiring" (slices and stacks that a loop implies).
        inputs: wires, in order.
        operation: how to run it.
        outputs: wires, in order.
        edges: the use of each input, in order.
        source: `file:line` of the user's code, or "".
        defined: for a rule, where it was written; for an opaque gate, where the wrong rule in it was.
        box: the innermost box it stands in.
        note: what a reader should know, such as a loop not unrolled or a derivative that does not exist.
        verdict: of the handwritten rules in it: "agrees", "wrong", "kink" or "undecided"; "" where there are none.
        detail: the numbers behind the verdict.
        settings: the primitive's parameters.
    """

    id: int
    name: str
    kind: str
    inputs: tuple[Wire, ...]
    operation: Operation
    outputs: tuple[Wire, ...] = ()
    edges: tuple[Edge, ...] = ()
    source: str = ""
    defined: str = ""
    box: Box | None = None
    note: str = ""
    verdict: str = ""
    detail: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<gate {self.name}: {', '.join(w.name for w in self.inputs)} -> {self.output_names}>"

    @property
    def output_names(self) -> str:
        return ", ".join(w.name for w in self.outputs)

    @property
    def upstream(self) -> list[Any]:
        """The gradient that arrives at each output."""
        return [wire.gradient for wire in self.outputs]

    @property
    def downstream(self) -> list[Any]:
        """The gradient it sends back through each input."""
        return [edge.gradient for edge in self.edges]

    @property
    def wanted(self) -> tuple[bool, ...]:
        """Which inputs have a gradient."""
        return tuple(wire.differentiable for wire in self.inputs)

    @property
    def is_whole(self) -> bool:
        """Whether it can be run again: of none of its inputs only a summary was kept."""
        return not any(isinstance(wire.value, Summary) for wire in self.inputs)

    def vjp(
        self,
        upstream: Sequence[Gradient | None],
        *,
        autodiff: bool = False,
        inputs: Sequence[Value] | None = None,
        wanted: tuple[bool, ...] | None = None,
    ) -> list[Any]:
        """The gradients of the wanted inputs: None (zero) where nothing arrives, NaN where there is no derivative.

        Args:
            upstream: what arrives at each output; None for zero.
            autodiff: by autodiff, handwritten backward passes left out.
            inputs: at these values; at its own where none are given.
            wanted: which inputs' gradients; of all that have one where not given.

        Raises:
            ValueError: only summaries of its inputs were kept.
        """
        values = [wire.value for wire in self.inputs] if inputs is None else list(inputs)
        wanted = self.wanted if wanted is None else wanted
        if all(u is None for u in upstream):
            return [None] * sum(wanted)
        if not self.is_whole:
            raise ValueError(f"only summaries of the inputs of {self.name} were kept: trace with steps='whole'.")
        operation = self.operation
        try:
            with precision_of(*values, *upstream):
                return (operation.autodiff_vjp if autodiff else operation.handwritten_vjp)(values, upstream, wanted)
        except (TypeError, ValueError, NotImplementedError, ArithmeticError) as error:
            kind = "autodiff gives no derivative" if autodiff else "no backward pass"
            note = f"{kind}: {str(error).partition(chr(10))[0]}"
            if note not in self.note:
                self.note = "; ".join(filter(None, [self.note, note]))
            return [jnp.full_like(jnp.asarray(x), jnp.nan) for x, want in zip(values, wanted, strict=True) if want]

    def local(self, slot: int) -> Any:
        """The derivative of its one scalar output with respect to the scalar input in `slot`; None for arrays."""
        out, into = self.outputs[0], self.inputs[slot]
        scalar = out.shape == () == into.shape and len(self.outputs) == 1
        if not self.is_whole or not scalar or not is_inexact(into.value) or not is_inexact(out.value):
            return None
        one: list[Any] = [np.ones((), out.dtype)]
        (derivative,) = self.vjp(one, wanted=self._only(slot))
        return derivative

    def jacobian(self, slot: int, output: int = 0) -> Inexact[np.ndarray, "output input"]:
        """The matrix d output / d input of two of its arrays, both flattened."""
        out, into = self.outputs[output], self.inputs[slot]
        rows = []
        for unit in np.eye(int(np.prod(out.shape, dtype=int))):
            upstream: list[Any] = [None] * len(self.outputs)
            upstream[output] = unit.reshape(out.shape).astype(out.dtype)
            rows.append(np.ravel(self.vjp(upstream, wanted=self._only(slot))[0]))
        return np.stack(rows) if rows else np.zeros((0, int(np.prod(into.shape, dtype=int))))

    def _only(self, slot: int) -> tuple[bool, ...]:
        return tuple(i == slot for i in range(len(self.inputs)))


@dataclass(eq=False)
class Graph:
    """Gates, wires and boxes of a function at given arguments, with values and gradients.

    Attributes:
        name: the function's name.
        gates: in program order.
        wires: all wires.
        boxes: outer ones before inner ones.
        arguments: the wires of the function's arguments, in order.
        outputs: the wires of what it returns, in order.
        tree: the structure of what it returns.
    """

    name: str
    gates: list[Gate]
    wires: list[Wire]
    boxes: list[Box]
    arguments: list[Wire]
    outputs: list[Wire]
    tree: Any

    @property
    def value(self) -> Any:
        """What the function returned."""
        return self.tree.unflatten([wire.value for wire in self.outputs])

    @property
    def gradients(self) -> dict[str, Any]:
        """The gradient of each argument, by its name; None for integers, booleans and keys."""
        return {wire.name: wire.gradient for wire in self.arguments}

    def wire(self, name: str) -> Wire:
        """The wire called `name`: its whole name, or the one wire whose path ends in it (`W1` for `params['W1']`).

        Raises:
            KeyError: there is none, or more than one; with the names that come near.
        """
        named = [wire for wire in self.wires if wire.kind != "literal"]
        exact = [wire for wire in named if wire.name == name]
        matching = exact or [wire for wire in named if _last_part(wire.name) == name]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise KeyError(f"{name} could be {', '.join(w.name for w in matching)}: give the whole name.")
        names = [wire.name for wire in named]
        near = difflib.get_close_matches(name, names, 3, 0.4) or names[:8]
        raise KeyError(
            f"no wire is called {name}; there are {', '.join(near)} and {max(len(names) - len(near), 0)} more."
        )

    def gate(self, name: str) -> Gate:
        """The first gate called `name`.

        Raises:
            KeyError: there is none.
        """
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(f"no gate is called {name}; there are {', '.join(sorted({g.name for g in self.gates}))}.")

    @cached_property
    def wrong(self) -> list[Gate]:
        """The gates whose handwritten rule is wrong, in backward order: the first is the first to err.

        Each rule is checked at the upstream gradient that reached it, so a right rule that only passes on a wrong
        gradient is not among them.
        """
        return [gate for gate in reversed(self.gates) if gate.verdict == "wrong"]

    @property
    def culprit(self) -> Gate | None:
        """The first wrong gate in backward order; None where no rule is wrong."""
        return self.wrong[0] if self.wrong else None


def _last_part(name: str) -> str:
    """W1 of params['W1'] and of model.W1."""
    return name.replace("']", "").replace("['", ".").rpartition(".")[2]
