"""Losses that look at a path or at samples: a tree whose probabilities sum to 1, loops, and rows left alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.losses import hierarchical_softmax, negative_sampling

# A tree of five classes and four inner nodes: ((0 (1 2)) (3 4)); node 0 is the root.
PATHS: Any = np.array([[0, 1, -1], [0, 1, 2], [0, 1, 2], [0, 3, -1], [0, 3, -1]])
CODES: Any = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0]])


def drawn(rows: int, batch: int = 5, features: int = 3, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, features)), rng.normal(size=(rows, features)), rng.normal(size=batch)


def by_loops(h, table, ids, yes, upstream):
    """Each example's loss, and the gradients of h and of the table, one row at a time."""
    losses, dh, dtable = np.zeros(len(h)), np.zeros_like(h), np.zeros_like(table)
    for i in range(len(h)):
        for row, answer in zip(ids[i], yes[i], strict=True):
            if 0 <= row < len(table):
                p = 1 / (1 + np.exp(-h[i] @ table[row]))
                losses[i] -= np.log(p if answer else 1 - p)
                dh[i] += upstream[i] * (p - answer) * table[row]
                dtable[row] += upstream[i] * (p - answer) * h[i]
    return losses, dh, dtable


def value_and_gradients(function, h, table, upstream):
    with jax.enable_x64(True):
        loss, pull = jax.vjp(jax.jit(function), h, table)
        return loss, *pull(jnp.asarray(upstream))


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


def test_along_a_path_loss_and_gradients_are_those_of_a_loop():
    h, nodes, upstream = drawn(4)
    found = value_and_gradients(lambda h, n: hierarchical_softmax(h, n, PATHS, CODES), h, nodes, upstream)
    assert_close(found, by_loops(h, nodes, PATHS, CODES, upstream))


def test_the_probabilities_of_all_classes_sum_to_one():
    h, nodes, _ = drawn(4)
    with jax.enable_x64(True):
        paths: Any = np.tile(PATHS, (5, 1, 1)), np.tile(CODES, (5, 1, 1))
        every_class: Any = np.repeat(h[:, None], 5, 1), nodes, *paths
        loss = hierarchical_softmax(*every_class)
        np.testing.assert_allclose(np.exp(-loss).sum(1), np.ones(5), rtol=1e-14)


def test_with_samples_loss_and_gradients_are_those_of_a_loop():
    """The label among the samples, a sample drawn twice, padding of both kinds."""
    h, W, upstream = drawn(6)
    label: Any = np.array([0, 5, 2, -1, 3])
    samples: Any = np.array([[1, 2], [4, 4], [2, 0], [5, 1], [-1, 6]])
    found = value_and_gradients(lambda h, W: negative_sampling(h, W, label, samples), h, W, upstream)
    ids = np.concatenate([label[:, None], samples], 1)
    assert_close(found, by_loops(h, W, ids, np.array([[1, 0, 0]] * 5), upstream))


def test_rows_that_no_example_names_are_not_touched():
    h, W, upstream = drawn(50)
    W[10:] = np.nan
    label, samples = jnp.arange(5), jnp.arange(5, 10).reshape(5, 1)
    loss, dh, dW = value_and_gradients(lambda h, W: negative_sampling(h, W, label, samples), h, W, upstream)
    assert np.isfinite(loss).all()
    assert np.isfinite(dh).all()
    assert dW[:10].all()
    assert not dW[10:].any()


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_certain_answers_neither_overflow_nor_vanish(scale):
    """At z = 1e3 a yes costs 0 and moves nothing, a no costs z and moves with slope 1."""
    h, W = jnp.array([[1.0]]), jnp.array([[scale], [-scale]])
    for sample, expected in ((1, 0.0), (0, scale)):
        loss, pull = jax.vjp(lambda h, W, s=sample: negative_sampling(h, W, jnp.array([0]), jnp.array([[s]])), h, W)
        dh, dW = pull(jnp.ones(1))
        assert loss.tolist() == [pytest.approx(expected)]
        assert dh.tolist() == [[pytest.approx(expected)]]
        assert dW.tolist() == [[float(sample == 0)], [0.0]]


def test_a_nearly_certain_answer_keeps_the_digits_of_its_delta():
    """Sigmoid(20) - 1 is -2.06e-9, which float32 cannot hold as a difference from 1."""
    dh = jax.grad(lambda h: negative_sampling(h, jnp.array([[20.0]]), jnp.array([0]), jnp.zeros((1, 0), int)).sum())(
        jnp.array([[1.0]])
    )
    np.testing.assert_allclose(dh, [[-20 / (1 + np.exp(20.0))]], rtol=1e-6)


def test_half_precision_sums_wide():
    """256 samples of the same row in bfloat16: the sum of their deltas, each 1/2, is 128 h exactly."""
    h, W = jnp.ones((1, 2), jnp.bfloat16), jnp.zeros((3, 2), jnp.bfloat16)
    dW = jax.grad(lambda W: negative_sampling(h, W, jnp.array([-1]), jnp.ones((1, 256), int)).sum())(W)
    assert dW.dtype == jnp.bfloat16
    assert dW.tolist() == [[0, 0], [128, 128], [0, 0]]
