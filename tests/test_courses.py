"""Numbers that courses print about computations of more than one file; those of one file stand in its own test."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxbackprop import gates
from jaxbackprop.layers import affine, window
from jaxbackprop.losses import softmax_cross_entropy
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


SKIPGRAM = {
    "c": (
        2,
        11.16610900153398,
        [-1.26947339, -1.36873189, 2.45158957],
        [
            [-0.41045956, 0.18834851, 1.43272264],
            [0.38202831, -0.17530219, -1.33348241],
            [0.07009355, -0.03216399, -0.24466386],
            [0.09472154, -0.04346509, -0.33062865],
            [-0.13638384, 0.06258276, 0.47605228],
        ],
    ),
    "b": (
        1,
        9.87714910003414,
        [-0.14586705, -1.34158321, -0.29291951],
        [
            [-0.30342672, 0.19808298, 0.19587419],
            [-0.41359958, 0.27000601, 0.26699522],
            [-0.08192272, 0.05348078, 0.05288442],
            [0.6981188, -0.4557458, -0.45066387],
            [0.10083022, -0.06582396, -0.06508997],
        ],
    ),
    "a": (
        0,
        10.810758628593335,
        [-1.1790274, -1.35861865, 1.53590492],
        [
            [-0.796035953, -0.0179609012, 0.20776133],
            [1.40175316, 0.0316276545, -0.365850437],
            [-0.199691259, -0.00450561933, 0.0521184016],
            [0.0202560028, 0.000457034715, -0.00528671357],
            [-0.426281954, -0.00961816867, 0.111257419],
        ],
    ),
}


@pytest.mark.parametrize("centre", SKIPGRAM)
def test_skipgram_gradients_are_those_printed_in_the_word2vec_assignment(centre):
    """CS224n: the word vectors of the centre word, and those of the words around it, a b e d b c."""
    word, cost, of_centre, of_outside = SKIPGRAM[centre]
    np.random.seed(9265)
    vectors = np.random.randn(10, 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    around = jnp.array([0, 1, 4, 3, 1, 2])

    def skipgram(V, U):
        v = window(V, jnp.full((6, 1), word))  # (6, 3): the centre word once for each word around it
        return gates.reduce_sum(softmax_cross_entropy(affine(v, gates.transpose(U)), around))

    with jax.enable_x64(True):
        J, (dV, dU) = jax.value_and_grad(skipgram, argnums=(0, 1))(jnp.asarray(vectors[:5]), jnp.asarray(vectors[5:]))
        J, dV, dU = float(J), np.asarray(dV), np.asarray(dU)
    np.testing.assert_allclose(J, cost, rtol=1e-14)
    np.testing.assert_allclose(dV[word], of_centre, rtol=0, atol=5.1e-9)
    assert not np.any(np.delete(dV, word, axis=0))
    np.testing.assert_allclose(dU, of_outside, rtol=0, atol=5.1e-9)
