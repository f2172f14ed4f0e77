"""Attention: each query's mean of the values, weighted by how well it fits their keys.

The scores are never all in memory: a block of queries meets a block of keys at a time.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from ..core.accumulation import accumulator_dtype, matmul_operand, narrowed, to_accumulator
from ..core.domains import Domain
from ..core.rule import WithResiduals, rule
from ..core.vmap_dependence import to_common_axes
from ..jaxprs.lazy_import import lazy_import

attention_pallas = lazy_import(f"{__package__}.attention_pallas")  # few need it, and Pallas takes long to load

IN_CACHE = 2**20
"""How many scores a CPU's cache holds, about."""

number_of_keys = Domain("an integer from 0 to S", lambda rng, shape, sizes: rng.integers(0, sizes["S"] + 1, shape))


def _plain(q, k, v, bias=None, lengths=None, *, causal=False, scale=None, soft_cap=None, block=None, pallas=False):
    """All scores at once: what autodiff differentiates."""
    (T, N), (S, heads) = q.shape[-3:-1], k.shape[-3:-1]
    grouped = to_accumulator(q).reshape(*q.shape[:-2], heads, N // heads, q.shape[-1])
    z = jnp.einsum("...tkgh,...skh->...kgts", grouped, to_accumulator(k)) * _scale(q, scale)
    z = z if soft_cap is None else soft_cap * jnp.tanh(z / soft_cap)
    z = z if bias is None else z + to_accumulator(bias).reshape(z.shape[-4:])
    if causal:
        z = jnp.where(jnp.arange(S) <= jnp.arange(T)[:, None], z, -jnp.inf)
    if lengths is not None:
        z = jnp.where(jnp.arange(S) < lengths[..., None, None, None, None], z, -jnp.inf)
    powers = jnp.exp(z - lax.stop_gradient(_finite(z.max(-1, keepdims=True, initial=-jnp.inf))))
    total = powers.sum(-1, keepdims=True)
    o = jnp.einsum("...kgts,...skv->...tkgv", powers / jnp.where(total == 0, 1, total), to_accumulator(v))
    return o.reshape(*q.shape[:-1], v.shape[-1]).astype(_dtype(q, k, v, bias))


@rule(
    domain={"lengths": number_of_keys},
    example_settings=({"causal": True, "soft_cap": 2.0, "scale": 0.7, "block": 3},),
    reference=_plain,
)
def attention(
    q: Float[Array, "*B T K*G H"],
    k: Float[Array, "*B S K H"],
    v: Float[Array, "*B S K V"],
    bias: Float[Array, "K*G T S"] | None = None,
    lengths: Int[Array, "*B"] | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    soft_cap: float | None = None,
    block: int | None = None,
    pallas: bool = False,
) -> WithResiduals[Float[Array, "*B T K*G V"]]:
    """Attention of several heads with an online softmax: its memory is linear in the lengths.

    Forward   u_ij = scale q_i . k_j,  z = c tanh(u / c) + bias with a soft cap c, else u + bias
              p_ij = exp(z_ij - m_i) / s_i,  m_i = max_j z_ij,  s_i = sum_j exp(z_ij - m_i),  o_i = sum_j p_ij v_j
              m, s and s o run along: where a block of keys has a larger maximum m', what there is of s and s o is
              multiplied by exp(m - m') before the block is added
    Backward  l_i = m_i + log s_i is saved, and p_ij = exp(z_ij - l_i) computed again, block by block:
              dv_j = sum_i p_ij upstream_i,  dp_ij = upstream_i . v_j
              dz_ij = p_ij (dp_ij - delta_i),  delta_i = sum_j p_ij dp_ij = upstream_i . o_i: no second pass over keys
              du_ij = dz_ij (1 - tanh^2(u_ij / c)) with a soft cap, else dz_ij
              dq_i = scale sum_j du_ij k_j,  dk_j = scale sum_i du_ij q_i,  dbias = sum_B dz
              dk and dv are summed over the G query heads that share a head of keys
    Residuals the arguments, o and l: nothing that grows with T S
    Source    Vaswani et al. 2017, arXiv:1706.03762; Milakov, Gimelshein 2018, arXiv:1805.02867 (m and s run along);
              Dao et al. 2022, arXiv:2205.14135 (delta, and p computed again); Ainslie et al. 2023, arXiv:2305.13245
              (grouped heads); Gemma Team 2024, arXiv:2408.00118 (the soft cap)

    Blocks above the diagonal are left out where it is causal. Five products of a block in the backward pass, where
    autodiff does four; but autodiff's passes over all scores are gone. On a CPU long sequences are computed head by
    head, so that blocks stay in the cache.

    Sums are in float32 at least, and o is saved in float32, because delta is subtracted from what is nearly the same.
    A bias of minus infinity masks. Where all keys are masked o is 0, and so are the gradients. For a bias of its own in
    each sequence, `jax.vmap(attention)`.

    Args:
        q: queries (*B, T, K G, H); the first G heads belong to the first head of keys, and so on.
        k: keys (*B, S, K, H).
        v: values (*B, S, K, V).
        bias: added to the scores of all sequences (K G, T, S), or None.
        lengths: how many of its keys each sequence has (*B,); the others are masked. None for all.
        causal: query i sees the keys 0 to i only.
        scale: of the scores; None for 1 / sqrt(H).
        soft_cap: the scores, before the bias is added, are kept between -soft_cap and soft_cap; None for no such bound.
        block: at most so many queries, and so many keys, at a time; None for 512, or for 128 with Pallas.
        pallas: whether Pallas kernels compute it; they lower for CUDA and TPUs, and are interpreted on a CPU. They
            take no bias, a block that is a power of two, and no second derivative.

    Raises:
        ValueError: the heads of the queries cannot be shared out among those of the keys; or there is no such block.
    """
    arrays, bias_of_heads = _by_head(q, k, v, bias, lengths)
    if pallas:
        o, log_sum = _kernels(q, bias, causal, scale, soft_cap, block).forward(*arrays)
    else:
        blocks = _Blocks.of(q, k, causal, scale, soft_cap, block)
        o, log_sum = _over_heads(blocks, blocks.forward, bias_of_heads, arrays)  # (B, K, G, T, V) (B, K, G, T)
    value = _by_position(o, q.shape[:-1]).astype(_dtype(q, k, v, bias))
    return value, (q, k, v, bias, lengths, o, log_sum)


@attention.backward
def attention_backward(residuals, upstream, *, causal, scale, soft_cap, block, pallas):
    q, k, v, bias, lengths, o, log_sum = residuals
    arrays, bias_of_heads = _by_head(q, k, v, bias, lengths)
    upstream = _queries_by_head(upstream, k.shape[-2])
    delta = (to_accumulator(upstream) * o).sum(-1)
    arrays = *arrays, upstream, log_sum, delta
    if pallas:
        dq, dk, dv = _kernels(q, bias, causal, scale, soft_cap, block).backward(*arrays)
        dbias = None
    else:
        blocks = _Blocks.of(q, k, causal, scale, soft_cap, block)
        dq, dk, dv, dbias = _by_blocks(blocks, bias_of_heads, arrays)
    gradients = (_by_position(dx, x.shape[:-1]) for dx, x in ((dq, q), (dk, k), (dv, v)))
    return *gradients, None if dbias is None else dbias.reshape(bias.shape)


def _by_blocks(blocks: "_Blocks", bias: Array | None, arrays: tuple) -> tuple:
    """dq, dk and dv by head, and dbias summed over the sequences."""
    if bias is None:
        return _over_heads(blocks, blocks.backward, bias, arrays)
    one_by_one = blocks.one_by_one(arrays[0])

    def add(dbias, arrays):  # one dbias for each sequence would be B times as large as the bias
        *gradients, part = _each(one_by_one, blocks.backward, bias, *arrays)
        return dbias + part, gradients

    dbias, gradients = lax.scan(add, _zeros(bias.shape, *arrays[:3], bias), arrays)
    return *gradients, dbias


def _over_heads(blocks: "_Blocks", function: Callable, bias: Array | None, arrays: tuple) -> Any:
    """`function` of the heads of all sequences."""
    one_by_one = blocks.one_by_one(arrays[0])
    return _each(one_by_one, lambda *a: _each(one_by_one, function, bias, *a), *arrays)


class _Blocks(NamedTuple):
    """The scores of one head of keys and its G heads of queries, a block of queries by a block of keys at a time.

    All blocks have one shape, so that one program computes them: the last of an axis begins before the one before it
    ends, and what they have in common is masked in it.
    """

    T: int
    S: int
    height: int
    width: int
    causal: bool
    scale: float
    soft_cap: float | None

    @classmethod
    def of(cls, q: Array, k: Array, causal: bool, scale: float | None, soft_cap: float | None, block: int | None):
        T, S, block = q.shape[-3], k.shape[-3], 512 if block is None else block
        if block < 1:
            raise ValueError(f"attention: block is {block}; it is a number of queries and of keys, at least 1.")
        return cls(T, S, _block_length(T, block), _block_length(S, block), causal, _scale(q, scale), soft_cap)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Which block of queries meets which block of keys: those in which not all is above the diagonal."""
        rows, columns = _count(self.T, self.height), _count(self.S, self.width)
        i, j = (x.reshape(-1) for x in np.indices((rows, columns), np.int32))
        seen = j * self.width < (i + 1) * self.height if self.causal else i >= 0
        return i[seen], j[seen]

    def over_pairs(self, add: Callable, carry: tuple) -> tuple:
        """`carry` after add(carry, pair) for each of them; no loop where there is one."""
        i, j = self.pairs()
        return (
            add(carry, (i[0], j[0]))
            if len(i) == 1
            else lax.scan(lambda c, pair: (add(c, pair), None), carry, (i, j))[0]
        )

    def one_by_one(self, q: Array) -> bool:
        """Whether one head of q (B, K, G, T, H) comes after the other: on a CPU, unless all blocks fit the cache."""
        return jax.default_backend() == "cpu" and math.prod(q.shape[:3]) * self.height * self.width > IN_CACHE

    def scores(self, bias, q, k, length, i, j):
        """Of block (i, j): z (G, height, width), minus infinity where it is masked, and the tanh of the soft cap."""
        z = self.scale * _product("gth,sh->gts", _take(q, i, self.height, 1), _take(k, j, self.width, 0))
        tanh = None
        if self.soft_cap is not None:
            tanh = jnp.tanh(z / self.soft_cap)
            z = self.soft_cap * tanh
        z = z if bias is None else z + to_accumulator(_take(_take(bias, i, self.height, 1), j, self.width, 2))
        query = _start(i, self.height, self.T) + jnp.arange(self.height)[:, None]
        key = _start(j, self.width, self.S) + jnp.arange(self.width)
        alive = [key <= query] if self.causal else []
        alive += [] if length is None else [key < length]
        alive += [query >= i * self.height] if self.T % max(self.height, 1) else []
        alive += [key >= j * self.width] if self.S % max(self.width, 1) else []
        return jnp.where(reduce(jnp.logical_and, alive), z, -jnp.inf) if alive else z, tanh

    def forward(self, bias, q, k, v, length):
        """The value and l of (G, T, H) queries, (S, H) keys and (S, V) values."""

        def add(carry, pair):
            i, j = pair
            m, s, o = (_take(x, i, self.height, 1) for x in carry)
            z, _ = self.scores(bias, q, k, length, i, j)
            larger = lax.stop_gradient(jnp.maximum(m, z.max(-1, initial=-jnp.inf)))
            p, fading = jnp.exp(z - _finite(larger)[..., None]), jnp.exp(m - _finite(larger))
            o = o * fading[..., None] + _product("gts,sv->gtv", narrowed(p, v.dtype), _take(v, j, self.width, 0))
            new = larger, s * fading + p.sum(-1), o
            return tuple(_put(x, part, i, 1) for x, part in zip(carry, new, strict=True))

        s, o = (_zeros(shape, q, k, v, bias) for shape in (q.shape[:-1], (*q.shape[:-1], v.shape[-1])))
        m, s, o = self.over_pairs(add, (s - jnp.inf, s, o))
        s = jnp.where(s == 0, 1, s)  # no key is seen
        return o / s[..., None], _finite(m) + jnp.log(s)

    def backward(self, bias, q, k, v, length, upstream, log_sum, delta):
        """dq (G, T, H), dk (S, H), dv (S, V), dbias (G, T, S) or None."""

        def add(carry, pair):
            i, j = pair
            z, tanh = self.scores(bias, q, k, length, i, j)
            of_q, of_k, of_v = _take(q, i, self.height, 1), _take(k, j, self.width, 0), _take(v, j, self.width, 0)
            arriving, log_s, through_s = (_take(x, i, self.height, 1) for x in (upstream, log_sum, delta))
            p = jnp.exp(z - log_s[..., None])
            dz = p * (_product("gtv,sv->gts", arriving, of_v) - through_s[..., None])
            du = narrowed(self.scale * (dz if tanh is None else dz * ((1 - tanh) * (1 + tanh))), _dtype(q, k))
            dq, dk, dv, dbias = carry
            dq = _add(dq, _product("gts,sh->gth", du, of_k), i, 1)
            dk = _add(dk, _product("gts,gth->sh", du, of_q), j, 0)
            dv = _add(dv, _product("gts,gtv->sv", narrowed(p, arriving.dtype), arriving), j, 0)
            if dbias is not None:
                rows = _take(dbias, i, self.height, 1)
                dbias = _put(dbias, _add(rows, dz, j, 2), i, 1)
            return dq, dk, dv, dbias

        zeros = tuple(None if x is None else _zeros(x.shape, q, k, v, bias) for x in (q, k, v, bias))
        return self.over_pairs(add, zeros)


def _kernels(
    q: Array, bias: Array | None, causal: bool, scale: float | None, soft_cap: float | None, block: int | None
):
    block = 128 if block is None else block
    if bias is not None or block < 1 or block & (block - 1):
        given = f"block is {block}" if bias is None else "there is a bias"
        raise ValueError(f"attention: with pallas=True a block is a power of two and there is no bias, but {given}.")
    return attention_pallas.Kernels(block, causal, _scale(q, scale), soft_cap)


def _block_length(n: int, at_most: int) -> int:
    """As even as can be, so that little is computed twice."""
    return -(-n // max(-(-n // at_most), 1))


def _count(n: int, size: int) -> int:
    return -(-n // max(size, 1))


def _start(number: Array, size: int, n: int) -> Array:
    return jnp.minimum(number * size, n - size)


def _take(x: Array, number: Array, size: int, axis: int) -> Array:
    """Block `number` of an axis."""
    if size == x.shape[axis]:
        return x
    return lax.dynamic_slice_in_dim(x, _start(number, size, x.shape[axis]), size, axis)


def _put(x: Array, part: Array, number: Array, axis: int) -> Array:
    """`x` with `part` as that block."""
    size = part.shape[axis]
    if size == x.shape[axis]:
        return part
    return lax.dynamic_update_slice_in_dim(x, part, _start(number, size, x.shape[axis]), axis)


def _add(x: Array, part: Array, number: Array, axis: int) -> Array:
    return _put(x, _take(x, number, part.shape[axis], axis) + part, number, axis)


def _product(axes: str, x: Array, y: Array) -> Array:
    """A product of matrices, accumulated in the accumulator type."""
    dtype = accumulator_dtype(_dtype(x, y))
    return jnp.einsum(axes, matmul_operand(x), matmul_operand(y), preferred_element_type=dtype)


def _each(one_by_one: bool, function: Callable, *arrays: Any) -> Any:
    """`function` of each entry of the first axes, all at once or one after the other."""
    if one_by_one:
        return lax.map(lambda entries: function(*entries), arrays)
    return jax.vmap(function)(*arrays)


def _by_head(q, k, v, bias, lengths) -> tuple[tuple, Array | None]:
    """q (B, K, G, T, H), k (B, K, S, H), v (B, K, S, V), lengths (B, K); and the bias (K, G, T, S)."""
    heads = k.shape[-2]
    if heads == 0 or q.shape[-2] % heads:
        raise ValueError(f"attention: {q.shape[-2]} heads of queries cannot be shared out among {heads} heads of keys.")
    k, v = (x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:]).swapaxes(1, 2) for x in (k, v))
    if lengths is not None:
        lengths = jnp.broadcast_to(lengths.reshape(-1, 1), k.shape[:2])
    bias = None if bias is None else bias.reshape(heads, q.shape[-2] // heads, *bias.shape[-2:])
    return (_queries_by_head(q, heads), k, v, lengths), bias


def _queries_by_head(x: Array, heads: int) -> Array:
    """(*B, T, K G, H) as (B, K, G, T, H)."""
    T, N, H = x.shape[-3:]
    return x.reshape(math.prod(x.shape[:-3]), T, heads, N // heads, H).transpose(0, 2, 3, 1, 4)


def _by_position(x: Array, shape: tuple[int, ...]) -> Array:
    """(B, K, ..., T, H) as (*B, T, K ..., H), where `shape` is all of that but H."""
    return jnp.moveaxis(x, -2, 1).reshape(*shape, x.shape[-1])


def _zeros(shape: tuple[int, ...], *arrays: Array | None) -> Array:
    """What sums of these arrays begin with; under `jax.shard_map` it differs over the devices, as they do."""
    return to_common_axes((jnp.zeros(shape, accumulator_dtype(_dtype(*arrays))), arrays))[0]


def _scale(q: Array, scale: float | None) -> float:
    return max(q.shape[-1], 1) ** -0.5 if scale is None else scale


def _finite(m: Array) -> Array:
    """`m`, 0 where there was nothing to take the maximum of."""
    return jnp.where(jnp.isfinite(m), m, 0)


def _dtype(*arrays: Array | None):
    return jnp.result_type(*(x for x in arrays if x is not None))
