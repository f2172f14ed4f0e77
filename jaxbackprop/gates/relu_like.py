"""Neuron units that pass what is positive and hold back the rest: relu and its kin, up to silu and gelu.

Every unit of one array has the signature `unit(z, *, settings)`, so that a model can look it up by name; `prelu`, whose
slope is learned, takes two. Settings are named, and kinks answered, as in `jax.nn`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.accumulation import leading_sum, to_accumulator
from ..core.rule import WithResiduals, rule


@rule(kinks=lambda z: z, formula=lambda z: z * (z > 0))
def relu(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """Rectified linear unit: passes what is positive, blocks the rest.

    Forward   a = max(0, z)
    Local     da/dz = 1 where z > 0, else 0
    Backward  dz = upstream where z > 0, else 0
    Kink      z = 0: we answer 0, as jax.nn.relu does
    Source    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines",
              https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf
    """
    return jnp.maximum(z, 0), z > 0  # remembers one bit a number, not the number


@relu.backward
def relu_backward(alive, upstream):
    return jnp.where(alive, upstream, 0)


@rule(
    kinks=lambda z: z,
    example_settings=({"negative_slope": 0.3},),
    formula=lambda z, negative_slope: np.maximum(z, 0) + negative_slope * np.minimum(z, 0),
)
def leaky_relu(z: Float[Array, "..."], *, negative_slope: float = 0.01) -> WithResiduals[Float[Array, "..."]]:
    """A ReLU that never dies: what is negative passes too, made small.

    Forward   a = z where z >= 0, else negative_slope z
    Local     da/dz = 1 where z >= 0, else negative_slope
    Backward  dz = upstream where z >= 0, else negative_slope upstream
    Kink      z = 0: we answer upstream, as jax.nn.leaky_relu does
    Source    Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models",
              https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf
    """
    alive = z >= 0
    return jnp.where(alive, z, negative_slope * z), alive


@leaky_relu.backward
def leaky_relu_backward(alive, upstream, *, negative_slope):
    return jnp.where(alive, upstream, negative_slope * upstream)


@rule(kinks=lambda z, slope: z, formula=lambda z, slope: np.maximum(z, 0) + slope * np.minimum(z, 0))
def prelu(z: Float[Array, "*B C"], slope: Float[Array, ""] | Float[Array, "C"]) -> WithResiduals[Float[Array, "*B C"]]:
    """A leaky ReLU that learns its slope: one for all channels, or one for each.

    Forward   a = z where z >= 0, else slope z
    Local     da/dz = 1 where z >= 0, else slope;  da/dslope = 0 where z >= 0, else z
    Backward  dz = upstream where z >= 0, else slope upstream
              dslope = sum over all that share the slope of z upstream where z < 0
    Kink      z = 0: dz is upstream, as with leaky_relu; dslope is 0 from either side
    Source    He, Zhang, Ren, Sun 2015, arXiv:1502.01852

    What dslope sums is masked first, one array in memory more than autodiff has, for which z = infinity makes it NaN.
    """
    return jnp.where(z >= 0, z, slope * z), (z, slope)


@prelu.backward
def prelu_backward(residuals, upstream):
    z, slope = residuals
    dz = jnp.where(z >= 0, upstream, slope * upstream)
    each = jnp.where(z >= 0, 0, to_accumulator(z) * to_accumulator(upstream))
    return dz, leading_sum(each) if slope.ndim else each.sum()


def _not_positive(z: Array) -> Array:
    """`z` where it is not positive: the exponential of the others is never used, and must not overflow."""
    return jnp.where(z > 0, 0, z)


def _elu(z: Array, alpha: float, scale: float = 1.0) -> Array:
    """scale z where z > 0, else scale alpha (e^z - 1).

    e^z - 1 is tanh(z/2) (e^z + 1), which cancels nowhere. XLA's expm1 is that too or e^z - 1, by the size of z, and on
    a CPU it computes both: together with the exponential of the backward pass a tenth more time.
    """
    low = _not_positive(to_accumulator(z))
    return jnp.where(z > 0, scale * z, (scale * alpha * jnp.tanh(low / 2) * (jnp.exp(low) + 1)).astype(z.dtype))


def _plain_elu(z: Array, *, alpha: float = 1.0) -> Array:
    return jnp.where(z > 0, z, alpha * jnp.expm1(_not_positive(z)))


@rule(
    kinks=lambda z: z,
    example_settings=({"alpha": 0.5},),
    reference=_plain_elu,
    formula=lambda z, alpha: np.where(z > 0, z, alpha * (np.exp(z) - 1)),
)
def elu(z: Float[Array, "..."], *, alpha: float = 1.0) -> WithResiduals[Float[Array, "..."]]:
    """Exponential linear unit: a ReLU that levels off at -alpha, so that its mean can be zero.

    Forward   a = z where z > 0, else alpha (e^z - 1)
    Local     da/dz = 1 where z > 0, else alpha e^z
    Backward  dz = upstream where z > 0, else alpha e^z upstream
    Kink      z = 0, unless alpha = 1: we answer alpha, as jax.nn.elu does
    Source    Clevert, Unterthiner, Hochreiter 2015, arXiv:1511.07289

    It saves z: a + alpha, which alpha e^z is too, has few digits left where z is well below zero.
    """
    return _elu(z, alpha), z


@elu.backward
def elu_backward(z, upstream, *, alpha):
    return jnp.where(z > 0, upstream, alpha * jnp.exp(_not_positive(z)) * upstream)


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@rule(
    kinks=lambda z: z,
    reference=lambda z: SELU_SCALE * _plain_elu(z, alpha=SELU_ALPHA),
    formula=lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * (np.exp(z) - 1)),
)
def selu(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The scaled ELU: its two constants keep mean 0 and variance 1 from layer to layer.

    Forward   a = scale z where z > 0, else scale alpha (e^z - 1),  scale = 1.0507..., alpha = 1.6733...
    Local     da/dz = scale where z > 0, else scale alpha e^z
    Backward  dz = scale upstream where z > 0, else scale alpha e^z upstream
    Kink      z = 0: we answer scale alpha upstream, as jax.nn.selu does
    Source    Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515
    """
    return _elu(z, SELU_ALPHA, SELU_SCALE), z


