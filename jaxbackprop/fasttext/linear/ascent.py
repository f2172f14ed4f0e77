"""The linear model's training on a CPU: one text after another, each step along its loss's own gradient.

Stochastic dual coordinate ascent without a dual: beside the weights each text keeps a pseudo-dual a, the negative of
the gradient at its scores as it was last. A step moves both by the difference to what the loss's backward pass says
now, so that the steps, which plain stochastic gradient descent must shrink, vanish by themselves at the minimum. Where
the loss is quadratic this is the step of dual coordinate descent (LIBLINEAR), exactly.

Source  Shalev-Shwartz 2016, "SDCA without duality, regularization, and individual convexity", arXiv:1602.01582;
        Hsieh, Chang, Lin, Keerthi, Sundararajan 2008 (dual coordinate descent)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, UInt32

from ...losses.cross_entropy import (
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from ...losses.hinge import max_margin, squared_hinge, squared_hinge_backward
from ..train.row_loops import add_to_rows, at, sum_rows
from ..train.tables import HostOrDevice

CURVATURE = {"squared_hinge": 2.0, "ova": 0.25, "softmax": 0.5}
"""The largest second derivative of each loss along a score: steps that are no longer than its inverse are safe."""
SQUARE = 2.0  # of a text's length, which is 1, and of the bias' share


class Weights(NamedTuple):
    """What is trained: rows of the labels' weights (V, C), their bias (1, C), and each text's pseudo-dual (N, C)."""

    rows: Float[Array, "V C"]
    bias: Float[Array, "1 C"]
    duals: Float[Array, "N C"]


class Weighted(NamedTuple):
    """N texts: text n has the rows ids[offsets[n] : offsets[n + 1]] by their weights, and the labels that follow.

    Its loss counts C[n] times.
    """

    ids: UInt32[HostOrDevice, " T"]
    weights: Float[HostOrDevice, " T"]
    offsets: UInt32[HostOrDevice, " N1"]
    labels: UInt32[HostOrDevice, " M"]
    label_offsets: UInt32[HostOrDevice, " N1"]
    C: Float[HostOrDevice, " N"]


@partial(jax.jit, static_argnames=("loss", "smoothing"), donate_argnums=0)
def visit_all(
    model: Weights, texts: Weighted, order: UInt32[HostOrDevice, " N"], *, loss: str, smoothing: float
) -> tuple[Weights, Float[Array, ""]]:
    """The weights after each text was visited once, in this order, and the sum of the losses on the way.

    Minimises  1/2 |W|^2 + 1/2 |b|^2 + sum_n C_n loss(z_n),  z = sum_l w_l rows[id_l] + b
    Backward   delta arrives at z, by the loss's rule
    Update     a' = a - (delta + a) / (1 + C_n s q),  s = |w|^2 + 1 = 2 for texts of length 1, q the loss's curvature;
               hinge: the a' that is best, see `_hinge`
               row id_l += w_l C_n (a' - a),  b += C_n (a' - a)
    """

    def visit(k: Array, carry: tuple[Weights, Array]) -> tuple[Weights, Array]:
        (rows, bias, duals), total = carry
        n = at(order, k)
        start, stop, C = at(texts.offsets, n), at(texts.offsets, n + 1), at(texts.C, n)
        z = bias + sum_rows(rows, texts.ids, start, stop, texts.weights)
        hot, dual = _many_hot(texts, n, z), _dual(duals, n)
        if loss == "hinge":
            value, new = _hinge(z, hot, dual, C)
        else:
            value, delta = _loss_and_delta(z, hot, loss, smoothing)
            new = dual - (delta + dual) / (1 + C * (SQUARE * CURVATURE[loss]))
        step = C * (new - dual)
        rows = add_to_rows(rows, texts.ids, start, stop, step, weights=texts.weights)
        duals = lax.dynamic_update_slice(duals, new, (n, np.uint32(0)))
        return Weights(rows, bias + step, duals), total + value

    return lax.fori_loop(np.uint32(0), np.uint32(len(order)), visit, (model, jnp.float32(0)))


def _loss_and_delta(z: Array, hot: Array, loss: str, smoothing: float) -> tuple[Array, Array]:
    """The loss of a text with scores z (1, C) and 1 at each of its labels, and its gradient, by the rules' passes."""
    one = jnp.ones(1)
    if loss == "softmax":
        value, residuals = softmax_cross_entropy.forward(z, hot / hot.sum(), smoothing=smoothing)
        return value[0], softmax_cross_entropy_backward(residuals, one, smoothing=smoothing)[0]
    forward, backward = {
        "ova": (sigmoid_cross_entropy.forward, sigmoid_cross_entropy_backward),
        "squared_hinge": (squared_hinge.forward, squared_hinge_backward),
    }[loss]
    value, residuals = forward(z, hot)
    return value[0], backward(residuals, one)[0]


def _hinge(z: Array, hot: Array, dual: Array, C: Array) -> tuple[Array, Array]:
    """The loss sum_c max(0, 1 - y_c z_c), y = 1 or -1, and the pseudo-dual that is best for it.

    At the kink every slope between -y and 0 is one, so no backward pass names it; and the score that a dual leads to is
    known: z + C s (a' - a). So a' is the one at which the score stands at the kink, or the slope nearest to it.

    Source  Hsieh et al. 2008, the step for the hinge
    """
    y = 2 * hot - 1
    value, _ = max_margin.forward(y * z, jnp.zeros_like(z), margin=1.0)
    to_kink = (1 - y * z) / jnp.maximum(SQUARE * C, jnp.finfo(jnp.float32).tiny)
    return value.sum(), y * jnp.clip(y * dual + to_kink, 0, 1)


def _many_hot(texts: Weighted, n: Array, z: Array) -> Array:
    """1 at each label of text n, else 0: (1, C)."""

    def mark(k: Array, hot: Array) -> Array:
        return lax.dynamic_update_slice(hot, jnp.ones((1, 1)), (np.uint32(0), at(texts.labels, k)))

    return lax.fori_loop(at(texts.label_offsets, n), at(texts.label_offsets, n + 1), mark, jnp.zeros_like(z))


def _dual(duals: Array, n: Array) -> Array:
    """Row n, read by a loop of one pass: read otherwise, XLA copies the whole table before it is written to."""
    width = duals.shape[1]

    def read(k: Array, _: Array) -> Array:
        return lax.dynamic_slice(duals, (k, np.uint32(0)), (1, width))

    return lax.fori_loop(n, n + np.uint32(1), read, jnp.zeros((1, width)))
