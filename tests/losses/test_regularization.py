"""Penalties on weights: the lecture's numbers and its weight gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.layers import affine
from jaxbackprop.losses import l1_penalty, l2_penalty, squared_error


def test_spread_out_weights_are_cheaper_than_one_large_weight():
    """CS231n, Linear classification: [1, 0, 0, 0] costs 1.0 and four times 0.25 costs 0.25, without the half."""
    assert l2_penalty(jnp.array([1.0, 0, 0, 0]), strength=2.0) == 1.0
    assert l2_penalty(jnp.full(4, 0.25), strength=2.0) == 0.25


def test_the_weight_gradient_becomes_delta_a_plus_lambda_W():
    """The lecture's delta a^T + lambda W; for row vectors a^T delta + lambda W."""
    a, W, y = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, -1.0, 0.5], [0.0, 2.0, 1.0]]), jnp.array([[0.0, 1.0, 1.0]])
    delta = a @ W - y
    dW = jax.grad(lambda W: squared_error(affine(a, W), y).sum() + l2_penalty(W, 0.25))(W)
    np.testing.assert_array_equal(dW, np.outer(a, delta) + 0.25 * W)


def test_l1_draws_every_weight_with_the_same_force_and_leaves_0_alone():
    penalty, dW = jax.value_and_grad(l1_penalty)(jnp.array([[3.0, -0.5], [0.0, 1e-30]]), 2.0)
    assert penalty == 7
    assert dW.tolist() == [[2, -2], [0, 2]]


@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_any_tree_of_arrays_is_taken_and_gets_its_gradient_in_its_own_form(penalty):
    tree = {"hidden": [jnp.array([[1.0, -2.0]]), jnp.array(3.0)], "out": (jnp.array([4.0], jnp.bfloat16),)}
    gradient = jax.grad(penalty)(tree, 0.5)
    assert jax.tree.structure(gradient) == jax.tree.structure(tree)
    assert jax.tree.map(lambda x: x.dtype, gradient) == jax.tree.map(lambda x: x.dtype, tree)
    total = {l1_penalty: 1 + 2 + 3 + 4, l2_penalty: (1 + 4 + 9 + 16) / 2}[penalty]
    assert penalty(tree, 0.5) == 0.5 * total
    assert penalty({}) == 0


@pytest.mark.parametrize("penalty", [l1_penalty, l2_penalty])
def test_the_strength_may_change_from_step_to_step_and_has_a_gradient(penalty):
    W = jnp.array([1.0, -2.0])
    jitted = jax.jit(jax.grad(penalty, argnums=1))
    assert jitted(W, 0.5) == jitted(W, 3.0) == penalty(W, 1.0)


def test_half_precision_does_not_overflow():
    """1,000 weights of 100 have a sum of squares of 10^7; float16 ends at 65,504."""
    W = jnp.full(1000, 100.0, jnp.float16)
    penalty, dW = jax.value_and_grad(l2_penalty)(W)
    assert (penalty, penalty.dtype) == (5e6, jnp.float32)
    assert dW.dtype == jnp.float16
    assert l1_penalty(W) == 1e5


def test_what_is_no_array_of_floating_point_numbers_is_refused():
    with pytest.raises(TypeError, match=r"l2_penalty: W .* is int32; it takes a floating-point array"):
        l2_penalty({"W": jnp.array([1])})
