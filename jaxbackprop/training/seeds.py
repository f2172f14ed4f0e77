"""fit_seeds(): the same training from several seeds at once, in one program under `jax.vmap`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from .argument_checks import check_arguments, check_counts, names_near_options, rate_of, split_data
from .data_source import HeldOut, Totals, is_loader
from .history import Epoch, History, best_of
from .minibatches import Batches, Data, on_device
from .optimizer import Schedule, make_optimizer
from .step import ACCURACY, Loss, Program, State, StepMetrics, prepare


@dataclass(frozen=True)
class SeedHistories:
    """What training did from each seed.

    seeds      the seeds
    histories  the history of each
    models     the model of each, with its best epoch's parameters
    """

    seeds: tuple[int, ...]
    histories: tuple[History, ...]
    models: tuple[nnx.Module, ...] = field(repr=False)

    @property
    def best(self) -> dict[str, np.ndarray]:
        """The metrics of each seed's best epoch, (seeds,) each."""
        rows = [_numbers(history.best) for history in self.histories]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    @property
    def mean(self) -> dict[str, float]:
        """The mean over the seeds of each metric of the best epoch."""
        return {name: float(values.mean()) for name, values in self.best.items()}

    @property
    def spread(self) -> dict[str, float]:
        """The standard deviation over the seeds, as of a sample; 0 of one seed."""
        return {name: float(values.std(ddof=min(1, len(values) - 1))) for name, values in self.best.items()}

    def __str__(self) -> str:
        lines = [f"{name:20s} {mean:.4g} +- {self.spread[name]:.2g}" for name, mean in self.mean.items()]
        return "\n".join([f"the best epochs of {len(self.seeds)} seeds, mean +- standard deviation", *lines])


@names_near_options
def fit_seeds(
    make: Callable[[nnx.Rngs], nnx.Module],
    data: Data,
    *,
    seeds: int | Sequence[int] = 5,
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
    wrt: Any = nnx.Param,
    dtype: str | None = None,
) -> SeedHistories:
    """Train a model from each of several seeds at once, as `fit` trains one.

    A seed decides the first parameters and the order of the examples; what a share `valid` holds out is the same for
    all. A loss that becomes NaN or infinite stops nothing: it is in the history of its seed.

    Args:
        make: makes the model, from its random numbers.
        data: as `fit` takes it, but no loader.
        seeds: how many, from 0; or which.
        loss: as `fit` takes it; so are all arguments that follow.
        valid: held-out data, or the share of `data` to hold out.
        epochs: passes over the examples.
        batch: examples per step.
        optimizer: a name, or an optax transformation.
        lr: the learning rate.
        optimizer_settings: of an optimizer called by name.
        schedule: of the learning rate.
        warmup: the share of the steps over which it rises.
        weight_decay: decoupled weight decay.
        l2: lambda of the penalty lambda/2 ||W||^2.
        clip: the largest norm of the gradient.
        wrt: the variables to train.
        dtype: what the passes compute in.

    Returns:
        The histories and the models, with mean and spread of the metrics.

    Raises:
        ValueError: settings or data that do not fit; says which.
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen or is_loader(data):
        raise ValueError(f"fit_seeds: {'no seed' if not chosen else 'data is a loader; it takes arrays'}.")
    check_counts({"epochs": epochs, "batch": batch})
    parts, held_out = split_data(data, valid, 0)
    models = [make(nnx.Rngs(seed)) for seed in chosen]
    assert parts is not None
    check_arguments(models[0], data, parts, held_out, loss, epochs)
    batches = on_device(parts, batch)
    steps = batches.steps + bool(batches.rest)
    rate = rate_of(optimizer, lr, schedule, warmup, steps, epochs, 1)
    update = make_optimizer(optimizer, rate, settings=optimizer_settings, weight_decay=weight_decay, clip=clip)
    prepared = [prepare(model, loss, update, l2, dtype, rate=rate, wrt=wrt) for model in models]
    program = prepared[0][0]
    state = jax.tree.map(lambda *each: jnp.stack(each), *(state for _, state in prepared))
    keys = jnp.stack([jax.random.key(seed) for seed in chosen])
    histories = _train(program, state, keys, batches, held_out and HeldOut(held_out), epochs, models)
    return SeedHistories(chosen, histories, tuple(models))


def _train(
    program: Program,
    state: State,
    keys: jax.Array,
    batches: Batches,
    held_out: HeldOut | None,
    epochs: int,
    models: Sequence[nnx.Module],
) -> tuple[History, ...]:
    """Train all at once, give each model its best epoch's parameters, and return the histories."""

    @jax.jit
    def epoch_of_all(state: State, batches: Batches, number: int) -> tuple[State, StepMetrics]:
        def of_one(state: State, key: jax.Array) -> tuple[State, StepMetrics]:
            order = batches.order(jax.random.fold_in(key, number))

            def step(state: State, which: jax.Array) -> tuple[State, StepMetrics]:
                return program.step(state, batches.take(which))[:2]

            state, metrics = lax.scan(step, state, batches.whole(order))
            if batches.rest:
                state, last = step(state, batches.remainder(order))
                metrics = jax.tree.map(lambda all, one: jnp.append(all, one), metrics, last)
            return state, metrics

        return jax.vmap(of_one)(state, keys)

    sizes = np.array([batches.batch] * batches.steps + [batches.rest] * bool(batches.rest))
    done: list[list[Epoch]] = [[] for _ in models]
    for number in range(1, epochs + 1):
        began = time.perf_counter()
        state, metrics = epoch_of_all(state, batches, number)
        metrics, seconds = jax.device_get(metrics), time.perf_counter() - began
        for k, model in enumerate(models):
            of_seed = jax.tree.map(lambda x: x[k], state)  # noqa: B023
            totals = Totals()
            totals.add(metrics.loss[k], {name: sums[k] for name, sums in metrics.sums.items()}, sizes)
            loss, means = totals.means()
            valid_loss, valid = (None, {}) if held_out is None else held_out.evaluate(program, of_seed)
            epoch = Epoch(
                number, loss, means.pop(ACCURACY, None), valid_loss, valid.pop(ACCURACY, None), seconds,
                totals.examples / seconds, int(of_seed.step), metrics=means, valid_metrics=valid,
                steps_per_second=len(sizes) / seconds,
            )  # fmt: skip
            if not done[k] or epoch.better_than(best_of(done[k])):
                nnx.update(model, nnx.merge_state(of_seed.params, of_seed.model_state))
            done[k].append(epoch)
    for model in models:
        model.eval()
    return tuple(History(tuple(of), best_of(of), False, None) for of in done)


def _numbers(epoch: Epoch) -> dict[str, float]:
    """The metrics of an epoch that there are, by name."""
    named = {
        "loss": epoch.loss, "accuracy": epoch.accuracy, **epoch.metrics,
        "held-out loss": epoch.valid_loss, "held-out accuracy": epoch.valid_accuracy,
        **{f"held-out {name}": value for name, value in epoch.valid_metrics.items()},
    }  # fmt: skip
    return {name: value for name, value in named.items() if value is not None}
