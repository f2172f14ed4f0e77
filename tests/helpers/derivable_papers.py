"""Fifteen functions from papers, for which this library has no rule, as their code writes them: `derive` is fed them.

A function's assignments are read: they stand one a line.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from derivable import Derivable, normal

PAPERS: dict[str, Derivable] = {}


def paper(*args: Any) -> Callable[[Callable], Callable]:
    def put(function: Callable) -> Callable:
        PAPERS[function.__name__] = Derivable(function, args)
        return function

    return put


def positive(*shape: int) -> jax.Array:
    return 0.5 + jnp.abs(normal(*shape))


@paper(normal(4, 6), normal(6), normal(4, 3), normal(4, 3))
def rope_with_rms_norm(x, scale, cos, sin):
    """Su et al. 2021, arXiv:2104.09864; Zhang, Sennrich 2019, arXiv:1910.07467."""
    r = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)
    n = x * r * scale
    a, b = jnp.split(n, 2, -1)
    y = jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)
    return y


@paper(normal(3, 5), normal(5, 4), normal(5, 4), normal(4, 6))
def swiglu(x, W, V, U):
    """Shazeer 2020, arXiv:2002.05202."""
    h = jax.nn.silu(x @ W) * (x @ V)
    y = h @ U
    return y


@paper(normal(3, 7), jnp.array([1, 0, 3]))
def focal_loss(z, labels):
    """Lin et al. 2017, arXiv:1708.02002."""
    logs = jax.nn.log_softmax(z)
    log_p = jnp.take_along_axis(logs, labels[:, None], -1)[:, 0]
    L = -((1 - jnp.exp(log_p)) ** 2 * log_p).mean()
    return L


@paper(normal(4, 5), normal(4, 5), jnp.arange(4), jnp.float32(0.7))
def info_nce(x, y, pair, temperature):
    """Van den Oord et al. 2018, arXiv:1807.03748."""
    u = x / jnp.sqrt((x * x).sum(-1, keepdims=True))
    v = y / jnp.sqrt((y * y).sum(-1, keepdims=True))
    S = u @ v.T / temperature
    logs = jax.nn.log_softmax(S)
    L = -jnp.take_along_axis(logs, pair[:, None], -1).mean()
    return L


@paper(normal(3, 5), normal(5, 5), normal(3, 5))
def crf_step(alpha, T, scores):
    """Lafferty et al. 2001: one step of the forward algorithm."""
    s = alpha[:, :, None] + T
    a = jax.nn.logsumexp(s, 1) + scores
    return a


@paper(normal(6), normal(6), normal(6), normal(6), jnp.float32(0.8))
def soft_dtw_cells(left, above, corner, cost, gamma):
    """Cuturi, Blondel 2017, arXiv:1703.01541: the cells of an antidiagonal."""
    three = jnp.stack([left, above, corner])
    soft_min = -gamma * jax.nn.logsumexp(-three / gamma, 0)
    r = cost + soft_min
    return r


@paper(normal(2, 6, 5), normal(6), normal(6))
def group_norm(x, scale, shift):
    """Wu, He 2018, arXiv:1803.08494: two groups of channels."""
    g = x.reshape(x.shape[0], 2, -1)
    m = g.mean(-1, keepdims=True)
    v = ((g - m) ** 2).mean(-1, keepdims=True)
    n = (g - m) / jnp.sqrt(v + 1e-5)
    y = n.reshape(x.shape) * scale[:, None] + shift[:, None]
    return y


@paper(positive(6, 3), positive(6, 3), normal(6, 4), positive(3, 4), positive(3))
def causal_linear_attention(q, k, v, S0, z0):
    """Katharopoulos et al. 2020, arXiv:2006.16236."""

    def step(carry, at_t):
        S, z = carry
        q_t, k_t, v_t = at_t
        S = S + k_t[:, None] * v_t
        z = z + k_t
        o = (q_t @ S) / (q_t @ z)
        return (S, z), o

    o = jax.lax.scan(step, (S0, z0), (q, k, v))[1]
    return o


@paper(normal(6, 3), positive(6, 3), -positive(3, 4), normal(6, 4), normal(6, 4), normal(3, 4))
def selective_scan(x, delta, A, B, C, h0):
    """Gu, Dao 2023, arXiv:2312.00752."""

    def step(h, at_t):
        x_t, delta_t, B_t, C_t = at_t
        decay = jnp.exp(delta_t[:, None] * A)
        h = decay * h + (delta_t * x_t)[:, None] * B_t
        return h, h @ C_t

    y = jax.lax.scan(step, h0, (x, delta, B, C))[1]
    return y


@paper(normal(3, 5), normal(7, 5), normal(7))
def gaussian_mixture(x, mu, log_weight):
    """Log-likelihood of a mixture of unit Gaussians, up to a constant."""
    d2 = ((x[:, None, :] - mu) ** 2).sum(-1)
    z = log_weight - 0.5 * d2
    L = jax.nn.logsumexp(z, -1).mean()
    return L


@paper(normal(3, 5), normal(7, 5), jnp.array([1, 0, 3]))
def cosine_margin(x, W, labels):
    """Wang et al. 2018, arXiv:1801.09414."""
    u = x / jnp.sqrt((x * x).sum(-1, keepdims=True))
    w = W / jnp.sqrt((W * W).sum(-1, keepdims=True))
    s = u @ w.T
    z = 8.0 * (s - 0.25 * jax.nn.one_hot(labels, W.shape[0]))
    logs = jax.nn.log_softmax(z)
    L = -jnp.take_along_axis(logs, labels[:, None], -1).mean()
    return L


@paper(normal(2, 3, 5, 4), normal(2, 5, 4), normal(2, 5, 6), np.tri(5, dtype=bool))
def grouped_attention_with_soft_cap(Q, K, V, mask):
    """Ainslie et al. 2023, arXiv:2305.13245; the cap of Gemma 2, arXiv:2408.00118."""
    S = jnp.einsum("grid,gjd->grij", Q, K) / 2.0
    capped = 30.0 * jnp.tanh(S / 30.0)
    P = jax.nn.softmax(jnp.where(mask, capped, -jnp.inf))
    O = jnp.einsum("grij,gjd->grid", P, V)  # noqa: E741
    return O


@paper(normal(4), normal(4, 4), normal(4), jnp.float32(0.3), jnp.float32(1.5))
def kalman_update(m, P, h, y, r):
    """Kalman 1960: mean and covariance after one scalar measurement."""
    Ph = P @ h
    S = h @ Ph + r
    K = Ph / S
    mean = m + K * (y - h @ m)
    covariance = P - K[:, None] * (h @ P)
    return mean, covariance


@paper(normal(5), normal(4, 5), normal(5), jnp.float32(0.6))
def sinkhorn_step(g, C, log_b, eps):
    """Cuturi 2013, arXiv:1306.0895: one half step on the dual potentials, in logarithms."""
    f = -eps * jax.nn.logsumexp((g - C) / eps + log_b, -1)
    return f


@paper(normal(7, 4), normal(3, 4), normal(4))
def depthwise_convolution(x, w, b):
    """Each channel with three taps of its own; zeros around the sequence."""
    t = x.shape[0]
    wide = jnp.pad(x, ((1, 1), (0, 0)))
    y = wide[:t] * w[0] + wide[1 : t + 1] * w[1] + wide[2:] * w[2] + b
    return y
