"""Loops: deltas as a recurrence, weights' gradients as one product behind it; what is no such loop is refused."""

import jax
import jax.numpy as jnp
import pytest
from derivable import DERIVABLE, normal

import jaxbackprop as jbp


def test_backpropagation_through_time_reads_like_the_lecture():
    case = DERIVABLE["recurrent_network"]
    derived = jbp.derive(case.function, *case.args)
    lines = str(derived)
    assert "dh_tnj = upstream_tnj + next_h_before_tnj" in lines
    assert "dz_tnj = dh_tnj (1 - h_tnj^2)" in lines
    assert "dU_jj' = sum_tn h_before_tnj dz_tnj'" in lines
    assert r"\delta^{h}_{tnj} &= \bar{h}_{tnj} + \delta^{h_{t-1}}_{t+1,nj}" in derived.latex
    assert r"h_{t-1,nj'}" in derived.latex
    loop, behind = derived.code.split("reverse=True")
    assert "dz @ U.T" in loop.split("def recurrent_network_backward")[1]
    assert "dU = " in behind
    assert "dU = " not in loop


def test_a_loop_of_another_length_and_size():
    case = DERIVABLE["gated_cell"]
    derived = jbp.derive(case.function, *case.args)
    assert not derived.conditions
    args = normal(9, 2), normal(3), normal(3), normal(2, 3), normal(3, 3), normal(2, 3), normal(3, 3)
    assert jbp.verify(derived.rule, *args, reference=case.function, checks=["gradient"]).passed


def test_a_learners_lines_of_a_loop():
    case = DERIVABLE["recurrent_network"]
    derived = jbp.derive(case.function, *case.args)
    right = {"dz": "dh * (1 - h**2)", "dW": "einsum('tni,tnj->ij', x, dz)", "dh_before": "dz @ U.T"}
    assert derived.check(right).passed
    found = derived.check(right | {"dh_before": "dz @ U"})
    assert found["dh_before"].detail == "U must be transposed"


def with_everything(x, h0, W, U, V, mask):
    """What is computed inside from what does not recur, a mask, a value of the last step, and all states outside."""

    def step(h, inputs):
        x_t, m_t = inputs
        u = jnp.tanh(x_t @ W)
        h = jnp.where(m_t, u * 0.5 + jax.nn.relu(h @ U), h)
        return h, (h * u, h @ V)

    last, (a, b) = jax.lax.scan(step, h0, (x, mask))
    return a.sum() + (b**2).sum() + (last * h0).sum()


def without_slices(h0, A):
    def step(h, _):
        h = jnp.tanh(h @ A)
        return h, h

    hs = jax.lax.scan(step, h0, None, length=5)[1]
    return hs.sum(0)


MASK = jnp.arange(24).reshape(6, 4) % 3 > 0


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (with_everything, (normal(6, 3), normal(4), normal(3, 4), normal(4, 4), normal(4, 2), MASK)),
        (without_slices, (normal(4), normal(4, 4))),
    ],
)
def test_odd_loops_have_right_rules_too(function, args):
    derived = jbp.derive(function, *args)
    assert derived.proof.verdict in ("proved", "not decided"), derived.code
    assert derived.verify(["gradient"]).passed, derived.code


def reversed_loop(x):
    return jax.lax.scan(lambda h, x_t: (h * x_t, h), jnp.ones(()), x, reverse=True)[1]


def two_loops(x):
    first = jax.lax.scan(lambda h, x_t: (h * x_t, h * x_t), x[0] * 0 + 1, x)[1]
    return jax.lax.scan(lambda h, x_t: (h * x_t, h * x_t), first.sum(), x)[1]


def counted(x):
    def step(carry, x_t):
        k, h = carry
        return (k + 1, h * x_t), h

    return jax.lax.scan(step, (0, 1.0), x)[1]


@pytest.mark.parametrize("function", [reversed_loop, two_loops, counted])
def test_other_loops_are_refused(function):
    with pytest.raises(jbp.CannotDerive, match=r"at .*test_loops.py:\d+"):
        jbp.derive(function, jnp.arange(1.0, 5.0))
