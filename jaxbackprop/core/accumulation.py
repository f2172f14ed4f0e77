"""Arithmetic that every rule shares: un-broadcasting, accumulation in a wider type than the arrays have.

Nothing here knows what a rule is.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

FEW_EXAMPLES = 8
"""Up to this number of examples outer products are added up one by one."""
NARROW_DELTA = 32
"""Up to this number columns of delta are few beside those of x, as in a layer that ends in a few classes."""


def accumulator_dtype(dtype: DTypeLike) -> np.dtype:
    """The type in which sums of `dtype` are accumulated: float32 for halves, the type itself for the rest."""
    return jnp.promote_types(dtype, jnp.float32)


def to_accumulator(x: Array) -> Array:
    """`x` in the type its sums are accumulated in."""
    x = jnp.asarray(x)
    return x.astype(accumulator_dtype(x.dtype))


def matmul_operand(x: Array) -> Array:
    """`x` as an operand of a product that is to be accumulated in the accumulator type (`preferred_element_type=`).

    On CPU it is converted beforehand. XLA does so there anyway, but not where a stack of bfloat16 matrices meets a
    transposed matrix that they share: for a float32 result it then refuses ("Unsupported element type for
    DotThunk", JAX 0.10 to 0.12), and unasked it accumulates in bfloat16 (0.12).
    """
    return to_accumulator(x) if jax.default_backend() == "cpu" else x


def narrowed(x: Array, dtype: DTypeLike) -> Array:
    """`x`, which is in the accumulator type, as an operand of a product with an array of `dtype`.

    Rounded to that type where hardware multiplies it faster; not on CPU, which multiplies in the accumulator type.
    """
    return x if jax.default_backend() == "cpu" else x.astype(dtype)


def matmul_accumulating(x: Array, y: Array) -> Array:
    """`x @ y` accumulated and answered in the accumulator type."""
    dtype = accumulator_dtype(jnp.promote_types(x.dtype, y.dtype))
    return jnp.matmul(matmul_operand(x), matmul_operand(y), preferred_element_type=dtype)


def dot(x: Array, y: Array) -> Array:
    """`x @ y` accumulated in the accumulator type and rounded once, to the type the operands promote to."""
    return matmul_accumulating(x, y).astype(jnp.promote_types(x.dtype, y.dtype))


def outer_sum(x: Array, delta: Array) -> Array:
    """The weight gradient: outer products x_i delta_j, summed over every leading axis.

    x (*B, D), delta (*B, H) -> (D, H)

    Of a few examples the sum is written out on CPU: XLA then computes it inside the optimizer's update, and the
    gradient itself is never in memory. Of more than `FEW_EXAMPLES` the matrix product is faster; of two as well.
    Where delta is narrow, delta^T x is computed and transposed afterwards: for x^T delta the columns of x would be
    gathered, which is slower on CPU. The barriers keep XLA from going back.
    """
    examples = math.prod(x.shape[:-1])  # not -1, which is ambiguous where another axis is empty
    x, delta = x.reshape(examples, x.shape[-1]), delta.reshape(examples, delta.shape[-1])
    if jax.default_backend() != "cpu" or examples <= 2:
        return dot(x.T, delta)
    if examples <= FEW_EXAMPLES:
        each = (jnp.outer(to_accumulator(x[i]), to_accumulator(delta[i])) for i in range(examples))
        return functools.reduce(jnp.add, each).astype(jnp.promote_types(x.dtype, delta.dtype))
    if delta.shape[1] <= NARROW_DELTA < x.shape[1]:
        return lax.optimization_barrier(dot(lax.optimization_barrier(delta.T), x)).T
    return dot(x.T, delta)


def leading_sum(delta: Array) -> Array:
    """The bias gradient: `delta` (*B, H) summed over every leading axis in the accumulator type."""
    return delta.sum(tuple(range(delta.ndim - 1)), dtype=accumulator_dtype(delta.dtype)).astype(delta.dtype)


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum `gradient` over the axes along which an input of `shape` was repeated.

    Repeating a number is a fork, and the gradients of a fork's branches add up.
    """
    if gradient.shape == shape:
        return gradient
    new = gradient.ndim - len(shape)
    stretched = [new + i for i, n in enumerate(shape) if n == 1 and gradient.shape[new + i] != 1]
    summed = gradient.sum((*range(new), *stretched), dtype=accumulator_dtype(gradient.dtype))
    return summed.reshape(shape).astype(gradient.dtype)


def index(ids: Array) -> Array:
    """`ids` in an integer type that can count any axis: labels are often int8, and 300 is no int8."""
    return ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids


def inside(ids: Array, n: int) -> Array:
    """Whether each id is one of 0..n-1; the others are padding."""
    ids = index(ids)
    return (ids >= 0) & (ids < n)
