"""fit(): the same seed gives the same bits, a resumed run ends as one that never stopped, the best epoch is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxbackprop.data import Bags, DataError, Examples
from jaxbackprop.models import MLP, BagOfWords
from jaxbackprop.training import NotFinite, fit
from jaxbackprop.training.checkpoints import Checkpoints
from jaxbackprop.training.minibatches import on_device
from jaxbackprop.training.run_folder import RunFolder
from jaxbackprop.training.step import prepare

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
LENGTHS = RNG.integers(0, 9, 60)
BAGS = Bags(RNG.integers(0, 20, LENGTHS.sum()), np.concatenate([[0], np.cumsum(LENGTHS)]))
LABELS = RNG.integers(0, 2, 60)


def noisy() -> MLP:
    """Everything a run carries from step to step: weights, running statistics, keys."""
    return MLP(4, [8], 3, dropout=0.3, norm="batch", rngs=nnx.Rngs(0))


def bits(model: nnx.Module) -> list[bytes]:
    """Every number of a model, to the last bit."""
    leaves = jax.tree.leaves(nnx.state(model))
    keys = [jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves]
    return [np.asarray(jax.random.key_data(x) if key else x).tobytes() for x, key in zip(leaves, keys, strict=True)]


@pytest.mark.parametrize(
    ("made", "data"),
    [(noisy, (X, Y)), (lambda: BagOfWords(20, 4, 2, rngs=nnx.Rngs(0)), (BAGS, LABELS))],
    ids=["examples", "texts"],
)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(made: Callable[[], nnx.Module], data: Any):
    runs = []
    for seed in (1, 1, 2):
        model = made()
        history = fit(model, data, epochs=2, batch=16, seed=seed)
        runs.append((bits(model), [epoch.loss for epoch in history.epochs]))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    ("made", "data"),
    [(noisy, (X, Y)), (lambda: BagOfWords(20, 4, 2, rngs=nnx.Rngs(0)), (BAGS, LABELS))],
    ids=["examples", "texts"],
)
def test_a_run_on_two_devices_is_the_run_on_one(made: Callable[[], nnx.Module], data: Any, tmp_path: Path):
    """Batch norm over the whole minibatch, dropout's masks and the smaller last minibatch included."""
    # Not Adam: a bias before batch norm has a gradient of rounding errors alone, which it scales up to whole steps.
    settings: dict[str, Any] = {"valid": 0.2, "epochs": 3, "batch": 16, "lr": 0.1, "optimizer": "momentum"}
    alone, shared = made(), made()
    expected = fit(alone, data, **settings)
    found = fit(shared, data, **settings, devices=jax.devices()[:2], out=tmp_path / "run")
    np.testing.assert_allclose([e.loss for e in found.epochs], [e.loss for e in expected.epochs], rtol=1e-5)
    for ours, theirs in zip(
        jax.tree.leaves(nnx.state(shared, nnx.Param)), jax.tree.leaves(nnx.state(alone, nnx.Param))
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        assert ours.devices() == {jax.devices()[0]}
    more = made()
    settings["epochs"] = 4
    fit(more, data, **settings, devices=jax.devices()[:2], out=tmp_path / "run", resume=True)


def test_each_device_gets_its_share_of_a_minibatch():
    program, state = prepare(MLP(4, [8], 3, rngs=nnx.Rngs(0)), None, optax.sgd(0.1))
    batches = on_device((X, Y), 16).split_over(jax.devices()[:2])
    assert batches.share is not None
    state = jax.device_put(state, jax.sharding.NamedSharding(batches.share.mesh, jax.sharding.PartitionSpec()))
    compiled = program.epoch.lower(state, batches, jax.random.key(0)).compile().as_text() or ""
    assert "f32[8,8]" in compiled, "eight of the sixteen examples are eight rows of the hidden layer"
    assert "all-reduce" in compiled
    with pytest.raises(ValueError, match="minibatch of 15 examples cannot be split over 2 devices"):
        fit(noisy(), (X, Y), batch=15, devices=jax.devices()[:2])


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path):
    """Bit for bit: weights, statistics, keys, every recorded loss and the best epoch."""
    settings: dict[str, Any] = {"valid": 0.2, "epochs": 6, "batch": 16, "lr": 0.02, "schedule": "cosine"}

    def interrupt(epoch: Any) -> None:
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    straight, resumed = noisy(), noisy()
    through = fit(straight, (X, Y), **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(noisy(), (X, Y), **settings, out=tmp_path / "run", progress=interrupt)
    history = fit(resumed, (X, Y), **settings, out=tmp_path / "run", resume=True)
    assert bits(resumed) == bits(straight)
    assert [(e.loss, e.valid_loss) for e in history.epochs] == [(e.loss, e.valid_loss) for e in through.epochs]
    assert history.best.epoch == through.best.epoch


def test_a_run_is_resumed_with_the_settings_it_began_with(tmp_path: Path):
    fit(noisy(), (X, Y), epochs=1, out=tmp_path)
    with pytest.raises(ValueError, match=r"lr was 0\.001 and is 0\.1"):
        fit(noisy(), (X, Y), epochs=2, lr=0.1, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="hidden was"):
        fit(MLP(4, [9], 3, rngs=nnx.Rngs(0)), (X, Y), epochs=2, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="resume=True needs out="):
        fit(noisy(), (X, Y), resume=True)


def test_a_run_folder_holds_all_of_a_run(tmp_path: Path):
    pytest.importorskip("matplotlib")
    model = noisy()
    history = fit(model, (X, Y), valid=0.2, epochs=3, out=tmp_path, config={"why": "a test"})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["why"] == "a test"
    assert config["model"] == {
        "class": "MLP", "features": 4, "hidden": [8], "classes": 3,
        "unit": "relu", "dropout": 0.3, "norm": "batch", "smoothing": 0.0,
    }  # fmt: skip
    assert {"seed", "lr", "batch", "optimizer"} <= set(config["fit"])
    assert RunFolder.open(tmp_path).epochs() == list(history.epochs)
    for picture in ("curves.png", "confusion.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    _, params, others = nnx.split(noisy(), nnx.Param, ...)
    number, (params, _) = Checkpoints(tmp_path / "checkpoints").load("best", (params, others))
    assert number == history.best.epoch
    kept = nnx.state(model, nnx.Param)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(kept), strict=True):
        assert np.array_equal(a, b)


def test_what_was_saved_before_a_nan_stays(tmp_path: Path):
    """The learning rate jumps to 1e30 in the third epoch; the first two epochs and their checkpoint are there."""
    steps = 90 // 16 + 1

    def jumps(step: Any) -> Any:
        return jnp.where(step < 2 * steps, 0.01, 1e30)

    with pytest.raises(NotFinite) as caught:
        fit(noisy(), (X, Y), epochs=4, batch=16, optimizer="sgd", schedule=jumps, out=tmp_path)
    assert caught.value.epoch == 3
    run = RunFolder.open(tmp_path)
    assert [e.epoch for e in run.epochs()] == [1, 2]
    _, params, others = nnx.split(noisy(), nnx.Param, ...)
    number, numbers = Checkpoints(tmp_path / "checkpoints").load("best", (params, others))
    assert number in (1, 2)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(numbers[0]))


