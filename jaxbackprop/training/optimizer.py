"""Optimizers and schedules by name. The update rules are optax's; nothing here takes a step."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from ..data.errors import did_you_mean

Schedule = str | Callable[[Any], Any]

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.identity,
    "momentum": lambda momentum=0.9: optax.trace(momentum),
    "nesterov": lambda momentum=0.9: optax.trace(momentum, nesterov=True),
    "adagrad": lambda initial_accumulator_value=0.1, eps=1e-7: optax.scale_by_rss(initial_accumulator_value, eps),
    "rmsprop": lambda decay=0.9, eps=1e-8: optax.scale_by_rms(decay, eps, eps_in_sqrt=False),
    "adam": optax.scale_by_adam,
    "adamw": optax.scale_by_adam,
}
"""How each optimizer turns a gradient into a direction; the learning rate and weight decay come after it."""

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda lr, steps: optax.constant_schedule(lr),
    "linear": lambda lr, steps: optax.linear_schedule(lr, 0.0, steps),
    "cosine": lambda lr, steps: optax.cosine_decay_schedule(lr, steps),
}
"""The learning rate over a number of steps, from `lr` on."""

ADAMW_DECAY, LEARNING_RATE = 1e-4, 1e-3


def learning_rate(schedule: Schedule, lr: float, steps: int | None, warmup: float = 0.0) -> optax.Schedule:
    """The learning rate at each step: a linear rise over the share `warmup` of all `steps`, then `schedule`.

    `schedule` is constant, linear or cosine (the last two fall to 0 at the end), or any function of the step, which
    is taken as it is. `steps` is None where their number is not known, as of a loader without length.

    Raises:
        ValueError: an unknown name, a negative rate, warmup outside 0..1, a schedule that needs the number of steps.
    """
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        near = did_you_mean(str(schedule), SCHEDULES)
        raise ValueError(
            f"schedule is {schedule!r}; it is {', '.join(SCHEDULES)} or a function of the step. {near}".strip()
        )
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not (lr >= 0 and math.isfinite(lr)):
        raise ValueError(f"lr is {lr!r}; a learning rate is a number, not negative.")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is {warmup}; it is the share of all steps over which the rate rises, below 1.")
    if steps is None:
        if schedule != "constant" or warmup:
            raise ValueError("warmup and a falling schedule need the number of steps: give a loader with a length.")
        return optax.constant_schedule(lr)
    rise = round(warmup * steps)
    falls = SCHEDULES[schedule](lr, max(steps - rise, 1))
    return optax.join_schedules([optax.linear_schedule(0.0, lr, rise), falls], [rise]) if rise else falls


def make_optimizer(
    optimizer: str | optax.GradientTransformation,
    rate: optax.Schedule | None,
    *,
    settings: Mapping[str, Any] | None = None,
    weight_decay: float | None = None,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """The optimizer of that name with its settings, or the transformation given, its gradients clipped before it.

    Args:
        optimizer: sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw; or any optax transformation, which has its
            own learning rate.
        rate: the learning rate at each step, of an optimizer called by name.
        settings: of the optimizer, as optax names them: momentum, decay, b1, b2, eps, ...
        weight_decay: draws weights (arrays of two or more axes, not biases) towards 0 by that share of the learning
            rate, apart from the gradient (decoupled, as in AdamW); None is 1e-4 for adamw and 0 for all others.
        clip: the largest norm of the whole gradient; a longer one is scaled down to it.

    Raises:
        ValueError: an unknown name or setting, a clip that is not positive, weight decay below 0.

    Source  Loshchilov, Hutter 2019, arXiv:1711.05101; Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063 (clipping)
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip is {clip}; the largest norm of a gradient is above 0.")
    if weight_decay is not None and not weight_decay >= 0:
        raise ValueError(f"weight_decay is {weight_decay}; it is not negative.")
    clipped = [] if clip is None else [optax.clip_by_global_norm(clip)]
    if not isinstance(optimizer, str):
        if settings or weight_decay:
            raise ValueError("settings and weight_decay belong to optimizers called by name: put them into your own.")
        return optax.chain(*clipped, optimizer)
    assert rate is not None
    if optimizer not in OPTIMIZERS:
        near = did_you_mean(optimizer, OPTIMIZERS)
        raise ValueError(
            f"optimizer is {optimizer!r}; it is {', '.join(OPTIMIZERS)} or an optax transformation. {near}"
        )
    try:
        direction = OPTIMIZERS[optimizer](**(settings or {}))
    except TypeError as error:
        raise ValueError(f"optimizer {optimizer}: {error}.") from None
    decay = ADAMW_DECAY if weight_decay is None and optimizer == "adamw" else weight_decay or 0.0
    decayed = [optax.add_decayed_weights(decay, mask=weights_of)] if decay else []
    return optax.chain(*clipped, direction, *decayed, optax.scale_by_learning_rate(rate))


def weights_of(params: Any) -> Any:
    """Which arrays of a pytree are weights: those of two or more axes, not biases, scales and shifts."""
    return jax.tree.map(lambda p: p.ndim >= 2, params)
