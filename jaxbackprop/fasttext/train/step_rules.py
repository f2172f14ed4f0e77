"""The passes of the compiled training loop as rules, so that `jaxbackprop verify` examines what the loop runs.

Each rule is one text: its forward and backward pass are made of the functions that `sequential.train_chunk` calls, at
learning rate -1 and from tables of zeros, so that what the loop adds to a row is the row's gradient. The references
are written with the library's losses and are differentiated by autodiff.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from ...core.accumulation import to_accumulator
from ...core.domains import below, within
from ...core.rule import WithResiduals, rule
from ...losses.cross_entropy import sigmoid_cross_entropy, softmax_cross_entropy
from ...losses.sampled_softmax import bit, hierarchical_softmax
from .losses import RowAndTarget, logistic_deltas, logistic_dh, score_deltas, through_scores
from .row_loops import add_to_rows, at, change_one_by_one, sum_rows
from .tables import Rows


def _hidden(input: Array, ids: Array) -> Array:
    """The mean of the text's rows (D,): what autodiff differentiates."""
    return input[ids].mean(0)


def _plain_softmax(input, output, ids, label, *, smoothing=0.0):
    return softmax_cross_entropy.primal(output @ _hidden(input, ids), label, smoothing=smoothing)


def _plain_one_vs_all(input, output, ids, target):
    return sigmoid_cross_entropy.primal(output @ _hidden(input, ids), target)


def _plain_logistic(input, output, ids, path, codes):
    return hierarchical_softmax.primal(_hidden(input, ids), output, path, codes)


@rule(domain={"ids": below("V"), "label": below("C")}, example_settings=({"smoothing": 0.1},), reference=_plain_softmax)
def text_softmax(
    input: Float[Array, "V D"],
    output: Float[Array, "C D"],
    ids: Int[Array, " L"],
    label: Int[Array, ""],
    *,
    smoothing: float = 0.0,
) -> WithResiduals[Float[Array, ""]]:
    """One text under fastText's softmax, as the training loop runs it.

    Forward   h = 1/L sum_l input[id_l],  z = output h,  loss = -log softmax(z)_label
    Backward  delta = upstream (softmax(z) - one-hot label);  doutput = delta h^T,  dh = output^T delta
              dinput[id_l] += dh / L  (a row named twice is a fork)
    Saved     h, delta, ids, the tables
    Source    Joulin, Grave, Bojanowski, Mikolov 2016, arXiv:1607.01759; fastText 0.9.2, model.cc

    Args:
        input: rows of words and n-grams (V, D).
        output: rows of labels (C, D).
        ids: the text's rows (L,).
        label: its label.
        smoothing: share of the target spread over all labels.
    """
    h = _mean_rows(input, ids)
    target = label.astype(jnp.int32)[None]
    loss, delta = score_deltas(_scores(output, h), target, smoothing=smoothing)
    return loss[0].astype(_dtype(input, output)), (h, delta, ids, input, output)


@text_softmax.backward
def text_softmax_backward(residuals, upstream):
    return _through_tables(residuals, upstream)


@rule(domain={"ids": below("V"), "target": within(0, 1)}, reference=_plain_one_vs_all)
def text_one_vs_all(
    input: Float[Array, "V D"], output: Float[Array, "C D"], ids: Int[Array, " L"], target: Float[Array, " C"]
) -> WithResiduals[Float[Array, ""]]:
    """One text under one against all, as the training loop runs it.

    Forward   h = 1/L sum_l input[id_l],  z = output h
              loss = sum_c -t_c log sigmoid(z_c) - (1 - t_c) log sigmoid(-z_c)
    Backward  delta = upstream (sigmoid(z) - t);  doutput = delta h^T,  dh = output^T delta,  dinput[id_l] += dh / L
              dt = -upstream z
    Saved     h, delta, z, ids, the tables
    Source    fastText 0.9.2, loss.cc (OneVsAllLoss)

    Args:
        input: rows of words and n-grams (V, D).
        output: rows of labels (C, D).
        ids: the text's rows (L,).
        target: 1 for each of its labels, else 0 (C,).
    """
    h = _mean_rows(input, ids)
    z = _scores(output, h)
    loss, delta = score_deltas(z, to_accumulator(target)[None])
    return loss[0].astype(_dtype(input, output, target)), ((h, delta, ids, input, output), z)


