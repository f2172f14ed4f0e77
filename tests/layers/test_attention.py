"""Attention against the textbook in NumPy and against jax.nn, at lengths that no block divides; and its memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.layers import attention


def drawn(T: int, S: int, *, batch: int = 2, heads: int = 2, groups: int = 2, seed: int = 0) -> Any:
    """q, k, v, bias and upstream."""
    rng = np.random.default_rng(seed)
    N = heads * groups
    shapes = (batch, T, N, 3), (batch, S, heads, 3), (batch, S, heads, 5), (N, T, S), (batch, T, N, 5)
    return [rng.normal(size=shape) for shape in shapes]


def textbook(q, k, v, bias, lengths, upstream, *, causal=False, scale=None, soft_cap=None):
    """The value and the gradients of q, k, v and bias: a row at a time, with the whole Jacobian of its softmax."""
    scale = 3**-0.5 if scale is None else scale
    o, (dq, dk, dv, dbias) = np.zeros(upstream.shape), (np.zeros_like(x) for x in (q, k, v, bias))
    for b, t, n in np.ndindex(*q.shape[:3]):
        shared = n * k.shape[2] // q.shape[2]
        seen = min(lengths[b], t + 1) if causal else lengths[b]
        keys, values = k[b, :seen, shared], v[b, :seen, shared]
        u = scale * keys @ q[b, t, n]
        z = (u if soft_cap is None else soft_cap * np.tanh(u / soft_cap)) + bias[n, t, :seen]
        if not seen:
            continue
        p = np.exp(z) / np.exp(z).sum()
        o[b, t, n] = p @ values
        dz = (np.diag(p) - np.outer(p, p)) @ (values @ upstream[b, t, n])
        du = dz if soft_cap is None else dz / np.cosh(u / soft_cap) ** 2
        dq[b, t, n] = scale * du @ keys
        dk[b, :seen, shared] += scale * np.outer(du, q[b, t, n])
        dv[b, :seen, shared] += np.outer(p, upstream[b, t, n])
        dbias[n, t, :seen] += dz
    return o, (dq, dk, dv, dbias)


def value_and_gradients(function, arrays, upstream):
    def both(*arrays):
        o, pull = jax.vjp(function, *arrays)
        return o, pull(jnp.asarray(upstream, o.dtype))

    return jax.jit(both)(*map(jnp.asarray, arrays))


def close(actual, expected, rtol=1e-11, atol=1e-13):
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol, atol)


@pytest.mark.parametrize(
    ("T", "S", "settings"),
    [
        (1, 1, {}),
        (3, 5, {"soft_cap": 1.5}),
        (4, 4, {"causal": True}),
        (5, 3, {"causal": True, "scale": 0.8}),
        (13, 7, {"causal": True, "soft_cap": 0.9}),
        (7, 13, {"causal": True}),
    ],
)
def test_value_and_gradients_are_the_textbooks_however_the_lengths_are_cut(T, S, settings):
    """Blocks of 4: one less, one more, primes; one sequence has all of its keys, the other none or a few."""
    q, k, v, bias, upstream = drawn(T, S)
    lengths: Any = np.array([S, S // 3])

    def ours(q, k, v, bias):
        return attention(q, k, v, bias, lengths, block=4, **settings)

    with jax.enable_x64(True):
        found = value_and_gradients(ours, (q, k, v, bias), upstream)
    close(found, textbook(q, k, v, bias, lengths, upstream, **settings))


def test_value_and_gradients_are_those_of_jax_nn():
    q, k, v, bias, upstream = drawn(7, 7)
    arrays, lengths = (q, k, v[..., :3], bias), jnp.array([7, 4])

    def theirs(q, k, v, bias):
        return jax.nn.dot_product_attention(q, k, v, bias[None], is_causal=True, key_value_seq_lengths=lengths)

    def ours(q, k, v, bias):
        return attention(q, k, v, bias, lengths, causal=True, block=3)

    upstream = upstream[..., :3]
    close(value_and_gradients(ours, arrays, upstream), value_and_gradients(theirs, arrays, upstream), 1e-4, 1e-5)


def test_a_bias_of_minus_infinity_masks_a_key():
    """What is seen has the value and gradients that it has without the masked keys; these have zeros."""
    q, k, v, bias, upstream = drawn(5, 6)
    bias[..., 4:] = -np.inf
    with jax.enable_x64(True):
        found = value_and_gradients(lambda *a: attention(*a, block=4), (q, k, v, bias), upstream)
    close(found, textbook(q, k, v, np.where(np.isinf(bias), 0, bias), [4, 4], upstream))


def test_vmap_gives_each_sequence_a_bias_of_its_own():
    q, k, v, bias, _ = drawn(3, 5)
    biases = np.stack([bias, -bias])
    both = jax.jit(jax.vmap(attention))(q, k, v, biases)
    for b in range(2):
        alone, _ = textbook(q[[b]], k[[b]], v[[b]], biases[b], [5], np.zeros((1, 3, 4, 5)))
        np.testing.assert_allclose(both[b], alone[0], rtol=1e-5, atol=1e-6)


def test_half_precision_rounds_once():
    """48 keys in bfloat16: value and gradients are within a unit of the last place of what float64 makes of them."""
    *arrays, upstream = (jnp.asarray(x, jnp.bfloat16) for x in drawn(48, 48))
    found = value_and_gradients(lambda *a: attention(*a, causal=True, block=16), arrays, upstream)
    q, k, v, bias, wide_upstream = (np.asarray(x, np.float64) for x in (*arrays, upstream))
    exact = textbook(q, k, v, bias, [48, 48], wide_upstream, causal=True)
    for actual, expected in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert actual.dtype == jnp.bfloat16
        allowed = 2.0**-8 * (np.abs(expected) + 1e-3 * np.abs(expected).max())
        assert np.all(np.abs(np.asarray(actual, np.float64) - expected) <= allowed)


@pytest.mark.parametrize("biased", [False, True])
def test_heads_one_after_the_other_give_what_all_at_once_give(biased):
    """Blocks of 600 by 600 of four heads are too many for the cache, those of 200 by 200 are not."""
    q, k, v, bias, upstream = (jnp.asarray(x, jnp.float32) for x in drawn(600, 600, batch=1))

    def both(block):
        def function(q, k, v, bias):
            return attention(q, k, v, bias if biased else None, jnp.array([590]), causal=True, block=block)

        o, pull = jax.vjp(function, q, k, v, bias)
        return o, *pull(upstream)

    one_by_one, at_once = jax.jit(lambda: (both(600), both(200)))()
    for one, other in zip(one_by_one, at_once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_memory_is_linear_in_the_length():
    """At 4,096 less than a tenth of what autodiff of the textbook takes, forward and backward."""

    def temporary(function, length: int) -> int:
        shape = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
        program = jax.jit(lambda *a: jax.vjp(function, *a)[1](a[0])).lower(*[shape] * 3).compile()
        analysis: Any = program.memory_analysis()
        return analysis.temp_size_in_bytes

    def ours(q, k, v):
        return attention(q, k, v, causal=True, block=128)

    half, whole = temporary(ours, 2048), temporary(ours, 4096)
    assert whole < 2.1 * half
    assert whole < 0.1 * temporary(lambda q, k, v: attention.primal(q, k, v, causal=True), 4096)


@pytest.mark.parametrize(
    ("heads", "block", "message"), [(3, 4, "3 heads of queries .* among 2 heads of keys"), (2, 0, "block is 0")]
)
def test_heads_that_cannot_be_shared_out_and_empty_blocks_are_refused(heads, block, message):
    with pytest.raises(ValueError, match=message):
        attention(jnp.ones((4, heads, 3)), jnp.ones((5, 2, 3)), jnp.ones((5, 2, 3)), block=block)
