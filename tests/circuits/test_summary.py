"""Long loops may be traced without keeping their arrays: every verdict and number is the same, the memory is not."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.circuits import Circuit, trace
from jaxbackprop.circuits.summary import Summary, summarise
from jaxbackprop.gates import tanh

STEPS, SIZE = 50, 20


def recurrent(unit):
    def loss(W, xs):
        h, sums = jax.lax.scan(lambda h, x: (unit(h @ W + x), h.sum()), jnp.zeros((SIZE, SIZE)), xs)
        return h.sum() + sums.sum()

    rng = np.random.default_rng(0)
    return loss, 0.2 * rng.normal(size=(SIZE, SIZE)), 0.1 * rng.normal(size=(STEPS, SIZE, SIZE))


def bytes_held(circuit: Circuit) -> int:
    """What the circuit's wires and edges keep alive, each array once."""
    held = {}
    for wire in circuit.wires:
        shares = [x for edge in wire.edges for x in (edge.downstream, edge.autodiff_downstream)]
        for x in (wire.value, wire.upstream, wire.autodiff_upstream, *shares):
            if x is not None and hasattr(x, "nbytes"):
                held[id(x)] = x.nbytes
    return sum(held.values())


@pytest.fixture(scope="module")
def both():
    with jax.enable_x64(True):
        fun, *args = recurrent(tanh)
        return trace(fun, *args), trace(fun, *args, steps="summary")


def test_gradients_and_verdicts_are_the_same(both):
    whole, light = both
    for name, gradient in whole.gradients.items():
        np.testing.assert_array_equal(light.gradients[name], gradient)
    assert [gate.verdict for gate in light.gates] == [gate.verdict for gate in whole.gates]
    assert light.table() == whole.table()
    assert str(light.health(learning_rate=0.1)) == str(whole.health(learning_rate=0.1))


def test_what_is_held_no_longer_grows_with_the_arrays_of_the_steps(both):
    """Left over: the arguments and the gradients of them, by hand and by autodiff, and the last state."""
    whole, light = both
    arguments = 8 * SIZE * SIZE * (STEPS + 1)
    assert bytes_held(light) < 1.1 * 3 * arguments
    assert bytes_held(whole) > 5 * bytes_held(light)


def test_a_summary_says_what_its_array_would(both):
    whole, light = both
    pairs = [(w, s) for w, s in zip(whole.wires, light.wires, strict=True) if isinstance(s.value, Summary)]
    assert len(pairs) > 3 * STEPS
    for wire, light_wire in pairs:
        x, kept = np.asarray(wire.gradient), light_wire.gradient
        assert (kept.shape, kept.dtype) == (x.shape, x.dtype)
        np.testing.assert_allclose(
            [kept.min, kept.max, kept.mean, kept.rms, kept.zeros],
            [x.min(), x.max(), x.mean(), np.sqrt((x**2).mean()), (x == 0).mean()],
            rtol=1e-12,
            atol=1e-15,
        )


def test_what_is_not_finite_is_counted():
    kept = summarise(np.array([1.0, np.nan, np.inf, -3.0]))
    assert (kept.min, kept.max, kept.finite) == (-3, 1, 0.5)


def test_a_wrong_rule_in_a_step_is_still_named():
    wrong = tanh.with_backward(lambda a, upstream: upstream * (1 - a))
    fun, *args = recurrent(wrong)
    assert len(trace(fun, *args, steps="summary").wrong) == STEPS


def test_every_way_to_show_it_still_works(both):
    _, light = both
    document = json.loads(light.to_json())
    summaries = [w["value"] for w in document["wires"] if isinstance(w["value"], dict)]
    assert len(summaries) > 3 * STEPS
    assert "<svg" in light.to_svg()
    assert "digraph" in light.to_dot()
    assert "<html" in light.to_html()


def test_what_needs_the_arrays_says_so(both):
    _, light = both
    for ask in (
        lambda: light.check({"W": np.zeros((SIZE, SIZE))}),
        lambda: light.open(light.gate("tanh")),
        lambda: light.gate("tanh").outputs[0].value + np.ones(3),
        lambda: np.asarray(light.gate("tanh").outputs[0].value),
    ):
        with pytest.raises((ValueError, TypeError), match=r"steps='whole'|unsupported operand"):
            ask()


def test_an_unknown_word_is_refused():
    with pytest.raises(ValueError, match="steps is 'whole' or 'summary', not 'some'"):
        trace(jnp.sin, 1.0, steps="some")
