"""The best of many labels in the order in which fastText 0.9.2 lists them, equal ones too.

What is ranked, and where the probabilities come from, is not known here.
"""

from collections.abc import Callable
from heapq import heappop, heappush

import numpy as np

SMALL = np.float64(1e-5)  # fastText adds it to a probability before it takes the logarithm
TINY = np.float32(2e-6)  # more than by how much two probabilities can differ whose logarithms are one float32


def log(p: np.ndarray | np.floating) -> np.ndarray:
    """fastText's logarithm of a probability: log(p + 1e-5), computed in double precision, kept in single."""
    return np.log(np.asarray(p, np.float64) + SMALL).astype(np.float32)


def top_k(
    p: np.ndarray, k: int, threshold: np.float32, log: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k best columns of each row that reach the threshold: how many, which, and their logarithms, best first.

    Where two logarithms are equal it is the course of fastText's heap that decides, and that is followed.
    """
    if k == 1:
        return _top_1(p, threshold, log)
    enough = p >= threshold
    counts = np.minimum(enough.sum(1), k)
    m = min(int(counts.max(initial=0)) + 1, p.shape[1])
    if m == p.shape[1]:
        logs = np.where(enough, log(p), -np.float32(np.inf))
        columns = np.argsort(-logs, axis=1, kind="stable")
        logs = np.take_along_axis(logs, columns, 1)
    else:
        columns = np.argpartition(p, p.shape[1] - m, axis=1)[:, -m:]
        near = np.take_along_axis(p, columns, 1)
        logs = np.where(near >= threshold, log(near), -np.float32(np.inf))
        order = np.argsort(-logs, axis=1, kind="stable")
        columns, logs = np.take_along_axis(columns, order, 1), np.take_along_axis(logs, order, 1)
    tied = (logs[:, :-1] == logs[:, 1:]) & (np.arange(m - 1) < counts[:, None]) & (logs[:, 1:] > -np.inf)
    for row in np.flatnonzero(tied.any(1)):
        reaching = np.flatnonzero(enough[row])
        columns[row, : counts[row]], logs[row, : counts[row]] = heap_order(reaching, log(p[row, reaching]), k)
    taken = np.arange(m) < counts[:, None]
    return counts, columns[taken], logs[taken]


def _top_1(
    p: np.ndarray, threshold: np.float32, log: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best column of each row; of equal ones the last, for it takes the place of those before it."""
    columns, each = p.argmax(1), np.arange(len(p))
    best = p[each, columns]
    logs = log(best)
    for row in np.flatnonzero((p >= (best - TINY * np.maximum(np.abs(best), 1))[:, None]).sum(1) > 1):
        columns[row] = np.flatnonzero(log(p[row]) == logs[row])[-1]
    enough = best >= threshold
    return enough.astype(np.int64), columns[enough], logs[enough]


def heap_order(numbers: np.ndarray, logs: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    """The k numbers of the largest `logs` in the order in which fastText's binary heap leaves them.

    Python's heap moves equal entries as that of the C++ library does; it sifts down to a leaf, then up. Each logarithm
    is an object of its own, and that tells equal ones apart.
    """
    values, heap = logs.tolist(), []
    for value in values[:k]:
        heappush(heap, value)
    for value in values[k:]:
        if value >= heap[0]:
            heappush(heap, value)
            heappop(heap)
    best = [heappop(heap) for _ in range(len(heap))][::-1]
    number_of = dict(zip(map(id, values), numbers.tolist(), strict=True))
    return [number_of[id(value)] for value in best], best
