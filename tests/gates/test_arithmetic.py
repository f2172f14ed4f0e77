"""The gates of arithmetic: published circuits, and the points where a derivative is 0, 1 or infinite."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbackprop.gates import add, cos, div, exp, log, mul, neg, power, reciprocal, relu, sin, sqrt, square, sub, tanh

number = jnp.asarray


def test_each_input_of_a_swapper_is_scaled_by_the_other():
    """f = (x + y) z at x = -2, y = 5, z = -4: CS231n's first circuit; the numbers are the lecture's."""
    f, pull = jax.vjp(lambda x, y, z: mul(add(x, y), z), -2.0, 5.0, -4.0)
    assert f == -12
    assert pull(1.0) == (-4, -4, 3)


def test_the_sigmoid_circuit_of_cs231n_gives_its_gradients_on_every_wire():
    """1 / (1 + exp(-(w0 x0 + w1 x1 + w2))); a tap of zero on each wire shows its gradient, the lecture gives 2 digits.

    dx0 is .39 there and not 2 * .20 = .40: unrounded it is 2 * 0.1966119332.
    """

    def circuit(w0, x0, w1, x1, w2, taps):
        products = add(add(mul(w0, x0), taps[0]), add(mul(w1, x1), taps[1]))
        dot = add(products, taps[2])
        score = add(add(dot, w2), taps[3])
        turned = add(neg(score), taps[4])
        powered = add(exp(turned), taps[5])
        raised = add(add(powered, number(1)), taps[6])
        return reciprocal(raised)

    inputs = (2.0, -1.0, -3.0, -2.0, -3.0)
    with jax.enable_x64(True):
        f, pull = jax.vjp(circuit, *inputs, [jnp.zeros(())] * 7)
        *gradients, wires = pull(jnp.ones(()))
    assert float(f) == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-15)
    assert np.round(wires, 2).tolist() == [0.20, 0.20, 0.20, 0.20, -0.20, -0.53, -0.53]
    assert np.round(gradients, 2).tolist() == [-0.20, 0.39, -0.39, -0.59, 0.20]
    published = [-0.1966119332, 0.3932238665, -0.3932238665, -0.5898357997, 0.1966119332]
    assert np.round(gradients, 10).tolist() == published


def test_a_product_is_a_swapper():
    """x y at 4, -3: CS231n gives -12, dx = -3, dy = 4."""
    assert jax.vjp(mul, 4.0, -3.0)[1](1.0) == (-3, 4)


def test_a_step_along_the_gradient_raises_the_loss_as_in_karpathys_lecture():
    """L = (a b + c) f at 2, -3, 10, -2: L = -8, and -7.286496 after a step of 0.01 along the gradient."""

    def loss(a, b, c, f):
        return mul(add(mul(a, b), c), f)

    with jax.enable_x64(True):
        start = (2.0, -3.0, 10.0, -2.0)
        value, gradient = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*start)
        assert value == -8
        assert gradient == (6, -4, -2, 4)
        after = loss(*(add(number(x), mul(number(0.01), g)) for x, g in zip(start, gradient, strict=True)))
        assert round(float(after), 6) == -7.286496


def test_a_neuron_has_the_gradients_of_karpathys_lecture():
    """o = tanh(x1 w1 + x2 w2 + b), whose b is chosen so that tanh' is one half."""
    with jax.enable_x64(True):
        o, pull = jax.vjp(
            lambda x1, x2, w1, w2, b: tanh(add(add(mul(x1, w1), mul(x2, w2)), b)),
            2.0,
            0.0,
            -3.0,
            1.0,
            6.8813735870195432,
        )
        assert float(o) == pytest.approx(0.7071067811865476, rel=1e-15)
        assert np.allclose(pull(jnp.ones(())), (-1.5, 0.5, 1, 0, 0.5), rtol=1e-15, atol=0)


def test_a_wire_used_twice_by_one_gate_gets_both_gradients():
    """b = a + a at a = 3: db/da = 2."""
    assert jax.grad(lambda a: add(a, a))(3.0) == 2


