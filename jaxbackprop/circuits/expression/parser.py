"""The grammar of expressions: a text becomes nodes. It is read, never evaluated as Python.

    program     = statement (";" statement)*          the value is the last one's
    statement   = [name "="] sum
    sum         = product (("+" | "-") product)*
    product     = sign (("*" | "/" | "@") sign)*
    sign        = "-" sign | power
    power       = atom [("**" | "^") sign]
    atom        = number | name | gate "(" sum ("," sum)* ("," setting "=" number)* ")" | "(" sum ")"

A gate is any of the library's gates and units by name, as `relu`, `ReLU` or `gates.relu`; `sum`, `mean`, `norm` and
`dot` are made of them. `pi` is a number. The signs that a circuit prints (`−`, `×`, `÷`) are read too.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from ... import gates
from ...core.rule import Rule, rules

_TOKEN = re.compile(
    r"(?P<blank>\s+)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<name>(?:gates\.)?[A-Za-z_]\w*)|(?P<sign>\*\*|[-+*/@^(),;=−×÷])"
)
_ASCII = {"−": "-", "×": "*", "÷": "/", "^": "**"}
_OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "@": "matmul", "**": "power"}
_SHORT = {"sum": "reduce_sum", "mean": "reduce_mean"}
COMPOSED = {"dot": ("x", "y"), "norm": ("x",)}
"""Functions made of several gates, with their inputs: the inner product of two vectors, the Euclidean norm."""
DEEPEST = 100
"""How deep brackets may be nested."""
LONGEST = 250
"""The most operations in an expression: more than anyone reads as a circuit."""


class ExpressionError(ValueError):
    """A text that is not an expression; the message points at the character."""

    def __init__(self, text: str, at: int, why: str):
        start = text.rfind("\n", 0, at) + 1
        line = text[start:].partition("\n")[0]
        super().__init__(f"{why}\n  {line}\n  {' ' * (at - start)}^")
        self.at = at


@dataclass(frozen=True)
class Node:
    """A part of an expression: a number, a name, or a gate with its inputs; `text` is its text."""

    text: str
    at: int
    number: float | None = None
    name: str | None = None
    gate: str | None = None
    inputs: tuple["Node", ...] = ()
    settings: tuple[tuple[str, float | int | bool], ...] = ()


Statement = tuple[str | None, Node]
"""The name that a node's value is assigned to, or None; and the node."""


def parse(text: str) -> tuple[list[Statement], list[str]]:
    """The statements of `text` in order, and the names that need a value.

    Raises:
        ExpressionError: the text is not in the language; it points at the character.
    """
    return _Parser(text).program()


@cache
def callable_gates() -> dict[str, Rule]:
    """The gates and units that an expression may name: those whose inputs are arrays of numbers."""
    return {
        name: made
        for name, made in rules().items()
        if made.__module__.startswith(gates.__name__)
        and all(p.differentiable and not p.repeated for p in made.signature.parameters)
        and name != "copy"
    }


def gate_names() -> list[str]:
    """What may be called in an expression."""
    return sorted({*callable_gates(), *COMPOSED, *_SHORT} - {*_SHORT.values()})


def _bare(name: str) -> str:
    """`ReLU`, `LeakyReLU` and `gates.leaky_relu` without what tells them from `relu` and `leaky_relu`."""
    return name.removeprefix("gates.").replace("_", "").lower()


class _Parser:
    """Recursive descent over the tokens, each with its position."""

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

    def program(self) -> tuple[list[Statement], list[str]]:
        statements: list[Statement] = []
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
                return statements, list(self.needed)
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
            left = self.node(start, at, _OPERATORS[sign], (left, inner()))
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
                return Node(self.text_from(start), start, number=-inner.number)
            return self.node(start, start, "neg", (inner,))
        finally:
            self.depth -= 1

    def power(self) -> Node:
        start, base = self.at, self.atom()
        if self.peek() != "**":
            return base
        at = self.take()[2]
        return self.node(start, at, "power", (base, self.sign()))

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
        known = {_bare(gate): gate for gate in (*callable_gates(), *COMPOSED)} | _SHORT
        gate = known.get(_bare(name))
        if gate is None:
            near = difflib.get_close_matches(name.lower(), gate_names(), 3) or gate_names()
            raise self.fail(f"There is no gate {name!r}; there is {', '.join(near)}.", at)
        self.take()
        inputs: list[Node] = []
        settings: list[tuple[str, float | int | bool]] = []
        while True:
            if self.tokens[self.i][0] == "name" and self.tokens[self.i + 1][1] == "=":
                settings.append(self.setting(gate))
            else:
                inputs.append(self.sum())
            if self.peek() != ",":
                break
            self.take()
        self.expect(")")
        wanted = COMPOSED.get(gate) or [p.name for p in callable_gates()[gate].signature.parameters]
        if len(inputs) != len(wanted):
            raise self.fail(f"{name} takes {len(wanted)} ({', '.join(wanted)}), not {len(inputs)}.", at)
        if gate == "dot":
            product = self.node(at, at, "mul", tuple(inputs), text=f"mul({inputs[0].text}, {inputs[1].text})")
            return self.node(at, at, "reduce_sum", (product,))
        if gate == "norm":
            square = self.node(at, at, "square", tuple(inputs), text=f"square({inputs[0].text})")
            total = self.node(at, at, "reduce_sum", (square,), text=f"sum({square.text})")
            return self.node(at, at, "sqrt", (total,))
        return self.node(at, at, gate, tuple(inputs), tuple(settings))

    def setting(self, gate: str) -> tuple[str, float | int | bool]:
        _, name, at = self.take()
        known = callable_gates()[gate].signature.settings if gate in callable_gates() else {}
        if name not in known:
            raise self.fail(f"{gate} has no setting {name!r}; it has {', '.join(known) or 'none'}.", at)
        self.take()
        value = self.sign()
        if value.number is None:
            raise self.fail(f"{name} must be a number.", value.at)
        default = known[name]
        if isinstance(default, float):
            return name, value.number
        if not value.number.is_integer():
            raise self.fail(f"{name} must be a whole number.", value.at)
        return name, bool(value.number) if isinstance(default, bool) else int(value.number)

    def node(
        self, start: int, at: int, gate: str, inputs: tuple[Node, ...], settings: tuple = (), text: str = ""
    ) -> Node:
        self.operations += 1
        if self.operations > LONGEST:
            raise self.fail(f"More than {LONGEST} operations.", at)
        return Node(text or self.text_from(start), at, gate=gate, inputs=inputs, settings=settings)

    def text_from(self, start: int) -> str:
        _, token, at = self.tokens[self.i - 1]
        return " ".join(self.text[start : at + len(token)].split())


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError(text, at, f"{text[at]!r} is not part of the language.")
        kind, token = found.lastgroup or "", found.group()
        if kind != "blank":
            yield kind, _ASCII.get(token, token), at
        at = found.end()
    yield "end", "", len(text)
    yield "end", "", len(text)
