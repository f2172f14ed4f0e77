"""The gates that route: who receives the gradient, at ties and bounds too."""

import jax
import jax.numpy as jnp
import pytest

from jaxbackprop import gates
from jaxbackprop.gates import add, clip, copy, mul, where


def test_a_router_feeds_the_winner_only():
    """2 (x y + max(z, w)) at 3, -4, 2, -1: the second circuit of CS231n; its numbers."""

    def circuit(x, y, z, w):
        return mul(jnp.asarray(2.0), add(mul(x, y), gates.max(z, w)))

    f, pull = jax.vjp(circuit, 3.0, -4.0, 2.0, -1.0)
    assert f == -20
    assert pull(1.0) == (-8, 6, 2, 0)


def test_the_larger_input_receives_everything():
    """max(4, 2): CS231n gives 1 and 0."""
    assert jax.vjp(gates.max, 4.0, 2.0)[1](1.0) == (1, 0)
    assert jax.vjp(gates.min, 4.0, 2.0)[1](1.0) == (0, 1)


@pytest.mark.parametrize("rule", [gates.max, gates.min], ids=lambda rule: rule.name)
def test_a_tie_is_split_evenly_as_jax_numpy_does(rule):
    """Both the whole would be twice the derivative along x = y, which is 1."""
    x, y = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 3.0, 2.0])
    upstream = jnp.array([6.0, 5.0, 7.0])
    dx, dy = jax.vjp(rule, x, y)[1](upstream)
    assert (dx[0], dy[0]) == (3, 3)
    peer = jax.vjp({"max": jnp.maximum, "min": jnp.minimum}[rule.name], x, y)[1](upstream)
    assert [dx.tolist(), dy.tolist()] == [g.tolist() for g in peer]


def test_a_loser_receives_nothing_even_of_infinity():
    """A local derivative of 0 times an infinite upstream gradient would be NaN."""
    infinity = jnp.float32(jnp.inf)
    assert jax.vjp(gates.max, 4.0, 2.0)[1](infinity) == (infinity, 0)
    assert jax.vjp(where, True, 4.0, 2.0)[1](infinity)[1:] == (infinity, 0)


def test_gradients_add_up_at_a_fork():
    """x enters three gates with slopes 2, 3 and 5."""

    def circuit(x):
        first, second, third = copy(x, times=3)
        return 2 * first + 3 * second + 5 * third

    assert jax.grad(circuit)(7.0) == 10


def test_a_fork_adds_in_float32():
    """300 branches with a gradient of 1 in bfloat16, where 256 + 1 is 256."""
    x = jnp.ones((), jnp.bfloat16)
    assert jax.vjp(lambda x: copy(x, times=300), x)[1]((x,) * 300)[0] == 300


def test_a_fork_without_branches_is_refused():
    with pytest.raises(ValueError, match="times is 0"):
        copy(jnp.ones(()), times=0)


def test_the_absolute_value_at_zero_answers_zero():
    x, upstream = jnp.array([-2.0, 0.0, 3.0]), jnp.array([5.0, 6.0, 7.0])
    assert jax.vjp(gates.abs, x)[1](upstream)[0].tolist() == [-5, 0, 7]


def test_a_nan_that_is_not_chosen_touches_nothing():
    x, y = jnp.array([1.0, jnp.nan]), jnp.array([jnp.inf, 2.0])
    f, pull = jax.vjp(lambda x, y: where(jnp.array([True, False]), x, y), x, y)
    assert f.tolist() == [1, 2]
    assert [g.tolist() for g in pull(jnp.array([3.0, 4.0]))] == [[3, 0], [0, 4]]


def test_clip_feeds_whichever_of_its_three_inputs_is_the_value():
    x = jnp.array([-5.0, -1.0, 0.5, 1.0, 4.0])
    f, pull = jax.vjp(clip, x, -1.0, 1.0)
    assert f.tolist() == [-1, -1, 0.5, 1, 1]
    dx, dlow, dhigh = pull(jnp.array([2.0, 3.0, 5.0, 7.0, 11.0]))
    assert dx.tolist() == [0, 3, 5, 7, 0]  # at a bound all of it goes to x
    assert (dlow, dhigh) == (2, 11)


def test_clip_answers_the_upper_bound_where_the_bounds_cross():
    """As numpy.clip does; then the upper bound receives the gradient, whatever x is."""
    x = jnp.array([-1.0, 2.0, 9.0])
    f, pull = jax.vjp(clip, x, 5.0, 3.0)
    assert f.tolist() == [3, 3, 3]
    dx, dlow, dhigh = pull(jnp.ones(3))
    assert (dx.tolist(), dlow, dhigh) == ([0, 0, 0], 0, 3)


def test_what_a_router_remembers_is_one_byte_a_number():
    for rule, args in ((gates.abs, 1), (gates.max, 2), (gates.min, 2), (clip, 3)):
        _, saved = rule.forward(*[jnp.ones(10)] * args)
        assert saved.nbytes == 10
