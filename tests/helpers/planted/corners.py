"""Rules that are wrong in one corner only, and right ones that look wrong there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .cases import Planted
from .formulas import by_hand

_rng = np.random.default_rng(5)
X, ROWS = _rng.normal(size=(4, 3)), _rng.normal(size=(5, 2))
LARGE = _rng.normal(size=(100, 100))
CLIPPED = np.maximum(_rng.normal(size=(20, 30)), 0)


def _last_turned(s: Any, u: Any) -> Any:
    return ((2 * u * s[0]).at[-1, -1].multiply(-1),)


def _first_of_each(s: Any, u: Any) -> Any:
    """Where an index is repeated, its first cotangent is added in the place of each later one."""
    table, ids = s
    order = jnp.argsort(ids)
    first = jnp.searchsorted(ids[order], ids[order], side="left")
    return jnp.zeros_like(table).at[ids].add(u[order][first][jnp.argsort(order)]), None


def _without_transpose(s: Any, u: Any) -> Any:
    return (u * jnp.linalg.inv(s[0]),)


def wrong_corners() -> list[Planted]:
    """The wrong rules."""
    log_det = by_hand(lambda a: jnp.linalg.slogdet(a)[1], _without_transpose)
    ids = np.array([3, 1, 3, 0], np.int32)
    return [
        Planted("one corner of ten thousand", by_hand(jnp.square, _last_turned), (LARGE,), ("sign", "boundary")),
        Planted("first cotangent repeated", by_hand(lambda t, i: t[i], _first_of_each), (ROWS, ids), ("duplicates",)),
        Planted(
            "clipped beyond ten million",
            by_hand(jnp.sin, lambda s, u: (jnp.clip(u, -1e7, 1e7) * jnp.cos(s[0]),)),
            (X,),
            ("not linear",),
        ),
        Planted(
            "inverse untransposed, symmetric matrix",
            log_det,
            (np.eye(3) * 3 + 0.5,),
            ("transpose", "differentiated again"),
        ),
        Planted(
            "an integer is given a gradient",
            by_hand(lambda x, k: x * k, lambda s, u: (u * s[1], u * s[0])),
            (X[0], np.array([1, 2, 3], np.int32)),
            ("integer",),
        ),
        Planted(
            "right to six digits",
            by_hand(jnp.sin, lambda s, u: (1.0001 * u * jnp.cos(s[0]),)),
            (X,),
            ("accuracy", "factor 1.0001"),
        ),
        Planted(
            "tanh at the input",
            by_hand(jnp.tanh, lambda s, u: (u * (1 - s[0] ** 2),)),
            (np.linspace(-1, 1, 5),),
            ("at the input",),
        ),
        Planted(
            "sigmoid at the input",
            by_hand(jax.nn.sigmoid, lambda s, u: (u * s[0] * (1 - s[0]),)),
            (X,),
            ("at the input",),
        ),
        Planted(
            "relu answers two at hundreds of zeros",
            by_hand(jax.nn.relu, lambda s, u: (u * jnp.where(s[0] == 0, 2.0, s[0] > 0),)),
            (CLIPPED,),
            ("kink", "factor", "local", "left out", "too many", "residual"),
        ),
        Planted(
            "relu a little below zero",
            by_hand(jax.nn.relu, lambda s, u: (u * (s[0] >= -1e-3),)),
            (np.where(CLIPPED == 0, -5e-4, CLIPPED),),
            ("kink", "factor", "local", "left out", "too many", "residual"),
        ),
        Planted(
            "conjugate forgotten",
            by_hand(lambda z: jnp.real(z * jnp.conj(z)), lambda s, u: (2 * u * s[0],)),
            (X[0] + 1j * X[1],),
            ("conjugate",),
            everywhere=False,
        ),
    ]


def right_corners() -> list[Planted]:
    """The right rules."""
    zeros, tied = np.zeros(3), np.array([1.5, 2.0, 2.0, 2.0, 0.0])

    def to_the_first(s: Any, u: Any) -> Any:
        return (u * jax.nn.one_hot(jnp.argmax(s[0]), s[0].shape[0], dtype=u.dtype),)

    def mixed(s: Any, u: Any) -> Any:
        return u * jnp.where(s[0] >= 0, 1, -1).astype(u.dtype), -u * jnp.sign(s[1])

    def routed(s: Any, u: Any) -> Any:
        return u * (s[0] >= s[1]), u * (s[0] < s[1])

    inverse = by_hand(lambda a: jnp.linalg.slogdet(a)[1], lambda s, u: (u * jnp.linalg.inv(s[0]).T,))
    return [
        Planted("log of a determinant", inverse, (_rng.normal(size=(3, 3)) + 3 * np.eye(3),)),
        Planted(
            "a product with a constant for its zeros",
            by_hand(
                lambda w, p: jnp.where(w == 0, jnp.zeros_like(w), w * jnp.log(p)),
                lambda s, u: (u * jnp.log(s[1]), u * s[0] / s[1]),
            ),
            (np.array([0.0, 1.0, 0.0]), np.array([0.2, 0.5, 0.3])),
            everywhere=False,
        ),
        Planted("a three-fold tie to the first", by_hand(lambda x: x.max(), to_the_first), (tied,)),
        Planted("|x| - |y|, each zero its own way", by_hand(lambda x, y: abs(x) - abs(y), mixed), (zeros, zeros)),
        Planted("relu at hundreds of zeros", by_hand(jax.nn.relu, lambda s, u: (u * (s[0] > 0),)), (CLIPPED,)),
        Planted("hundreds of ties to the first", by_hand(jnp.maximum, routed), (CLIPPED, CLIPPED)),
        Planted(
            "hundreds of zeros at a seam",
            by_hand(
                lambda w, p: jnp.where(w == 0, jnp.zeros_like(w), w * jnp.log(p)),
                lambda s, u: (u * jnp.log(s[1]), u * s[0] / s[1]),
            ),
            (CLIPPED, _rng.uniform(0.1, 0.9, CLIPPED.shape)),
            everywhere=False,
        ),
        Planted(
            "a sum that loses its digits",
            by_hand(lambda a, b: (a + b) - b, lambda s, u: (u, jnp.zeros_like(u))),
            (X[0], np.full(3, 1e7)),
        ),
        Planted(
            "centred far from zero",
            by_hand(lambda x: x - x.mean(-1, keepdims=True), lambda s, u: (u - u.mean(-1, keepdims=True),)),
            (X + 1e5,),
        ),
        Planted(
            "a root by Newton's iteration",
            by_hand(
                lambda a: jax.lax.while_loop(lambda r: abs(r * r - a) > 1e-6 * a, lambda r: (r + a / r) / 2, a),
                lambda s, u: (u / (2 * jnp.sqrt(s[0])),),
            ),
            (np.array(2.3),),
        ),
    ]
