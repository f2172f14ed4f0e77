"""fit(): the same seed gives the same bits, a resumed run ends as one that never stopped, the best epoch is kept."""

import dataclasses
import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tensorboardX.proto import event_pb2

from jaxbackprop.data import Bags, DataError, Examples
from jaxbackprop.models import MLP, BagOfWords
from jaxbackprop.training import NotFinite, Terminated, data_source, fit, load_run
from jaxbackprop.training.checkpoints import Checkpoints
from jaxbackprop.training.minibatches import on_device
from jaxbackprop.training.processes import example_sharding
from jaxbackprop.training.run_folder import RunFolder
from jaxbackprop.training.step import prepare

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)
LENGTHS = RNG.integers(0, 9, 60)
BAGS = Bags(RNG.integers(0, 20, LENGTHS.sum()), np.concatenate([[0], np.cumsum(LENGTHS)]))
LABELS = RNG.integers(0, 2, 60)


def linear() -> MLP:
    return MLP(4, [], 3, rngs=nnx.Rngs(0))


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
    share = example_sharding(jax.devices()[:2])
    program, state = prepare(MLP(4, [8], 3, rngs=nnx.Rngs(0)), None, optax.sgd(0.1), share=share)
    order = jax.random.permutation(jax.random.key(0), 90)
    batches = on_device((X, Y), 16).split(share)
    compiled = program.steps.lower(state, batches, order, 0, 5).compile().as_text() or ""
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
        fit(noisy(), (X, Y), **settings, out=tmp_path / "run", on_epoch=interrupt)
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
    assert (tmp_path / "checkpoints" / "best" / f"{history.best.epoch}.json").exists()
    assert bits(load_run(tmp_path).model) == bits(model)


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
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(nnx.state(load_run(tmp_path).model, nnx.Param)))


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


def squared_error(model: Any, x: Any, y: Any) -> Any:
    """The loss of each example and, of each output, the absolute error."""
    error = model(x) - y
    return (error**2).sum(-1), {"absolute error": jnp.abs(error)}


TARGETS = (X @ np.array([[1.0, -2.0], [-2.0, 0], [0.5, 1], [3.0, 1]]) + [0.25, 0]).astype(np.float32)


def test_a_regression_with_several_outputs_is_measured_by_its_own_metrics(tmp_path: Path):
    """A linear model's solution is that of least squares; it has no accuracy, and its smallest loss is its best."""
    model = MLP(4, [], 2, rngs=nnx.Rngs(0))
    settings: dict[str, Any] = {"epochs": 150, "batch": 90, "optimizer": "momentum", "lr": 0.05, "loss": squared_error}
    history = fit(model, (X, TARGETS), valid=(X, TARGETS), **settings, out=tmp_path / "run")
    assert np.asarray(model.W[0][...])[:, 0] == pytest.approx([1.0, -2.0, 0.5, 3.0], rel=1e-3)
    assert np.asarray(model.b[0][...]) == pytest.approx([0.25, 0], rel=1e-3, abs=1e-3)
    last = history.epochs[-1]
    assert (last.accuracy, last.valid_accuracy, last.step, last.learning_rate) == (None, None, 150, pytest.approx(0.05))
    assert history.best.valid_loss == min(epoch.valid_loss or 0 for epoch in history.epochs)
    expected = np.abs(np.asarray(model(jnp.asarray(X))) - TARGETS).mean()
    assert history.best.valid_metrics == {"absolute error": pytest.approx(expected, rel=1e-2, abs=1e-6)}
    assert "absolute error" in str(history)
    assert "accuracy" not in str(history)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])["metrics"].keys() == {
        "absolute error"
    }


