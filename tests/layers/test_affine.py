"""affine and affine_unit against published numbers, and what they save."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop import gates
from jaxbackprop.layers import affine, affine_unit


def linspace(low, high, *shape):
    return np.linspace(low, high, num=int(np.prod(shape))).reshape(shape)


def relative_error(a, b):
    """CS231n's measure."""
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def test_the_forward_pass_gives_the_notebooks_numbers():
    """CS231n 2020, assignment 2, FullyConnectedNets, cell 5; the notebook asks for an error around 1e-9."""
    printed = [[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]]
    with jax.enable_x64(True):
        x, w, b = linspace(-0.1, 0.5, 2, 120), linspace(-0.2, 0.3, 120, 3), linspace(-0.3, 0.1, 3)
        assert relative_error(affine(x, w, b), np.array(printed)) < 1e-9


def test_the_numerical_gradient_differs_by_the_very_error_the_notebook_prints():
    """Cell 7: centred differences with h = 1e-5 err by 5.399e-11, 9.904e-11 and 2.412e-11 (dx, dw, db)."""
    np.random.seed(231)
    x, w, b = np.random.randn(10, 2, 3), np.random.randn(6, 5), np.random.randn(5)
    dout = np.random.randn(10, 5)

    def forward(x, w, b):
        return x.reshape(10, 6).dot(w) + b

    def numerical(i):
        """CS231n's eval_numerical_gradient_array."""
        args, h = [x.copy(), w.copy(), b.copy()], 1e-5
        gradient = np.zeros_like(args[i])
        for at in np.ndindex(args[i].shape):
            old = args[i][at]
            args[i][at] = old + h
            above = forward(*args)
            args[i][at] = old - h
            below = forward(*args)
            args[i][at] = old
            gradient[at] = np.sum((above - below) * dout) / (2 * h)
        return gradient

    with jax.enable_x64(True):
        dx, dw, db = map(np.asarray, jax.vjp(affine, x.reshape(10, 6), w, b)[1](jnp.asarray(dout)))
    errors = [relative_error(numerical(0), dx.reshape(x.shape))]
    errors += [relative_error(numerical(1), dw), relative_error(numerical(2), db)]
    assert all(error < 1e-10 for error in errors)
    np.testing.assert_allclose(errors, [5.399e-11, 9.904e-11, 2.412e-11], rtol=1e-3)


def test_an_affine_layer_without_bias_is_linear():
    x, W = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]])
    z, pull = jax.vjp(affine, x, W)
    np.testing.assert_array_equal(z, [[5, 2, -1], [13, 5, -3]])
    dx, dW = pull(jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(dx, [[1, 2], [-2, 0]])
    np.testing.assert_array_equal(dW, [[1, 0, 6], [2, 0, 10]])


def test_a_bias_gradient_in_half_precision_is_summed_in_single_precision():
    """4,096 ones added up in bfloat16 would stick at 256."""
    ones = jnp.ones((4096, 1), jnp.bfloat16)
    W, b = jnp.ones((1, 1), jnp.bfloat16), jnp.zeros(1, jnp.bfloat16)
    _, dW, db = jax.vjp(affine, ones, W, b)[1](ones)
    assert (float(dW[0, 0]), float(db[0])) == (4096, 4096)
    assert db.dtype == jnp.bfloat16


def test_the_product_and_the_bias_are_rounded_once():
    """1 + 1/256 + 1/256 is 1 + 1/128 in bfloat16; rounded after the product it would stay 1."""
    x, W = jnp.ones((1, 2), jnp.bfloat16), jnp.array([[1.0], [1 / 256]], jnp.bfloat16)
    assert float(affine(x, W, jnp.array([1 / 256], jnp.bfloat16))[0, 0]) == 1 + 1 / 128


def test_a_layer_without_inputs_answers_its_bias():
    z, pull = jax.vjp(affine, jnp.zeros((3, 0)), jnp.zeros((0, 2)), jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(z, [[1, 2]] * 3)
    dx, dW, db = pull(jnp.ones((3, 2)))
    assert (dx.shape, dW.shape) == ((3, 0), (0, 2))
    np.testing.assert_array_equal(db, [3, 3])


@pytest.mark.parametrize("unit", ["relu", "sigmoid", "tanh", "softplus", "gelu", "hard_tanh"])
def test_affine_unit_is_affine_and_then_the_unit(unit):
    rng = np.random.default_rng(0)
    x, W, b, upstream = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in [(4, 3), (3, 5), (5,), (4, 5)])
    together, pull = jax.vjp(lambda *args: affine_unit(*args, unit=unit), x, W, b)
    apart, pull_apart = jax.vjp(lambda *args: getattr(gates, unit)(affine(*args)), x, W, b)
    np.testing.assert_array_equal(together, apart)
    for one, other in zip(pull(upstream), pull_apart(upstream), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_affine_unit_takes_a_rule_as_well_as_a_name():
    x, W = jnp.array([[1.0, -2.0]]), jnp.eye(2)
    np.testing.assert_array_equal(affine_unit(x, W, unit=gates.relu), affine_unit(x, W, unit="relu"))


def saved_bytes(function, *args) -> int:
    """What the backward pass keeps besides the arguments themselves."""
    _, pull = jax.vjp(function, *args)
    of_arguments = {x.unsafe_buffer_pointer() for x in args}
    kept = {x.unsafe_buffer_pointer(): x.nbytes for x in jax.tree.leaves(pull) if isinstance(x, jax.Array)}
    return sum(size for where, size in kept.items() if where not in of_arguments)


def test_affine_saves_nothing_and_affine_relu_one_byte_a_number():
    args = jnp.ones((8, 3)), jnp.ones((3, 16)), jnp.ones(16)
    assert saved_bytes(affine, *args) == 0
    assert saved_bytes(affine_unit, *args) == 8 * 16


def test_an_unknown_unit_is_named_beside_those_there_are():
    with pytest.raises(ValueError, match=r"'rely' is not a unit of one input; unit= takes .*relu"):
        affine_unit(jnp.ones((1, 2)), jnp.ones((2, 1)), unit="rely")
    with pytest.raises(ValueError, match="not a unit of one input"):
        affine_unit(jnp.ones((1, 2)), jnp.ones((2, 1)), unit=gates.add)


def test_a_wrong_size_is_named_on_both_sides():
    with pytest.raises(ValueError, match=r"affine: D is 5 in x \(32, 5\) but 4 in W \(4, 10\)"):
        affine(jnp.ones((32, 5)), jnp.ones((4, 10)), jnp.ones(10))
