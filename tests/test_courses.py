"""Numbers that courses print about computations of more than one file; those of one file stand in its own test."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbackprop.training.optimizer import make_optimizer


def line(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 20).reshape(4, 5)


def first_row_after_a_step(name: str, rate: float, settings: dict, before: dict[str, np.ndarray | int]) -> np.ndarray:
    """One step of `name` on w = -.4...6, dw = -.6...4 from the optimizer's state `before`."""
    w, dw = jnp.asarray(line(-0.4, 0.6)), jnp.asarray(line(-0.6, 0.4))
    optimizer = make_optimizer(name, optax.constant_schedule(rate), settings=settings)
    state = optax.tree.set(optimizer.init(w), **{field: jnp.asarray(value) for field, value in before.items()})
    updates, _ = optimizer.update(dw, state, w)
    return np.asarray(optax.apply_updates(w, updates))[0]


@pytest.mark.parametrize(
    ("name", "rate", "settings", "before", "expected"),
    [
        # Momentum keeps v = mu v - lr dw; optax keeps the same without the factor -lr.
        ("momentum", 1e-3, {"momentum": 0.9}, {"trace": line(0.6, 0.9) / -1e-3},
         [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789]),
        ("rmsprop", 1e-2, {"decay": 0.99, "eps": 1e-8}, {"nu": line(0.6, 0.9)},
         [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247]),
        # The notebook counts up before it uses t: its t = 5 makes the sixth step.
        ("adam", 1e-2, {}, {"mu": line(0.6, 0.9), "nu": line(0.7, 0.5), "count": np.int32(5)},
         [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977]),
    ],
)  # fmt: skip
def test_an_optimizer_takes_the_step_that_cs231n_prints(name, rate, settings, before, expected):
    """Assignment 2, 2020, FullyConnectedNets, cells 32, 36 and 37."""
    np.testing.assert_allclose(first_row_after_a_step(name, rate, settings, before), expected, rtol=1e-5)
