"""Dropout by a hash of each number's place: a mask that costs a few multiplications and is never stored.

This file has the mask and the rules that use it alone or behind a unit; the residual block, which uses it too, has its
own file. Dropout by JAX's own random bits is in `dropout`.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Key

from ..core.rule import Rule, ShapeDtype, WithResiduals, rule
from .affine import affine_backward, pre_activation, unit_of


def alive(key: Array, shape: tuple[int, ...], rate: float) -> Array:
    """Which numbers of an array of `shape` stay: each with probability 1 - rate, by a hash of its place and the key.

    Two words of the key's own random bits, and the place as a 32-bit counter, go through the two multiplications and
    three shifts of "lowbias32" (Wellons 2018, the best of its form by exhaustive search of its bias); the second word
    enters between the multiplications, so that two keys' masks are not shifted copies of one another. Not for secrets.
    An array of more than 2^32 numbers would repeat its mask.
    """
    k = jax.random.bits(key, (2,), jnp.uint32)
    h = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape) + k[0]
    h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D)
    h = (h ^ (h >> 15) ^ k[1]) * jnp.uint32(0x846CA68B)
    return (h ^ (h >> 16)) < jnp.uint32(min(round((1 - rate) * 2**32), 2**32 - 1))


def masked(x: Array, key: Array, rate: float) -> Array:
    """`x` where it stays alive, enlarged by 1 / (1 - rate), else 0; raises ValueError for a rate outside 0..1."""
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout: rate is {rate}; it is the share of numbers silenced, from 0 to 1.")
    if rate in (0, 1):
        return jnp.zeros_like(x) if rate else x
    return jnp.where(alive(key, x.shape, rate), x / (1 - rate), 0)


@rule(example_settings=({"rate": 0.0}, {"rate": 0.9}, {"rate": 1.0}))
def hashed_dropout(
    x: Float[Array, "..."], key: Key[Array, ""], *, rate: float = 0.5
) -> WithResiduals[Float[Array, "..."]]:
    """Inverted dropout whose mask is a hash of each number's place: several times cheaper than random bits.

    Forward   y = x m / (1 - rate),  m = 1 where hash(key, place) < (1 - rate) 2^32, else 0
    Local     dy/dx = m / (1 - rate)
    Backward  dx = upstream m / (1 - rate), the hash computed again
    Residuals the key; never the mask
    Source    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html;
              the hash: Wellons 2018, "Prospecting for hash functions", https://nullprogram.com/blog/2018/07/31/

    The masks are not those of `dropout` for the same key. Their independence, over places and over keys, is tested
    statistically, not proved: where randomness must be beyond doubt, take `dropout`.

    Args:
        x: numbers of any shape.
        key: a random key (`jax.random.key`); the same key silences the same places.
        rate: the share that is silenced, from 0 to 1.

    Raises:
        ValueError: rate outside 0..1.
    """
    return masked(x, key, rate), key


@hashed_dropout.backward
def hashed_dropout_backward(key, upstream, *, rate):
    return masked(upstream, key, rate)


def _kinks_of_the_unit(x, W, b, key, *, unit):
    """Where the unit has its kinks, so has affine_unit_dropout."""
    kinks = unit_of(unit, "affine_unit_dropout").kinks
    return () if kinks is None else kinks(pre_activation(jnp.asarray(x), jnp.asarray(W), jnp.asarray(b)))


@rule(kinks=_kinks_of_the_unit, example_settings=({"unit": "tanh"}, {"unit": "gelu", "rate": 0.2}, {"rate": 0.0}))
def affine_unit_dropout(
    x: Float[Array, "*B D"],
    W: Float[Array, "D H"],
    b: Float[Array, " H"],
    key: Key[Array, ""],
    *,
    unit: str = "relu",
    rate: float = 0.5,
) -> WithResiduals[Float[Array, "*B H"]]:
    """Affine layer, unit and dropout as one rule that saves the least.

    Forward   z = x W + b,  a = unit(z),  y = a m / (1 - rate),  m the mask of `hashed_dropout`
    Backward  delta = upstream m / (1 - rate) da/dz arrives at z; from there as in affine:
              dx = delta W^T,  dW = sum_B x^T delta,  db = sum_B delta
    Residuals relu: the output, which the next layer keeps anyway: y > 0 is both masks in one; other units: z.
              Never the mask, never a beside y
    Source    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html;
              CS231n notes, "Neural networks 2", https://cs231n.github.io/neural-networks-2/
    Kink      where the unit has one

    Args:
        x: examples (*B, D).
        W: weights (D, H).
        b: bias (H,).
        key: a random key; the same key silences the same places.
        unit: the name of a unit of one input; its settings are the defaults.
        rate: the share that is silenced, from 0 to 1.

    Raises:
        ValueError: no such unit, or rate outside 0..1.
    """
    z = pre_activation(x, W, b)
    made = unit_of(unit, "affine_unit_dropout")
    y = masked(made.primal(z), key, rate)
    return y, (x, W, y if unit == "relu" else z, key)


@affine_unit_dropout.backward
def affine_unit_dropout_backward(residuals, upstream, *, unit, rate):
    x, W, y_or_z, key = residuals
    if unit == "relu":
        delta = jnp.where(y_or_z > 0, upstream / (1 - rate) if rate < 1 else 0, 0)
    else:
        delta = through_unit(unit_of(unit, "affine_unit_dropout"), y_or_z, masked(upstream, key, rate))
    return affine_backward((x, W), delta)


def through_unit(unit: Rule, z: Array, upstream: Array) -> Array:
    """delta, the gradient at z, by the unit's own backward pass; the unit is computed again."""
    settings = unit.signature.settings
    return unit.pull(unit.forward(z, **settings)[1], upstream, (ShapeDtype(z),), settings)[0]
