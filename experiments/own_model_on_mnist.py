"""An own rule in an own model with an own loss, in less than 40 lines, is right for more than 96 % of MNIST.

python experiments/own_model_on_mnist.py [FOLDER OF THE DATA SETS]
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from harness import report
from jaxtyping import Array, Float

import jaxbackprop as jbp
from jaxbackprop.data import Examples, load

DATA = Path("../shared/data")
ACCURACY = 0.96


@jbp.rule
def squareplus(z: Float[Array, "..."]) -> jbp.WithResiduals[Float[Array, "..."]]:
    root = jnp.sqrt(z**2 + 4)
    return (z + root) / 2, (z, root)


@squareplus.backward
def squareplus_backward(residuals: Any, upstream: jax.Array) -> jax.Array:
    z, root = residuals
    return upstream * (1 + z / root) / 2


class Classifier(nnx.Module):
    def __init__(self, features: int, rngs: nnx.Rngs):
        self.hidden, self.scores = nnx.Linear(features, 128, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.scores(squareplus(self.hidden(x)))


def squared_hinge(model: Classifier, x: jax.Array, y: jax.Array) -> Any:
    scores = model(x)
    margins = jnp.where(jax.nn.one_hot(y, 10) > 0, scores, -scores)
    return (jax.nn.relu(1 - margins) ** 2).sum(-1), {"accuracy": scores.argmax(-1) == y}


def measure(data: str | None = None, epochs: int = 8) -> dict[str, Any]:
    digits = load(data or str(DATA / "mnist"), kind="examples")
    assert isinstance(digits.train, Examples)
    assert isinstance(digits.test, Examples)
    train, test = ((side.x.reshape(len(side.x), -1), side.y) for side in (digits.train, digits.test))
    classifier = Classifier(train[0].shape[1], nnx.Rngs(0))
    history = jbp.fit(classifier, train, loss=squared_hinge, valid=0.1, epochs=epochs, schedule="cosine")
    return {
        "rule": jbp.verify(squareplus, checks=["gradient"]).verdict,
        "accuracy": float((classifier(jnp.asarray(test[0])).argmax(-1) == test[1]).mean()),
        "best epoch": history.best.epoch,
        "seconds": sum(epoch.seconds for epoch in history.epochs),
    }


def claim(measured: dict[str, Any]) -> None:
    assert measured["rule"] == "right"
    assert measured["accuracy"] > ACCURACY


if __name__ == "__main__":
    if sys.argv[1:]:
        DATA = Path(sys.argv[1])
    report(measure, claim)
