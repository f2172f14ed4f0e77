"""What one step, one epoch and one evaluation compute: pure functions of a state and of data on the device.

Nothing here touches a file, a clock or the caller's model.
"""

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

Assess = Callable[..., tuple[Array, Array]]
"""(model, *minibatch) -> the loss of each example, and whether the model got it right."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """All that changes from step to step: parameters, the model's other numbers (running statistics, keys), and the
    optimizer's.
    """

    params: Any
    others: Any
    optimizer: Any


class Tally(NamedTuple):
    """What an epoch saw at each step (steps,): the mean loss, what was minimised, how many were right; and whether all
    parameters were finite at the end.
    """

    loss: Array
    objective: Array
    right: Array
    finite: Array


class Outcome(NamedTuple):
    """What an evaluation saw: the loss of each example and whether it was right, and the examples' numbers (N,)."""

    loss: Array
    right: Array
    which: Array


@dataclass(frozen=True, eq=False)
class Program:
    """The computations of one training run, each compiled once.

    train, test  the model's graph in training and in evaluation mode
    assess       the loss of each example
    optimizer    the update
    l2           strength of the penalty on all weights (arrays of two or more axes)
    dtype        what the forward and backward pass compute in; None: what parameters and data are
    """

    train: Any
    test: Any
    assess: Assess
    optimizer: optax.GradientTransformation = field(repr=False)
    l2: float = 0.0
    dtype: DTypeLike | None = None

    def start(self, params: Any, others: Any) -> State:
        """The state before the first step; its arrays are its own."""
        params, others = jax.tree.map(jnp.copy, (params, others))
        return State(params, others, self.optimizer.init(params))

    def objective(self, params: Any, others: Any, batch: tuple) -> tuple[Array, tuple[Any, Array, Array]]:
        """What a step minimises, and beside it the model's new other numbers, the mean loss, how many were right."""
        computed, batch = (params, batch) if self.dtype is None else cast((params, batch), self.dtype)
        model = nnx.merge(self.train, computed, others, copy=True)  # its other numbers change under the gradient
        losses, right = self.assess(model, *batch)
        loss = total = reduce_mean(to_accumulator(losses))
        if self.l2:
            weights = [p for p in jax.tree.leaves(params) if p.ndim >= 2]
            total = add(loss, l2_penalty(weights, self.l2))
        _, _, others = nnx.split(model, nnx.Param, ...)
        return total, (others, loss, right.sum())

    def step(self, state: State, batch: tuple) -> tuple[State, Array, Array, Array, Any]:
        """One update: the new state, the mean loss, what was minimised, how many were right, the gradient."""
        gradient = jax.value_and_grad(self.objective, has_aux=True)
        (total, (others, loss, right)), g = gradient(state.params, state.others, batch)
        updates, optimizer = self.optimizer.update(g, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, others, optimizer), loss, total, right, g

    @cached_property
    def epoch(self) -> jax.stages.Wrapped:
        """(state, batches, key) -> (state, Tally): a whole epoch in one call, a scan over the
        minibatches, shuffled by the key. The state given is used up.
        """

        def epoch(state: State, batches: Batches, key: Array) -> tuple[State, Tally]:
            order = batches.order(key)

            def body(state: State, which: Array) -> tuple[State, tuple]:
                state, loss, objective, right, _ = self.step(state, batches.take(which))
                return state, (loss, objective, right)

            state, seen = lax.scan(body, state, batches.whole(order))
            if batches.rest:
                state, last = body(state, batches.remainder(order))
                seen = tuple(jnp.append(whole, rest) for whole, rest in zip(seen, last, strict=True))
            loss, objective, right = seen
            return state, Tally(loss, objective, right, all_finite(state.params))

        return jax.jit(epoch, donate_argnums=0)

    @cached_property
    def evaluate(self) -> jax.stages.Wrapped:
        """(params, others, batches) -> Outcome: every example assessed in evaluation mode; nothing changes."""

        def evaluate(params: Any, others: Any, batches: Batches) -> Outcome:
            def assess(which: Array) -> tuple[Array, Array]:
                return self.assess(nnx.merge(self.test, params, others, copy=True), *batches.take(which))

            order = batches.order(None)
            loss, right = in_minibatches(assess, batches, order)
            return Outcome(loss, right, order)

        return jax.jit(evaluate)


def prepare(
    model: nnx.Module,
    assess: Assess | None,
    update: optax.GradientTransformation,
    l2: float = 0.0,
    dtype: str | None = None,
) -> tuple[Program, State]:
    """The computations of a run and the state it starts from; the model is left in training mode.

    Raises:
        TypeError: a model without `assess`, and none given.
        ValueError: another `dtype` than bfloat16.
    """
    if dtype not in (None, "bfloat16"):
        raise ValueError(
            f"fit: dtype is {dtype!r}; it is 'bfloat16', or None: as the parameters are.\n"
            "  float16 has too small a range for gradients; its losses would have to be scaled."
        )
    if assess is None and not hasattr(model, "assess"):
        raise TypeError(
            f"fit: {type(model).__name__} has no method assess(*minibatch) -> (losses, right).\n"
            "  Define it, or pass assess=, a function that takes the model first."
        )
    model.eval()
    test, _, _ = nnx.split(model, nnx.Param, ...)
    model.train()
    train, params, others = nnx.split(model, nnx.Param, ...)
    assess = assess or (lambda model, *minibatch: model.assess(*minibatch))
    program = Program(train, test, assess, update, l2, dtype)
    return program, program.start(params, others)


def in_minibatches(function: Callable[[Array], Any], batches: Batches, order: Array) -> Any:
    """`function` of every minibatch of an order, the answers joined along their first axis: (size, ...)."""
    _, whole = lax.scan(lambda _, which: (None, function(which)), None, batches.whole(order))
    joined = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), whole)
    if batches.rest:
        rest = function(batches.remainder(order))
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), joined, rest)
    return joined


def cast(tree: Any, dtype: DTypeLike) -> Any:
    """The floating-point arrays of a pytree in another type; what arrives at them is cast back on its way up."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def all_finite(tree: Any) -> Array:
    """Whether every floating-point number of a pytree is finite."""
    numbers = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.isfinite(x).all() for x in numbers])) if numbers else jnp.array(True)
