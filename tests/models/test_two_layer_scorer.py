"""The lecture's two-layer scorer and its error signals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import TwoLayerScorer

RNG = np.random.default_rng(0)
X, CORRUPT = RNG.normal(size=(2, 3, 4))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_the_gradient_is_the_lectures_error_signal_times_what_stood_before_it():
    """delta3 = U f'(z2), delta2 = W2^T delta3 f'(z1); dW2 = delta3 a1^T, dW1 = delta2 x^T, db = delta, for one example.

    With a margin that is not reached, J = 1 + s_c - s: the corrupt example's signals enter with a plus, the true
    one's with a minus (CS224n lecture notes, "Window classification and neural networks").
    """
    with jax.enable_x64(True):
        model = TwoLayerScorer(4, (5, 3), rngs=nnx.Rngs(0))
        graph, params = nnx.split(model, nnx.Param)
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        W1, b1, W2, b2, U = (np.asarray(params[name][...]) for name in ("W1", "b1", "W2", "b2", "U"))
        expected = {name: 0.0 for name in ("W1", "b1", "W2", "b2", "U")}
        scores = []
        for x, sign in ((X[0], -1), (CORRUPT[0], 1)):
            a1 = sigmoid(x @ W1 + b1)
            a2 = sigmoid(a1 @ W2 + b2)
            scores.append(float(a2 @ U[:, 0]))
            delta3 = U[:, 0] * a2 * (1 - a2)
            delta2 = (W2 @ delta3) * a1 * (1 - a1)
            gradients = {
                "W1": np.outer(x, delta2), "b1": delta2, "W2": np.outer(a1, delta3), "b2": delta3, "U": a2[:, None]
            }  # fmt: skip
            expected = {name: expected[name] + sign * g for name, g in gradients.items()}
        assert 1 + scores[1] - scores[0] > 0  # the margin is not reached: the pair is paid for

        def loss(params):
            return nnx.merge(graph, params).loss_and_correct(jnp.asarray(X[:1]), jnp.asarray(CORRUPT[:1]))[0].sum()

        found = jax.grad(loss)(params)
        for name, gradient in expected.items():
            assert np.asarray(found[name][...]) == pytest.approx(gradient, rel=1e-9)


def test_a_pair_beyond_the_margin_costs_nothing():
    model = TwoLayerScorer(4, (5, 3), margin=0.0, rngs=nnx.Rngs(0))
    x, corrupt = jnp.asarray(X, jnp.float32), jnp.asarray(CORRUPT, jnp.float32)
    s, s_c = np.asarray(model(x)), np.asarray(model(corrupt))
    losses, right = model.loss_and_correct(x, corrupt)
    assert np.asarray(losses) == pytest.approx(np.maximum(0, s_c - s), abs=1e-6)
    assert right.tolist() == (s > s_c).tolist()
    assert set(right.tolist()) == {True, False}  # both are met


def test_it_has_two_hidden_layers():
    with pytest.raises(ValueError, match="sizes of two layers"):
        TwoLayerScorer(4, (5,), rngs=nnx.Rngs(0))  # type: ignore[arg-type]
