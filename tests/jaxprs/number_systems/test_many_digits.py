"""Many digits answer what JAX answers in float64; what is not implemented is refused by name."""

from collections.abc import Callable
from typing import Any

import array_programs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from array_programs import IDS, A, V, rng
from jax import lax

from jaxbackprop.jaxprs.number_systems.many_digits import NotImplementedInManyDigits, in_many_digits

PROGRAMS: array_programs.Programs = {
    **array_programs.PROGRAMS,
    "reshape in another order": (lambda x: x.ravel(order="F"), (A,)),
    "sums of repeated rows": (lambda a, i: a.at[i].add(a, mode="drop"), (A, IDS + 2)),
    "a product of tensors": (lambda a: jnp.einsum("ijk,ljk->il", a, a), (rng.normal(size=(2, 3, 4)),)),
    "functions": (
        lambda x: [f(x) for f in (jnp.expm1, jnp.log1p, jnp.arctan, jnp.sinh, jnp.cosh, lax.erf, lax.erfc, jnp.cbrt)],
        (np.abs(V) / 3,),
    ),
    "powers": (lambda x: (x**3, x**-2, x**0.5, lax.rsqrt(x), lax.integer_pow(x, 4), 2.0**x), (np.abs(V) + 0.1,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_answers_what_jax_answers(name: str):
    fun, args = PROGRAMS[name]
    with jax.enable_x64(True):
        program = jax.make_jaxpr(fun)(*args)
        expected = jax.tree.leaves(jax.jit(fun)(*args))
    for mine, true in zip(in_many_digits(program, args, 40), expected, strict=True):
        assert np.shape(mine) == true.shape
        np.testing.assert_allclose(np.asarray(mine).astype(float), np.asarray(true, float), rtol=1e-11, atol=1e-13)


def test_many_digits_see_what_float64_cannot():
    """log(1 + e^x) at 1000 overflows in float64; its derivative there is 1."""
    derivative = jax.grad(lambda x: jnp.log(1 + jnp.exp(x)))
    with jax.enable_x64(True):
        program = jax.make_jaxpr(derivative)(1000.0)
        assert not np.isfinite(derivative(1000.0))
    assert float(in_many_digits(program, [1000.0], 60)[0][()]) == 1.0


@pytest.mark.parametrize(
    ("fun", "name"),
    [
        (lambda x: lax.reduce_precision(x, 8, 7), "reduce_precision"),
        (lambda x: jnp.convolve(x, x), "conv_general_dilated"),
        (lambda x: jnp.exp(1j * x), "complex numbers"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(fun: Callable[..., Any], name: str):
    with jax.enable_x64(True):
        program = jax.make_jaxpr(fun)(V)
    with pytest.raises(NotImplementedInManyDigits, match=name):
        in_many_digits(program, [V], 40)
