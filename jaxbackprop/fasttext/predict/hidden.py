"""From a text's rows to the vector that its labels are scored by: a mean, or under a linear model the scores."""

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
    ids, differs = np.sort(ids), np.ones(len(ids) + 1, bool)
    np.not_equal(ids[1:], ids[:-1], out=differs[1:-1])
    first = np.flatnonzero(differs)
    rows = ids[first[:-1]]
    weights = model.idf[rows] * (1 + np.log(first[1:] - first[:-1], dtype=np.float32))
    length = np.sqrt(weights @ weights)
    return weights @ model.input[rows] / (length or np.float32(1)) + model.bias
