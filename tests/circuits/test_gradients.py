"""Every gradient of a circuit is exact: against jax.grad, and against a zero added to every wire."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from circuit_zoo import ZOO

from jaxbackprop.circuits import Circuit, trace
from jaxbackprop.circuits.model import Wire
from jaxbackprop.circuits.summary import is_inexact


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def same(found, expected) -> None:
    """Equal up to the rounding of float64, in units of the array's own size."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.isfinite(expected).all()
    size = np.abs(expected).max(initial=0.0) + 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e3 * np.finfo(np.float64).eps * size)


def tapped(circuit: Circuit) -> tuple[dict[int, jax.Array], jax.Array]:
    """The gradient of each wire, by adding a zero to it and differentiating the whole program once; and the output.

    Forward passes only: none of the circuit's own backward passes or sums is used.
    """
    floating = [w for w in circuit.wires if w.differentiable]
    (output_wire,) = [w for w in circuit.outputs if w.output_cotangent is not None]

    def run(taps):
        known = {w.id: w.value for w in circuit.wires if w.source is None}
        known = {i: v + taps[i] if i in taps else v for i, v in known.items()}
        for gate in circuit.gates:
            found = gate.operation.forward(*(known[w.id] for w in gate.inputs))
            for wire, value in zip(gate.outputs, found, strict=True):
                known[wire.id] = value + taps[wire.id] if wire.id in taps else value
        return jnp.sum(known[output_wire.id]), known[output_wire.id]

    zeros = {w.id: jnp.zeros(w.shape, w.dtype) for w in floating}
    (_, output), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(zeros)
    return gradients, output


def by_jax_grad(fun, args) -> dict[int, jax.Array]:
    """The gradient of each floating-point leaf of the arguments, by its position."""
    leaves, tree = jax.tree.flatten(args)
    floating = [i for i, x in enumerate(leaves) if is_inexact(x)]

    def of_floating(*values):
        full = list(leaves)
        for i, value in zip(floating, values, strict=True):
            full[i] = value
        return fun(*tree.unflatten(full))

    values = [jnp.asarray(leaves[i]) for i in floating]
    return dict(zip(floating, jax.jit(jax.grad(of_floating, tuple(range(len(floating)))))(*values), strict=True))


@pytest.mark.parametrize("name", ZOO)
def test_every_gradient_is_exact(name):
    """Of the arguments against jax.grad; of every wire against zero taps; the shares of each fork add up."""
    fun, args = ZOO[name]()
    circuit = trace(fun, *args)
    same(circuit.value, fun(*args))
    for i, gradient in by_jax_grad(fun, args).items():
        same(circuit.arguments[i].gradient, gradient)
    gradients, output = tapped(circuit)
    same(output, circuit.value)
    assert len(gradients) >= len(circuit.gates) / 3
    for wire_id, gradient in gradients.items():
        same(circuit.wires[wire_id].gradient, gradient)
    for wire in circuit.wires:
        if wire.differentiable and wire.edges:
            same(sum(wire.shares[1:], wire.shares[0]), wire.gradient)


def test_a_true_while_loop_has_the_gradient_of_the_same_steps_written_out():
    """jax.grad refuses a while loop; sin(sin(sin(x))) is what three steps compute."""

    def loop(x):
        return jax.lax.while_loop(lambda s: s[1] < 3, lambda s: (jnp.sin(s[0]), s[1] + 1), (x, 0))[0]

    circuit = trace(loop, 0.8)
    same(circuit.gradients["x"], jax.grad(lambda x: jnp.sin(jnp.sin(jnp.sin(x))))(0.8))
    assert [box.name for box in circuit.boxes] == ["while", "step 0", "step 1", "step 2"]


def test_a_long_while_loop_says_that_it_has_no_derivative():
    def loop(x):
        return jax.lax.while_loop(lambda s: s[1] < 99, lambda s: (jnp.sin(s[0]), s[1] + 1), (x, 0))[0]

    circuit = trace(loop, 0.8)
    assert np.isnan(circuit.gradients["x"])
    assert "no backward pass" in circuit.gate("while").note


def test_a_fork_shows_the_share_of_each_branch():
    """f = x y + x + sin x: the shares of x are y, 1 and cos x; a fork is an adder on the way back."""
    circuit = trace(lambda x, y: x * y + x + jnp.sin(x), 0.5, 3.0)
    shares = {edge.gate.name: edge.gradient for edge in circuit.wire("x").edges}
    assert shares == {"mul": 3.0, "add": 1.0, "sin": jnp.cos(0.5)}
    assert circuit.wire("x").gradient == 3.0 + 1.0 + jnp.cos(0.5)


def test_local_derivative_times_upstream_is_downstream():
    circuit = trace(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0)
    for gate in circuit.gates:
        for slot, edge in enumerate(gate.edges):
            assert gate.local(slot) * gate.upstream[0] == edge.gradient
    mul = circuit.gate("mul")
    assert [mul.local(0), mul.local(1)] == [-4, 3]


def test_an_upstream_gradient_enters_a_vector_output():
    """y = W x: dW = u x^T and dx = W^T u, for a random u."""
    rng = np.random.default_rng(0)
    W, x, u = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=3)
    circuit = trace(lambda W, x: W @ x, W, x, upstream=u)
    same(circuit.gradients["W"], np.outer(u, x))
    same(circuit.gradients["x"], W.T @ u)


def test_an_upstream_of_none_leaves_an_output_without_gradient():
    circuit = trace(lambda x: (x**2, jnp.sin(x), 3), 2.0, upstream=(1.0, None, None))
    assert circuit.gradients["x"] == 4


@pytest.mark.parametrize(
    ("upstream", "message"),
    [(None, "Say what gradient arrives"), ((1.0,), "upstream has 1 arrays, but 2"), ((1.0, 2.0), "has shape")],
)
def test_an_upstream_that_does_not_fit_is_refused(upstream, message):
    with pytest.raises(ValueError, match=message):
        trace(lambda x: (x.sum(), x), jnp.ones(3), upstream=upstream)


def test_a_wire_returned_twice_receives_both_upstream_gradients():
    def twice(x):
        y = jnp.sin(x)
        return y, y

    same(trace(twice, 0.3, upstream=(2.0, 5.0)).gradients["x"], 7 * np.cos(0.3))


def test_jax_versions_agree_on_kinds_of_wires():
    circuit = trace(lambda x, n: x * n + jnp.ones(3)[0], 2.0, 3)
    kinds = {wire.name: wire.kind for wire in circuit.wires if isinstance(wire, Wire) and wire.kind == "argument"}
    assert kinds == {"x": "argument", "n": "argument"}
    assert circuit.gradients["n"] is None
