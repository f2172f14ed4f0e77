"""By how much the learning rate of each row is multiplied: rare rows tell labels apart, frequent ones are everywhere.

How it is applied is the business of sequential.py and batched.py.
"""

from collections.abc import Iterable

import numpy as np

from ...data import Bags


def idf_learning_rate_scale(chunks: Iterable[tuple[Bags, Bags]], rows: int, exponent: float) -> np.ndarray:
    """The share of each row, (rows, 1) float32: one pass over the texts.

    Formula  idf_i = log(1 + texts / n_i),  share_i = idf_i^exponent / c,  sum_i n_i share_i = sum_i n_i
             for a row that is named n_i times; one that never is has the share of one named once

    Of mean 1 over all visits, so that lr stays what it was. The mean of a text's rows is then what it would be if each
    row x_i had the weight a_i = sqrt(share_i) in it: of y_i = a_i x_i the sum is the same, and a step along the
    gradient of x_i moves y_i by a_i^2. With exponent 2 that is the weight of tf-idf, in tables that fastText reads.

    Source  Sparck Jones 1972 (idf); what it gains: experiments/text_quality.py
    """
    named, texts = np.zeros(rows, np.int64), 0
    for bags, _ in chunks:
        named += np.bincount(bags.ids, minlength=rows)
        texts += len(bags)
    shares = np.log1p(texts / np.maximum(named, 1)) ** exponent
    shares *= named.sum() / max((named * shares).sum(), np.finfo(float).tiny)
    return shares.astype(np.float32)[:, None]
