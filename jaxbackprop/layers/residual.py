"""A residual block as one rule: what a deep network repeats, saving one or two arrays a layer.

Made for `jax.lax.scan` over layers, where whatever a rule saves is stacked layer by layer.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from ..core.accumulation import to_accumulator
from ..core.rule import WithResiduals, rule
from .affine import affine_backward, pre_activation, unit_of
from .hashed_dropout import masked, through_unit
from .normalization import layer_norm, layer_norm_backward


def _kinks_of_the_unit(x, scale, shift, W1, b1, W2, b2, key, *, unit, eps):
    """Where the unit has its kinks, so has residual_block."""
    x, scale, shift, W1, b1 = map(jnp.asarray, (x, scale, shift, W1, b1))
    kinks = unit_of(unit, "residual_block").kinks
    return () if kinks is None else kinks(pre_activation(layer_norm.primal(x, scale, shift, eps=eps), W1, b1))


@rule(
    kinks=_kinks_of_the_unit,
    example_settings=({"unit": "gelu", "keep": "x"}, {"unit": "tanh", "rate": 0.0}, {"rate": 1.0}),
)
def residual_block(
    x: Float[Array, "*B D"],
    scale: Float[Array, " D"],
    shift: Float[Array, " D"],
    W1: Float[Array, "D H"],
    b1: Float[Array, " H"],
    W2: Float[Array, "H D"],
    b2: Float[Array, " D"],
    key: Key[Array, ""],
    *,
    unit: str = "relu",
    rate: float = 0.1,
    eps: float = 1e-5,
    keep: str = "z",
) -> WithResiduals[Float[Array, "*B D"]]:
    """Layer norm, affine, unit, dropout, affine, and the input added to it.

    Forward   n = layer_norm(x),  z = n W1 + b1,  h = dropout(unit(z)),  y = x + h W2 + b2
    Backward  dh = upstream W2^T,  delta = dh m / (1 - rate) unit'(z) arrives at z,  dn = delta W1^T
              dx = upstream + dn through the norm: the fork at x adds its two branches
              dW2 = sum_B h^T upstream,  db2 = sum_B upstream,  dW1 = sum_B n^T delta,  db1 = sum_B delta
              dscale, dshift by the norm
    Residuals x, z and the parameters; n, the unit and the mask (a hash of its place) are computed again. With
              keep="x" z is too: one product of seven more, and nothing of the hidden layer's size is kept
    Source    He et al. 2016, arXiv:1603.05027 (the norm first); Chen et al. 2016, arXiv:1604.06174 (computing again)
    Kink      where the unit has one

    A tuned `jax.checkpoint` policy with the mask drawn again reaches the same memory; this needs no tuning. What goes
    from one part to the next, n, z and h, dh, delta and dn, is in the type of the arguments: sums are in float32, but
    in halves their terms are rounded before they are added up and may cancel, as they are without the rule.

    Args:
        x: examples (*B, D).
        scale: of the norm (D,).
        shift: of the norm (D,).
        W1: weights (D, H).
        b1: bias (H,).
        W2: weights (H, D).
        b2: bias (D,).
        key: a random key; the same key silences the same places.
        unit: the name of a unit of one input; its settings are the defaults.
        rate: the share of the hidden numbers that is silenced, from 0 to 1.
        eps: added to the variance.
        keep: "z", or "x" for x alone.

    Raises:
        ValueError: no such unit, rate outside 0..1, or keep neither.
    """
    if keep not in ("x", "z"):
        raise ValueError(f"residual_block: keep is {keep!r}; it is 'z' or 'x'.")
    n = layer_norm.primal(x, scale, shift, eps=eps)
    z = pre_activation(n, W1, b1)
    h = masked(unit_of(unit, "residual_block").primal(z), key, rate)
    y = (to_accumulator(x) + to_accumulator(pre_activation(h, W2, b2))).astype(jnp.result_type(x, n, z, W2, b2))
    return y, (x, scale, shift, W1, b1, W2, key, z if keep == "z" else None)


@residual_block.backward
def residual_block_backward(residuals, upstream, *, unit, rate, eps):
    x, scale, shift, W1, b1, W2, key, z = residuals
    n, norm = layer_norm.forward(x, scale, shift, eps=eps)
    z = pre_activation(n, W1, b1) if z is None else z
    made = unit_of(unit, "residual_block")
    h = masked(made.primal(z), key, rate)
    dh, dW2, db2 = affine_backward((h, W2), upstream)
    delta = through_unit(made, z, masked(dh, key, rate))
    dn, dW1, db1 = affine_backward((n, W1), delta)
    dx, dscale, dshift = layer_norm_backward(norm, dn)
    return to_accumulator(upstream) + dx, dscale, dshift, dW1, db1, dW2, db2
