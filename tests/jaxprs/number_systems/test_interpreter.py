"""The reference interpreter answers what JAX answers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.number_systems.arithmetic import Digits, Noisy
from jaxbackprop.jaxprs.number_systems.interpreter import FLOAT64, evaluate

rng = np.random.default_rng(0)
A, B, V = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=6)
IDS = np.array([2, 0, 2, 1], np.int32)

PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise": (lambda x: jnp.sin(x) * jnp.exp(-x) / (1 + x**2) - jnp.tanh(x) ** 3 + jax.nn.sigmoid(x), (A,)),
    "rounding": (lambda x: (jnp.round(3 * x), jnp.floor(x), jnp.sign(x), (4 * x).astype(jnp.int32) // 3), (A,)),
    "reductions": (lambda x: (x.sum(0), x.mean(1), x.max(), x.min(0), x.argmax(1), jnp.prod(x), (x > 0).any(0)), (A,)),
    "shapes": (lambda x: (x.T.reshape(2, 6), jnp.flip(x, 0), jnp.pad(x, ((1, 2), (0, 1))), x[1:, ::2], x[None]), (A,)),
    "a negative pad": (lambda x: lax.pad(x, 0.0, ((-1, 2, 1), (0, -1, 0))), (A,)),
    "matmul": (lambda a, b: a @ b, (A, B)),
    "einsum": (lambda a, b: jnp.einsum("ij,jk->ki", a, b), (A, B)),
    "batched": (lambda a: jnp.einsum("bij,bjk->bik", a, a), (rng.normal(size=(2, 3, 3)),)),
    "gather": (lambda a, i: a[i], (A, IDS)),
    "take along an axis": (lambda a, i: jnp.take_along_axis(a, i[:, None] % 3, 1), (A, IDS)),
    "out of bounds": (lambda a, i: a.at[i + 2].get(mode="fill", fill_value=7.0), (A, IDS)),
    "scatter": (lambda a, i: (a.at[i].add(1.5), a.at[i, 1].set(0), a.at[i].max(0.2)), (A, IDS)),
    "dynamic slices": (lambda a, i: lax.dynamic_slice(a, (i[0], i[3]), (3, 2)), (A, IDS)),
    "dynamic update": (lambda a, i: lax.dynamic_update_slice(a, jnp.ones((2, 2)), (i[0], i[0] + 9)), (A, IDS)),
    "sort": (
        lambda x: (jnp.sort(x), jnp.argsort(-x), jnp.cumsum(x), jnp.cumprod(x), lax.cummax(x, reverse=True)),
        (V,),
    ),
    "where and clip": (lambda x: jnp.where(x > 0, x, -2 * x).clip(0.2, 0.9), (A,)),
    "scan": (lambda x: lax.scan(lambda c, v: (jnp.tanh(c + v), c * v), x[0], x), (A,)),
    "a reversed scan": (lambda x: lax.scan(lambda c, v: (c + v, c), x[0], x, reverse=True), (A,)),
    "while": (lambda x: lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 1.5 + 1, x), (np.abs(V),)),
    "a mapped while": (jax.vmap(lambda x: lax.while_loop(lambda c: c < 5, lambda c: c * 1.5 + 1, x)), (np.abs(V),)),
    "cond": (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), (V,)),
    "switch": (lambda x, i: lax.switch(i[0], [jnp.sin, jnp.cos, jnp.exp], x), (V, IDS)),
    "random": (lambda k: jax.random.normal(jax.random.split(k)[1], (5,)), (jax.random.key(3),)),
    "convolution": (lambda x: jnp.convolve(x, jnp.array([1.0, -2.0, 0.5])), (V,)),
    "linear algebra": (lambda a: jnp.linalg.cholesky(a @ a.T + 5 * jnp.eye(4)), (A,)),
    "complex": (lambda x: (x + 2j * x) * jnp.exp(1j * x), (V,)),
    "a gradient": (jax.grad(lambda x: jax.nn.logsumexp(x @ x.T).sum() + jax.nn.gelu(x).sum()), (A,)),
    "a map": (jax.vmap(lambda x, i: x[i] * x), (A, IDS % 3)),
    "checkpoint": (jax.grad(lambda x: jax.checkpoint(lambda y: jnp.sin(jnp.sin(y)))(x).sum()), (V,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_answers_what_jax_answers(name: str):
    fun, args = PROGRAMS[name]
    with jax.enable_x64(True):
        program = jax.make_jaxpr(fun)(*args)
        expected = jax.tree.leaves(jax.jit(fun)(*args))
        found = evaluate(program, args)
    for mine, true in zip(found, expected, strict=True):
        assert (mine.shape, mine.dtype) == (true.shape, true.dtype)
        np.testing.assert_allclose(mine, true, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_lower_precision_rounds_as_jax_does(dtype: Any):
    fun = lambda x: (jnp.exp(x), x * x + x, jnp.sum(x, 0), x @ x.T)  # noqa: E731
    x = jnp.asarray(A, dtype)
    with jax.disable_jit():
        expected = fun(x)
    for mine, true in zip(evaluate(jax.make_jaxpr(fun)(x), [x]), expected, strict=True):
        assert mine.dtype == true.dtype
        off = np.abs(np.asarray(mine, np.float64) - np.asarray(true, np.float64))
        assert np.all(off <= 2 * float(jnp.finfo(dtype).eps) * np.maximum(np.abs(np.asarray(true, np.float64)), 1))


def test_a_float32_program_read_as_float64_is_exact():
    program = jax.make_jaxpr(lambda x: jnp.sin(x).astype(jnp.bfloat16) * 3)(np.float32(0.7))
    assert evaluate(program, [np.float64(0.7)], FLOAT64)[0] == pytest.approx(3 * np.sin(0.7), rel=1e-15)


def test_many_digits_see_what_float64_cannot():
    """log(1 + e^x) at 1000 overflows in float64; its derivative there is 1."""
    with jax.enable_x64(True):
        program = jax.make_jaxpr(jax.grad(lambda x: jnp.log(1 + jnp.exp(x))))(1000.0)
    assert not np.isfinite(evaluate(program, [1000.0])[0])
    with mpmath.workdps(60):
        assert float(evaluate(program, [1000.0], Digits())[0][()]) == 1.0


def test_noise_moves_a_cancelling_program_more_than_a_stable_one():
    with jax.enable_x64(True):
        naive = jax.make_jaxpr(lambda x: (1 + x) - 1)(1e-3)
        stable = jax.make_jaxpr(lambda x: x * 1.0)(1e-3)
    moved = [abs(float(evaluate(p, [1e-3], Noisy(1e-7, np.random.default_rng(0)))[0]) - 1e-3) for p in (naive, stable)]
    assert moved[0] > 100 * moved[1]
