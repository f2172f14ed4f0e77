"""The numerical derivative is right within its own error bound, and the bound is small where it can be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted.formulas import by_hand

from jaxbackprop.verification import audit
from jaxbackprop.verification.oracles.finite_differences import scales, slopes

FUNCTIONS = {
    "sin": (np.sin, np.cos, 0.7),
    "exp": (np.exp, np.exp, 3.0),
    "log": (np.log, lambda x: 1 / x, 1e-6),
    "a high power": (lambda x: x**9, lambda x: 9 * x**8, 1.3),
    "large numbers": (lambda x: 1e8 + np.sin(x), np.cos, 0.4),
    "sqrt near zero": (np.sqrt, lambda x: 0.5 / np.sqrt(x), 1e-8),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_truth_lies_within_the_bound(name: str):
    fun, derivative, at = FUNCTIONS[name]
    x = np.array([at])
    found = slopes(fun, x, np.diag(scales(x, np.zeros(1, int))))
    value, bound = found.value[0, 0] / at, found.bound[0, 0] / at
    assert abs(value - derivative(at)) <= bound
    # Rounding of the values themselves cannot be extrapolated away.
    assert bound < 1e-6 * abs(derivative(at)) + 1e4 * np.finfo(float).eps * abs(fun(at)) / at
    assert not found.kinked.any()


def test_at_a_kink_both_sides_are_known():
    found = slopes(np.abs, np.zeros(1), np.ones((1, 1)))
    assert found.kinked.all()
    assert found.right[0, 0] == pytest.approx(1)
    assert found.left[0, 0] == pytest.approx(-1)


def test_beyond_the_edge_of_a_domain_only_one_side_is_known():
    found = slopes(lambda x: np.where(x < 0, np.nan, x * 2), np.zeros(1), np.ones((1, 1)))
    assert found.right[0, 0] == pytest.approx(2)
    assert not np.isfinite(found.left[0, 0])


def test_a_step_is_relative_to_the_number_it_moves():
    assert scales(np.array([1e-9, 2e-9, 5.0]), np.array([0, 0, 1])).tolist() == [1e-9, 2e-9, 5.0]


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (1.01, "wrong")])
def test_a_value_that_lies_on_steps_close_by_is_not_taken_for_constant(factor, verdict):
    """x / |v| by angles, as spherical harmonics are computed: sqrt(1 - y^2) is exact at the pole, beside it not."""

    def by_angles(v):
        y = v[1] / jnp.linalg.norm(v)
        return jnp.sqrt(jnp.maximum(1 - y**2, 0)) * jnp.sin(jnp.arctan2(v[0], v[2]))

    rule = by_hand(by_angles, lambda s, u: (factor * u * jax.grad(lambda v: v[0] / jnp.linalg.norm(v))(s[0]),))
    (site,) = audit(rule, np.array([0, 1, 0], np.float32), checks=["gradient"]).sites
    assert site.verdict == verdict
