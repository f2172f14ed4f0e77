"""What a trained model says of texts: hidden vectors, probabilities, the best labels, as fastText 0.9.2 gives them.

fastText ranks labels by log(p + 1e-5) in float32 and reports its exponential; its sigmoid for ns and ova is a table of
513 numbers. Both show in the fifth decimal of a probability, so both are kept. Only among equal probabilities is the
order our own: the lower label number first. Everything here is array arithmetic in NumPy: there is nothing to compile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...data import Bags
from ...data.bags import starts
from ..model import Model, Table
from ..options import real_number, whole_number
from .hidden import hidden, hidden_of_one
from .huffman_search import Tree
from .top_k import log, top_k, top_k_of_one

CELLS = 1 << 21  # (text, label) pairs at a time: they stay in the cache
TEXTS = 1 << 14  # texts searched for in a tree together
FEWEST = 16  # texts at a time, however many labels there are
FEW = 8  # where at most one label in this number is wanted, a Huffman tree is searched, not computed whole
WHOLE = 1 << 10  # labels: for one text all inner nodes of so small a tree are computed at once
UNLIKELY = 0.01  # and where only labels as likely as this are
REACH, STEPS = np.float32(8), 512  # fastText's sigmoid: a table of 512 steps from -8 to 8, 0 and 1 beyond
SIGMOID = (1 / (1 + np.exp(-(np.arange(STEPS + 1, dtype=np.float32) * 16 / STEPS - 8)).astype(np.float64))).astype("f4")
LabelsAndProbabilities = tuple[list[list[str]], list[np.ndarray]]
NEAR = 2e-3  # so near to the border of two steps, in steps, a score is summed in fastText's order: rounding decides


@dataclass(frozen=True, eq=False)
class Predictions:
    """The best labels of N texts: those of text k are labels[offsets[k]:offsets[k + 1]], best first.

    Attributes:
        labels: (T,) int32.
        probabilities: (T,) float32; fastText's, which may exceed 1 by 1e-5.
        offsets: (N + 1,) int64; a text without a known word has none.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def joined(cls, parts: "Sequence[Predictions]") -> "Predictions":
        """The predictions of several lists of texts as those of one."""
        lengths = [np.diff(part.offsets) for part in parts] or [np.zeros(0, np.int64)]
        labels = [part.labels for part in parts] or [np.zeros(0, np.int32)]
        probabilities = [part.probabilities for part in parts] or [np.zeros(0, np.float32)]
        return cls(np.concatenate(labels), np.concatenate(probabilities), starts(np.concatenate(lengths)))


