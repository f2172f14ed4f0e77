"""The lectures' circuits, typed as they are written, give the lectures' numbers; anything else points at itself."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbackprop.circuits.drawing.format import equation, forward_formula
from jaxbackprop.circuits.expression.parser import ExpressionError, callable_gates
from jaxbackprop.circuits.expression.trace_expression import (
    parse,
    read_value,
    trace_expression,
)

NEURON = "1 / (1 + exp(-(w0*x0 + w1*x1 + w2)))"
NEURON_AT = {"w0": 2, "w1": -3, "w2": -3, "x0": -1, "x1": -2}


def gradients(circuit) -> dict[str, float]:
    return {name: float(value) for name, value in circuit.gradients.items()}


def test_the_first_circuit_of_the_lecture():
    """CS231n notes: f = (x + y) z at -2, 5, -4: q = 3, f = -12; df = 1, dq = -4, dz = 3, dx = dy = -4."""
    circuit = trace_expression("q = x + y; f = q * z", {"x": -2, "y": 5, "z": -4})
    assert {n: float(circuit.wire(n).value) for n in "qf"} == {"q": 3, "f": -12}
    assert {n: float(circuit.wire(n).gradient) for n in "qfxyz"} == {"f": 1, "q": -4, "z": 3, "x": -4, "y": -4}


def test_a_fork_and_a_router():
    """CS224n: f = (x + y) max(y, z) at 1, 2, 0: df/dx = 2, df/dy = 2 + 3 = 5, df/dz = 0."""
    circuit = trace_expression("(x + y) * max(y, z)", {"x": 1, "y": 2, "z": 0})
    assert float(circuit.value) == 6
    assert gradients(circuit) == {"x": 2, "y": 5, "z": 0}
    assert sorted(float(edge.gradient) for edge in circuit.wire("y").edges) == [2, 3]


def test_the_neuron_gate_by_gate_to_the_two_places_that_are_printed():
    """CS231n notes: every value and gradient of 1 / (1 + exp(-(w0 x0 + w1 x1 + w2)))."""
    circuit = trace_expression(NEURON, NEURON_AT)
    values = [float(gate.outputs[0].value) for gate in circuit.gates]
    assert [round(v, 2) for v in values] == [-2, 6, 4, 1, -1, 0.37, 1.37, 0.73]
    upstream = [float(gate.outputs[0].gradient) for gate in circuit.gates]
    assert [round(u, 2) for u in upstream] == [0.20, 0.20, 0.20, 0.20, -0.20, -0.53, -0.53, 1.00]
    printed = {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}
    assert {n: round(g, 2) for n, g in gradients(circuit).items()} == printed


@pytest.mark.parametrize("text", [NEURON, "sigmoid(w0*x0 + w1*x1 + w2)"])
def test_the_neuron_unrounded_and_with_the_sigmoid_merged(text):
    """Unrounded: 2 x .1966 = .3932, which a reader once mended to 2 x .20 = .40."""
    circuit = trace_expression(text, NEURON_AT)
    expected = {"w0": -0.1966119332, "x0": 0.3932238665, "w1": -0.3932238665, "x1": -0.5898357997, "w2": 0.1966119332}
    assert {n: round(g, 10) for n, g in gradients(circuit).items()} == expected
    assert round(float(circuit.value), 10) == 0.7310585786


def test_the_merged_sigmoid_has_the_local_gradient_of_the_lecture():
    """(1 - .73) x .73, about .20."""
    circuit = trace_expression("sigmoid(z)", {"z": 1})
    (gate,) = circuit.gates
    s = float(circuit.value)
    assert float(gate.local(0)) == pytest.approx((1 - s) * s, rel=1e-15)
    assert [g.name for g in circuit.open(gate).gates] != ["sigmoid"]


def test_a_circuit_of_four_kinds_of_gates():
    """CS231n notes: 2 (x y + max(z, w)) at 3, -4, 2, -1."""
    circuit = trace_expression("2 * (x*y + max(z, w))", {"x": 3, "y": -4, "z": 2, "w": -1})
    assert [float(gate.outputs[0].value) for gate in circuit.gates] == [-12, 2, -10, -20]
    assert [float(gate.outputs[0].gradient) for gate in circuit.gates] == [2, 2, 2, 1]
    assert gradients(circuit) == {"x": -8, "y": 6, "z": 2, "w": 0}


def test_a_vector_example_has_the_jacobian_of_its_matrix():
    """y = W x, upstream u: dx = W^T u; the Jacobian of matmul with respect to x is W."""

    W, x = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0], [-1.0], [2.0]]
    circuit = trace_expression("W @ x", {"W": W, "x": x}, upstream=[[1.0], [10.0]])
    assert circuit.wire("x").gradient.tolist() == [[41], [52], [63]]
    assert circuit.gates[0].jacobian(1).tolist() == W


def test_a_wire_is_named_as_it_is_written():
    circuit = trace_expression("(x + y) * z", {"x": 1, "y": 2, "z": 3})
    assert [w.name for w in circuit.wires if w.kind == "value"] == ["x + y", "f"]


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("x-(y-z)", "x − (y-z)"),
        ("x*(y+z)", "x × (y+z)"),
        ("1/(1+exp(-x))+y-z", "1 ÷ (1+exp(-x))"),
        ("-(x*y)+z", "−(x*y)"),
        ("(x-y)**2+z", "(x-y) ** 2"),
        ("x-2e-05*y+z", "2e-05 × y"),
    ],
)
def test_formulas_keep_their_brackets(text, formula):
    circuit = trace_expression(text, {"x": 0.5, "y": 2, "z": 3})
    printed = [forward_formula(gate) for gate in circuit.gates]
    assert formula in printed
    assert equation(circuit.gates[-1]) == f"f = {printed[-1]}"


def test_derivatives_of_formulas_are_bracketed():
    chain = trace_expression("(x+y)*z", {"x": 1, "y": 2, "z": 3}).table("chain")
    assert "∂(x+y)/∂x" in chain
    assert "∂x+y" not in chain


def test_what_is_printed_can_be_typed():
    again = trace_expression("x − (y-z) × 2 ÷ w^2", {"x": 1, "y": 2, "z": 5, "w": 2})
    assert float(again.value) == 2.5


@pytest.mark.parametrize("name", ["leaky_relu", "gates.leaky_relu", "LeakyReLU", "Leaky_ReLU"])
def test_a_gate_may_be_named_as_in_the_readme_or_as_in_papers(name):
    circuit = trace_expression(f"{name}(x - 3, negative_slope=0.5)", {"x": 1})
    assert float(circuit.value) == -1
    assert "leaky_relu(x - 3, negative_slope=0.5)" in circuit.table()


def test_a_vector_times_a_matrix_and_its_norms_have_the_gradients_of_paper():
    """W x with x a vector; |x| has the gradient x / |x|, x . y the gradient y, a mean one over n."""
    W, x, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([3.0, 4.0]), np.array([1.0, -1.0])
    product = trace_expression("sum(W @ x)", {"W": W, "x": x})
    assert product.wire("W @ x").value.tolist() == [11, 25]
    assert product.gradients["x"].tolist() == [4, 6]
    assert product.gradients["W"].tolist() == [[3, 4], [3, 4]]
    assert trace_expression("norm(x)", {"x": x}).gradients["x"].tolist() == pytest.approx([0.6, 0.8])
    assert trace_expression("dot(x, y)", {"x": x, "y": y}).gradients["x"].tolist() == [1, -1]
    assert trace_expression("x @ y", {"x": x, "y": y}).gradients["y"].tolist() == [3, 4]
    assert trace_expression("mean(x)", {"x": x}).gradients["x"].tolist() == [0.5, 0.5]
    with pytest.raises(ExpressionError, match="same shape"):
        trace_expression("W @ x", {"W": W, "x": [1.0, 2.0, 3.0]}, upstream=[1, 1])


def test_a_name_assigned_anew_is_another_value():
    """The second x + 1 is not the first one, though it reads the same."""
    circuit = trace_expression("a = x + 1; x = a * 2; a + (x + 1)", {"x": 1})
    assert float(circuit.value) == 7
    assert gradients(circuit) == {"x": 3}


def test_a_long_text_is_read_once():
    """Blanks that were looked at again for each token would take minutes here."""
    with pytest.raises(ExpressionError, match="not part"):
        parse("x" + " " * 3_000_000 + "+" * 200 + "$")


def test_the_same_part_is_one_wire():
    circuit = trace_expression("(x + y) * (x + y)", {"x": 1, "y": 2})
    assert len(circuit.gates) == 2
    assert gradients(circuit) == {"x": 6, "y": 6}


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("(x + ", 5, "the text ends"),
        ("x $ y", 2, "not part of the language"),
        ("foo(x)", 0, "There is no gate 'foo'"),
        ("sigmiod(x)", 0, "there is sigmoid"),
        ("x y", 2, "Expected an operator"),
        ("max(x)", 0, "max takes 2"),
        ("leaky_relu(x, slope=1)", 14, "has no setting 'slope'"),
        ("norm(x, axis=1)", 8, "norm has no setting 'axis'"),
        ("sum(x, axis=1e999)", 12, "axis must be a whole number"),
        ("sum(x, axis=0.5)", 12, "axis must be a whole number"),
        ("__import__('os')", 11, "not part of the language"),
        ("x.real", 1, "not part of the language"),
        ("x if y else z", 2, "Expected an operator"),
        ("x +* y", 3, "found '*'"),
        ("", 0, "the text ends"),
        ("(" * 101 + "x" + ")" * 101, 100, "Nested more than 100 deep"),
        ("+".join("x" * 300), 501, "More than 250 operations"),
    ],
)
def test_what_is_no_expression_is_pointed_at(text, at, why):
    with pytest.raises(ExpressionError, match=why.replace("(", r"\(").replace("*", r"\*")) as caught:
        parse(text)
    assert caught.value.at == at
    assert str(caught.value).splitlines()[-1] == " " * (2 + at) + "^"


def test_a_name_without_value_and_a_value_without_name_are_errors():
    with pytest.raises(ExpressionError, match="z has no value"):
        trace_expression("x + z", {"x": 1})
    with pytest.raises(ValueError, match="q does not occur"):
        trace_expression("x + 1", {"x": 1, "q": 2})


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="xy01.+-*/^@(),;= ae_'\"[]{}\n\\é", max_size=40))
def test_no_text_breaks_the_reader(text):
    """Whatever is typed is an expression or an ExpressionError that points inside the text."""
    at = 0
    try:
        parse(text)
    except ExpressionError as error:
        at = error.at
    assert 0 <= at <= len(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2", -2),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("8 / 4 / 2", 1),
        ("1 - 2 - 3", -4),
        ("2e-1 * 10", 2),
        ("cos(pi)", -1),
    ],
)
def test_operators_bind_as_in_arithmetic(text, value):
    circuit = trace_expression(f"x + ({text})", {"x": 0})
    assert float(circuit.value) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "value"), [("-2", -2.0), (".5", 0.5), ("[1, 2]", [1.0, 2.0]), ("[[1],[-.5]]", [[1.0], [-0.5]])]
)
def test_values_are_numbers_or_brackets(text, value):
    assert np.array_equal(read_value(text), value)


@pytest.mark.parametrize("text", ["__import__('os')", "1+1", "[1, [2]]", "'a'", "nan()", ""])
def test_values_are_never_evaluated(text):
    with pytest.raises(ValueError, match="neither a number"):
        read_value(text)


def test_every_unit_may_be_named():
    """One number in, one number out: each has the derivative that jax.grad gives for its primal."""
    units = {n: r for n, r in callable_gates().items() if [p.name for p in r.signature.parameters] in (["x"], ["z"])}
    scalar = {n: r for n, r in units.items() if r.signature.parameters[0].specs[0].fits_rank(0) and n != "reshape"}
    assert {"sigmoid", "tanh", "relu", "gelu", "exp", "square"} <= set(scalar)
    for name, rule in scalar.items():
        with jax.enable_x64(True):
            expected = float(jax.grad(lambda x, rule=rule: rule.primal(x))(0.7))
        assert float(trace_expression(f"{name}(x)", {"x": 0.7}).gradients["x"]) == pytest.approx(expected, rel=1e-12)
