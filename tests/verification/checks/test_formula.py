"""What a rule declares in NumPy is checked: another function is seen, and a unit that misses its limits at infinity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import jaxbackprop as jbp
from jaxbackprop.core.rule import Rule

CHECKS = ["declared_formula", "limits_at_infinity"]


def mish_formula(z):
    return z * np.tanh(np.log(1 + np.exp(z)))


def naive_mish(formula) -> Rule:
    def mish(z: Float[Array, "..."]) -> jbp.WithResiduals[Float[Array, "..."]]:
        return z * jnp.tanh(jax.nn.softplus(z)), z

    def mish_backward(z, upstream):
        t = jnp.tanh(jax.nn.softplus(z))
        return (t + z * (1 - t * t) * jax.nn.sigmoid(z)) * upstream

    made = Rule(mish, formula=formula)
    made.backward(mish_backward)
    return made


def test_a_unit_that_is_nan_where_it_tends_to_0_is_wrong():
    """Minus infinity times 0. At every finite number it is right, and so are its gradients."""
    found = jbp.verify(naive_mish(mish_formula), checks=CHECKS)
    assert [check.name for check in found.failures] == ["limits at infinity"]
    assert "value at -inf: expected 0, got nan" in found.failures[0].detail


def test_another_function_than_the_declared_one_is_wrong():
    found = jbp.verify(naive_mish(lambda z: 1.0001 * mish_formula(z)), checks=["declared_formula"])
    assert not found.passed
    assert "expected -0.180915, got -0.180897" in found.failures[0].detail


@pytest.mark.parametrize("name", ["silu", "exp", "sqrt", "sin", "matmul", "concatenate", "gather"])
def test_the_librarys_own_are_what_they_declare(name):
    assert jbp.verify(jbp.rules()[name], checks=CHECKS).passed


def test_a_rule_that_declares_nothing_promises_nothing_at_infinity():
    found = jbp.verify(naive_mish(None), checks=["gradient", *CHECKS])
    assert found.passed
    assert {check.name for check in found.checks} == {"gradient of z"}
