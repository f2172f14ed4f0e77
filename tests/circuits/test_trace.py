"""Gates, wires, names and boxes: what a program becomes."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from circuit_zoo import Block
from flax import linen, nnx

from jaxbackprop.circuits import trace
from jaxbackprop.core.rule import rule
from jaxbackprop.gates import mul, sigmoid


def paths(circuit) -> list[str]:
    return list(dict.fromkeys(" > ".join(gate.box.path) for gate in circuit.gates if gate.box))


def test_a_rule_is_one_gate_and_opens_into_its_primals_gates():
    merged = trace(lambda z: sigmoid(z), 1.0)
    assert [gate.name for gate in merged.gates] == ["sigmoid"]
    assert merged.gates[0].defined.rpartition(":")[0].endswith("sigmoid_like.py")
    opened = trace(lambda z: sigmoid(z), 1.0, open=("sigmoid",))
    assert [box.kind for box in opened.boxes] == ["rule"]
    assert {gate.kind for gate in opened.gates} == {"primitive"}
    assert float(opened.gradients["z"]) == np.float32(merged.gradients["z"])
    inside = merged.open(merged.gates[0])
    assert float(inside.gradients["z"]) == float(merged.wire("z").autodiff_gradient)


def test_jit_is_inlined():
    """Whatever a transfer guard says."""
    with jax.transfer_guard("disallow"):
        circuit = trace(jax.jit(lambda x: jax.jit(jnp.sin)(x) * 2), 1.0)
    assert [gate.name for gate in circuit.gates] == ["sin", "mul"]


def test_two_calls_of_one_jitted_function_are_told_apart():
    """They share their variables; sin(sin(x)) must not become sin(x) twice."""
    f = jax.jit(jnp.sin)
    circuit = trace(lambda x: f(f(x)), 0.5)
    assert float(circuit.value) == np.float32(np.sin(np.sin(0.5)))


def test_values_are_named_as_they_are_assigned_and_each_once():
    def f(x):
        y = x
        for _ in range(2):
            z = y * x + 1
            y = sigmoid(z)
        return y - 1

    names = [wire.name for wire in trace(f, 1.0).wires if wire.kind == "value"]
    assert names == ["mul", "z", "y", "mul_2", "z_2", "y_2", "output"]


def test_arguments_are_named_by_their_path():
    def f(params, *rest):
        return params["W"].sum() + rest[0] + rest[1][0]

    circuit = trace(f, {"W": jnp.ones(2)}, 1.0, [2.0])
    assert [wire.name for wire in circuit.arguments] == ["params['W']", "rest[0]", "rest[1][0]"]


def test_named_scopes_become_boxes_and_one_entered_again_is_another():
    def f(x):
        for _ in range(2):
            with jax.named_scope("outer"):
                with jax.named_scope("inner"):
                    x = jnp.sin(x)
                x = x * 2
            x = x + 1
        return x

    circuit = trace(f, 1.0)
    assert [box.path for box in circuit.boxes] == [("outer",), ("outer", "inner")] * 2
    assert [gate.box.name if gate.box else "" for gate in circuit.gates] == ["inner", "outer", ""] * 2


def test_nnx_modules_become_boxes_by_their_path():
    with jax.enable_x64(True):
        model = Block(nnx.Rngs(0))
    call = Block.__dict__["__call__"]
    x = np.ones((2, 4))
    with jax.enable_x64(True):
        circuits = [
            trace(lambda m, x: m(x).sum(), model, x),
            trace(lambda x: model(x).sum(), x),
            trace(model, x, upstream=x),
        ]
    for circuit in circuits:
        assert [p for p in paths(circuit) if "linears" in p] == ["Block > linears[0]", "Block > linears[1]"]
        assert "Block > norm" in paths(circuit)
    assert Block.__dict__["__call__"] is call


def test_modules_merged_inside_the_function_become_boxes():
    """Once: a call of the base class is no box in the box."""

    class Named(Block):
        def __call__(self, x):
            return super().__call__(x)

    with jax.enable_x64(True):
        graph, state = nnx.split(Named(nnx.Rngs(0)))
        circuit = trace(lambda state, x: nnx.merge(graph, state)(x).sum(), state, np.ones((2, 4)))
    assert {"Named", "Named > linears[0]", "Named > linears[1]", "Named > norm"} == set(paths(circuit))


def test_linen_modules_become_boxes():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(1)(linen.relu(linen.Dense(4, name="up")(x)))

    x = jnp.ones((2, 3))
    params = Net().init(jax.random.key(0), x)
    circuit = trace(lambda params, x: jnp.sum(cast(Any, Net().apply(params, x))), params, x)
    assert set(paths(circuit)) == {"Net", "Net > up", "Net > Dense_0"}


def test_equinox_modules_become_boxes():
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")

    class Net(eqx.Module):
        mlp: Any

        def __call__(self, x):
            return self.mlp(x).sum()

    net = Net(eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0)))
    params, static = eqx.partition(net, eqx.is_array)
    circuit = trace(lambda params, x: eqx.combine(params, static)(x), params, jnp.ones(3))
    assert set(paths(circuit)) == {"Net", "Net > mlp", "Net > mlp > layers[0]", "Net > mlp > layers[1]"}
    assert trace(lambda net, x: net(x), net, jnp.ones(3)).value == circuit.value


def test_a_lambda_does_not_take_the_name_of_what_its_line_assigns():
    traced = trace(lambda x: jnp.sin(x) * 2, 1.0)
    assert [wire.name for wire in traced.wires if wire.kind == "value"] == ["sin", "output"]


def test_functions_among_the_arguments_are_passed_on_as_they_are():
    circuit = trace(lambda model, x: model["activation"](model["w"] * x), {"activation": jnp.tanh, "w": 2.0}, 0.5)
    assert [wire.name for wire in circuit.arguments] == ["model['w']", "x"]
    assert float(circuit.gradients["x"]) == pytest.approx(2 * (1 - np.tanh(1.0) ** 2))


def test_haiku_modules_become_boxes():
    hk = pytest.importorskip("haiku", reason="haiku is not installed")
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([4, 1])(x).sum()))
    x = jnp.ones((2, 3))
    circuit = trace(net.apply, net.init(jax.random.key(0), x), x)
    assert set(paths(circuit)) == {"mlp", "mlp > linear_0", "mlp > linear_1"}


def test_a_scan_is_a_box_of_steps_and_a_long_one_a_single_gate():
    def loop(x):
        return jax.lax.scan(lambda c, t: (c * t, c), x, jnp.arange(1.0, 4))[0]

    circuit = trace(loop, 2.0)
    assert [box.name for box in circuit.boxes] == ["scan", "step 0", "step 1", "step 2"]
    assert [float(g.outputs[0].value) for g in circuit.gates if g.name == "mul"] == [2, 4, 12]
    folded = trace(loop, 2.0, unroll=2)
    assert [gate.name for gate in folded.gates if gate.kind == "opaque"] == ["scan"]
    assert folded.gradients["x"] == circuit.gradients["x"] == 6


def test_a_branch_is_a_box_that_says_which_one_was_taken():
    circuit = trace(lambda x: jax.lax.cond(x > 0, jnp.sin, jnp.cos, x), -1.0)
    (box,) = circuit.boxes
    assert (box.kind, box.note.partition(",")[0]) == ("cond", "branch 0 of 0 to 1")
    assert "cos" in [gate.name for gate in circuit.gates if gate.box is box]


def test_random_numbers_are_one_gate():
    circuit = trace(lambda x, key: x * jax.random.normal(key, ()), 2.0, jax.random.key(0))
    assert [gate.name for gate in circuit.gates] == ["normal", "mul"]


def test_a_gate_knows_the_line_that_called_it():
    circuit = trace(lambda x: jnp.sin(x), 1.0)
    assert circuit.gates[0].source.rpartition(":")[0].endswith("test_trace.py")


def test_a_gradient_has_the_dtype_of_its_wire():
    circuit = trace(lambda x: (x * x).sum().astype(jnp.float32), jnp.ones(3, jnp.bfloat16))
    dtypes = [(wire.gradient.dtype, wire.dtype) for wire in circuit.wires if wire.differentiable]
    assert all(gradient == value for gradient, value in dtypes)
    assert str(circuit.gradients["x"].dtype) == "bfloat16"


def test_a_float64_circuit_is_read_outside_its_precision():
    with jax.enable_x64(True):
        circuit = trace(lambda x, y: mul(x, y) + 0 * y, 1 / 3, 3.0)
    assert float(circuit.gates[0].local(1)) == 1 / 3
    assert "0.3333333333333333" in circuit.table(digits=None)


@pytest.mark.parametrize("kind", ["rule", "custom_vjp", "custom_jvp"])
def test_a_rule_that_closes_over_a_table_gives_that_no_gradient(kind: str):
    """As JAX, which differentiates a rule by its arguments only."""
    table = np.linspace(1, 2, 4).astype(np.float32)

    def scaled(x):
        return x * table

    if kind == "rule":
        fun: Any = rule(lambda x: (x * table, ()))
        fun.backward(lambda _, upstream: upstream * table)
    elif kind == "custom_vjp":
        fun = jax.custom_vjp(scaled)
        fun.defvjp(lambda x: (scaled(x), ()), lambda _, upstream: (upstream * table,))
    else:
        fun = jax.custom_jvp(scaled)
        fun.defjvp(lambda primals, tangents: (fun(*primals), tangents[0] * table))

    def loss(x):
        return (jax.lax.scan(lambda h, _: (fun(h), None), x, None, length=2)[0] ** 2).sum()

    x = np.arange(4, dtype=np.float32)
    circuit = trace(loss, x)
    assert circuit.culprit is None
    np.testing.assert_allclose(circuit.gradients["x"], jax.grad(loss)(x), rtol=1e-6)
    gate = next(gate for gate in circuit.gates if len(gate.inputs) == 2 and gate.verdict)
    np.testing.assert_allclose(gate.jacobian(0), np.zeros((4, 4)))
    np.testing.assert_allclose(gate.jacobian(1), np.diag(table))
    assert circuit.to_svg()
    assert circuit.health()


def test_a_thousand_equations_are_traced_and_drawn():
    def deep(Ws, x):
        for i, W in enumerate(Ws):
            with jax.named_scope(f"block {i // 10}"):
                x = jnp.tanh(x @ W) + x
        return x.sum()

    circuit = trace(deep, [jnp.eye(8) * 0.1 for _ in range(334)], jnp.ones((4, 8)))
    circuit.to_svg()
    assert len(circuit.gates) == 1003
