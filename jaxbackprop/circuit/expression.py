"""A small language: "(x + y) * z" becomes a function of its names. It is read, never evaluated as Python.

    program     = statement (";" statement)*          the last one is what is computed
    statement   = [name "="] sum
    sum         = product (("+" | "-") product)*
    product     = sign (("*" | "/" | "@") sign)*
    sign        = "-" sign | power
    power       = atom [("**" | "^") sign]
    atom        = number | name | gate "(" sum ("," sum)* ("," setting "=" number)* ")" | "(" sum ")"

A gate is any of the library's gates and units by name; `pi` is a number unless it is given a value.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import gates
from ..rule import Rule, rules
from .circuit import Circuit
from .trace import trace

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>\*\*|[-+*/@^(),;=]))"
)
_OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "@": "matmul", "**": "power", "^": "power"}
DEEPEST = 100
"""Brackets may be nested this far."""
LONGEST = 250
"""An expression has at most this many operations: more than anyone reads as a circuit."""


class ExpressionError(ValueError):
    """A text that is no expression; the message shows the character."""

    def __init__(self, text: str, at: int, why: str):
        start = text.rfind("\n", 0, at) + 1
        line = text[start:].partition("\n")[0]
        super().__init__(f"{why}\n  {line}\n  {' ' * (at - start)}^")
        self.at = at


@dataclass(frozen=True)
class Node:
    """A part of an expression: a number, a name, or a gate with its inputs; `text` is how it was written."""

    text: str
    at: int
    number: float | None = None
    name: str | None = None
    gate: str | None = None
    inputs: tuple["Node", ...] = ()
    settings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Expression:
    """What was read: statements in order, each with the name it is assigned to, or None; the names it needs."""

    text: str
    statements: tuple[tuple[str | None, Node], ...]
    names: tuple[str, ...]

    def __call__(self, *values: Any) -> Any:
        """The value of the last statement, for the values of `names` in order."""
        return self.all_of_it(*values)[0]

    def all_of_it(self, *values: Any) -> tuple[Any, dict[str, Any]]:
        """The value, and that of every part by its text or its assigned name."""
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

    Raises ExpressionError, which points at the character, for anything that is not in the language.
    """
    return _Parser(text).program()


