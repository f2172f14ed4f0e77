"""Gated units: what they save, how they round, and gates that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import geglu, swiglu

RNG = np.random.default_rng(0)
UNITS = [
    pytest.param(swiglu, {}, jax.nn.silu, id="swiglu"),
    pytest.param(geglu, {}, jax.nn.gelu, id="geglu by tanh"),
    pytest.param(geglu, {"approximate": False}, lambda z: jax.nn.gelu(z, approximate=False), id="geglu by erf"),
]


@pytest.mark.parametrize(("made", "settings", "unit"), UNITS)
def test_value_and_gradients_are_those_of_the_unit_of_jax_nn_times_x(made, settings, unit):
    gate, x, upstream = RNG.normal(size=(3, 2, 7)) * 3
    with jax.enable_x64(True):
        ours, theirs = (
            jax.vjp(function, jnp.asarray(gate), jnp.asarray(x))
            for function in (lambda g, x: made(g, x, **settings), lambda g, x: unit(g) * x)
        )
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-11, atol=1e-13)
        for one, other in zip(ours[1](jnp.asarray(upstream)), theirs[1](jnp.asarray(upstream)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("made", "settings", "unit"), UNITS)
def test_bfloat16_is_rounded_once(made, settings, unit):
    gate, x, upstream = (jnp.asarray(a, jnp.bfloat16) for a in RNG.normal(size=(3, 500)))
    value, pull = jax.vjp(lambda g, x: made(g, x, **settings), gate, x)
    wide, pull_wide = jax.vjp(lambda g, x: unit(g) * x, *(a.astype(jnp.float32) for a in (gate, x)))
    pairs = zip((value, *pull(upstream)), (wide, *pull_wide(upstream.astype(jnp.float32))), strict=True)
    for actual, expected in pairs:
        np.testing.assert_allclose(actual.astype(jnp.float32), expected, rtol=2.0**-8, atol=1e-6)


@pytest.mark.parametrize(("made", "settings", "unit"), UNITS)
def test_they_save_their_arguments(made, settings, unit):
    gate, x = RNG.normal(size=(2, 5))
    _, residuals = made.forward(gate, x, **settings)
    assert [id(array) for array in residuals] == [id(gate), id(x)]


@pytest.mark.parametrize(("made", "settings", "unit"), UNITS)
def test_a_closed_gate_passes_nothing_and_an_open_one_all_in_proportion(made, settings, unit):
    gate, x = jnp.array([-jnp.inf, -1e4, jnp.inf]), jnp.array([2.0, 2.0, 2.0])
    value, pull = jax.vjp(lambda g, x: made(g, x, **settings), gate, x)
    dgate, dx = pull(jnp.ones(3))
    np.testing.assert_array_equal(value, [0, 0, jnp.inf])
    np.testing.assert_array_equal(dgate, [0, 0, 2])
    np.testing.assert_array_equal(dx, [0, 0, jnp.inf])
