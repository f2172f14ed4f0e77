"""The gradient of a rule is right under vmap although an output does not depend on what is mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from jaxbackprop.core.rule import Rule, WithResiduals
from jaxbackprop.core.vmap_dependence import add_dependence, missing_dependence


def forward(x: Float[Array, ""], w: Float[Array, ""]) -> WithResiduals:
    return (x * w, w**2), (x, w)


def backward(saved, upstream):
    x, w = saved
    first, second = upstream
    return first * w, first * x + second * 2 * w


def test_an_output_independent_of_the_mapped_input_is_counted_once():
    """d/dw sum_i (x_i w + w^2) = sum x + 2 n w = 10 + 24 at x = 1..4, w = 3. A bare custom_vjp fails this."""
    rule = Rule(forward).with_backward(backward)
    xs = jnp.arange(1.0, 5.0)

    def total(w):
        a, b = jax.vmap(rule, (0, None))(xs, w)
        return a.sum() + b.sum()

    assert jax.grad(total)(3.0) == 34
    assert jax.jit(jax.grad(total))(3.0) == 34


def test_a_bare_custom_vjp_does_get_it_wrong():
    """If JAX mends this, `dependence.py` can go."""
    bare = jax.custom_vjp(lambda x, w: forward(x, w)[0])
    bare.defvjp(forward, backward)

    def total(w):
        return sum(out.sum() for out in jax.vmap(bare, (0, None))(jnp.arange(1.0, 5.0), w))

    if jax.__version_info__ < (0, 12):
        assert jax.grad(total)(3.0) != 34
    else:
        with pytest.raises(ValueError, match="under vmap"):
            jax.grad(total)(3.0)


@pytest.mark.parametrize("x", [jnp.nan, jnp.inf, -0.0])
def test_a_tie_changes_no_number(x):
    args = (jnp.full(3, x), jax.random.key(0), jnp.zeros((0, 2)))
    value = (jnp.float32(-0.0), jnp.int32(7), jnp.full(2, jnp.nan))
    tied = add_dependence(value, args, [frozenset([0, 1, 2])] * 3)
    assert np.signbit(tied[0])
    assert tied[1] == 7
    assert np.isnan(tied[2]).all()


def test_dependence_is_followed_into_jitted_calls():
    found = missing_dependence(jax.jit(lambda x, y, z: (x + 1, y * z, jax.nn.relu(z))), (1.0, 2.0, 3.0))
    assert found == [{1, 2}, {0}, {0, 1}]


def test_a_loop_counts_as_depending_on_nothing():
    """vmap looks into a loop output by output; tying one that is already tied costs nothing."""
    found = missing_dependence(
        lambda x, y: jax.lax.fori_loop(0, 3, lambda _, c: (c[0] * 2, c[1] + c[0]), (x, y)), (1.0, 2.0)
    )
    assert found == [{0, 1}, {0, 1}]
