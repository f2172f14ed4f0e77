"""Penalties on the size of weights: any pytree of arrays in, one number out, to be added to the mean loss."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree

from ..core.accumulation import accumulator_dtype, to_accumulator
from ..core.rule import WithResiduals, rule


@rule(kinks=lambda W, strength: W)
def l1_penalty(
    W: PyTree[Float[Array, "..."]], strength: Float[Array, ""] | float = 1.0
) -> WithResiduals[Float[Array, ""]]:
    """L1 penalty: every weight is drawn towards 0 with the same force, and many get there.

    Forward   R = strength sum |w|
    Backward  dW = upstream strength sign(W),  dstrength = upstream sum |w|
    Residuals W, strength, sum |w|
    Source    CS231n notes, "Neural networks 2", https://cs231n.github.io/neural-networks-2/
    Kink      w = 0: we answer 0

    Args:
        W: arrays, alone or in any pytree.
        strength: the lecture's lambda; a number or an array, so that it may change from step to step.

    Returns:
        One number, accumulated and returned in float32 or better: half precision would overflow.
    """
    total = _total(W, jnp.abs)
    return strength * total, (W, strength, total)


@l1_penalty.backward
def l1_penalty_backward(residuals, upstream):
    W, strength, total = residuals
    return jax.tree.map(lambda w: upstream * strength * jnp.sign(w), W), upstream * total


@rule
def l2_penalty(
    W: PyTree[Float[Array, "..."]], strength: Float[Array, ""] | float = 1.0
) -> WithResiduals[Float[Array, ""]]:
    """L2 penalty, weight decay: every weight is drawn towards 0 in proportion to itself.

    Forward   R = 1/2 strength sum w^2
    Backward  dW = upstream strength W, so that a layer's weight gradient becomes delta a^T + lambda W
              dstrength = upstream 1/2 sum w^2
    Residuals W, strength, sum w^2
    Source    CS231n notes, "Neural networks 2", https://cs231n.github.io/neural-networks-2/ (the half); CS224n lecture
              notes 3 (delta a^T + lambda W),
              https://web.stanford.edu/class/cs224n/readings/cs224n-2019-notes03-neuralnets.pdf

    Args:
        W: arrays, alone or in any pytree.
        strength: the lecture's lambda; a number or an array, so that it may change from step to step.

    Returns:
        One number, accumulated and returned in float32 or better: half precision would overflow.
    """
    half = 0.5 * _total(W, jnp.square)
    return strength * half, (W, strength, half)


@l2_penalty.backward
def l2_penalty_backward(residuals, upstream):
    W, strength, half = residuals
    return jax.tree.map(lambda w: upstream * strength * w, W), upstream * half


def _total(W: PyTree, of) -> Array:
    """The sum of `of` each weight of a pytree; 0 for one without leaves."""
    leaves = jax.tree.leaves(W)
    dtype = accumulator_dtype(jnp.result_type(*leaves)) if leaves else jnp.float32
    return sum((of(to_accumulator(w)).sum(dtype=dtype) for w in leaves), start=jnp.zeros((), dtype))
