"""Probabilities that can be believed: one number by which all scores are multiplied, fitted on texts not trained on.

The labels' order, and so accuracy, stays as it is; the number goes into the output table, or into the linear model's
weights, so that every file and every program that reads it answers the same. The slope of the loss is made of the
backward passes of the library's losses.

Source  Guo, Pleiss, Sun, Weinberger 2017, arXiv:1706.04599 (temperature scaling; the expected calibration error)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...data import Bags
from ...losses.cross_entropy import (
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from ...losses.logistic import logistic_loss_and_delta
from ..corpus.reading import Source, text_groups
from ..model import Model
from ..settings import LABEL_BY_LABEL
from .hidden import hidden
from .huffman import paths
from .metrics import encoded, nothing_to_score
from .predictor import Predictor

BINS = 15
LARGEST, HALVINGS = 1e4, 60
BLOCK = 1 << 22  # scores that are formed at a time


@dataclass(frozen=True)
class Calibration:
    """What calibrating has changed, on the texts it was fitted on; pairs are before and after.

    Attributes:
        temperature: what all scores were divided by; above 1 where the model was too sure.
        texts: how many there were.
        log_loss: the mean loss of a text: -log of its label's probability (the mean over its labels, where it has
            several); where each label is judged for itself (ova, ns, the hinges) the sum over all
            labels of that of its presence or absence.
        error: the expected calibration error: by how much the best label's probability is beside the share of texts
            whose best label is right, in the mean over 15 bins of that probability; softmax and hs share a
            probability of 1 among a text's labels, so that of N labels each is right by 1/N.
    """

    temperature: float
    texts: int
    log_loss: tuple[float, float]
    error: tuple[float, float]


def calibrate(model: Model, data: Source) -> tuple[Model, Calibration]:
    """The model with its scores divided by the temperature that suits the labels of `data` best.

    Formula  loss(b) = mean of the texts' losses at scores b z;  temperature = 1 / argmin_b loss(b)
             loss is convex in b: softmax dloss/db = mean sum_c (p_c - t_c) z_c, t the text's labels, each its share;
             ova, ns, hinges the same with p_c = sigmoid(b z_c), t_c 0 or 1; hs with the nodes of the label's path

    Raises:
        DataError: no such file, or no line that can be scored.
        ValueError: the output table is quantized.
    """
    if not isinstance(model.output, np.ndarray):
        raise ValueError("calibrate: the output table is quantized; calibrate first, then quantize.")
    parts, skipped = encoded(model, text_groups(data, model.settings.label_prefix))
    if not sum(len(gold) for _, gold in parts):
        raise nothing_to_score(skipped, model.settings.label_prefix, data)
    bags, gold = (Bags.joined(side) for side in zip(*parts, strict=True))
    return calibrated(model, bags, gold)


def calibrated(
    model: Model, bags: Bags, labels: Bags, judged_on: tuple[Bags, Bags] | None = None
) -> tuple[Model, Calibration]:
    """The same for texts that are rows already, each with a row and a label; judged on other ones, if there are any."""
    b = _zero_of(_slope(model, hidden(model, bags), labels))
    scaled = ("output",) if model.bias is None else ("input", "bias")
    new = replace(model, **{name: np.asarray(getattr(model, name), np.float32) * np.float32(b) for name in scaled})
    held_out = judged_on or (bags, labels)
    (loss, error), (new_loss, new_error) = (_judged(one, *held_out) for one in (model, new))
    return new, Calibration(1 / b, len(labels), (loss, new_loss), (error, new_error))


def _slope(model: Model, x: np.ndarray, labels: Bags) -> Callable[[float], float]:
    """dloss/db, the mean over the texts with hidden vectors x (N, D), as a function of b."""
    each = np.repeat(np.arange(len(labels)), labels.lengths)
    weight = 1 / labels.lengths[each] / len(labels)
    if model.settings.loss == "hs":
        path = _path_scores(model, x[each], labels.ids, weight)
        return lambda b: _in_double(_logistic_slope, b, *path)
    predictor = Predictor(model)
    size = max(BLOCK // predictor.labels, 1)
    block_slope = _softmax_slope if model.settings.loss == "softmax" else _one_vs_all_slope
    share = weight if model.settings.loss == "softmax" else np.full(len(each), 1.0)
    starts = range(0, len(x), size)

    def slope(b: float) -> float:
        total = 0.0
        for k in starts:
            z = predictor.scores(x[k : k + size]).astype(np.float64)
            target, here = np.zeros(z.shape), (each >= k) & (each < k + size)
            target[each[here] - k, labels.ids[here]] = share[here]
            total += _in_double(block_slope, b, z, target)
        return total

    if model.settings.loss == "softmax":
        return slope
    return lambda b: slope(b) / len(x)


def _in_double(slope: Callable[..., Array], *arguments: float | np.ndarray) -> float:
    with jax.enable_x64(True):
        return float(slope(*arguments))


@jax.jit
def _softmax_slope(b: Array, z: Array, target: Array) -> Array:
    """The slope at scores b z with loss -sum_c t_c log softmax(b z)_c: sum dz z, dz by the rule's backward pass."""
    loss, residuals = softmax_cross_entropy.forward(b * z, target)
    dz, *_ = softmax_cross_entropy_backward(residuals, jnp.ones_like(loss), smoothing=0.0)
    return (dz * z).sum()