@text_one_vs_all.backward
def text_one_vs_all_backward(residuals, upstream):
    tables, z = residuals
    return *_through_tables(tables, upstream), -to_accumulator(upstream) * z[0]


@rule(domain={"ids": below("V"), "path": below("N"), "codes": bit}, reference=_plain_logistic)
def text_logistic(
    input: Float[Array, "V D"],
    output: Float[Array, "N D"],
    ids: Int[Array, " L"],
    path: Int[Array, " K"],
    codes: Int[Array, " K"],
) -> WithResiduals[Float[Array, ""]]:
    """One text at the nodes of a path (hs), or at its label and negative samples (ns), as the training loop runs it.

    Forward   h = 1/L sum_l input[id_l],  z_k = output[path_k] . h
              loss = sum_k -log sigmoid(z_k) where the code is 1, -log sigmoid(-z_k) where it is 0
    Backward  delta_k = upstream (sigmoid(z_k) - code_k);  doutput[path_k] += delta_k h
              dh = sum_k delta_k output[path_k],  dinput[id_l] += dh / L
    Saved     h, the deltas, ids, path, the tables
    Source    Morin, Bengio 2005; Mikolov et al. 2013, arXiv:1310.4546; fastText 0.9.2, loss.cc

    Args:
        input: rows of words and n-grams (V, D).
        output: rows of nodes, or of labels (N, D).
        ids: the text's rows (L,).
        path: the rows that the text looks at (K,).
        codes: the target at each, 0 or 1.
    """
    h = _mean_rows(input, ids)
    first, last, node = _path(path, codes)
    loss, deltas = logistic_deltas(to_accumulator(output), h, first, last, node, len(path))
    return loss.astype(_dtype(input, output)), (h, deltas, ids, path, codes, input, output)


@text_logistic.backward
def text_logistic_backward(residuals, upstream):
    h, deltas, ids, path, codes, input, output = residuals
    deltas, W = to_accumulator(upstream) * deltas, to_accumulator(output)
    first, last, node = _path(path, codes)
    dh = logistic_dh(W, h, first, last, node, deltas)
    zeros = Rows(jnp.zeros_like(W))
    changed = change_one_by_one(zeros, first, last, h, lambda k: (node(k)[0], at(deltas, k)), -jnp.ones((), W.dtype))
    return _input_gradient(input, ids, dh), changed.rows


def _through_tables(residuals, upstream):
    """The gradients of both tables, where delta was computed for an upstream of 1."""
    h, delta, ids, input, output = residuals
    dh, dW = through_scores(to_accumulator(upstream) * delta, h, to_accumulator(output))
    return _input_gradient(input, ids, dh), dW


def _mean_rows(input: Array, ids: Array) -> Array:
    start, stop = np.uint32(0), np.uint32(len(ids))
    return sum_rows(to_accumulator(input), ids.astype(jnp.uint32), start, stop) / np.float32(len(ids))


def _input_gradient(input: Array, ids: Array, dh: Array) -> Array:
    start, stop = np.uint32(0), np.uint32(len(ids))
    zeros = jnp.zeros_like(to_accumulator(input))
    return add_to_rows(zeros, ids.astype(jnp.uint32), start, stop, dh / np.float32(len(ids)))


def _scores(output: Array, h: Array) -> Array:
    return (to_accumulator(output) @ h[0])[None]


def _path(path: Array, codes: Array) -> tuple[np.uint32, np.uint32, RowAndTarget]:
    rows, targets = path.astype(jnp.uint32), codes
    return np.uint32(0), np.uint32(len(path)), lambda k: (at(rows, k), at(targets, k))


def _dtype(*arrays: Array):
    return jnp.result_type(*arrays)
