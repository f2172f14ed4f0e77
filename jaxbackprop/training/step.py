"""One step, one epoch and one evaluation, as pure functions of a state and of data on the device."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike

from ..core.accumulation import to_accumulator
from ..gates import add, reduce_mean
from ..losses import l2_penalty
from .minibatches import Batches

LossAndCorrect = Callable[..., tuple[Array, Array]]
"""(model, *minibatch) -> the loss of each example, and whether it was classified correctly."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that changes from step to step.

    params       the model's parameters
    model_state  its other variables: running statistics, random keys
    optimizer    the optimizer's state
    """

    params: Any
    model_state: Any
    optimizer: Any


class EpochMetrics(NamedTuple):
    """An epoch's metrics.

    loss       (steps,) the mean loss of each minibatch
    objective  (steps,) what was minimised: the loss and the penalty
    correct    (steps,) how many examples of each minibatch were classified correctly
    finite     whether all parameters were finite at the end
    """

    loss: Array
    objective: Array
    correct: Array
    finite: Array


class EvalMetrics(NamedTuple):
    """An evaluation's metrics, in the order of evaluation.

    loss     (N,) the loss of each example
    correct  (N,) whether it was classified correctly
    order    (N,) its index in the data
    """

    loss: Array
    correct: Array
    order: Array


@dataclass(frozen=True, eq=False)
class Program:
    """The computations of one training run, each compiled once.

    train, test       the model's graph in training and in evaluation mode
    loss_and_correct  the loss of each example, and whether it was classified correctly
    optimizer         the update
    l2                strength of the penalty on all weights (arrays of two or more axes)
    dtype             what the forward and backward pass compute in; None: that of parameters and data
    """

    train: Any
    test: Any
    loss_and_correct: LossAndCorrect
    optimizer: optax.GradientTransformation = field(repr=False)
    l2: float = 0.0
    dtype: DTypeLike | None = None

    def start(self, params: Any, model_state: Any) -> State:
        """The state before the first step; its arrays are its own."""
        params, model_state = jax.tree.map(jnp.copy, (params, model_state))
        return State(params, model_state, self.optimizer.init(params))

    def objective(self, params: Any, model_state: Any, batch: tuple) -> tuple[Array, tuple[Any, Array, Array]]:
        """What a step minimises, and beside it the new model state, the mean loss, how many were correct."""
        computed, batch = (params, batch) if self.dtype is None else cast((params, batch), self.dtype)
        # a copy, since its state changes while the gradient is computed
        model = nnx.merge(self.train, computed, model_state, copy=True)
        losses, correct = self.loss_and_correct(model, *batch)
        loss = total = reduce_mean(to_accumulator(losses))
        if self.l2:
            weights = [p for p in jax.tree.leaves(params) if p.ndim >= 2]
            total = add(loss, l2_penalty(weights, self.l2))
        _, _, model_state = nnx.split(model, nnx.Param, ...)
        return total, (model_state, loss, correct.sum())

    def step(self, state: State, batch: tuple) -> tuple[State, Array, Array, Array, Any]:
        """One update: the new state, the mean loss, what was minimised, how many were correct, the gradient."""
        gradient = jax.value_and_grad(self.objective, has_aux=True)
        (total, (model_state, loss, correct)), g = gradient(state.params, state.model_state, batch)
        updates, optimizer = self.optimizer.update(g, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, model_state, optimizer), loss, total, correct, g

    @cached_property
    def epoch(self) -> jax.stages.Wrapped:
        """(state, batches, key) -> (state, EpochMetrics): a whole epoch in one call, a scan over the
        minibatches, shuffled by the key. The state is donated.
        """

        def epoch(state: State, batches: Batches, key: Array) -> tuple[State, EpochMetrics]:
            order = batches.order(key)

            def body(state: State, which: Array) -> tuple[State, tuple]:
                state, loss, objective, correct, _ = self.step(state, batches.take(which))
                return state, (loss, objective, correct)

            state, per_step = lax.scan(body, state, batches.whole(order))
            if batches.rest:
                state, last = body(state, batches.remainder(order))
                per_step = tuple(jnp.append(whole, rest) for whole, rest in zip(per_step, last, strict=True))
            loss, objective, correct = per_step
            return state, EpochMetrics(loss, objective, correct, all_finite(state.params))

        return jax.jit(epoch, donate_argnums=0)

    @cached_property
    def evaluate(self) -> jax.stages.Wrapped:
        """(params, model_state, batches) -> EvalMetrics of all examples, in evaluation mode."""

        def evaluate(params: Any, model_state: Any, batches: Batches) -> EvalMetrics:
            def loss_and_correct(which: Array) -> tuple[Array, Array]:
                return self.loss_and_correct(nnx.merge(self.test, params, model_state, copy=True), *batches.take(which))

            order = batches.order(None)
            loss, correct = in_minibatches(loss_and_correct, batches, order)
            return EvalMetrics(loss, correct, order)

        return jax.jit(evaluate)


def prepare(
    model: nnx.Module,
    loss_and_correct: LossAndCorrect | None,
    update: optax.GradientTransformation,
    l2: float = 0.0,
    dtype: str | None = None,
) -> tuple[Program, State]:
    """The computations of a run and the state it starts from; the model is left in training mode.

    Raises:
        TypeError: a model without `loss_and_correct`, and none given.
        ValueError: another `dtype` than bfloat16.
    """
    if dtype not in (None, "bfloat16"):
        raise ValueError(
            f"fit: dtype is {dtype!r}; it is 'bfloat16', or None: as the parameters are.\n"
            "  float16 has too small a range for gradients; its losses would have to be scaled."
        )
    if loss_and_correct is None and not hasattr(model, "loss_and_correct"):
        raise TypeError(
            f"fit: {type(model).__name__} has no method loss_and_correct(*minibatch) -> (losses, correct).\n"
            "  Define it, or pass loss_and_correct=, a function that takes the model first."
        )
    model.eval()
    test, _, _ = nnx.split(model, nnx.Param, ...)
    model.train()
    train, params, model_state = nnx.split(model, nnx.Param, ...)
    loss_and_correct = loss_and_correct or (lambda model, *minibatch: model.loss_and_correct(*minibatch))
    program = Program(train, test, loss_and_correct, update, l2, dtype)
    return program, program.start(params, model_state)


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