def trace_expression(text: str, values: Mapping[str, Any], *, upstream: Any = None) -> Circuit:
    """The circuit of an expression at `values`, in float64; its wires are named as they are written.

    Raises ExpressionError for the text, ValueError for a name without value or a value without name.
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
        found: list[str] = []

        def fun(*leaves: Any) -> list[Any]:
            value, parts = expression.all_of_it(*leaves)
            found[:] = list(parts)
            return [value, *parts.values()]

        shapes = jax.eval_shape(fun, *arrays)
        if upstream is None and shapes[0].shape != ():
            raise ValueError(f"{text} has shape {shapes[0].shape}: say what gradient arrives there, with --upstream.")
        arriving = jnp.ones((), jnp.float64) if upstream is None else jnp.asarray(upstream, jnp.float64)
        circuit = trace(fun, *arrays, upstream=[arriving, *([None] * (len(shapes) - 1))])
    for wire, name in zip(circuit.arguments, expression.names, strict=True):
        wire.name = name
    taken = set(expression.names)
    for wire, part in zip(circuit.outputs[1:], found, strict=True):
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
    """A number, or numbers in square brackets, nested as deep as the array has axes. Never evaluates Python."""
    import json

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


def callable_gates() -> dict[str, Rule]:
    """The gates and units that an expression may name: those whose inputs are arrays of numbers."""
    return {
        name: made
        for name, made in rules().items()
        if made.__module__.startswith(gates.__name__)
        and all(p.differentiable and not p.repeated for p in made.signature.parameters)
        and name != "copy"
    }


class _Parser:
    """Recursive descent over the tokens, each remembered with its place."""

    def __init__(self, text: str):
        self.text, self.tokens, self.i = text, list(_tokens(text)), 0
        self.needed: dict[str, None] = {}
        self.assigned: set[str] = set()
        self.depth = self.operations = 0

    @property
    def at(self) -> int:
        return self.tokens[self.i][2]

    def peek(self) -> str:
        return self.tokens[self.i][1]

    def take(self) -> tuple[str, str, int]:
        token = self.tokens[self.i]
        self.i += 1
        return token

    def fail(self, why: str, at: int | None = None) -> ExpressionError:
        return ExpressionError(self.text, self.at if at is None else at, why)

    def expect(self, sign: str) -> None:
        if self.peek() != sign:
            found = f"found {self.peek()!r}" if self.peek() else "the text ends"
            raise self.fail(f"Expected {sign!r} here; {found}.")
        self.take()

    def program(self) -> Expression:
        statements = []
        while True:
            target = None
            if self.tokens[self.i][0] == "name" and self.tokens[self.i + 1][1] == "=":
                target = self.take()[1]
                self.take()
            statements.append((target, self.sum()))
            if target is not None:
                self.assigned.add(target)
            if self.peek() == ";":
                self.take()
            if not self.peek():
                return Expression(self.text, tuple(statements), tuple(self.needed))
            if self.text[self.at - 1 : self.at] != ";" and self.tokens[self.i - 1][1] != ";":
                raise self.fail(f"Expected an operator before {self.peek()!r}.")

    def sum(self) -> Node:
        return self.chain(("+", "-"), self.product)

    def product(self) -> Node:
        return self.chain(("*", "/", "@"), self.sign)

    def chain(self, signs: tuple[str, ...], inner: Callable[[], Node]) -> Node:
        start = self.at
        left = inner()
        while self.peek() in signs:
            _, sign, at = self.take()
            left = self.made(start, at, _OPERATORS[sign], (left, inner()))
        return left

    def sign(self) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.fail(f"Nested more than {DEEPEST} deep.")
        try:
            if self.peek() != "-":
                return self.power()
            start = self.take()[2]
            inner = self.sign()
            if inner.number is not None:
                return Node(self.written(start), start, number=-inner.number)
            return self.made(start, start, "neg", (inner,))
        finally:
            self.depth -= 1

    def power(self) -> Node:
        start, base = self.at, self.atom()
        if self.peek() not in ("**", "^"):
            return base
        at = self.take()[2]
        return self.made(start, at, "power", (base, self.sign()))

    def atom(self) -> Node:
        kind, token, at = self.take()
        if kind == "number":
            return Node(token, at, number=float(token))
        if token == "(":
            inner = self.sum()
            self.expect(")")
            return inner
        if kind == "name" and self.peek() == "(":
            return self.call(token, at)
        if kind == "name":
            if token == "pi":
                return Node(token, at, number=math.pi)
            if token not in self.assigned:
                self.needed[token] = None
            return Node(token, at, name=token)
        self.i -= 1
        raise self.fail(f"Expected a number, a name or '(' here; {f'found {token!r}' if token else 'the text ends'}.")

    def call(self, name: str, at: int) -> Node:
        known = callable_gates()
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, 3) or sorted(known)
            raise self.fail(f"There is no gate {name!r}; there is {', '.join(near)}.", at)
        self.take()
        inputs: list[Node] = []
        settings: list[tuple[str, float]] = []
        while True:
            if self.tokens[self.i][0] == "name" and self.tokens[self.i + 1][1] == "=":
                settings.append(self.setting(known[name]))
            else:
                inputs.append(self.sum())
            if self.peek() != ",":
                break
            self.take()
        self.expect(")")
        wanted = [p.name for p in known[name].signature.parameters]
        if len(inputs) != len(wanted):
            raise self.fail(f"{name} takes {len(wanted)} ({', '.join(wanted)}), not {len(inputs)}.", at)
        return self.made(at, at, name, tuple(inputs), tuple(settings))

    def setting(self, made: Rule) -> tuple[str, float]:
        _, name, at = self.take()
        if name not in made.signature.settings:
            raise self.fail(f"{made.name} has no setting {name!r}; it has {', '.join(made.signature.settings)}.", at)
        self.take()
        value = self.sign()
        if value.number is None:
            raise self.fail(f"{name} must be a number.", value.at)
        return name, value.number

    def made(self, start: int, at: int, gate: str, inputs: tuple[Node, ...], settings: tuple = ()) -> Node:
        self.operations += 1
        if self.operations > LONGEST:
            raise self.fail(f"More than {LONGEST} operations.", at)
        return Node(self.written(start), at, gate=gate, inputs=inputs, settings=settings)

    def written(self, start: int) -> str:
        _, token, at = self.tokens[self.i - 1]
        inner = " ".join(self.text[start : at + len(token)].split())
        return inner if inner.count("(") == inner.count(")") else inner.strip("()").strip()


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            at = len(text) - len(text[at:].lstrip())
            raise ExpressionError(text, at, f"{text[at]!r} is not part of the language.")
        kind = found.lastgroup or ""
        yield kind, found.group(kind), found.start(kind)
        at = found.end()
    yield "end", "", len(text)
    yield "end", "", len(text)


def _position(text: str, name: str) -> int:
    found = re.search(rf"\b{re.escape(name)}\b", text)
    return found.start() if found else 0
