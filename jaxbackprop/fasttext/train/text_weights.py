"""How much each text counts in training: by the weights of its labels, and by a weight of its own.

A text of weight w changes the model as w copies of it would to first order: its loss and its gradient are multiplied.
"""

from collections.abc import Mapping

import numpy as np

from ...data import Bags
from ...data.errors import did_you_mean
from ..corpus.vocabulary import Vocabulary


def label_weights(vocabulary: Vocabulary, class_weight: str | Mapping[str, float] | None) -> np.ndarray | None:
    """The weight of each label, (L,); None where all are 1.

    Args:
        vocabulary: its labels and their counts.
        class_weight: "balanced": in inverse proportion to the labels' counts, of mean 1 over all that were counted,
            as in scikit-learn; or the weight of some labels, with their prefix or without, others have 1.

    Raises:
        ValueError: a label that is not among the vocabulary's.
    """
    if class_weight is None:
        return None
    labels, counts = vocabulary.labels, vocabulary.counts[vocabulary.word_count :]
    if isinstance(class_weight, str):
        return (counts.sum() / (len(labels) * np.maximum(counts, 1))).astype(np.float32)
    weights, number = np.ones(len(labels), np.float32), {label: k for k, label in enumerate(labels)}
    for name, weight in class_weight.items():
        label = name if name in number else name.removeprefix(vocabulary.label_prefix)
        if label not in number:
            near = did_you_mean(label, labels)
            raise ValueError(f"class_weight: {name!r} is not among the labels. {near}".rstrip())
        weights[number[label]] = weight
    return weights


def text_weights(labels: Bags, of_labels: np.ndarray | None, of_texts: np.ndarray | None) -> np.ndarray | None:
    """The weight of each text, (N,) float32: the mean over its labels, times its own; None where all are 1.

    Args:
        labels: of N texts, each with one at least.
        of_labels: the weight of each label, or None.
        of_texts: (N,) the weight of each text, or None.
    """
    if of_labels is None:
        return of_texts
    mean = (
        np.add.reduceat(of_labels[labels.ids], labels.offsets[:-1]) / labels.lengths if len(labels) else of_labels[:0]
    )
    return (mean if of_texts is None else mean * of_texts).astype(np.float32)
