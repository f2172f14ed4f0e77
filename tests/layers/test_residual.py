"""The residual block: its parts one after another, and what it keeps."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.layers import residual_block
from jaxbackprop.layers.hashed_dropout import alive

KEY = jax.random.key(3)


def keyed(args) -> Any:
    """The arguments, and the key behind them."""
    return (*args, KEY)


def drawn(layers: int | None = None, D: int = 4, H: int = 6) -> Any:
    rng = np.random.default_rng(0)
    shapes = [(D,), (D,), (D, H), (H,), (H, D), (D,)]
    lead = () if layers is None else (layers,)
    return rng.normal(size=(3, D)), *(rng.normal(size=lead + s) for s in shapes)


def plain(x, scale, shift, W1, b1, W2, b2, *, unit, rate, eps=1e-5):
    """The block as one would write it, for autodiff."""
    n = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + eps) * scale + shift
    h = getattr(jax.nn, unit)(n @ W1 + b1)
    h = h * alive(KEY, h.shape, rate) / (1 - rate)
    return x + h @ W2 + b2


@pytest.mark.parametrize("keep", ["z", "x"])
@pytest.mark.parametrize(("unit", "rate"), [("relu", 0.3), ("gelu", 0.1), ("tanh", 0.0)])
def test_the_block_and_its_gradients_are_those_of_its_parts(unit, rate, keep):
    with jax.enable_x64(True):
        args = [jnp.asarray(a) for a in drawn()]
        upstream = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))
        block = partial(residual_block, unit=unit, rate=rate, keep=keep)
        value, pull = jax.vjp(jax.jit(lambda *a: block(*keyed(a))), *args)
        expected, pull_plain = jax.vjp(jax.jit(partial(plain, unit=unit, rate=rate)), *args)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for one, other in zip(pull(upstream), pull_plain(upstream), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("keep", "numbers"), [("x", 3 * 4), ("z", 3 * 4 + 3 * 6)])
def test_a_scan_over_layers_stacks_only_what_is_kept(keep, numbers):
    """Five layers: x and z of each, or x alone; the parameters are arguments."""
    x, *parameters = map(jnp.float32, drawn(5))

    def stack(x, parameters):
        def step(x, p):
            return residual_block(*keyed((x, *p)), keep=keep), None

        return jax.lax.scan(step, x, parameters)[0]

    jaxpr = jax.make_jaxpr(lambda *a: jax.tree.leaves(jax.vjp(stack, *a)[1]))(x, parameters).jaxpr
    stacked = {v for v in jaxpr.outvars if v.aval.shape[:1] == (5,)} - set(jaxpr.invars)
    assert sum(v.aval.size for v in stacked) == 5 * numbers


def test_a_scan_is_the_loop_over_layers():
    x, *parameters = map(jnp.float32, drawn(3))
    keys = jax.random.split(KEY, 3)

    def step(x, of_layer: Any):
        scale, shift, W1, b1, W2, b2, key = of_layer
        return residual_block(x, scale, shift, W1, b1, W2, b2, key), None

    scanned, _ = jax.lax.scan(step, x, (*parameters, keys))
    for layer in range(3):
        x, _ = step(x, [*(p[layer] for p in parameters), keys[layer]])
    np.testing.assert_allclose(scanned, x, rtol=1e-5, atol=1e-5)


def test_with_everything_silenced_the_input_passes_unchanged_but_for_the_bias():
    x, *parameters = map(jnp.float32, drawn())
    y, pull = jax.vjp(lambda x: residual_block(*keyed((x, *parameters)), rate=1.0), x)
    np.testing.assert_allclose(y, x + parameters[-1], rtol=1e-6)
    np.testing.assert_array_equal(pull(x)[0], x)


def test_another_thing_to_keep_is_refused():
    with pytest.raises(ValueError, match="keep is 'y'; it is 'z' or 'x'"):
        residual_block(*keyed(map(jnp.float32, drawn())), keep="y")
