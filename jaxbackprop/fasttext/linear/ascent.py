"""The linear model's training on a CPU: one text after another, each step along its loss's own gradient.

Stochastic dual coordinate ascent without a dual: beside the weights each text keeps a pseudo-dual a, the gradient that
it has given them so far. A step moves both by the difference to what the loss's backward pass says now, so that the
steps, which plain stochastic gradient descent must shrink, vanish by themselves at the minimum. Where the loss is
quadratic this is the step of dual coordinate descent (LIBLINEAR), exactly.

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
from ...losses.hinge import squared_hinge, squared_hinge_backward
from ..train.row_loops import add_to_rows, at, sum_rows
from ..train.tables import HostOrDevice

CURVATURE = {"squared_hinge": 2.0, "ova": 0.25, "softmax": 0.5}
"""The largest second derivative of each loss along a score: steps that are no longer than its inverse are safe."""


class Weights(NamedTuple):
    """What is trained: rows of the labels' weights (V, C), their bias (1, C), and each text's pseudo-dual (N, C)."""

    rows: Float[Array, "V C"]
    bias: Float[Array, "1 C"]
    duals: Float[Array, "N C"]


class Weighted(NamedTuple):
    """N texts: text n has the rows ids[offsets[n] : offsets[n + 1]] by their weights, and the labels that follow."""

    ids: UInt32[HostOrDevice, " T"]
    weights: Float[HostOrDevice, " T"]
    offsets: UInt32[HostOrDevice, " N1"]
    labels: UInt32[HostOrDevice, " M"]
    label_offsets: UInt32[HostOrDevice, " N1"]


@partial(jax.jit, static_argnames=("loss", "C"), donate_argnums=0)
def visit_all(
    model: Weights, texts: Weighted, order: UInt32[HostOrDevice, " N"], *, loss: str, C: float
) -> tuple[Weights, Float[Array, ""]]:
    """The weights after each text was visited once, in this order, and the sum of the losses on the way.

    Minimises  1/2 |W|^2 + 1/2 |b|^2 + C sum_n loss(z_n),  z = sum_l w_l rows[id_l] + b
    Backward   delta arrives at z, by the loss's rule; row id_l gets w_l delta, the bias delta
    Update     k = delta + a;  row id_l -= eta w_l k,  b -= eta k,  a -= eta k / C
               eta = 1 / (1 / C + s q),  s = |w|^2 + 1 = 2 for texts of length 1, q the loss's curvature
    """
    eta = 1 / (1 / C + 2 * CURVATURE[loss])

    def visit(k: Array, carry: tuple[Weights, Array]) -> tuple[Weights, Array]:
        (rows, bias, duals), total = carry
        n = at(order, k)
        start, stop = at(texts.offsets, n), at(texts.offsets, n + 1)
        z = bias + sum_rows(rows, texts.ids, start, stop, texts.weights)
        value, delta = _loss_and_delta(z, texts, n, loss)
        dual = _dual(duals, n)
        step = -eta * (delta + dual)
        rows = add_to_rows(rows, texts.ids, start, stop, step, weights=texts.weights)
        duals = lax.dynamic_update_slice(duals, dual + step / C, (n, np.uint32(0)))
        return Weights(rows, bias + step, duals), total + value

    return lax.fori_loop(np.uint32(0), np.uint32(len(order)), visit, (model, jnp.float32(0)))


def _loss_and_delta(z: Array, texts: Weighted, n: Array, loss: str) -> tuple[Array, Array]:
    """The loss of text n with scores z (1, C), and its gradient, by the rules' own passes; softmax: its first label."""
    first = at(texts.label_offsets, n)
    one = jnp.ones(1)
    if loss == "softmax":
        value, residuals = softmax_cross_entropy.forward(z, at(texts.labels, first).astype(jnp.int32)[None])
        return value[0], softmax_cross_entropy_backward(residuals, one, smoothing=0.0)[0]
    forward, backward = {
        "ova": (sigmoid_cross_entropy.forward, sigmoid_cross_entropy_backward),
        "squared_hinge": (squared_hinge.forward, squared_hinge_backward),
    }[loss]

    def mark(k: Array, hot: Array) -> Array:
        return lax.dynamic_update_slice(hot, jnp.ones((1, 1)), (np.uint32(0), at(texts.labels, k)))

    value, residuals = forward(z, lax.fori_loop(first, at(texts.label_offsets, n + 1), mark, jnp.zeros_like(z)))
    return value[0], backward(residuals, one)[0]


def _dual(duals: Array, n: Array) -> Array:
    """Row n, read by a loop of one pass: read otherwise, XLA copies the whole table before it is written to."""
    width = duals.shape[1]

    def read(k: Array, _: Array) -> Array:
        return lax.dynamic_slice(duals, (k, np.uint32(0)), (1, width))

    return lax.fori_loop(n, n + np.uint32(1), read, jnp.zeros((1, width)))