def test_a_loss_alone_is_enough_and_a_mean_is_one():
    """A loss per example, and their mean, train the same model; the steps' mean losses are the epoch's."""
    losses: list[float] = []
    ways: list[Any] = [
        lambda model, x, y: squared_error(model, x, y)[0],
        lambda model, x, y: squared_error(model, x, y)[0].mean(),
    ]
    models = []
    for way in ways:
        model = MLP(4, [], 2, rngs=nnx.Rngs(0))
        history = fit(model, (X, TARGETS), epochs=2, batch=32, loss=way, on_step=lambda step: losses.append(step.loss))
        assert history.epochs[1].loss == pytest.approx(np.average(losses[-3:], weights=[32, 32, 26]))
        models.append(np.asarray(model.W[0][...]))
    assert models[0] == pytest.approx(models[1], rel=1e-5)
    with pytest.raises(TypeError, match="the loss returned NoneType"):
        fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), (X, TARGETS), loss=lambda *_: None)


@pytest.mark.parametrize(
    "wrong", [lambda m, x, y: (m(x)[:, :1] - y[:, 0]) ** 2, lambda m, x, y: (m(x) - y)[:3, 0] ** 2]
)
def test_a_loss_of_another_shape_than_the_minibatch_is_refused(wrong: Any):
    with pytest.raises(TypeError, match="it has a value for each example, or is their mean"):
        fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), (X, TARGETS), batch=32, loss=wrong)


def test_minibatches_of_a_loader_a_function_and_dictionaries_are_trained_on():
    """The same minibatches each time: one model. Eight, eight and the two that remain."""

    def batches(epoch: int) -> Any:
        rows = np.random.default_rng(epoch).permutation(18)
        return ((X[part], TARGETS[part]) for part in (rows[:8], rows[8:16], rows[16:]))

    class Loader:
        epoch = 0

        def __iter__(self) -> Any:
            self.epoch += 1
            return batches(self.epoch)

        def __len__(self) -> int:
            return 3

    def of_dictionary(model: Any, batch: Any) -> Any:
        return squared_error(model, batch["in"], batch["out"])

    def dictionaries(epoch: int) -> Any:
        return ({"in": x, "out": y} for x, y in batches(epoch))

    found = []
    for data, loss in ((Loader(), squared_error), (batches, squared_error), (dictionaries, of_dictionary)):
        model = MLP(4, [], 2, rngs=nnx.Rngs(0))
        history = fit(model, data, epochs=3, loss=loss, valid=(X, TARGETS) if loss is squared_error else None)
        assert history.epochs[-1].step == 9
        found.append(bits(model))
    assert found[0] == found[1] == found[2]
    once = batches(1)
    with pytest.raises(ValueError, match="an iterator, which can be read only once"):
        fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), once, loss=squared_error)
    fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), once, loss=squared_error, epochs=1)
    with pytest.raises(ValueError, match="need the number of steps"):
        fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), batches, loss=squared_error, schedule="cosine")
    with pytest.raises(ValueError, match="no minibatch in epoch 1"):
        fit(MLP(4, [], 2, rngs=nnx.Rngs(0)), lambda epoch: iter(()), loss=squared_error)
    with pytest.raises(ValueError, match=r"tuple of shapes \(4,\), \(\)\.\n.*put the examples together"):
        fit(linear(), lambda epoch: zip(X, Y, strict=True))


class Rows:
    """The methods of a Hugging Face dataset that are used."""

    def __init__(self, order: np.ndarray):
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Any]:
        return ({"x": X[i].tolist(), "y": int(Y[i])} for i in self.order)

    def shuffle(self, seed: int) -> "Rows":
        return Rows(np.random.default_rng(seed).permutation(self.order))

    def with_format(self, kind: str) -> "Rows":
        assert kind == "numpy"
        return self

    def iter(self, size: int) -> Iterator[Any]:
        parts = (self.order[i : i + size] for i in range(0, len(self), size))
        return ({"x": X[part], "y": Y[part]} for part in parts)


