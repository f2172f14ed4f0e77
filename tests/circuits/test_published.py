"""Every circuit case of the published numbers: inputs and results as courses print them."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import max as max_gate
from jaxbackprop.gates import mul, tanh

MICROGRAD = (
    "c = a + b; d = a*b + b**3; c2 = c + (c + 1); c3 = c2 + (1 + c2 + (-a)); d2 = d + (d*2 + relu(b + a));"
    "d3 = d2 + (3*d2 + relu(b - a)); e = c3 - d3; f = e**2; g = f/2 + 10/f"
)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_a5_a_multiplication_and_a_maximum():
    circuit = trace(lambda x, y: mul(x, y), 4.0, -3.0)
    assert (float(circuit.value), [float(g) for g in circuit.gradients.values()]) == (-12, [-3, 4])
    assert [float(g) for g in trace(lambda x, y: max_gate(x, y), 4.0, 2.0).gradients.values()] == [1, 0]


def test_a6_the_expression_of_micrograds_readme():
    circuit = trace_expression(MICROGRAD, {"a": -4, "b": 2})
    assert float(circuit.value) == pytest.approx(24.70408163265306, rel=1e-14)
    assert float(circuit.gradients["a"]) == pytest.approx(138.83381924198252, rel=1e-14)
    assert float(circuit.gradients["b"]) == pytest.approx(645.5772594752186, rel=1e-14)
    assert (f"{circuit.value:.4f}", f"{circuit.gradients['a']:.4f}", f"{circuit.gradients['b']:.4f}") == (
        "24.7041", "138.8338", "645.5773",
    )  # fmt: skip


def test_a7a_one_step_along_the_gradient_raises_the_output_as_printed():
    text, at = "(a*b + c) * f", {"a": 2.0, "b": -3.0, "c": 10.0, "f": -2.0}
    circuit = trace_expression(text, at)
    gradient = {name: float(g) for name, g in circuit.gradients.items()}
    assert (float(circuit.value), gradient) == (-8, {"a": 6, "b": -4, "c": -2, "f": 4})
    stepped = trace_expression(text, {name: value + 0.01 * gradient[name] for name, value in at.items()})
    assert float(stepped.value) == pytest.approx(-7.286496, abs=5e-7)


def test_a7b_a_neuron_whose_gradients_are_round():
    at = {"x1": 2, "x2": 0, "w1": -3, "w2": 1, "b": 6.8813735870195432}
    circuit = trace_expression("n = x1*w1 + x2*w2 + b; o = tanh(n)", at)
    assert float(circuit.wire("n").value) == pytest.approx(0.8813735870195432, rel=1e-15)
    assert float(circuit.value) == pytest.approx(0.7071067811865476, rel=1e-15)
    expected = {"n": 0.5, "b": 0.5, "x1": -1.5, "w1": 1.0, "x2": 0.5, "w2": 0.0}
    assert {name: float(circuit.wire(name).gradient) for name in expected} == pytest.approx(expected, rel=1e-14)
    assert tanh.name in {gate.name for gate in circuit.gates}


def test_a7c_a_wire_used_twice_by_one_gate_gets_both_shares():
    circuit = trace(lambda a: a + a, 3.0)
    (gate,) = circuit.gates
    assert [float(edge.gradient) for edge in gate.edges] == [1, 1]
    assert float(circuit.gradients["a"]) == 2


def test_a8_the_shapes_of_a_matrix_product_line_up():
    rng = np.random.default_rng(0)
    W, X, dD = rng.normal(size=(5, 10)), rng.normal(size=(10, 3)), rng.normal(size=(5, 3))
    circuit = trace(lambda W, X: W @ X, W, X, upstream=dD)
    np.testing.assert_allclose(circuit.gradients["W"], dD @ X.T, rtol=1e-13)
    np.testing.assert_allclose(circuit.gradients["X"], W.T @ dD, rtol=1e-13)
    assert "delta [5, 3] times X^T [3, 10]" in circuit.table()
    assert "W^T [10, 5] times delta [5, 3]" in circuit.table()


def cross_entropy(scores, label):
    return -jax.nn.log_softmax(scores)[label]


def hinge(scores, label, delta):
    margins = jnp.maximum(0, scores - scores[label] + delta)
    return margins.sum() - delta


def test_a9_hinge_softmax_and_penalty():
    assert float(trace(lambda s: hinge(s, 0, 10.0), jnp.array([13.0, -7, 11])).value) == 8
    for scores, printed in (([1.0, -2, 0], [0.7, 0.04, 0.26]), ([0.5, -1, 0], [0.55, 0.12, 0.33])):
        upstream = jnp.array([0.1, 0.2, 0.3])
        p = trace(jax.nn.softmax, jnp.array(scores), upstream=upstream).value
        assert np.abs(p - np.array(printed)).max() < 0.011  # as printed: .7 for .706, .55 for .547
    gradient = trace(lambda s: cross_entropy(s, 1), jnp.log(jnp.array([0.2, 0.3, 0.5]))).gradients["s"]
    np.testing.assert_allclose(gradient, [0.2, -0.7, 0.5], rtol=1e-14)
    for w, penalty in (([1.0, 0, 0, 0], 1.0), ([0.25] * 4, 0.25)):
        circuit = trace(lambda w: (w**2).sum(), jnp.array(w))
        assert float(circuit.value) == penalty
        np.testing.assert_array_equal(circuit.gradients["w"], 2 * np.array(w))


def test_a10_losses_of_ten_equal_scores():
    scores = jnp.zeros(10)
    assert round(float(trace(lambda s: cross_entropy(s, 3), scores).value), 4) == 2.3026
    assert float(trace(lambda s: hinge(s, 3, 1.0), scores).value) == 9


def spiral() -> tuple[np.ndarray, np.ndarray]:
    """CS231n's three spirals, with the legacy generator at seed 0."""
    np.random.seed(0)
    X, y = np.zeros((300, 2)), np.repeat(np.arange(3), 100)
    for j in range(3):
        r = np.linspace(0.0, 1, 100)
        t = np.linspace(j * 4, (j + 1) * 4, 100) + np.random.randn(100) * 0.2
        X[100 * j : 100 * (j + 1)] = np.c_[r * np.sin(t), r * np.cos(t)]
    return X, y


