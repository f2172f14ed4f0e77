"""Convolutions, pooling, recurrent cells, gated units: where sums over windows, steps and batches go wrong."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .entry import Foreign, normal, of_arguments, vjp

Array = Any


def conv(x: Array, w: Array) -> Array:
    """Cross-correlation of a sequence: (time, channels), (taps, channels in, channels out)."""
    windows = jnp.stack([x[k : x.shape[0] - w.shape[0] + 1 + k] for k in range(w.shape[0])], 1)
    return jnp.einsum("tki,kio->to", windows, w)


def of_conv(flipped: bool = True, taps: Callable = lambda dw: dw, transposed: bool = True) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, w = kept
        n = w.shape[0]
        padded = jnp.pad(u, ((n - 1, n - 1), (0, 0)))
        turned = w[::-1] if flipped else w
        turned = turned.swapaxes(1, 2) if transposed else turned
        dw = jnp.stack([jnp.einsum("ti,to->io", x[k : k + u.shape[0]], u) for k in range(n)])
        return conv(padded, turned), taps(dw)

    return of_arguments(conv, backward)


def depthwise(x: Array, w: Array) -> Array:
    """Causal, as in state-space models: y_t = sum_k w_k x_(t-k)."""
    n = w.shape[0]
    padded = jnp.pad(x, ((n - 1, 0), (0, 0)))
    return sum(padded[n - 1 - k : n - 1 - k + x.shape[0]] * w[k] for k in range(n))


def of_depthwise(shift: int = 0) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, w = kept
        n, t = w.shape[0], x.shape[0]
        ahead = jnp.pad(u, ((0, n), (0, 0)))
        dx = sum(ahead[k + shift : k + shift + t] * w[k] for k in range(n))
        behind = jnp.pad(x, ((n - 1, 0), (0, 0)))
        return dx, jnp.stack([(u * behind[n - 1 - k : n - 1 - k + t]).sum(0) for k in range(n)])

    return of_arguments(depthwise, backward)


def max_pool(x: Array) -> Array:
    """Windows of three, one step apart."""
    return jnp.maximum(jnp.maximum(x[:-2], x[1:-1]), x[2:])


def max_pool_backward(kept: Any, u: Array, add: bool = True) -> Any:
    (x,) = kept
    windows = jnp.stack([x[:-2], x[1:-1], x[2:]])
    at = jnp.argmax(windows, 0) + jnp.arange(u.size)
    zero = jnp.zeros_like(x)
    return (zero.at[at].add(u) if add else zero.at[at].set(u),)


def average_pool(x: Array) -> Array:
    """Pairs; the last one may hold but one element, whose mean it is (ceil_mode)."""
    pairs = jnp.pad(x, (0, x.size % 2)).reshape(-1, 2).sum(1)
    return pairs / jnp.minimum(2, x.size - 2 * jnp.arange(pairs.size))


def average_pool_backward(kept: Any, u: Array, clipped: bool = True) -> Any:
    (x,) = kept
    sizes = jnp.minimum(2, x.size - 2 * jnp.arange(u.size)) if clipped else 2
    return (jnp.repeat(u / sizes, 2)[: x.size].astype(x.dtype),)


def upsample(x: Array) -> Array:
    return jnp.repeat(x, 2, 0)


def lstm(x: Array, h: Array, c: Array, w: Array) -> Any:
    """One step: gates i, f, g, o."""
    i, f, g, o = jnp.split(jnp.concatenate([x, h]) @ w, 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def of_lstm(cell: Callable = lambda dh, dc, o, t: dc + dh * o * (1 - t * t), order: str = "ifgo") -> Any:
    def backward(kept: Any, upstream: Any) -> Any:
        x, h, c, w = kept
        dh, dc = upstream
        i, f, g, o = jnp.split(jnp.concatenate([x, h]) @ w, 4)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        t = jnp.tanh(f * c + i * g)
        dc = cell(dh, dc, o, t)
        gates = {
            "i": dc * g * i * (1 - i),
            "f": dc * c * f * (1 - f),
            "g": dc * i * (1 - g * g),
            "o": dh * t * o * (1 - o),
        }
        dz = jnp.concatenate([gates[k] for k in order])
        dxh = w @ dz
        return dxh[: x.size], dxh[x.size :], dc * f, jnp.outer(jnp.concatenate([x, h]), dz)

    return of_arguments(lstm, backward)


def gru(x: Array, h: Array) -> Array:
    """Without weights: r = sigmoid(x), z = sigmoid(x + h), n = tanh(x + r h)."""
    r, z = jax.nn.sigmoid(x), jax.nn.sigmoid(x + h)
    return (1 - z) * jnp.tanh(x + r * h) + z * h


def of_gru(reset: bool = True, direct: bool = True) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, h = kept
        r, z = jax.nn.sigmoid(x), jax.nn.sigmoid(x + h)
        n = jnp.tanh(x + r * h)
        dn = u * (1 - z) * (1 - n * n)
        dz = u * (h - n) * z * (1 - z)
        dr = dn * h * r * (1 - r) if reset else 0
        return dn + dz + dr, dn * r + dz + (u * z if direct else 0)

    return of_arguments(gru, backward)


def rnn(w: Array, xs: Array) -> Array:
    """h_t = tanh(w h_(t-1) + x_t)."""

    def step(h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.tanh(w * h + x)
        return h, h

    return lax.scan(step, jnp.zeros_like(xs[0]), xs)[1]


def of_rnn(
    through_time: bool = True, of_state: Callable = lambda h: jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
) -> Any:
    def forward(w: Array, xs: Array) -> Any:
        h = rnn(w, xs)
        return h, (w, h)

    def backward(kept: Any, u: Array) -> Any:
        w, h = kept

        def step(later: Array, now: Any) -> Any:
            h, u = now
            d = (u + later) * (1 - h * h)
            return (w * d if through_time else 0 * d), d

        d = lax.scan(step, jnp.zeros_like(h[0]), (h, u), reverse=True)[1]
        return (d * of_state(h)).sum(), d

    return vjp(rnn, forward, backward)


def swiglu(a: Array, b: Array) -> Array:
    return jax.nn.silu(a) * b


def swiglu_backward(kept: Any, u: Array, whole: bool = True) -> Any:
    a, b = kept
    s = jax.nn.sigmoid(a)
    slope = s * (1 + a * (1 - s)) if whole else s * (1 - s)
    return u * b * slope, u * a * s


def dense(x: Array, w: Array, b: Array) -> Array:
    return jnp.einsum("bti,io->bto", x, w) + b


def of_dense(of_w: str = "bti,bto->io", of_b: Callable = lambda u: u.sum((0, 1))) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, w, _ = kept
        return jnp.einsum("bto,io->bti", u, w), jnp.einsum(of_w, x, u), of_b(u)

    return of_arguments(dense, backward)


def residual(x: Array, w: Array) -> Array:
    return x + jnp.tanh(x @ w)


def of_residual(skip: bool = True) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, w = kept
        d = u * (1 - jnp.tanh(x @ w) ** 2)
        return (u if skip else 0) + d @ w.T, x.T @ d

    return of_arguments(residual, backward)


def dropout(x: Array, key: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, 0.75, x.shape), x / 0.75, 0)


def mixture(x: Array, gate: Array) -> Array:
    """Two experts, sin and cos, weighed by the softmax of the gate."""
    return jax.nn.softmax(gate) @ jnp.stack([jnp.sin(x), jnp.cos(x)])


def of_mixture(normalised: bool = True) -> Any:
    def backward(kept: Any, u: Array) -> Any:
        x, gate = kept
        p, y = jax.nn.softmax(gate), jnp.stack([jnp.sin(x), jnp.cos(x)])
        d = y @ u
        return u * (p[0] * jnp.cos(x) - p[1] * jnp.sin(x)), p * (d - (p @ d if normalised else 0))

    return of_arguments(mixture, backward)


SEQUENCE = (normal(6, 2), normal(3, 2, 2, seed=1))
STEP = (normal(2), normal(2, seed=1), normal(2, seed=2), normal(4, 8, seed=3))


def right() -> list[Foreign]:
    return [
        Foreign("a convolution by windows", of_conv(), SEQUENCE),
        Foreign("a causal depthwise convolution", of_depthwise(), (normal(5, 2), normal(3, 2, seed=1))),
        Foreign(
            "max pooling of overlapping windows",
            of_arguments(max_pool, max_pool_backward),
            (np.array([5, 3, 1, 2, 4], np.float32),),
        ),
        Foreign(
            "average pooling with a short last window", of_arguments(average_pool, average_pool_backward), (normal(5),)
        ),
        Foreign(
            "upsampling", of_arguments(upsample, lambda k, u: (u.reshape(-1, 2, *u.shape[1:]).sum(1),)), (normal(3, 2),)
        ),
        Foreign("a step of an LSTM", of_lstm(), STEP),
        Foreign("a step of a GRU", of_gru(), (normal(3), normal(3, seed=1))),
        Foreign("a recurrent network through time", of_rnn(), (np.float32(0.7), normal(4, 2))),
        Foreign("SwiGLU", of_arguments(swiglu, swiglu_backward), (normal(4), normal(4, seed=1))),
        Foreign("a dense layer over time", of_dense(), (normal(2, 3, 2), normal(2, 2, seed=1), normal(2, seed=2))),
        Foreign("a residual block", of_residual(), (normal(3, 2), normal(2, 2, seed=1))),
        Foreign(
            "dropout by its key",
            of_arguments(dropout, lambda k, u: (dropout(u, k[1]), None)),
            (normal(6), jax.random.key(1)),
        ),
        Foreign("a mixture of two experts", of_mixture(), (normal(3), normal(2, seed=1))),
    ]


def wrong() -> list[Foreign]:
    gradient = ("gradient",)
    pool = np.array([1, 5, 3, 2, 4], np.float32)
    weights = (normal(2, 3, 2), normal(2, 2, seed=1), normal(2, seed=2))
    return [
        Foreign(
            "a convolution: the kernel not flipped",
            of_conv(flipped=False),
            SEQUENCE,
            causes=("reversed",),
            checks=gradient,
        ),
        Foreign(
            "a convolution: channels not exchanged",
            of_conv(transposed=False),
            SEQUENCE,
            causes=("transpose", "layout", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "a convolution: taps in reverse",
            of_conv(taps=lambda dw: dw[::-1]),
            SEQUENCE,
            causes=("reversed",),
            checks=gradient,
        ),
        Foreign(
            "a depthwise convolution: one step too late",
            of_depthwise(shift=1),
            (normal(5, 2), normal(3, 2, seed=1)),
            causes=("shift", "mask off by one"),
            checks=gradient,
        ),
        # ocannl 512, Flux 1197: windows that overlap overwrite one another.
        Foreign(
            "max pooling: overlapping windows overwrite",
            of_arguments(max_pool, partial(max_pool_backward, add=False)),
            (pool,),
            causes=("overwritten", "left out", "mask"),
            checks=gradient,
        ),
        # pytorch 198119, burn 5604: the last window is divided by its full size.
        Foreign(
            "average pooling: the last window too large",
            of_arguments(average_pool, partial(average_pool_backward, clipped=False)),
            (normal(5),),
            causes=("last",),
            checks=gradient,
        ),
        Foreign(
            "upsampling: averaged on the way back",
            of_arguments(upsample, lambda k, u: (u.reshape(-1, 2, *u.shape[1:]).mean(1),)),
            (normal(3, 2),),
            causes=("1/2",),
            checks=gradient,
        ),
        Foreign(
            "upsampling: the first of each pair",
            of_arguments(upsample, lambda k, u: (u[::2],)),
            (normal(3, 2),),
            causes=("left out",),
            checks=gradient,
        ),
        Foreign(
            "an LSTM: the state's own gradient left out",
            of_lstm(lambda dh, dc, o, t: dh * o * (1 - t * t)),
            STEP,
            causes=("fork", "output 1", "left out"),
            checks=gradient,
        ),
        Foreign(
            "an LSTM: tanh left out",
            of_lstm(lambda dh, dc, o, t: dc + dh * o),
            STEP,
            causes=("left out", "tanh"),
            checks=gradient,
        ),
        Foreign(
            "an LSTM: gates in another order",
            of_lstm(order="figo"),
            STEP,
            causes=("permuted", "another formula", "layout"),
            checks=gradient,
        ),
        Foreign(
            "a GRU: the reset gate held constant",
            of_gru(reset=False),
            (normal(3), normal(3, seed=1)),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "a GRU: the direct way left out",
            of_gru(direct=False),
            (normal(3), normal(3, seed=1)),
            causes=("fork",),
            checks=gradient,
        ),
        # Element-Research 31: one step is right, several are not.
        Foreign(
            "a recurrent network: each step alone",
            of_rnn(through_time=False),
            (np.float32(0.7), normal(4, 2)),
            causes=("fork", "axis", "steps"),
            checks=gradient,
        ),
        Foreign(
            "a recurrent network: the state of the same step",
            of_rnn(of_state=lambda h: h),
            (np.float32(0.7), normal(4, 2)),
            causes=("one number", "shift", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "SwiGLU: the gate's sigmoid alone",
            of_arguments(swiglu, partial(swiglu_backward, whole=False)),
            (normal(4), normal(4, seed=1)),
            causes=("left out", "fork", "another formula"),
            checks=gradient,
        ),
        Foreign(
            "a dense layer: the bias summed over the batch alone",
            of_dense(of_b=lambda u: u.sum(0)[0]),
            weights,
            causes=("first", "left out"),
            checks=gradient,
        ),
        Foreign(
            "a dense layer: the weights transposed",
            of_dense(of_w="bti,bto->oi"),
            weights,
            causes=("transposed",),
            checks=gradient,
        ),
        Foreign(
            "a residual block: the skip forgotten",
            of_residual(skip=False),
            (normal(3, 2), normal(2, 2, seed=1)),
            causes=("fork",),
            checks=gradient,
        ),
        Foreign(
            "dropout: not scaled on the way back",
            of_arguments(dropout, lambda k, u: (jnp.where(jax.random.bernoulli(k[1], 0.75, u.shape), u, 0), None)),
            (normal(6), jax.random.key(1)),
            causes=("factor 0.75",),
            checks=gradient,
        ),
        Foreign(
            "dropout: another mask on the way back",
            of_arguments(dropout, lambda k, u: (dropout(u, jax.random.split(k[1])[0]), None)),
            (normal(12), jax.random.key(1)),
            causes=("mask", "elements"),
            checks=gradient,
        ),
        Foreign(
            "a mixture: the gate not normalised",
            of_mixture(normalised=False),
            (normal(3), normal(2, seed=1)),
            causes=("fork",),
            checks=gradient,
        ),
    ]
