"""Optimizers by name against the numbers that CS231n's assignments print, and schedules against their formulas."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbackprop.training.optimizer import OPTIMIZERS, SCHEDULES, learning_rate, make_optimizer


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def lin(a: float, b: float) -> np.ndarray:
    return np.linspace(a, b, 20).reshape(4, 5)


W, DW = lin(-0.4, 0.6), lin(-0.6, 0.4)


def step(optimizer: optax.GradientTransformation, state: Any) -> np.ndarray:
    updates, _ = optimizer.update(jnp.asarray(DW), state, jnp.asarray(W))
    return np.asarray(optax.apply_updates(jnp.asarray(W), updates))


def update(optimizer: optax.GradientTransformation, gradient: Any, params: Any) -> Any:
    """What the first step adds to the parameters."""
    return optimizer.update(gradient, optimizer.init(params), params)[0]


def with_state(optimizer: optax.GradientTransformation, **values: Any) -> Any:
    """The state of a fresh optimizer with some of its numbers set, wherever they stand in it."""

    def fill(part: Any) -> Any:
        if hasattr(part, "_fields"):
            return part._replace(**{name: value for name, value in values.items() if name in part._fields})
        return tuple(map(fill, part)) if isinstance(part, tuple) else part

    return fill(optimizer.init(jnp.asarray(W)))


def momentum() -> tuple[optax.GradientTransformation, Any]:
    """v = mu v - lr dw, w += v from v = lin(.6, .9); optax keeps -v / lr."""
    optimizer = make_optimizer("momentum", lambda _: 1e-3, settings={"momentum": 0.9})
    return optimizer, with_state(optimizer, trace=jnp.asarray(-lin(0.6, 0.9) / 1e-3))


def rmsprop() -> tuple[optax.GradientTransformation, Any]:
    optimizer = make_optimizer("rmsprop", lambda _: 1e-2, settings={"decay": 0.99})
    return optimizer, with_state(optimizer, nu=jnp.asarray(lin(0.6, 0.9)))


def adam() -> tuple[optax.GradientTransformation, Any]:
    """From m = lin(.6, .9), v = lin(.7, .5), and t = 5, which is incremented before it is used."""
    optimizer = make_optimizer("adam", lambda _: 1e-2)
    state = with_state(optimizer, mu=jnp.asarray(lin(0.6, 0.9)), nu=jnp.asarray(lin(0.7, 0.5)))
    return optimizer, (state[0]._replace(count=jnp.asarray(5)), *state[1:])


PRINTED = {  # the first row of what the notebook prints; it has eight decimals
    momentum: [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789],
    rmsprop: [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247],
    adam: [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977],
}
CELLS = {momentum: 32, rmsprop: 36, adam: 37}  # of FullyConnectedNets.ipynb, 2020


@pytest.mark.parametrize("made", PRINTED)
def test_a_step_is_the_one_that_cs231n_prints(made: Any):
    assert step(*made())[0] == pytest.approx(PRINTED[made], abs=0.6e-8)


@pytest.mark.parametrize("made", CELLS)
def test_a_step_is_cs231ns_to_the_last_element(made: Any, shared_data: Path):
    cases = json.loads((shared_data / "published_numbers.json").read_text())
    (expected,) = (c["value"] for c in cases if c["cell"] == CELLS[made] and c["name"] == "expected_next_w")
    assert step(*made()) == pytest.approx(np.array(expected), abs=0.6e-8)


def test_sgd_goes_against_the_gradient():
    optimizer = make_optimizer("sgd", lambda _: 0.5)
    assert step(optimizer, optimizer.init(jnp.asarray(W))) == pytest.approx(W - 0.5 * DW, rel=1e-6)


def test_nesterov_looks_ahead():
    """From rest: v = dw, and the step is lr (dw + mu v) = 1.9 lr dw."""
    optimizer = make_optimizer("nesterov", lambda _: 0.1)
    assert step(optimizer, optimizer.init(jnp.asarray(W))) == pytest.approx(W - 0.19 * DW, rel=1e-5)


def test_adagrad_divides_by_the_root_of_all_squares():
    """Duchi, Hazan, Singer 2011: w -= lr dw / sqrt(sum of dw^2)."""
    optimizer = make_optimizer("adagrad", lambda _: 0.1, settings={"initial_accumulator_value": 0.5, "eps": 0.0})
    expected = W - 0.1 * DW / np.sqrt(0.5 + DW**2)
    assert step(optimizer, optimizer.init(jnp.asarray(W))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_apart_from_the_gradient_and_spares_biases(name: str):
    """With a gradient of zero only the decay is left: W shrinks by lr times the decay, b stays."""
    optimizer = make_optimizer(name, lambda _: 0.1, weight_decay=0.5)
    params = {"W": jnp.ones((2, 3)), "b": jnp.ones(3)}
    zeros = {"W": jnp.zeros((2, 3)), "b": jnp.zeros(3)}
    updates = update(optimizer, zeros, params)
    assert np.asarray(updates["W"]) == pytest.approx(np.full((2, 3), -0.05), rel=1e-6)
    assert np.asarray(updates["b"]) == pytest.approx(np.zeros(3))


def test_adamw_decays_by_itself_and_adam_does_not():
    params = jnp.ones((2, 2))
    for name, expected in (("adamw", -0.1 * 1e-4), ("adam", 0.0)):
        optimizer = make_optimizer(name, lambda _: 0.1)
        updates = update(optimizer, jnp.zeros((2, 2)), params)
        assert np.asarray(updates) == pytest.approx(np.full((2, 2), expected), rel=1e-5)


def test_clipping_scales_the_whole_gradient_to_the_largest_norm():
    optimizer = make_optimizer("sgd", lambda _: 1.0, clip=1.0)
    gradient = {"W": jnp.array([[3.0]]), "b": jnp.array([4.0])}
    updates = update(optimizer, gradient, gradient)
    assert float(updates["W"][0, 0]) == pytest.approx(-0.6)
    assert float(updates["b"][0]) == pytest.approx(-0.8)


def test_any_optax_transformation_is_taken():
    optimizer = make_optimizer(optax.lion(0.01, weight_decay=0.0), lambda _: 1.0)
    assert step(optimizer, optimizer.init(jnp.asarray(W))) == pytest.approx(W - 0.01 * np.sign(DW), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("constant", {0: 0.4, 50: 0.4, 100: 0.4}),
        ("linear", {0: 0.4, 50: 0.2, 100: 0.0}),
        ("cosine", {0: 0.4, 25: 0.2 * (1 + np.cos(np.pi / 4)), 50: 0.2, 100: 0.0}),
    ],
)
def test_a_schedule_falls_as_its_name_says(name: str, at: dict[int, float]):
    rate: Any = learning_rate(name, 0.4, 100)
    for number, expected in at.items():
        assert float(rate(number)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_rises_to_the_rate_and_the_schedule_follows(name: str):
    rate: Any = learning_rate(name, 0.4, 100, warmup=0.2)
    assert [float(rate(k)) for k in (0, 10, 20)] == pytest.approx([0, 0.2, 0.4])
    assert float(rate(100)) == pytest.approx(0.4 if name == "constant" else 0.0, abs=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_optimizer("adma", lambda _: 1.0), "optimizer is 'adma'; it is sgd, "),
        (lambda: make_optimizer("adam", lambda _: 1.0, settings={"b3": 1}), "optimizer adam: .*b3"),
        (lambda: make_optimizer("adam", lambda _: 1.0, clip=0.0), "clip is 0.0"),
        (lambda: make_optimizer("adam", lambda _: 1.0, weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda: make_optimizer(optax.sgd(1.0), lambda _: 1.0, weight_decay=0.1), "put them into your own"),
        (lambda: learning_rate("step", 0.1, 10), "schedule is 'step'"),
        (lambda: learning_rate("linear", float("nan"), 10), "lr is nan"),
        (lambda: learning_rate("linear", 0.1, 10, 1.5), "warmup is 1.5"),
    ],
)
def test_a_bad_setting_is_named(call: Any, message: str):
    with pytest.raises(ValueError, match=message):
        call()
