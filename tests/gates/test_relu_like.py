"""The units that pass what is positive: published values, the learned slope, what overflows in a naive formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import elu, gelu, leaky_relu, prelu, relu, selu, silu, softplus


def test_the_relu_of_cs231n():
    """B3 of the published numbers: assignment 2, FullyConnectedNets, cell 9."""
    x = np.linspace(-0.5, 0.5, num=12).reshape(3, 4)
    published = [[0, 0, 0, 0], [0, 0, 0.04545455, 0.13636364], [0.22727273, 0.31818182, 0.40909091, 0.5]]
    with jax.enable_x64(True):
        assert np.allclose(relu(jnp.asarray(x)), published, rtol=0, atol=5e-9)  # half a unit of the last digit printed


def test_the_naive_softplus_is_infinite_where_the_stable_one_is_not():
    naive = jax.value_and_grad(lambda z: jnp.log(1 + jnp.exp(z)))
    assert [float(x) for x in naive(1000.0)] == pytest.approx([np.inf, np.nan], nan_ok=True)
    assert jax.value_and_grad(softplus)(1000.0) == (1000, 1)
    assert jax.value_and_grad(softplus)(-1000.0) == (0, 0)


def test_an_elu_of_a_large_number_does_not_overflow_in_the_branch_that_is_not_taken():
    """alpha (e^z - 1) at 1000 is infinite; its derivative times the zero of `where` would be NaN."""
    for unit in (elu, selu):
        assert jnp.isfinite(jax.grad(jax.grad(unit))(1000.0))
        assert jnp.isfinite(jax.grad(unit.primal)(1000.0))


def test_a_small_gelu_of_float16_keeps_its_digits():
    """At -3.5 the tanh form is about -6e-4, of which 1 + tanh keeps no digit."""
    z = jnp.float16(-3.5)
    exact = -3.5 / (1 + np.exp(2 * np.sqrt(2 / np.pi) * (3.5 + 0.044715 * 3.5**3)))
    assert float(gelu(z)) == pytest.approx(exact, rel=float(jnp.finfo(jnp.float16).eps))
    assert abs(float(jax.nn.gelu(z)) - exact) > 0.1 * abs(exact)


@pytest.mark.parametrize("slope", [jnp.array(0.25), jnp.array([0.25, 0.5, 0.0])], ids=["shared", "per channel"])
def test_a_learned_slope_receives_what_all_that_share_it_send(slope):
    """Against the definition in NumPy: dslope sums z upstream over the negative z."""
    z = jnp.array([[1.0, -2.0, 0.0], [-3.0, 4.0, -5.0]])
    upstream = jnp.array([[2.0, 3.0, 5.0], [7.0, 11.0, 13.0]])
    a, pull = jax.vjp(prelu, z, slope)
    dz, dslope = pull(upstream)
    s = np.broadcast_to(slope, (2, 3))
    assert a.tolist() == [[1, -2 * s[0, 1], 0], [-3 * s[0, 0], 4, -5 * s[0, 2]]]
    assert dz.tolist() == [[2, 3 * s[0, 1], 5], [7 * s[0, 0], 11, 13 * s[0, 2]]]
    assert dslope.tolist() == (-6 - 21 - 65 if slope.ndim == 0 else [-21, -6, -65])


def test_the_gradient_of_a_learned_slope_is_accumulated_in_float32():
    """5,000 terms of -1; in bfloat16 the sum would stick at -256. Both ways of sharing."""
    z = -jnp.ones((5000, 1), jnp.bfloat16)
    for slope in (jnp.zeros((), jnp.bfloat16), jnp.zeros(1, jnp.bfloat16)):
        a, pull = jax.vjp(prelu, z, slope)
        assert pull(jnp.ones_like(a))[1] == jnp.bfloat16(-5000)


def test_a_slope_for_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"C is 3 in z \(2, 3\) but 2 in slope \(2,\)"):
        prelu(jnp.ones((2, 3)), jnp.ones(2))


def test_at_its_kink_prelu_passes_the_gradient_and_its_slope_gets_none():
    dz, dslope = jax.vjp(prelu, jnp.zeros(1), jnp.array(0.25))[1](jnp.array([3.0]))
    assert (dz.tolist(), dslope) == ([3], 0)


@pytest.mark.parametrize(
    ("unit", "bytes_a_number"), [(relu, 1), (leaky_relu, 1), (elu, 4), (selu, 4), (softplus, 4), (silu, 4), (gelu, 4)]
)
def test_a_unit_remembers_one_number_or_one_boolean(unit, bytes_a_number):
    saved = unit.forward(jnp.linspace(-2, 2, 10), **unit.signature.settings)[1]
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(saved)) == 10 * bytes_a_number
