"""What health() says of networks whose illness is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.circuits import trace


def stack(params, x, unit):
    h = x
    for W in params:
        h = unit(h @ W)
    return h.sum()


def weights(depth, scale, width=16):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(width, width)) * scale, jnp.float32) for _ in range(depth)]


def test_sigmoids_starve_the_first_layers():
    """Each sigmoid passes at most a quarter: after 20 layers less than 1e-5 of the last layer's gradient arrives."""
    health = trace(lambda p, x: stack(p, x, jax.nn.sigmoid), weights(20, 0.25), jnp.ones((4, 16))).health()
    assert health.vanishing[0].name == "p[0]"
    assert health.worst is not None
    assert health.worst.name == "logistic"
    sizes = [size for _, size in health.path]
    assert sizes[0] < 1e-5 * sizes[-1]
    assert "vanishing gradient: p[0]" in str(health)


def test_relus_at_hes_scale_starve_nobody():
    health = trace(lambda p, x: stack(p, x, jax.nn.relu), weights(20, np.sqrt(2 / 16)), jnp.ones((4, 16))).health()
    assert (health.vanishing, health.exploding) == ((), ())


def test_dead_units_and_saturated_units_are_counted():
    x = jnp.array([[-1.0, -2.0, 3.0, -4.0]])
    vitals = {v.wire.name: v for v in trace(lambda x: jax.nn.relu(x).sum(), x).health().vitals}
    assert (vitals["relu"].zeros, vitals["relu"].saturated) == (0.75, 0.75)
    vitals = {v.wire.name: v for v in trace(lambda x: jnp.tanh(x).sum(), 5 * x).health().vitals}
    assert vitals["tanh"].saturated == 1.0


def test_an_update_is_measured_against_the_weight():
    """w = (3, 4), gradient (3, 4): a step of 0.01 is a hundredth of it."""
    circuit = trace(lambda w: (w**2).sum() / 2, jnp.array([3.0, 4.0]))
    assert circuit.health(learning_rate=0.01).vitals[0].ratio == pytest.approx(0.01)
    assert circuit.health(updates={"w": jnp.array([0.3, 0.4])}).vitals[0].ratio == pytest.approx(0.1)


def test_the_first_gate_that_makes_a_nan_is_named_forward():
    def f(x):
        y = jnp.log(x - 2)
        return jnp.exp(y) * x + 1

    health = trace(f, 1.0).health()
    assert health.origin is not None
    assert (health.origin.name, health.backward_origin) == ("log", None)
    assert "first number that is not finite, forward: log -> y" in str(health)


def test_the_first_gate_that_makes_a_nan_is_named_backward():
    """sqrt(x^2) at 0 is 0 forward; backward 1 / (2 sqrt 0) is infinite, and infinity times 0 is NaN."""
    health = trace(lambda x: jnp.sqrt(x**2) * 3 + x, 0.0).health()
    assert health.backward_origin is not None
    assert (health.origin, health.backward_origin.name) == (None, "sqrt")


def test_a_healthy_network_has_no_findings():
    health = trace(lambda p, x: stack(p, x, jnp.tanh), weights(3, 0.25), jnp.ones((4, 16))).health()
    assert (health.origin, health.backward_origin, health.vanishing, health.exploding) == (None, None, (), ())


def test_gradients_are_measured_against_the_middle_one():
    """Of 1e6, 1 and 1 the median is 1: nothing vanishes, one explodes."""
    health = trace(lambda a, b, c: 1e6 * a + b + c, 1.0, 1.0, 1.0).health()
    assert [wire.name for wire in health.exploding] == ["a"]
    assert health.vanishing == ()
    health = trace(lambda a, b, c: 1e-6 * a + b + c, 1.0, 1.0, 1.0).health()
    assert [wire.name for wire in health.vanishing] == ["a"]
    assert health.exploding == ()


@pytest.mark.parametrize(
    ("factor", "vanishing", "exploding"),
    [(0.9e-5, ["a"], []), (1.1e-5, [], []), (0.9e5, [], []), (1.1e5, [], ["a"])],
)
def test_a_gradient_has_vanished_below_1e_5_and_exploded_above_1e5_of_the_middle_one(factor, vanishing, exploding):
    health = trace(lambda a, b, c: factor * a + b + c, 1.0, 1.0, 1.0).health()
    assert [wire.name for wire in health.vanishing] == vanishing
    assert [wire.name for wire in health.exploding] == exploding


@pytest.mark.parametrize(("z", "saturated"), [(2.9, 0.0), (3.1, 1.0)])
def test_an_element_is_saturated_below_a_hundredth(z, saturated):
    """1 - tanh^2 is 0.0120 at 2.9 and 0.0081 at 3.1."""
    vitals = {v.wire.name: v for v in trace(lambda x: jnp.tanh(x).sum(), jnp.array([z])).health().vitals}
    assert vitals["tanh"].saturated == saturated
