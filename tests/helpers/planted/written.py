"""Wrong rules written by hand: one or more of every cause, as people really get them wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .cases import Planted
from .corners import wrong_corners
from .formulas import (
    by_hand,
    ce,
    ce_delta,
    layer_norm,
    max_both,
    n,
    naive_sigmoid,
    norm_without_mean,
    norm_without_spread,
    reversed_mean,
    rows,
    silu_one_branch,
    smooth,
    smooth_inside,
    softmax_diagonal,
    twice,
)

_IDS = np.array([1, 3, 1, 0], np.int32)


def written() -> list[Planted]:
    """The wrong rules."""
    x, y, square, x_tied = n(4, 3), n(4, 3), n(3, 3), np.array([1.5, -1.5, 1.5])
    plain: list[tuple[str, Any, tuple, tuple[str, ...]]] = [
        (
            "sin answers sin for cos",
            by_hand(jnp.sin, lambda s, u: (u * jnp.sin(s[0]),)),
            (x,),
            ("local derivative", "the output", "residual"),
        ),
        ("cos forgets the minus", by_hand(jnp.cos, lambda s, u: (u * jnp.sin(s[0]),)), (x,), ("sign", "minus")),
        ("square forgets the two", by_hand(jnp.square, lambda s, u: (u * s[0],)), (x,), ("1/2",)),
        ("cube is doubled", by_hand(lambda x: x**3, lambda s, u: (6 * u * s[0] ** 2,)), (x,), ("factor 2",)),
        (
            "mean answers as a sum",
            by_hand(lambda x: x.mean(-1), reversed_mean),
            (x,),
            ("sum where a mean", "factor 3"),
        ),
        (
            "sum answers as a mean",
            by_hand(lambda x: x.sum(0), lambda s, u: (jnp.broadcast_to(u / 4, (4, 3)),)),
            (x,),
            ("mean where a sum", "1/4"),
        ),
        (
            "matmul is not transposed",
            by_hand(lambda a, b: a @ b, lambda s, u: (u @ s[1], s[0].T @ u)),
            (square, n(3, 3)),
            ("transpose",),
        ),
        (
            "matmul's second is transposed",
            by_hand(lambda a, b: a @ b, lambda s, u: (u @ s[1].T, (s[0].T @ u).T)),
            (square, n(3, 3)),
            ("transpose",),
        ),
        ("transpose is a reshape", by_hand(lambda a: a.T, lambda s, u: (u.reshape(s[0].shape),)), (x,), ("transpose",)),
        ("product not swapped", by_hand(lambda a, b: a * b, lambda s, u: (u * s[0], u * s[1])), (x, y), ("swapped",)),
        (
            "quotient's halves swapped",
            by_hand(lambda a, b: a / b, lambda s, u: (-u * s[0] / s[1] ** 2, u / s[1])),
            (x, y),
            ("swapped",),
        ),
        (
            "bias of one example",
            by_hand(lambda x, b: x + b, lambda s, u: (u, u[0])),
            (x, n(3)),
            ("not summed", "only the first"),
        ),
        ("bias averaged", by_hand(lambda x, b: x + b, lambda s, u: (u, u.mean(0))), (x, n(3)), ("mean where", "1/4")),
        (
            "summed over the wrong axis",
            by_hand(lambda a, b: a * b, lambda s, u: (u * s[1], jnp.broadcast_to((u * s[0]).sum(0), (4, 3)))),
            (x, y),
            ("wrong axis",),
        ),
        (
            "tanh at the output",
            by_hand(jnp.tanh, lambda s, u: (u * (1 - jnp.tanh(jnp.tanh(s[0])) ** 2),)),
            (x,),
            ("at the output",),
        ),
        (
            "sigmoid at the output",
            by_hand(
                jax.nn.sigmoid,
                lambda s, u: (u * jax.nn.sigmoid(jax.nn.sigmoid(s[0])) * (1 - jax.nn.sigmoid(jax.nn.sigmoid(s[0]))),),
            ),
            (x,),
            ("at the output",),
        ),
        ("exp passes through", by_hand(jnp.exp, lambda s, u: (u,)), (x,), ("left out",)),
        (
            "tanh of sin: sin passes",
            by_hand(lambda x: jnp.tanh(jnp.sin(x)), lambda s, u: (u * (1 - jnp.tanh(jnp.sin(s[0])) ** 2),)),
            (x,),
            ("left out",),
        ),
        ("silu: one branch", by_hand(jax.nn.silu, silu_one_branch), (x,), ("branch", "left out")),
        (
            "residual block: the skip is lost",
            by_hand(lambda x: x + jnp.tanh(x), lambda s, u: (u * (1 - jnp.tanh(s[0]) ** 2),)),
            (x,),
            ("branch",),
        ),
        (
            "x sin x: one branch",
            by_hand(lambda x: x * jnp.sin(x), lambda s, u: (u * jnp.sin(s[0]),)),
            (x,),
            ("branch",),
        ),
        ("layer norm: spread held", by_hand(layer_norm, norm_without_spread), (n(4, 5),), ("branch", "left out")),
        ("layer norm: mean held", by_hand(layer_norm, norm_without_mean), (n(4, 5),), ("branch", "left out")),
        ("softmax: diagonal only", by_hand(jax.nn.softmax, softmax_diagonal), (n(4, 5),), ("branch", "left out")),
        (
            "rows overwritten",
            by_hand(rows, lambda s, u: (jnp.zeros_like(s[0]).at[s[1]].set(u), None)),
            (n(5, 2), _IDS),
            ("duplicates",),
        ),
        ("naive sigmoid overflows", by_hand(jax.nn.sigmoid, naive_sigmoid), (x,), ("overflow", "small values")),
        ("smoothing forgets the ends", by_hand(smooth, smooth_inside), (n(9),), ("boundary",)),
        ("upstream ignored", by_hand(jnp.square, lambda s, u: (2 * s[0],)), (x,), ("upstream gradient ignored",)),
        (
            "upstream ignored, two outputs",
            by_hand(lambda x: (x, jnp.sin(x)), lambda s, u: (u[1] * jnp.cos(s[0]),)),
            (x,),
            ("branch", "output 0"),
        ),
        (
            "the other argument's residual",
            by_hand(lambda a, b: jnp.sin(a) * b, lambda s, u: (u * jnp.cos(s[1]) * s[1], u * jnp.sin(s[0]))),
            (x, y),
            ("residual from the wrong place",),
        ),
        (
            "residual shifted",
            by_hand(jnp.sin, lambda s, u: (u * jnp.cos(jnp.roll(s[0], 1, 0)),)),
            (x,),
            ("residual", "shifted"),
        ),
        (
            "cross-entropy's mean twice",
            by_hand(ce, lambda s, u: (u[:, None] * ce_delta(*s) / 4, None)),
            (n(4, 6), _IDS),
            ("mean where", "1/4"),
        ),
        (
            "cross-entropy without the label",
            by_hand(ce, lambda s, u: (u[:, None] * jax.nn.softmax(s[0]), None)),
            (n(4, 6), _IDS),
            ("branch",),
        ),
        (
            "gradient held in the second order",
            by_hand(lambda x: jnp.sin(x), lambda s, u: (u * lax.stop_gradient(jnp.cos(s[0])),)),
            (x,),
            ("held constant",),
        ),
        (
            "half precision inside",
            by_hand(
                lambda a, b: a * b,
                lambda s, u: (u * s[1], (u.astype(jnp.bfloat16) * s[0].astype(jnp.bfloat16)).astype(u.dtype)),
            ),
            (x, y),
            ("precision", "bfloat16", "accura"),
        ),
        (
            "weight decay slipped in",
            by_hand(lambda w: jnp.sin(w), lambda s, u: (u * jnp.cos(s[0]) + 0.01 * s[0],)),
            (x,),
            ("too many", "not linear", "zero upstream"),
        ),
        (
            "one second argument is zero",
            by_hand(lambda a, b: a * b, lambda s, u: (u * s[1], jnp.zeros_like(s[1]))),
            (x, y),
            ("left out",),
        ),
        (
            "mapped outputs untied",
            by_hand(twice, lambda s, u: (u[0] * s[1], u[0] * s[0] + 2 * s[1] * u[1])),
            (n(2), n(2)),
            ("vmap",),
        ),
        (
            "the forward rule has another epsilon",
            by_hand(
                lambda x: jnp.sqrt(x * x + 1e-3),
                lambda s, u: (u * s[0] / s[1],),
                lambda x: (jnp.sqrt(x * x + 1e-2), (x, jnp.sqrt(x * x + 1e-3))),
            ),
            (x,),
            ("forward", "differentiated"),
        ),
        ("absolute value forgets the sign", by_hand(jnp.abs, lambda s, u: (u,)), (x,), ("sign", "left out")),
    ]
    ties = [
        Planted(
            "a tie of max counts twice",
            by_hand(jnp.maximum, max_both),
            (np.ones(3), np.ones(3)),
            ("kink", "tie", "branch", "local", "sign", "factor 2", "residual", "too many"),
        ),
        Planted(
            "relu answers two at zero",
            by_hand(jax.nn.relu, lambda s, u: (u * jnp.where(s[0] == 0, 2.0, s[0] > 0),)),
            (np.zeros(3),),
            ("kink", "factor", "local", "left out", "too many", "residual"),
        ),
        Planted(
            "abs answers two at zero",
            by_hand(jnp.abs, lambda s, u: (u * jnp.where(s[0] == 0, 2.0, jnp.sign(s[0])),)),
            (np.zeros(3),),
            ("kink", "factor", "local", "left out", "too many", "residual"),
        ),
    ]
    # Away from zero moving by one unit in the last place crosses the kink: its jump must not pass for a tolerance.
    words = ("kink", "tie", "factor", "too many", "local", "residual", "branch", "left out", "sign")
    ties += [
        Planted("tied at 1.5, twice", by_hand(jnp.maximum, max_both), (x_tied, x_tied), words, everywhere=False),
        Planted(
            "twice at the bounds of clip",
            by_hand(
                lambda x: jnp.minimum(jnp.maximum(x, -1.0), 1.0),
                lambda s, u: (u * jnp.where(abs(s[0]) == 1, 2, abs(s[0]) < 1).astype(u.dtype),),
            ),
            (np.array([-1.0, 1.0, 0.3]),),
            words,
            everywhere=False,
        ),
    ]
    return (
        [
            Planted(name, fun, args, causes, everywhere=name != "mapped outputs untied")
            for name, fun, args, causes in plain
        ]
        + ties
        + wrong_corners()
    )