def spiral_loss(params, X, y):
    h, penalty = X, 0.0
    for k, (W, b) in enumerate(params):
        h = h @ W + b
        h = jnp.maximum(h, 0) if k + 1 < len(params) else h
        penalty += 0.5e-3 * (W**2).sum()
    return -jax.nn.log_softmax(h)[jnp.arange(len(y)), y].mean() + penalty


@pytest.mark.parametrize(
    ("hidden", "steps", "before", "after"), [((), 190, 1.096919, 0.786302), ((100,), 9000, 1.098637, 0.244983)]
)
def test_a11_the_spiral_is_learned_along_gradients_that_are_the_circuits(hidden, steps, before, after):
    """Full-batch steps of 1 with penalty 1e-3; the course prints 1.096956 to .786302 and 1.098744 to .245292."""
    X, y = spiral()
    sizes = (2, *hidden, 3)
    params = [(jnp.asarray(0.01 * np.random.randn(i, o)), jnp.zeros(o)) for i, o in pairwise(sizes)]
    gradient = jax.jit(jax.grad(spiral_loss))
    train = jax.jit(
        lambda p: jax.lax.fori_loop(0, steps, lambda _, p: jax.tree.map(lambda w, g: w - g, p, gradient(p, X, y)), p)
    )
    for at, loss in ((params, before), (train(params), after)):
        circuit = trace(spiral_loss, at, X, y)
        assert float(circuit.value) == pytest.approx(loss, abs=1e-3 if not hidden else 2e-3)
        for wire, expected in zip(circuit.arguments, jax.tree.leaves(gradient(at, X, y))):
            np.testing.assert_allclose(wire.gradient, expected, rtol=1e-9, atol=1e-14)
