"""Draws the circuits that README and documentation show: `python scripts/circuit_pictures.py` writes docs/circuits.

A test holds the written files to what this draws.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxbackprop as jbp
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import sigmoid, tanh
from jaxbackprop.layers import affine

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "circuits"
NEURON_AT = {"w0": 2, "x0": -1, "w1": -3, "x1": -2, "w2": -3}


def score(W, b, U, x):
    """The two-layer score network of the lecture, s = U^T f(W x + b), for one example."""
    with jax.named_scope("hidden layer"):
        z = affine(x, W, b)
        a = sigmoid(z)
    with jax.named_scope("score"):
        return jnp.sum(a @ U)


def with_a_wrong_rule(W, b, U, x):
    """The same with a sigmoid whose backward pass forgets (1 - a)."""
    wrong = sigmoid.with_backward(lambda a, upstream: upstream * a)
    with jax.named_scope("hidden layer"):
        z = affine(x, W, b)
        a = wrong(z)
    with jax.named_scope("score"):
        return jnp.sum(a @ U)


def recurrent(W, U, xs):
    """A recurrent network: the same weights at each step, their gradients added up."""

    def step(h, x):
        return jnp.tanh(W * h + U * x), None

    return jax.lax.scan(step, jnp.zeros(()), xs)[0]


def squashed(W, x):
    """A vector example: y = sigmoid(W x), whose Jacobian with respect to z = W x is diag(y (1 - y))."""
    z = W @ x
    return sigmoid(z)


def twelve_layers(weights, x):
    """Twelve layers of one neuron, the eighth with a tanh whose backward pass forgets to square."""
    wrong = tanh.with_backward(lambda a, upstream: upstream * (1 - a))
    for i, w in enumerate(weights):
        with jax.named_scope(f"L{i + 1}"):
            x = (wrong if i == 7 else tanh)(w * x)
    return x


def pictures() -> dict[str, str]:
    """Each picture's name and its SVG."""
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=(2, 2)), rng.normal(size=2), rng.normal(size=2), rng.normal(size=(1, 2)))
    with jax.enable_x64(True):
        network = jbp.trace(score, *arrays)
        wrong = jbp.trace(with_a_wrong_rule, *arrays)
        loop = jbp.trace(recurrent, 0.5, 1.0, np.array([1.0, -2.0]))
        vector = jbp.trace(
            squashed, np.array([[1.0, -2.0], [0.5, 1.0]]), np.array([2.0, 1.0]), upstream=np.array([1.0, -1])
        )
        deep = jbp.trace(twelve_layers, [1.1] * 12, 0.9)
    fork = trace_expression("(x + y) * max(y, z)", {"x": 1, "y": 2, "z": 0})
    return {
        "first": trace_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4}).to_svg(),
        "fork": fork.to_svg(),
        "fork_flowgraph": fork.to_svg(view="flowgraph"),
        "fork_chain": fork.to_svg(view="chain"),
        "neuron": trace_expression("1 / (1 + exp(-(w0*x0 + w1*x1 + w2)))", NEURON_AT).to_svg(),
        "neuron_merged": trace_expression("sigmoid(w0*x0 + w1*x1 + w2)", NEURON_AT).to_svg(),
        "score_network": network.to_svg(),
        "score_network_deltas": network.to_svg(view="deltas"),
        "vector": vector.to_svg(),
        "recurrent": loop.to_svg(),
        "wrong_rule": wrong.to_svg(),
        "twelve_layers": deep.to_svg(opened=()),
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, drawn in pictures().items():
        (FOLDER / f"{name}.svg").write_text(drawn + "\n", encoding="utf-8")
        print(f"docs/circuits/{name}.svg")


if __name__ == "__main__":
    main()
