"""The units that choose: published values, masked rows, ties, half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import log_softmax, maxout, softmax

INF = np.inf


def test_the_softmax_of_cs224n():
    """C1 of the published numbers: assignment 1, q1_softmax, rtol 1e-5; two of its rows overflow a naive formula."""
    small, large = [0.26894142, 0.73105858], [0.73105858, 0.26894142]
    assert np.allclose(softmax(jnp.array([1.0, 2.0])), small, rtol=1e-5, atol=0)
    assert np.allclose(softmax(jnp.array([[1001.0, 1002.0], [3.0, 4.0]])), [small, small], rtol=1e-5, atol=0)
    assert np.allclose(softmax(jnp.array([[-1001.0, -1002.0]])), [large], rtol=1e-5, atol=0)


def test_the_softmax_of_cs231n():
    """Linear classification notes: [1, -2, 0] and, with smaller weights, [0.5, -1, 0].

    Two digits, the first .7 with one: from e^1 = 2.71, e^-2 = 0.14 and e^0 = 1 by hand.
    """
    assert np.allclose(softmax(jnp.array([1.0, -2.0, 0.0])), [0.7, 0.04, 0.26], rtol=0, atol=0.01)
    assert np.allclose(softmax(jnp.array([0.5, -1.0, 0.0])), [0.55, 0.12, 0.33], rtol=0, atol=0.005)


def test_the_naive_softmax_is_nan_where_the_stable_one_is_not():
    z, upstream = jnp.array([1000.0, 0.0]), jnp.array([2.0, 3.0])
    p, pull = jax.vjp(lambda z: jnp.exp(z) / jnp.exp(z).sum(), z)
    assert jnp.isnan(p).any()
    assert jnp.isnan(pull(upstream)[0]).any()
    p, pull = jax.vjp(softmax, z)
    assert (p.tolist(), pull(upstream)[0].tolist()) == ([1, 0], [0, 0])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "autodiff"])
@pytest.mark.parametrize("jitted", [True, False], ids=["jit", "eager"])
def test_a_row_that_is_masked_altogether_has_probabilities_and_gradients_of_zero(dtype, by_hand, jitted):
    z = jnp.array([[-INF, -INF, -INF], [0.0, -INF, 0.0]], dtype)
    upstream = jnp.array([[3.0, 5.0, 7.0], [1.0, 9.0, 3.0]], dtype)

    def answer(rule):
        function = rule if by_hand else rule.primal

        def gradient(z):
            value, pull = jax.vjp(function, z)
            return value, pull(upstream)[0]

        return jax.jit(gradient)(z) if jitted else gradient(z)

    p, dz = answer(softmax)
    assert p.tolist() == [[0, 0, 0], [0.5, 0, 0.5]]
    assert dz.tolist() == [[0, 0, 0], [-0.5, 0, 0.5]]  # p (upstream - 2)
    logs, dz = answer(log_softmax)
    half = float(jnp.log(0.5).astype(dtype))
    assert logs.tolist() == [[-INF] * 3, [half, -INF, half]]
    assert dz.tolist()[0] == [0, 0, 0]
    # upstream - p 13; p comes from a rounded logarithm
    assert np.allclose(np.asarray(dz[1], float), [-5.5, 9, -3.5], rtol=8 * float(jnp.finfo(dtype).eps), atol=0)


def test_masking_a_row_leaves_its_second_derivatives_finite():
    def loss(z):
        return (softmax(z) ** 2).sum() + jnp.where(jnp.isfinite(log_softmax(z)), log_softmax(z), 0).sum()

    z = jnp.array([[-INF, -INF], [1.0, -INF], [1.0, 2.0]])
    second = jax.grad(lambda z: (jax.grad(loss)(z) * jnp.array([1.0, 2.0])).sum())(z)
    assert jnp.isfinite(second).all()
    assert (second[0] == 0).all()


def test_log_softmax_keeps_what_the_logarithm_of_softmax_loses():
    z = jnp.array([0.0, 1000.0, -3e38])
    assert log_softmax(z).tolist() == [-1000, 0, pytest.approx(-3e38)]
    assert jnp.log(softmax(z)).tolist() == [-INF, 0, -INF]
    assert jax.vjp(log_softmax, z)[1](jnp.array([1.0, 0.0, 0.0]))[0].tolist() == [1, -1, 0]


def test_a_score_of_plus_infinity_makes_its_row_nan_and_no_other():
    z = jnp.array([[INF, 0.0], [1.0, 1.0]])
    for rule in (softmax, log_softmax):
        assert jnp.isnan(rule(z)[0]).any()
        assert jnp.isfinite(rule(z)[1]).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda dtype: dtype.__name__)
def test_the_sums_of_softmax_are_accumulated_in_float32(dtype):
    """4,096 equal scores: each 1/4096, a power of two; in bfloat16 the sum of ones would stick at 256."""
    z = jnp.zeros(4096, dtype)
    p, pull = jax.vjp(softmax, z)
    assert (p == 1 / 4096).all()
    assert np.all(np.asarray(log_softmax(z)) == np.asarray(jnp.log(1 / 4096).astype(dtype)))
    # sum_j p_j upstream_j = 1 exactly, so nothing moves
    assert (pull(jnp.ones(4096, dtype))[0] == 0).all()


@pytest.mark.parametrize("rule", [softmax, log_softmax], ids=lambda rule: rule.name)
def test_no_scores_at_all_are_no_error(rule):
    z = jnp.zeros((3, 0))
    out, pull = jax.vjp(rule, z)
    assert out.shape == pull(out)[0].shape == (3, 0)


def test_the_largest_piece_receives_the_gradient_and_ties_share_it():
    pieces = jnp.array([[1.0, 3.0, 2.0], [4.0, 4.0, 0.0], [5.0, 5.0, 5.0]])
    a, pull = jax.vjp(maxout, pieces)
    assert a.tolist() == [3, 4, 5]
    assert pull(jnp.array([7.0, 8.0, 9.0]))[0].tolist() == [[0, 7, 0], [4, 4, 0], [3, 3, 3]]


def test_maxout_remembers_a_boolean_for_each_piece_softmax_its_output_and_log_softmax_one_array_and_its_sums():
    z = jnp.array([[0.0, 1.0, 2.0], [-jnp.inf, -jnp.inf, -jnp.inf]])
    assert maxout.forward(z)[1].nbytes == 6
    value, saved = softmax.forward(z, axis=-1)
    assert saved is value
    powers, total = log_softmax.forward(z, axis=-1)[1]
    assert (powers.shape, total.shape) == ((2, 3), (2, 1))
    assert jnp.allclose(powers[0] / total[0], jnp.array([0.09003057, 0.24472847, 0.66524096]), rtol=1e-6, atol=0)
    assert total[1] == 0  # all scores of the row are masked
