"""What a circuit is made of: wires, edges, gates, boxes. Plain records, with the numbers a reader asks them for.

Nothing here computes a gradient or draws.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(eq=False)
class Edge:
    """One use of a wire: the gate and the slot it enters, and the share of the gradient that comes back there."""

    wire: "Wire"
    gate: "Gate"
    slot: int
    downstream: Any = None
    autodiff_downstream: Any = None

    @property
    def gradient(self) -> Any:
        """What flows back through this use of the wire alone; None where no gradient can."""
        return self.wire.dense(self.downstream)

    @property
    def autodiff_gradient(self) -> Any:
        """The same share, by autodiff instead of by hand."""
        return self.wire.dense(self.autodiff_downstream)


@dataclass(eq=False)
class Wire:
    """A value on its way from one gate to others.

    Attributes:
        id: its place in `circuit.wires`.
        name: the argument's path, the name assigned on the source line, or one made up from the gate.
        kind: "argument", "constant" (closed over), "literal" or "value".
        value: the array that stands on it.
        source: the gate it comes from; None for arguments, constants and literals.
        edges: its uses, in program order.
        is_output: whether the function returns it.
        seed: the upstream gradient that enters here, where it is an output.
    """

    id: int
    name: str
    kind: str
    value: Any
    source: "Gate | None" = None
    edges: list[Edge] = field(default_factory=list)
    is_output: bool = False
    seed: Any = None
    upstream: Any = None
    autodiff_upstream: Any = None
    named: bool = False

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

    def dense(self, gradient: Any) -> Any:
        """`gradient` as an array: nothing that arrived is zero, and None where there can be none."""
        if not self.differentiable:
            return None
        with precision(self.value):
            return jnp.zeros(self.shape, self.dtype) if gradient is None else gradient

    @property
    def gradient(self) -> Any:
        """The derivative of the output with respect to this wire, by the hand-derived rules; the sum of its edges'."""
        return self.dense(self.upstream)

    @property
    def autodiff_gradient(self) -> Any:
        """The same gradient, by autodiff everywhere."""
        return self.dense(self.autodiff_upstream)

    @property
    def gates(self) -> "list[Gate]":
        """The gates it feeds."""
        return [edge.gate for edge in self.edges]


@dataclass(eq=False)
class Box:
    """Gates drawn together: a named scope, a module, a loop, one step of it, a branch, a checkpointed or opened part.

    `kind` is one of "scope", "scan", "while", "step", "cond", "remat", "rule".
    """

    id: int
    name: str
    kind: str
    parent: "Box | None" = None
    note: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the outermost box to this one."""
        return ((*self.parent.path, self.name)) if self.parent else (self.name,)


@dataclass(eq=False)
class Gate:
    """One operation.

    Attributes:
        id: its place in `circuit.gates`, which is program order.
        name: the primitive's, the rule's or the opaque call's name.
        kind: "primitive", "rule" (a hand-written backward pass or forward rule, merged), "opaque" (a whole program in
            one gate) or "wiring" (slices and stacks that a loop implies).
        inputs, outputs: wires, in order.
        edges: the use of each input, in order.
        source: `file:line` of the user's code, or "".
        defined: for a rule, where it was written.
        box: the innermost box it stands in.
        note: what a reader should know, such as a branch not taken or a derivative that does not exist.
        verdict: for a rule: "agrees", "wrong", "kink" or "undecided", from its own local gradient; "" otherwise.
        detail: the numbers behind the verdict.
    """

    id: int
    name: str
    kind: str
    inputs: tuple[Wire, ...]
    operation: Any
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

    def local(self, slot: int) -> Any:
        """The derivative of its one scalar output with respect to the scalar input in `slot`; None for arrays."""
        from .gradients import local_derivative  # where a record asks for arithmetic

        return local_derivative(self, slot)

    def jacobian(self, slot: int, output: int = 0) -> np.ndarray:
        """The matrix d output / d input of two of its arrays, both flattened: (output size, input size)."""
        from .gradients import jacobian

        return jacobian(self, slot, output)


def is_inexact(value: Any) -> bool:
    """Whether `value` is real or complex floating-point: whether it has a derivative."""
    dtype = getattr(value, "dtype", None)
    dtype = jnp.result_type(value) if dtype is None else dtype
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def numbers(value: Any) -> np.ndarray:
    """`value` as a NumPy array of ordinary numbers: keys as their data, half precisions as float32."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def rms(x: np.ndarray) -> float:
    """The root mean square of the finite elements."""
    finite = np.abs(x[np.isfinite(x)]).astype(np.float64)
    largest = finite.max(initial=0.0)
    return 0.0 if largest == 0 else float(largest * np.sqrt(np.mean((finite / largest) ** 2)))


def precision(*values: Any) -> AbstractContextManager:
    """A context in which arrays of the precision of `values` can be made: a float64 circuit outlives its context."""
    wide = any(np.dtype(x.dtype).itemsize >= 8 for x in values if isinstance(getattr(x, "dtype", None), np.dtype))
    return jax.enable_x64(True) if wide else nullcontext()