def test_a_hugging_face_dataset_is_trained_on_and_resumed_in_place(tmp_path: Path):
    def stop(step: Any) -> None:
        if step.step == 5:
            raise RuntimeError

    straight, resumed = linear(), linear()
    settings: dict[str, Any] = {"batch": 32, "epochs": 2, "schedule": "cosine", "valid": Rows(np.arange(9))}
    history = fit(straight, Rows(np.arange(90)), **settings)
    assert (history.epochs[-1].step, history.epochs[-1].learning_rate) == (6, pytest.approx(0, abs=1e-4))
    with pytest.raises(RuntimeError):
        fit(linear(), Rows(np.arange(90)), **settings, out=tmp_path / "run", save_every=1, on_step=stop)
    fit(resumed, Rows(np.arange(90)), **settings, out=tmp_path / "run", resume=True)
    assert bits(resumed) == bits(straight)


def test_a_dictionary_of_arrays_is_shuffled_like_a_tuple():
    tuples, pairs, own = (MLP(4, [], 3, rngs=nnx.Rngs(0)) for _ in range(3))
    fit(tuples, (X, Y), epochs=1)
    fit(pairs, {"x": X, "y": Y}, epochs=1)
    data = {"image": X, "label": Y}
    fit(own, data, epochs=1, loss=lambda model, batch: model.loss_and_correct(batch["image"], batch["label"]))
    assert bits(tuples) == bits(pairs)
    assert np.asarray(own.W[0][...]) == pytest.approx(np.asarray(tuples.W[0][...]), rel=1e-5)
    with pytest.raises(TypeError, match="a dictionary of image, label; the loss of MLP takes none"):
        fit(own, data)


def test_gradients_of_several_steps_make_one_update():
    """Of four steps on 22 examples each: that of one step on all 88."""
    whole, parts = (MLP(4, [], 2, rngs=nnx.Rngs(0)) for _ in range(2))
    settings: dict[str, Any] = {"epochs": 2, "optimizer": "sgd", "lr": 0.1, "loss": squared_error}
    fit(whole, (X[:88], TARGETS[:88]), batch=88, **settings)
    history = fit(parts, (X[:88], TARGETS[:88]), batch=22, accumulate=4, **settings, gradient_norm=True)
    assert np.asarray(parts.W[0][...]) == pytest.approx(np.asarray(whole.W[0][...]), rel=1e-5)
    assert (history.epochs[0].gradient_norm or 0) > 0


