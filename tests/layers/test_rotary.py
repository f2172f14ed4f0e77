"""Rotary embedding as complex numbers that are turned; what depends on distances alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.layers import rotary

RNG = np.random.default_rng(0)


def turned(x: np.ndarray, positions: np.ndarray, base: float, interleaved: bool, sign: int = 1) -> np.ndarray:
    """Each pair a complex number, times exp(i angle)."""
    H = x.shape[-1] // 2
    first, second = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :H], x[..., H:])
    angle = positions[..., None, None] / base ** (np.arange(H) / H)
    z = (first + 1j * second) * np.exp(sign * 1j * angle)
    pairs = np.stack([z.real, z.imag], -1 if interleaved else -2)
    return pairs.reshape(x.shape)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("pairs", [1, 3])
def test_pairs_are_turned_and_their_gradients_turned_back(interleaved, pairs):
    x, upstream = RNG.normal(size=(2, 2, 5, 3, 2 * pairs))
    positions = RNG.integers(0, 10_000, (2, 5))
    with jax.enable_x64(True):
        y, pull = jax.vjp(
            lambda x: rotary(x, jnp.asarray(positions), base=500.0, interleaved=interleaved), jnp.asarray(x)
        )
        (dx,) = pull(jnp.asarray(upstream))
    np.testing.assert_allclose(y, turned(x, positions, 500.0, interleaved), rtol=0, atol=1e-11)
    np.testing.assert_allclose(dx, turned(upstream, positions, 500.0, interleaved, -1), rtol=0, atol=1e-11)


def test_without_positions_they_count_from_0():
    x = jnp.asarray(RNG.normal(size=(5, 2, 4)), jnp.float32)
    np.testing.assert_array_equal(rotary(x), rotary(x, jnp.arange(5)))
    np.testing.assert_array_equal(rotary(x)[0], x[0])


def test_the_product_of_a_query_and_a_key_depends_on_their_distance():
    q, k = jnp.asarray(RNG.normal(size=(2, 1, 1, 8)), jnp.float32)
    near, far = (
        float((rotary(q, jnp.array([start + 3])) * rotary(k, jnp.array([start]))).sum()) for start in (0, 1000)
    )
    assert near == pytest.approx(far, abs=1e-3)


def test_an_odd_number_makes_no_pairs():
    with pytest.raises(ValueError, match=r"rotary: a head has 3 numbers"):
        rotary(jnp.ones((4, 1, 3)))
