"""Recurrent layers: published cells, flax's cells, and one weight product for all of time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

from jaxbackprop.layers import gru, lstm, rnn

# CS224n 2017, assignment 3: the example of the recurrent and of the gated cell.
X: Any = np.array([[[0.4, 0.5, 0.6], [0.3, -0.2, -0.1]]])
STATE: Any = np.array([[0.2, 0.5], [-0.3, -0.3]])


def test_the_cell_of_cs224n():
    found = rnn(X, STATE, jnp.eye(3, 2), jnp.eye(2), jnp.ones(2), unit="sigmoid")
    np.testing.assert_allclose(found[0], [[0.832, 0.881], [0.731, 0.622]], atol=1e-3)


def test_the_gated_cell_of_cs224n():
    """At the identity it is one whether the reset gate stands before the product, as there, or behind it."""
    W, U = jnp.tile(jnp.eye(3, 2), 3), jnp.tile(jnp.eye(2), 3)
    np.testing.assert_allclose(gru(X, STATE, W, U, jnp.ones(6))[0], [[0.320, 0.555], [-0.006, 0.020]], atol=1e-3)


def drawn(parts: int, steps: int = 5, batch: int = 4, features: int = 3, hidden: int = 6, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    shapes = (steps, batch, features), (batch, hidden), (features, parts * hidden), (hidden, parts * hidden)
    return [jnp.asarray(rng.normal(size=s), jnp.float32) for s in (*shapes, (parts * hidden,))]


def split_dense(names: str, W, U, b):
    """Flax's parameters: one matrix a gate for the input (no bias) and one for the state (with bias)."""
    parts = zip(names, np.split(W, len(names), 1), np.split(U, len(names), 1), np.split(b, len(names)), strict=True)
    return {
        k: v for n, w, u, c in parts for k, v in {f"i{n}": {"kernel": w}, f"h{n}": {"kernel": u, "bias": c}}.items()
    }


def test_lstm_and_its_gradients_are_those_of_flaxs_cell():
    x, h, W, U, b = drawn(4)
    c = h[::-1] * 0.5

    def flax(x, h, c, W, U, b):
        cell, parameters = linen.LSTMCell(6), {"params": split_dense("ifgo", W, U, b)}
        states = []
        for x_t in x:
            (c, h), _ = cell.apply(parameters, (c, h), x_t)
            states.append(h)
        return jnp.stack(states), c

    assert_same_passes(lstm, flax, x, h, c, W, U, b)


def test_gru_and_its_gradients_are_those_of_flaxs_cell():
    """Flax's cell has its biases at the input, and one more, zero here, inside the reset gate."""
    x, h, W, U, b = drawn(3)

    def flax(x, h, W, U, b):
        names = "rzn"
        parts = zip(names, jnp.split(W, 3, 1), jnp.split(U, 3, 1), jnp.split(b, 3), strict=True)
        made: dict = {}
        for n, w, u, c in parts:
            made |= {f"i{n}": {"kernel": w, "bias": c}, f"h{n}": {"kernel": u}}
        made["hn"]["bias"] = jnp.zeros(6)
        states = []
        for x_t in x:
            h, _ = linen.GRUCell(6).apply({"params": made}, h, x_t)
            states.append(h)
        return jnp.stack(states)

    assert_same_passes(gru, flax, x, h, W, U, b)


def assert_same_passes(made, other, *args):
    """In float64, at a random upstream gradient."""
    with jax.enable_x64(True):
        args = [jnp.asarray(a, jnp.float64) for a in args]
        value, pull = jax.vjp(jax.jit(made), *args)
        expected, pull_other = jax.vjp(jax.jit(other), *args)
        rng = np.random.default_rng(9)
        upstream = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), expected)
        pairs = zip(jax.tree.leaves((value, pull(upstream))), jax.tree.leaves((expected, pull_other(upstream))))
        for one, two in pairs:
            np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)


def test_an_open_cell_carries_its_value_and_its_gradient_through_all_of_time():
    """The forget gate at 1, the input gate at 0: c_T = c_0 and dc_0 = upstream, over 200 steps."""
    x, h, c = jnp.ones((200, 1, 1)), jnp.zeros((1, 2)), jnp.array([[0.3, -0.7]])
    b = jnp.repeat(jnp.array([-100.0, 100.0, 0.0, 0.0]), 2)

    def last_cell(c):
        return lstm(x, h, c, jnp.zeros((1, 8)), jnp.zeros((2, 8)), b)[1]

    last, pull = jax.vjp(jax.jit(last_cell), c)
    assert last.tolist() == c.tolist()
    assert pull(jnp.array([[2.0, 5.0]]))[0].tolist() == [[2.0, 5.0]]


def products_in_loops(jaxpr, inside: bool = False) -> int:
    """How many matrix products stand inside the loops of a jaxpr."""
    count = 0
    for eqn in jaxpr.eqns:
        count += inside and eqn.primitive.name == "dot_general"
        for p in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(p, "jaxpr", p)
            if hasattr(inner, "eqns"):
                count += products_in_loops(inner, inside or eqn.primitive.name == "scan")
    return count


@pytest.mark.parametrize(("made", "parts"), [(rnn, 1), (lstm, 4), (gru, 3)])
def test_the_backward_loop_holds_one_product_where_autodiffs_holds_two(made, parts):
    """One forward, one backward: the delta through U. Autodiff adds the weight gradient at every step."""
    x, h, W, U, b = drawn(parts)
    args = (x, h, h, W, U, b) if made is lstm else (x, h, W, U, b)

    def passes(function):
        def both(*args):
            value, pull = jax.vjp(function, *args)
            return pull(value)

        return products_in_loops(jax.make_jaxpr(both)(*args).jaxpr)

    assert (passes(made), passes(made.primal)) == (2, 3)


@pytest.mark.parametrize(("made", "parts"), [(rnn, 1), (gru, 3)])
def test_no_steps_and_no_examples_are_taken(made, parts):
    x, h, W, U, b = drawn(parts)
    assert made(x[:0], h, W, U, b).shape == (0, 4, 6)
    dh, dU = jax.grad(lambda h, U: made(x[:0], h, W, U, b).sum(), (0, 1))(h, U)
    assert not dh.any()
    assert not dU.any()
    assert made(x[:, :0], h[:0], W, U, b).shape == (5, 0, 6)


def test_half_precision_states_stay_half_and_near_the_exact_ones():
    x, h, W, U, b = drawn(4, steps=20)
    args = x, h, h, W * 0.3, U * 0.3, b
    exact, _ = lstm(*args)
    half, cell = lstm(*(a.astype(jnp.bfloat16) for a in args))
    assert (half.dtype, cell.dtype) == (jnp.bfloat16, jnp.bfloat16)
    # Each of 20 states is rounded to 2^-9, and a contracting cell forgets what came before.
    assert float(jnp.abs(half.astype(jnp.float32) - exact).max()) < 20 * 2**-9


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="rnn: unit is 'relu'; it is one of sigmoid, tanh"):
        rnn(*drawn(1), unit="relu")
