"""Scores and evaluations of a trained model, example by example."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.data import Bags
from jaxbackprop.models import MLP, BagOfWords
from jaxbackprop.training import evaluate, scores

RNG = np.random.default_rng(0)


def test_scores_are_the_models_in_the_order_of_the_examples():
    """In evaluation mode, in minibatches of three with a remainder, and the model is left as it was."""
    x = RNG.normal(size=(10, 4)).astype(np.float32)
    model = MLP(4, [6], 3, dropout=0.5, rngs=nnx.Rngs(0))
    found = scores(model, x, batch=3)
    assert not model.deterministic
    model.eval()
    assert found == pytest.approx(np.asarray(model(jnp.asarray(x))), rel=1e-5, abs=1e-6)


def test_texts_of_any_length_keep_their_order():
    lengths = RNG.integers(0, 9, 23)
    bags = Bags(RNG.integers(0, 6, lengths.sum()), np.concatenate([[0], np.cumsum(lengths)]))
    model = BagOfWords(6, 4, 3, rngs=nnx.Rngs(0))
    model.table[...] = jnp.asarray(RNG.normal(size=(6, 4)), jnp.float32)
    alone = [np.asarray(model(jnp.asarray(bag)[None, :]))[0] for bag in bags if len(bag)]
    found = scores(model, bags, batch=5)
    assert found[lengths > 0] == pytest.approx(np.stack(alone), rel=1e-5, abs=1e-6)
    assert (found[lengths == 0] == 0).all()


def test_a_confusion_matrix_counts_true_classes_down_and_predicted_across():
    """The scores are the inputs themselves; three of five examples are right."""
    model = MLP(3, [], 3, rngs=nnx.Rngs(0))
    model.W[0][...] = jnp.eye(3)
    x = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 0]]
    found = evaluate(model, (x, np.array([0, 1, 2, 1, 1])))
    assert found.predicted.tolist() == [0, 1, 2, 2, 0]
    assert found.accuracy == pytest.approx(0.6)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 1]]
    right, wrong = np.log(np.exp(1) + 2) - 1, np.log(np.exp(1) + 2)
    assert found.loss == pytest.approx((3 * right + 2 * wrong) / 5, rel=1e-6)
