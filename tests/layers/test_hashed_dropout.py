"""Dropout by a hash: is the mask as random as it must be, the same on the way back, and never stored?

Every bound is five standard deviations of the binomial law (one false alarm in two million draws); keys are fixed.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import gelu, relu
from jaxbackprop.layers import affine, affine_unit_dropout, hashed_dropout
from jaxbackprop.layers.hashed_dropout import alive

KEY = jax.random.key(0)
N = 1 << 18


def mask(key, shape=(N,), rate=0.5) -> np.ndarray:
    return np.asarray(alive(key, shape, rate))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_share_that_is_silenced_is_the_rate(rate, seed):
    silenced = N - mask(jax.random.key(seed), rate=rate).sum()
    assert abs(silenced - rate * N) < 5 * np.sqrt(N * rate * (1 - rate))


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 100, 127, 128, 256, 1000, 1024, 4096, 65536])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_places_apart_are_independent(lag, rate):
    m = (mask(KEY, rate=rate) - (1 - rate)) / np.sqrt(rate * (1 - rate))
    assert abs((m[lag:] * m[:-lag]).mean()) < 5 / np.sqrt(N - lag)


def test_all_patterns_of_eight_neighbours_are_as_frequent():
    patterns = np.packbits(mask(KEY))
    expected = len(patterns) / 256
    chi_square = ((np.bincount(patterns, minlength=256) - expected) ** 2 / expected).sum()
    assert abs(chi_square - 255) < 5 * np.sqrt(2 * 255)


def test_every_place_lives_as_often_over_keys():
    keys = jax.random.split(jax.random.key(7), 4000)
    lived = np.asarray(jax.vmap(lambda k: alive(k, (64,), 0.3))(keys)).sum(0)
    assert abs(lived - 0.7 * 4000).max() < 5 * np.sqrt(4000 * 0.21)


def test_masks_of_different_keys_are_independent_also_when_shifted():
    """A counter hash whose key only moves the counter gives every key the same mask, shifted."""
    keys = [jax.random.fold_in(KEY, i) for i in range(12)] + [jax.random.key(i) for i in range(12)]
    masks = [2.0 * mask(key, (1 << 14,)) - 1 for key in keys]
    spectra = [np.fft.rfft(m) for m in masks]
    for i, a in enumerate(spectra):
        for b in spectra[i + 1 :]:
            at_every_shift = np.fft.irfft(a * b.conj()) / len(masks[0])
            # 276 pairs at 16,384 shifts: the largest of 4.5 million normal numbers is below 6.5 deviations.
            assert abs(at_every_shift).max() < 6.5 / np.sqrt(len(masks[0]))


MANY_KEYS = jax.random.split(jax.random.key(11), 200_000)


def words_of(keys) -> np.ndarray:
    """The two random words of each key that the mask is made of, (keys, 2)."""
    return np.asarray(jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32))(keys)).astype(np.int64)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((2.0 * a - 1) * (2.0 * b - 1)))


def test_the_second_half_of_the_key_keeps_masks_from_being_shifted_copies():
    """The first words of some of many keys are only a few apart: there the hash counts through the same numbers."""
    words = words_of(MANY_KEYS)
    order = np.argsort(words[:, 0])
    apart = np.diff(words[order, 0])
    pairs = [i for i in np.flatnonzero(apart < 1000) if words[order[i], 1] != words[order[i + 1], 1]][:8]
    assert len(pairs) == 8
    for i in pairs:
        lag = int(apart[i])
        low, high = (mask(MANY_KEYS[order[j]], (1 << 14,)) for j in (i, i + 1))
        at_the_shift = correlation(low[lag:], high[: len(high) - lag])
        assert abs(at_the_shift) < 5 / np.sqrt(len(low) - lag), f"copies, {lag} places apart"
        assert abs(correlation(low, high)) < 5 / np.sqrt(len(low))


def test_the_first_half_of_the_key_tells_masks_apart():
    """Some of many keys have the same second word."""
    words = words_of(MANY_KEYS)
    order = np.argsort(words[:, 1])
    pairs = np.flatnonzero(np.diff(words[order, 1]) == 0)
    assert len(pairs) >= 2
    for i in pairs:
        first, second = words[order[i]], words[order[i + 1]]
        assert abs(first[0] - second[0]) > N, "else shifted copies are what the hash promises"
        masks = [mask(MANY_KEYS[order[j]], (1 << 14,)) for j in (i, i + 1)]
        assert abs(correlation(*masks)) < 5 / np.sqrt(1 << 14)


def test_rows_and_columns_of_a_matrix_are_alike():
    m = mask(KEY, (512, 512))
    deviation = np.sqrt(512 * 0.25)
    assert abs(m.sum(0) - 256).max() < 5 * deviation
    assert abs(m.sum(1) - 256).max() < 5 * deviation


ONES = jnp.ones((4, 5))


@pytest.mark.parametrize(
    "called",
    [
        lambda x: hashed_dropout(x, KEY),
        jax.jit(lambda x: hashed_dropout(x, KEY)),
        jax.checkpoint(lambda x: hashed_dropout(x, KEY)),
        jax.vmap(lambda x: hashed_dropout(x, KEY)),
        lambda x: jax.vmap(hashed_dropout)(x, jax.random.split(KEY, len(x))),
    ],
    ids=["eager", "jit", "checkpoint", "vmap x", "vmap both"],
)
def test_what_is_silenced_forward_is_silenced_backward(called):
    y, pull = jax.vjp(called, ONES)
    np.testing.assert_array_equal(y, pull(ONES)[0])
    assert set(np.unique(y)) == {0.0, 2.0}


def test_the_mask_does_not_depend_on_the_precision_or_on_jit():
    masks = [hashed_dropout(ONES.astype(t), KEY) != 0 for t in (jnp.float32, jnp.bfloat16, jnp.float16)]
    with jax.enable_x64(True):
        masks += [hashed_dropout(jnp.ones((4, 5), jnp.float64), KEY) != 0]
    masks += [jax.jit(hashed_dropout)(ONES, KEY) != 0]
    assert all((m == masks[0]).all() for m in masks)


def test_the_edges_of_the_rate():
    x = jnp.array([1.0, jnp.nan, jnp.inf])
    np.testing.assert_array_equal(hashed_dropout(x, KEY, rate=0.0), x)
    assert hashed_dropout(x, KEY, rate=1.0).tolist() == [0, 0, 0]
    for rate in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"rate is {rate}"):
            hashed_dropout(x, KEY, rate=rate)


def kept(function, *args) -> list[tuple[tuple[int, ...], str]]:
    """Shape and type of the arrays that a backward pass keeps, arguments and single numbers left out."""
    jaxpr = jax.make_jaxpr(lambda *a: jax.tree.leaves(jax.vjp(function, *a)[1]))(*args).jaxpr
    residuals = set(jaxpr.outvars) - set(jaxpr.invars)
    return [(v.aval.shape, str(v.aval.dtype)) for v in residuals if v.aval.shape]


def test_no_mask_is_stored():
    assert kept(lambda x: hashed_dropout(x, KEY), ONES) == []


def keyed(args) -> Any:
    """The arguments, and the key behind them."""
    return (*args, KEY)


def drawn() -> Any:
    rng = np.random.default_rng(0)
    shapes = (6, 4), (4, 5), (5,)
    return [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]


@pytest.mark.parametrize(("name", "unit"), [("relu", relu), ("gelu", gelu)])
def test_the_fused_layer_is_the_three_layers_one_after_another(name, unit):
    def apart(x, W, b):
        return hashed_dropout(unit(affine(x, W, b)), KEY, rate=0.3)

    value, pull = jax.vjp(lambda *a: affine_unit_dropout(*keyed(a), unit=name, rate=0.3), *drawn())
    expected, pull_apart = jax.vjp(apart, *drawn())
    upstream = jnp.asarray(np.random.default_rng(1).normal(size=value.shape), jnp.float32)
    np.testing.assert_array_equal(value, expected)
    for one, other in zip(pull(upstream), pull_apart(upstream), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_behind_a_relu_only_the_output_is_kept():
    def layer(x, W, b):
        return affine_unit_dropout(x, W, b, KEY)

    assert kept(layer, *drawn()) == [((6, 5), "float32")]
    value, pull = jax.vjp(layer, *drawn())
    (residual,) = (r for r in jax.tree.leaves(pull) if np.shape(r) == (6, 5))
    np.testing.assert_array_equal(residual, value)


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="'prelu' is not a unit of one input; unit= takes elu, gelu"):
        affine_unit_dropout(*keyed(drawn()), unit="prelu")
