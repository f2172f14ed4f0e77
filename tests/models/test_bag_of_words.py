"""The bag of words: the mean of rows and an affine layer, padded or ragged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import BagOfWords, RaggedBags

PADDED = jnp.array([[0, 3, 3, -1], [5, -1, -1, -1], [-1, -1, -1, -1], [1, 2, 0, 4]])
RAGGED = RaggedBags(jnp.array([0, 3, 3, 5, 1, 2, 0, 4, -1, -1]), jnp.array([0, 3, 4, 4]))
Y = jnp.array([0, 1, 2, 1])


def filled(pool: str = "mean") -> BagOfWords:
    model = BagOfWords(6, 4, 3, pool=pool, rngs=nnx.Rngs(0))
    model.table[...] = jax.random.normal(jax.random.key(1), (6, 4))
    return model


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_a_text_is_the_mean_or_the_sum_of_its_rows(pool: str):
    model = filled(pool)
    table, W, b = (np.asarray(v[...], np.float64) for v in (model.table, model.W, model.b))
    rows = [table[[0, 3, 3]], table[[5]], np.zeros((1, 4)), table[[1, 2, 0, 4]]]
    h = np.stack([r.mean(0) if pool == "mean" else r.sum(0) for r in rows])
    assert np.asarray(model(PADDED)) == pytest.approx(h @ W + b, rel=1e-5, abs=1e-6)
    assert np.asarray(model(RAGGED)) == pytest.approx(h @ W + b, rel=1e-5, abs=1e-6)


def test_padded_and_ragged_texts_have_one_gradient():
    graph, params = nnx.split(filled(), nnx.Param)
    padded, ragged = (
        jax.grad(lambda p, ids=ids: nnx.merge(graph, p).loss_and_correct(ids, Y)[0].sum())(params)
        for ids in (PADDED, RAGGED)
    )
    for a, b in zip(jax.tree.leaves(padded), jax.tree.leaves(ragged), strict=True):
        assert np.asarray(a) == pytest.approx(np.asarray(b), rel=1e-5, abs=1e-6)


def test_a_row_that_training_never_named_says_nothing():
    """The table starts at zero: a text of new words only has the scores of an empty one, the biases."""
    model = BagOfWords(6, 4, 3, rngs=nnx.Rngs(0))
    assert np.array_equal(model(PADDED), np.zeros((4, 3)))


def test_sizes_are_at_least_one():
    with pytest.raises(ValueError, match="rows is 0"):
        BagOfWords(0, 4, 3, rngs=nnx.Rngs(0))
