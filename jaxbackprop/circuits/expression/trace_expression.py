"""An expression becomes a function of its names, and a circuit."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.rule import rules
from ..circuit import Circuit
from ..naming import Names
from ..trace import trace
from . import parser
from .parser import ExpressionError, Node, Statement


@dataclass(frozen=True)
class Expression:
    """A parsed text.

    Attributes:
        text: the text.
        statements: in order, each with the name it is assigned to, or None.
        names: the names that need a value.
    """

    text: str
    statements: tuple[Statement, ...]
    names: tuple[str, ...]

    def __call__(self, *values: Any) -> Any:
        """The value of the last statement, for the values of `names` in order."""
        return self.with_parts(*values)[0]

    def with_parts(self, *values: Any) -> tuple[Any, list["Part"]]:
        """The value, and every operation in the order in which they are computed, each once."""
        evaluation = _Evaluation(self.text, dict(zip(self.names, values, strict=True)))
        value = None
        for target, node in self.statements:
            value = evaluation.of(node)
            if target is not None:
                evaluation.assign(target, value)
        return value, list(evaluation.parts.values())


@dataclass
class Part:
    """One operation of an expression.

    Attributes:
        name: what it is assigned to, or its text.
        value: its value.
        node: the operation.
        assigned: whether a name was assigned to it.
    """

    name: str
    value: Any
    node: Node
    assigned: bool = False


class _Evaluation:
    """The values of names and operations; what is the same operation of the same values is computed once."""

    def __init__(self, text: str, known: dict[str, Any]):
        self.text, self.known = text, known
        self.numbers: dict[float, Any] = {}
        self.parts: dict[tuple, Part] = {}

    def of(self, node: Node) -> Any:
        if node.number is not None:
            return self.numbers.setdefault(node.number, jnp.asarray(node.number, jnp.float64))
        if node.name is not None:
            return self.known[node.name]
        inputs = [self.of(inner) for inner in node.inputs]
        # By identity: numbers, names and parts hold every value, so none of these ids is given away.
        key = (node.gate, tuple(map(id, inputs)), node.settings)
        if key not in self.parts:
            self.parts[key] = Part(node.text, self._apply(node, inputs), node)
        return self.parts[key].value

    def assign(self, name: str, value: Any) -> None:
        self.known[name] = value
        for part in self.parts.values():
            if part.value is value and not part.assigned:
                part.name, part.assigned = name, True

    def _apply(self, node: Node, inputs: list[Any]) -> Any:
        # The rule is for matrices; a vector in a product is neither a row nor a column.
        vectors = node.gate == "matmul" and any(jnp.ndim(x) == 1 for x in inputs)
        apply = jnp.matmul if vectors else rules()[node.gate or ""]
        try:
            return apply(*inputs, **dict(node.settings))
        except (ValueError, TypeError) as error:
            raise ExpressionError(self.text, node.at, str(error).partition("\n")[0]) from None


def parse(text: str) -> Expression:
    """Read `text`.

    Raises:
        ExpressionError: the text is not in the language; it points at the character.
    """
    statements, names = parser.parse(text)
    return Expression(text, tuple(statements), tuple(names))


def trace_expression(text: str, values: Mapping[str, Any], *, upstream: Any = None) -> Circuit:
    """The circuit of an expression at `values`, in float64; its wires are named as they are written.

    Args:
        text: such as "(x + y) * z".
        values: a number or an array for each name.
        upstream: the gradient that arrives at the result; 1 for a single number.

    Raises:
        ExpressionError: the text is not in the language, or a name in it has no value.
        ValueError: a value's name does not occur, or the result is an array and no upstream gradient is given.
    """
    expression = parse(text)
    missing = [name for name in expression.names if name not in values]
    if missing:
        raise ExpressionError(
            text, _position(text, missing[0]), f"{missing[0]} has no value: give it, as {missing[0]}=2."
        )
    spare = sorted(set(values) - set(expression.names))
    if spare:
        raise ValueError(f"{', '.join(spare)} does not occur in {text}.")
    with jax.enable_x64(True):
        arrays = [jnp.asarray(values[name], jnp.float64) for name in expression.names]
        parts: list[Part] = []

        def fun(*leaves: Any) -> list[Any]:
            value, parts[:] = expression.with_parts(*leaves)
            return [value, *(part.value for part in parts)]

        shapes = jax.eval_shape(fun, *arrays)
        if upstream is None and shapes[0].shape != ():
            raise ValueError(f"{text} has shape {shapes[0].shape}: give the gradient that arrives there, --upstream.")
        arriving = jnp.ones((), jnp.float64) if upstream is None else jnp.asarray(upstream, jnp.float64)
        circuit = trace(fun, *arrays, upstream=[arriving, *([None] * (len(shapes) - 1))])
    names = Names()
    for wire, name in zip(circuit.arguments, expression.names, strict=True):
        wire.name = names.new(name)
    result = circuit.outputs[0]
    for wire, part in zip(circuit.outputs[1:], parts, strict=True):
        wire.is_output = wire is result
        if wire.source is None or wire.named:
            continue
        if wire.source.kind == "rule":
            wire.source.settings = dict(part.node.settings)
        free = (name for name in ("f", "out", "result") if name not in names.taken)
        own = part.name if wire is not result or part.assigned else next(free, "f")
        wire.name, wire.named = names.new(own), True
    circuit.outputs = [result]
    circuit.name, circuit.tree = text, jax.tree.structure(0)
    return circuit


def read_value(text: str) -> Any:
    """A number, or numbers in nested square brackets. Never evaluates Python.

    Raises:
        ValueError: it is neither.
    """
    try:
        value = np.asarray(json.loads(re.sub(r"(?<![\d.])\.(\d)", r"0.\1", text)), np.float64)
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{text!r} is neither a number nor numbers in square brackets.") from None
    return value


def _position(text: str, name: str) -> int:
    found = re.search(rf"\b{re.escape(name)}\b", text)
    return found.start() if found else 0
