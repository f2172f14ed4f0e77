"""fit(): train a model on arrays or a loader's minibatches, and keep the best epoch's parameters."""

import functools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding

from ..data.errors import DataError
from ..models import describe
from .argument_checks import (
    check_arguments,
    check_counts,
    check_functions,
    hash_of,
    lr_of,
    name_of,
    names_near_options,
    rate_of,
    share_of,
    split_data,
)
from .checkpoints import Checkpoints
from .data_source import ArraySource, Chunk, DataSource, HeldOut, LoaderSource, Totals, as_loader, is_loader
from .evaluation import evaluate
from .first_nonfinite import NotFinite, find_fault
from .history import Epoch, History, Step, best_of
from .minibatches import Data, on_device
from .optimizer import Schedule, make_optimizer
from .plots import draw_confusion, draw_curves
from .processes import by_the_first, check_same, is_first, largest, local, put
from .run_folder import CHECKPOINTS, CONFIG, TENSORBOARD, TEST, RunFolder, check_new
from .step import ACCURACY, Loss, Program, State, all_finite, prepare
from .stop_signals import StopSignals
from .tensorboard import TensorBoard

_all_finite = jax.jit(all_finite)
_LOST = (
    "fit: another process ended, or is not reached ({}).\n"
    "  End the others, and start all of them with resume=True: what was trained is saved where there is out=."
)


