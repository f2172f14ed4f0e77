"""Every unit of one array beside many digits of its formula, from minus infinity to infinity and in every precision.

Nothing is listed here: a new unit in `relu_like` or `sigmoid_like` is tested by its own declarations.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbackprop.core.rule import Rule, rules
from jaxbackprop.gates import relu_like, sigmoid_like
from jaxbackprop.verification.oracles.formula import NEAR, derivative, elementwise, limits

MODULES = relu_like.__name__, sigmoid_like.__name__
UNITS = {
    name: rule for name, rule in rules().items() if rule.__module__ in MODULES and len(rule.signature.parameters) == 1
}
"""The units of one array. `prelu` alone takes two, and is tested in test_relu_like."""
SETTINGS = [
    pytest.param(name, rule.signature.settings | dict(settings), id=f"{name}{dict(settings) or ''}")
    for name, rule in UNITS.items()
    for settings in ({}, *rule.example_settings)
]
DTYPES = [jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16]
POINTS = [1e-6, 1e-3, 0.11, 0.3, 0.95, 1.9, 4.5, 9.0, 16.0, 30.0, 39.0, 41.0, 80.0, 200.0, 700.0, 999.0, 1001.0, 1e4]


def formula_of(name: str, settings: Mapping[str, Any]) -> Callable:
    formula = UNITS[name].formula
    assert formula is not None, f"{name}: declare its formula in NumPy, @rule(formula=...)"
    return partial(formula, **settings)


def test_the_units_are_there():
    known = {
        "elu",
        "gelu",
        "hard_tanh",
        "leaky_relu",
        "relu",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "softsign",
        "tanh",
    }
    assert known <= set(UNITS)
    assert all(elementwise(rule, rule.signature.settings) for rule in UNITS.values())


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_the_signature_that_models_rely_on(name):
    (only,) = UNITS[name].signature.parameters
    assert only.name == "z"
    assert [str(spec) for spec in only.specs] == ["(...,)"]


AS_XLA_DOES = {"xla_cpu_use_fusion_emitters": True} if jax.__version_info__ < (0, 11) else {}
"""The code that XLA makes by default, whose digits are meant, and not what the tests tell it to make."""


def value_and_slope(unit: Callable, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    @partial(jax.jit, compiler_options=AS_XLA_DOES)
    def both(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        a, pull = jax.vjp(unit, z)
        return a, pull(jnp.ones_like(a))[0]

    a, slope = both(points)
    return np.asarray(a, np.float64), np.asarray(slope, np.float64)


def saves_only_its_output(rule: Rule, settings: Mapping[str, Any]) -> bool:
    """A slope computed from a saved output inherits the resolution of that output."""
    value, residuals = rule.forward(jnp.ones(2), **settings)
    return residuals is value


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_unit_and_its_slope_have_the_digits_of_their_dtype(name, settings, dtype):
    """Within 8 units in the last place of the number, and 8 of what one such unit of z makes of it.

    What is below the smallest normal number may be 0.
    """
    formula = formula_of(name, settings)
    u, tiny = float(jnp.finfo(dtype).eps), float(jnp.finfo(dtype).tiny)
    points = np.array([s * p for s in (-1, 1) for p in POINTS]).astype(dtype)
    with jax.enable_x64(dtype == jnp.float64):
        actual = value_and_slope(partial(UNITS[name], **settings), points)
    resolution = 2 * u if saves_only_its_output(UNITS[name], settings) else 0
    for i, z in enumerate(points.astype(np.float64)):
        digits = 400 if abs(z) > 40 else 50  # beyond 40 a slope may be 1e-308
        exact = [derivative(formula, z, order, digits) for order in (0, 1, 2)]
        for order, what in enumerate(("value", "slope")):
            if abs(exact[order]) > float(jnp.finfo(dtype).max):
                assert actual[order][i] == np.sign(float(exact[order])) * inf
                continue
            allowed = 8 * u * (abs(exact[order]) + abs(z * exact[order + 1])) + tiny + order * resolution
            difference = abs(mpmath.mpf(actual[order][i]) - exact[order])
            assert difference <= allowed, f"{what} at {z}: {actual[order][i]}, not {mpmath.nstr(exact[order], 17)}"


@cache
def stated_limits(name: str, settings: tuple) -> np.ndarray:
    """(value, slope) at minus infinity and at infinity."""
    found = limits(formula_of(name, dict(settings)))
    return np.array([*zip(found.value, found.slope)], float)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_unit_reaches_its_limits_at_infinity(name, settings, dtype):
    """So does the plain function that autodiff differentiates: no infinity times 0 anywhere."""
    expected = stated_limits(name, tuple(settings.items()))
    assert not np.isnan(expected).any(), "a unit grows beyond all bounds or levels off"
    with jax.enable_x64(dtype == jnp.float64):
        expected = expected.astype(dtype).astype(np.float64)
        for unit in (UNITS[name], UNITS[name].primal):
            a, slope = value_and_slope(partial(unit, **settings), np.array([-inf, inf]).astype(dtype))
            for actual, column, what in ((a, 0, "value"), (slope, 1, "slope")):
                np.testing.assert_allclose(
                    actual,
                    expected[:, column],
                    rtol=2 * float(jnp.finfo(dtype).eps),
                    atol=0,
                    err_msg=f"{what} at -inf, inf",
                )


def test_the_limits_of_a_formula_are_those_known_by_hand():
    """The table that the library's units were held to before their limits were derived."""
    by_hand = {
        "elu": ((-1, 0), (inf, 1)),
        "gelu": ((0, 0), (inf, 1)),
        "hard_tanh": ((-1, 0), (1, 0)),
        "leaky_relu": ((-inf, 0.01), (inf, 1)),
        "relu": ((0, 0), (inf, 1)),
        "selu": ((-1.7580993408473766, 0), (inf, 1.0507009873554805)),
        "sigmoid": ((0, 0), (1, 0)),
        "silu": ((0, 0), (inf, 1)),
        "softplus": ((0, 0), (inf, 1)),
        "softsign": ((-1, 0), (1, 0)),
        "tanh": ((-1, 0), (1, 0)),
    }
    for name, expected in by_hand.items():
        settings = UNITS[name].signature.settings
        np.testing.assert_allclose(stated_limits(name, tuple(settings.items())), expected, rtol=1e-16, atol=0)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_second_derivatives_far_out_too(name):
    """They are those of the formula: with softsign -2 / (1 + z)^3, with most others 0."""
    settings = UNITS[name].signature.settings
    points = [-inf, -1e4, -1e3, -200.0, 200.0, 1e3, 1e4, inf]
    finite = [np.sign(z) * NEAR if np.isinf(z) else z for z in points]
    expected = np.array([float(derivative(formula_of(name, settings), z, 2, 250)) for z in finite])
    for unit in (UNITS[name], UNITS[name].primal):
        second = jax.vmap(jax.grad(jax.grad(partial(unit, **settings))))
        assert np.all(np.abs(second(jnp.array(points)) - expected) <= 1e-5 * np.abs(expected) + 1e-12)


