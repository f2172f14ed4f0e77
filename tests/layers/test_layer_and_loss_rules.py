"""Every rule of layers/ and losses/ beside autodiff of its own forward pass: a second opinion, without the verifier."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop import layers, losses
from jaxbackprop.examples import Example, examples
from jaxbackprop.rule import Rule

RULES = [made for folder in (layers, losses) for made in vars(folder).values() if isinstance(made, Rule)]
CASES = [pytest.param(made, e, id=f"{made.name}: {e.label}") for made in RULES for e in examples(made)]
PLAIN = [pytest.param(made, examples(made)[0], id=made.name) for made in RULES]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def positions(rule: Rule, args: tuple) -> list[int]:
    """Which arguments get a gradient."""

    def floating(x):
        return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(x))

    return [i for i, p in enumerate(rule.signature.parameters) if p.differentiable and floating(args[i])]


def upstream_for(function, args: tuple, seed: int = 0):
    """A random upstream gradient for the value of `function(*args)`."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(function, *args)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), shapes)


def pulling(function, at: list[int]):
    """(args, upstream) -> the value, and what the backward pass answers for the arguments `at`."""

    def of_args_and_upstream(args: tuple, upstream):
        def of(*chosen):
            filled = list(args)
            for i, x in zip(at, chosen, strict=True):
                filled[i] = x
            return function(*filled)

        value, pull = jax.vjp(of, *(args[i] for i in at))
        return value, pull(upstream)

    return of_args_and_upstream


def assert_same(found, expected) -> None:
    """Equal up to a thousand roundings of the largest number; numbers of order 1 went in and may have cancelled."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    leaves = jax.tree.leaves(expected)
    largest = max([1.0, *(float(np.max(np.abs(leaf), initial=0)) for leaf in leaves)])
    for a, b in zip(jax.tree.leaves(found), leaves, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.all(np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e3 * np.finfo(b.dtype).eps * largest)


@pytest.mark.parametrize(("made", "example"), CASES)
def test_value_and_gradients_are_those_of_autodiff(made: Rule, example: Example):
    args = example.cast(jnp.float64)
    at = positions(made, args)
    by_hand, plain = partial(made, **example.settings), partial(made.primal, **example.settings)
    both = jax.jit(lambda *given: (pulling(by_hand, at)(*given), pulling(plain, at)(*given)))
    assert_same(*both(args, upstream_for(plain, args)))


@pytest.mark.parametrize(("made", "example"), PLAIN)
def test_the_backward_pass_has_the_backward_pass_of_autodiff(made: Rule, example: Example):
    args = example.cast(jnp.float64)
    at = positions(made, args)
    upstream = upstream_for(made, args)

    def gradients_by(function):
        return lambda *args: pulling(partial(function, **example.settings), at)(args, upstream)

    again = upstream_for(gradients_by(made), args, seed=1)
    by_hand, plain = (jax.jit(pulling(gradients_by(function), at))(args, again) for function in (made, made.primal))
    assert_same(by_hand, plain)
