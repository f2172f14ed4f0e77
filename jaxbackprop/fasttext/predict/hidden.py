"""From a text's rows to the vector that its labels are scored by: a mean, or under a linear model the scores."""

from collections import Counter

import numpy as np

from ...data import Bags
from ..linear.features import counted, weigh
from ..model import Model, mean_row, mean_rows


def hidden(model: Model, bags: Bags) -> np.ndarray:
    """The mean of each text's rows; under a linear model the tf-idf weighted sum and the bias: (N, D) float32."""
    if model.idf is None or model.bias is None:
        return mean_rows(model.input, bags)
    return weigh(counted(bags, len(model.idf)), model.idf) @ np.asarray(model.input) + model.bias


def hidden_of_one(model: Model, ids: np.ndarray) -> np.ndarray:
    """`hidden` of one text: (D,) float32."""
    if model.idf is None or model.bias is None:
        return mean_row(model.input, ids)
    counts = Counter(ids.tolist())
    rows = np.fromiter(counts, np.int64, len(counts))
    weights = model.idf[rows]
    if len(counts) < len(ids):
        weights = weights * (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts))))
    return weights @ model.input[rows] / (np.sqrt(weights @ weights) or np.float32(1)) + model.bias