def test_the_best_epoch_on_held_out_data_is_kept_and_patience_ends_the_run():
    """The rate is 0 after the first epoch: nothing gets better, so the run ends after 1 + 2 epochs."""
    model = MLP(4, [8], 3, rngs=nnx.Rngs(0))
    rate = lambda step: jnp.where(step < 5, 0.01, 0.0)  # noqa: E731
    history = fit(model, (X[:80], Y[:80]), valid=(X[80:], Y[80:]), epochs=50, batch=16, schedule=rate, patience=2)
    assert history.stopped_early
    assert len(history.epochs) == 3
    assert history.best.epoch == 1


def test_what_is_held_out_is_never_trained_on():
    """Labels of the held-out examples are all wrong; a model that saw them would know them."""
    order = np.random.default_rng(0).permutation(90)
    y = Y.copy()
    y[order[:30]] = (Y[order[:30]] + 1) % 3
    model = MLP(4, [32], 3, rngs=nnx.Rngs(0))
    history = fit(model, (X, y), valid=1 / 3, epochs=60, batch=15, lr=0.01, seed=0)
    last = history.epochs[-1]
    assert last.accuracy is not None
    assert last.accuracy > 0.95
    assert last.valid_accuracy is not None
    assert last.valid_accuracy < 0.2


