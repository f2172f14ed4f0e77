"""The gates that move, sum or multiply arrays: ties, repeated and absent rows, half precision, sizes of zero."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.gates import concatenate, gather, matmul, reduce_max, reduce_mean, reduce_sum, reshape, transpose


def random(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def test_the_gradients_of_a_matrix_product_are_products_with_transposes():
    """D = W X, W 5x10, X 10x3: CS231n's dW = dD X^T, dX = W^T dD."""
    with jax.enable_x64(True):
        W, X, dD = random(5, 10), random(10, 3), random(5, 3)
        dW, dX = jax.vjp(matmul, W, X)[1](jnp.asarray(dD))
    assert dW.shape == (5, 10)
    assert dX.shape == (10, 3)
    assert np.allclose(dW, dD @ X.T, rtol=0, atol=1e-14)
    assert np.allclose(dX, W.T @ dD, rtol=0, atol=1e-14)


STACKS = [(), (3,), (1,), (2, 3), (2, 1), (1, 3), (1, 1), (0,), (0, 3)]


def stackable(x, y):
    try:
        np.broadcast_shapes(x, y)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("x", "y"), [(x, y) for x, y in itertools.product(STACKS, STACKS) if stackable(x, y)])
def test_stacks_that_share_a_matrix_add_up_its_gradient(x, y):
    """Beside NumPy: each product's gradients by themselves, then summed over the copies of each matrix."""
    X, Y = random(*x, 4, 5), random(*y, 5, 6, seed=1)
    full = np.broadcast_shapes(x, y)
    U = random(*full, 4, 6, seed=2)

    def summed(each, shape):
        each = each.sum(tuple(range(each.ndim - len(shape))))
        return each.sum(tuple(i for i, n in enumerate(shape) if n == 1 and each.shape[i] != 1), keepdims=True)

    with jax.enable_x64(True):
        F, pull = jax.vjp(matmul, X, Y)
        dX, dY = pull(jnp.asarray(U))
    assert np.allclose(F, X @ Y, rtol=0, atol=1e-13)
    assert np.allclose(dX, summed(U @ Y.swapaxes(-1, -2), X.shape), rtol=0, atol=1e-13)
    assert np.allclose(dY, summed(X.swapaxes(-1, -2) @ U, Y.shape), rtol=0, atol=1e-13)


@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize(("x", "y"), [((), ()), ((3,), ()), ((), (3,)), ((2, 3), (3,)), ((3,), (2, 3))])
def test_every_stack_of_halves_multiplies_under_jit_and_vmap(x, y, mapped):
    """XLA on CPU lacks some products of bfloat16 in float32; each of these ran into one, or might have."""
    X = jnp.ones((*([2] if mapped[0] == 0 else []), *x, 4, 5), jnp.bfloat16)
    Y = jnp.ones((*([2] if mapped[1] == 0 else []), *y, 5, 6), jnp.bfloat16)

    @jax.jit
    def gradient(X, Y):
        return jax.grad(lambda X, Y: jax.vmap(matmul, mapped)(X, Y).sum(), (0, 1))(X, Y)

    dX, dY = gradient(X, Y)
    products = 2 * int(np.prod(np.broadcast_shapes(x, y)))
    assert (dX == 6 * products // (X.size // 20)).all()
    assert (dY == 4 * products // (Y.size // 30)).all()


def test_a_weight_shared_by_a_stack_is_summed_in_float32():
    """4,096 matrices give each weight a gradient of 1; in bfloat16 the sum would stick at 256."""
    x, W = jnp.ones((4096, 1, 2), jnp.bfloat16), jnp.ones((2, 3), jnp.bfloat16)
    out, pull = jax.vjp(matmul, x, W)
    dx, dW = pull(jnp.ones_like(out))
    assert (dW == 4096).all()
    assert (dx == 3).all()


def test_a_transposed_matrix_times_a_stack_is_accumulated_in_float32():
    """4,096 ones; left to itself XLA on CPU adds this one product in bfloat16 (JAX 0.12), where 256 + 1 is 256."""
    x, y = jnp.ones((4096, 2), jnp.bfloat16), jnp.ones((3, 4096, 4), jnp.bfloat16)
    assert (jax.jit(lambda x, y: matmul(transpose(x), y))(x, y) == 4096).all()


def test_a_matrix_product_names_the_axis_that_does_not_fit():
    with pytest.raises(ValueError, match=r"K is 5 in x \(4, 5\) but 6 in y \(6, 2\)"):
        matmul(jnp.ones((4, 5)), jnp.ones((6, 2)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda dtype: dtype.__name__)
def test_sums_and_means_of_halves_are_accumulated_in_float32(dtype):
    """5,000 times 16: the sum is infinite in float16, the mean not; in bfloat16 the sum would stick at 4096."""
    x = jnp.full(5000, 16, dtype)
    assert reduce_mean(x) == 16
    assert reduce_sum(x) == jnp.float32(80_000).astype(dtype)


def test_the_gradient_of_a_mean_is_a_share():
    x = jnp.zeros((2, 5))
    upstream = jnp.array([10.0, 20.0])
    dx = jax.vjp(lambda x: reduce_mean(x, axis=1), x)[1](upstream)[0]
    assert dx.tolist() == [[2] * 5, [4] * 5]


def test_the_mean_of_nothing_is_nan_and_its_sum_zero():
    assert jnp.isnan(reduce_mean(jnp.zeros(0)))
    assert reduce_sum(jnp.zeros(0)) == 0


def test_numbers_that_tie_for_the_largest_share_evenly():
    x = jnp.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0], [1.0, 5.0, 4.0]])
    upstream = jnp.array([8.0, 9.0, 7.0])
    dx = jax.vjp(lambda x: reduce_max(x, axis=1), x)[1](upstream)[0]
    assert dx.tolist() == [[4, 0, 4], [3, 3, 3], [0, 7, 0]]
    peer = jax.vjp(lambda x: jnp.max(x, axis=1), x)[1](upstream)[0]
    assert dx.tolist() == peer.tolist()


