"""What functions hold tells them apart, and what is traced among it becomes arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxbackprop.jaxprs.closures import fingerprint, holds_tracer, linearized_earlier, with_closed_over

X = jnp.array([0.3, 1.2, -0.7])


def scaled_by(factor):
    return lambda x: factor * x


def applied(function):
    return lambda x: function(x)


def test_functions_of_one_line_are_told_apart_by_numbers_and_functions_and_not_by_arrays():
    assert fingerprint(scaled_by(2.0)) == fingerprint(scaled_by(2.0))
    assert fingerprint(scaled_by(2.0)) != fingerprint(scaled_by(2.1))
    assert fingerprint(scaled_by(np.float32(2))) != fingerprint(scaled_by(np.float32(3)))
    assert fingerprint(scaled_by(X)) == fingerprint(scaled_by(2 * X))
    assert fingerprint(applied(jnp.sin)) != fingerprint(applied(jnp.cos))
    assert fingerprint(applied(scaled_by(1))) != fingerprint(applied(scaled_by(2)))
    assert fingerprint(functools.partial(jnp.sum, axis=0)) != fingerprint(functools.partial(jnp.sum, axis=1))
    assert fingerprint(applied(jax.jit(scaled_by(1)))) != fingerprint(applied(jax.jit(scaled_by(2))))


def test_a_function_that_holds_itself_has_a_fingerprint():
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    def other(n):
        return n * other(n - 1) if n else 1

    assert fingerprint(factorial) == fingerprint(factorial)
    assert fingerprint(factorial) != fingerprint(other)


class Held:
    def __init__(self, value):
        self.value = {"inside": [value]}

    def method(self, x):
        return self.value["inside"][0] * x


def test_traced_values_are_found_in_closures_objects_and_containers():
    found = []

    def look(c):
        function = scaled_by(c)
        found.extend(map(holds_tracer, (function, Held(c).method, functools.partial(function, c), scaled_by(X))))
        return c

    jax.make_jaxpr(look)(1.0)
    assert found == [True, True, True, False]


def test_a_rule_that_closes_over_traced_values_is_one_that_takes_them():
    """The backward pass alone closes over one of them; the derivative is wrong on purpose: another factor."""
    kept = []

    def program(x, c, d):
        plain = lambda x, n: (c * jnp.sin(x), n)  # noqa: E731
        rule = jax.custom_vjp(plain)
        rule.defvjp(lambda x, n: (plain(x, n), x), lambda x, u: (d * u[0] * jnp.cos(x), None))
        bind, values = with_closed_over(rule, plain, (x, 3))
        kept.append(bind)
        return values

    values = jax.jit(program)(X, 2.0, 5.0)
    assert sorted(map(float, values)) == [2.0, 5.0]
    for factor in (1, 10):
        rule, plain = kept[0]([factor * v for v in values])
        np.testing.assert_allclose(plain(X, 3)[0], factor * 2 * jnp.sin(X), rtol=1e-6)
        np.testing.assert_allclose(rule(X, 3)[0], plain(X, 3)[0], rtol=1e-6)
        gradient = jax.jit(jax.grad(lambda x, rule=rule: rule(x, 3)[0].sum()))(X)
        np.testing.assert_allclose(gradient, factor * 5 * jnp.cos(X), rtol=1e-6)


GLOBAL_PULL = jax.vjp(jnp.sin, X)[1]


def test_what_was_linearized_earlier_is_found_where_a_function_holds_it():
    def sine(x):
        return jnp.sin(x)

    pull, pushforward = jax.vjp(sine, X)[1], jax.linearize(sine, X)[1]
    for function, args in ((lambda u: pull(u), ()), (lambda f: f(X), (pushforward,)), (Held(pull).method, ())):
        assert [name for name, _ in linearized_earlier(function, args)] == ["sine"]
    assert len(linearized_earlier(lambda u: GLOBAL_PULL(u), ())) == 1
    assert linearized_earlier(lambda x: jax.vjp(sine, x)[1](x), (X,)) == []
