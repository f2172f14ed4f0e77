"""Right rules at which verifiers cry wolf: kinks, ties, overflow of the naive formula, integers, halves, pytrees."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .cases import Planted
from .corners import right_corners
from .formulas import by_hand, n

ZERO, SMALL, LARGE = np.zeros(3), np.array([1e-30, -1e-30, 1e-20]), np.array([-80.0, 60.0, 85.0])


def _softplus_naive(x):
    return jnp.log(1 + jnp.exp(x))


def _sinc_naive(x):
    return jnp.where(x == 0, 1.0, jnp.sin(x) / jnp.where(x == 0, 1.0, x))


def _sinc_backward(s, u):
    x = s[0]
    safe = jnp.where(jnp.abs(x) < 1e-3, 1.0, x)
    far = (safe * jnp.cos(safe) - jnp.sin(safe)) / (safe * safe)
    return (u * jnp.where(jnp.abs(x) < 1e-3, -x / 3 + x**3 / 30, far),)


def _norm(x):
    return jnp.sqrt(jnp.sum(x * x))


def _norm_backward(s, u):
    size = _norm(s[0])
    return (u * jnp.where(size == 0, 0.0, s[0] / jnp.where(size == 0, 1.0, size)),)


def _tree(p):
    return {"y": p["W"] @ p["x"], "z": [p["x"].sum() * p["W"].sum()]}


def _tree_backward(s, u):
    p = s[0]
    W, x = p["W"], p["x"]
    return ({"W": jnp.outer(u["y"], x) + u["z"][0] * x.sum(), "x": W.T @ u["y"] + u["z"][0] * W.sum()},)


def _relu_at(value: float) -> Any:
    return by_hand(jax.nn.relu, lambda s, u: (u * jnp.where(s[0] == 0, jnp.asarray(value, u.dtype), s[0] > 0),))


def _abs_at(value: float) -> Any:
    return by_hand(jnp.abs, lambda s, u: (u * jnp.where(s[0] == 0, jnp.asarray(value, u.dtype), jnp.sign(s[0])),))


def _max_at(share: float) -> Any:
    def backward(s, u):
        x, y = s
        first = jnp.where(x == y, jnp.asarray(share, u.dtype), (x > y).astype(u.dtype))
        return u * first, u * (1 - first)

    return by_hand(jnp.maximum, backward)


def _largest(how: str) -> Any:
    def backward(s, u):
        tied = (s[0] == s[0].max()).astype(u.dtype)
        if how == "split":
            return (u * tied / tied.sum(),)
        at = jnp.argmax(s[0]) if how == "first" else s[0].size - 1 - jnp.argmax(s[0][::-1])
        return (u * (jnp.arange(s[0].size) == at),)

    return by_hand(jnp.max, backward)


def _clip(x):
    return jnp.minimum(jnp.maximum(x, -1.0), 1.0)


def _logsumexp_naive(x):
    return jnp.log(jnp.sum(jnp.exp(x)))


def _scanned(x):
    return lax.scan(lambda c, v: (jnp.tanh(c + v), c * v), 0.1 * x[0], x)[1]


def _scanned_backward(s, u):
    return jax.vjp(_scanned, s[0])[1](u)


def _dropped(x, key):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)


def _shares_of_log_softmax(w, x):
    """A stop_gradient that changes nothing, and a seam: where w is 0 its derivative is still log p."""
    z = x - lax.stop_gradient(x.max(-1, keepdims=True))
    return jnp.where(w != 0, w * (z - jnp.log(jnp.exp(z).sum(-1, keepdims=True))), 0)


def _shares_backward(s, u):
    w, x = s
    return u * jax.nn.log_softmax(x), u * w - jax.nn.softmax(x) * (u * w).sum(-1, keepdims=True)


def _cubed(x, times):
    return x**times


def _jvp(primal, tangent):
    fun = jax.custom_jvp(primal)
    fun.defjvp(tangent)
    return fun


def _in_float32(x):
    return jnp.sin(x.astype(jnp.float32)).astype(x.dtype)


def _kinks() -> list[Planted]:
    made = []
    for value in (0.0, 0.3, 0.5, 1.0):
        made.append(Planted(f"relu'(0) = {value}", _relu_at(value), (ZERO,)))
        made.append(Planted(f"relu'(0) = {value} among others", _relu_at(value), (np.array([0.0, 1.5, -2.0]),)))
    for value in (-1.0, -0.4, 0.0, 1.0):
        made.append(Planted(f"|0|' = {value}", _abs_at(value), (ZERO,)))
    for share in (0.0, 0.25, 0.5, 1.0):
        made.append(Planted(f"max tie, {share} to the first", _max_at(share), (np.ones(3), np.ones(3))))
        made.append(
            Planted(f"max tie, {share}, one place", _max_at(share), (np.array([1.0, 2.0]), np.array([1.0, 3.0])))
        )
    for how in ("first", "last", "split"):
        made.append(Planted(f"reduce-max to the {how}", _largest(how), (np.array([2.0, 1.0, 2.0, 0.5]),)))
        made.append(Planted(f"reduce-max of equals to the {how}", _largest(how), (np.ones(4),)))
    clip = by_hand(_clip, lambda s, u: (u * (jnp.abs(s[0]) <= 1),))
    inside = by_hand(_clip, lambda s, u: (u * (jnp.abs(s[0]) < 1),))
    made.append(Planted("clip at its bounds, passing", clip, (np.array([-1.0, 1.0, 0.3]),)))
    made.append(Planted("clip at its bounds, blocking", inside, (np.array([-1.0, 1.0, 0.3]),)))
    made.append(Planted("norm at zero answers zero", by_hand(_norm, _norm_backward), (ZERO,)))
    made.append(Planted("norm away from zero", by_hand(_norm, _norm_backward), (n(5),)))
    return made


def _extremes() -> list[Planted]:
    softplus = by_hand(_softplus_naive, lambda s, u: (u * jax.nn.sigmoid(s[0]),))
    sinc = by_hand(_sinc_naive, _sinc_backward)
    logsumexp = by_hand(_logsumexp_naive, lambda s, u: (u * jax.nn.softmax(s[0]),))
    return [
        Planted("stable softplus, naive primal, ordinary", softplus, (n(4),)),
        Planted("stable softplus, naive primal, large", softplus, (LARGE,), everywhere=False),
        Planted("sinc at zero", sinc, (ZERO,), everywhere=False),
        Planted("sinc near zero", sinc, (np.array([1e-4, -2e-4]),), everywhere=False),
        Planted("logsumexp, naive primal", logsumexp, (n(5),)),
        Planted("logsumexp, large", logsumexp, (np.array([50.0, 60.0, -70.0]),), everywhere=False),
        Planted(
            "square of tiny numbers", by_hand(jnp.square, lambda s, u: (2 * u * s[0],)), (np.array([1e-12, 1e-15]),)
        ),
        Planted("sin of large numbers", by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),)), (np.array([1e4, -3e4]),)),
        Planted("exp of negatives", by_hand(jnp.exp, lambda s, u: (u * jnp.exp(s[0]),)), (np.array([-30.0, -60.0]),)),
        Planted(
            "tanh saturated", by_hand(jnp.tanh, lambda s, u: (u * (1 - jnp.tanh(s[0]) ** 2),)), (np.array([3.0, -4.0]),)
        ),
        Planted(
            "reciprocal of the small",
            by_hand(lambda x: 1 / x, lambda s, u: (-u / s[0] ** 2,)),
            (np.array([1e-3, -2e-3]),),
        ),
        Planted("log of the tiny", by_hand(jnp.log, lambda s, u: (u / s[0],)), (np.array([1e-20, 1e-3, 5.0]),)),
        Planted(
            "difference that cancels",
            by_hand(lambda a, b: a - b, lambda s, u: (u, -u)),
            (np.full(3, 1e6), np.full(3, 1e6 + 1)),
        ),
    ]


def _kinds() -> list[Planted]:
    ids = np.array([1, 1, 0, 2], np.int32)
    rows = by_hand(lambda t, i: t[i], lambda s, u: (jnp.zeros_like(s[0]).at[s[1]].add(u), None))
    mask = by_hand(lambda x, m: jnp.where(m, x, 0), lambda s, u: (jnp.where(s[1], u, 0), None))
    drop = by_hand(_dropped, lambda s, u: (_dropped(u, s[1]), None))
    complex_square = by_hand(lambda z: z * z, lambda s, u: (2 * u * s[0],))
    absolute = by_hand(lambda z: (z * z.conj()).real, lambda s, u: (2 * u * s[0].conj(),))
    straight = by_hand(lambda x: x * lax.stop_gradient(x), lambda s, u: (u * lax.stop_gradient(s[0]),))
    shares = by_hand(_shares_of_log_softmax, _shares_backward)
    two = by_hand(lambda x: (jnp.sin(x), jnp.argmax(x)), lambda s, u: (u[0] * jnp.cos(s[0]),))
    sine = _jvp(jnp.sin, lambda p, t: (jnp.sin(p[0]), t[0] * jnp.cos(p[0])))
    return [
        Planted("integer indices, repeated", rows, (n(4, 2), ids)),
        Planted("boolean mask", mask, (n(4), np.array([True, False, True, True]))),
        Planted("random key", drop, (n(6), jax.random.key(3))),
        Planted("pytree in and out", by_hand(_tree, _tree_backward), ({"W": n(3, 2), "x": n(2)},)),
        Planted("complex square", complex_square, (n(3) + 1j * n(3),)),
        Planted("squared modulus", absolute, (n(3) + 1j * n(3),)),
        Planted("empty array", by_hand(jnp.sin, lambda s, u: (u * jnp.cos(s[0]),)), (np.zeros((0, 3)),)),
        Planted(
            "batch of one", by_hand(lambda x: x.sum(0), lambda s, u: (jnp.broadcast_to(u, s[0].shape),)), (n(1, 3),)
        ),
        Planted("a scalar", by_hand(jnp.square, lambda s, u: (2 * u * s[0],)), (np.array(1.3),)),
        Planted("stop_gradient in the primal", straight, (n(4),)),
        Planted("cross-entropy of one-hot shares", shares, (np.eye(4)[[0, 2, 1]], n(3, 4))),
        Planted("an integer output", two, (n(4),)),
        Planted("a custom_jvp", sine, (n(4),)),
        Planted("a scan inside", by_hand(_scanned, _scanned_backward), (n(5),)),
        Planted("a static argument", _static(), (n(3), 3)),
        Planted("a fused function and its reference", jax.nn.log_softmax, (n(2, 4),), reference=_log_softmax),
        Planted(
            "computed in float32 whatever comes",
            by_hand(_in_float32, lambda s, u: (u * jnp.cos(s[0].astype(jnp.float32)).astype(u.dtype),)),
            (n(4),),
        ),
        Planted(
            "a constant output", by_hand(lambda x: jnp.zeros_like(x), lambda s, u: (jnp.zeros_like(s[0]),)), (n(3),)
        ),
        Planted(
            "a sorted array",
            by_hand(jnp.sort, lambda s, u: (jnp.zeros_like(u).at[jnp.argsort(s[0])].set(u),)),
            (np.array([0.3, -1.2, 2.0, 0.9]),),
        ),
        Planted("cumulative sum", by_hand(jnp.cumsum, lambda s, u: (jnp.cumsum(u[::-1])[::-1],)), (n(6),)),
        Planted(
            "large output, tiny gradient",
            by_hand(lambda x: 1e6 + 1e-3 * jnp.sin(x), lambda s, u: (1e-3 * u * jnp.cos(s[0]),)),
            (n(4),),
        ),
    ]


def _static() -> Any:
    fun = jax.custom_vjp(_cubed, nondiff_argnums=(1,))
    fun.defvjp(lambda x, times: (x**times, x), lambda times, x, u: (u * times * x ** (times - 1),))
    return fun


def _log_softmax(x):
    return jnp.log(jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True))


def odd() -> list[Planted]:
    """The right rules."""
    return [*_kinks(), *_extremes(), *_kinds(), *right_corners()]
