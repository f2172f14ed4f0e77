"""What `fit` is given: checked before the work, and brought into the form that the work takes."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding

from ..data.errors import did_you_mean
from .content_hashes import of_arrays
from .data_source import is_iterator, is_loader
from .minibatches import Data, parts_of, size_of, take_rows
from .optimizer import LEARNING_RATE, Schedule, learning_rate
from .processes import example_sharding
from .step import Loss

P = ParamSpec("P")
T = TypeVar("T")

ELSEWHERE = {
    "learning_rate": "lr", "batch_size": "batch", "num_epochs": "epochs", "n_epochs": "epochs", "loss_fn": "loss",
    "validation_data": "valid", "callback": "on_epoch", "output_dir": "out",
}  # fmt: skip
"""What options are called in other libraries."""


def names_near_options(function: Callable[P, T]) -> Callable[P, T]:
    """The same function; its error for an option that it does not have names the one meant."""
    known = inspect.signature(function).parameters

    @functools.wraps(function)
    def called(*arguments: P.args, **options: P.kwargs) -> T:
        for name in options.keys() - known.keys():
            near = f"Did you mean {ELSEWHERE[name]}?" if name in ELSEWHERE else did_you_mean(name, known)
            raise TypeError(f"fit: there is no option {name}. {near}".strip())
        return function(*arguments, **options)

    return called


def share_of(devices: Sequence[Any] | None) -> NamedSharding | None:
    """How minibatches are split; None on one device."""
    if devices is None and jax.process_count() > 1:
        devices = jax.devices()
    if devices is None:
        return None
    if len({device.process_index for device in devices}) < jax.process_count():
        raise ValueError(f"fit: devices of {jax.process_count()} processes are needed, at least one of each.")
    return example_sharding(devices)


def rate_of(
    optimizer: Any, lr: float | None, schedule: Schedule, warmup: float, steps: int | None, epochs: int, accumulate: int
) -> optax.Schedule | None:
    """The learning rate at each update; None for an optimizer that has its own."""
    if not isinstance(optimizer, str):
        given = {"lr": lr is not None, "schedule": schedule != "constant", "warmup": warmup != 0}
        if names := " and ".join(name for name, is_given in given.items() if is_given):
            raise ValueError(f"fit: {names} given with an optimizer of your own, which has its own learning rate.")
        return None
    updates = None if steps is None else epochs * steps // accumulate
    return learning_rate(schedule, LEARNING_RATE if lr is None else lr, updates, warmup)


def lr_of(optimizer: Any, lr: float | None) -> float | None:
    """The learning rate of an optimizer called by name; None of any other."""
    return LEARNING_RATE if lr is None and isinstance(optimizer, str) else lr


def split_data(data: Data, valid: Data | float | None, seed: int) -> tuple[tuple | None, Data | None]:
    """The parts of what to train on, None for a loader; and what to hold out."""
    if is_loader(data):
        if isinstance(valid, int | float):
            raise ValueError(f"fit: valid is {valid}, but of a loader no share can be held out: give other data.")
        return None, valid
    parts = parts_of(data)
    if valid is None or not isinstance(valid, int | float):
        return parts, None if valid is None else valid if is_loader(valid) else parts_of(valid)
    size = size_of(parts)
    count = round(size * valid)
    if not 0 < count < size:
        raise ValueError(f"fit: valid={valid} holds out {count} of {size} examples; both sides need one at least.")
    order = np.random.default_rng(seed).permutation(size)
    return take_rows(parts, np.sort(order[count:])), take_rows(parts, np.sort(order[:count]))


def hash_of(parts: tuple | None, held_out: Data | None) -> str | None:
    """The hash of all examples; None where they come from a loader."""
    given = [side for side in (parts, held_out) if isinstance(side, tuple)]
    leaves, _ = jax.tree_util.tree_flatten_with_path(given)
    return of_arrays({jax.tree_util.keystr(path): leaf for path, leaf in leaves}) if given else None


def check_counts(counts: Mapping[str, Any]) -> None:
    """Refuse settings, by name, that are neither None nor whole numbers of 1 at least, or 0 for a seed."""
    for name, count in counts.items():
        least = 0 if name == "seed" else 1
        is_whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if count is not None and not (is_whole and count >= least):
            raise ValueError(f"fit: {name} is {count!r}; it is a whole number, at least {least}.")


def check_functions(functions: Mapping[str, Any]) -> None:
    """Refuse settings, by name, that are neither None nor functions."""
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise TypeError(f"fit: {name} is {function!r}; it is a function.")


def check_arguments(
    model: nnx.Module,
    data: Data,
    parts: tuple | None,
    held_out: Data | None,
    loss: Loss | None,
    epochs: int,
    patience: int | None = None,
) -> None:
    """Refuse what cannot be trained, with an error that says what it takes.

    Args:
        model: the model.
        data: as it was given.
        parts: the same, split; None for a loader.
        held_out: what is held out.
        loss: the loss that was given, if any.
        epochs: how many.
        patience: as `fit` takes it.
    """
    if patience is not None and held_out is None:
        raise ValueError("fit: patience counts epochs without progress on held-out data: give valid= as well.")
    if callable(data) and is_loader(data):
        try:
            inspect.signature(data).bind(1)
        except TypeError:
            raise TypeError(
                "fit: data is a function that does not take the epoch.\n"
                "  It is called with the number of each epoch, from 1, and returns minibatches: lambda epoch: ..."
            ) from None
    if is_iterator(data) and epochs > 1:
        raise ValueError(
            "fit: data is an iterator, which can be read only once.\n"
            "  Give a loader, a function of the epoch that returns an iterator, or epochs=1."
        )
    if loss is not None:
        return
    if parts is not None and isinstance(parts[0], Mapping):
        raise TypeError(
            f"fit: data is a dictionary of {', '.join(map(str, parts[0]))}; the loss of "
            f"{type(model).__name__} takes none.\n"
            "  Name its arrays x and y, or pass loss=, a function of the model and the dictionary."
        )
    for side in (parts, held_out):
        if isinstance(side, tuple) and len(side) == 2 and isinstance(side[1], np.ndarray):
            _check_labels(side[1], getattr(model, "classes", None))


def _check_labels(y: np.ndarray, classes: int | None) -> None:
    if classes is None or y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        return
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"fit: the labels run from {y.min()} to {y.max()}, but the model has {classes} classes.\n"
            f"  A label is a number from 0 to {classes - 1}."
        )


def name_of(value: Any) -> str:
    """The name of an optimizer, schedule or loss; "custom" for what has none."""
    return value if isinstance(value, str) else getattr(value, "__qualname__", "custom")
