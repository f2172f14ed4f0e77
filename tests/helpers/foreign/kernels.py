"""Code that JAX cannot look into: Pallas kernels (interpreted), callbacks; and loops that autodiff cannot reverse."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from .entry import Foreign, normal, of_arguments, vjp

Array = Any


def softmax_kernel(x_ref: Any, o_ref: Any) -> None:
    e = jnp.exp(x_ref[...] - x_ref[...].max(-1, keepdims=True))
    o_ref[...] = e / e.sum(-1, keepdims=True)


def softmax_by_pallas(x: Array) -> Array:
    return pl.pallas_call(softmax_kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x)


def softmax_backward_kernel(p_ref: Any, u_ref: Any, dx_ref: Any) -> None:
    p, u = p_ref[...], u_ref[...]
    dx_ref[...] = p * (u - (p * u).sum(-1, keepdims=True))


def softmax_backward(p: Array, u: Array) -> Any:
    out = jax.ShapeDtypeStruct(p.shape, p.dtype)
    return (pl.pallas_call(softmax_backward_kernel, out_shape=out, interpret=True)(p, u),)


def add_kernel(x_ref: Any, y_ref: Any, o_ref: Any) -> None:
    o_ref[...] = x_ref[...] * y_ref[...]


def product_in_blocks(x: Array, y: Array) -> Array:
    """One grid step for each row."""
    block = pl.BlockSpec((1, x.shape[1]), lambda i: (i, 0))
    return pl.pallas_call(
        add_kernel,
        grid=(x.shape[0],),
        in_specs=[block, block],
        out_specs=block,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        interpret=True,
    )(x, y)


def row_sum_kernel(x_ref: Any, o_ref: Any) -> None:
    """Adds up over the grid, and starts at its first step."""

    @pl.when(pl.program_id(0) == 0)
    def _() -> None:
        o_ref[...] = jnp.zeros_like(o_ref)

    o_ref[...] += x_ref[...].sum(0, keepdims=True)


def column_sums(x: Array, rows: int = 2) -> Array:
    if x.shape[0] % rows:
        raise ValueError(f"{x.shape[0]} rows do not divide into blocks of {rows}")
    return pl.pallas_call(
        row_sum_kernel,
        grid=(x.shape[0] // rows,),
        in_specs=[pl.BlockSpec((rows, x.shape[1]), lambda i: (i, 0))],
        out_specs=pl.BlockSpec((1, x.shape[1]), lambda i: (0, 0)),
        out_shape=jax.ShapeDtypeStruct((1, x.shape[1]), x.dtype),
        interpret=True,
    )(x)[0]


def matmul_kernel(x_ref: Any, y_ref: Any, o_ref: Any) -> None:
    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        o_ref[...] = jnp.zeros_like(o_ref)

    o_ref[...] += x_ref[...] @ y_ref[...]


def matmul_in_blocks(x: Array, y: Array) -> Array:
    """Blocks of two by two, added up along the inner axis."""
    (m, k), n = x.shape, y.shape[1]
    return pl.pallas_call(
        matmul_kernel,
        grid=(m // 2, n // 2, k // 2),
        in_specs=[pl.BlockSpec((2, 2), lambda i, j, k: (i, k)), pl.BlockSpec((2, 2), lambda i, j, k: (k, j))],
        out_specs=pl.BlockSpec((2, 2), lambda i, j, k: (i, j)),
        out_shape=jax.ShapeDtypeStruct((m, n), x.dtype),
        interpret=True,
    )(x, y)


def layer_norm(x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)


def layer_norm_kernel(x_ref: Any, o_ref: Any, r_ref: Any) -> None:
    centred = x_ref[...] - x_ref[...].mean(-1, keepdims=True)
    r_ref[...] = lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    o_ref[...] = centred * r_ref[...]


def layer_norm_backward_kernel(n_ref: Any, r_ref: Any, u_ref: Any, dx_ref: Any) -> None:
    n, u = n_ref[...], u_ref[...]
    dx_ref[...] = r_ref[...] * (u - u.mean(-1, keepdims=True) - n * (u * n).mean(-1, keepdims=True))


def layer_norm_in_blocks(x: Array) -> Any:
    """Blocks of two rows; what the backward pass needs of each row is a second output."""
    rows, each = (pl.BlockSpec((2, width), lambda i: (i, 0)) for width in (x.shape[1], 1))
    shapes = [jax.ShapeDtypeStruct(s, x.dtype) for s in (x.shape, (x.shape[0], 1))]
    n, r = pl.pallas_call(
        layer_norm_kernel,
        grid=(x.shape[0] // 2,),
        in_specs=[rows],
        out_specs=[rows, each],
        out_shape=shapes,
        interpret=True,
    )(x)
    return n, (n, r)


def layer_norm_backward_in_blocks(kept: Any, u: Array) -> Any:
    rows, each = (pl.BlockSpec((2, width), lambda i: (i, 0)) for width in (u.shape[1], 1))
    dx = pl.pallas_call(
        layer_norm_backward_kernel,
        grid=(u.shape[0] // 2,),
        in_specs=[rows, each, rows],
        out_specs=rows,
        out_shape=jax.ShapeDtypeStruct(u.shape, u.dtype),
        interpret=True,
    )(*kept, u)
    return (dx,)


def sine_on_the_host(x: Array) -> Array:
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda a: np.sin(a), shape, x, vmap_method="expand_dims")


def sine_backward_on_the_host(kept: Any, u: Array) -> Any:
    shape = jax.ShapeDtypeStruct(u.shape, u.dtype)
    return (jax.pure_callback(lambda a, b: a * np.cos(b), shape, u, kept[0], vmap_method="expand_dims"),)


def square_root(x: Array) -> Array:
    """Newton's iteration until it stands."""

    def step(s: Any) -> Any:
        y, _ = s
        return 0.5 * (y + x / y), y

    def going(s: Any) -> Array:
        return jnp.any(jnp.abs(s[0] - s[1]) > 4 * jnp.finfo(x.dtype).eps * s[0])

    y = lax.while_loop(going, step, ((1 + x) / 2, jnp.zeros_like(x) + 2 * (1 + x)))[0]
    return jnp.where(x == 0, 0, y)


