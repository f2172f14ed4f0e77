"""Batch normalisation and a unit that can be undone, as one rule whose backward pass starts from its own output.

What is undone here is leaky ReLU. The norm alone is in `normalization`.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ..core.accumulation import leading_sum, to_accumulator
from ..core.domains import Domain, nonzero, within
from ..core.rule import WithResiduals, rule
from .normalization import batch_norm


def _normed(x, scale, shift, *, eps):
    return batch_norm.primal(jnp.asarray(x), jnp.asarray(scale), jnp.asarray(shift), eps=eps)[0]


# What cannot be undone accurately is no input of this rule: see the docstring.
ordinary = Domain("features that vary by much more than eps^(1/2)", lambda rng, shape, _: rng.normal(size=shape))
undoable = Domain("not small beside shift", nonzero.draw, holds=lambda x: bool((abs(x) >= 0.3).all()))


@rule(
    kinks=_normed,
    domain={"x": ordinary, "scale": undoable, "shift": within(-1, 1)},
    example_settings=({"negative_slope": 0.25}, {"eps": 0.1}),
)
def batch_norm_unit(
    x: Float[Array, "*B D"],
    scale: Float[Array, " D"],
    shift: Float[Array, " D"],
    *,
    negative_slope: float = 2**-7,
    eps: float = 1e-5,
) -> WithResiduals[tuple[Float[Array, "*B D"], Float[Array, " D"], Float[Array, " D"]]]:
    """Batch normalisation in training and leaky ReLU, undone in the backward pass instead of being saved.

    Forward   m = mean_B x,  v = mean_B (x - m)^2,  r = (v + eps)^(-1/2),  z = (x - m) r scale + shift
              y = z where z >= 0, else negative_slope z
    Backward  z = y where y >= 0, else y / negative_slope,  n = (z - shift) / scale: x is not needed
              dz = upstream_y where y >= 0, else negative_slope upstream_y
              dscale = sum_B dz n,  dshift = sum_B dz;  as in batch_norm, for N examples:
              dx = r scale (dz - dshift / N - n dscale / N) + (upstream_m + 2 n / r upstream_v) / N
    Residuals y, which the next layer keeps anyway, scale, shift, and r of each feature; not x
    Source    Rota Bulò, Porzi, Kontschieder 2018, arXiv:1712.02616 (in-place activated batch norm)
    Kink      z = 0: we answer the slope 1, as leaky_relu does

    It gains memory where nothing else keeps x: after an affine or convolution layer, half of what a layer saves; alone
    in a program it ties. The price is accuracy: n carries the rounding of y times |z / scale|. So digits are lost where
    scale is small beside shift, and where a feature varies by less than eps^(1/2); at scale 0, which cannot be undone,
    the gradients are NaN.

    Args:
        x: examples (*B, D); statistics are taken over all axes but the last.
        scale: (D,), not 0.
        shift: (D,).
        negative_slope: of the unit, above 0; a power of 2 is undone without rounding.
        eps: added to the variance.

    Returns:
        y (*B, D), the mean (D,) and the biased variance (D,), as `batch_norm`.

    Raises:
        ValueError: a slope that is not above 0 cannot be undone.
    """
    if not negative_slope > 0:
        raise ValueError(f"batch_norm_unit: negative_slope is {negative_slope}; only one above 0 can be undone.")
    (z, m, v), (_, _, r, _) = batch_norm.forward(x, scale, shift, eps=eps)
    y = jnp.where(z >= 0, z, negative_slope * z)
    return (y, m, v), (y, scale, shift, r)


@batch_norm_unit.backward
def batch_norm_unit_backward(residuals, upstream, *, negative_slope):
    y, scale, shift, r = residuals  # (*B, D) (D,) (D,) (1s, D)
    upstream_y, upstream_m, upstream_v = map(to_accumulator, upstream)
    count = max(y.size // max(y.shape[-1], 1), 1)
    z = jnp.where(y >= 0, to_accumulator(y), to_accumulator(y) / negative_slope)
    n = (z - shift) / scale
    dz = jnp.where(y >= 0, upstream_y, negative_slope * upstream_y)
    dscale, dshift = leading_sum(dz * n), leading_sum(dz)
    slope = r * scale
    level, tilt = (upstream_m - slope * dshift) / count, (2 * upstream_v / r - slope * dscale) / count
    return slope * dz + tilt * n + level, dscale, dshift