class Predictor:
    """A model ready to predict: its output table unpacked, its tree built, both once.

    Raises:
        ValueError: the model has word vectors alone.
    """

    def __init__(self, model: Model):
        if model.kind not in ("supervised", "linear"):
            raise ValueError(f"this is a {model.kind} model, of word vectors: it has no labels, and cannot predict.")
        self.model = model
        self.loss = model.settings.loss
        self.labels = len(model.vocabulary.labels)
        self.output = np.asarray(rows_of(model.output, np.arange(model.output.shape[0])), np.float32)
        counts = model.vocabulary.counts[model.vocabulary.word_count :]
        self.tree = Tree.of(counts) if self.loss == "hs" and self.labels else None

    def best(self, bags: Bags, k: int = 1, threshold: float = 0.0) -> Predictions:
        """The `k` best labels of each text (-1: all) whose probability is at least `threshold`."""
        k, threshold = self._most(k), real_number(threshold, "threshold", "predict")
        usable = np.flatnonzero(bags.lengths > 0) if self.labels else np.zeros(0, np.int64)
        searched = self._searched(k, threshold)
        step = TEXTS if searched else max(CELLS // max(self.labels, 1), FEWEST)
        counts, labels, logs = np.zeros(len(bags), np.int64), [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for start in range(0, len(usable), step):
            part = usable[start : start + step]
            x = hidden(self.model, bags if len(part) == len(bags) else bags.take(part))
            counts[part], found, scores = self._best(x, k, np.float32(threshold), searched)
            labels.append(found)
            logs.append(scores)
        return Predictions(np.concatenate(labels).astype(np.int32), np.exp(np.concatenate(logs)), starts(counts))

    def best_of_one(self, text: str, k: int = 1, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """`best` of one text: the numbers of its labels, and their probabilities."""
        k, threshold = self._most(k), real_number(threshold, "threshold", "predict")
        ids = self.model.encode_line(text)
        if not len(ids) or not self.labels:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        x = hidden_of_one(self.model, ids)
        if self.tree is not None and self.labels <= WHOLE:
            labels, logs = self.tree.search_one(x, self.output, k, log(np.float32(threshold)))
        elif self.tree is not None:
            _, labels, logs = self._best(x[None], k, np.float32(threshold), self._searched(k, threshold))
        else:
            labels, best = top_k_of_one(self._reported(x[None])[0], k, np.float32(threshold))
            logs = log(best)
        return labels, np.exp(logs)

    def _most(self, k: int) -> int:
        k = whole_number(k, "k", "predict")
        if k < 1 and k != -1:
            raise ValueError(f"k is {k}; it is at least 1, or -1 for all labels.")
        return self.labels if k == -1 else min(k, self.labels)

    def _searched(self, k: int, threshold: float) -> bool:
        return self.tree is not None and (k * FEW <= self.labels or threshold >= UNLIKELY)

    def probabilities(self, bags: Bags) -> np.ndarray:
        """The probability of every label, (N, labels) float32: the model's own, without fastText's rounding.

        A text without a known word has the zero vector, of which the model says what it says: under softmax all labels
        alike.
        """
        p = np.zeros((len(bags), self.labels), np.float32)
        step = max(CELLS // max(self.labels, 1), FEWEST)
        for start in range(0, len(bags), step):
            x = hidden(self.model, bags.take(np.arange(start, min(start + step, len(bags)))))
            if self.tree is not None:
                p[start : start + step] = np.exp(self.tree.log_probabilities(x, self.output))
            elif self.loss == "softmax":
                p[start : start + step] = softmax(self.scores(x))
            else:
                p[start : start + step] = sigmoid(self.scores(x))
        return p

    def scores(self, x: np.ndarray) -> np.ndarray:
        """The score of every label, (N, labels); a margin counts twice, as its slope is twice the sigmoid's."""
        if self.model.kind == "supervised":
            return x @ self.output.T
        return 2 * x if self.loss in ("squared_hinge", "hinge") else x.copy()

    def _best(
        self, x: np.ndarray, k: int, threshold: np.float32, searched: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many labels each text has, the labels, and the logarithms of their probabilities."""
        if searched and self.tree is not None:
            return self.tree.search(x, self.output, k, log(threshold))
        if self.tree is not None:
            return top_k(self.tree.scores(x, self.output, log(threshold)), k, np.finfo(np.float32).min)
        counts, labels, best = top_k(self._reported(x), k, threshold)
        return counts, labels, log(best)

    def _reported(self, x: np.ndarray) -> np.ndarray:
        """The probability of every label as fastText reports it, but under hs."""
        if self.loss == "softmax":
            return softmax(self.scores(x))
        return self._tabled_sigmoid(x) if self.model.kind == "supervised" else sigmoid(self.scores(x))

    def _tabled_sigmoid(self, x: np.ndarray) -> np.ndarray:
        scores = x @ self.output.T
        place = (scores + REACH) * np.float32(STEPS / 16)
        text, label = np.nonzero(np.abs(place - np.rint(place)) < NEAR)
        if len(text):
            place[text, label] = (_in_order(x, self.output, text, label) + REACH) * np.float32(STEPS / 16)
        p = SIGMOID[np.clip(place, 0, STEPS).astype(np.int32)]
        p[place < 0] = 0
        p[place > STEPS] = 1
        return p


def rows_of(table: Table, rows: np.ndarray) -> np.ndarray:
    """The rows of these numbers, the table itself where that is all of them."""
    whole = isinstance(table, np.ndarray) and len(rows) == table.shape[0]
    return table if whole else table[rows]  # type: ignore[return-value]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Scores as probabilities, in place: (N, labels) float32."""
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.cumsum(scores, -1)[:, -1:]  # summed as fastText sums, one after another in single precision
    return scores


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Scores as probabilities, each by itself."""
    return 1 / (1 + np.exp(-scores.clip(-80)))


def _in_order(x: np.ndarray, output: np.ndarray, text: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The scores of some (text, label) pairs, summed from the first number of a row to the last, as fastText does."""
    total = np.zeros(len(text), np.float32)
    for j in range(x.shape[1]):
        total += x[text, j] * output[label, j]
    return total


def as_fasttext_lists(predictions: Predictions, names: list[str]) -> LabelsAndProbabilities:
    """Predictions as fastText's Python module answers them for a list of texts: label names, and probabilities."""
    named = np.array(names, object)[predictions.labels].tolist()
    ends = predictions.offsets.tolist()
    spans = list(pairwise(ends))
    return [named[a:b] for a, b in spans], [predictions.probabilities[a:b] for a, b in spans]
