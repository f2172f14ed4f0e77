"""Every kind of rule is found and replaced by its plain function, wherever it stands; the rest is differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbackprop.jaxprs.compat import CUSTOM_VJP
from jaxbackprop.jaxprs.rules import (
    HANDWRITTEN_BACKWARD,
    cannot_be_stripped,
    evaluate_stripped,
    holds_rule,
    holds_rule_inside,
    strip_equation,
)

X = jnp.array([0.3, 1.2, -0.7])


@jax.custom_vjp
def wrong_sine(x):
    return jnp.sin(x)


wrong_sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (7 * u * jnp.cos(x),))


@jax.custom_jvp
def wrong_square(x):
    return x * x


wrong_square.defjvp(lambda p, t: (wrong_square(*p), 5 * t[0]))


def in_a_solve(x):
    return lax.custom_linear_solve(
        lambda v: 2 * v, x, lambda matvec, b: wrong_sine(b) / 2, lambda matvec, b: b / 2, symmetric=True
    )


PLACES = {
    "alone": lambda f, x: f(x),
    "jitted": lambda f, x: jax.jit(f)(x),
    "jitted twice": lambda f, x: jax.jit(lambda y: jax.jit(f)(y) + f(y))(x),
    "checkpointed": lambda f, x: jax.checkpoint(f)(x),
    "mapped": lambda f, x: jax.vmap(f)(x),
    "scanned": lambda f, x: lax.scan(lambda c, row: (c + f(row), f(c)), 0.0, x)[0],
    "scanned backward": lambda f, x: lax.scan(lambda c, row: (c + f(row), c), 0.0, x, reverse=True)[1],
    "branched": lambda f, x: lax.cond(x[0] > 0, f, lambda y: y * 2, x),
    "in a custom_jvp": lambda f, x: _holding(f)(x),
}


def _holding(f):
    outer = jax.custom_jvp(lambda x: f(x) + 1)
    outer.defjvp(lambda p, t: (outer(*p), 3 * t[0]))
    return outer


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("rule", "plain"), [(wrong_sine, jnp.sin), (wrong_square, lambda x: x * x)])
def test_a_stripped_program_has_the_derivative_of_the_plain_one(place, rule, plain):
    """The rules' own derivatives are wrong on purpose."""

    def total(f):
        return lambda x: jnp.sum(PLACES[place](f, x))

    program = jax.make_jaxpr(total(rule))(X)

    def stripped(x):
        return evaluate_stripped(program.jaxpr, program.consts, [x])[0]

    expected = total(plain) if place != "in a custom_jvp" else lambda x: jnp.sum(plain(x) + 1)
    value, gradient = jax.value_and_grad(stripped)(X)
    np.testing.assert_allclose(value, total(rule)(X), rtol=1e-6)
    np.testing.assert_allclose(gradient, jax.grad(expected)(X), rtol=1e-5)
    assert not holds_rule(jax.make_jaxpr(stripped)(X).jaxpr)


def test_one_kind_of_rule_is_stripped_and_the_other_kept():
    """Without hand-written backward passes, JAX's own forward rules are still part of what autodiff is."""
    program = jax.make_jaxpr(lambda x: wrong_sine(wrong_square(x)))(1.0)

    def without_backward(x):
        return evaluate_stripped(program.jaxpr, program.consts, [x], HANDWRITTEN_BACKWARD)[0]

    np.testing.assert_allclose(jax.grad(without_backward)(1.0), 5 * np.cos(1.0), rtol=1e-6)
    assert holds_rule(jax.make_jaxpr(without_backward)(1.0).jaxpr)
    assert not holds_rule(jax.make_jaxpr(without_backward)(1.0).jaxpr, CUSTOM_VJP)


def test_an_equation_that_can_only_be_bound_whole_is_traced_again_without_its_rules():
    (eqn,) = (e for e in jax.make_jaxpr(in_a_solve)(X).jaxpr.eqns if e.primitive.name == "custom_linear_solve")
    assert holds_rule_inside(eqn)
    program = jax.make_jaxpr(lambda x: strip_equation(eqn, [x]))(X)
    assert not holds_rule(program.jaxpr)
    np.testing.assert_allclose(strip_equation(eqn, [X])[0], in_a_solve(X), rtol=1e-6)
    assert cannot_be_stripped(eqn)


@pytest.mark.parametrize("place", ["jitted", "checkpointed", "scanned", "branched"])
def test_what_holds_a_rule_where_autodiff_reaches_can_be_stripped(place):
    eqns = jax.make_jaxpr(lambda x: PLACES[place](wrong_sine, x))(X).jaxpr.eqns
    (eqn,) = (e for e in eqns if holds_rule_inside(e))
    assert not cannot_be_stripped(eqn)


def test_a_rule_in_a_while_loop_cannot_be_stripped():
    def loop(x):
        return lax.while_loop(lambda c: jnp.sum(c) < 3, lambda c: wrong_sine(c) + 2, x)

    assert [cannot_be_stripped(e) for e in jax.make_jaxpr(loop)(X).jaxpr.eqns] == [True]
