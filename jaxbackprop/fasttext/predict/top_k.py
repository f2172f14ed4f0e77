"""The best of many labels, in a fixed order: by falling score, and among equal scores by rising label number."""

import numpy as np

FEW = 1 << 10  # scores that are sorted whole faster than the best of them are found
SMALL = np.float64(1e-5)  # fastText adds it to a probability before it takes the logarithm


def log(p: np.ndarray | np.floating) -> np.ndarray:
    """fastText's logarithm of a probability: log(p + 1e-5), computed in double precision, kept in single."""
    return np.log(np.asarray(p, np.float64) + SMALL).astype(np.float32)


def top_k(scores: np.ndarray, k: int, threshold: np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k best columns of each row whose score is at least `threshold`, best first; of equal ones the lower first.

    Args:
        scores: (N, L) one a text and label.
        k: how many columns of a row are taken at most.
        threshold: the least score.

    Returns:
        How many columns each row has (N,); the columns of all rows, one row after another (T,); their scores (T,).
    """
    labels = scores.shape[1]
    counts = np.minimum((scores >= threshold).sum(1), k)
    most = int(counts.max(initial=0))
    if most <= 1:
        texts = np.flatnonzero(counts)
        columns = scores.argmax(1)[texts] if most else np.zeros(0, np.int64)
        return counts, columns, scores[texts, columns]
    if most == labels or scores.size <= FEW:
        columns = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    else:
        columns = np.argpartition(scores, labels - most, axis=1)[:, labels - most :]
        least = np.take_along_axis(scores, columns, 1).min(1, keepdims=True)
        cut_among_equals = (scores >= least).sum(1) > most
        columns[cut_among_equals] = np.argsort(-scores[cut_among_equals], axis=1, kind="stable")[:, :most]
        columns.sort(1)
        order = np.argsort(-np.take_along_axis(scores, columns, 1), axis=1, kind="stable")
        columns = np.take_along_axis(columns, order, 1)
    taken = np.arange(most) < counts[:, None]
    return counts, columns[taken], np.take_along_axis(scores, columns, 1)[taken]


def top_k_of_one(scores: np.ndarray, k: int, threshold: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """`top_k` of one row, (L,): the columns, and their scores."""
    if k > 1 and len(scores) > FEW:
        return top_k(scores[None], k, threshold)[1:]
    columns = np.array([scores.argmax()]) if k == 1 else np.argsort(-scores, kind="stable")[:k]
    best = scores[columns]
    reached = best >= threshold
    return columns[reached], best[reached]