def power_by_loop(x: Array, n: Array) -> Array:
    """x^n by n multiplications, n an array: a while loop."""
    return lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x), (0, jnp.ones_like(x)))[1]


def power_backward_by_loop(kept: Any, u: Array) -> Any:
    x, n = kept
    return u * n.astype(x.dtype) * power_by_loop(x, n - 1), None


def fixed_point(a: Array, b: Array) -> Array:
    """z = tanh(a z + b)."""
    return lax.while_loop(lambda s: s[1] < 100, lambda s: (jnp.tanh(a * s[0] + b), s[1] + 1), (jnp.zeros_like(b), 0))[0]


def fixed_point_backward(kept: Any, u: Array) -> Any:
    a, z = kept
    slope = 1 - z * z
    w = u * slope / (1 - a * slope)
    return w * z, w


def fixed_point_from(a: Array, b: Array, guess: Array, near: float = 1e-7) -> Array:
    """z = tanh(a z + b), until a step is short enough: how near that is depends on where it starts."""

    def step(s: Any) -> Any:
        return jnp.tanh(a * s[0] + b), s[0]

    return lax.while_loop(lambda s: jnp.any(jnp.abs(s[0] - s[1]) > near), step, (guess, guess + 1))[0]


def fixed_point_backward_by_steps(kept: Any, u: Array) -> Any:
    """Solves w = slope (u + a w) until a step is short enough: a tiny upstream gradient gets a single one."""
    a, z = kept
    slope = 1 - z * z

    def step(s: Any) -> Any:
        return slope * (u + a * s[0]), s[0]

    w = lax.while_loop(lambda s: jnp.any(jnp.abs(s[0] - s[1]) > 1e-6), step, (slope * u, jnp.zeros_like(u)))[0]
    return w * z, w


