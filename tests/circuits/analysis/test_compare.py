"""Gradients from paper, compared with a circuit: culprits are named, followers are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.circuits import trace

DEPTH = 12


def network(params, x):
    h = x
    for W in params:
        z = h @ W
        h = jnp.tanh(z)
    return jnp.sin(h).sum()


def by_paper(params, x, fault=None):
    """The whole backward pass in NumPy, float64; the delta of layer `fault` is doubled."""
    hs = [x]
    for W in params:
        hs.append(np.tanh(hs[-1] @ W))
    dh, found = np.cos(hs[-1]), {}
    for k in reversed(range(len(params))):
        delta = dh * (1 - hs[k + 1] ** 2) * (2 if k == fault else 1)
        found[f"z_{k + 1}" if k else "z"] = delta
        found[f"params[{k}]"] = hs[k].T @ delta
        dh = delta @ params[k].T
    return found | {"x": dh}


@pytest.fixture(scope="module")
def deep():
    rng = np.random.default_rng(0)
    params, x = [rng.normal(size=(5, 5)) * 0.5 for _ in range(DEPTH)], rng.normal(size=(3, 5))
    with jax.enable_x64(True):
        return trace(network, params, x), params, x


def test_right_gradients_pass(deep):
    circuit, params, x = deep
    checked = circuit.check(by_paper(params, x))
    assert checked.passed
    assert (checked.culprits, checked.followers) == ([], [])
    assert str(checked).startswith("25 of 25 gradients are right")


@pytest.mark.parametrize("fault", range(DEPTH))
def test_the_one_wrong_step_of_twelve_layers_is_named_and_nobody_else(deep, fault):
    """A doubled delta spoils every gradient below it: up to 25 wrong numbers, one culprit."""
    circuit, params, x = deep
    checked = circuit.check(by_paper(params, x, fault))
    assert checked.culprits == [f"z_{fault + 1}" if fault else "z"]
    assert len(checked.followers) == 2 * fault + 2
    (row,) = [row for row in checked.rows if row.verdict == "wrong"]
    assert row.hint == "constant factor 2"
    assert row.between[-1].name == "tanh"


def test_two_wrong_steps_are_both_named():
    circuit = trace(lambda x, y: jnp.sin(jnp.exp(x) * y), 0.3, 0.7)
    exact = {wire.name: float(wire.gradient) for wire in circuit.wires}
    consistent = exact | {"mul": -exact["mul"], "exp": -exact["exp"], "y": -3 * exact["y"], "x": -exact["x"]}
    assert circuit.check(consistent).culprits == ["mul", "y"]


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (lambda g: -g, "sign: minus the right one"),
        (lambda g: g / 4, "constant factor 0.25"),
        (lambda g: g.T, "transposed: it has shape (2, 3), expected (3, 2)"),
        (lambda g: g * 0, "the gradient is left out: it is zero"),
        (lambda g: g.sum(0), "it has shape (2,), expected (3, 2)"),
    ],
)
def test_a_simple_mistake_is_named(spoil, hint):
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
    circuit = trace(lambda W, x: jnp.tanh(x @ W).sum(), W, x)
    exact = np.asarray(circuit.gradients["W"])
    (row,) = circuit.check({"W": spoil(exact)}).rows
    assert (row.verdict, row.hint) == ("wrong", hint)


def network_of_two(x, W1, W2):
    z1 = x @ W1
    a1 = jax.nn.sigmoid(z1)
    z2 = a1 @ W2
    return (jnp.sin(z2) * z2).sum()


def test_formulas_are_checked_and_what_is_forgotten_is_named():
    rng = np.random.default_rng(0)
    circuit = trace(network_of_two, *(rng.normal(size=s) for s in ((4, 3), (3, 5), (5, 2))))
    right = {"W1": "x.T @ dz1", "W2": "a1^T dz2", "z1": "(dz2 @ W2.T) * a1 * (1 - a1)"}
    assert circuit.check(right).passed, circuit.check(right)
    (row,) = circuit.check({"z1": "dz2 @ W2.T"}).rows
    assert (row.verdict, row.hint) == ("wrong", "the factor a1 (1 - a1) is missing")
    forgotten = np.asarray(circuit.gradients["x"]) - np.asarray(circuit.wire("x").value)
    (row,) = circuit.check({"x": forgotten}).rows
    assert row.hint == "the term x is missing"
    with pytest.raises(ValueError, match="there is no dz3"):
        circuit.check({"W2": "a1.T @ dz3"})


def test_numbers_rounded_on_paper_pass_with_a_tolerance():
    """CS231n's neuron to two places: .39 is right, .40 (twice .20) is the trap."""
    circuit = trace(lambda w, x: jax.nn.sigmoid(w * x), 1.5, -1.0)
    exact = float(circuit.gradients["x"])
    rounded = round(exact, 2)
    assert not circuit.check({"x": rounded}).passed
    assert circuit.check({"x": rounded}, tolerance=0.02).passed
    assert not circuit.check({"x": rounded + 0.02}, tolerance=0.02).passed


def test_wires_are_found_by_their_last_name_and_by_assignment():
    def loss(params, x):
        hidden = jnp.tanh(x @ params["W1"])
        return (hidden @ params["W2"]).sum()

    circuit = trace(loss, {"W1": jnp.ones((2, 3)), "W2": jnp.ones(3)}, jnp.ones((4, 2)))
    assert circuit.wire("W1") is circuit.wire("params['W1']")
    assert circuit.wire("hidden").source is circuit.gate("tanh")
    with pytest.raises(KeyError, match="no wire is called W3; there are"):
        circuit.wire("W3")


def test_a_wire_without_gradient_cannot_be_compared():
    circuit = trace(lambda x, n: x * n, 2.0, 3)
    with pytest.raises(ValueError, match="n is int32 and has no gradient"):
        circuit.check({"n": 1})
