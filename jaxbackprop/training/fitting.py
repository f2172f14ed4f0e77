"""fit(): train a model on arrays, epoch by epoch, and keep the best epoch's parameters."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from ..models import describe
from .checkpoints import Checkpoints
from .evaluation import evaluate
from .first_nonfinite import NotFinite, find_fault
from .history import Epoch, History, best_of
from .minibatches import Batches, Data, on_device, parts_of, size_of, take_rows
from .optimizer import Schedule, learning_rate, make_optimizer
from .plots import draw_confusion, draw_curves
from .run_folder import CHECKPOINTS, RunFolder
from .step import EpochMetrics, LossAndCorrect, Program, State, prepare

EVALUATION_BATCH = 1024


def fit(
    model: nnx.Module,
    data: Data,
    *,
    valid: Data | float | None = None,
    epochs: int = 10,
    batch: int = 64,
    optimizer: str | optax.GradientTransformation = "adam",
    lr: float = 1e-3,
    optimizer_settings: Mapping[str, Any] | None = None,
    schedule: Schedule = "constant",
    warmup: float = 0.0,
    weight_decay: float | None = None,
    l2: float = 0.0,
    clip: float | None = None,
    patience: int | None = None,
    seed: int = 0,
    loss_and_correct: LossAndCorrect | None = None,
    devices: Sequence[Any] | None = None,
    dtype: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    progress: Callable[[Epoch], None] | None = None,
) -> History:
    """Train `model` in place: each epoch is one jitted scan over minibatches shuffled on the device.

    The same seed on the same machine gives the same bits. At the end the model has the parameters of the best epoch
    on held-out data, or of the last one where nothing is held out, and is in evaluation mode.

    Args:
        model: any flax.nnx module with a method `loss_and_correct(*minibatch)` that returns the loss of each example
            and whether the model got it right; all of the library's models have one.
        data: the arguments of `loss_and_correct`: a tuple of arrays with one row per example (`Bags` among them, for
            texts of any length), or anything with `x` and `y`.
        valid: held-out data of the same kind, or the share of `data` to hold out.
        epochs: passes over the examples.
        batch: examples per step; the last step of an epoch takes the remainder.
        optimizer: sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, or an optax transformation.
        lr: the learning rate.
        optimizer_settings: as optax names them, for an optimizer called by name.
        schedule: constant, linear or cosine (both fall to 0), or a function of the step.
        warmup: the share of all steps over which the rate first rises from 0.
        weight_decay: decoupled weight decay, as in AdamW.
        l2: lambda of the penalty lambda/2 ||W||^2 on all weights, added to what is minimised.
        clip: the largest norm of the gradient.
        patience: stop after this many epochs without a better one on held-out data.
        seed: for the shuffling, and for the choice of what `valid` holds out.
        loss_and_correct: used instead of the model's own; takes the model first.
        devices: split every minibatch over these; the gradient is the same up to rounding.
        dtype: what the passes compute in, "bfloat16" on accelerators; parameters, updates and losses stay float32.
        out: a folder for the run: config, metrics, checkpoints, plots; `load_run` loads it.
        resume: continue from the last checkpoint in `out`, bit for bit as a run that was never interrupted.
        config: more entries for the run's config.json.
        progress: called after every epoch.

    Returns:
        The history: every epoch's metrics, and which epoch was the best.

    Raises:
        ValueError: settings or data that do not fit; says which.
        NotFinite: the loss became NaN or infinite; names the step and the first rule whose output or gradient did.
    """
    parts, held_out = _held_out(parts_of(data), valid, seed)
    _check(model, parts, held_out, epochs, patience)
    batches = on_device(parts, batch) if devices is None else on_device(parts, batch).split_over(devices)
    steps = epochs * (batches.steps + bool(batches.rest))
    rate = learning_rate(schedule, lr, steps, warmup)
    update = make_optimizer(optimizer, rate, settings=optimizer_settings, weight_decay=weight_decay, clip=clip)
    program, state = prepare(model, loss_and_correct, update, l2, dtype)
    if batches.share is not None:
        state = jax.device_put(state, NamedSharding(batches.share.mesh, PartitionSpec()))
    config_of_fit = {
        "epochs": epochs, "batch": batch, "optimizer": _name(optimizer), "lr": lr, "schedule": _name(schedule),
        "optimizer_settings": dict(optimizer_settings or {}), "warmup": warmup, "weight_decay": weight_decay, "l2": l2,
        "clip": clip, "patience": patience, "seed": seed, "dtype": dtype,
        "valid": valid if isinstance(valid, float) else None,
    }  # fmt: skip
    run = _run_folder(
        out,
        resume,
        {**(config or {}), "model": describe(model), "fit": config_of_fit, "device": jax.devices()[0].device_kind},
    )
    loop = _Loop(program, batches, _on_device(held_out), jax.random.key(seed), run, patience, progress, state, state)
    history = loop.run(epochs, resume=resume)
    best = loop.best_params if devices is None else jax.device_put(loop.best_params, devices[0])
    nnx.update(model, *best)
    model.eval()
    if run is not None:
        _draw(run.path, history, model, held_out)
    return history


@dataclass
class _Loop:
    """The run in progress: the state, the epochs so far, and the model's best parameters."""

    program: Program
    batches: Batches
    held_out: Batches | None
    key: jax.Array
    folder: RunFolder | None
    patience: int | None
    progress: Callable[[Epoch], None] | None
    state: State
    before: State
    best_params: tuple[Any, Any] = (None, None)
    checkpoints: Checkpoints | None = None

    def __post_init__(self):
        if self.folder is not None:
            self.checkpoints = Checkpoints(self.folder.path / CHECKPOINTS)

    def run(self, epochs: int, *, resume: bool) -> History:
        self.best_params = _copy((self.state.params, self.state.model_state))
        done = self._resumed() if resume else []
        best = best_of(done) if done else None
        stopped = self._out_of_patience(done, best)
        started = time.perf_counter()
        compiled = self.program.epoch.lower(self.state, self.batches, self.key).compile()
        compile_seconds = time.perf_counter() - started
        while len(done) < epochs and not stopped:
            self.before = _copy(self.state)  # the epoch uses its state up; should it fail, this is where it began
            try:
                epoch = self._epoch(compiled, len(done) + 1)
            except KeyboardInterrupt:
                if done:
                    self._save(best, len(done), self.before)
                raise
            done.append(epoch)
            if epoch.better_than(best):
                best, self.best_params = epoch, _copy((self.state.params, self.state.model_state))
            stopped = self._out_of_patience(done, best)
            if self.folder is not None and self.checkpoints is not None:
                self.folder.record(epoch)
                if stopped or len(done) == epochs or self.checkpoints.due():
                    self._save(best, len(done), self.state)
            if self.progress is not None:
                self.progress(epoch)
        assert best is not None
        return History(tuple(done), best, stopped and len(done) < epochs, compile_seconds)

    def _epoch(self, compiled: Any, number: int) -> Epoch:
        key = jax.random.fold_in(self.key, number)
        started = time.perf_counter()
        self.state, metrics = compiled(self.state, self.batches, key)
        metrics = jax.device_get(metrics)
        seconds = time.perf_counter() - started
        if not (np.isfinite(metrics.objective).all() and metrics.finite):
            self._stop(number, key, metrics)
        sizes = [self.batches.batch] * self.batches.steps + [self.batches.rest] * bool(self.batches.rest)
        loss = float(np.average(metrics.loss.astype(np.float64), weights=sizes))
        valid_loss, valid_accuracy = self._evaluate()
        size = self.batches.size
        return Epoch(
            number, loss, int(metrics.correct.sum()) / size, valid_loss, valid_accuracy, seconds, size / seconds
        )

    def _evaluate(self) -> tuple[float | None, float | None]:
        if self.held_out is None:
            return None, None
        metrics = jax.device_get(self.program.evaluate(self.state.params, self.state.model_state, self.held_out))
        return float(metrics.loss.mean(dtype=np.float64)), float(metrics.correct.mean(dtype=np.float64))

    def _stop(self, number: int, key: jax.Array, metrics: EpochMetrics) -> None:
        bad = np.flatnonzero(~np.isfinite(metrics.objective))
        symptom = "The parameters became NaN or infinite after the last step"
        if len(bad):
            value = metrics.objective[bad[0]]
            symptom = f"The loss of step {bad[0] + 1} is {'NaN' if np.isnan(value) else 'infinite'}"
        found = find_fault(self.program, self.before, self.batches, key)
        step, fault = found or (int(bad[0]) + 1 if len(bad) else len(metrics.loss), None)
        raise NotFinite(number, step, len(metrics.loss), fault, symptom)

    def _out_of_patience(self, done: list[Epoch], best: Epoch | None) -> bool:
        return self.patience is not None and best is not None and len(done) - best.epoch >= self.patience

    def _save(self, best: Epoch | None, number: int, state: State) -> None:
        if self.checkpoints is not None and best is not None:
            # The best first: were it the other way round, a run cut off between the two would lack its best model.
            self.checkpoints.save("best", best.epoch, self.best_params)
            self.checkpoints.save("last", number, state)

    def _resumed(self) -> list[Epoch]:
        """Load the last state and the best parameters; returns the epochs up to that state."""
        assert self.folder is not None
        assert self.checkpoints is not None
        number, self.state = self.checkpoints.load("last", self.state)
        _, self.best_params = self.checkpoints.load("best", self.best_params)
        return self.folder.forget_after(number)


