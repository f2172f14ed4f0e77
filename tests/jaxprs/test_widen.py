"""A program in float64 throughout answers what JAX answers in float64; its noise measures what rounding may do."""

from collections.abc import Callable
from typing import Any

import array_programs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_programs import A, V
from jax import lax

from jaxbackprop.jaxprs.widen import BANK, banks, noisy, widened

PROGRAMS: array_programs.Programs = {
    **array_programs.PROGRAMS,
    "a mapped while": (jax.vmap(lambda x: lax.while_loop(lambda c: c < 5, lambda c: c * 1.5 + 1, x)), (np.abs(V),)),
    "random": (lambda k: jax.random.normal(jax.random.split(k)[1], (5,)), (jax.random.key(3),)),
    "convolution": (lambda x: jnp.convolve(x, jnp.array([1.0, -2.0, 0.5])), (V,)),
    "linear algebra": (lambda a: jnp.linalg.cholesky(a @ a.T + 5 * jnp.eye(4)), (A,)),
    "complex": (lambda x: (x + 2j * x) * jnp.exp(1j * x), (V,)),
}


def in_float32(x: Any) -> Any:
    return np.asarray(x, np.float32) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_traced_in_float64_answers_what_jax_answers(name: str):
    fun, args = PROGRAMS[name]
    with jax.enable_x64(True):
        program = jax.make_jaxpr(fun)(*args)
        expected = jax.tree.leaves(jax.jit(fun)(*args))
        found = jax.jit(widened(program))(list(args))
    for mine, true in zip(found, expected, strict=True):
        assert (mine.shape, mine.dtype) == (true.shape, true.dtype)
        np.testing.assert_allclose(mine, true, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", sorted(set(PROGRAMS) - {"random"}))
def test_a_program_traced_in_float32_does_too(name: str):
    """But for constants rounded to float32; random bits of another width keep the types of the trace."""
    fun, args = PROGRAMS[name]
    program = jax.make_jaxpr(fun)(*map(in_float32, args))
    with jax.enable_x64(True):
        expected = jax.tree.leaves(jax.jit(fun)(*args))
        found = jax.jit(widened(program))(list(args))
    for mine, true in zip(found, expected, strict=True):
        assert mine.shape == true.shape
        np.testing.assert_allclose(mine, true, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "fun",
    [
        jnp.linalg.solve,
        lambda a, b: jnp.linalg.solve(a.T @ a + jnp.eye(4), b),
        lambda a, b: jax.scipy.sparse.linalg.cg(lambda v: a.T @ (a @ v) + v, b, maxiter=8)[0],
        lambda a, b: jnp.linalg.cholesky(a @ a.T + 5 * jnp.eye(4)) @ b,
        lambda a, b: jax.custom_derivatives.linear_call(lambda a, b: a @ b, lambda a, u: a.T @ u, a, b),
    ],
)
def test_linear_algebra_of_a_program_in_float32_is_computed_in_float64(fun: Callable[..., Any]):
    a, b = np.float32(A @ A.T + 3 * np.eye(4)), np.arange(4, dtype=np.float32) + np.float32(0.3)
    program = jax.make_jaxpr(fun)(a, b)
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            jax.jit(widened(program))([a, b])[0], fun(np.float64(a), np.float64(b)), rtol=1e-12, atol=1e-12
        )


def test_narrow_steps_round_nothing():
    program = jax.make_jaxpr(lambda x: jnp.sin(x).astype(jnp.bfloat16) * 3)(np.float32(0.7))
    with jax.enable_x64(True):
        assert widened(program)([np.float64(0.7)])[0] == pytest.approx(3 * np.sin(0.7), rel=1e-15)


def moved(fun: Callable[..., Any], x: Any, scale: tuple[float, float, float]) -> float:
    """How far noise moves a program of one number; nothing where the decisions it took are others."""
    with jax.enable_x64(True):
        program = noisy(jax.make_jaxpr(fun)(x))
        here, decisions = program([x], np.zeros(BANK), np.zeros(3))
        off = 0.0
        for bank in banks(np.random.default_rng(0), 5):
            there, taken = program([x], bank, np.array(scale))
            off = max(off, float(np.abs(there - here).max()) if taken == decisions else 0.0)
        return off


def test_noise_moves_a_cancelling_program_more_than_a_stable_one():
    scale = (1e-7, 0.0, 0.0)
    assert moved(lambda x: (1 + x) - 1, 1e-3, scale) > 100 * moved(lambda x: x * 1.0, 1e-3, scale) > 0


def test_a_sum_that_cancels_is_moved_by_what_its_terms_lose():
    x = np.array([1e6, 1.0, -1e6])
    assert moved(jnp.sum, x, (1e-9, 0.0, 0.0)) > 1e-4


def test_without_noise_nothing_moves_and_a_decision_that_turns_drops_the_draw():
    assert moved(jnp.sin, 0.3, (0.0, 0.0, 0.0)) == 0
    assert moved(lambda x: jnp.where(x * 1.0 > 0.5, 100 * x, x), 0.5 + 1e-9, (1e-6, 0.0, 0.0)) < 1e-3


def test_noise_and_decisions_go_through_loops():
    def looped(x):
        return lax.scan(lambda c, _: (c * 1.0, None), x, None, length=50)[0]

    assert moved(looped, 1.0, (1e-9, 0.0, 0.0)) > 2e-9
    counted = lambda x: lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] * 1.1, c[1] + 1), (x, 0.0))[1]  # noqa: E731
    assert moved(counted, 0.5, (1e-9, 0.0, 0.0)) < 1e-6  # a step more or less would be 1
