"""Questions about a jaxpr, on programs whose answers are known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.compat import RULES
from jaxbackprop.jaxprs.queries import (
    equations,
    equations_inside,
    holds,
    inexact_constants,
    only_forgets_weak_type,
    reach,
    saved_bytes,
)

X = jnp.ones(3)


def reached(function, *args):
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return reach(jaxpr, [frozenset([i]) for i in range(len(jaxpr.invars))])


@pytest.mark.parametrize("call", [jax.jit, jax.checkpoint, lambda f: f], ids=["jit", "checkpoint", "inline"])
def test_an_output_depends_on_the_inputs_it_is_computed_from(call):
    assert reached(call(lambda x, y, z: (x + 1, y * z, jnp.sum(jax.nn.relu(z)))), 1.0, 2.0, 3.0) == [{0}, {1, 2}, {2}]


def test_the_outputs_of_a_loop_count_as_depending_on_nothing():
    assert reached(lambda x, y: lax.fori_loop(0, 3, lambda _, c: (c[0] * 2, c[1] + c[0]), (x, y)), 1.0, 2.0) == [
        set(),
        set(),
    ]


def test_a_primitive_is_found_at_any_depth():
    program = jax.make_jaxpr(lambda x: lax.scan(lambda c, r: (jax.jit(jnp.tanh)(c), r), x, None, length=2)[0])(1.0)
    assert holds(program.jaxpr, "tanh")
    assert not holds(program.jaxpr, "sin")


def test_constants_that_a_narrow_type_does_not_hold_are_counted_once_each():
    program = jax.make_jaxpr(lambda x: (x * 0.1 + 0.5) * 0.1 + 0.3)(1.0)
    assert inexact_constants(program.jaxpr, jnp.bfloat16) == 2


@jax.custom_vjp
def pair(x):
    return x * 2, x * 3


pair.defvjp(lambda x: (pair(x), None), lambda _, u: (2 * u[0] + 3 * u[1],))


def test_equations_of_a_primitive_are_listed_once_wherever_they_stand():
    @jax.jit
    def used_twice(x):
        return pair(x)[0]

    program = jax.make_jaxpr(lambda x: used_twice(used_twice(x)) + jax.vmap(jax.nn.relu)(x))(X).jaxpr
    assert [e.primitive.name for e in equations(program, RULES)] == ["custom_vjp_call", "custom_jvp_call"]
    assert len(equations(program, ("mul",))) == 2
    (loop,) = (e for e in jax.make_jaxpr(lambda x: lax.scan(lambda c, r: (c, pair(r)), 0.0, x))(X).jaxpr.eqns)
    assert [e.primitive.name for e in equations_inside(loop)].count("mul") == 2


def test_what_a_program_hands_out_is_counted_in_bytes_its_own_inputs_left_out():
    """sin(x) keeps cos(x), a float32 for each number; x itself is not counted, nor is an array handed out twice."""

    def kept(x):
        y = jnp.cos(x)
        return x, y, y, jnp.int8(1)

    assert saved_bytes(jax.make_jaxpr(kept)(X)) == X.size * np.dtype(np.float32).itemsize


def test_forgetting_that_a_type_was_weak_is_told_from_a_conversion():
    eqns = jax.make_jaxpr(lambda x: lax.convert_element_type(x, np.float32))(1.0).jaxpr.eqns
    assert [only_forgets_weak_type(e) for e in eqns] == [True]
    eqns = jax.make_jaxpr(lambda x: x.astype(jnp.bfloat16))(X).jaxpr.eqns
    assert [only_forgets_weak_type(e) for e in eqns] == [False]