def test_a_tie_wider_than_float16_can_count_is_still_shared():
    """70,000 ties: that number is no float16, a share of 70000 / 70000 is."""
    x = jnp.zeros((2, 70_000), jnp.float16)
    upstream = jnp.array([7000.0, -7000.0], jnp.float16)
    dx = jax.vjp(lambda x: reduce_max(x, axis=1), x)[1](upstream)[0]
    assert (dx == jnp.array([[0.1], [-0.1]], jnp.float16)).all()


def test_a_loser_receives_nothing_even_of_infinity():
    dx = jax.vjp(reduce_max, jnp.array([1.0, 2.0]))[1](jnp.float32(jnp.inf))[0]
    assert dx.tolist() == [0, jnp.inf]


def test_a_permutation_is_undone():
    """Axis i of f is axis axes[i] of x; three different sizes leave one way back only."""
    x = random(2, 3, 4)
    for axes in itertools.permutations(range(3)):
        for signed in (axes, tuple(axis - 3 for axis in axes)):
            f, pull = jax.vjp(lambda x, axes=signed: transpose(x, axes=axes), jnp.asarray(x))
            assert (pull(f)[0] == jnp.asarray(x)).all()
            assert f.tolist() == jnp.asarray(x).transpose(axes).tolist()


def test_a_reshape_is_undone():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    f, pull = jax.vjp(lambda x: reshape(x, shape=(4, -1)), x)
    assert f[1].tolist() == [6, 7, 8, 9, 10, 11]
    assert (pull(f)[0] == x).all()


def test_each_array_of_a_concatenation_gets_its_own_piece_back():
    """Of different lengths along the axis, one of them empty, and in two precisions."""
    x, y, z = jnp.ones((2, 3)), jnp.zeros((2, 0)), jnp.ones((2, 1), jnp.bfloat16)
    f, pull = jax.vjp(lambda *arrays: concatenate(arrays, axis=-1), x, y, z)
    assert (f.shape, f.dtype) == ((2, 4), jnp.float32)
    dx, dy, dz = pull(jnp.arange(8.0).reshape(2, 4))
    assert dx.tolist() == [[0, 1, 2], [4, 5, 6]]
    assert dy.shape == (2, 0)
    assert (dz.tolist(), dz.dtype) == ([[3], [7]], jnp.bfloat16)


def test_a_row_taken_twice_receives_both_gradients():
    x, index = jnp.arange(8.0).reshape(4, 2), jnp.array([1, 3, 1])
    f, pull = jax.vjp(lambda x: gather(x, index), x)
    assert f.tolist() == [[2, 3], [6, 7], [2, 3]]
    assert pull(jnp.array([[1.0, 2], [3, 4], [5, 6]]))[0].tolist() == [[0, 0], [6, 8], [0, 0], [3, 4]]


def test_rows_taken_often_add_up_in_float32():
    """A row taken 1,000 times; in bfloat16 its gradient would stick at 256."""
    x, index = jnp.zeros((3, 1), jnp.bfloat16), jnp.ones(1000, jnp.int32)
    f, pull = jax.vjp(lambda x: gather(x, index), x)
    assert pull(jnp.ones_like(f))[0].ravel().tolist() == [0, 1000, 0]


def test_a_negative_index_counts_from_the_end_and_one_outside_is_nan_and_gets_nothing():
    x, index = jnp.arange(3.0), jnp.array([-1, -3, -4, 3, 2])
    f, pull = jax.vjp(lambda x: gather(x, index), x)
    assert f[jnp.array([0, 1, 4])].tolist() == [2, 0, 2]
    assert jnp.isnan(f[2:4]).all()
    assert pull(jnp.array([1.0, 10, 100, 1000, 10000]))[0].tolist() == [10, 0, 10001]


def test_an_index_of_any_rank_takes_rows_of_any_rank():
    x, index = jnp.asarray(random(4, 2, 3)), jnp.array([[0, 3, 1], [2, 2, 0]], jnp.int8)
    assert gather(x, index).shape == (2, 3, 2, 3)
    assert gather(x, jnp.uint8(3)).tolist() == x[3].tolist()
