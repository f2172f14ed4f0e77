"""Functions for the tests of `derive`, as lectures and papers write them, each with arguments.

A function's assignments are read: they stand one a line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Derivable:
    """A function, example arguments, and the names of those whose rows sum to 1."""

    function: Callable
    args: tuple[Any, ...]
    sums_to_one: tuple[str, ...] = ()


DERIVABLE: dict[str, Derivable] = {}
_rng = np.random.default_rng(0)
B, D, H, C = 3, 5, 4, 7


def normal(*shape: int) -> jax.Array:
    return jnp.asarray(_rng.normal(size=shape), jnp.float32)


LABELS = jnp.array([1, 0, 3])
ONE_HOT = jax.nn.one_hot(LABELS, C)


def derivable(*args: Any, sums_to_one: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    def put(function: Callable) -> Callable:
        DERIVABLE[function.__name__] = Derivable(function, args, sums_to_one)
        return function

    return put


@derivable(normal(B, D))
def sigmoid(z):
    a = 1 / (1 + jnp.exp(-z))
    return a


@derivable(normal(B, D))
def tanh(z):
    a = jnp.tanh(z)
    return a


@derivable(normal(B, D))
def relu(z):
    a = jax.nn.relu(z)
    return a


@derivable(normal(B, D))
def softplus(z):
    a = jax.nn.softplus(z)
    return a


@derivable(normal(B, D))
def gelu(z):
    a = jax.nn.gelu(z)
    return a


@derivable(normal(B, D))
def silu(z):
    a = jax.nn.silu(z)
    return a


@derivable(normal(B, D))
def softmax(z):
    p = jax.nn.softmax(z)
    return p


@derivable(normal(B, D))
def log_softmax(z):
    l = jax.nn.log_softmax(z)  # noqa: E741
    return l


@derivable(normal(B, D), normal(D, H), normal(H))
def affine(x, W, b):
    z = x @ W + b
    return z


@derivable(normal(D), normal(H, D), normal(H), normal(C, H), normal(C), normal(C))
def score_of_one(x, W1, b1, W2, b2, U):
    z1 = W1 @ x + b1
    a1 = jax.nn.sigmoid(z1)
    z2 = W2 @ a1 + b2
    a2 = jax.nn.sigmoid(z2)
    s = U @ a2
    return s


def score(x, W1, b1, W2, b2, U):
    """The same of many examples at once: for derivations checked line by line."""
    z1 = x @ W1 + b1
    a1 = jax.nn.sigmoid(z1)
    z2 = a1 @ W2 + b2
    a2 = jax.nn.sigmoid(z2)
    s = a2 @ U
    return s


@derivable(normal(B, D), normal(D, H), normal(H), normal(H, C), normal(C), LABELS)
def mlp(x, W1, b1, W2, b2, labels):
    z1 = x @ W1 + b1
    a1 = jax.nn.relu(z1)
    z2 = a1 @ W2 + b2
    logits = jax.nn.log_softmax(z2)
    L = -jnp.take_along_axis(logits, labels[:, None], -1).mean() + 0.5 * 0.1 * (W1 * W1).sum()
    return L


@derivable(normal(B, C), ONE_HOT, sums_to_one=("y",))
def cross_entropy(z, y):
    logs = jax.nn.log_softmax(z)
    L = -(y * logs).sum(-1).mean()
    return L


@derivable(normal(B, C), LABELS)
def cross_entropy_of_labels(z, labels):
    logs = jax.nn.log_softmax(z)
    L = -jnp.take_along_axis(logs, labels[:, None], -1).mean()
    return L


@derivable(normal(B), normal(B))
def max_margin(s, s_c):
    L = jnp.maximum(0.0, 1 - s + s_c).sum()
    return L


@derivable(normal(B, C), LABELS)
def hinge(s, labels):
    true = jnp.take_along_axis(s, labels[:, None], -1)
    L = jnp.maximum(0, s - true + 1).sum(-1).mean()
    return L


@derivable(normal(B, D), normal(D), normal(D))
def layer_norm(x, scale, shift):
    m = x.mean(-1, keepdims=True)
    v = ((x - m) ** 2).mean(-1, keepdims=True)
    n = (x - m) / jnp.sqrt(v + 1e-5)
    return n * scale + shift


@derivable(normal(B, D), normal(D))
def rms_norm(x, scale):
    r = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)
    n = x * r
    return n * scale


@derivable(normal(11, 3), normal(13, 3), normal(13, 4))
def attention(Q, K, V):
    S = Q @ K.T / jnp.sqrt(3.0)
    P = jax.nn.softmax(S)
    O = P @ V  # noqa: E741
    return O


@derivable(normal(6, 3), normal(6, 3), normal(6, 4), np.tri(6, dtype=bool))
def causal_attention(Q, K, V, mask):
    S = jnp.where(mask, Q @ K.T / jnp.sqrt(3.0), -1e9)
    P = jax.nn.softmax(S)
    O = P @ V  # noqa: E741
    return O


@derivable(normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 7))
def multi_head_attention(Q, K, V):
    S = jnp.einsum("bhid,bhjd->bhij", Q, K) / jnp.sqrt(5.0)
    P = jax.nn.softmax(S)
    O = jnp.einsum("bhij,bhjd->bhid", P, V)  # noqa: E741
    return O


@derivable(normal(B, D), np.arange(15).reshape(B, D) % 3 > 0)
def dropout(x, mask):
    y = jnp.where(mask, x / 0.75, 0)
    return y


@derivable(normal(C, D), jnp.array([[0, 1, 1, 5], [2, 3, 6, 6], [4, 4, 4, 1]]))
def embedding_bag(table, ids):
    h = table[ids].mean(1)
    return h


@derivable(normal(B, D), normal(D, H), normal(D, H))
def gated_linear_unit(x, W, V):
    u = x @ W
    s = jax.nn.sigmoid(x @ V)
    h = u * s
    return h


@derivable(normal(B, D), normal(B, D))
def cosine(x, y):
    norm_x = jnp.sqrt((x * x).sum(-1))
    norm_y = jnp.sqrt((y * y).sum(-1))
    s = (x * y).sum(-1) / (norm_x * norm_y)
    return s


@derivable(normal(B, C), LABELS)
def focal(z, labels):
    logs = jax.nn.log_softmax(z)
    log_p = jnp.take_along_axis(logs, labels[:, None], -1)[:, 0]
    p = jnp.exp(log_p)
    L = -((1 - p) ** 2 * log_p).mean()
    return L


@derivable(normal(B, D), normal(C, D), normal(C))
def gaussian_mixture(x, mu, log_weight):
    d2 = ((x[:, None, :] - mu) ** 2).sum(-1)
    z = log_weight - 0.5 * d2
    L = jax.nn.logsumexp(z, -1).mean()
    return L


@derivable(normal(B, 5), normal(5, 5), normal(B, 5))
def crf_step(alpha, T, scores):
    s = alpha[:, :, None] + T
    a = jax.nn.logsumexp(s, 1) + scores
    return a


@derivable(normal(B, C))
def largest(x):
    y = x.max(-1)
    return y


@derivable(normal(B, D), normal(D))
def two_outputs(x, w):
    s = x @ w
    t = jnp.tanh(x)
    return s, t


@derivable(normal(6, B, D), normal(B, H), normal(D, H), normal(H, H), normal(H))
def recurrent_network(x, h0, W, U, b):
    def step(h, x_t):
        z = x_t @ W + h @ U + b
        h = jnp.tanh(z)
        return h, h

    hs = jax.lax.scan(step, h0, x)[1]
    return hs


@derivable(normal(6, D), normal(D, H), normal(H, H), normal(H, C))
def last_state(x, W, U, V):
    def step(h, x_t):
        h = jax.nn.sigmoid(x_t @ W + h @ U)
        return h, None

    h = jax.lax.scan(step, jnp.zeros(U.shape[0]), x)[0]
    L = (h @ V).sum() ** 2
    return L


@derivable(normal(6, D), normal(H), normal(H), normal(D, H), normal(H, H), normal(D, H), normal(H, H))
def gated_cell(x, h0, c0, W, U, V, G):
    def step(carry, x_t):
        h, c = carry
        f = jax.nn.sigmoid(x_t @ W + h @ U)
        i = jnp.tanh(x_t @ V + h @ G)
        c = f * c + i
        h = f * jnp.tanh(c)
        return (h, c), h

    hs = jax.lax.scan(step, (h0, c0), x)[1]
    return hs


@derivable(normal(6, 3), normal(6, 3), normal(6, 4), normal(3, 4))
def linear_attention(q, k, v, S0):
    def step(S, qkv):
        q_t, k_t, v_t = qkv
        S = S + k_t[:, None] * v_t
        return S, q_t @ S

    o = jax.lax.scan(step, S0, (q, k, v))[1]
    return o
