"""The multi-layer perceptron against its formula written out in NumPy and plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import MLP

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
Y = np.array([0, 2, 1, 1, 0])


def numbers(model: MLP) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(W[...]), np.asarray(b[...])) for W, b in zip(model.W, model.b, strict=True)]


def test_it_is_affine_layers_with_a_unit_between_them():
    model = MLP(4, [6, 5], 3, unit="tanh", rngs=nnx.Rngs(0))
    (W1, b1), (W2, b2), (W3, b3) = numbers(model)
    by_hand = np.tanh(np.tanh(X @ W1 + b1) @ W2 + b2) @ W3 + b3
    assert np.asarray(model(jnp.asarray(X))) == pytest.approx(by_hand, rel=1e-5)


def test_without_hidden_layers_it_is_a_linear_classifier():
    model = MLP(4, [], 3, rngs=nnx.Rngs(0))
    ((W, b),) = numbers(model)
    assert np.asarray(model(jnp.asarray(X))) == pytest.approx(X @ W + b, rel=1e-5)


def test_its_gradient_is_that_of_autodiff():
    """The same network in plain jax.numpy, differentiated by JAX alone, in float64."""
    with jax.enable_x64(True):
        model = MLP(4, [6, 5], 3, unit="sigmoid", rngs=nnx.Rngs(0))
        graph, params = nnx.split(model, nnx.Param)
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        x = jnp.asarray(X, jnp.float64)

        def by_rules(params):
            return nnx.merge(graph, params).loss_and_correct(x, jnp.asarray(Y))[0].sum()

        def plain(params):
            a = x
            for layer in range(2):
                a = jax.nn.sigmoid(a @ params["W"][layer][...] + params["b"][layer][...])
            scores = a @ params["W"][2][...] + params["b"][2][...]
            return -jax.nn.log_softmax(scores)[jnp.arange(5), Y].sum()

        found, expected = jax.grad(by_rules)(params), jax.grad(plain)(params)
        for f, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert np.asarray(f) == pytest.approx(np.asarray(e), rel=1e-9)


def test_assess_says_who_was_right():
    model = MLP(2, [], 2, rngs=nnx.Rngs(0))
    model.W[0][...] = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    losses, right = model.loss_and_correct(jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([0, 1]))
    assert right.tolist() == [True, False]
    assert losses.tolist() == pytest.approx([np.log(1 + np.exp(-1)), np.log(1 + np.exp(1))], rel=1e-6)


def test_dropout_draws_a_new_mask_each_time_and_is_off_in_evaluation():
    model = MLP(4, [50], 3, dropout=0.5, rngs=nnx.Rngs(0))
    x = jnp.asarray(X)
    assert not np.array_equal(model(x), model(x))
    model.eval()
    (W1, b1), (W2, b2) = numbers(model)
    assert np.asarray(model(x)) == pytest.approx(np.maximum(X @ W1 + b1, 0) @ W2 + b2, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
def test_normalisation_stands_between_affine_layer_and_unit(norm: str):
    model = MLP(4, [6], 3, norm=norm, rngs=nnx.Rngs(0))
    (W1, b1), (W2, b2) = numbers(model)
    z = (X @ W1 + b1).astype(np.float64)
    axis = 0 if norm == "batch" else -1
    centred = z if norm == "rms" else z - z.mean(axis, keepdims=True)
    eps = 1e-6 if norm == "rms" else 1e-5
    n = centred / np.sqrt((centred**2).mean(axis, keepdims=True) + eps)
    assert np.asarray(model(jnp.asarray(X))) == pytest.approx(np.maximum(n, 0) @ W2 + b2, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unit": "rleu"}, "MLP: 'rleu' is not a unit"),
        ({"norm": "group", "hidden": []}, "norm is 'group'"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"hidden": [0]}, "must be at least 1"),
    ],
)
def test_a_bad_setting_is_named(settings: dict, message: str):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        MLP(4, settings.pop("hidden", [3]), 3, rngs=nnx.Rngs(0), **settings)
