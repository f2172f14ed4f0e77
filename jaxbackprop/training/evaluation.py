"""Evaluation of a trained model: scores, loss, accuracy, and which classes it confuses."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array

from .minibatches import Data, on_device, parts_of
from .step import in_minibatches

BATCH = 1024


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a classifier does on labelled examples.

    loss, accuracy  means over the examples
    predicted       (N,) the class with the highest score
    confusion       (C, C) examples by true class (rows) and predicted class (columns)
    """

    loss: float
    accuracy: float
    predicted: np.ndarray = field(repr=False)
    confusion: np.ndarray = field(repr=False)


def scores(model: nnx.Module, x: Data, *, batch: int = BATCH) -> np.ndarray:
    """`model(x)` in evaluation mode, (N, ...). The model itself is not changed.

    Args:
        model: the module.
        x: an array or a pytree of arrays with one row per example, or `Bags`.
        batch: examples per minibatch.
    """
    return _each(model, lambda model, x: model(x), (x,), batch)


def evaluate(model: nnx.Module, data: Data, *, batch: int = BATCH) -> Evaluation:
    """The loss, the accuracy and the confusions of a classifier on labelled examples, in evaluation mode."""

    def metrics(model: Any, x: Any, y: Array) -> tuple[Array, Array, Array]:
        losses, correct = model.loss_and_correct(x, y)
        return losses, correct, model(x).argmax(-1)

    parts = parts_of(data)
    losses, correct, predicted = _each(model, metrics, parts, batch)
    classes = int(getattr(model, "classes", max(int(parts[1].max()), int(predicted.max())) + 1))
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (parts[1], predicted), 1)
    return Evaluation(float(losses.mean(dtype=np.float64)), float(correct.mean()), predicted, confusion)


def _each(model: nnx.Module, function: Any, data: Any, batch: int) -> Any:
    """`function(model, *minibatch)` of every example, in the order of the examples, as NumPy arrays."""
    batches = on_device(parts_of(data), batch)
    evaluated = nnx.clone(model)
    evaluated.eval()
    graph, variables = nnx.split(evaluated)

    @jax.jit
    def run(variables: Any, batches: Any) -> tuple[Any, Array]:
        order = batches.order(None)

        def one(which: Array) -> Any:
            return function(nnx.merge(graph, variables, copy=True), *batches.take(which))

        return in_minibatches(one, batches, order), order

    results, order = jax.device_get(run(variables, batches))
    back = np.argsort(order)
    return jax.tree.map(lambda a: a[back], results)
