"""Dropout: a random mask that is drawn again in the backward pass instead of being stored."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from ..core.rule import WithResiduals, rule


@rule(example_settings=({"rate": 0.0}, {"rate": 0.9}, {"rate": 1.0}))
def dropout(x: Float[Array, "..."], key: Key[Array, ""], *, rate: float = 0.5) -> WithResiduals[Float[Array, "..."]]:
    """Inverted dropout: silence each number with probability `rate`, enlarge the others so that the mean stays.

    Forward   y = x m / (1 - rate),  m = 1 with probability 1 - rate, else 0, drawn from the key
    Local     dy/dx = m / (1 - rate)
    Backward  dx = upstream m / (1 - rate), m drawn again from the same key
    Residuals the key; never the mask
    Source    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014,
              https://jmlr.org/papers/v15/srivastava14a.html;
              CS231n notes, "Neural networks 2", https://cs231n.github.io/neural-networks-2/

    Drawing twice costs time where autodiff would store the mask: this rule is for memory, and for the generator that
    the key names. `hashed_dropout` draws its bits more cheaply.

    At rate 0 y = x, at rate 1 y = 0. A number that is silenced has gradient 0, whatever it was, NaN included. At test
    time leave dropout out: nothing is to be scaled.

    Args:
        x: numbers of any shape.
        key: a random key (`jax.random.key`); the same key silences the same numbers.
        rate: the share that is silenced, from 0 to 1.

    Raises:
        ValueError: rate outside 0..1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout: rate is {rate}; it is the share of numbers silenced, from 0 to 1.")
    return _masked(x, key, rate), key


@dropout.backward
def dropout_backward(key, upstream, *, rate):
    return _masked(upstream, key, rate)


def _masked(x: Array, key: Array, rate: float) -> Array:
    keep = 1 - rate
    if keep in (0, 1):
        return x if keep else jnp.zeros_like(x)
    # Bits, not uniform numbers: cheaper, and the same mask whether float64 is on or not.
    threshold = min(round(keep * 2**32), 2**32 - 1)
    alive = jax.random.bits(key, x.shape, jnp.uint32) < jnp.uint32(threshold)
    return jnp.where(alive, x / keep, 0)
