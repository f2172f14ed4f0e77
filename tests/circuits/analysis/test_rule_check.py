"""A wrong rule is named wherever it is planted, and nobody else; rules that are right are not accused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbackprop.layers
import jaxbackprop.losses  # noqa: F401 (both register rules)
from jaxbackprop.circuits import trace
from jaxbackprop.core.example_inputs import examples
from jaxbackprop.core.rule import rule, rules
from jaxbackprop.gates import relu, tanh
from jaxbackprop.layers import affine
from jaxbackprop.verification import audit

DEPTH = 12
WRONG = {
    "sign of x": affine.with_backward(lambda s, d: _affine(s, d, dx=-1)),
    "one percent in W": affine.with_backward(lambda s, d: _affine(s, d, dW=1.01)),
    "bias averaged": affine.with_backward(lambda s, d: _affine(s, d, db=0.25)),
}
WRONG_UNITS = {
    "passes everything": (relu, relu.with_backward(lambda alive, d: d)),
    "forgets to square": (tanh, tanh.with_backward(lambda a, d: d * (1 - a))),
}


def _affine(saved, delta, dx=1.0, dW=1.0, db=1.0):
    x, W = saved[0], saved[1]
    return dx * (delta @ W.T), dW * (x.T @ delta), db * delta.sum(0)


def network(params, x, units, layers):
    h = x
    for (W, b), unit, layer in zip(params, units, layers, strict=True):
        h = unit(layer(h, W, b))
    return jnp.sin(h + 1).sum()


def arguments(dtype):
    rng = np.random.default_rng(0)
    params = [
        (jnp.asarray(rng.normal(size=(6, 6)) * 0.6, dtype), jnp.asarray(rng.normal(size=6) * 0.1, dtype))
        for _ in range(DEPTH)
    ]
    return params, jnp.asarray(rng.normal(size=(4, 6)), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fault", WRONG)
def test_one_wrong_layer_of_twelve_is_named_in_each_position(fault, dtype):
    with jax.enable_x64(dtype == "float64"):
        params, x = arguments(dtype)
        for k in range(DEPTH):
            layers = [affine] * k + [WRONG[fault]] + [affine] * (DEPTH - k - 1)
            circuit = trace(lambda p, x, layers=layers: network(p, x, [tanh] * DEPTH, layers), params, x)
            affines = [gate for gate in circuit.gates if gate.name == "affine"]
            assert circuit.wrong == [affines[k]]
            assert circuit.culprit is affines[k]


@pytest.mark.parametrize("fault", WRONG_UNITS)
def test_one_wrong_unit_of_twelve_is_named_in_each_position(fault):
    right, wrong = WRONG_UNITS[fault]
    params, x = arguments("float32")
    for k in range(DEPTH):
        units = [right] * k + [wrong] + [right] * (DEPTH - k - 1)
        circuit = trace(lambda p, x, units=units: network(p, x, units, [affine] * DEPTH), params, x)
        assert circuit.wrong == [[gate for gate in circuit.gates if gate.name == right.name][k]]


def test_two_wrong_rules_are_both_named_the_one_nearer_the_output_first():
    params, x = arguments("float32")
    layers = [WRONG["sign of x"] if k in (2, 9) else affine for k in range(DEPTH)]
    circuit = trace(lambda p, x: network(p, x, [tanh] * DEPTH, layers), params, x)
    affines = [gate for gate in circuit.gates if gate.name == "affine"]
    assert circuit.wrong == [affines[9], affines[2]]


def test_a_wrong_rule_inside_a_scan_is_named_step_by_step_and_as_a_whole():
    wrong = WRONG_UNITS["forgets to square"][1]

    def loop(x, n):
        return jax.lax.scan(lambda c, _: (wrong(c) + 0.1, None), x, None, length=n)[0]

    assert [gate.name for gate in trace(lambda x: loop(x, 3), 0.5).wrong] == ["tanh"] * 3
    assert [gate.name for gate in trace(lambda x: loop(x, 100), 0.5).wrong] == ["scan"]


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (-u * jnp.cos(x),))


@pytest.mark.parametrize("steps", [64, 65, 100, 101])
def test_errors_of_a_loops_steps_do_not_cancel(steps):
    """A hundred turned signs are none: the gradient of the whole loop is right, the rule in it is wrong."""

    def loop(x):
        return jax.lax.scan(lambda c, _: (sine(c) + 0.1, None), x, None, length=steps)[0]

    circuit = trace(loop, 0.5)
    assert (circuit.gradients["x"] == circuit.arguments[0].autodiff_gradient) == (steps % 2 == 0)
    assert circuit.culprit is not None
    assert circuit.culprit.name == ("sine" if steps <= 64 else "scan")
    assert circuit.culprit.defined.rpartition(":")[0].endswith("test_rule_check.py")
    assert steps <= 64 or circuit.culprit.detail.startswith("sine in it is wrong: gradient of")
    assert len(circuit.wrong) == (steps if steps <= 64 else 1)
    assert [site.verification.passed for site in audit(loop, 0.5).sites if site.verification] == [False]


@pytest.mark.parametrize("steps", [3, 100])
def test_a_wrong_rule_inside_a_while_loop_is_named(steps):
    def loop(x):
        return jax.lax.while_loop(lambda s: s[1] < steps, lambda s: (sine(s[0]), s[1] + 1), (x, 0))[0]

    circuit = trace(loop, 0.5)
    assert circuit.culprit is not None
    assert circuit.culprit.name == ("sine" if steps == 3 else "while")


def test_right_rules_in_a_long_loop_are_not_accused():
    def loop(W, x):
        return jax.lax.scan(lambda h, _: (tanh(affine(h, W, h[0])), None), x, None, length=80)[0].sum()

    rng = np.random.default_rng(0)
    circuit = trace(loop, jnp.asarray(rng.normal(size=(3, 3)), jnp.float32), jnp.ones((2, 3)))
    assert [(gate.name, gate.verdict) for gate in circuit.gates if gate.kind == "opaque"] == [("scan", "agrees")]


def test_someone_elses_custom_vjp_is_judged_too():
    @jax.custom_vjp
    def half(x):
        return jnp.sin(x)

    half.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (u * jnp.cos(x) / 2,))
    circuit = trace(lambda x: half(x) ** 2, 0.7)
    assert circuit.culprit is not None
    assert circuit.culprit.name.endswith("half")
    assert circuit.culprit.defined.rpartition(":")[0].endswith("test_rule_check.py")


def test_two_rules_that_share_a_backward_pass_are_told_apart_by_what_they_save():
    """The second one saves the wrong thing: a compiled pull of the first must not stand in for it."""

    def back(saved, u):
        return (u * saved,)

    def make(save):
        f = jax.custom_vjp(lambda x: x**2)
        f.defvjp(lambda x: (x**2, save(x)), back)
        return f

    assert trace(make(lambda x: 2 * x), 3.0).culprit is None
    assert trace(make(lambda x: x), 3.0).culprit is not None


def test_a_tie_is_a_kink_and_no_fault():
    circuit = trace(lambda z: relu(z).sum(), jnp.array([-1.0, 0.0, 2.0]))
    assert (circuit.gates[0].verdict, circuit.wrong) == ("kink", [])
    wrong = relu.with_backward(lambda alive, d: 3 * d)
    assert trace(lambda z: wrong(z).sum(), jnp.array([-1.0, 0.0, 2.0])).gates[0].verdict == "wrong"


def test_where_autodiff_itself_breaks_nobody_is_accused():
    @rule
    def norm(x):
        n = jnp.sqrt((x**2).sum())
        return n, (x, n)

    @norm.backward
    def norm_backward(saved, upstream):
        x, n = saved
        return upstream * x / jnp.where(n == 0, 1, n)

    circuit = trace(lambda x: norm(x), jnp.zeros(3))
    assert (circuit.gates[0].verdict, circuit.wrong) == ("undecided", [])
    assert np.isnan(circuit.wire("x").autodiff_gradient).all()
    assert (circuit.wire("x").gradient == 0).all()


@pytest.mark.parametrize("name", list(rules())[::3])
def test_no_rule_of_the_library_is_accused(name):
    """A third of them, at the first example in float32, under a random upstream gradient."""
    made = rules()[name]
    example = examples(made)[0]
    args = example.cast(jnp.float32)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda *a: made.bound(example.settings)(*a), *args)
    upstream = jax.tree.map(
        lambda s: np.asarray(rng.normal(size=s.shape), s.dtype) if s.dtype == np.float32 else None, shapes
    )
    circuit = trace(lambda *a: made(*a, **example.settings), *args, upstream=upstream)
    assert [gate.detail for gate in circuit.wrong] == []


@jax.custom_jvp
def cosine(x):
    return jnp.cos(x)


cosine.defjvp(lambda primals, tangents: (cosine(*primals), -1.1 * jnp.sin(primals[0]) * tangents[0]))


@pytest.mark.parametrize("rule", [sine, cosine])
def test_a_wrong_rule_inside_a_derivative_is_named_at_the_gates_that_it_is_made_of(rule):
    """A jitted step takes the gradient itself; the rule is no gate in it any more."""

    def step(w):
        gradient = jax.grad(lambda w: (rule(w) * tanh(w)).sum())(w)
        return w - 0.1 * gradient

    for fun in (jax.jit(step), lambda w: jax.lax.scan(lambda w, _: (step(w), None), w, None, length=70)[0]):
        circuit = trace(fun, jnp.array([0.3, 1.2]), upstream=jnp.ones(2))
        assert circuit.culprit is not None
        name, place = rule.__name__, circuit.culprit.defined.rpartition(":")[0]
        assert circuit.culprit.detail.startswith(f"part of the derivative of {name}, which is wrong: gradient of x")
        assert place.endswith("test_rule_check.py")
        assert {gate.defined for gate in circuit.wrong} == {circuit.culprit.defined}


def test_a_step_of_right_rules_has_no_culprit():
    step = jax.jit(lambda w: w - 0.1 * jax.grad(lambda w: tanh(w).sum())(w))
    assert trace(step, jnp.array([0.3, 1.2]), upstream=jnp.ones(2)).culprit is None
