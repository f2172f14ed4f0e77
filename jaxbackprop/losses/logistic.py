"""The logistic loss of one score: what hierarchical softmax, negative sampling and fastText's loop over rows share.

It is arithmetic alone; the rules that are made of it are in `sampled_softmax`.
"""

import jax
import jax.numpy as jnp
from jax import Array


def logistic_loss_and_delta(z: Array, target: Array) -> tuple[Array, Array]:
    """The loss of a score whose target is 0 or 1, and its gradient at the score.

    Forward   loss = -log sigmoid(z) where the target is 1, -log sigmoid(-z) where it is 0
    Backward  delta = sigmoid(z) - target, computed on the side of the target, where nearly certain ones do not cancel
    """
    against = jnp.where(target == 1, -z, z)
    e = jnp.exp(-jnp.abs(against))
    # sigmoid(against), its division last: XLA repeats what comes behind it for every column of a table.
    delta = jnp.where(target == 1, -1, 1) * jnp.where(against > 0, 1, e) / (1 + e)
    return jax.nn.softplus(against), delta
