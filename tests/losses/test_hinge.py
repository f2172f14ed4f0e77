"""Margin losses against the lectures' numbers and a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.losses import max_margin, multiclass_hinge, squared_hinge


def test_the_hinge_loss_is_that_of_the_linear_classification_notes():
    """CS231n: scores 13, -7, 11, the first class true, margin 10: max(0, -10) + max(0, 8) = 8."""
    loss, pull = jax.vjp(lambda s: multiclass_hinge(s, jnp.array(0), margin=10.0), jnp.array([13.0, -7.0, 11.0]))
    assert loss == 8
    assert pull(jnp.float32(1))[0].tolist() == [-1, 0, 1]


def test_ten_classes_without_knowledge_cost_9():
    """CS231n, Neural networks 3: every one of the nine wrong classes is within the margin."""
    loss, pull = jax.vjp(lambda s: multiclass_hinge(s, jnp.array([3])), jnp.zeros((1, 10)))
    assert loss.tolist() == [9]
    assert pull(jnp.ones(1))[0].tolist() == [[1, 1, 1, -9, 1, 1, 1, 1, 1, 1]]


def test_the_hinge_loss_is_the_loop_over_wrong_classes():
    rng = np.random.default_rng(0)
    scores, labels, upstream = rng.normal(size=(6, 4)), rng.integers(0, 4, 6), rng.normal(size=6)
    loss, ds = np.zeros(6), np.zeros((6, 4))
    for i, y in enumerate(labels):
        for j in range(4):
            lacking = 0.7 + scores[i, j] - scores[i, y]
            if j != y and lacking > 0:
                loss[i] += lacking
                ds[i, j] += upstream[i]
                ds[i, y] -= upstream[i]
    found, pull = jax.vjp(
        lambda s: multiclass_hinge(s, jnp.asarray(labels), margin=0.7), jnp.asarray(scores, jnp.float32)
    )
    np.testing.assert_allclose(found, loss, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pull(jnp.asarray(upstream, jnp.float32))[0], ds, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("label", [-1, 4])
def test_the_hinge_loss_ignores_a_label_outside_the_classes(label):
    scores = jnp.array([[1.0, jnp.nan, jnp.inf, 0.0], [0.0, 0.0, 0.0, 0.0]])
    loss, pull = jax.vjp(lambda s: multiclass_hinge(s, jnp.array([label, 0], jnp.int8)), scores)
    assert loss.tolist() == [0, 3]
    assert pull(jnp.ones(2))[0].tolist() == [[0, 0, 0, 0], [-3, 1, 1, 1]]


def test_a_masked_class_costs_nothing():
    loss = multiclass_hinge(jnp.array([[0.0, -jnp.inf, 0.0]]), jnp.array([0]))
    assert loss.tolist() == [1]


def test_scores_exactly_at_the_margin_get_no_gradient():
    loss, pull = jax.vjp(lambda s: multiclass_hinge(s, jnp.array(0)), jnp.array([1.0, 0.0, 0.0]))
    assert (float(loss), pull(jnp.float32(1))[0].tolist()) == (0, [0, 0, 0])
    loss, pull = jax.vjp(max_margin, jnp.array([1.0]), jnp.array([0.0]))
    assert (loss.tolist(), [g.tolist() for g in pull(jnp.ones(1))]) == ([0], [[0], [0]])


def test_max_margin_pushes_both_scores_until_they_are_a_margin_apart():
    """CS224n: J = max(0, 1 + s_c - s)."""
    score, corrupt = jnp.array([2.0, 0.5, 1.0]), jnp.array([0.5, 0.25, 3.0])
    loss, pull = jax.vjp(max_margin, score, corrupt)
    assert loss.tolist() == [0, 0.75, 3]
    dscore, dcorrupt = pull(jnp.array([5.0, 7.0, 11.0]))
    assert dscore.tolist() == [0, -7, -11]
    assert dcorrupt.tolist() == [0, 7, 11]
    assert max_margin(score, corrupt, margin=2.0).tolist() == [0.5, 1.75, 4]


def test_large_scores_keep_the_digits_of_their_difference():
    """2^24 + 1 is no float32: the margin must be added to the difference."""
    large = jnp.array([2.0**24])
    assert max_margin(large, large).tolist() == [1]
    assert multiclass_hinge(jnp.full((1, 3), 2.0**24), jnp.array([0])).tolist() == [2]


def test_the_squared_hinge_is_what_is_lacking_squared_and_its_slope_is_0_at_the_margin():
    """Yes at 0.5 lacks 0.5; no at 2 lacks 3; yes at 1 and at 4, and no at -1, lack nothing."""
    z, t = jnp.array([0.5, 2.0, 1.0, 4.0, -1.0]), jnp.array([1.0, 0.0, 1.0, 1.0, 0.0])
    loss, pull = jax.vjp(lambda z: squared_hinge(z, t), z)
    assert loss == 0.25 + 9
    assert pull(jnp.float32(0.5))[0].tolist() == [-0.5, 3, 0, 0, 0]
