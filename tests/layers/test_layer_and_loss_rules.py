"""Every rule of layers/ and losses/ beside autodiff of its own forward pass, at its examples, however it is called."""

import zlib
from functools import partial
from itertools import combinations

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


def twice(function, at: list[int], args: tuple):
    """Value, gradients, and the backward pass of the backward pass, each at a random upstream gradient."""
    upstream = upstream_for(function, args)

    def gradients(*args):
        return pulling(function, at)(args, upstream)

    return jax.jit(pulling(gradients, at))(args, upstream_for(gradients, args, seed=1))


def assert_same(found, expected) -> None:
    """Equal up to a thousand roundings of the largest number; numbers of order 1 went in and may have cancelled."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    leaves = jax.tree.leaves(expected)
    largest = max((float(np.max(np.abs(leaf), initial=0)) for leaf in leaves), default=0.0)
    largest = max(largest, 1.0)
    for a, b in zip(jax.tree.leaves(found), leaves, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.all(np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e3 * np.finfo(b.dtype).eps * largest)


@pytest.mark.parametrize(("made", "example"), CASES)
def test_value_and_gradients_are_those_of_autodiff_twice_over(made: Rule, example: Example):
    args = example.cast(jnp.float64)
    at = positions(made, args)
    by_hand, plain = partial(made, **example.settings), partial(made.primal, **example.settings)
    assert_same(twice(by_hand, at, args), twice(plain, at, args))


@pytest.mark.parametrize(("made", "example"), PLAIN)
def test_jit_and_checkpoint_and_scan_change_nothing(made: Rule, example: Example):
    args = example.cast(jnp.float64)
    at = positions(made, args)
    by_hand = partial(made, **example.settings)
    upstream = upstream_for(by_hand, args)
    expected = pulling(by_hand, at)(args, upstream)

    def in_a_scan(*args):
        def step(carry, _):
            return jax.tree.map(jnp.add, carry, by_hand(*args)), None

        zero = jax.tree.map(jnp.zeros_like, upstream)
        return jax.lax.scan(step, zero, None, length=3)[0]

    assert_same(jax.jit(pulling(by_hand, at))(args, upstream), expected)
    assert_same(jax.jit(pulling(jax.jit(by_hand), at))(args, upstream), expected)
    assert_same(jax.jit(pulling(jax.checkpoint(by_hand), at))(args, upstream), expected)
    assert_same(jax.jit(pulling(in_a_scan, at))(args, upstream), jax.tree.map(lambda x: 3 * x, expected))


def _subsets(n: int) -> list[tuple[int, ...]]:
    """Each subset of n arguments but the empty one; of more than three only the smallest and the largest."""
    return [s for size in range(1, n + 1) if n <= 3 or size in (1, n - 1, n) for s in combinations(range(n), size)]


@pytest.mark.parametrize(("made", "example"), PLAIN)
def test_vmap_over_any_arguments_is_a_loop(made: Rule, example: Example):
    """Three copies of some arguments, each with its own values; the gradient of what is shared adds up."""
    args = example.cast(jnp.float64)
    present = [i for i, x in enumerate(args) if x is not None]
    at = positions(made, args)
    rng = np.random.default_rng(zlib.crc32(made.name.encode()))
    by_hand = partial(made, **example.settings)
    alone = jax.jit(pulling(by_hand, at))
    for subset in _subsets(len(present)):
        mapped = [present[i] for i in subset]
        stacked = tuple(_three(x, rng) if i in mapped else x for i, x in enumerate(args))
        together = jax.vmap(by_hand, tuple(0 if i in mapped else None for i in range(len(args))))
        upstream = upstream_for(together, stacked)
        value, gradients = jax.jit(pulling(together, at))(stacked, upstream)
        each = [tuple(_nth(x, k) if i in mapped else x for i, x in enumerate(stacked)) for k in range(3)]
        found = [alone(args, _nth(upstream, k)) for k, args in enumerate(each)]
        expected = [_stack([g[j] for _, g in found]) for j in range(len(at))]
        expected = [
            x if i in mapped else jax.tree.map(lambda y: y.sum(0), x) for i, x in zip(at, expected, strict=True)
        ]
        assert_same((value, list(gradients)), (_stack([v for v, _ in found]), expected))


def _three(tree, rng):
    """Three copies, floating-point ones scaled, integers moved up and down the first axis, keys new."""

    def of(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.split(x, 3)
        if jnp.issubdtype(x.dtype, jnp.floating):
            return x * rng.uniform(0.8, 1.2, (3, *x.shape))
        return jnp.stack([x, x, x])

    return jax.tree.map(of, tree)


def _nth(tree, k: int):
    return jax.tree.map(lambda x: x[k], tree)


def _stack(trees: list):
    return jax.tree.map(lambda *xs: jnp.stack(xs), *trees)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(("made", "example"), PLAIN)
def test_low_precision_is_as_near_to_float64_as_its_inputs_allow(made: Rule, example: Example, dtype):
    """The unit: one rounding of the result, and what one rounding of each input and of upstream does to it."""
    args = example.cast(dtype)
    at = positions(made, args)
    by_hand = partial(made, **example.settings)
    pull = jax.jit(pulling(by_hand, at))
    upstream = upstream_for(by_hand, args)
    found = jax.tree.leaves(pull(args, upstream))
    exact, arriving = _exact((args, upstream))
    reference = jax.tree.leaves(pull(exact, arriving))
    unit = float(jnp.finfo(dtype).eps) / 2
    rng = np.random.default_rng(0)
    spread = [np.zeros(x.shape) for x in reference]
    for _ in range(8):
        near = jax.tree.leaves(pull(*_jittered((exact, arriving), unit, rng)))
        spread = [np.maximum(s, np.abs(n - r)) for s, n, r in zip(spread, near, reference, strict=True)]
    for a, r, s in zip(found, reference, spread, strict=True):
        resolution = unit * np.abs(r) + s + unit * np.sqrt(np.mean(np.square(r)))
        assert np.all(np.abs(np.asarray(a, np.float64) - r) <= 32 * resolution)


def _exact(tree):
    """The same numbers in float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def _jittered(tree, unit: float, rng):
    def of(x):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        return x * (1 + unit * rng.choice([-1.0, 1.0], x.shape))

    return jax.tree.map(of, tree)
