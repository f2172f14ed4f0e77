"""Neuron units that choose among several numbers: maxout, softmax, log_softmax.

Sums over the choices are accumulated in float32 at least. Losses over such choices are in `losses`.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..core.accumulation import accumulator_dtype, to_accumulator
from ..core.rule import WithResiduals, rule
from .shaping import lead


def _softmax_formula(z, axis):
    return np.exp(z) / np.exp(z).sum(axis, keepdims=True)


@rule(kinks=lambda pieces: lead(pieces, axis=-1), formula=lambda pieces: pieces.max(-1))
def maxout(pieces: Float[Array, "*B K"]) -> WithResiduals[Float[Array, "*B"]]:
    """The largest of K pieces, each an affine function of the input: a convex unit that learns its own shape.

    Forward   a = max_k z_k
    Local     da/dz_k = 1 for the largest piece, else 0
    Backward  dz_k = upstream for the largest piece, else 0
    Kink      n pieces tie for the largest: each gets upstream / n; never all the whole
    Source    Goodfellow, Warde-Farley, Mirza, Courville, Bengio 2013, arXiv:1302.4389
    """
    a = pieces.max(-1)
    return a, pieces == a[..., None]  # remembers one bit a piece


@maxout.backward
def maxout_backward(winners, upstream):
    share = to_accumulator(upstream) / winners.sum(-1, dtype=accumulator_dtype(upstream.dtype))
    return jnp.where(winners, share[..., None], 0)


@rule(example_settings=({"axis": 0},), formula=_softmax_formula)
def softmax(z: Float[Array, "*B C"], *, axis: int = -1) -> WithResiduals[Float[Array, "*B C"]]:
    """Scores become probabilities, along one axis.

    Forward   p_i = e^z_i / sum_j e^z_j  (the same for z - max z, which never overflows)
    Local     dp_j/dz_i = p_j (1[i = j] - p_i)
    Backward  dz = p (upstream - sum_j p_j upstream_j)
    Source    Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs",
              https://doi.org/10.1007/978-3-642-76153-9_28

    A score of minus infinity (masked) has probability 0 and gradient 0. Where all scores of a row are masked, so are
    its probabilities and gradients: 0, not NaN. A score of plus infinity makes its row NaN.

    What is remembered is the value, in its type. In halves rounded probabilities do not quite sum to 1: the mean of
    upstream is taken by what they sum to, so that the gradients sum to 0 all the same.
    """
    powers = jnp.exp(_below_zero(to_accumulator(z), axis))
    total = powers.sum(axis, keepdims=True)
    p = (powers / jnp.where(total == 0, 1, total)).astype(z.dtype)
    return p, p


def _below_zero(z: Array, axis: int) -> Array:
    """`z` less its largest number; a row of minus infinities as it is."""
    top = lax.stop_gradient(z.max(axis, keepdims=True, initial=-jnp.inf))  # softmax and log_softmax do not depend on it
    return z - jnp.where(jnp.isneginf(top), 0, top)


@softmax.backward
def softmax_backward(p, upstream, *, axis):
    p, upstream = to_accumulator(p), to_accumulator(upstream)
    total = p.sum(axis, keepdims=True)  # 1 but for rounding; 0 where all of a row is masked
    mean = (p * upstream).sum(axis, keepdims=True) / jnp.where(total == 0, 1, total)
    return p * (upstream - mean)


@rule(example_settings=({"axis": 0},), formula=lambda z, axis: np.log(_softmax_formula(z, axis)))
def log_softmax(z: Float[Array, "*B C"], *, axis: int = -1) -> WithResiduals[Float[Array, "*B C"]]:
    """The logarithms of the probabilities that softmax gives, without their underflow.

    Forward   l_i = z_i - log sum_j e^z_j  (the same for z - max z, which never overflows)
    Local     dl_j/dz_i = 1[i = j] - p_i,  p = e^l
    Backward  dz = upstream - p sum_j upstream_j
    Residuals e^(z - max z) and its sum, whose quotient is p: e^l would be an exponential more
    Source    Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs",
              https://doi.org/10.1007/978-3-642-76153-9_28

    A score of minus infinity (masked) stays minus infinity and draws nothing from the others. Where all scores of a
    row are masked its gradient is 0. A score of plus infinity makes its row NaN.
    """
    low = _below_zero(to_accumulator(z), axis)
    powers = jnp.exp(low)
    total = powers.sum(axis, keepdims=True)
    dead = total == 0  # then -inf - log 0 would be NaN
    logs = jnp.where(dead, -jnp.inf, jnp.where(dead, 0, low) - jnp.log(jnp.where(dead, 1, total)))
    return logs.astype(z.dtype), (powers.astype(z.dtype), total)


@log_softmax.backward
def log_softmax_backward(residuals, upstream, *, axis):
    (powers, total), upstream = residuals, to_accumulator(upstream)
    dead = total == 0
    dz = upstream - powers * (upstream.sum(axis, keepdims=True) / jnp.where(dead, 1, total))
    return jnp.where(dead, 0, dz)