@pytest.mark.parametrize("name", UNITS)
def test_nan_stays_visible(name):
    for unit in (UNITS[name], UNITS[name].primal):
        assert jnp.isnan(unit(jnp.float32(jnp.nan)))


@pytest.mark.parametrize("name", [name for name in UNITS if hasattr(jax.nn, name)])
def test_jax_nn_agrees_where_it_has_the_same_unit(name):
    """Elementwise on ordinary numbers, to the roundings of two different formulas."""
    z = jnp.linspace(-4, 4, 33)
    assert np.allclose(UNITS[name](z), getattr(jax.nn, name)(z), rtol=0, atol=16 * np.finfo(np.float32).eps)


def kinks_of(rule: Rule) -> list[float]:
    """Where `kinks=` is zero, among the quarters from -4 to 4."""
    if rule.kinks is None:
        return []
    quarters = np.arange(-4, 4.25, 0.25)
    return [float(z) for z in quarters if np.any(np.asarray(rule.kinks(z)) == 0)]


@pytest.mark.parametrize("name", [name for name, rule in UNITS.items() if rule.kinks is not None])
def test_the_slope_at_a_kink_lies_between_those_beside_it_and_is_the_one_of_jax_nn(name):
    rule = UNITS[name]
    formula = formula_of(name, rule.signature.settings)
    assert kinks_of(rule), f"{name}: where is its kink?"
    for z in kinks_of(rule):
        slope = float(jax.grad(rule)(z))
        beside = sorted(float(derivative(formula, z + step, 1, 50)) for step in (-1e-9, 1e-9))
        assert beside[0] - 1e-6 <= slope <= beside[1] + 1e-6
        if hasattr(jax.nn, name):
            assert slope == pytest.approx(float(jax.grad(getattr(jax.nn, name))(z)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [
        ("elu", 0.0, 1),
        ("hard_tanh", 1.0, 1),
        ("leaky_relu", 0.0, 1),
        ("relu", 0.0, 0),
        ("selu", 0.0, 1.6732632423543772 * 1.0507009873554805),
    ],
)
def test_the_slope_at_a_kink_is_the_one_that_is_documented(name, at, slope):
    assert at in kinks_of(UNITS[name])
    assert float(jax.grad(UNITS[name])(at)) == pytest.approx(slope, rel=1e-6)


def test_the_slope_of_elu_at_its_kink_is_alpha():
    assert jax.grad(lambda z: UNITS["elu"](z, alpha=0.5))(0.0) == 0.5
    assert jax.grad(lambda z: jax.nn.elu(z, alpha=0.5))(0.0) == 0.5
