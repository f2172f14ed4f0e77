"""One step, some steps and one evaluation, as pure functions of a state and of data on the device."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from ..core.accumulation import to_accumulator
from ..gates import add, reduce_mean
from ..losses import l2_penalty
from .minibatches import Batches
from .processes import everywhere, put

Loss = Callable[..., Any]
"""(model, *minibatch) -> the loss of each example or their mean; or that and metrics, of each example or their means:
a mapping by name, or an array alone, which is the accuracy."""

ACCURACY = "accuracy"
MOST_STEPS = 4096
"""Steps of one call at most."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that changes from step to step.

    params       the parameters that are trained
    model_state  the model's other variables: running statistics, random keys, parameters that are not trained
    optimizer    the optimizer's state
    step         the steps so far
    """

    params: Any
    model_state: Any
    optimizer: Any
    step: Array


class StepMetrics(NamedTuple):
    """The metrics of a step, or of many along a first axis.

    loss           the mean loss of the minibatch
    objective      what was minimised: the loss and the penalty
    gradient_norm  the Euclidean norm of the whole gradient, before clipping; NaN where it is not wanted
    learning_rate  that of the update; NaN where the optimizer does not say
    sums           each metric added up over the examples of the minibatch
    """

    loss: Array
    objective: Array
    gradient_norm: Array
    learning_rate: Array
    sums: dict[str, Array]


class EvalMetrics(NamedTuple):
    """The metrics of minibatches evaluated, (minibatches,) each.

    loss  the mean loss
    sums  each metric added up over the examples
    """

    loss: Array
    sums: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Program:
    """The computations of one training run, each compiled once.

    train, test  the model's graph in training and in evaluation mode
    loss         of a minibatch, and its metrics
    optimizer    the update
    rate         the learning rate at each step; None where the optimizer has its own
    l2           strength of the penalty on all trained weights (arrays of two or more axes)
    dtype        what the forward and backward pass compute in; None: that of parameters and data
    wrt          which of the model's variables are trained
    norms        whether the gradient's norm is computed; it keeps XLA from adding a product to the weights directly
    everywhere   on several devices: what gives each of them the whole state; None on one
    """

    train: Any
    test: Any
    loss: Loss
    optimizer: optax.GradientTransformation = field(repr=False)
    rate: optax.Schedule | None = None
    l2: float = 0.0
    dtype: DTypeLike | None = None
    wrt: Any = nnx.Param
    norms: bool = False
    everywhere: NamedSharding | None = None

    def start(self, params: Any, model_state: Any) -> State:
        """The state before the first step; its arrays are its own."""
        params, model_state = jax.tree.map(jnp.copy, (params, model_state))
        return State(params, model_state, self.optimizer.init(params), jnp.zeros((), jnp.int32))

    def objective(self, params: Any, model_state: Any, batch: tuple) -> tuple[Array, tuple[Any, Array, dict]]:
        """What a step minimises, and beside it the new model state, the mean loss, the sum of each metric."""
        frozen, others = nnx.split_state(model_state, nnx.Param, ...)
        computed = params, frozen
        if self.dtype is not None:
            computed, batch = cast((computed, batch), self.dtype)
        # a copy, since its state changes while the gradient is computed
        model = nnx.merge(self.train, *computed, others, copy=True)
        loss, sums = means_and_sums(self.loss(model, *batch), batch)
        total = loss
        if self.l2:
            weights = [p for p in jax.tree.leaves(params) if p.ndim >= 2]
            total = add(loss, l2_penalty(weights, self.l2))
        _, _, others = nnx.split(model, nnx.Param, ...)
        return total, (nnx.merge_state(frozen, others), loss, sums)

    def step(self, state: State, batch: tuple) -> tuple[State, StepMetrics, Any]:
        """One update: the new state, the metrics of the minibatch, the gradient."""
        gradient = jax.value_and_grad(self.objective, has_aux=True)
        (total, (model_state, loss, sums)), g = gradient(state.params, state.model_state, batch)
        updates, optimizer = self.optimizer.update(g, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        rate = self._rate(state)
        norm = optax.tree.norm(g) if self.norms else jnp.array(jnp.nan)
        metrics = StepMetrics(loss, total, norm, rate, sums)
        new = State(params, model_state, optimizer, state.step + 1)
        if self.everywhere is not None:
            new, metrics = lax.with_sharding_constraint((new, metrics), self.everywhere)
        return new, metrics, g

    def _rate(self, state: State) -> Array:
        rate = self.rate(state.step) if self.rate else optax.tree.get(state.optimizer, "learning_rate", jnp.nan)
        return jnp.asarray(rate, jnp.float32)

    @cached_property
    def steps(self) -> jax.stages.Wrapped:
        """(state, batches, order, first, count) -> (state, StepMetrics): `count` steps, `MOST_STEPS` at most, on the
        whole minibatches of an order from `first` on, in one call. The metrics of the other steps are 0.

        On accelerators, where a loop of unknown length waits for the host at each step, `count` is static.
        """

        def steps(state: State, batches: Batches, order: Array, first: Array, count: Any) -> tuple[State, StepMetrics]:
            whole = batches.whole(order)
            shapes = jax.eval_shape(lambda: self.step(state, batches.take(whole[0]))[1])
            room = min(batches.steps, MOST_STEPS)
            empty = jax.tree.map(lambda m: jnp.zeros((room, *m.shape), m.dtype), shapes)

            def body(i: Any, carry: tuple[State, StepMetrics]) -> tuple[State, StepMetrics]:
                state, metrics = carry
                state, new, _ = self.step(state, batches.take(whole[first + i]))
                return state, jax.tree.map(lambda all, one: all.at[i].set(one), metrics, new)

            return lax.fori_loop(0, count, body, (state, empty))

        return jax.jit(steps, static_argnums=() if jax.default_backend() == "cpu" else 4)

    @cached_property
    def rest(self) -> jax.stages.Wrapped:
        """(state, batches, order) -> (state, StepMetrics): the step on the remainder of an order."""
        return jax.jit(lambda state, batches, order: self.step(state, batches.take(batches.remainder(order)))[:2])

    @cached_property
    def one_step(self) -> jax.stages.Wrapped:
        """(state, minibatch) -> (state, StepMetrics)."""
        return jax.jit(lambda state, batch: self.step(state, batch)[:2])

    @cached_property
    def evaluate(self) -> jax.stages.Wrapped:
        """(params, model_state, batches) -> EvalMetrics of all minibatches, in evaluation mode."""

        def evaluate(params: Any, model_state: Any, batches: Batches) -> EvalMetrics:
            order = batches.order(None)

            def metrics(which: Array) -> EvalMetrics:
                return self._metrics(params, model_state, batches.take(which))

            _, whole = lax.scan(lambda _, which: (None, metrics(which)), None, batches.whole(order))
            if not batches.rest:
                return whole
            rest = metrics(batches.remainder(order))
            return jax.tree.map(lambda all, one: jnp.append(all, one), whole, rest)

        return jax.jit(evaluate)

    @cached_property
    def evaluate_one(self) -> jax.stages.Wrapped:
        """(params, model_state, minibatch) -> EvalMetrics of that minibatch, in evaluation mode."""
        return jax.jit(self._metrics)

    def _metrics(self, params: Any, model_state: Any, batch: tuple) -> EvalMetrics:
        model = nnx.merge(self.test, params, model_state, copy=True)
        return EvalMetrics(*means_and_sums(self.loss(model, *batch), batch))


def prepare(
    model: nnx.Module,
    loss: Loss | None,
    update: optax.GradientTransformation,
    l2: float = 0.0,
    dtype: str | None = None,
    *,
    rate: optax.Schedule | None = None,
    wrt: Any = nnx.Param,
    norms: bool = False,
    share: NamedSharding | None = None,
) -> tuple[Program, State]:
    """The computations of a run and the state it starts from; the model is left in training mode.

    Raises:
        TypeError: a model without `loss_and_correct`, and no loss given.
        ValueError: another `dtype` than bfloat16, an `l2` below 0; nothing to train.
    """
    if dtype not in (None, "bfloat16"):
        raise ValueError(
            f"fit: dtype is {dtype!r}; it is 'bfloat16', or None: as the parameters are.\n"
            "  float16 has too small a range for gradients; its losses would have to be scaled."
        )
    if not 0 <= l2 < math.inf:
        raise ValueError(f"fit: l2 is {l2}; the strength of a penalty is a number, not negative.")
    if loss is None and not hasattr(model, "loss_and_correct"):
        raise TypeError(
            f"fit: {type(model).__name__} has no method loss_and_correct(*minibatch) -> (losses, correct).\n"
            "  Define it, or pass loss=, a function of the model and the minibatch."
        )
    model.eval()
    test, _, _ = nnx.split(model, wrt, ...)
    model.train()
    train, params, model_state = nnx.split(model, wrt, ...)
    if not jax.tree.leaves(params):
        raise ValueError(f"fit: {type(model).__name__} has no parameter to train; wrt is {wrt}.")
    loss = loss or (lambda model, *minibatch: model.loss_and_correct(*minibatch))
    program = Program(train, test, loss, update, rate, l2, dtype, wrt, norms, everywhere(share))
    return program, put(program.start(params, model_state), program.everywhere)


def means_and_sums(returned: Any, batch: tuple) -> tuple[Array, dict[str, Array]]:
    """What a loss returned for a minibatch, as the mean loss and the sum of each metric over the examples.

    Raises:
        TypeError: it returned something else than a loss, or a loss and metrics; or of another shape.
    """
    losses, metrics = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, {})
    if not isinstance(losses, jax.Array | np.ndarray | float):
        raise TypeError(
            f"fit: the loss returned {type(returned).__name__}.\n"
            "  It returns the loss of each example or their mean, or a pair of that and metrics: a dictionary by name."
        )
    losses = jnp.asarray(losses)
    rows = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    if losses.ndim and losses.shape not in rows:
        raise TypeError(
            f"fit: the loss has shape {losses.shape}; it has a value for each example, or is their mean, ().\n"
            "  Two arrays of shapes (B, 1) and (B,) broadcast to (B, B); of further axes take the mean or sum first."
        )
    metrics = metrics if isinstance(metrics, Mapping) else {ACCURACY: metrics}
    size = losses.shape[0] if losses.ndim else jax.tree.leaves(batch)[0].shape[0]

    def total(name: str, metric: Any) -> Array:
        metric = jnp.asarray(metric)
        if metric.ndim == 0:
            return metric * size
        if metric.shape[0] != size:
            raise TypeError(
                f"fit: {name} has shape {metric.shape}; it has a value for each of {size} examples, or is a mean."
            )
        return metric.sum() if metric.ndim == 1 else metric.reshape(size, -1).mean(1).sum()

    sums = {name: total(name, metric) for name, metric in metrics.items()}
    mean = reduce_mean(to_accumulator(losses)) if losses.ndim else to_accumulator(losses)
    return mean, sums


def in_minibatches(function: Callable[[Array], Any], batches: Batches, order: Array) -> Any:
    """`function` of every minibatch of an order, the results joined along their first axis: (size, ...)."""
    _, whole = lax.scan(lambda _, which: (None, function(which)), None, batches.whole(order))
    joined = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), whole)
    if batches.rest:
        rest = function(batches.remainder(order))
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), joined, rest)
    return joined


def cast(tree: Any, dtype: DTypeLike) -> Any:
    """The floating-point arrays of a pytree in another type; their cotangents are cast back."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def all_finite(tree: Any) -> Array:
    """Whether every floating-point number of a pytree is finite."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.isfinite(x).all() for x in floats])) if floats else jnp.array(True)
