"""Gates that move, sum or multiply whole arrays: reductions, matmul, transpose, reshape, concatenate, gather.

Sums in half precision are accumulated in float32 and rounded once, forward and backward.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..core.accumulation import accumulator_dtype, dot, matmul_operand, to_accumulator
from ..core.domains import below, real
from ..core.rule import ShapeDtype, WithResiduals, rule

Axis = int | tuple[int, ...] | None
"""Which axes a reduction removes: one, several, or (None) all."""

filled = replace(real, name="any real number, at least one", empty=False)

_REDUCED = ({"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, -1)}, {"keepdims": True})


def _axes(axis: Axis, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    return (axis,) if isinstance(axis, int) else axis


def _restored(upstream: Array, rank: int, axis: Axis, keepdims: bool) -> Array:
    """`upstream` of a reduction, with the reduced axes back in their place, each of size 1."""
    return upstream if keepdims else jnp.expand_dims(upstream, _axes(axis, rank))


@rule(example_settings=_REDUCED, formula=np.sum)
def reduce_sum(
    x: Float[Array, "..."], *, axis: Axis = None, keepdims: bool = False
) -> WithResiduals[Float[Array, "..."]]:
    """The sum over some axes: an addition gate of many inputs, a distributor.

    Forward   f = sum_i x_i
    Local     df/dx_i = 1
    Backward  dx_i = upstream
    Source    the addition gate, repeated
    """
    return x.sum(axis, accumulator_dtype(x.dtype), keepdims=keepdims).astype(x.dtype), ShapeDtype(x)


@reduce_sum.backward
def reduce_sum_backward(x, upstream, *, axis, keepdims):
    return jnp.broadcast_to(_restored(upstream, len(x.shape), axis, keepdims), x.shape)


@rule(domain={"x": filled}, example_settings=_REDUCED, formula=np.mean)
def reduce_mean(
    x: Float[Array, "..."], *, axis: Axis = None, keepdims: bool = False
) -> WithResiduals[Float[Array, "..."]]:
    """The mean over some axes; NaN over no numbers.

    Forward   f = 1/n sum_i x_i
    Local     df/dx_i = 1/n
    Backward  dx_i = upstream / n
    Source    the sum, scaled by a constant
    """
    return x.mean(axis, accumulator_dtype(x.dtype), keepdims=keepdims).astype(x.dtype), ShapeDtype(x)


@reduce_mean.backward
def reduce_mean_backward(x, upstream, *, axis, keepdims):
    rank = len(x.shape)
    n = math.prod(x.shape[i] for i in _axes(axis, rank))
    return jnp.broadcast_to(to_accumulator(_restored(upstream, rank, axis, keepdims)) / n, x.shape)


def lead(x: Array, *, axis: Axis) -> Array:
    """By how much the largest number exceeds the next one; 1 where there is only one."""
    axes = _axes(axis, x.ndim)
    last = jnp.moveaxis(x, axes, range(-len(axes), 0))
    shape, n = last.shape[: x.ndim - len(axes)], math.prod(x.shape[i] for i in axes)
    ranked = jnp.sort(last.reshape(*shape, n))
    return ranked[..., -1] - ranked[..., -2] if n > 1 else jnp.ones(shape)


@rule(domain={"x": filled}, kinks=lead, example_settings=_REDUCED, formula=np.max)
def reduce_max(
    x: Float[Array, "..."], *, axis: Axis = None, keepdims: bool = False
) -> WithResiduals[Float[Array, "..."]]:
    """The largest number along some axes: a router with many inputs.

    Forward   f = max_i x_i
    Local     df/dx_i = 1 for the largest, else 0
    Backward  dx_i = upstream for the largest, else 0
    Kink      k numbers tie for the largest: each gets upstream / k, as with jnp.max; never all the whole
    Source    the max gate, repeated
    """
    f = x.max(axis, keepdims=True)
    winners = x == f  # remembers one bit a number
    return f if keepdims else f.squeeze(_axes(axis, x.ndim)), winners


@reduce_max.backward
def reduce_max_backward(winners, upstream, *, axis, keepdims):
    ties = winners.sum(_axes(axis, winners.ndim), keepdims=True, dtype=accumulator_dtype(upstream.dtype))
    return jnp.where(winners, to_accumulator(_restored(upstream, winners.ndim, axis, keepdims)) / ties, 0)


def _labels(shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple[tuple[int, ...], list[int]]:
    """Of the batch axes of a stack of matrices: those stretched to reach `batch`, and the numbers of the others."""
    new = len(batch) - (len(shape) - 2)
    stretched = tuple(i for i, n in enumerate(shape[:-2]) if n != batch[new + i])
    return stretched, [new + i for i in range(len(shape) - 2) if i not in stretched]


def _matmul_to(shape: tuple[int, ...], x: Array, y: Array) -> Array:
    """`x @ y` summed over the batch axes that `shape` lacks.

    It is one contraction: no batch of products is stored, and halves are rounded once.
    """
    batch = jnp.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    (x_stretched, x_batch), (y_stretched, y_batch), (_, remaining) = (
        _labels(s, batch) for s in (x.shape, y.shape, shape)
    )
    row, inner, column = range(len(batch), len(batch) + 3)
    summed = jnp.einsum(
        matmul_operand(x).squeeze(x_stretched), [*x_batch, row, inner],
        matmul_operand(y).squeeze(y_stretched), [*y_batch, inner, column],
        [*remaining, row, column],
        preferred_element_type=accumulator_dtype(jnp.promote_types(x.dtype, y.dtype)),
    )  # fmt: skip
    return summed.reshape(shape)


@rule(broadcasts=True, formula=np.matmul)
def matmul(x: Float[Array, "*x M K"], y: Float[Array, "*y K N"]) -> WithResiduals[Float[Array, "*xy M N"]]:
    """The product of matrices, or of stacks of them whose leading axes broadcast.

    Forward   f_mn = sum_k x_mk y_kn
    Local     df_mn/dx_mk = y_kn,  df_mn/dy_kn = x_mk
    Backward  dx = upstream y^T,  dy = x^T upstream, summed over the matrices that shared x or y
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/
              ("gradients for vectorized operations")
    """
    return dot(x, y), (x, y)


@matmul.backward
def matmul_backward(residuals, upstream):
    x, y = residuals
    dx = _matmul_to(x.shape, upstream, jnp.matrix_transpose(y))
    dy = _matmul_to(y.shape, jnp.matrix_transpose(x), upstream)
    return dx, dy


@rule(example_settings=({"axes": (1, 0)}, {"axes": (0, -1)}), formula=np.transpose)
def transpose(x: Float[Array, "..."], *, axes: tuple[int, ...] | None = None) -> WithResiduals[Float[Array, "..."]]:
    """Axis i of the result is axis `axes[i]` of the input; all axes in reverse order by default.

    Forward   f = x with its axes permuted
    Local     each number has one place in x and one in f
    Backward  dx = upstream with its axes permuted back
    Source    a permutation's transpose is its inverse
    """
    return jnp.transpose(x, axes), None


@transpose.backward
def transpose_backward(residuals, upstream, *, axes):
    if axes is None:
        return jnp.transpose(upstream)
    places = [axis % upstream.ndim for axis in axes]
    return jnp.transpose(upstream, [places.index(i) for i in range(upstream.ndim)])


@rule(example_settings=({"shape": (3, 2)}, {"shape": (1, -1, 2)}), formula=np.reshape)
def reshape(x: Float[Array, "..."], *, shape: tuple[int, ...] = (-1,)) -> WithResiduals[Float[Array, "..."]]:
    """The same numbers in the same order under another shape; one size may be -1, the default is a flat array.

    Forward   f = x under its new shape
    Local     each number keeps its place in row-major order
    Backward  dx = upstream under the old shape
    Source    the identity on the numbers
    """
    return x.reshape(shape), ShapeDtype(x)


@reshape.backward
def reshape_backward(x, upstream):
    return upstream.reshape(x.shape)


@rule(example_settings=({"axis": -1}, {"axis": 1}), formula=np.concatenate)
def concatenate(arrays: Sequence[Float[Array, "_ ..."]], *, axis: int = 0) -> WithResiduals[Float[Array, "_ ..."]]:
    """Arrays laid end to end along one axis; all their other sizes are equal.

    Forward   f = [x_1, x_2, ...]
    Local     each number has one place in f
    Backward  dx_i = the piece of upstream where x_i lies
    Source    CS224d lecture 5, https://cs224d.stanford.edu/lectures/CS224d-Lecture5.pdf: the gradient of a window
              of word vectors is split into its words'
    """
    return jnp.concatenate(arrays, axis), [ShapeDtype(x) for x in arrays]


@concatenate.backward
def concatenate_backward(shapes, upstream, *, axis):
    *ends, _ = accumulate(x.shape[axis] for x in shapes)
    return jnp.split(upstream, ends, axis)


@rule(domain={"index": below("N")}, formula=lambda x, index: np.take(x, index, axis=0))
def gather(x: Float[Array, "N ..."], index: Int[Array, "*I"]) -> WithResiduals[Float[Array, "*I_rest"]]:
    """Rows of x by number: `x[index]`.

    Forward   f_i = x_index_i
    Local     df_i/dx_r = 1 where r = index_i, else 0
    Backward  dx_r = sum of upstream_i over all i with index_i = r: a row taken twice receives both gradients
    Source    CS224d lecture 5, https://cs224d.stanford.edu/lectures/CS224d-Lecture5.pdf: only the words of the window
              receive a gradient

    An index from -N to -1 counts from the end. One outside of -N..N-1 cannot raise under `jit`: its row is NaN, so
    that it is seen, and its gradient goes nowhere.
    """
    return x.at[index].get(mode="fill", fill_value=jnp.nan), (index, ShapeDtype(x))


@gather.backward
def gather_backward(residuals, upstream):
    index, x = residuals
    return jnp.zeros(x.shape, accumulator_dtype(x.dtype)).at[index].add(to_accumulator(upstream), mode="drop")
