"""Normalisation against NumPy and flax; constant rows, large means, batches of one and of none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.layers import batch_norm, batch_norm_running, layer_norm, rms_norm, rms_norm_residual

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)
SCALE, SHIFT = (jnp.asarray(RNG.normal(size=5), jnp.float32) for _ in range(2))


def test_layer_norm_is_what_flax_computes():
    flax = nnx.LayerNorm(5, epsilon=1e-5, rngs=nnx.Rngs(0))
    flax.scale, flax.bias = nnx.Param(SCALE), nnx.Param(SHIFT)
    np.testing.assert_allclose(layer_norm(X, SCALE, SHIFT), flax(X), rtol=1e-5, atol=1e-5)


def test_rms_norm_is_what_flax_computes():
    flax = nnx.RMSNorm(5, epsilon=1e-6, rngs=nnx.Rngs(0))
    flax.scale = nnx.Param(SCALE)
    np.testing.assert_allclose(rms_norm(X, SCALE), flax(X), rtol=1e-5, atol=1e-5)


def test_rms_norm_residual_is_a_sum_and_its_norm():
    """Its gradients are those of autodiff of the two written one after the other, for both of its values at once."""
    x, stream, of_y, of_stream = (jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32) for _ in range(4))

    def plain(x, stream, scale):
        total = x + stream
        return total / jnp.sqrt((total**2).mean(-1, keepdims=True) + 1e-6) * scale, total

    (ours, pull), (theirs, pull_theirs) = (jax.vjp(f, x, stream, SCALE) for f in (rms_norm_residual, plain))
    upstream = of_y, of_stream
    for one, other in zip((*ours, *pull(upstream)), (*theirs, *pull_theirs(upstream)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_rms_norm_residual_adds_to_a_stream_of_a_wider_type():
    x, stream = jnp.full((1, 4), 1, jnp.bfloat16), jnp.full((1, 4), 2.0**-12, jnp.float32)
    y, new = rms_norm_residual(x, stream, jnp.ones(4, jnp.bfloat16))
    assert (y.dtype, new.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(new, 1 + 2.0**-12)


def test_batch_norm_normalises_over_every_leading_axis():
    x = RNG.normal(2, 3, size=(2, 3, 4, 5))
    flat = x.reshape(-1, 5)
    y, mean, var = batch_norm(jnp.asarray(x, jnp.float32), SCALE, SHIFT)
    np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, flat.var(0), rtol=1e-5)
    expected = (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * SCALE + SHIFT
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_running_statistics_of_the_batch_itself_give_batch_norm():
    y, mean, var = batch_norm(X, SCALE, SHIFT)
    np.testing.assert_allclose(batch_norm_running(X, mean, var, SCALE, SHIFT), y, rtol=1e-5, atol=1e-6)


def test_each_output_of_batch_norm_has_its_own_gradient():
    """d mean / dx = 1/N; d var / dx = 2 (x - mean) / N: closed forms, whatever scale and shift are."""
    _, pull = jax.vjp(batch_norm, X, SCALE, SHIFT)
    nothing, u = jnp.zeros_like(X), jnp.asarray(RNG.normal(size=5), jnp.float32)
    none = jnp.zeros(5)
    of_mean, *others = pull((nothing, u, none))
    np.testing.assert_allclose(of_mean, np.tile(u / 6, (6, 1)), rtol=1e-6)
    of_var, *more = pull((nothing, none, u))
    np.testing.assert_allclose(of_var, 2 * (X - X.mean(0)) / 6 * u, rtol=1e-4, atol=1e-6)
    assert not any(np.any(g) for g in others + more)


NORMS = {
    "layer_norm": lambda x: layer_norm(x, jnp.ones(x.shape[-1]), jnp.zeros(x.shape[-1])),
    "batch_norm": lambda x: batch_norm(x.T, jnp.ones(x.shape[0]), jnp.zeros(x.shape[0]))[0].T,
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3, 1e20])
def test_a_constant_row_answers_0_however_large(norm, value):
    """Its mean is not representable, and the difference must not be taken for a spread."""
    x = jnp.full((2, 1001), value, jnp.float32)
    y, pull = jax.vjp(jax.jit(norm), x)
    np.testing.assert_allclose(y, np.zeros_like(y), atol=1e-3)
    assert np.all(np.isfinite(pull(jnp.ones_like(y))[0]))


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_a_mean_of_a_million_costs_no_digits(norm):
    """Beside a mean of 2^20 the numbers are multiples of 1/8, so nothing is lost before the rule begins."""
    x = np.round(RNG.normal(size=(3, 999)) * 16) / 8
    far = jnp.asarray(x + 2**20, jnp.float32)
    upstream = jnp.asarray(RNG.normal(size=x.shape), jnp.float32)
    y, pull = jax.vjp(jax.jit(norm), far)
    with jax.enable_x64(True):
        expected, pull_expected = jax.vjp(norm, jnp.asarray(x))
        (expected_dx,) = pull_expected(upstream.astype(jnp.float64))
        expected, expected_dx = np.asarray(expected), np.asarray(expected_dx)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pull(upstream)[0], expected_dx, rtol=1e-5, atol=1e-5)


def test_numbers_too_large_to_be_squared_in_half_precision_are_normalised():
    x = jnp.array([[300.0, -300.0, 300.0, -300.0]], jnp.float16)
    ones, zeros = jnp.ones(4, jnp.float16), jnp.zeros(4, jnp.float16)
    for y in (layer_norm(x, ones, zeros), rms_norm(x, ones)):
        np.testing.assert_array_equal(y, [[1, -1, 1, -1]])
        assert y.dtype == jnp.float16


def test_the_mean_of_a_long_batch_in_half_precision_is_right():
    """4,096 times 0.1: an accumulator in bfloat16 stops at 32."""
    _, mean, var = batch_norm(jnp.full((4096, 1), 0.1, jnp.bfloat16), jnp.ones(1), jnp.zeros(1))
    assert mean.dtype == jnp.float32
    np.testing.assert_allclose(mean, float(jnp.bfloat16(0.1)), rtol=1e-6)
    np.testing.assert_allclose(var, 0, atol=1e-12)


def test_a_batch_of_one_answers_the_shift_and_keeps_a_gradient_only_for_it():
    (y, mean, var), pull = jax.vjp(batch_norm, X[:1], SCALE, SHIFT)
    np.testing.assert_array_equal(y, SHIFT[None])
    np.testing.assert_array_equal(mean, X[0])
    assert not np.any(var)
    dx, dscale, dshift = pull((jnp.ones((1, 5)), jnp.zeros(5), jnp.ones(5)))
    assert not np.any(dx)
    assert not np.any(dscale)
    np.testing.assert_array_equal(dshift, np.ones(5))


def test_an_empty_batch_has_mean_and_variance_0():
    (y, mean, var), pull = jax.vjp(batch_norm, X[:0], SCALE, SHIFT)
    assert y.shape == (0, 5)
    assert not np.any(mean)
    assert not np.any(var)
    assert all(np.all(np.isfinite(g)) for g in pull((y, mean + 1, var + 1)))


def test_layer_norm_does_not_see_a_shift_nor_a_factor_of_its_input():
    """So its gradient is orthogonal to a constant row and, but for eps, to the row itself."""
    dx = jax.vjp(lambda x: layer_norm(x, SCALE, SHIFT, eps=1e-12), X)[1](jnp.asarray(RNG.normal(size=X.shape), X.dtype))
    np.testing.assert_allclose(dx[0].sum(-1), np.zeros(6), atol=1e-5)
    np.testing.assert_allclose((dx[0] * X).sum(-1), np.zeros(6), atol=1e-5)


def test_beside_its_arguments_layer_norm_keeps_three_numbers_an_example():
    x, scale, shift = jnp.ones((32, 64)), jnp.ones(64), jnp.zeros(64)
    _, pull = jax.vjp(layer_norm, x, scale, shift)
    kept = [leaf.shape for leaf in jax.tree.leaves(pull) if isinstance(leaf, jax.Array)]
    assert sorted(kept) == [(32, 1), (32, 1), (32, 1), (32, 64), (64,)]