def test_what_is_not_trained_stays_as_it_is_and_the_rest_learns(tmp_path: Path):
    model = noisy()
    before = np.asarray(model.W[0][...]), np.asarray(model.W[1][...])
    head = nnx.All(nnx.Param, lambda path, _: 1 in path)
    fit(model, (X, Y), epochs=2, wrt=head, dtype="bfloat16", l2=0.1, out=tmp_path / "run")
    assert np.array_equal(model.W[0][...], before[0])
    assert not np.array_equal(model.W[1][...], before[1])
    assert bits(load_run(tmp_path / "run").model) == bits(model)
    with pytest.raises(ValueError, match="no parameter to train"):
        fit(model, (X, Y), wrt=nnx.PathContains("nothing"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as Python handles it: a process that a shell starts in the background ignores it, and so does `fit`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_run_stopped_within_an_epoch_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By SIGTERM, by SIGINT, and by an error of a callback: saved at the step, continued to the same bits."""
    monkeypatch.setattr(data_source, "SECONDS", 0.0)  # chunks of one step
    settings: dict[str, Any] = {"valid": 0.2, "epochs": 2, "batch": 8, "lr": 0.02, "seed": 3}
    straight = noisy()
    expected = fit(straight, (X, Y), **settings)

    def stopping(at: int, how: Callable[[], Any]) -> Callable[[Any], None]:
        return lambda step: how() if step.step == at else None

    def fail() -> None:
        raise RuntimeError("of the callback")

    ways: list[tuple[type[BaseException], Callable[[], Any]]] = [
        (Terminated, lambda: signal.raise_signal(signal.SIGTERM)),
        (KeyboardInterrupt, lambda: signal.raise_signal(signal.SIGINT)),
        (RuntimeError, fail),
    ]
    folder = tmp_path / "run"
    for number, (error, how) in enumerate(ways):
        with pytest.raises(error) as stopped:
            fit(noisy(), (X, Y), **settings, out=folder, resume=number > 0, on_step=stopping(3 + 2 * number, how))
        if number < 2:
            assert "resume continues the run" in str(stopped.value)
    with pytest.raises(DataError, match="stopped in its first epoch"):
        load_run(folder)
    resumed = noisy()
    history = fit(resumed, (X, Y), **settings, out=folder, resume=True)
    assert bits(resumed) == bits(straight)
    times: dict[str, Any] = {"seconds": 0, "examples_per_second": 0, "steps_per_second": None}
    timeless = [[dataclasses.replace(e, **times) for e in of.epochs] for of in (history, expected)]
    assert timeless[0] == timeless[1]
    again = noisy()
    assert fit(again, (X, Y), **settings, out=folder, resume=True).compile_seconds is None, "it is finished"
    assert bits(again) == bits(straight)


@pytest.mark.parametrize("loaded", [False, True])
def test_checkpoints_are_written_as_often_as_wanted(loaded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every five of twelve steps, and where the epoch ends."""
    written: list[int] = []
    save = Checkpoints.save

    def noted(self: Checkpoints, about: Any, *rest: Any) -> None:
        written.append(about["step"])
        save(self, about, *rest)

    monkeypatch.setattr(Checkpoints, "save", noted)
    data = (X, Y) if not loaded else lambda epoch: ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 90, 8))
    fit(linear(), data, batch=8, epochs=2, out=tmp_path, save_every=5, keep=4)
    assert written == [5, 10, 12, 17, 22, 24]
    kept = sorted((tmp_path / "checkpoints" / "last").glob("*.json"))
    assert [json.loads(path.read_text())["step"] for path in kept] == [12, 17, 22, 24]


def test_other_data_are_not_resumed_with(tmp_path: Path):
    fit(linear(), (X, Y), epochs=1, out=tmp_path)
    for data in ((X[::-1], Y[::-1]), (X[:80], Y[:80]), (X, (Y + 1) % 3)):
        with pytest.raises(DataError, match="other data than the run was begun with"):
            fit(linear(), data, epochs=2, out=tmp_path, resume=True)
    fit(linear(), (X, Y), epochs=2, out=tmp_path, resume=True)
    assert load_run(tmp_path).settings["epochs"] == 2