@selu.backward
def selu_backward(z, upstream):
    return jnp.where(z > 0, SELU_SCALE, SELU_SCALE * SELU_ALPHA * jnp.exp(_not_positive(z))) * upstream


@rule(formula=lambda z: np.log(1 + np.exp(z)))
def softplus(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """A ReLU without a corner, whose derivative is the sigmoid.

    Forward   a = log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)
    Local     da/dz = e^z / (1 + e^z) = sigmoid(z)
    Backward  dz = sigmoid(z) upstream
    Source    Dugas, Bengio, Belisle, Nadeau, Garcia 2001,
              https://papers.nips.cc/paper/2000/hash/44968aece94f667e4095002d140b5896-Abstract.html

    The second form never overflows: at z = 1000 the value is 1000 and the gradient 1, where log(1 + e^z) gives infinity
    and NaN.
    """
    return jnp.logaddexp(to_accumulator(z), 0).astype(z.dtype), z


@softplus.backward
def softplus_backward(z, upstream):
    return jax.nn.sigmoid(z) * upstream


def _beyond(limit: float, z: Array) -> tuple[Array, Array]:
    """Where |z| exceeds `limit`, so that z times its share is max(z, 0) in every precision; and z, in there made 0.

    Minus infinity times a share of 0 would be NaN.
    """
    far = jnp.abs(z) > limit
    return far, jnp.where(far, 0, to_accumulator(z))


def _shares(z: Array) -> tuple[Array, Array]:
    """sigmoid(z) and sigmoid(-z) by one exponential: the smaller share keeps its digits, the larger is 1 without it."""
    right = z >= 0
    small = jax.nn.sigmoid(jnp.where(right, -z, z))
    return jnp.where(right, 1 - small, small), jnp.where(right, small, 1 - small)


@rule(formula=lambda z: z / (1 + np.exp(-z)))
def silu(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The sigmoid-weighted unit, also called swish: z times the share s that the sigmoid gives it.

    Forward   a = z s,  s = sigmoid(z)
    Local     da/dz = s + z s (1 - s)
    Backward  dz = s (1 + z (1 - s)) upstream,  with 1 - s = sigmoid(-z)
    Source    Elfwing, Uchibe, Doya 2017, arXiv:1702.03118

    Finite for all finite z; at plus and minus infinity a is infinity and 0, dz is upstream and 0.
    """
    far, near = _beyond(1000, z)
    return jnp.where(far, jnp.maximum(z, 0), (near * _shares(near)[0]).astype(z.dtype)), z


@silu.backward
def silu_backward(z, upstream):
    far, near = _beyond(1000, z)
    share, rest = _shares(near)
    return jnp.where(far, z > 0, share * (1 + near * rest)) * upstream


def _erfc(x):
    """NumPy has none: that of each number, by itself where it knows its own."""
    each = [v.erfc() if hasattr(v, "erfc") else math.erfc(v) for v in x.reshape(-1)]
    return np.array(each, x.dtype).reshape(x.shape)


def _gelu_formula(z, approximate):
    if approximate:
        return z / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    return z / 2 * _erfc(-z / math.sqrt(2))


@rule(example_settings=({"approximate": False},), formula=_gelu_formula)
def gelu(z: Float[Array, "..."], *, approximate: bool = True) -> WithResiduals[Float[Array, "..."]]:
    """The Gaussian error linear unit: z times the share s of a normal distribution that lies below it.

    Forward   a = z s,  s = erfc(-z / sqrt 2) / 2,  or approximately
              s = (1 + tanh v) / 2 = sigmoid(2 v),  v = sqrt(2/pi) (z + 0.044715 z^3)
    Local     da/dz = s + z s',  s' = e^(-z^2/2) / sqrt(2 pi),  or approximately
              s' = 2 v' s (1 - s),  v' = sqrt(2/pi) (1 + 0.134145 z^2),  1 - s = sigmoid(-2 v)
    Backward  dz = (s + z s') upstream
    Source    Hendrycks, Gimpel 2016, arXiv:1606.08415

    Neither 1 + tanh nor 1 + erf is ever formed: they have no digits left where z is well below zero. At plus and minus
    infinity a is infinity and 0, dz is upstream and 0.
    """
    far, near = _beyond(40, z)
    share = _shares(2 * _tanh_argument(near))[0] if approximate else jax.lax.erfc(-near / math.sqrt(2)) / 2
    return jnp.where(far, jnp.maximum(z, 0), (near * share).astype(z.dtype)), z


def _tanh_argument(z: Array) -> Array:
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)


@gelu.backward
def gelu_backward(z, upstream, *, approximate):
    far, near = _beyond(40, z)
    if approximate:
        share, rest = _shares(2 * _tanh_argument(near))
        grows = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * near**2) * share * rest
    else:
        share = jax.lax.erfc(-near / math.sqrt(2)) / 2
        grows = jnp.exp(-(near**2) / 2) / math.sqrt(2 * math.pi)
    return jnp.where(far, z > 0, share + near * grows) * upstream
