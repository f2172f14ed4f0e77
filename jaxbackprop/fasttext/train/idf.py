"""The scale of each row's learning rate: rare rows tell labels apart, frequent ones are everywhere."""

from collections.abc import Iterable

import numpy as np

from ...data import Bags


def idf_learning_rate_scale(chunks: Iterable[tuple[Bags, Bags]], rows: int, exponent: float) -> np.ndarray:
    """The scale of each row's learning rate, (rows, 1) float32: one pass over the texts.

    Formula  idf_i = log(1 + texts / n_i),  s_i = idf_i^exponent / c,  sum_i n_i s_i = sum_i n_i
             for a row that is named n_i times; one that never is has the scale of one named once

    Of mean 1 over all visits, so that lr stays what it was. The mean of a text's rows is then what it would be if each
    row x_i had the weight a_i = sqrt(s_i) in it: of y_i = a_i x_i the sum is the same, and a step along the gradient
    of x_i moves y_i by a_i^2. With exponent 2 that is the weight of tf-idf, in tables that fastText reads.

    Source  Sparck Jones 1972 (idf); what it gains: experiments/text_quality.py
    """
    named, texts = np.zeros(rows, np.int64), 0
    for bags, _ in chunks:
        named += np.bincount(bags.ids, minlength=rows)
        texts += len(bags)
    scale = np.log1p(texts / np.maximum(named, 1)) ** exponent
    scale *= named.sum() / max((named * scale).sum(), np.finfo(float).tiny)
    return scale.astype(np.float32)[:, None]