def test_the_model_is_trained_in_place_and_left_in_evaluation_mode():
    model = noisy()
    before = bits(model)
    fit(model, (X, Y), epochs=1)
    assert bits(model) != before
    assert model.deterministic


def test_examples_are_taken_as_they_are_and_so_is_any_optax_transformation():
    model = MLP(4, [16], 3, rngs=nnx.Rngs(0))
    data = Examples(X, Y, ("a", "b", "c"))
    history = fit(model, data, epochs=30, batch=16, optimizer=optax.adamw(0.02))
    last = history.epochs[-1]
    assert last.accuracy is not None
    assert last.accuracy > 0.95
    assert last.loss < history.epochs[0].loss


def test_a_loss_of_ones_own_is_used():
    """Squared error of a linear model: the solution is that of least squares."""
    target = (X @ np.array([1.0, -2.0, 0.5, 3.0]) + 0.25).astype(np.float32)[:, None]

    def loss_and_correct(model: Any, x: Any, y: Any) -> Any:
        error = ((model(x) - y) ** 2).sum(-1)
        return error, error < 1e-4

    model = MLP(4, [], 1, rngs=nnx.Rngs(0))
    fit(model, (X, target), epochs=200, batch=90, optimizer="momentum", lr=0.05, loss_and_correct=loss_and_correct)
    assert np.asarray(model.W[0][...])[:, 0] == pytest.approx([1.0, -2.0, 0.5, 3.0], rel=1e-3)
    assert np.asarray(model.b[0][...])[0] == pytest.approx(0.25, rel=1e-3)


def test_bfloat16_passes_learn_what_float32_passes_learn():
    """Batch norm, dropout, momentum and all; the parameters and running statistics stay float32."""
    right = {}
    for dtype in (None, "bfloat16"):
        model = noisy()
        right[dtype] = fit(model, (X, Y), valid=(X, Y), epochs=30, batch=9, lr=0.01, dtype=dtype).best.valid_accuracy
        numbers = [x.dtype for x in jax.tree.leaves(nnx.state(model)) if jnp.issubdtype(x.dtype, jnp.floating)]
        assert set(numbers) == {jnp.dtype("float32")}
    assert min(right.values()) > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"patience": 2}, "give valid= as well"),
        ({"patience": 0, "valid": 0.1}, "patience is 0"),
        ({"valid": 0.001}, "holds out 0 of 90"),
        ({"optimizer": "adamm"}, "optimizer is 'adamm'"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        fit(MLP(4, [], 3, rngs=nnx.Rngs(0)), (X, Y), **settings)


def test_labels_beyond_the_models_classes_are_refused():
    """The loss would pass over them in silence: such a label is padding to it."""
    with pytest.raises(ValueError, match="labels run from 0 to 2, but the model has 2 classes"):
        fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), (X, Y))


def test_a_model_that_cannot_be_assessed_is_told_how():
    class Bare(nnx.Module):
        pass

    with pytest.raises(TypeError, match="Bare has no method loss_and_correct"):
        fit(Bare(), (X, Y))


def test_a_run_is_not_written_over(tmp_path: Path):
    fit(noisy(), (X, Y), epochs=1, out=tmp_path)
    with pytest.raises(DataError, match="a run that is there already"):
        fit(noisy(), (X, Y), epochs=1, out=tmp_path)
