"""The two passes of `attention` as Pallas kernels, which lower for CUDA (by Triton) and for TPUs (by Mosaic).

The formulas are derived there. Here one program computes a block of queries or, of dk and dv, a block of keys; it holds
all that it meets. Lengths are padded to whole blocks, numbers of a head to a power of two. JAX 0.12 still lowers by
Triton, with a warning that it will be removed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from ..core.accumulation import accumulator_dtype

NARROWEST = 16
"""The fewest rows and columns that a tensor core multiplies."""


class Kernels(NamedTuple):
    """The kernels of P problems, each of which has G heads of queries that share a head of keys.

    Attributes:
        block: queries and keys at a time, a power of two.
        causal: query i sees the keys 0 to i only.
        scale: of the scores.
        soft_cap: bound of the scores, or None.
    """

    block: int
    causal: bool
    scale: float
    soft_cap: float | None

    def forward(self, q: Array, k: Array, v: Array, lengths: Array | None) -> tuple[Array, Array]:
        """o (B, K, G, T, V) and l (B, K, G, T) of q (B, K, G, T, H), k (B, K, S, H), v (B, K, S, V), lengths (B, K)."""
        (B, K, G, T, _), V, narrow = q.shape, v.shape[-1], jnp.result_type(q, k, v)
        length, dtype = _lengths(lengths, k), accumulator_dtype(narrow)
        q, k, v = (self._padded(_problems(x).astype(narrow)) for x in (q, k, v))
        b, rows = self.block, q.shape[2]

        def kernel(length, q, k, v, o, log_sum):
            i = pl.program_id(2)

            def add(j, carry):
                m, s, o = carry
                z, _ = self._scores(q[...], k[pl.ds(j * b, b)], length[...], i, j)
                larger = jnp.maximum(m, z.max(1, keepdims=True))
                finite = jnp.where(larger == -jnp.inf, 0, larger)
                p, fading = jnp.exp(z - finite), jnp.exp(m - finite)
                values = v[pl.ds(j * b, b)]
                return larger, s * fading + p.sum(1, keepdims=True), o * fading + _dot(p.astype(values.dtype), values)

            zero = jnp.zeros((b, 1), dtype)
            m, s, sum_of_values = lax.fori_loop(
                0, self._after_last(i, k.shape[0]), add, (zero - jnp.inf, zero, jnp.zeros(o.shape, dtype))
            )
            s = jnp.where(s == 0, 1, s)
            o[...] = sum_of_values / s
            log_sum[...] = jnp.where(m == -jnp.inf, 0, m) + jnp.log(s)

        made = [jax.ShapeDtypeStruct((B * K, G, rows, n), dtype) for n in (v.shape[-1], 1)]
        o, log_sum = _call(
            kernel, (B * K, G, rows // b),
            [_whole(length), self._of_query(q), _whole(k), _whole(v)], (length, q, k, v),
            [self._of_query(x) for x in made], made,
        )  # fmt: skip
        return o[:, :, :T, :V].reshape(B, K, G, T, V), log_sum[:, :, :T, 0].reshape(B, K, G, T)

    def backward(
        self, q: Array, k: Array, v: Array, lengths: Array | None, upstream: Array, log_sum: Array, delta: Array
    ) -> tuple[Array, Array, Array]:
        """dq, dk and dv; upstream (B, K, G, T, V), l and delta (B, K, G, T)."""
        of_q, of_k, of_v, narrow = q.shape, k.shape, v.shape, jnp.result_type(q, k, v)
        (B, K, G, T, H), S, V = of_q, of_k[2], of_v[3]
        length, dtype = _lengths(lengths, k), accumulator_dtype(narrow)
        q, k, v, upstream = (self._padded(_problems(x).astype(narrow)) for x in (q, k, v, upstream))
        b, rows = self.block, q.shape[2]
        log_sum, delta = (_padded_to(_problems(x), rows, 2)[..., None] for x in (log_sum, delta))

        def of_scores(q, k, v, length, of_query, i, j):
            """p and du of block (i, j)."""
            upstream, log_sum, delta = of_query
            z, tanh = self._scores(q, k, length, i, j)
            p = jnp.exp(z - log_sum)
            dz = p * (_dot(upstream, v, transposed=True) - delta)
            return p, self.scale * (dz if tanh is None else dz * (1 - tanh) * (1 + tanh))

        def kernel_of_queries(length, q, k, v, upstream, log_sum, delta, dq):
            i = pl.program_id(2)
            of_query = upstream[...], log_sum[...], delta[...]

            def add(j, dq):
                keys = k[pl.ds(j * b, b)]
                _, du = of_scores(q[...], keys, v[pl.ds(j * b, b)], length[...], of_query, i, j)
                return dq + _dot(du.astype(keys.dtype), keys)

            dq[...] = lax.fori_loop(0, self._after_last(i, k.shape[0]), add, jnp.zeros(dq.shape, dtype))

        def kernel_of_keys(length, q, k, v, upstream, log_sum, delta, dk, dv):
            j = pl.program_id(1)
            keys, values = k[...], v[...]

            def add(g, i, carry):
                dk, dv = carry
                queries, *of_query = (x[g, pl.ds(i * b, b)] for x in (q, upstream, log_sum, delta))
                p, du = of_scores(queries, keys, values, length[...], of_query, i, j)
                dv = dv + _dot(p.astype(upstream.dtype).T, of_query[0])
                return dk + _dot(du.astype(queries.dtype).T, queries), dv

            carry = jnp.zeros(dk.shape, dtype), jnp.zeros(dv.shape, dtype)
            for g in range(G):
                carry = lax.fori_loop(j if self.causal else 0, rows // b, partial(add, g), carry)
            dk[...], dv[...] = carry

        arrays = length, q, k, v, upstream, log_sum, delta
        dq, dk, dv = (jax.ShapeDtypeStruct(x.shape, dtype) for x in (q, k, v))
        (dq,) = _call(
            kernel_of_queries, (B * K, G, rows // b),
            [_whole(length), self._of_query(q), _whole(k), _whole(v), *map(self._of_query, arrays[4:])], arrays,
            [self._of_query(dq)], [dq],
        )  # fmt: skip
        dk, dv = _call(
            kernel_of_keys, (B * K, k.shape[1] // b),
            [_whole(length), _whole(q), self._of_key(k), self._of_key(v), *map(_whole, arrays[4:])], arrays,
            [self._of_key(dk), self._of_key(dv)], [dk, dv],
        )  # fmt: skip
        return dq[:, :, :T, :H].reshape(of_q), dk[:, :S, :H].reshape(of_k), dv[:, :S, :V].reshape(of_v)

    def _of_query(self, x: Any) -> pl.BlockSpec:
        """The block of a program that computes something of queries."""
        return pl.BlockSpec((None, None, self.block, x.shape[-1]), lambda p, g, i: (p, g, i, 0))

    def _of_key(self, x: Any) -> pl.BlockSpec:
        return pl.BlockSpec((None, self.block, x.shape[-1]), lambda p, j: (p, j, 0))

    def _scores(self, q, k, length, i, j):
        """Of block (i, j), minus infinity where masked, and the tanh of the soft cap."""
        z = self.scale * _dot(q, k, transposed=True)
        tanh = None
        if self.soft_cap is not None:
            tanh = jnp.tanh(z / self.soft_cap)
            z = self.soft_cap * tanh
        key = j * self.block + lax.broadcasted_iota(jnp.int32, z.shape, 1)
        alive = key < length
        if self.causal:
            alive &= key <= i * self.block + lax.broadcasted_iota(jnp.int32, z.shape, 0)
        return jnp.where(alive, z, -jnp.inf), tanh

    def _after_last(self, i, keys: int):
        """The number of the first block of keys that block i of the queries does not see."""
        count = keys // self.block
        return jnp.minimum(i + 1, count) if self.causal else count

    def _padded(self, x: Array) -> Array:
        """(..., T, H) with zeros behind, to a whole number of blocks and to a power of two."""
        numbers = max(NARROWEST, 1 << max(x.shape[-1] - 1, 0).bit_length())
        return _padded_to(_padded_to(x, -(-x.shape[-2] // self.block) * self.block, -2), numbers, -1)


def _problems(x: Array) -> Array:
    """(B, K, ...) as (B K, ...)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _lengths(lengths: Array | None, k: Array) -> Array:
    """How many keys each problem has (B K, 1, 1)."""
    lengths = jnp.full(k.shape[:2], k.shape[2]) if lengths is None else lengths
    return lengths.astype(jnp.int32).reshape(-1, 1, 1)


