"""Gathers, scatters, sorts, scans, reshapes: each element must find its way back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .entry import Foreign, normal, of_arguments

Array = Any
IDS = np.array([2, 0, 2, 1], np.int32)
ROWS = normal(3, 2)


def rows(table: Array, ids: Array) -> Array:
    return table[ids]


def scatter_add(x: Array, ids: Array, updates: Array) -> Array:
    return x.at[ids].add(updates)


def scatter_set(x: Array, ids: Array, updates: Array) -> Array:
    return x.at[ids].set(updates)


def segment_mean(x: Array, ids: Array) -> Array:
    sums = jax.ops.segment_sum(x, ids, 3)
    return sums / jnp.maximum(jax.ops.segment_sum(jnp.ones_like(x), ids, 3), 1)


def segment_mean_backward(kept: Any, u: Array) -> Any:
    x, ids = kept
    counts = jnp.maximum(jax.ops.segment_sum(jnp.ones_like(x), ids, 3), 1)
    return (u / counts)[ids], None


def permuted(x: Array, order: Array) -> Array:
    return x[order]


def sort_backward(kept: Any, u: Array) -> Any:
    return (jnp.zeros_like(u).at[jnp.argsort(kept[0])].set(u),)


def top_two(x: Array) -> Array:
    return lax.top_k(x, 2)[0]


def product_backward(kept: Any, u: Array) -> Any:
    """The product of all others, by products from both ends: no division by zero."""
    (x,) = kept
    one = jnp.ones_like(x[:1])
    before = jnp.concatenate([one, jnp.cumprod(x)[:-1]])
    after = jnp.concatenate([jnp.cumprod(x[::-1])[:-1][::-1], one])
    return (u * before * after,)


def linear_recurrence(a: Array, b: Array) -> Array:
    """h_t = a_t h_(t-1) + b_t, in parallel, as state-space models do."""
    return lax.associative_scan(lambda s, t: (s[0] * t[0], s[1] * t[0] + t[1]), (a, b))[1]


def linear_recurrence_backward(kept: Any, u: Array, shift: int = 1) -> Any:
    a, b = kept
    h = linear_recurrence(a, b)
    ahead = jnp.concatenate([a[shift:], jnp.zeros_like(a[:shift])])
    db = linear_recurrence(ahead[::-1], u[::-1])[::-1]
    return db * jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]]), db


def trapezoid(y: Array) -> Array:
    return (y[:-1] + y[1:]).sum() / 2


def right() -> list[Foreign]:
    x = normal(5)
    return [
        Foreign(
            "rows of a table",
            of_arguments(rows, lambda k, u: (jnp.zeros_like(k[0]).at[k[1]].add(u), None)),
            (ROWS, IDS),
        ),
        Foreign(
            "added at indices",
            of_arguments(scatter_add, lambda k, u: (u, None, u[k[1]])),
            (ROWS, IDS, normal(4, 2, seed=1)),
        ),
        Foreign(
            "set at indices",
            of_arguments(scatter_set, lambda k, u: (u.at[k[1]].set(0), None, u[k[1]])),
            (normal(4, 2), IDS[:2], normal(2, 2, seed=1)),
        ),
        Foreign(
            "means of segments",
            of_arguments(segment_mean, segment_mean_backward),
            (normal(4), np.array([0, 0, 2, 2], np.int32)),
        ),
        Foreign(
            "a permutation",
            of_arguments(permuted, lambda k, u: (u[jnp.argsort(k[1])], None)),
            (normal(4), np.array([2, 0, 3, 1], np.int32)),
        ),
        Foreign("a sort", of_arguments(jnp.sort, sort_backward), (np.array([0.3, -1.2, 2.0, 0.9], np.float32),)),
        Foreign(
            "the two largest",
            of_arguments(top_two, lambda k, u: (jnp.zeros_like(k[0]).at[lax.top_k(k[0], 2)[1]].set(u),)),
            (x,),
        ),
        Foreign(
            "a product with a zero in it",
            of_arguments(jnp.prod, product_backward),
            (np.array([2, 0, -1.5], np.float32),),
        ),
        Foreign(
            "a linear recurrence in parallel",
            of_arguments(linear_recurrence, linear_recurrence_backward),
            (normal(4), normal(4, seed=1)),
        ),
        Foreign(
            "the trapezoidal rule",
            of_arguments(trapezoid, lambda k, u: (u * jnp.ones_like(k[0]).at[jnp.array([0, -1])].set(0.5),)),
            (x,),
        ),
        Foreign("rolled", of_arguments(lambda a: jnp.roll(a, 2), lambda k, u: (jnp.roll(u, -2),)), (x,)),
        Foreign(
            "heads split",
            of_arguments(split_heads, lambda k, u: (u.swapaxes(0, 1).reshape(k[0].shape),)),
            (normal(3, 4),),
        ),
    ]


def split_heads(x: Array) -> Array:
    return x.reshape(x.shape[0], 2, -1).swapaxes(0, 1)


def wrong() -> list[Foreign]:
    gradient, x = ("gradient",), normal(5)
    return [
        # PaddlePaddle 17690, pytensor 2242, AiDotNet 894: repeated indices overwrite.
        Foreign(
            "rows of a table: set for add",
            of_arguments(rows, lambda k, u: (jnp.zeros_like(k[0]).at[k[1]].set(u), None)),
            (ROWS, IDS),
            causes=("overwritten",),
            checks=gradient,
        ),
        Foreign(
            "rows of a table: a gather for the scatter",
            of_arguments(rows, lambda k, u: (u[jnp.clip(jnp.arange(3), 0, 3)], None)),
            (ROWS, IDS),
            causes=("layout", "another formula", "mask"),
            checks=gradient,
        ),
        Foreign(
            "rows of a table: divided by how often",
            of_arguments(
                rows,
                lambda k, u: (
                    jnp.zeros_like(k[0]).at[k[1]].add(u)
                    / jnp.maximum(jnp.bincount(k[1], length=3), 1)[:, None].astype(u.dtype),
                    None,
                ),
            ),
            (ROWS, IDS),
            causes=("repeated", "duplicates", "last row"),
            checks=gradient,
        ),
        Foreign(
            "set at indices: what is overwritten gets a gradient",
            of_arguments(scatter_set, lambda k, u: (u, None, u[k[1]])),
            (normal(4, 2), IDS[:2], normal(2, 2, seed=1)),
            causes=("mask", "rows", "left out", "fork"),
            checks=gradient,
        ),
        # tensorflow 56961, pytorch 146299: all updates of one place get its gradient, the last one alone counts.
        Foreign(
            "set at indices: updates that were overwritten",
            of_arguments(
                lambda x, v: x.at[jnp.array([1, 1, 2])].set(v),
                lambda k, u: (u.at[jnp.array([1, 2])].set(0), u[jnp.array([1, 1, 2])]),
            ),
            (normal(4), normal(3, seed=1)),
            causes=("mask", "first", "element"),
            checks=gradient,
        ),
        Foreign(
            "means of segments: not divided",
            of_arguments(segment_mean, lambda k, u: (u[k[1]], None)),
            (normal(5), np.array([0, 0, 1, 1, 1], np.int32)),
            causes=("another formula", "divid", "left out"),
            checks=gradient,
        ),
        Foreign(
            "a permutation: not inverted",
            of_arguments(permuted, lambda k, u: (u[k[1]], None)),
            (normal(4), np.array([2, 0, 3, 1], np.int32)),
            causes=("transposed", "permuted"),
            checks=gradient,
        ),
        Foreign(
            "a sort: not undone",
            of_arguments(jnp.sort, lambda k, u: (u,)),
            (np.array([0.3, -1.2, 2.0, 0.9], np.float32),),
            causes=("left out", "permuted"),
            checks=gradient,
        ),
        Foreign(
            "the two largest: the other way round",
            of_arguments(top_two, lambda k, u: (jnp.zeros_like(k[0]).at[lax.top_k(k[0], 2)[1]].set(u[::-1]),)),
            (x,),
            causes=("reversed",),
            checks=gradient,
        ),
        Foreign(
            "a product: divided by zero",
            of_arguments(jnp.prod, lambda k, u: (u * jnp.prod(k[0]) / k[0],)),
            (np.array([2, 0, -1.5], np.float32),),
            causes=("very point", "not finite", "zero"),
            checks=gradient,
        ),
        Foreign(
            "a cumulative sum: forwards",
            of_arguments(jnp.cumsum, lambda k, u: (jnp.cumsum(u),)),
            (x,),
            causes=("transposed", "revers"),
            checks=gradient,
        ),
        Foreign(
            "a cumulative sum: one too few",
            of_arguments(jnp.cumsum, lambda k, u: (jnp.cumsum(u[::-1])[::-1] - u,)),
            (x,),
            causes=("fork", "mask off by one"),
            checks=gradient,
        ),
        Foreign(
            "a linear recurrence: the same step's factor",
            of_arguments(linear_recurrence, lambda k, u: linear_recurrence_backward(k, u, shift=0)),
            (normal(4), normal(4, seed=1)),
            causes=("shift", "residual"),
            checks=gradient,
        ),
        Foreign(
            "the trapezoidal rule: whole ends",
            of_arguments(trapezoid, lambda k, u: (u * jnp.ones_like(k[0]),)),
            (x,),
            causes=("boundary", "outermost"),
            checks=gradient,
        ),
        Foreign(
            "rolled: the same way back",
            of_arguments(lambda a: jnp.roll(a, 2), lambda k, u: (jnp.roll(u, 2),)),
            (x,),
            causes=("transposed", "shift", "permuted"),
            checks=gradient,
        ),
        Foreign(
            "heads split: reshaped where transposed",
            of_arguments(split_heads, lambda k, u: (u.reshape(k[0].shape),)),
            (normal(3, 4),),
            causes=("layout", "transposed", "permuted"),
            checks=gradient,
        ),
        Foreign(
            "padded: the padding's gradient kept",
            of_arguments(lambda a: jnp.pad(a, (1, 0)), lambda k, u: (u[:-1],)),
            (x,),
            causes=("shift", "wrong place", "mask"),
            checks=gradient,
        ),
        Foreign(
            "a broadcast: not summed",
            of_arguments(lambda a: jnp.broadcast_to(a, (3, *a.shape)) * 1.0, lambda k, u: (u[0],)),
            (normal(2),),
            causes=("first", "left out"),
            checks=gradient,
        ),
        Foreign(
            "a broadcast: averaged",
            of_arguments(lambda a: jnp.broadcast_to(a, (3, *a.shape)) * 1.0, lambda k, u: (u.mean(0),)),
            (normal(2),),
            causes=("1/3",),
            checks=gradient,
        ),
        Foreign(
            "a flip: the other axis",
            of_arguments(lambda a: a[::-1], lambda k, u: (u[:, ::-1],)),
            (normal(3, 3),),
            causes=("axis", "permuted", "transposed", "layout"),
            checks=gradient,
        ),
        Foreign(
            "a concatenation: parts exchanged",
            of_arguments(lambda a, b: jnp.concatenate([a, b]), lambda k, u: (u[2:], u[:2])),
            (normal(2), normal(2, seed=1)),
            causes=("swapped",),
            checks=gradient,
        ),
        Foreign(
            "a maximum: the value for the place",
            of_arguments(lambda a: a.max(), lambda k, u: (u * k[0] * (k[0] == k[0].max()),)),
            (x,),
            causes=("factor", "input", "output", "counted twice"),
            checks=gradient,
        ),
    ]
