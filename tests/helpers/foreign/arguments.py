"""What is no array among the arguments, and what is no argument: settings, strings, functions, closures, tables."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .entry import Foreign, normal, of_arguments, vjp

Array = Any


def rms_norm(x: Array, eps: float) -> Array:
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + eps)


def rms_norm_backward(eps: float, kept: Any, u: Array) -> Any:
    (x,) = kept
    r = lax.rsqrt((x * x).mean(-1, keepdims=True) + eps)
    return (r * (u - x * r * r * (u * x).mean(-1, keepdims=True)),)


def with_eps() -> Any:
    return vjp(rms_norm, lambda x, eps: (rms_norm(x, eps), (x,)), rms_norm_backward, nondiff_argnums=(1,))


@dataclass
class Normalization:
    """A module, as in equinox."""

    eps: float

    def __call__(self, x: Array) -> Array:
        return with_eps()(x, self.eps)


def power(x: Array, exponent: Array) -> Array:
    return jnp.sum(x * exponent)


def pointwise(x: Array, which: str) -> Array:
    return {"sin": jnp.sin, "exp": jnp.exp}[which](x)


def pointwise_backward(which: str, kept: Any, u: Array) -> Any:
    return (u * {"sin": jnp.cos, "exp": jnp.exp}[which](kept),)


def apply(function: Any, x: Array) -> Array:
    return function(x)


def apply_backward(function: Any, x: Array, u: Array) -> Any:
    return jax.vjp(function, x)[1](u)


TABLE = np.stack([f(np.outer(np.arange(40), 10000.0 ** -(np.arange(8) / 8))) for f in (np.cos, np.sin)]).astype(
    np.float32
)


def rotate(x: Array, sign: float = 1.0) -> Array:
    """Rotary positions (Su 2021): a table of angles is closed over."""
    cos, sin = (t[: x.shape[0], : x.shape[1] // 2].astype(x.dtype) for t in jnp.asarray(TABLE))
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - sign * b * sin, b * cos + sign * a * sin], -1)


WEIGHT = normal(3, 2)


def closed_over(x: Array) -> Array:
    return jnp.tanh(x @ WEIGHT.astype(x.dtype))


def closed_over_backward(kept: Any, u: Array) -> Any:
    w = WEIGHT.astype(u.dtype)
    y = jnp.tanh(kept[0] @ w)
    return ((u * (1 - y * y)) @ w.T,)


def keep_jacobian(x: Array) -> Any:
    return jnp.cumsum(jnp.sin(x)), jnp.tril(jnp.broadcast_to(jnp.cos(x), (x.size, x.size)))


def right() -> list[Foreign]:
    return [
        Foreign("a float among nondiff_argnums", with_eps(), (normal(2, 5), 1e-3)),
        Foreign(
            "an array among nondiff_argnums",
            vjp(power, lambda x, e: (power(x, e), ()), lambda e, _, u: (u * e,), nondiff_argnums=(1,)),
            (normal(3), normal(3, seed=1)),
        ),
        Foreign(
            "a string among nondiff_argnums",
            vjp(pointwise, lambda x, w: (pointwise(x, w), x), pointwise_backward, nondiff_argnums=(1,)),
            (normal(4), "sin"),
        ),
        Foreign(
            "a function among nondiff_argnums",
            vjp(apply, lambda f, x: (f(x), x), apply_backward, nondiff_argnums=(0,)),
            (jnp.tanh, normal(4)),
        ),
        Foreign(
            "a table closed over",
            vjp(rotate, lambda x: (rotate(x), None), lambda _, u: (rotate(u, -1.0),)),
            (normal(5, 6),),
        ),
        Foreign("a weight closed over", of_arguments(closed_over, closed_over_backward), (normal(4, 3),)),
        Foreign(
            "a Jacobian kept", vjp(lambda x: keep_jacobian(x)[0], keep_jacobian, lambda j, u: (u @ j,)), (normal(20),)
        ),
        Foreign(
            "a jitted rule beside its plain function",
            jax.jit(with_eps(), static_argnums=1),
            (normal(2, 5), 1e-3),
            reference=rms_norm,
        ),
        Foreign(
            "a rule in a lambda beside its plain function",
            lambda x: with_eps()(x, 1e-3),
            (normal(2, 5),),
            reference=lambda x: rms_norm(x, 1e-3),
        ),
        Foreign(
            "an object that calls a rule", Normalization(1e-3), (normal(2, 5),), reference=partial(rms_norm, eps=1e-3)
        ),
    ]


def rms_norm_backward_without_eps(eps: float, kept: Any, u: Array) -> Any:
    return rms_norm_backward(0.0, kept, u)


def interleaved(x: Array) -> Array:
    """Rotary positions of neighbouring pairs, where the forward pass takes the two halves."""
    cos, sin = (t[: x.shape[0], : x.shape[1] // 2].astype(x.dtype) for t in jnp.asarray(TABLE))
    a, b = x[:, ::2], x[:, 1::2]
    return jnp.stack([a * cos + b * sin, b * cos - a * sin], -1).reshape(x.shape)


def wrong() -> list[Foreign]:
    norm = lambda backward: vjp(rms_norm, lambda x, eps: (rms_norm(x, eps), (x,)), backward, nondiff_argnums=(1,))  # noqa: E731
    gradient = ("gradient",)
    return [
        Foreign(
            "rms norm: epsilon left out on the way back",
            norm(rms_norm_backward_without_eps),
            (normal(2, 5), 1e-2),
            causes=("epsilon", "constant"),
            checks=gradient,
        ),
        Foreign(
            "rotary: not turned back",
            vjp(rotate, lambda x: (rotate(x), None), lambda _, u: (rotate(u),)),
            (normal(5, 6),),
            causes=("transposed",),
            checks=gradient,
        ),
        Foreign(
            "rotary: pairs for halves",
            vjp(rotate, lambda x: (rotate(x), None), lambda _, u: (interleaved(u),)),
            (normal(5, 6),),
            causes=("another layout",),
            checks=gradient,
        ),
        Foreign(
            "a jitted rule of twice the size",
            jax.jit(of_arguments(jnp.sin, lambda s, u: (2 * u * jnp.cos(s[0]),))),
            (normal(4),),
            reference=jnp.sin,
            causes=("factor 2",),
            checks=gradient,
        ),
        Foreign(
            "a closed-over weight not transposed",
            of_arguments(lambda x: x @ SQUARE.astype(x.dtype), lambda s, u: (u @ SQUARE.astype(u.dtype),)),
            (normal(2, 3),),
            causes=("transpose",),
            checks=gradient,
        ),
        Foreign(
            "a function among nondiff_argnums, applied to the wrong value",
            vjp(apply, lambda f, x: (f(x), f(x)), apply_backward, nondiff_argnums=(0,)),
            (jnp.tanh, normal(4)),
            causes=("output instead of the input",),
            checks=gradient,
        ),
    ]


SQUARE = normal(3, 3, seed=4)
