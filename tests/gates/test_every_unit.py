"""Every unit of one array beside 50 digits of mpmath, from minus infinity to infinity and in every precision."""

from collections.abc import Callable
from functools import partial
from math import inf

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbackprop.core.rule import Rule, rules
from jaxbackprop.gates import gelu
from jaxbackprop.gates import relu_like as rectified
from jaxbackprop.gates import sigmoid_like as saturating

UNITS = {name: rule for name, rule in rules().items() if rule.__module__ in (saturating.__name__, rectified.__name__)}
DTYPES = [jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16]
POINTS = [1e-6, 1e-3, 0.11, 0.3, 0.95, 1.9, 4.5, 9.0, 16.0, 30.0, 39.0, 41.0, 80.0, 200.0, 700.0, 999.0, 1001.0, 1e4]


def sigma(z):
    return 1 / (1 + mpmath.exp(-z))


def selu_formula(z):
    alpha, scale = mpmath.mpf("1.6732632423543772848170429916717"), mpmath.mpf("1.0507009873554804934193349852946")
    return scale * (z if z > 0 else alpha * mpmath.expm1(z))


FORMULAS: dict[str, Callable] = {
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "gelu": lambda z: z * sigma(2 * mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3)),
    "hard_tanh": lambda z: min(max(z, -1), 1),
    "leaky_relu": lambda z: z if z > 0 else mpmath.mpf("0.01") * z,
    "relu": lambda z: max(z, 0),
    "selu": selu_formula,
    "sigmoid": sigma,
    "silu": lambda z: z * sigma(z),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "tanh": mpmath.tanh,
}
EXACT_GELU = lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2  # noqa: E731

# (value, slope) at minus infinity and at infinity
LIMITS = {
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


def test_every_unit_of_one_array_is_looked_at_here():
    alone = {name for name, rule in UNITS.items() if len(rule.signature.parameters) == 1}
    assert set(FORMULAS) == set(LIMITS) == alone
    assert set(UNITS) - alone == {"prelu"}


def units_have_the_signature_that_models_rely_on(rule: Rule) -> bool:
    (only,) = rule.signature.parameters
    return only.name == "z" and [str(spec) for spec in only.specs] == ["(...,)"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_unit_takes_one_array_z_of_any_shape(name):
    assert units_have_the_signature_that_models_rely_on(UNITS[name])


def value_and_slope(unit: Callable, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, pull = jax.vjp(unit, jnp.asarray(points))
    return np.asarray(a, np.float64), np.asarray(pull(jnp.ones_like(a))[0], np.float64)


def matches_fifty_digits(unit: Callable, formula: Callable, dtype, *, slope_from_output: bool = False) -> None:
    """Within 8 units in the last place of the number, and 8 of what one such unit of z makes of it.

    A slope computed from a saved output inherits the resolution of that output, which is u. What is below the smallest
    normal number may be 0.
    """
    u, tiny = float(jnp.finfo(dtype).eps), float(jnp.finfo(dtype).tiny)
    points = np.array([s * p for s in (-1, 1) for p in POINTS]).astype(dtype)
    for name, order, found in zip(("value", "slope"), (0, 1), value_and_slope(unit, points), strict=True):
        for z, f in zip(points.astype(np.float64), found, strict=True):
            with mpmath.workdps(400 if abs(z) > 40 else 50):  # beyond 40 a slope may be 1e-308
                exact, steeper = (
                    mpmath.diff(formula, z, n) if n else formula(mpmath.mpf(z)) for n in (order, order + 1)
                )
                allowed = 8 * u * (abs(exact) + abs(z * steeper)) + tiny + (2 * u if order and slope_from_output else 0)
                assert abs(mpmath.mpf(f) - exact) <= allowed, f"{name} at {z}: {f}, not {mpmath.nstr(exact, 17)}"


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_unit_and_its_slope_have_the_digits_of_their_dtype(name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        matches_fifty_digits(UNITS[name], FORMULAS[name], dtype, slope_from_output=name in ("sigmoid", "tanh"))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_the_exact_gelu_has_the_digits_of_its_dtype(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        matches_fifty_digits(lambda z: gelu(z, approximate=False), EXACT_GELU, dtype)


def units(name: str) -> list[Callable]:
    """The unit at each of its forms, and the plain function of each that autodiff differentiates."""
    forms = [{}, {"approximate": False}] if name == "gelu" else [{}]
    return [partial(unit, **form) for form in forms for unit in (UNITS[name], UNITS[name].primal)]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_unit_reaches_its_limits_at_infinity(name, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        expected = np.array(LIMITS[name]).astype(dtype).astype(np.float64)
        for unit in units(name):
            a, slope = value_and_slope(unit, np.array([-inf, inf]).astype(dtype))
            assert np.allclose(a, expected[:, 0], rtol=2 * float(jnp.finfo(dtype).eps), atol=0)
            assert np.allclose(slope, expected[:, 1], rtol=2 * float(jnp.finfo(dtype).eps), atol=0)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_unit_has_second_derivatives_far_out_too(name):
    """They vanish there, or are those of softsign: -2 / (1 + z)^3."""
    for unit in units(name):
        second = jax.vmap(jax.grad(jax.grad(unit)))
        found = second(jnp.array([-inf, -1e4, -1e3, -200.0, 200.0, 1e3, 1e4, inf]))
        assert np.all(np.abs(found) <= 2 / 200**3)


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_stays_visible(name):
    for unit in units(name):
        assert jnp.isnan(unit(jnp.float32(jnp.nan)))


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"softsign", "hard_tanh"}))
def test_jax_nn_agrees_where_it_has_the_same_unit(name):
    """Elementwise on ordinary numbers, to the roundings of two different formulas."""
    z = jnp.linspace(-4, 4, 33)
    assert np.allclose(UNITS[name](z), getattr(jax.nn, name)(z), rtol=0, atol=16 * np.finfo(np.float32).eps)


KINKS = {
    "elu": (0.0, 1),
    "hard_tanh": (1.0, 1),
    "leaky_relu": (0.0, 1),
    "relu": (0.0, 0),
    "selu": (0.0, 1.6732632423543772 * 1.0507009873554805),
}


def test_every_kink_is_looked_at_here():
    assert set(KINKS) == {name for name in FORMULAS if UNITS[name].kinks is not None}


@pytest.mark.parametrize("name", KINKS)
def test_the_slope_at_a_kink_is_the_one_that_is_documented_and_that_jax_nn_answers(name):
    at, slope = KINKS[name]
    assert float(jax.grad(UNITS[name])(at)) == pytest.approx(slope, rel=1e-6)
    assert float(jax.grad(getattr(jax.nn, name))(at)) == pytest.approx(slope, rel=1e-6)


def test_the_slope_of_elu_at_its_kink_is_alpha():
    assert jax.grad(lambda z: UNITS["elu"](z, alpha=0.5))(0.0) == 0.5
    assert jax.grad(lambda z: jax.nn.elu(z, alpha=0.5))(0.0) == 0.5
