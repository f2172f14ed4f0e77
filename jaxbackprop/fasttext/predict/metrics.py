"""How often predictions are right: precision, recall and F1 as fastText counts them, over all labels and for each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...data import Bags, DataError, Texts, Tokens
from ...data.bags import ranges
from ...data.errors import did_you_mean, shown
from ...data.tokens import starts_with
from ..corpus.reading import Source, text_groups
from ..corpus.vocabulary import Vocabulary
from ..model import Model
from .predictor import Predictions, Predictor


@dataclass(frozen=True, eq=False)
class Scoring:
    """Predictions held against the labels that were given.

    Attributes:
        texts: how many were predicted: those with a label the model knows and a row the model has, as fastText counts.
        gold: (L,) how many of them have each label.
        predicted: (L,) how often each label was predicted.
        right: (L,) how often it was there.
        scores: (P,) float32 the probability of each prediction, at most 1.
        labels: (P,) its label.
        hits: (P,) bool whether it was there.
    """

    texts: int
    gold: np.ndarray
    predicted: np.ndarray
    right: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    hits: np.ndarray

    @classmethod
    def of(cls, gold: Bags, predictions: Predictions, labels: int) -> "Scoring":
        """Predictions of as many texts as there are bags of label numbers, `labels` labels in all."""
        pair = gold.ids + np.repeat(np.arange(len(gold)), gold.lengths) * np.int64(labels)
        each = np.repeat(np.arange(len(predictions)), np.diff(predictions.offsets))
        hits = np.isin(predictions.labels + each * np.int64(labels), pair)
        return cls(
            len(gold),
            np.bincount(gold.ids, minlength=labels),
            np.bincount(predictions.labels, minlength=labels),
            np.bincount(predictions.labels[hits], minlength=labels),
            np.minimum(predictions.probabilities, 1),
            predictions.labels,
            hits,
        )

    @classmethod
    def joined(cls, parts: "Iterable[Scoring]") -> "Scoring":
        """The scoring of several parts of one text."""
        parts = list(parts)
        arrays = (
            [getattr(part, name) for part in parts]
            for name in ("gold", "predicted", "right", "scores", "labels", "hits")
        )
        gold, predicted, right, scores, labels, hits = arrays
        return cls(
            sum(part.texts for part in parts),
            np.sum(gold, 0),
            np.sum(predicted, 0),
            np.sum(right, 0),
            np.concatenate(scores),
            np.concatenate(labels),
            np.concatenate(hits),
        )

    @property
    def precision(self) -> float:
        """Which share of the predictions is right; NaN where there is none."""
        return _share(self.right.sum(), self.predicted.sum())

    @property
    def recall(self) -> float:
        """Which share of the labels given was predicted."""
        return _share(self.right.sum(), self.gold.sum())

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return (
            _share(2 * self.right.sum(), self.predicted.sum() + self.gold.sum()) if self.right.sum() else float("nan")
        )

    @property
    def macro_f1(self) -> float:
        """The mean of the labels' F1, each label alike, over those that were given or predicted."""
        met = self.predicted + self.gold > 0
        return float(np.mean(2 * self.right[met] / (self.predicted + self.gold)[met])) if met.any() else float("nan")

    def of_label(self, label: int) -> dict[str, float]:
        """Precision, recall and F1 of one label, by fastText's names; NaN where nothing was to be counted."""
        gold, predicted, right = self.gold[label], self.predicted[label], self.right[label]
        return {
            "precision": _share(right, predicted),
            "recall": _share(right, gold),
            "f1score": _share(2 * right, predicted + gold),
        }

    def curve(self, label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall at every threshold that matters, from the highest down; of one label or of all.

        The first point is precision 1 at recall 0; fastText's curve has it last.
        """
        of = slice(None) if label is None else self.labels == label
        scores, hits = self.scores[of], self.hits[of]
        order = np.argsort(-scores, kind="stable")
        right = np.cumsum(hits[order])
        last = np.append(np.diff(scores[order]) != 0, True)[: len(scores)]  # equal scores are one threshold
        gold = self.gold.sum() if label is None else self.gold[label]
        precision = right[last] / (np.flatnonzero(last) + 1)
        return np.append(1.0, precision), np.append(0.0, right[last] / gold if gold else np.full(last.sum(), np.nan))

    def precision_at_recall(self, recall: float, label: int | None = None) -> float:
        """The best precision among thresholds at which the recall is at least so high; 0 where there is none."""
        precisions, recalls = self.curve(label)
        return float(precisions[recalls >= recall].max(initial=0))

    def recall_at_precision(self, precision: float, label: int | None = None) -> float:
        """The best recall among thresholds at which the precision is at least so high."""
        precisions, recalls = self.curve(label)
        return float(recalls[precisions >= precision].max(initial=0))


@dataclass(frozen=True, eq=False)
class Meter:
    """A scoring by the names of fastText's meter: labels by name, prefix included.

    Attributes:
        scoring: the predictions held against the labels that were given.
        labels: their names, in the order of their numbers.
    """

    scoring: Scoring
    labels: Sequence[str]

    def score_vs_true(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """The probability of the label wherever it was predicted, rising; and 1 where it was given, else 0."""
        of = self.scoring.labels == self._number(label)
        scores, hits = self.scoring.scores[of], self.scoring.hits[of]
        order = np.lexsort((hits, scores))
        return scores[order], hits[order].astype(np.float32)

    def precision_recall_curve(self, label: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Precision and recall at each threshold, down to the first with a recall of 1; then 1 and 0.

        Of one label, or of all together; empty where nothing was predicted.
        """
        precision, recall = (part[1:] for part in self.scoring.curve(None if label is None else self._number(label)))
        if not len(precision):
            return precision, recall
        end = int(np.argmax(recall >= 1)) + 1 if (recall >= 1).any() else len(recall)
        return np.append(precision[:end], 1.0), np.append(recall[:end], 0.0)

    def precision_at_recall(self, recall: float, label: str | None = None) -> float:
        """The best precision among thresholds at which the recall is at least so high; 0 where there is none."""
        return self.scoring.precision_at_recall(recall, None if label is None else self._number(label))

    def recall_at_precision(self, precision: float, label: str | None = None) -> float:
        """The best recall among thresholds at which the precision is at least so high."""
        return self.scoring.recall_at_precision(precision, None if label is None else self._number(label))

    def _number(self, label: str) -> int:
        if label not in self.labels:
            near = did_you_mean(label, self.labels)
            raise ValueError(f"the label is {label!r}, never seen in training. {near}".rstrip())
        return self.labels.index(label)


@dataclass(frozen=True, eq=False)
class Skipped:
    """What of a labelled text cannot be scored: counted, and the first of it named.

    Attributes:
        unknown: labels the model does not know.
        unlabelled: lines with words but without any label.
        first: where the first unknown label stands, and which it is.
    """

    unknown: int = 0
    unlabelled: int = 0
    first: str = ""

    def __str__(self) -> str:
        parts = []
        if self.unknown:
            parts.append(f"{self.unknown:,} label(s) never seen in training, the first {self.first}, not counted")
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} line(s) without label passed over")
        return "; ".join(parts)

    def __add__(self, other: "Skipped") -> "Skipped":
        return Skipped(self.unknown + other.unknown, self.unlabelled + other.unlabelled, self.first or other.first)