def to_the_fixed_point(
    forward: Callable[..., Array], of_guess: float, of_others: Callable[..., Any] = fixed_point_backward
) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        return *of_others(kept, u), of_guess * u

    def forward_pass(a: Array, b: Array, guess: Array) -> Any:
        z = forward(a, b, guess)
        return z, (a, z)

    return vjp(fixed_point_from, forward_pass, backward)


def fixed_point_and_a_step(a: Array, b: Array, guess: Array) -> Array:
    return jnp.tanh(a * fixed_point_from(a, b, guess) + b)


def right() -> list[Foreign]:
    return [
        Foreign(
            "softmax by Pallas",
            vjp(softmax_by_pallas, lambda x: (softmax_by_pallas(x),) * 2, softmax_backward),
            (normal(2, 4),),
            reference=jax.nn.softmax,
        ),
        Foreign(
            "a product in blocks by Pallas",
            of_arguments(product_in_blocks, lambda s, u: (product_in_blocks(u, s[1]), product_in_blocks(u, s[0]))),
            (normal(3, 2), normal(3, 2, seed=1)),
            reference=jnp.multiply,
        ),
        Foreign(
            "column sums by Pallas, rows in pairs",
            vjp(
                column_sums,
                lambda x: (column_sums(x), x.shape[0] * jnp.ones((x.shape[0], 1), x.dtype)),
                lambda k, u: (jnp.broadcast_to(u, (k.shape[0], u.size)),),
            ),
            (normal(4, 3),),
            reference=lambda x: x.sum(0),
        ),
        # Its plain function is the kernel itself, which autodiff cannot differentiate.
        Foreign(
            "a product of matrices in blocks by Pallas",
            of_arguments(matmul_in_blocks, lambda s, u: (matmul_in_blocks(u, s[1].T), matmul_in_blocks(s[0].T, u))),
            (normal(4, 2), normal(2, 4)),
        ),
        Foreign(
            "layer norm in blocks by Pallas",
            vjp(layer_norm, layer_norm_in_blocks, layer_norm_backward_in_blocks),
            (normal(4, 3),),
        ),
        Foreign(
            "sine on the host",
            of_arguments(sine_on_the_host, sine_backward_on_the_host),
            (normal(3),),
            reference=jnp.sin,
        ),
        Foreign(
            "square root by Newton",
            vjp(square_root, lambda x: (square_root(x),) * 2, lambda y, u: (u / (2 * y),)),
            (np.array([0.5, 2, 9], np.float32),),
            reference=jnp.sqrt,
        ),
        Foreign(
            "square root by Newton, its own reference",
            vjp(square_root, lambda x: (square_root(x),) * 2, lambda y, u: (u / (2 * y),)),
            (np.array([0.5, 2, 9], np.float32),),
        ),
        Foreign("a power by a loop", of_arguments(power_by_loop, power_backward_by_loop), (normal(3), np.int32(3))),
        Foreign(
            "a fixed point",
            vjp(fixed_point, lambda a, b: (lambda z: (z, (a, z)))(fixed_point(a, b)), fixed_point_backward),
            (np.float32(0.5), np.float32(0.3)),
        ),
        Foreign(
            "a fixed point whose gradient is one, too",
            to_the_fixed_point(fixed_point_from, 0.0, fixed_point_backward_by_steps),
            FROM_A_GUESS,
        ),
        Foreign("a fixed point from a guess", to_the_fixed_point(fixed_point_and_a_step, 0.0), FROM_A_GUESS),
    ]


FROM_A_GUESS = tuple(np.array(a, np.float32) for a in ([0.5, -0.4], [0.3, 0.8], [0.1, 0.4]))


def wrong() -> list[Foreign]:
    return [
        Foreign(
            "a fixed point that the forward pass stops before",
            to_the_fixed_point(functools.partial(fixed_point_from, near=1e-3), 0.0),
            FROM_A_GUESS,
            causes=("forward pass",),
        ),
        Foreign(
            "a fixed point whose guess gets the upstream gradient",
            to_the_fixed_point(fixed_point_from, 1.0),
            FROM_A_GUESS,
            causes=("gradient",),
        ),
    ]