def _run_folder(out: str | Path | None, resume: bool, config: dict[str, Any]) -> RunFolder | None:
    if out is None:
        if resume:
            raise ValueError("fit: resume=True needs out=, the folder of the run.")
        return None
    if not resume:
        return RunFolder.create(out, config)
    run = RunFolder.open(out)
    for part in ("model", "fit"):
        before, now = run.config[part], config[part]
        changed = [name for name in now if name != "epochs" and before.get(name) != now[name]]
        if changed:
            differ = ", ".join(f"{name} was {before.get(name)!r} and is {now[name]!r}" for name in changed)
            raise ValueError(f"fit: a run is resumed with the settings it began with; {differ}.")
    return run


def _held_out(parts: tuple, valid: Data | float | None, seed: int) -> tuple[tuple, tuple | None]:
    """What to train on, and what to hold out."""
    if valid is None or not isinstance(valid, int | float):
        return parts, None if valid is None else parts_of(valid)
    size = size_of(parts)
    count = round(size * valid)
    if not 0 < count < size:
        raise ValueError(f"fit: valid={valid} holds out {count} of {size} examples; both sides need one at least.")
    order = np.random.default_rng(seed).permutation(size)
    return take_rows(parts, np.sort(order[count:])), take_rows(parts, np.sort(order[:count]))


