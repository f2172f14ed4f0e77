"""The units that level off: published values, and what they remember."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import hard_tanh, sigmoid, softsign, tanh


def test_the_sigmoid_of_cs224n_and_its_gradient():
    """C2 of the published numbers: assignment 1, q2_sigmoid."""
    z = jnp.array([[1.0, 2.0], [-1.0, -2.0]])
    s, pull = jax.vjp(sigmoid, z)
    assert np.allclose(s, [[0.73105858, 0.88079708], [0.26894142, 0.11920292]], rtol=0, atol=1e-7)
    assert np.allclose(pull(jnp.ones_like(s))[0], [[0.19661193, 0.10499359]] * 2, rtol=0, atol=1e-7)


def test_the_merged_sigmoid_gate_of_cs231n():
    """At 1.0: value .73, local gradient (1 - .73) * .73 ~ .20."""
    a, pull = jax.vjp(sigmoid, 1.0)
    assert (round(float(a), 2), round(float(pull(1.0)[0]), 2)) == (0.73, 0.20)


def test_the_naive_sigmoid_is_nan_where_the_merged_one_is_not():
    assert jnp.isnan(jax.grad(lambda z: jnp.exp(z) / (1 + jnp.exp(z)))(1000.0))
    assert [float(jax.grad(sigmoid)(z)) for z in (-1000.0, 1000.0)] == [0, 0]


def test_the_slope_of_tanh_keeps_digits_that_one_minus_a_squared_loses():
    """At z = 8, a is two roundings from 1 in float32: 1 - a and 1 + a are exact, the square is not."""
    a = jnp.tanh(jnp.float32(5.0))
    exact = (1 - float(a)) * (1 + float(a))
    assert float(tanh.pull(a, jnp.float32(1), (a,), {})[0]) == pytest.approx(exact, rel=1e-7)
    assert float(1 - a * a) != pytest.approx(exact, rel=1e-7)


def test_hard_tanh_passes_what_lies_between_its_kinks_and_on_them():
    z = jnp.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    a, pull = jax.vjp(hard_tanh, z)
    assert a.tolist() == [-1, -1, 0.5, 1, 1]
    assert pull(jnp.array([2.0, 3.0, 5.0, 7.0, 11.0]))[0].tolist() == [0, 3, 5, 7, 0]


def test_softsign_of_the_largest_number_is_one_and_its_slope_zero():
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        largest = jnp.asarray(jnp.finfo(dtype).max, dtype)
        assert softsign(largest) == 1
        assert jax.grad(softsign)(-largest) <= 1 / jnp.square(largest.astype(jnp.float32))


@pytest.mark.parametrize(("unit", "bytes_a_number"), [(sigmoid, 4), (tanh, 4), (softsign, 4), (hard_tanh, 1)])
def test_a_unit_remembers_one_number_or_one_boolean(unit, bytes_a_number):
    saved = unit.forward(jnp.linspace(-2, 2, 10))[1]
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(saved)) == 10 * bytes_a_number
