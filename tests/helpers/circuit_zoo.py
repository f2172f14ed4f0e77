"""Functions of every kind, each with arguments, for the tests of exactness. float64, well away from kinks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).normal(size=shape))


def symmetric(n: int) -> np.ndarray:
    a = normal(n, n)
    return a @ a.T + n * np.eye(n)


def of(fun: Callable, *args: Any) -> Callable:
    """An entry that needs no setting up."""
    return lambda: (fun, args)


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, u: (u,))


@jax.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (x**3, x), lambda x, u: (3 * x**2 * u,))


@jax.custom_jvp
def logaddone(x):
    return jnp.log(1 + jnp.exp(x))


logaddone.defjvp(lambda p, t: (logaddone(p[0]), jax.nn.sigmoid(p[0]) * t[0]))


def rnn(W, U, xs):
    def step(h, x):
        h = jnp.tanh(h @ W + x @ U)
        return h, h.sum()

    h, ys = lax.scan(step, jnp.zeros(3), xs)
    return h.sum() + (ys**2).sum()


def reverse_scan(x):
    return lax.scan(lambda c, t: (c * t, c), jnp.sin(x[0]), x, reverse=True)[1].sum()


def nested_scan(x):
    def outer(c, _):
        def inner(d, t):
            return d * jnp.cos(t + d), d

        d, ys = lax.scan(inner, c, jnp.arange(3.0))
        return d + ys.mean(), ys

    c, ys = lax.scan(outer, x, None, length=4)
    return c + ys.sum()


def associative(x):
    return (lax.associative_scan(jnp.multiply, x) ** 2).sum()


def switched(i, x):
    return lax.switch(i, [jnp.sin, jnp.cos, lambda v: v**3], x).sum()


def gathered(table, ids):
    return (table[ids] ** 2).sum() + jnp.asarray(table).at[ids].set(table[:1] * 2.0).sum()


def convolved(x, k):
    y = lax.conv_general_dilated(x, k, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.tanh(y).sum()


def pooled(x):
    return (lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID") ** 2).sum()


def attention(q, k, v):
    weights = jax.nn.softmax(q @ k.T / jnp.sqrt(4.0), axis=-1)
    return (weights @ v).sum() + jnp.einsum("ij,jk->", weights, v**2)


def two_layers(params, x):
    h = jax.nn.sigmoid(x @ params["W1"] + params["b1"])
    return optax.softmax_cross_entropy_with_integer_labels(h @ params["W2"], jnp.array([0, 1])).mean()


def solved(a, b):
    return jnp.linalg.solve(a, b).sum() + jnp.linalg.slogdet(a)[1]


def eigen(a):
    return (jnp.linalg.eigh(a)[0] ** 2).sum()


def decomposed(a):
    return jnp.linalg.svd(a, compute_uv=False)[0] + jnp.linalg.qr(a)[1][0, 0]


def spectral(x):
    return jnp.abs(jnp.fft.fft(x)).sum() + jnp.fft.irfft(jnp.fft.rfft(x) ** 2).max()


def sorted_sum(x):
    return (jnp.sort(x) * jnp.arange(x.size)).sum() + lax.top_k(x, 2)[0].prod()


def scattered(x, ids):
    return (jnp.zeros(5).at[ids].add(x) ** 2).sum() + jax.ops.segment_sum(x**2, ids, 4).max()


def remat_stack(W, x):
    @jax.checkpoint
    def block(x):
        return jnp.tanh(x @ W) + x

    return block(block(x)).sum()


def with_scopes(x):
    with jax.named_scope("outer"):
        with jax.named_scope("first"):
            y = jnp.sin(x)
        with jax.named_scope("second"):
            z = y * x
    with jax.named_scope("outer"):
        return (z + y).sum()


def half_stopped(x):
    return (lax.stop_gradient(x) * x + jnp.sin(lax.stop_gradient(x))).sum()


def noisy(x, key):
    mask = jax.random.bernoulli(key, 0.7, x.shape)
    return jnp.where(mask, x / 0.7, 0).sum() ** 2 + (jax.random.normal(key, x.shape) * x).sum()


def inner_gradient(x):
    return jax.grad(lambda v: jnp.sum(jnp.sin(v) ** 2))(x).sum() + jax.jvp(jnp.exp, (x,), (x,))[1].sum()


def hessian_trace(x):
    return jnp.trace(jax.hessian(lambda v: jnp.sum(jnp.tanh(v) ** 3))(x))


def fixed_loop(x):
    return lax.fori_loop(0, 5, lambda i, v: v * jnp.sin(v + i), x).sum()


def dropped(x):
    _, r = jnp.linalg.qr(x)
    parts = jnp.split(x, 2)
    return r.sum() + parts[0].sum() * 2


def unused(x, y):
    return (x**2).sum()


def integers(x, n):
    return jnp.power(x, 3).sum() * n + (x[n] if x.ndim else x)


def jitted_twice(x):
    f = jax.jit(lambda v: jnp.sin(v) * v)
    return f(x).sum() + f(2 * x).sum() * f(x[0])


def complex_energy(x):
    z = x * jnp.exp(1j * x)
    return jnp.real(z * jnp.conj(z)).sum() + jnp.imag(z).sum()


def mapped(W, xs):
    return jax.vmap(lambda x: jnp.tanh(W @ x).sum())(xs).sum() + lax.map(lambda x: cube(x).sum(), xs).sum()


def chosen(x):
    return lax.cond(x.sum() > 0, lambda v: lax.cond(v[0] > 10, jnp.sin, jnp.cos, v), jnp.exp, x).sum()


def dynamic(x, i):
    y = lax.dynamic_slice(x, (i,), (2,))
    return lax.dynamic_update_slice(x, y * 3, (0,)).sum() * y.prod()


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(4, rngs=rngs, param_dtype=jnp.float64)
        self.linears = nnx.List([nnx.Linear(4, 4, rngs=rngs, param_dtype=jnp.float64) for _ in range(2)])

    def __call__(self, x):
        for linear in self.linears:
            x = x + jax.nn.gelu(linear(self.norm(x)))
        return x


def nnx_block():
    return lambda model, x: (model(x) ** 2).mean(), (Block(nnx.Rngs(0)), normal(3, 4))


def nnx_closed_over():
    model = Block(nnx.Rngs(1))
    return lambda x: model(x).sum(), (normal(3, 4),)


def optax_step():
    optimizer = optax.adam(0.1)
    params = {"w": normal(3), "b": normal(seed=1)}
    state = optimizer.init(params)

    def after(params, x):
        grads = jax.grad(lambda p: jnp.tanh(p["w"] @ x + p["b"]) ** 2)(params)
        updates, _ = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates)["w"] ** 2).sum()  # pyright: ignore

    return after, (params, normal(3, seed=2))


ids = np.array([0, 2, 2, 1])
ZOO: dict[str, Callable[[], tuple[Callable, tuple]]] = {
    "lecture_add_mul": of(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0),
    "neuron": of(lambda w, x: 1 / (1 + jnp.exp(-(w[:2] @ x + w[2]))), np.array([2.0, -3, -3]), np.array([-1.0, -2])),
    "same_wire_twice": of(lambda a: a + a * a, 3.0),
    "elementary": of(lambda x: (jnp.exp(jnp.sin(x)) / jnp.sqrt(1 + x**2) + lax.erf(x)).sum(), normal(6)),
    "broadcast": of(lambda x, y: (x[:, None] * y + x.mean()).std(), normal(3), normal(4, seed=1)),
    "rnn": of(rnn, normal(3, 3), normal(2, 3, seed=1), normal(5, 2, seed=2)),
    "reverse_scan": of(reverse_scan, normal(4)),
    "nested_scan": of(nested_scan, 0.7),
    "long_scan": of(lambda x: lax.scan(lambda c, _: (jnp.sin(c) + x, None), x, None, length=100)[0], 0.3),
    "associative_scan": of(associative, normal(6)),
    "switch": of(switched, 2, normal(3)),
    "cond": of(chosen, np.abs(normal(3))),
    "fori_loop": of(fixed_loop, normal(3)),
    "gather": of(gathered, normal(3, 4), ids),
    "scatter": of(scattered, normal(4), ids),
    "dynamic_slice": of(dynamic, normal(4), 1),
    "convolution": of(convolved, normal(1, 6, 6, 2), normal(3, 3, 2, 3, seed=1)),
    "max_pool": of(pooled, normal(4, 6)),
    "attention": of(attention, normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)),
    "two_layers": of(
        two_layers, {"W1": normal(3, 4), "b1": normal(4, seed=1), "W2": normal(4, 2, seed=2)}, normal(2, 3, seed=3)
    ),
    "solve": of(solved, symmetric(3), normal(3, seed=1)),
    "cholesky": of(lambda a: jnp.linalg.cholesky(a).sum() + jnp.linalg.inv(a).sum(), symmetric(3)),
    "eigh": of(eigen, symmetric(3)),
    "svd_qr": of(decomposed, normal(4, 3)),
    "expm": of(lambda a: jax.scipy.linalg.expm(a).sum(), 0.1 * normal(3, 3)),
    "fft": of(spectral, normal(8)),
    "sort": of(sorted_sum, normal(6)),
    "cumulative": of(lambda x: (jnp.cumsum(x) * jnp.cumprod(x) + lax.cumlogsumexp(x)).sum(), normal(5)),
    "logsumexp": of(lambda x: jax.nn.logsumexp(x) + jax.scipy.special.gammaln(1 + x**2).sum(), normal(5)),
    "remat": of(remat_stack, normal(4, 4), normal(2, 4, seed=1)),
    "named_scopes": of(with_scopes, normal(3)),
    "stop_gradient": of(half_stopped, normal(3)),
    "random": of(noisy, normal(4), jax.random.key(3)),
    "gradient_within": of(inner_gradient, normal(3)),
    "hessian_within": of(hessian_trace, normal(3)),
    "dropped_outputs": of(dropped, normal(4, 4)),
    "unused_argument": of(unused, normal(2), normal(3)),
    "integer_argument": of(integers, normal(3), 2),
    "jit_twice": of(jitted_twice, normal(3)),
    "complex": of(complex_energy, normal(3)),
    "vmap_and_map": of(mapped, normal(3, 3), normal(4, 3, seed=1)),
    "custom_vjp": of(lambda x: (cube(x) * straight_through(x)).sum(), 0.2 + np.abs(normal(3))),
    "custom_jvp": of(lambda x: (logaddone(x) + jax.nn.relu(x) * jax.nn.silu(x)).sum(), normal(4)),
    "custom_rule_in_scan": of(lambda x: lax.scan(lambda c, _: (cube(c) * 0.5, c), x, None, length=3)[0], 0.9),
    "custom_rule_in_remat": of(lambda x: jax.checkpoint(lambda v: cube(jnp.sin(v)))(x).sum(), normal(3)),
    "einsum": of(lambda a, b: jnp.einsum("bij,bjk->ik", a, b).sum() ** 2, normal(2, 3, 4), normal(2, 4, 3, seed=1)),
    "empty": of(lambda x, y: (x**2).sum() + y.sum(), normal(0, 3), normal(2)),
    "polynomial": of(partial(jnp.polyval, np.array([1.0, -2.0, 3.0])), 1.5),
    "nnx_block": nnx_block,
    "nnx_closed_over": nnx_closed_over,
    "optax_step": optax_step,
}