def labelled(vocabulary: Vocabulary, tokens: Tokens) -> tuple[Bags, Skipped]:
    """The labels of each line that the vocabulary knows, and what had to be passed over."""
    known = vocabulary.encode_labels(tokens, unknown="drop")
    is_label = starts_with(tokens.words, vocabulary.label_prefix)
    counted = np.concatenate([[0], np.cumsum(is_label[tokens.codes])])[tokens.offsets]
    labels, all_tokens = np.diff(counted), np.diff(tokens.offsets)
    strange = labels - known.lengths
    lines = np.flatnonzero(strange)
    first = ""
    if len(lines):
        at = tokens.codes[ranges(tokens.offsets[lines[:1]], all_tokens[lines[:1]])]
        names = [tokens.words[int(code)].as_py().decode("utf-8", "backslashreplace") for code in at if is_label[code]]
        has = {f"{vocabulary.label_prefix}{label}" for label in vocabulary.labels}
        name = next(name for name in names if name not in has)
        first = f"{shown(name.removeprefix(vocabulary.label_prefix))} in line {tokens.line(int(lines[0]))}"
    unlabelled = (labels == 0) & (all_tokens > 1)  # one token is the end of an empty line
    return known, Skipped(int(strange.sum()), int(unlabelled.sum()), first)


def encoded(model: Model, groups: Iterable[Tokens]) -> tuple[list[tuple[Bags, Bags]], Skipped]:
    """Labelled lines as a model sees them: rows and labels, group after group, and what had to be skipped.

    Each text has a row and a label that the model knows.
    """
    parts, skipped = [], Skipped()
    for tokens in groups:
        gold, skipped_here = labelled(model.vocabulary, tokens)
        rows, skipped = model.encode(tokens), skipped + skipped_here
        usable = np.flatnonzero((gold.lengths > 0) & (rows.lengths > 0))
        parts.append((rows.take(usable), gold.take(usable)))
    return parts, skipped


def score(predictor: Predictor, data: Source, k: int, threshold: float) -> tuple[Scoring, Skipped]:
    """A labelled text held against a model: its scoring, and what had to be passed over."""
    model, skipped, parts = predictor.model, Skipped(), []
    prefix = model.vocabulary.label_prefix
    for tokens in text_groups(data, prefix):
        gold, skipped_here = labelled(model.vocabulary, tokens)
        bags, skipped = model.encode(tokens), skipped + skipped_here
        usable = np.flatnonzero((gold.lengths > 0) & (bags.lengths > 0))
        gold, bags = gold.take(usable), bags.take(usable)
        parts.append(Scoring.of(gold, predictor.best(bags, k, threshold), predictor.labels))
    scoring = Scoring.joined(parts) if parts else None
    if scoring is None or not scoring.texts:
        raise nothing_to_score(skipped, prefix, data)
    return scoring, skipped


def nothing_to_score(skipped: Skipped, prefix: str, data: Source) -> DataError:
    """The error for a text of which no line can be scored."""
    source = data.source if isinstance(data, Texts) else str(data)
    return DataError(
        f"no line to test on ({skipped})" if str(skipped) else "no line to test on",
        expected=f"lines such as {prefix}x some words, with labels seen in training",
        advice="Is it the right file, and the right model?",
        file=source,
    )


def _share(part: np.integer | int, whole: np.integer | int) -> float:
    return float(part) / float(whole) if whole else float("nan")
