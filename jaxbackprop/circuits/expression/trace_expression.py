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

    def with_parts(self, *values: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and the values of all parts by their text or assigned name."""
        known, parts = dict(zip(self.names, values, strict=True)), {}
        value = None
        for target, node in self.statements:
            value = _evaluate(node, known, parts, self.text)
            if target is not None:
                known[target] = value
                if node.gate is not None:
                    parts[target] = parts.pop(node.text, value)
        return value, parts


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
        part_names: list[str] = []

        def fun(*leaves: Any) -> list[Any]:
            value, parts = expression.with_parts(*leaves)
            part_names[:] = list(parts)
            return [value, *parts.values()]

        shapes = jax.eval_shape(fun, *arrays)
        if upstream is None and shapes[0].shape != ():
            raise ValueError(f"{text} has shape {shapes[0].shape}: give the gradient that arrives there, --upstream.")
        arriving = jnp.ones((), jnp.float64) if upstream is None else jnp.asarray(upstream, jnp.float64)
        circuit = trace(fun, *arrays, upstream=[arriving, *([None] * (len(shapes) - 1))])
    for wire, name in zip(circuit.arguments, expression.names, strict=True):
        wire.name = name
    taken = set(expression.names)
    for wire, part in zip(circuit.outputs[1:], part_names, strict=True):
        if wire.kind == "value" and part not in taken:
            wire.name, wire.named = part, True
            taken.add(part)
    result = circuit.outputs[0]
    if result.kind == "value" and expression.statements[-1][0] is None:
        result.name = next(name for name in ("f", "out", "result") if name not in taken)
    for wire in circuit.outputs[1:]:
        wire.is_output = wire is result
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


def _evaluate(node: Node, known: Mapping[str, Any], parts: dict[str, Any], text: str) -> Any:
    if node.number is not None:
        return jnp.asarray(node.number, jnp.float64)
    if node.name is not None:
        return known[node.name]
    inputs = [_evaluate(inner, known, parts, text) for inner in node.inputs]
    if node.text in parts:
        return parts[node.text]
    assert node.gate is not None
    try:
        value = rules()[node.gate](*inputs, **_settings(node))
    except (ValueError, TypeError) as error:
        raise ExpressionError(text, node.at, str(error).partition("\n")[0]) from None
    parts[node.text] = value
    return value


def _settings(node: Node) -> dict[str, Any]:
    defaults = rules()[node.gate or ""].signature.settings
    return {k: _like(v, defaults[k]) for k, v in node.settings}


def _like(value: float, default: Any) -> Any:
    """A setting's number, whole where its default is whole or absent (an axis), true or false where that is."""
    if isinstance(default, bool):
        return bool(value)
    return value if isinstance(default, float) else int(value)


def _position(text: str, name: str) -> int:
    found = re.search(rf"\b{re.escape(name)}\b", text)
    return found.start() if found else 0
