"""Neuron units that level off on both sides: sigmoid, tanh, hard_tanh, softsign.

Every unit of one array has the signature `unit(z, *, settings)`, so that a model can look it up by name.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.rule import WithResiduals, rule


@rule(formula=lambda z: 1 / (1 + np.exp(-z)))
def sigmoid(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The logistic unit as one merged gate, not five: its derivative is a product of its output.

    Forward   a = 1 / (1 + e^-z)
    Local     da/dz = e^-z / (1 + e^-z)^2 = a (1 - a)
    Backward  dz = a (1 - a) upstream
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/ (the sigmoid gate)

    No exponential overflows, at -1000 nor at 1000. Only the output is saved: where it rounds to 1 (z beyond 17 in
    float32) the derivative, there below the resolution of a, is 0.
    """
    a = jax.nn.sigmoid(z)
    return a, a


@sigmoid.backward
def sigmoid_backward(a, upstream):
    return a * (1 - a) * upstream


@rule(formula=lambda z: 1 - 2 / (np.exp(2 * z) + 1))
def tanh(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The hyperbolic tangent, a sigmoid centred on zero.

    Forward   a = (e^z - e^-z) / (e^z + e^-z)
    Local     da/dz = 1 - a^2 = (1 - a) (1 + a)
    Backward  dz = (1 - a) (1 + a) upstream
    Source    LeCun, Bottou, Orr, Mueller 1998, "Efficient BackProp",
              http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf

    Only the output is saved. The product loses no digits where a is near 1 or -1, as 1 - a^2 does.
    """
    a = jnp.tanh(z)
    return a, a


@tanh.backward
def tanh_backward(a, upstream):
    return (1 - a) * (1 + a) * upstream


@rule(kinks=lambda z: jnp.abs(z) - 1, formula=lambda z: np.minimum(np.maximum(z, -1), 1))
def hard_tanh(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The tanh made of three straight lines.

    Forward   a = min(max(z, -1), 1)
    Local     da/dz = 1 where -1 <= z <= 1, else 0
    Backward  dz = upstream where -1 <= z <= 1, else 0
    Kink      z = -1 and z = 1: we answer upstream, as jax.nn.hard_tanh does
    Source    Collobert et al. 2011, "Natural Language Processing (Almost) from Scratch", arXiv:1103.0398
    """
    a = jnp.where(z > 1, 1, jnp.where(z < -1, -1, z))
    return a, jnp.abs(z) <= 1  # remembers one bit a number


@hard_tanh.backward
def hard_tanh_backward(passes, upstream):
    return jnp.where(passes, upstream, 0)


@rule(formula=lambda z: z / (1 + np.abs(z)))
def softsign(z: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """A sigmoid centred on zero that levels off slowly, like 1/|z|.

    Forward   a = z / (1 + |z|)
    Local     da/dz = 1 / (1 + |z|)^2
    Backward  dz = upstream / (1 + |z|)^2
    Source    Bergstra, Desjardins, Lamblin, Bengio 2009, "Quadratic polynomials learn better image features"

    At plus and minus infinity a is 1 and -1 and dz is 0. It saves z: of 1 - |a|, whose square dz is too, few digits
    are left where a is near 1.
    """
    finite = jnp.clip(z, jnp.finfo(z.dtype).min, jnp.finfo(z.dtype).max)  # infinity over infinity would be NaN
    return finite / (1 + jnp.abs(finite)), z


@softsign.backward
def softsign_backward(z, upstream):
    share = 1 / (1 + jnp.abs(z))  # the square of 1 + |z| may overflow, that of its inverse fades to 0
    return share * share * upstream