def _whole(x: Any) -> pl.BlockSpec:
    """All of a problem's array."""
    zeros = (0,) * (x.ndim - 1)
    return pl.BlockSpec((None, *x.shape[1:]), lambda p, *_: (p, *zeros))


def _padded_to(x: Array, n: int, axis: int) -> Array:
    axis %= x.ndim
    return jnp.pad(x, [(0, n - size if a == axis else 0) for a, size in enumerate(x.shape)])


def _dot(x: Array, y: Array, *, transposed: bool = False) -> Array:
    """x y, or x y^T, in the accumulator type."""
    contracted = ((1,), (1,)) if transposed else ((1,), (0,))
    return lax.dot_general(x, y, (contracted, ((), ())), preferred_element_type=accumulator_dtype(x.dtype))


def _call(
    kernel: Callable, grid: Sequence[int], in_specs: Any, arrays: Sequence[Array], out_specs: Any, out_shape: Any
) -> Sequence[Array]:
    """The kernel, compiled for the platform; interpreted on a CPU."""

    def run(*arrays, **how):
        return pl.pallas_call(
            kernel, grid=tuple(grid), in_specs=in_specs, out_specs=out_specs, out_shape=out_shape, **how
        )(*arrays)

    return lax.platform_dependent(
        *arrays,
        cpu=partial(run, interpret=True),
        cuda=partial(run, compiler_params=triton.CompilerParams()),
        default=run,
    )
