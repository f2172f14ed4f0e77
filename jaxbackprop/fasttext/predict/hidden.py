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
    rows, counts = np.unique(ids, return_counts=True)
    weights = (1 + np.log(counts.astype(np.float32))) * model.idf[rows]
    return weights @ model.input[rows] / (np.sqrt((weights**2).sum()) or np.float32(1)) + model.bias