@jax.jit
def _one_vs_all_slope(b: Array, z: Array, target: Array) -> Array:
    """The same where each label is judged for itself."""
    loss, residuals = sigmoid_cross_entropy.forward(b * z, target)
    dz, *_ = sigmoid_cross_entropy_backward(residuals, jnp.ones_like(loss))
    return (dz * z).sum()


@jax.jit
def _logistic_slope(b: Array, z: Array, codes: Array, weight: Array) -> Array:
    """The same at the nodes of the labels' paths, each with its weight."""
    _, delta = logistic_loss_and_delta(b * z, codes)
    return (weight * delta * z).sum()


def _path_scores(model: Model, hidden: np.ndarray, labels: np.ndarray, weight: np.ndarray):
    """The score of every node on the labels' paths, its code, and its weight."""
    tree = paths(model.vocabulary.counts[model.vocabulary.word_count :])
    lengths = np.diff(tree.offsets)[labels]
    text = np.repeat(np.arange(len(labels)), lengths)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place += tree.offsets[labels][text]
    z = (hidden[text] * np.asarray(model.output)[tree.nodes[place]]).sum(1, dtype=np.float64)
    return z, tree.codes[place], weight[text]


def _zero_of(slope: Callable[[float], float]) -> float:
    """Where a rising function is 0, between 1/LARGEST and LARGEST; their logarithm is halved."""
    low, high = -np.log(LARGEST), np.log(LARGEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(float(np.exp(middle))) > 0 else (middle, high)
    return float(np.exp((low + high) / 2))


def _judged(model: Model, bags: Bags, labels: Bags) -> tuple[float, float]:
    """The mean log loss, and the expected calibration error."""
    predictor, loss, each_label = Predictor(model), 0.0, model.settings.loss in LABEL_BY_LABEL
    size = max(BLOCK // predictor.labels, 1)
    best, right = np.zeros(len(bags)), np.zeros(len(bags))
    for first in range(0, len(bags), size):
        which = np.arange(first, min(first + size, len(bags)))
        p, gold = predictor.probabilities(bags.take(which)).astype(np.float64), labels.take(which)
        text = np.repeat(np.arange(len(gold)), gold.lengths)
        is_its = np.zeros(p.shape, bool)
        is_its[text, gold.ids] = True
        with np.errstate(divide="ignore"):  # where a model was sure and wrong, its loss is infinite
            if each_label:
                z = predictor.scores(hidden(model, bags.take(which))).astype(np.float64)
                loss += float((np.logaddexp(0, z) - np.where(is_its, z, 0)).sum())
            else:
                loss -= float((np.log(p[text, gold.ids]) / gold.lengths[text]).sum())
        best[which], right[which] = p.max(1), is_its[np.arange(len(p)), p.argmax(1)]
        right[which] /= 1 if each_label else gold.lengths
    place = np.minimum((best * BINS).astype(int), BINS - 1)
    off = np.abs(np.bincount(place, best - right, minlength=BINS)).sum()
    return loss / len(bags), float(off / len(bags))