def _check(model: nnx.Module, parts: tuple, held_out: tuple | None, epochs: int, patience: int | None) -> None:
    if epochs < 1:
        raise ValueError(f"fit: epochs is {epochs}; it is at least 1.")
    if patience is not None and held_out is None:
        raise ValueError("fit: patience counts epochs without progress on held-out data: give valid= as well.")
    if patience is not None and patience < 1:
        raise ValueError(f"fit: patience is {patience}; it is at least 1.")
    for side in (parts, held_out):
        if side is not None and len(side) == 2 and isinstance(side[1], np.ndarray):
            _check_labels(side[1], getattr(model, "classes", None))


def _check_labels(y: np.ndarray, classes: int | None) -> None:
    if classes is None or y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"fit: the labels run from {y.min()} to {y.max()}, but the model has {classes} classes.\n"
            f"  A label is a number from 0 to {classes - 1}."
        )


def _draw(folder: Path, history: History, model: nnx.Module, held_out: tuple | None) -> None:
    """The run's plots; where matplotlib is missing, a warning that says so."""
    try:
        draw_curves(history, folder / "curves.png")
        if held_out is not None and len(held_out) == 2 and hasattr(model, "classes"):
            draw_confusion(evaluate(model, held_out).confusion, folder / "confusion.png", title="Held-out examples")
    except ModuleNotFoundError as missing:
        warnings.warn(str(missing), stacklevel=3)


def _on_device(parts: tuple | None) -> Batches | None:
    return None if parts is None else on_device(parts, EVALUATION_BATCH)


def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


def _name(value: Any) -> str:
    """The name of an optimizer or schedule; "custom" for a function or transformation of the caller's."""
    return value if isinstance(value, str) else "custom"