def test_a_folder_that_cannot_be_a_runs_is_refused_before_the_work(tmp_path: Path):
    (tmp_path / "file").touch()
    for path, message in ((tmp_path / "file", "found a file"), (tmp_path, "not empty"),
                          (tmp_path / "file" / "run", "no folder that can be written")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            fit(linear(), None, out=path)


def test_one_process_trains_in_a_folder(tmp_path: Path):
    def meanwhile(_: Any) -> None:
        fit(linear(), (X, Y), epochs=2, out=tmp_path, resume=True)

    with pytest.raises(DataError, match=rf"process {os.getpid()} on .*, training in it"):
        fit(linear(), (X, Y), epochs=2, out=tmp_path, on_epoch=meanwhile)
    fit(linear(), (X, Y), epochs=2, out=tmp_path, resume=True)
    assert not (tmp_path / "lock").exists()


def test_what_cannot_be_saved_is_trained_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A full disk: a warning when it is met, an error at the end, the model trained, what was saved before kept."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    model, straight = linear(), linear()
    with monkeypatch.context() as changed:
        changed.setattr(Checkpoints, "_write", full)
        with pytest.warns(UserWarning, match="No space left"), pytest.raises(DataError, match="Make room there"):
            fit(model, (X, Y), epochs=2, out=tmp_path)
    fit(straight, (X, Y), epochs=2)
    assert bits(model) == bits(straight)


def test_a_run_that_fails_before_its_first_step_leaves_no_folder(tmp_path: Path):
    """The mended call can have its name."""
    with pytest.raises(TypeError, match="the loss has shape"):
        fit(linear(), (X, Y), loss=lambda model, x, y: model(x), epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def events_in(folder: Path) -> list[Any]:
    """What TensorBoard would read: records of a length, its checksum, an event and a checksum; by file in order."""
    found = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            event = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue]
            found.append(event.FromString(data[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def test_the_metrics_are_written_for_tensorboard_and_go_on_where_a_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings: dict[str, Any] = {"valid": 0.2, "epochs": 2, "batch": 24, "gradient_norm": True, "tensorboard": True}

    def stop(step: Any) -> None:
        if step.step == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(data_source, "SECONDS", 0.0)  # chunks of one step
    with pytest.raises(KeyboardInterrupt):
        fit(linear(), (X, Y), **settings, out=tmp_path / "run", on_step=stop)
    history = fit(linear(), (X, Y), **settings, out=tmp_path / "run", resume=True)
    events = events_in(tmp_path / "run" / "tensorboard")
    scalars = [(value.tag, event.step, value.simple_value) for event in events for value in event.summary.value]
    assert [step for tag, step, _ in scalars if tag == "step/loss"] == [1, 2, 3, 4, 5, 6]
    assert {tag for tag, *_ in scalars if tag.startswith("step/")} == {
        f"step/{name}" for name in ("loss", "accuracy", "gradient_norm", "learning_rate")
    }
    for tag, of in (("epoch/loss", "loss"), ("epoch/valid_accuracy", "valid_accuracy")):
        expected = [(epoch.step, pytest.approx(getattr(epoch, of))) for epoch in history.epochs]
        assert [(step, value) for name, step, value in scalars if name == tag] == expected
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(DataError, match=r"no tensorboardX.*\n.*pip install 'jaxbackprop\[tensorboard\]'"):
        fit(linear(), (X, Y), **settings, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


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
        ({"lr": "fast"}, "lr is 'fast'"),
        ({"lr": -1}, "lr is -1"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"patience": 2}, "give valid= as well"),
        ({"patience": 0, "valid": 0.1}, "patience is 0"),
        ({"valid": 0.001}, "holds out 0 of 90"),
        ({"optimizer": "adamm"}, "optimizer is 'adamm'.*Did you mean adam"),
        ({"optimizer": optax.lion(1e-3), "lr": 5.0}, "lr given with an optimizer of your own"),
        ({"optimizer": optax.lion(1e-3), "schedule": "cosine", "warmup": 0.1}, "schedule and warmup given"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"l2": -1.0}, "l2 is -1.0"),
        ({"seed": -1, "valid": 0.1}, "seed is -1"),
        ({"tensorboard": True}, "tensorboard=True needs out="),
        ({"save_every": 5}, "save_every=5 needs out="),
        ({"on_epoch": 5}, "on_epoch is 5; it is a function"),
        ({"data": (X.tolist(), Y)}, r"have 0, 0, 0, 0, \.\.\. rows.\n  Each is an array"),
        ({"data": (X, Y.astype(str))}, "an array of <U"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], message: str):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(**{"model": MLP(4, [], 3, rngs=nnx.Rngs(0)), "data": (X, Y), **settings})


def test_options_of_other_libraries_are_named_by_ours():
    options: dict[str, Any] = {"learning_rate": "lr", "batch_size": "batch", "epoch": "epochs or on_epoch"}
    for wrong, near in options.items():
        with pytest.raises(TypeError, match=f"no option {wrong}. Did you mean {near}"):
            fit(linear(), (X, Y), **dict[str, Any]({wrong: 1}))
    with pytest.raises(TypeError, match="a function that does not take the epoch"):
        fit(linear(), lambda: iter([(X, Y)]))


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
