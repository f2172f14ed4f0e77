"""`forward_mode`: the hand-derived rule under forward differentiation, against autodiff of its plain function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from planted.formulas import by_hand

from jaxbackprop import forward_mode
from jaxbackprop.gates.sigmoid_like import tanh
from jaxbackprop.layers.affine import affine
from jaxbackprop.losses.cross_entropy import softmax_cross_entropy

x, v = jnp.array([0.3, -0.5, 1.2]), jnp.array([1.0, 2.0, 3.0])


def looped(f: Callable) -> Callable:
    return lambda x: lax.scan(lambda c, _: (f(c), None), x, None, length=3)[0]


TRANSFORMED: dict[str, Callable[[Callable], object]] = {
    "jvp": lambda f: jax.jvp(f, (x,), (v,)),
    "jitted jvp": lambda f: jax.jit(lambda x, v: jax.jvp(f, (x,), (v,)))(x, v),
    "linearize": lambda f: jax.linearize(f, x)[1](v),
    "jacfwd": lambda f: jax.jacfwd(f)(x),
    "jacrev": lambda f: jax.jacrev(f)(x),
    "hessian": lambda f: jax.hessian(lambda x: f(x).sum())(x),
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f))(x),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f))(x),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f))(x),
    "vmap": lambda f: jax.vmap(jax.jacfwd(f))(jnp.stack([x, v])),
    "vmap, one tangent for all": lambda f: jax.jit(jax.vmap(lambda a: jax.jvp(f, (a,), (2.0,))))(x),
    "scan": lambda f: jax.jacfwd(looped(f))(x),
    "reversed scan": lambda f: jax.grad(lambda x: looped(f)(x).sum())(x),
    "checkpoint": lambda f: jax.jacrev(jax.checkpoint(f))(x),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_it_agrees_with_autodiff_under(name: str):
    found, true = (jax.tree.leaves(TRANSFORMED[name](f)) for f in (forward_mode(tanh), jnp.tanh))
    for a, b in zip(found, true, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_several_arguments_have_their_own_jacobians():
    X, W, b = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(5, 3), (3, 4), (4,)]))
    found, true = (jax.jacfwd(f, (0, 1, 2))(X, W, b) for f in (forward_mode(affine), affine.primal))
    for one, other in zip(found, true, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_integer_arguments_are_held_fixed():
    scores, labels = jax.random.normal(jax.random.key(0), (5, 4)), jnp.array([0, 1, 2, 3, 0])
    found, true = (
        jax.hessian(lambda z, f=f: f(z, labels).sum())(scores)
        for f in (forward_mode(softmax_cross_entropy), softmax_cross_entropy.primal)
    )
    np.testing.assert_allclose(found, true, rtol=1e-4, atol=1e-6)


def test_reverse_mode_runs_the_backward_pass_as_it_was_written():
    """A backward pass that answers three times the truth shows itself in both modes."""
    triple = forward_mode(by_hand(jnp.sin, lambda s, u: (3 * u * jnp.cos(s[0]),)))
    np.testing.assert_allclose(jax.grad(lambda x: triple(x).sum())(x), 3 * jnp.cos(x), rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(triple, (x,), (v,))[1], 3 * v * jnp.cos(x), rtol=1e-6)


def test_a_custom_vjp_alone_has_no_forward_mode():
    sine = by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(sine, (x,), (v,))
    np.testing.assert_allclose(jax.jvp(forward_mode(sine), (x,), (v,))[1], v * jnp.cos(x), rtol=1e-6)


@jax.custom_vjp
def sine_times(x, y):
    """The example of JAX's documentation, whose forward pass calls the function itself."""
    return jnp.sin(x) * y


sine_times.defvjp(
    lambda x, y: (sine_times(x, y), (jnp.cos(x), jnp.sin(x), y)),
    lambda saved, u: (saved[0] * u * saved[2], saved[1] * u),
)


@jax.custom_vjp
def squashed(x):
    """What it saves is its own value."""
    return jnp.tanh(x)


squashed.defvjp(lambda x: (squashed(x),) * 2, lambda y, u: (u * (1 - y * y),))


def in_while(f: Callable) -> Callable:
    return lambda x: lax.fori_loop(0, 3, lambda _, c: f(c), x)


ORDERS: dict[str, Callable[[Callable], Callable]] = {
    "hessian": jax.hessian,
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "third derivative": lambda f: jax.grad(jax.hessian(f)),
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_forward_pass_that_calls_its_own_function_is_differentiated_again(order: str):
    for rule, plain in ((squashed, jnp.tanh), (lambda x: sine_times(x, x), lambda x: jnp.sin(x) * x)):
        actual, expected = (ORDERS[order](f)(0.3) for f in (forward_mode(rule), plain))
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_so_it_is_under_scan_while_jit_and_vmap():
    for around in (looped, in_while, jax.jit):
        actual, expected = (jax.vmap(jax.jacfwd(jax.jacfwd(around(f))))(x) for f in (forward_mode(squashed), jnp.tanh))
        np.testing.assert_allclose(actual, expected, rtol=1e-4)