def test_micrograds_expression_has_the_gradients_its_readme_prints():
    """The numbers are those of the README, to the digits in which Python computes them."""

    def expression(a, b):
        c = add(a, b)
        d = add(mul(a, b), power(b, number(3)))
        c = add(c, add(c, number(1)))
        c = add(c, sub(add(add(number(1), c), number(0)), a))
        d = add(d, add(mul(d, number(2)), relu(add(b, a))))
        d = add(d, add(mul(number(3), d), relu(sub(b, a))))
        e = sub(c, d)
        f = square(e)
        g = div(f, number(2))
        return add(g, div(number(10), f))

    with jax.enable_x64(True):
        g, (da, db) = jax.value_and_grad(expression, (0, 1))(-4.0, 2.0)
    expected = (24.70408163265306, 138.83381924198252, 645.5772594752186)
    assert np.allclose((g, da, db), expected, rtol=4 * np.finfo(float).eps, atol=0)


@pytest.mark.parametrize(
    ("y", "value", "dx"),
    [(3.0, 0, 0), (1.5, 0, 0), (1.0, 0, 1), (0.5, 0, math.inf), (0.0, 1, 0), (-1.0, math.inf, -math.inf)],
)
def test_power_at_zero_has_the_derivative_of_that_power(y, value, dx):
    f, pull = jax.vjp(lambda x: power(x, y), 0.0)
    assert (f, pull(1.0)[0]) == (value, dx)


@pytest.mark.parametrize("y", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_zero_receives_nothing(y):
    assert jax.grad(power, argnums=1)(0.0, y) == 0


def test_the_mixed_second_derivative_of_power_is_right_at_exponent_zero():
    """d2/dx dy x^y = x^(y-1) (1 + y log x), which is 1/x at y = 0."""
    mixed = jax.grad(jax.grad(power, argnums=0), argnums=1)(4.0, 0.0)
    assert mixed == 0.25


def test_a_negative_base_has_whole_powers_and_no_derivative_by_the_exponent():
    f, pull = jax.vjp(power, -3.0, 2.0)
    dx, dy = pull(1.0)
    assert (f, dx) == (9, -6)
    assert jnp.isnan(dy)


def test_a_square_root_at_zero_has_an_infinite_slope():
    assert jax.grad(sqrt)(0.0) == math.inf


def test_the_gradient_of_a_reciprocal_does_not_overflow_on_the_way():
    """f^2 = 1e40 is no float32, but 1e-10 f^2 = 1e30 is."""
    dx = jax.vjp(reciprocal, 1e-20)[1](1e-10)[0]
    assert float(dx) == pytest.approx(-1e30, rel=1e-6)


@pytest.mark.parametrize("rule", [exp, log, sin, cos, sqrt, square, reciprocal], ids=lambda rule: rule.name)
def test_a_gate_of_one_input_has_the_derivative_that_50_digits_give(rule):
    """At most 4 roundings of the derivative, and of the argument where it is looked at through cos or sin."""
    formula = {"square": lambda x: x * x, "reciprocal": lambda x: 1 / x}.get(rule.name) or getattr(mpmath, rule.name)
    with jax.enable_x64(True), mpmath.workdps(50):
        for x in (1e-3, 0.3, 1.0, 2.75, 17.0):
            expected = mpmath.diff(formula, x)
            assert abs(float(jax.grad(rule)(x)) - expected) <= 4 * np.finfo(float).eps * abs(expected)


def test_the_gradient_of_a_bias_is_summed_in_float32():
    """4,096 gradients of 1 make 4096; in bfloat16 the sum would stick at 256, where 1 no longer counts."""
    x, b = jnp.zeros((4096, 2), jnp.bfloat16), jnp.zeros(2, jnp.bfloat16)
    out, pull = jax.vjp(add, x, b)
    assert pull(jnp.ones_like(out))[1].tolist() == [4096, 4096]
