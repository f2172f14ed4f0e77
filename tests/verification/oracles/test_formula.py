"""A formula in NumPy is evaluated in many digits; its limits are found; a unit that misses them is seen."""

from math import inf

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jaxtyping import Array, Float

from jaxbackprop.core.rule import Rule, WithResiduals
from jaxbackprop.gates import relu, softmax, sub, transpose
from jaxbackprop.verification.oracles.formula import Limits, derivative, elementwise, limits, limits_of


def test_a_formula_in_numpy_has_as_many_digits_as_are_wanted():
    naive = derivative(lambda z: np.log(1 + np.exp(z)), -300.0, 0, 300)
    with mpmath.workdps(50):
        assert mpmath.almosteq(naive, mpmath.exp(-300), rel_eps=mpmath.mpf(10) ** -45)
        slope = derivative(lambda z: np.where(z > 0, z, 2 * np.tanh(z) - 1), -0.5, 1, 50)
        assert mpmath.almosteq(slope, 2 * mpmath.sech(-0.5) ** 2, rel_eps=mpmath.mpf(10) ** -40)


@pytest.mark.parametrize(
    ("formula", "value", "slope"),
    [
        (lambda z: z * np.tanh(np.log(1 + np.exp(z))), (0, inf), (0, 1)),
        (lambda z: np.maximum(z, 0) ** 2, (0, inf), (0, inf)),
        (np.square, (inf, inf), (-inf, inf)),
        (np.sqrt, (None, inf), (None, 0)),
        (np.sin, (None, None), (None, None)),
        (np.log, (None, None), (None, 0)),  # it grows too slowly to tell
    ],
    ids=["mish", "squared relu", "square", "sqrt", "sin", "log"],
)
def test_limits_are_found(formula, value, slope):
    assert limits(formula) == Limits(value, slope)


def naive_mish(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    return z * jnp.tanh(jax.nn.softplus(z)), z


def test_a_unit_that_is_nan_at_infinity_is_seen_with_a_formula_and_without():
    """Minus infinity times 0 is NaN; the limit is 0."""
    declared = Rule(naive_mish, formula=lambda z: z * np.tanh(np.log(1 + np.exp(z))))
    assert jnp.isnan(declared(jnp.float32(-inf)))
    for made in (declared, Rule(naive_mish)):
        found = limits_of(made, {})
        assert found.value == (0, inf)
        assert found.slope == (0, 1)


def test_only_what_acts_on_each_number_alone_has_such_limits():
    assert elementwise(relu, {})
    assert not elementwise(transpose, transpose.signature.settings)
    assert not elementwise(softmax, softmax.signature.settings)
    assert not elementwise(sub, {})
