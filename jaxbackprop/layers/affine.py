"""Affine layers in the delta view: `delta` arrives at z = x W + b, and leaves to x through the transpose of W.

This file has `affine` and what is fused with it into one rule, by which unit. The units themselves are gates.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ..core.accumulation import dot, leading_sum, matmul_accumulating, outer_sum, to_accumulator
from ..core.rule import Rule, ShapeDtype, WithResiduals, rule
from ..gates import relu_like, sigmoid_like

UNITS = {
    name: unit
    for module in (relu_like, sigmoid_like)
    for name, unit in vars(module).items()
    if isinstance(unit, Rule) and len(unit.signature.parameters) == 1
}
"""The units of one input, which the fused layers take by name."""


def unit_of(unit: str | Rule, caller: str) -> Rule:
    """The unit of that name, or the rule itself.

    Raises:
        ValueError: no such unit, or one of several inputs; the message begins with `caller`.
    """
    made = UNITS.get(unit) if isinstance(unit, str) else unit
    if made is None or len(made.signature.parameters) != 1:
        raise ValueError(f"{caller}: {unit!r} is not a unit of one input; unit= takes {', '.join(sorted(UNITS))}.")
    return made


def pre_activation(x: Array, W: Array, b: Array | None) -> Array:
    """x W + b, accumulated in the accumulator type and rounded once."""
    if b is None:
        return dot(x, W)
    return (matmul_accumulating(x, W) + to_accumulator(b)).astype(jnp.result_type(x, W, b))


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
    Residuals x, W
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/;
              CS224n lecture notes 3, https://web.stanford.edu/class/cs224n/readings/cs224n-2019-notes03-neuralnets.pdf

    Sums of half-precision numbers are accumulated in float32 and rounded once.
    """
    return pre_activation(x, W, b), (x, W)


@affine.backward
def affine_backward(residuals, delta):
    x, W = residuals
    return dot(delta, W.T), outer_sum(x, delta), leading_sum(delta)


def _kinks_of_the_unit(x, W, b, *, unit):
    """Where the unit has its kinks, so has affine_unit."""
    made = unit_of(unit, "affine_unit")
    return () if made.kinks is None else made.kinks(pre_activation(jnp.asarray(x), jnp.asarray(W), b))


@rule(kinks=_kinks_of_the_unit, example_settings=({"unit": "tanh"}, {"unit": "softplus"}))
def affine_unit(
    x: Float[Array, "*B D"], W: Float[Array, "D H"], b: Float[Array, " H"] | None = None, *, unit: str | Rule = "relu"
) -> WithResiduals[Float[Array, "*B H"]]:
    """Affine layer and unit as one rule: z is never saved, only what the unit's own backward pass needs.

    Forward   z = x W + b,  a = unit(z)
    Backward  delta = upstream da/dz, by the unit's hand-derived backward pass, arrives at z; from there as in affine:
              dx = delta W^T,  dW = sum_B x^T delta,  db = sum_B delta
    Residuals x, W, and those of the unit: one bit a number for relu, the output for tanh and sigmoid
    Kink      where z is at a kink of the unit, answered as the unit does
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/

    Args:
        x: examples (*B, D).
        W: weights (D, H).
        b: bias (H,), or None.
        unit: the name of a unit of one input among the gates, or a rule of one input; its settings are the defaults.

    Raises:
        ValueError: no such unit, or a unit of several inputs.
    """
    made = unit_of(unit, "affine_unit")
    z = pre_activation(x, W, b)
    a, residuals = made.forward(z, **made.signature.settings)
    return a, (x, W, residuals, ShapeDtype(z))


@affine_unit.backward
def affine_unit_backward(residuals, upstream, *, unit):
    x, W, residuals, z = residuals
    made = unit_of(unit, "affine_unit")
    (delta,) = made.pull(residuals, upstream, (z,), made.signature.settings)
    return affine_backward((x, W), delta)
