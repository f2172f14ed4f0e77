"""Accumulation and un-broadcasting against brute force in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxbackprop.core.accumulation import accumulator_dtype, dot, index, inside, leading_sum, outer_sum, unbroadcast


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3), st.integers(0, 9))
def test_unbroadcasting_adds_up_every_copy(shapes, seed):
    """Brute force: each element of the result is added to the input element that it came from."""
    shape = shapes.input_shapes[0]
    gradient = np.random.default_rng(seed).normal(size=shapes.result_shape)
    origin = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), shapes.result_shape)
    expected = np.zeros(int(np.prod(shape)))
    np.add.at(expected, origin.ravel(), gradient.ravel())
    found = unbroadcast(jnp.asarray(gradient, jnp.float32), shape)
    assert found.shape == shape
    np.testing.assert_allclose(found, expected.reshape(shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_sums_of_halves_are_accumulated_in_float32(dtype):
    """4,096 times 1/16 is 256 exactly; an accumulator in half precision stops growing long before."""
    x = jnp.full((4096, 2), 0.0625, dtype)
    assert accumulator_dtype(dtype) == jnp.float32
    assert leading_sum(x).tolist() == [256, 256]
    assert unbroadcast(x, (2,)).tolist() == [256, 256]
    assert outer_sum(x, jnp.ones((4096, 1), dtype)).ravel().tolist() == [256, 256]
    assert dot(x.T, jnp.ones((4096,), dtype)).tolist() == [256, 256]


@pytest.mark.parametrize(("few", "wide"), [(1, 4), (2, 4), (4, 4), (5, 4), (1, 40), (5, 40)])
def test_the_outer_sum_runs_over_every_leading_axis(few: int, wide: int):
    """Few examples are added up one by one, more by a matrix product, beside a wide x by one that is turned."""
    rng = np.random.default_rng(0)
    x, delta = rng.normal(size=(2, few, wide)), rng.normal(size=(2, few, 5))
    expected = sum(np.outer(x[i, j], delta[i, j]) for i in range(2) for j in range(few))
    np.testing.assert_allclose(outer_sum(jnp.asarray(x), jnp.asarray(delta)), expected, rtol=1e-5, atol=1e-6)


def test_ids_of_a_small_type_are_compared_with_axes_they_could_not_count():
    assert index(jnp.array([3], jnp.int8)).dtype == jnp.int32
    assert inside(jnp.array([-128, -1, 0, 127], jnp.int8), 300).tolist() == [False, False, True, True]
    assert inside(jnp.array([0, 255], jnp.uint8), 255).tolist() == [True, False]
    assert inside(jnp.array([0]), 0).tolist() == [False]


def test_the_outer_sum_of_empty_axes_is_zero():
    assert outer_sum(jnp.zeros((0, 2)), jnp.zeros((0, 3))).tolist() == [[0] * 3] * 2
    assert outer_sum(jnp.zeros((4, 0)), jnp.zeros((4, 3))).shape == (0, 3)
