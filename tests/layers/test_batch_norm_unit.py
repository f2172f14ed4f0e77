"""Batch normalisation and leaky ReLU undone from the output: the same numbers without the input."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import leaky_relu
from jaxbackprop.layers import affine, batch_norm, batch_norm_unit


def drawn(batch: int = 7, features: int = 3) -> Any:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 2, features) * np.array([1, -1, 1][:features])
    return rng.normal(1, 3, (batch, features)), scale, rng.normal(size=features)


def by_numpy(x, scale, shift, slope=2**-7, eps=1e-5):
    z = (x - x.mean(0)) / np.sqrt(x.var(0) + eps) * scale + shift
    return np.where(z >= 0, z, slope * z), x.mean(0), x.var(0)


@pytest.mark.parametrize("slope", [2**-7, 0.01, 0.3, 1.0])
def test_value_and_gradients_are_those_of_the_two_layers(slope):
    with jax.enable_x64(True):
        args = [jnp.asarray(a) for a in drawn()]

        def apart(x, scale, shift):
            z, m, v = batch_norm.primal(x, scale, shift)
            return jnp.where(z >= 0, z, slope * z), m, v

        value, pull = jax.vjp(lambda *a: batch_norm_unit(*a, negative_slope=slope), *args)
        expected, pull_apart = jax.vjp(apart, *args)
        for one, other in zip(value, by_numpy(*drawn(), slope=slope), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
        rng = np.random.default_rng(1)
        upstream = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), expected)
        for one, other in zip(pull(upstream), pull_apart(upstream), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def residual_numbers(function, *args) -> int:
    jaxpr = jax.make_jaxpr(lambda *a: jax.tree.leaves(jax.vjp(function, *a)[1]))(*args).jaxpr
    return sum(v.aval.size for v in set(jaxpr.outvars) - set(jaxpr.invars))


def test_behind_an_affine_layer_half_as_much_is_kept():
    """The norm keeps its input and the unit a bit; here the output is kept, which the next layer keeps as its input."""
    x, scale, shift = map(jnp.float32, drawn(64, 3))
    W = jnp.ones((3, 3))

    def undone(x, W, scale, shift):
        for _ in range(4):
            x = batch_norm_unit(affine(x, W), scale, shift)[0]
        return x

    def apart(x, W, scale, shift):
        for _ in range(4):
            x = leaky_relu(batch_norm(affine(x, W), scale, shift)[0])
        return x

    ours, theirs = (residual_numbers(f, x, W, scale, shift) for f in (undone, apart))
    assert ours == 4 * (64 * 3 + 3)  # y, and r of each feature
    assert theirs >= 4 * 2 * 64 * 3


def test_what_cannot_be_undone_is_loud():
    x, scale, shift = map(jnp.float32, drawn())
    dx = jax.grad(lambda s: batch_norm_unit(x, s, shift)[0].sum())(scale.at[1].set(0))
    assert np.isnan(dx).tolist() == [False, True, False]
    for slope in (0.0, -0.5):
        with pytest.raises(ValueError, match=f"negative_slope is {slope}; only one above 0 can be undone"):
            batch_norm_unit(x, scale, shift, negative_slope=slope)