@names_near_options
def fit(
    model: nnx.Module,
    data: Data,
    *,
    loss: Loss | None = None,
    valid: Data | float | None = None,
    epochs: int = 10,
    batch: int = 64,
    optimizer: str | optax.GradientTransformation = "adam",
    lr: float | None = None,
    optimizer_settings: Mapping[str, Any] | None = None,
    schedule: Schedule = "constant",
    warmup: float = 0.0,
    weight_decay: float | None = None,
    l2: float = 0.0,
    clip: float | None = None,
    accumulate: int = 1,
    wrt: Any = nnx.Param,
    patience: int | None = None,
    seed: int = 0,
    devices: Sequence[Any] | None = None,
    dtype: str | None = None,
    out: str | Path | None = None,
    save_every: int | None = None,
    keep: int = 2,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    gradient_norm: bool = False,
    tensorboard: bool = False,
    on_step: Callable[[Step], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train `model` in place, in jitted loops over minibatches.

    The same seed on the same machine gives the same bits. At the end the model has the parameters of the best epoch
    on held-out data, or of the last one where nothing is held out, and is in evaluation mode.

    With `out`, SIGINT and SIGTERM save the run at the step they come, and training ends with KeyboardInterrupt or
    SystemExit(143); a run that is killed loses a few seconds. Either is continued with `resume`.

    Args:
        model: any flax.nnx module. Without `loss`, it has a method `loss_and_correct(*minibatch)` that returns the loss
            of each example and whether the model got it right; all of the library's models have one.
        data: a tuple of arrays with one row per example (`Bags` among them, for texts of any length), a dictionary of
            them, or anything with `x` and `y`; these are shuffled on the device. Or minibatches: an iterable that
            gives them anew each epoch, such as a data loader, or a function of the epoch (from 1) that returns one.
            A Hugging Face dataset, streamed or not, is put into minibatches of NumPy arrays and shuffled.
            Of a tuple, and of a dictionary of `x` and `y` alone, the parts become arguments of the loss, anything else
            is one argument.
        loss: `loss(model, *minibatch)`, the loss of each example or their mean; or a pair of that and metrics, a
            dictionary by name of values of each example or means.
        valid: held-out data of the same kind, or the share of `data` to hold out.
        epochs: passes over the examples.
        batch: examples per step; the last step of an epoch takes the remainder. A loader makes its own minibatches.
        optimizer: sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, or an optax transformation.
        lr: the learning rate, 0.001 where none is given; an optax transformation has its own.
        optimizer_settings: as optax names them, for an optimizer called by name.
        schedule: constant, linear or cosine (both fall to 0), or a function of the step.
        warmup: the share of all steps over which the rate first rises from 0.
        weight_decay: decoupled weight decay, as in AdamW.
        l2: lambda of the penalty lambda/2 ||W||^2 on all weights, added to what is minimised.
        clip: the largest norm of the gradient.
        accumulate: steps over which the mean gradient of one update is taken.
        wrt: the variables to train, as `nnx.Optimizer` takes them: a type or another nnx filter, such as
            `nnx.All(nnx.Param, nnx.PathContains("head"))`; all others are frozen.
        patience: stop after this many epochs without a better one on held-out data.
        seed: for the shuffling, and for the choice of what `valid` holds out.
        devices: split every minibatch over these; the gradient is the same up to rounding. Of several processes
            (`jax.distributed.initialize`), each calls `fit` with the same arguments, and the devices of all are used;
            the first one writes the files in `out`, which the others can read.
        dtype: what the passes compute in, "bfloat16" on accelerators; parameters, updates and losses stay float32.
        out: a new folder for the run: config, metrics, checkpoints, plots; `load_run` loads it.
        save_every: the steps of an epoch from one checkpoint to the next, and one at its end; None: as often as takes a
            twentieth of the time at most.
        keep: so many of the newest checkpoints are kept: where one is damaged, the one before it is used.
        resume: continue from the last checkpoint in `out`, bit for bit as a run that was never interrupted.
        config: more entries for the run's config.json.
        gradient_norm: whether the metrics have the gradient's norm; it costs a pass over the gradient in each step.
        tensorboard: whether the metrics of each step and epoch are written for TensorBoard too, in the folder
            `tensorboard` of `out`; needs tensorboardX.
        on_step: called with the metrics of each step.
        on_epoch: called with the metrics of each epoch.

    Returns:
        The history: every epoch's metrics, and which epoch was the best.

    Raises:
        ValueError: settings or data that do not fit; says which.
        DataError: a folder that holds something else, is in use or cannot be written; a damaged checkpoint.
        NotFinite: the loss became NaN or infinite; names the step and the first rule whose output or gradient did.
    """
    for option, value in (("resume", resume), ("tensorboard", tensorboard), ("save_every", save_every)):
        if out is None and value:
            raise ValueError(f"fit: {option}={value} needs out=, the folder of the run.")
    board = TensorBoard(Path(out) / TENSORBOARD) if out is not None and tensorboard and is_first() else None
    if out is not None and not resume:
        by_the_first(functools.partial(check_new, Path(out)))
    share = share_of(devices)
    counts = {"epochs": epochs, "batch": batch, "accumulate": accumulate, "patience": patience}
    check_counts({**counts, "save_every": save_every, "keep": keep, "seed": seed})
    check_functions({"loss": loss, "on_step": on_step, "on_epoch": on_epoch})
    data, valid = as_loader(data, batch, seed), as_loader(valid, batch, None)
    parts, held_out = split_data(data, valid, seed)
    check_arguments(model, data, parts, held_out, loss, epochs, patience)
    digest = hash_of(parts, held_out) if out is not None or jax.process_count() > 1 else None
    check_same(digest, "the data")
    source = _source(data if parts is None else parts, batch, share, save_every, seed)
    rate = rate_of(optimizer, lr, schedule, warmup, source.steps, epochs, accumulate)
    update = make_optimizer(optimizer, rate, settings=optimizer_settings, weight_decay=weight_decay, clip=clip)
    if accumulate > 1:
        update = optax.MultiSteps(update, accumulate).gradient_transformation()
    rate_of_step = rate and (lambda step: rate(step // accumulate))
    program, state = prepare(
        model, loss, update, l2, dtype, rate=rate_of_step, wrt=wrt, norms=gradient_norm, share=share
    )
    config_of_fit = {
        "epochs": epochs, "batch": batch, "optimizer": name_of(optimizer), "lr": lr_of(optimizer, lr),
        "schedule": name_of(schedule), "optimizer_settings": dict(optimizer_settings or {}), "warmup": warmup,
        "weight_decay": weight_decay, "l2": l2, "clip": clip, "accumulate": accumulate, "patience": patience,
        "seed": seed, "dtype": dtype, "gradient_norm": gradient_norm,
        "valid": valid if isinstance(valid, float) else None,
    }  # fmt: skip
    run = None if out is None else _run_folder(
        Path(out),
        resume,
        {
            **(config or {}), "model": describe(model), "fit": config_of_fit, "device": jax.devices()[0].device_kind,
            "content": {"loss": name_of(loss or ""), "trained": str(wrt), "data": digest},
        },
    )  # fmt: skip
    held_out_batches = held_out and HeldOut(held_out, share)
    loop = _Loop(program, source, held_out_batches, run, save_every, keep, patience, on_step, on_epoch, board, state)
    with ExitStack() as stack:
        if run is not None and not resume and is_first():
            stack.push(functools.partial(_discard_unbegun, run, loop))
        if run is not None:
            by_the_first(lambda: stack.enter_context(run.locked()))
            if resume and is_first():
                run.write(CONFIG, {**run.config, "fit": config_of_fit})  # of more epochs than it was begun with
        if board is not None:
            stack.callback(board.close)
        history = loop.run(epochs, resume=resume)
    nnx.update(model, loop.best_model if share is None else local(loop.best_model))
    model.eval()
    if loop.unsaved is not None:
        raise loop.unsaved
    if run is not None and is_first():
        _draw(run.path, history, model, held_out, loss)
    return history


@dataclass
class _Loop:
    """The run in progress: the state, the epochs so far, the epoch begun, and the best model."""

    program: Program
    source: DataSource
    held_out: HeldOut | None
    folder: RunFolder | None
    save_every: int | None
    keep: int
    patience: int | None
    on_step: Callable[[Step], None] | None
    on_epoch: Callable[[Epoch], None] | None
    board: TensorBoard | None
    state: State
    done: list[Epoch] = field(default_factory=list)
    first: int = 0  # steps of the epoch begun
    totals: Totals = field(default_factory=Totals)
    norms: float = 0.0
    seconds: float = 0.0
    rate: float | None = None
    best_model: Any = None
    unsaved: DataError | None = None

    def __post_init__(self):
        self.best_model = self._model()
        self.checkpoints = None if self.folder is None else Checkpoints(self.folder.path / CHECKPOINTS, self.keep)

    def run(self, epochs: int, *, resume: bool) -> History:
        if resume:
            self._resume()
        was_finished = len(self.done) >= epochs or self._out_of_patience()
        if not was_finished:
            if self.folder is not None and is_first():
                (self.folder.path / TEST).unlink(missing_ok=True)  # of the model before
            self.source.compile(self.program, self.state)
        # Without a folder nothing can be saved, and signals do what they always do.
        with StopSignals() if self.folder is not None else nullcontext() as signals:
            try:
                while len(self.done) < epochs and not self._out_of_patience():
                    self._epoch(signals)
                    is_over = self._is_over(epochs)
                    if is_over or self._is_due():
                        self._save(wait=is_over)
                    if self.on_epoch is not None:
                        self.on_epoch(self.done[-1])
                if signals is not None:
                    signals.stop("the run is finished and saved")
            except BaseException as error:
                if signals is not None and signals.received is None:  # by a callback, a loader, a loss that is NaN
                    self._save(wait=True)
                if jax.process_count() > 1 and isinstance(error, jax.errors.JaxRuntimeError):
                    raise RuntimeError(_LOST.format(str(error).partition("\n")[0])) from error
                raise
        return History(tuple(self.done), best_of(self.done), self._out_of_patience() and len(self.done) < epochs,
                       None if was_finished else self.source.compile_seconds)  # fmt: skip

    def _is_over(self, epochs: int) -> bool:
        return len(self.done) == epochs or self._out_of_patience()

    def _epoch(self, signals: StopSignals | None) -> None:
        number, began = len(self.done) + 1, self._seconds()
        for chunk in self.source.chunks(self.program, self.state, number, self.first):
            self._check_finite(chunk, number)
            self._add(chunk, number)
            self.seconds, began = self.seconds + self._seconds() - began, self._seconds()
            if signals is not None and (received := largest(signals.received or 0)):
                signals.received = received
                self._save(wait=True)
                assert self.folder is not None
                signals.stop(f"saved after step {int(self.state.step)}; resume continues the run in {self.folder.path}")
            if self._is_due():
                self._save()
                began = self._seconds()
        self._end_epoch(number)

    def _seconds(self) -> float:
        """A clock that stands still while something is compiled."""
        return time.perf_counter() - self.source.compile_seconds

    def _add(self, chunk: Chunk, number: int) -> None:
        metrics = chunk.metrics
        self.state, step = chunk.after, int(chunk.before.step)
        self.first += len(chunk.sizes)
        self.totals.add(metrics.loss, metrics.sums, chunk.sizes)
        self.norms = sum(map(float, metrics.gradient_norm), self.norms)
        self.rate = _known(metrics.learning_rate[-1])
        listeners = [each for each in (self.on_step, self.board and self.board.add) if each is not None]
        if not listeners:
            return
        for i, size in enumerate(chunk.sizes):
            means = {name: float(sums[i] / size) for name, sums in metrics.sums.items()}
            loss, norm = float(metrics.loss[i]), _known(metrics.gradient_norm[i])
            about = Step(step + i + 1, number, loss, norm, _known(metrics.learning_rate[i]), means)
            for listen in listeners:
                listen(about)

    def _end_epoch(self, number: int) -> None:
        valid_loss, held_out = (None, {}) if self.held_out is None else self.held_out.evaluate(self.program, self.state)
        loss, means = self.totals.means()
        epoch = Epoch(
            number, loss, means.pop(ACCURACY, None), valid_loss, held_out.pop(ACCURACY, None), self.seconds,
            self.totals.examples / self.seconds, int(self.state.step), self.rate, _known(self.norms / self.first),
            means, held_out, self.first / self.seconds,
        )  # fmt: skip
        if epoch.better_than(best_of(self.done) if self.done else None):
            self.best_model = self._model()
        self.done.append(epoch)
        self.first, self.totals, self.norms, self.seconds = 0, Totals(), 0.0, 0.0
        if self.folder is not None and is_first():
            self.folder.record(epoch)
        if self.board is not None:
            self.board.add(epoch)

    def _model(self) -> Any:
        return nnx.merge_state(self.state.params, self.state.model_state)

    def _check_finite(self, chunk: Chunk, number: int) -> None:
        metrics = chunk.metrics
        bad = np.flatnonzero(~np.isfinite(metrics.objective))
        if not len(bad) and _all_finite(chunk.after.params):
            return
        symptom = "The parameters became NaN or infinite"
        if len(bad):
            value = metrics.objective[bad[0]]
            symptom = f"The loss of step {self.first + bad[0] + 1} is {'NaN' if np.isnan(value) else 'infinite'}"
        alone = replace(self.program, everywhere=None)
        found = find_fault(alone, local(chunk.before), chunk.minibatches())
        at, fault = found or (int(bad[0]) if len(bad) else len(metrics.loss) - 1, None)
        raise NotFinite(number, self.first + at + 1, self.source.steps, fault, symptom)

    def _out_of_patience(self) -> bool:
        return (
            self.patience is not None and bool(self.done) and len(self.done) - best_of(self.done).epoch >= self.patience
        )

    def _is_due(self) -> bool:
        if self.checkpoints is None:
            return False
        return self.checkpoints.due() if self.save_every is None else self.first % self.save_every == 0

    def _save(self, *, wait: bool = False) -> None:
        """Save the run beside training, or wait for it; where that failed, a warning says so, and `unsaved` why."""
        if self.checkpoints is None or self.folder is None or not is_first() or not int(self.state.step):
            return
        about = {
            "step": int(self.state.step),
            "epochs": len(self.done),
            "metrics": self.folder.hash_of_epochs(len(self.done)),
            "first": self.first,
            "totals": asdict(self.totals),
            "norms": self.norms,
            "rate": self.rate,
            "seconds": self.seconds,
        }
        if self.board is not None:
            self.board.flush()
        best = best_of(self.done).epoch if self.done else 0
        save = functools.partial(self.checkpoints.save, about, self.state, best, self.best_model)
        for act in (save, self.checkpoints.wait) if wait else (save,):
            try:
                act()
                self.unsaved = None
            except DataError as error:
                if self.unsaved is None:
                    warnings.warn(str(error), stacklevel=2)
                self.unsaved = error

    def _resume(self) -> None:
        """Load the last state and the best model, and where in the run they stand.

        A run that ended before its first checkpoint begins anew, to the same bits.
        """
        assert self.folder is not None
        assert self.checkpoints is not None
        if not self.checkpoints.any():
            by_the_first(functools.partial(self.folder.forget_after, 0))
            return
        saved = self.checkpoints.load(self.state, self.best_model)
        self.folder.check_epochs(saved.about["epochs"], saved.about["metrics"])
        self.state, self.best_model = put((saved.state, saved.best), self.program.everywhere)
        self.done = self.folder.epochs()[: saved.about["epochs"]]
        by_the_first(functools.partial(self.folder.forget_after, saved.about["epochs"]))
        self.first, self.totals = saved.about["first"], Totals(**saved.about["totals"])
        self.norms, self.rate, self.seconds = (saved.about[name] for name in ("norms", "rate", "seconds"))


def _source(data: Data, batch: int, share: NamedSharding | None, every: int | None, seed: int) -> DataSource:
    if is_loader(data):
        return LoaderSource(data, share, every)
    batches = on_device(data, batch)
    return ArraySource(batches if share is None else batches.split(share), jax.random.key(seed), every)


def _known(number: Any) -> float | None:
    """A metric; None where it is NaN, which stands for one that there is not."""
    return None if np.isnan(number) else float(number)


def _run_folder(out: Path, resume: bool, config: dict[str, Any]) -> RunFolder:
    if not resume:
        by_the_first(functools.partial(RunFolder.create, out, config))
        return RunFolder(out)
    run = RunFolder.open(out)
    before = run.config
    for part in ("model", "fit", "content"):
        was, now = before.get(part, {}), config[part]
        changed = [name for name in now if name != "epochs" and was.get(name) != now[name]]
        if part == "content" and "data" in changed:
            raise DataError("other data than the run was begun with", expected="the same examples in the same order",
                            file=out, advice="Resume with those, or begin another run.")  # fmt: skip
        if changed:
            differ = ", ".join(f"{name} was {was.get(name)!r} and is {now[name]!r}" for name in changed)
            raise ValueError(f"fit: a run is resumed with the settings it began with; {differ}.")
    return run


def _discard_unbegun(run: RunFolder, loop: _Loop, kind: type | None, error: BaseException | None, _: Any) -> None:
    """Leave no folder of a run that failed before its first step was made: the mended call can have its name."""
    if isinstance(error, Exception) and not int(loop.state.step):
        run.discard()


def _draw(folder: Path, history: History, model: nnx.Module, held_out: Data | None, loss: Loss | None) -> None:
    """The run's plots; where matplotlib is missing, a warning that says so."""
    try:
        draw_curves(history, folder / "curves.png")
        labelled = loss is None and isinstance(held_out, tuple) and len(held_out) == 2
        if labelled and hasattr(model, "classes"):
            draw_confusion(evaluate(model, held_out).confusion, folder / "confusion.png", title="Held-out examples")
    except ModuleNotFoundError as missing:
        warnings.warn(str(missing), stacklevel=3)
