"""Affine layers in the delta view: `delta` arrives at z = x W + b, and leaves to x through the transpose of W.

Here live affine and what is fused with it into one rule. The units themselves are gates.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ..core.accumulation import dot, leading_sum, matmul_accumulating, outer_sum, to_accumulator
from ..core.rule import Rule, ShapeDtype, WithResiduals, rule
from ..gates import relu_like as rectified
from ..gates import sigmoid_like as saturating

_UNITS = {
    name: made
    for module in (rectified, saturating)
    for name, made in vars(module).items()
    if isinstance(made, Rule) and len(made.signature.parameters) == 1
}


@rule
def affine(
    x: Float[Array, "*B D"], W: Float[Array, "D H"], b: Float[Array, " H"] | None = None
) -> WithResiduals[Float[Array, "*B H"]]:
    """Affine layer: one weight matrix and one bias for every example; without b a linear layer.

    Forward   z = x W + b
    Backward  delta = upstream arrives at z
              dx = delta W^T
              dW = sum_B x^T delta   (each example's outer product; for one example the lecture's delta a^T)
              db = sum_B delta       (the bias is used by every example: a fork, whose gradients add up)
    Saved     x, W
    Source    CS231n notes, "Backpropagation, intuitions"; CS224n lecture notes on backpropagation

    Sums of half-precision numbers are accumulated in float32 and rounded once.
    """
    return _product_and_bias(x, W, b), (x, W)


@affine.backward
def affine_backward(residuals, delta):
    x, W = residuals
    return dot(delta, W.T), outer_sum(x, delta), leading_sum(delta)


def _pre_activation(x, W, b, *, unit):
    """Where the unit has its kinks, so has affine_unit."""
    made = _unit(unit)
    return () if made.kinks is None else made.kinks(_product_and_bias(jnp.asarray(x), jnp.asarray(W), b))


@rule(kinks=_pre_activation, example_settings=({"unit": "tanh"}, {"unit": "softplus"}))
def affine_unit(
    x: Float[Array, "*B D"], W: Float[Array, "D H"], b: Float[Array, " H"] | None = None, *, unit: str | Rule = "relu"
) -> WithResiduals[Float[Array, "*B H"]]:
    """Affine layer and unit as one rule: z is never saved, only what the unit's own backward pass needs.

    Forward   z = x W + b,  a = unit(z)
    Backward  delta = upstream da/dz, by the unit's hand-derived backward pass, arrives at z; from there as in affine:
              dx = delta W^T,  dW = sum_B x^T delta,  db = sum_B delta
    Saved     x, W, and what the unit saves: one bit a number for relu, the output for tanh and sigmoid
    Kink      where z is at a kink of the unit, answered as the unit does
    Source    CS231n notes, "Backpropagation, intuitions"

    Args:
        x: examples (*B, D).
        W: weights (D, H).
        b: bias (H,), or None.
        unit: the name of a unit of one input among the gates, or a rule of one input; its settings are the defaults.

    Raises:
        ValueError: no such unit, or a unit of several inputs.
    """
    made = _unit(unit)
    z = _product_and_bias(x, W, b)
    a, residuals = made.forward(z, **made.signature.settings)
    return a, (x, W, residuals, ShapeDtype(z))


@affine_unit.backward
def affine_unit_backward(residuals, upstream, *, unit):
    x, W, residuals, z = residuals
    made = _unit(unit)
    (delta,) = made.pull(residuals, upstream, (z,), made.signature.settings)
    return affine_backward((x, W), delta)


def _product_and_bias(x: Array, W: Array, b: Array | None) -> Array:
    """X W + b, accumulated in the accumulator type and rounded once."""
    if b is None:
        return dot(x, W)
    return (matmul_accumulating(x, W) + to_accumulator(b)).astype(jnp.result_type(x, W, b))


def _unit(unit: str | Rule) -> Rule:
    made = _UNITS.get(unit) if isinstance(unit, str) else unit
    if made is None or len(made.signature.parameters) != 1:
        raise ValueError(f"affine_unit: {unit!r} is not a unit of one input; unit= takes {', '.join(sorted(_UNITS))}.")
    return made
