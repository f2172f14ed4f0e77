"""Slices, joins, reshapes, padding and containers: where entries stand is an index; the rule holds at every size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivable import normal

import jaxbackprop as jbp
from jaxbackprop.core.example_inputs import examples


def gates(z, c):
    i, f, g = jnp.split(z, 3, -1)
    return jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)


def ends(x):
    return x[:, :2] * x[:, 2:4] + x[:, -2:] ** 2


def joined(x, y):
    z = jnp.concatenate([jnp.tanh(x), y * y, x[:, :1]], -1)
    return z


def merged(x, W):
    return jnp.tanh(x.reshape(x.shape[0], -1) @ W)


def groups(x):
    g = x.reshape(x.shape[0], 2, -1)
    return g * g.mean(-1, keepdims=True)


def differences(x):
    return (x[1:] - x[:-1]) ** 2


def convolution(x, w):
    wide = jnp.pad(x, ((1, 1), (0, 0)))
    return wide[:-2] * w[0] + wide[1:-1] * w[1] + wide[2:] * w[2]


def pooled(table, ids):
    return table.at[ids].get(mode="fill", fill_value=0, wrap_negative_indices=False).sum(1) ** 2


def counted_loss(z, labels):
    own = jnp.take_along_axis(z, jnp.clip(labels, 0, z.shape[1] - 1)[:, None], -1)[:, 0]
    inside = (labels >= 0) & (labels < z.shape[1])
    return jnp.where(inside, own**2, 0).sum() / jnp.maximum(inside.sum(), 1)


def rivals(z, labels):
    return jnp.where(jnp.arange(z.shape[1]) != labels[:, None], z**2, 0).sum(-1)


@pytest.mark.parametrize(
    ("function", "args", "others"),
    [
        (gates, (normal(2, 6), normal(2, 2)), (normal(3, 12), normal(3, 4))),
        (ends, (normal(2, 6),), (normal(3, 9),)),
        (joined, (normal(2, 3), normal(2, 4)), (normal(3, 5), normal(3, 2))),
        (merged, (normal(2, 3, 4), normal(12, 3)), (normal(3, 4, 2), normal(8, 2))),
        (groups, (normal(2, 6),), (normal(3, 10),)),
        (differences, (normal(5, 2),), (normal(7, 3),)),
        (convolution, (normal(5, 2), normal(3, 2)), (normal(8, 3), normal(3, 3))),
        (
            pooled,
            (normal(6, 3), jnp.array([[0, -1], [5, 5]])),
            (normal(4, 2), jnp.array([[7, -1, 2], [1, 1, 3]])),
        ),
        (counted_loss, (normal(4, 5), jnp.array([0, -1, 4, 2])), (normal(3, 7), jnp.array([-1, 6, 7]))),
        (rivals, (normal(3, 5), jnp.array([0, 4, -1])), (normal(2, 3), jnp.array([2, 5]))),
    ],
)
def test_the_rule_is_proved_and_right_at_other_sizes(function, args, others):
    derived = jbp.derive(function, *args)
    assert derived.proof.verdict == "proved", derived.proof
    if not derived.conditions:
        value, pull = jax.vjp(lambda *floats: function(*floats, *others[len(floats) :]), *_floats(others))
        mine, my_pull = jax.vjp(lambda *floats: derived.rule(*floats, *others[len(floats) :]), *_floats(others))
        upstream = jnp.asarray(np.random.default_rng(1).normal(size=value.shape), value.dtype)
        np.testing.assert_allclose(mine, value, rtol=1e-5, atol=1e-6)
        for got, expected in zip(my_pull(upstream), pull(upstream), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5, err_msg=derived.code)


def _floats(args):
    return [x for x in args if jnp.issubdtype(x.dtype, jnp.floating)]


def test_what_is_split_is_joined_again():
    derived = jbp.derive(gates, normal(2, 6), normal(2, 2))
    assert not derived.conditions
    assert "dz = jnp.concatenate([" in derived.code
    assert "jnp.pad" not in derived.code
    assert "z_n(j + 2 J)" in str(derived)


def test_a_slice_of_a_size_by_chance_is_a_condition():
    (condition,) = jbp.derive(lambda x: x[:, : 3 * (x.shape[1] // 4)] ** 2, normal(2, 4)).conditions
    assert "the sizes are those it was derived at" in condition


def network(x, parameters):
    h = jnp.tanh(x @ parameters["W"][0] + parameters["b"])
    return h @ parameters["W"][1]


def test_parameters_in_containers():
    x, parameters = normal(2, 3), {"W": [normal(3, 4), normal(4, 2)], "b": normal(4)}
    derived = jbp.derive(network, x, parameters)
    assert derived.proof.verdict == "proved"
    namespace: dict = {}
    exec(derived.to_code("custom_vjp"), namespace)
    expected = jax.grad(lambda p: network(x, p).sum())(parameters)
    for rule in (derived.rule, namespace["network"]):
        found = jax.grad(lambda p, f=rule: f(x, p).sum())(parameters)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), found, expected)
    assert derived.check({"dparameters_b": "sum((upstream @ parameters_W_2.T) * (1 - h**2), 0)"}).passed


@pytest.mark.parametrize(
    "name", ["concatenate", "gru", "l2_penalty", "lstm", "softmax_cross_entropy", "text_logistic", "window"]
)
def test_a_rule_of_the_library_from_its_plain_function(name):
    rule = jbp.rules()[name]
    derived = jbp.derive(rule, *examples(rule)[0].cast(jnp.float32))
    assert derived.proof.verdict == "proved", derived.proof
