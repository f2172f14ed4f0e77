"""Random expressions against an evaluator that shares nothing with ours: Python's own grammar over dual numbers."""

import math
import operator
import random

import numpy as np
import pytest

from jaxbackprop.circuits.drawing.format import forward_formula
from jaxbackprop.circuits.expression import parser
from jaxbackprop.circuits.expression.trace_expression import parse, trace_expression

AT = {"x": 0.7, "y": -1.3, "z": 2.1}


class Dual:
    """A value and its derivatives by x, y and z."""

    def __init__(self, value, slope):
        self.value, self.slope = value, slope

    def __add__(self, other):
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other):
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other):
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __truediv__(self, other):
        value = self.value / other.value
        return Dual(value, (self.slope - value * other.slope) / other.value)

    def __pow__(self, other):
        n = int(other.value)
        return Dual(self.value**n, n * self.value ** (n - 1) * self.slope)

    def __neg__(self):
        return Dual(-self.value, -self.slope)


def elementwise(value, derivative):
    return lambda x: Dual(value(x.value), derivative(x.value) * x.slope)


FUNCTIONS = {
    "tanh": elementwise(math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "sin": elementwise(math.sin, math.cos),
    "cos": elementwise(math.cos, lambda x: -math.sin(x)),
    "exp": elementwise(math.exp, math.exp),
    "sigmoid": elementwise(lambda x: 1 / (1 + math.exp(-x)), lambda x: math.exp(-x) / (1 + math.exp(-x)) ** 2),
    "relu": elementwise(lambda x: max(x, 0), lambda x: float(x > 0)),
    "max": lambda x, y: x if x.value > y.value else y,
    "min": lambda x, y: x if x.value < y.value else y,
    "number": lambda x: Dual(x, np.zeros(3)),
}


def random_expression(draw: random.Random, depth: int) -> tuple[str, str]:
    """The text as a reader types it, with as many brackets and blanks as chance gives, and the same for Python."""
    kind = draw.choice(["name", "number"] if depth == 0 else ["binary"] * 5 + ["power", "minus", "call", "bracket"])
    if kind == "name":
        name = draw.choice("xyz")
        return name, name
    if kind == "number":
        number = draw.choice(["1", "2", "0.5", "3.", "1e-1", "2e+0"])
        return number, f"number({number})"
    mine, python = random_expression(draw, depth - 1)
    if kind == "bracket":
        return f"({mine})", f"({python})"
    if kind == "minus":
        return f"-{mine}", f"-{python}"
    if kind == "power":
        n, sign = draw.choice("23"), draw.choice(["**", "^"])
        return f"({mine}){sign}{n}", f"({python})**number({n})"
    if kind == "call":
        name = draw.choice([f for f in FUNCTIONS if f not in ("max", "min", "number")])
        return f"{name}({mine})", f"{name}({python})"
    right, python_right = random_expression(draw, depth - 1)
    if draw.random() < 0.15:
        name = draw.choice(["max", "min"])
        return f"{name}({mine}, {right})", f"{name}({python}, {python_right})"
    sign, blank = draw.choice("+-*/"), draw.choice(["", " "])
    return f"{mine}{blank}{sign}{blank}{right}", f"{python}{sign}{python_right}"


def expressions(count: int, seed: int):
    """Random expressions whose value and derivatives are finite and of moderate size; with both of them."""
    draw = random.Random(seed)
    while count:
        text, python = random_expression(draw, draw.choice([1, 2, 2, 3]))
        names = {name: Dual(value, unit) for (name, value), unit in zip(AT.items(), np.eye(3), strict=True)}
        try:
            expected = eval(python, {"__builtins__": {}}, FUNCTIONS | names)
        except (ZeroDivisionError, OverflowError):
            continue
        if all(1e-6 < abs(s) < 1e6 or s == 0 for s in (expected.value, *expected.slope)):
            count -= 1
            yield text, expected


def value_of(node: parser.Node) -> float:
    """What our parser made of a text, computed by Python."""
    if node.number is not None:
        return node.number
    if node.name is not None:
        return AT[node.name]
    assert node.gate is not None
    inputs = [value_of(inner) for inner in node.inputs]
    if node.gate in OPERATORS:
        return OPERATORS[node.gate](*inputs)
    return FUNCTIONS[node.gate](*(Dual(x, np.zeros(3)) for x in inputs)).value


OPERATORS = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "power": operator.pow,
    "neg": operator.neg,
}  # fmt: skip


def disagreements(count: int, seed: int = 0) -> list[str]:
    """Where value, gradients or what a printed formula gives differ from the independent evaluator's."""
    found = []
    for text, expected in expressions(count, seed):
        names = parse(text).names
        circuit = trace_expression(text, {name: AT[name] for name in names})
        gradients = [float(circuit.gradients[name]) if name in names else 0.0 for name in AT]
        if float(circuit.value) != pytest.approx(expected.value, rel=1e-9):
            found.append(f"{text}: {circuit.value}, expected {expected.value}")
        if gradients != pytest.approx(list(expected.slope), rel=1e-7, abs=1e-9):
            found.append(f"{text}: gradients {gradients}, expected {expected.slope}")
        for gate in circuit.gates:
            printed = forward_formula(gate, 10_000)
            ((_, again),), _ = parser.parse(printed)
            value = value_of(again)
            if value != pytest.approx(float(gate.outputs[0].value), rel=1e-9):
                found.append(f"{text}: prints {printed}, which is {value}")
    return found


def test_random_expressions_are_read_as_python_reads_them():
    for text, expected in expressions(1000, 0):
        ((_, node),), _ = parser.parse(text)
        assert value_of(node) == pytest.approx(expected.value, rel=1e-9), text


def test_random_circuits_have_the_values_and_gradients_of_an_independent_evaluator():
    """And each gate's printed formula, read again, gives the gate's value."""
    assert disagreements(80) == []
