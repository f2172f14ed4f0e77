"""Embedding bags and windows against loops in NumPy; padding, empty bags, repeated ids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.layers import embedding_bag, ragged_embedding_bag, window

RNG = np.random.default_rng(0)
V, D = 7, 4
TABLE = jnp.asarray(RNG.normal(size=(V, D)), jnp.float32)
BAGS = [[3, 1, 3], [], [6, 0, 2, 2], [5]]
WEIGHTS = [RNG.uniform(0.2, 2, len(bag)).astype(np.float32) for bag in BAGS]
UPSTREAM = jnp.asarray(RNG.normal(size=(len(BAGS), D)), jnp.float32)

PADDED = jnp.array([[3, 1, 3, -1], [-1, -1, -1, -1], [6, 0, 2, 2], [-1, 5, 7, 100]])
PADDED_WEIGHTS = np.full(PADDED.shape, 9.0, np.float32)
PADDED_WEIGHTS[(PADDED >= 0) & (PADDED < V)] = np.concatenate(WEIGHTS)
IDS = jnp.concatenate([jnp.array(bag, int) for bag in BAGS])
OFFSETS = jnp.array([0, 3, 3, 7])


def by_loops(pool, weighted):
    """Value, table gradient and weight gradients in float64, one number at a time."""
    table, upstream = np.asarray(TABLE, float), np.asarray(UPSTREAM, float)
    h, dtable, dw = np.zeros((len(BAGS), D)), np.zeros((V, D)), []
    for b, bag in enumerate(BAGS):
        w = WEIGHTS[b].astype(float) if weighted else np.ones(len(bag))
        divisor = w.sum() if pool == "mean" and bag else 1.0
        for i, w_i in zip(bag, w, strict=True):
            h[b] += w_i / divisor * table[i]
        for i, w_i in zip(bag, w, strict=True):
            dtable[i] += w_i / divisor * upstream[b]
            away = table[i] - h[b] if pool == "mean" else table[i]
            dw.append(away @ upstream[b] / divisor)
    return h, dtable, np.array(dw)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_padded_and_ragged_bags_are_the_loops(pool, weighted):
    h, dtable, dw = by_loops(pool, weighted)
    inside_the_table = np.asarray((PADDED >= 0) & (PADDED < V))
    calls = [
        (lambda t, w: embedding_bag(t, PADDED, w, pool=pool), PADDED_WEIGHTS, inside_the_table),
        (
            lambda t, w: ragged_embedding_bag(t, IDS, OFFSETS, w, pool=pool),
            np.concatenate(WEIGHTS),
            np.asarray(IDS >= 0),
        ),
    ]
    for call, weights, counted in calls:
        found, pull = jax.vjp(call, TABLE, weights if weighted else None)
        of_table, of_weights = pull(UPSTREAM)
        np.testing.assert_allclose(found, h, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(of_table, dtable, rtol=1e-5, atol=1e-6)
        if weighted:
            np.testing.assert_allclose(of_weights[counted], dw, rtol=1e-4, atol=1e-6)
            assert not np.any(of_weights[~counted])


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_an_empty_bag_answers_0_and_gets_no_gradient(pool):
    for ids in (jnp.full((2, 3), -1), jnp.zeros((2, 0), int)):
        h, pull = jax.vjp(lambda t, w, ids=ids: embedding_bag(t, ids, w, pool=pool), TABLE, jnp.ones(ids.shape))
        dtable, dw = pull(jnp.ones((2, D)))
        assert not np.any(h)
        assert not np.any(dtable)
        assert not np.any(dw)
    h, pull = jax.vjp(lambda t: ragged_embedding_bag(t, jnp.zeros(0, int), jnp.zeros(2, int), pool=pool), TABLE)
    assert not np.any(h)
    assert not np.any(pull(jnp.ones((2, D)))[0])


def test_a_mean_whose_weights_sum_to_0_answers_0_without_nan():
    ids, weights = jnp.array([[1, 2], [3, 4]]), jnp.array([[0.0, 0.0], [1.0, 3.0]])
    h, pull = jax.vjp(lambda t, w: embedding_bag(t, ids, w), TABLE, weights)
    np.testing.assert_array_equal(h[0], np.zeros(D))
    np.testing.assert_allclose(h[1], 0.25 * TABLE[3] + 0.75 * TABLE[4], rtol=1e-6, atol=1e-7)  # one element cancels
    dtable, dw = pull(jnp.ones((2, D)))
    assert not np.any(dtable[1:3])
    assert not np.any(dw[0])
    assert np.all(np.isfinite(dw))


def test_weights_of_1_are_no_weights():
    for pool in ("mean", "sum"):
        np.testing.assert_array_equal(
            embedding_bag(TABLE, PADDED, jnp.ones(PADDED.shape), pool=pool), embedding_bag(TABLE, PADDED, pool=pool)
        )


def test_padding_reads_no_row_not_even_one_that_is_not_finite():
    """-1 counts from the end in NumPy, and 0 times NaN is NaN: neither may happen here."""
    table = TABLE.at[0].set(jnp.nan).at[-1].set(jnp.inf)
    ids = jnp.array([[1, -1, 2, 50]])
    np.testing.assert_allclose(embedding_bag(table, ids)[0], (TABLE[1] + TABLE[2]) / 2, rtol=1e-6)
    weights = jnp.array([[1.0, jnp.nan, 1.0, jnp.inf]])
    np.testing.assert_allclose(embedding_bag(table, ids, weights)[0], (TABLE[1] + TABLE[2]) / 2, rtol=1e-6)
    h = ragged_embedding_bag(table, ids[0], jnp.array([0]))
    np.testing.assert_allclose(h[0], (TABLE[1] + TABLE[2]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(window(table, ids)[0].reshape(4, D)[1], np.zeros(D))


def test_an_id_named_a_thousand_times_gets_a_thousand_gradients():
    dtable = jax.grad(lambda t: embedding_bag(t, jnp.full(1000, 2), pool="sum").sum())(jnp.ones((4, 1), jnp.bfloat16))
    np.testing.assert_array_equal(dtable.astype(np.float32).ravel(), [0, 0, 1000, 0])


def test_ids_before_the_first_offset_belong_to_no_bag():
    h = ragged_embedding_bag(TABLE, jnp.array([0, 1, 2]), jnp.array([1, 2]), pool="sum")
    np.testing.assert_array_equal(h, TABLE[1:3])


def test_small_integer_types_can_name_rows_of_a_larger_table():
    table = jnp.arange(300.0)[:, None]
    ids = jnp.array([[100, -1]], jnp.int8)
    assert float(embedding_bag(table, ids)[0, 0]) == 100
    assert float(window(table, ids)[0, 0]) == 100
    assert float(ragged_embedding_bag(table, ids[0], jnp.array([0], jnp.int8))[0, 0]) == 100
    assert float(embedding_bag(table, jnp.array([[255]], jnp.uint8))[0, 0]) == 255


def test_a_table_without_rows_has_only_padding():
    empty = jnp.zeros((0, D))
    assert not np.any(embedding_bag(empty, PADDED))
    assert jax.grad(lambda t: embedding_bag(t, PADDED).sum())(empty).shape == (0, D)


def test_a_window_puts_word_vectors_side_by_side_and_adds_up_what_comes_back():
    ids = jnp.array([[2, 5, 2]])
    x, pull = jax.vjp(lambda t: window(t, ids), TABLE)
    np.testing.assert_array_equal(x[0], np.concatenate([TABLE[2], TABLE[5], TABLE[2]]))
    upstream = np.arange(12, dtype=np.float32)[None]
    (dtable,) = pull(jnp.asarray(upstream))
    expected = np.zeros((V, D), np.float32)
    expected[2] = upstream[0, :4] + upstream[0, 8:]
    expected[5] = upstream[0, 4:8]
    np.testing.assert_array_equal(dtable, expected)


def test_without_weights_the_backward_pass_keeps_only_the_ids():
    _, pull = jax.vjp(lambda t: embedding_bag(t, PADDED), TABLE)
    assert [x.dtype for x in jax.tree.leaves(pull) if isinstance(x, jax.Array)] == [jnp.int32]


def test_the_pool_is_mean_or_sum():
    with pytest.raises(ValueError, match="pool is 'max'; it is 'mean' or 'sum'"):
        embedding_bag(TABLE, PADDED, pool="max")
