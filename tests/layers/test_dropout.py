"""Dropout: the same mask on the way back, however it is called, and the right one on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.layers import dropout

KEY = jax.random.key(0)
ONES = jnp.ones((4, 5))


def forward_and_backward(function, x):
    y, pull = jax.vjp(function, x)
    return np.asarray(y), np.asarray(pull(jnp.ones_like(y))[0])


@pytest.mark.parametrize(
    "called",
    [
        lambda x: dropout(x, KEY),
        jax.jit(lambda x: dropout(x, KEY)),
        jax.checkpoint(lambda x: dropout(x, KEY)),
        jax.jit(jax.checkpoint(lambda x: dropout(x, KEY))),
        jax.vmap(lambda x: dropout(x, KEY)),
        lambda x: jax.vmap(dropout)(x, jax.random.split(KEY, len(x))),
        lambda x: jax.lax.scan(lambda c, xk: (c, dropout(*xk)), 0, (x, jax.random.split(KEY, len(x))))[1],
        jax.jit(lambda x: jax.vmap(jax.checkpoint(dropout))(x, jax.random.split(KEY, len(x)))),
    ],
    ids=["eager", "jit", "checkpoint", "jit checkpoint", "vmap x", "vmap both", "scan", "jit vmap checkpoint"],
)
def test_what_is_silenced_forward_is_silenced_backward(called):
    """At x = 1 and upstream 1, value and gradient are the same numbers: 0 or 2."""
    y, dx = forward_and_backward(called, ONES)
    np.testing.assert_array_equal(y, dx)
    assert set(np.unique(y)) == {0.0, 2.0}


def test_one_key_silences_alike_and_another_key_otherwise():
    np.testing.assert_array_equal(dropout(ONES, KEY), dropout(ONES, KEY))
    np.testing.assert_array_equal(dropout(ONES, KEY), jax.jit(dropout)(ONES, KEY))
    assert np.any(dropout(ONES, KEY) != dropout(ONES, jax.random.key(1)))


def test_the_mask_does_not_depend_on_the_precision():
    silenced = dropout(ONES, KEY) == 0
    np.testing.assert_array_equal(dropout(ONES.astype(jnp.bfloat16), KEY) == 0, silenced)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(dropout(ONES.astype(jnp.float64), KEY) == 0, silenced)


def test_at_rate_0_nothing_happens_and_at_rate_1_nothing_passes():
    x = jnp.array([1.0, -2.0, 3.0])
    for rate, factor in [(0, 1), (1, 0)]:
        y, dx = forward_and_backward(lambda x, rate=rate: dropout(x, KEY, rate=rate), x)
        np.testing.assert_array_equal(y, factor * x)
        np.testing.assert_array_equal(dx, factor * jnp.ones(3))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_mean_stays_and_the_share_silenced_is_the_rate(rate):
    """Of a million numbers the share silenced has a standard deviation of sqrt(rate (1 - rate)) / 1000."""
    n = 1_000_000
    y = np.asarray(dropout(jnp.ones(n), KEY, rate=rate))
    silenced = np.mean(y == 0)
    deviation = np.sqrt(rate * (1 - rate) / n)
    assert abs(silenced - rate) < 5 * deviation
    assert abs(np.mean(y, dtype=np.float64) - 1) < 5 * deviation / (1 - rate)
    np.testing.assert_allclose(np.max(y), 1 / (1 - rate), rtol=1e-6)


def test_neighbours_are_silenced_independently():
    """The correlation of a million pairs, along each axis, is 0 within 5 standard deviations of 1/1000."""
    silenced = np.asarray(dropout(jnp.ones((1001, 1001)), KEY)) == 0
    here = silenced[:-1, :-1].ravel()
    for there in (silenced[1:, :-1], silenced[:-1, 1:]):
        assert abs(np.corrcoef(here, there.ravel())[0, 1]) < 5e-3


def test_a_silenced_number_has_no_gradient_whatever_it_was():
    x = jnp.full(64, jnp.nan)
    y, dx = forward_and_backward(lambda x: dropout(x, KEY), x)
    np.testing.assert_array_equal(np.isnan(y), dx == 2)
    assert np.all(np.isfinite(dx))
    assert np.any(dx == 0)


def test_a_tiny_rate_silences_almost_nothing():
    """1 - 1e-12 of 2^32 is 2^32, which no uint32 holds."""
    assert int((dropout(jnp.ones(1000), KEY, rate=1e-12) == 0).sum()) == 0


def test_the_backward_pass_keeps_the_key_and_nothing_else():
    _, pull = jax.vjp(lambda x: dropout(x, KEY), jnp.ones((100, 100)))
    kept = [x for x in jax.tree.leaves(pull) if isinstance(x, jax.Array)]
    assert sum(x.size for x in kept) == 1
    assert jnp.issubdtype(kept[0].dtype, jax.dtypes.prng_key)


def test_a_rate_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"dropout: rate is 1\.5; it is the share"):
        dropout(ONES, KEY, rate=1.5)
