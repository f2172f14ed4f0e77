"""What only a GPU can show: rules judged by its arithmetic, an epoch that stays on it, bfloat16 passes."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import jaxbackprop as jbp
from jaxbackprop.training.minibatches import on_device
from jaxbackprop.training.step import prepare

GPU = any(device.platform == "gpu" for device in jax.devices())
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPU, reason="there is no GPU here")]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(512, 16)).astype(np.float32)
Y = (X @ RNG.normal(size=(16, 4))).argmax(1)


@pytest.mark.parametrize(
    "name",
    ["mul", "reduce_sum", "tanh", "gelu", "matmul", "affine", "layer_norm", "hashed_dropout", "embedding_bag", "lstm",
     "softmax_cross_entropy", "linear_cross_entropy", "hierarchical_softmax", "negative_sampling"],
)  # fmt: skip
def test_a_rule_is_right_in_the_gpus_own_arithmetic(name: str):
    jbp.assert_verified(jbp.rules()[name])


def test_nothing_passes_between_host_and_gpu_during_an_epoch():
    program, state = prepare(jbp.MLP(16, [32], 4, dropout=0.1, rngs=nnx.Rngs(0)), None, optax.adam(1e-2))
    batches = on_device((X, Y), 50)
    order, first = batches.order(jax.random.key(0)), jax.device_put(np.int32(0))
    compiled = program.steps.lower(state, batches, order, first, batches.steps).compile()
    with jax.transfer_guard("disallow"):
        _, metrics = jax.block_until_ready(compiled(state, batches, order, first))
    assert np.isfinite(metrics.loss).all()


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_a_model_learns_in_either_type(dtype: str | None):
    model = jbp.MLP(16, [64], 4, rngs=nnx.Rngs(0))
    history = jbp.fit(model, (X, Y), valid=(X, Y), epochs=40, batch=32, lr=1e-2, dtype=dtype)
    assert history.best.valid_accuracy is not None
    assert history.best.valid_accuracy > 0.95


def test_the_gpu_and_the_cpu_train_the_same_model():
    """One epoch of plain SGD with full float32 products, on either: equal up to the order of sums."""
    weights = []
    with jax.default_matmul_precision("highest"):
        for device in (jax.devices()[0], jax.devices("cpu")[0]):
            with jax.default_device(device):
                model = jbp.MLP(16, [32], 4, unit="tanh", rngs=nnx.Rngs(0))
                jbp.fit(model, (X, Y), epochs=1, batch=64, optimizer="sgd", lr=0.1)
                weights.append([np.asarray(w[...]) for w in model.W])
    for on_gpu, on_cpu in zip(*weights, strict=True):
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-5)


def test_texts_are_learnt_in_large_batches(tmp_path):
    """Two words that tell the labels apart, among ten that do not."""
    kinds = RNG.integers(0, 2, 4096)
    noise = RNG.integers(0, 10, (4096, 8))
    lines = [f"__label__{k} tell{k} {' '.join(f'w{w}' for w in ws)}" for k, ws in zip(kinds, noise, strict=True)]
    (tmp_path / "texts").write_text("\n".join(lines) + "\n")
    model = jbp.fasttext.TextClassifier.train(tmp_path / "texts", dim=16, epoch=20, lr=0.5)
    _, precision, _ = model.test(tmp_path / "texts")
    assert precision > 0.99
