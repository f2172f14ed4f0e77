"""Twenty sigmoid layers starve the first one; twenty ReLU layers at He's scale feed it."""

import jax
import jax.numpy as jnp
from harness import report

from jaxbackprop.gates import relu, sigmoid
from jaxbackprop.layers import affine


def arriving(unit, variance: float, depth: int, width: int, seed: int) -> float:
    """The norm of dW at the first layer over that at the last, for a random upstream at the top."""
    *keys, kx, ku = jax.random.split(jax.random.key(seed), depth + 2)
    weights = [jnp.sqrt(variance / width) * jax.random.normal(key, (width, width)) for key in keys]
    x = jax.random.normal(kx, (32, width))

    def network(weights):
        a = x
        for W in weights:
            a = unit(affine(a, W, jnp.zeros(width)))
        return a

    a, pull = jax.vjp(network, weights)
    (gradients,) = pull(jax.random.normal(ku, a.shape))
    return float(jnp.linalg.norm(gradients[0]) / jnp.linalg.norm(gradients[-1]))


def measure(depth: int = 20, width: int = 64, seed: int = 0) -> dict[str, float]:
    """The gradient's norm at the first layer over that at the last, for each unit at its own initial scale."""
    return {"sigmoid": arriving(sigmoid, 1.0, depth, width, seed), "relu": arriving(relu, 2.0, depth, width, seed)}


def claim(share: dict[str, float]) -> None:
    assert share["sigmoid"] < 1e-6
    assert share["relu"] > 0.1


if __name__ == "__main__":
    report(measure, claim)
