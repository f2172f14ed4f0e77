"""Kinks at scalars, infinities beside finite numbers, truths that autodiff of the plain function does not have."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special

from .entry import Foreign, jvp, normal, of_arguments, vjp

Array = Any
ZERO = np.float32(0.0)


def softplus(x: Array) -> Array:
    return jnp.logaddexp(x, 0)


def log_sigmoid(x: Array) -> Array:
    return -softplus(-x)


def xlogy_backward(kept: Any, u: Array) -> Any:
    x, y = kept
    return u * jnp.log(y), u * jnp.where(x == 0, 0, x / y)


def logaddexp_backward(kept: Any, u: Array) -> Any:
    a, b = kept
    total = jnp.logaddexp(a, b)
    shares = [jnp.where(jnp.isneginf(x), 0.0, jnp.exp(x - jnp.where(jnp.isneginf(total), 0, total))) for x in (a, b)]
    return tuple((u * s).astype(u.dtype) for s in shares)


def safe_sqrt(x: Array) -> Array:
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


def norm(x: Array) -> Array:
    return jnp.sqrt(jnp.sum(x * x))


def sinc_naive(x: Array) -> Array:
    return jnp.where(x == 0, 1.0, jnp.sin(x) / x)


def sinc_slope(x: Array) -> Array:
    near = jnp.abs(x) < 0.1
    y = jnp.where(near, 1.0, x)
    return jnp.where(near, -x / 3 + x**3 / 30 - x**5 / 840 + x**7 / 45360, (y * jnp.cos(y) - jnp.sin(y)) / (y * y))


def log1mexp(x: Array) -> Array:
    """log(1 - exp(-x)) for positive x."""
    return jnp.log(1 - jnp.exp(-x))


def masked_softmax(x: Array, mask: Array) -> Array:
    return jax.nn.softmax(jnp.where(mask, x, -jnp.inf), -1)


def right() -> list[Foreign]:
    relu = of_arguments(jax.nn.relu, lambda s, u: (jnp.where(s[0] > 0, u, 0),))
    return [
        Foreign("relu at a scalar zero", relu, (ZERO,)),
        Foreign("softplus at a scalar zero", of_arguments(softplus, lambda s, u: (u * jax.nn.sigmoid(s[0]),)), (ZERO,)),
        Foreign(
            "log_sigmoid at a scalar zero",
            of_arguments(log_sigmoid, lambda s, u: (u * jax.nn.sigmoid(-s[0]),)),
            (ZERO,),
        ),
        Foreign(
            "a Huber loss at its seam", of_arguments(huber, lambda s, u: (u * jnp.clip(s[0], -1, 1),)), (np.float32(1),)
        ),
        # An infinite derivative beside finite ones.
        Foreign(
            "sqrt at zero",
            of_arguments(jnp.sqrt, lambda s, u: (u * 0.5 / jnp.sqrt(s[0]),)),
            (np.array([0, 1, 4], np.float32),),
        ),
        Foreign(
            "cbrt at zero",
            of_arguments(jnp.cbrt, lambda s, u: (u / (3 * jnp.cbrt(s[0]) ** 2),)),
            (np.array([0, 1, -8], np.float32),),
        ),
        Foreign(
            "arcsin at one",
            of_arguments(jnp.arcsin, lambda s, u: (u * lax.rsqrt((1 - s[0]) * (1 + s[0])),)),
            (np.array([0.5, 1, -0.2], np.float32),),
        ),
        # jax 4415, 4416? xlogy at 0
        Foreign(
            "xlogy at x = 0",
            of_arguments(special.xlogy, xlogy_backward),
            (np.array([0, 2, 1], np.float32), np.array([3, 1, 0.5], np.float32)),
        ),
        Foreign(
            "xlogy at x = 0 and y = 0",
            of_arguments(special.xlogy, xlogy_backward),
            (np.array([0, 2, 1], np.float32), np.array([0, 1, 0.5], np.float32)),
        ),
        Foreign(
            "logaddexp with minus infinity",
            of_arguments(jnp.logaddexp, logaddexp_backward),
            (np.array([-np.inf, 2, -np.inf], np.float32), np.array([1, -np.inf, -np.inf], np.float32)),
        ),
        Foreign(
            "a softmax with a masked column",
            of_arguments(jax.nn.softmax, softmax_backward),
            (np.array([[0.3, -np.inf, 1.0], [0.1, 0.2, -np.inf]], np.float32),),
        ),
        # jax 1052, 5798: where and sqrt
        Foreign(
            "sqrt guarded by one where",
            of_arguments(
                safe_sqrt, lambda s, u: (jnp.where(s[0] > 0, u * 0.5 / jnp.sqrt(jnp.where(s[0] > 0, s[0], 1)), 0),)
            ),
            (np.array([1.0, 4.0, 0.3], np.float32),),
        ),
        Foreign(
            "sinc guarded by one where",
            of_arguments(sinc_naive, lambda s, u: (u * sinc_slope(s[0]),)),
            (np.array([0, 1, -2], np.float32),),
        ),
        Foreign(
            "log1mexp",
            of_arguments(log1mexp, lambda s, u: (u / jnp.expm1(s[0]),)),
            (np.array([0.1, 1, 3], np.float32),),
        ),
        # jax 3058: the norm of zeros
        Foreign(
            "a norm, zero at zero",
            of_arguments(norm, lambda s, u: (u * s[0] / jnp.maximum(norm(s[0]), 1e-30),)),
            (np.zeros(3, np.float32),),
        ),
        Foreign(
            "i0 at zero",
            jvp(special.i0, lambda p, t: (special.i0(p[0]), t[0] * special.i1(p[0]))),
            (np.array([0, 1, -2.0], np.float32),),
        ),
        Foreign(
            "the mantissa of frexp",
            of_arguments(lambda x: jnp.frexp(x)[0], lambda s, u: (u * jnp.exp2(-jnp.frexp(s[0])[1].astype(u.dtype)),)),
            (np.array([0.3, 1.7, -5.0], np.float32),),
        ),
        Foreign(
            "softplus far out",
            of_arguments(lambda x: jnp.log(1 + jnp.exp(x)), lambda s, u: (u * jax.nn.sigmoid(s[0]),)),
            (np.array([800, 1000, -3.0], np.float32),),
        ),
        Foreign("a median", of_arguments(jnp.median, median_backward), (np.array([3, 1, 2, 7, 5.5], np.float32),)),
    ]


def huber(x: Array) -> Array:
    a = jnp.abs(x)
    return jnp.where(a <= 1, 0.5 * x * x, a - 0.5)


def softmax_backward(kept: Any, u: Array) -> Any:
    p = jax.nn.softmax(kept[0])
    return (p * (u - (p * u).sum(-1, keepdims=True)),)


def median_backward(kept: Any, u: Array) -> Any:
    (x,) = kept
    at = jnp.argsort(x)[x.size // 2]
    return (jnp.zeros_like(x).at[at].set(u),)


def sigmoid_backward_by_exp(kept: Any, u: Array) -> Any:
    e = jnp.exp(-kept[0])
    return (u * e / (1 + e) ** 2,)


def masked_fill(x: Array) -> Array:
    return jnp.where(x > 0, jnp.log(jnp.maximum(x, 0)), -jnp.inf)


def wrong() -> list[Foreign]:
    x, far = normal(4), np.array([-3, 0.5, 2, 4], np.float32)
    gelu_tanh = lambda s, u: (u * jax.grad(lambda a: jax.nn.gelu(a, approximate=True).sum())(s[0]),)  # noqa: E731
    return [
        Foreign(
            "softplus: e^x / (1 + e^x)",
            of_arguments(softplus, lambda s, u: (u * jnp.exp(s[0]) / (1 + jnp.exp(s[0])),)),
            (x,),
            causes=("overflow",),
        ),
        Foreign(
            "sigmoid: e^-x / (1 + e^-x)^2",
            of_arguments(jax.nn.sigmoid, sigmoid_backward_by_exp),
            (x,),
            causes=("overflow",),
        ),
        Foreign(
            "logsumexp: exp(x) / sum exp(x)",
            of_arguments(jax.nn.logsumexp, lambda s, u: (u * jnp.exp(s[0]) / jnp.exp(s[0]).sum(),)),
            (x,),
            causes=("overflow",),
        ),
        Foreign(
            "a mask that fills in -1e9",
            vjp(
                masked_fill,
                lambda a: (jnp.maximum(masked_fill(a), -1e9), a),
                lambda a, u: (jnp.where(a > 0, u / jnp.where(a > 0, a, 1), 0),),
            ),
            (np.array([1, 2, -1, 0.5], np.float32),),
            causes=("forward", "finite"),
            checks=("forward_pass",),
        ),
        Foreign(
            "relu6 without its ceiling",
            of_arguments(lambda a: jnp.clip(a, 0, 6), lambda s, u: (u * (s[0] > 0),)),
            (np.array([-1, 2, 7, 9], np.float32),),
            causes=("clip", "min", "beyond", "region", "left out"),
            checks=("gradient",),
        ),
        Foreign(
            "hard sigmoid: a fifth for a sixth",
            of_arguments(jax.nn.hard_sigmoid, lambda s, u: (u * jnp.where(jnp.abs(s[0]) < 3, 0.2, 0),)),
            (x,),
            causes=("factor 1.2",),
            checks=("gradient",),
        ),
        Foreign(
            "gelu: the derivative of its approximation",
            of_arguments(lambda a: jax.nn.gelu(a, approximate=False), gelu_tanh),
            (x,),
            causes=("accuracy", "approxim"),
            checks=("gradient",),
        ),
        Foreign(
            "selu: alpha to four digits",
            of_arguments(jax.nn.selu, lambda s, u: (u * 1.0507 * jnp.where(s[0] > 0, 1, 1.6733 * jnp.exp(s[0])),)),
            (x,),
            causes=(
                "another constant",
                "accuracy",
            ),
            checks=("gradient",),
        ),
        Foreign(
            "a Huber loss whose slope is not clipped",
            of_arguments(huber, lambda s, u: (u * s[0],)),
            (far,),
            causes=("beyond", "region", "left out", "where", "select"),
            checks=("gradient",),
        ),
        Foreign(
            "atan2: minus the first derivative",
            of_arguments(
                jnp.arctan2, lambda s, u: (-u * s[1] / (s[0] ** 2 + s[1] ** 2), -u * s[0] / (s[0] ** 2 + s[1] ** 2))
            ),
            (x, normal(4, seed=1)),
            causes=("sign",),
            checks=("gradient",),
        ),
        Foreign(
            "a power: the logarithm left out",
            of_arguments(lambda a, b: a**b, lambda s, u: (u * s[1] * s[0] ** (s[1] - 1), u * s[0] ** s[1])),
            (np.abs(x) + 0.5, normal(4, seed=1)),
            causes=("output stands",),
            checks=("gradient",),
        ),
        Foreign(
            "expm1: the value for the derivative",
            of_arguments(jnp.expm1, lambda s, u: (u * jnp.expm1(s[0]),)),
            (x,),
            causes=("output stands",),
            checks=("gradient",),
        ),
        Foreign(
            "erf: 2 / sqrt(pi) left out",
            of_arguments(special.erf, lambda s, u: (u * jnp.exp(-(s[0] ** 2)),)),
            (x,),
            causes=("factor",),
            checks=("gradient",),
        ),
        Foreign(
            "tanh: 1 - y for 1 - y^2",
            of_arguments(jnp.tanh, lambda s, u: (u * (1 - jnp.tanh(s[0])),)),
            (x,),
            causes=("local derivative", "1 - the output"),
            checks=("gradient",),
        ),
        Foreign(
            "swish: x times the sigmoid's derivative alone",
            of_arguments(jax.nn.silu, lambda s, u: (u * s[0] * jax.nn.sigmoid(s[0]) * (1 - jax.nn.sigmoid(s[0])),)),
            (x,),
            causes=("product", "fork"),
            checks=("gradient",),
        ),
        Foreign(
            "mish: softplus taken for the identity",
            of_arguments(
                lambda a: a * jnp.tanh(softplus(a)),
                lambda s, u: (u * (jnp.tanh(softplus(s[0])) + s[0] * (1 - jnp.tanh(softplus(s[0])) ** 2)),),
            ),
            (x,),
            causes=("left out",),
            checks=("gradient",),
        ),
        # jax 40315 and its kind: everything is right, and the second derivative at the seam is zero.
        Foreign(
            "sinc: at zero its slope is the constant 0",
            of_arguments(sinc_two_wheres, lambda s, u: (u * sinc_slope_where(s[0]),)),
            (np.array([0, 1, -2], np.float32),),
            causes=("again",),
            checks=("second_order",),
        ),
        # tensorflow-probability 1005 and its kind: right everywhere but at the one point where it is 0 / 0.
        Foreign(
            "sinc: 0 / 0 at zero",
            of_arguments(sinc_two_wheres, lambda s, u: (u * (s[0] * jnp.cos(s[0]) - jnp.sin(s[0])) / s[0] ** 2,)),
            (np.array([0, 1, -2], np.float32),),
            causes=("this very point",),
            checks=("gradient",),
        ),
        Foreign(
            "softplus: e^x / (1 + e^x) far out",
            of_arguments(softplus, lambda s, u: (u * jnp.exp(s[0]) / (1 + jnp.exp(s[0])),)),
            (np.array([1, 800, -2], np.float32),),
            causes=("overflow",),
            checks=("gradient",),
        ),
        Foreign(
            "log_sigmoid: 1 - sigmoid far out",
            of_arguments(log_sigmoid, lambda s, u: (u * (1 - jax.nn.sigmoid(s[0])),)),
            (x,),
            causes=("accuracy", "digits"),
            checks=("gradient", "precision", "other_points"),
        ),
        Foreign(
            "abs: the sign of the upstream gradient",
            of_arguments(jnp.abs, lambda s, u: (jnp.abs(u) * jnp.sign(s[0]),)),
            (x,),
            causes=("absolute", "linear"),
            checks=("gradient",),
        ),
        Foreign(
            "maximum of three: the tie counted for all",
            of_arguments(lambda a: a.max(), lambda s, u: (u * (s[0] == s[0].max()),)),
            (np.array([1, 3, 3], np.float32),),
            causes=("tie", "kink"),
            checks=("gradient",),
        ),
    ]


def sinc_two_wheres(x: Array) -> Array:
    y = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 1.0, jnp.sin(y) / y)


def sinc_slope_where(x: Array) -> Array:
    y = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 0.0, (y * jnp.cos(y) - jnp.sin(y)) / (y * y))
