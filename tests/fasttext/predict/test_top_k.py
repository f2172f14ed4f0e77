"""The best of many labels: by the definition for different probabilities, by fastText's heap for equal ones."""

import math

import numpy as np
import pytest

from jaxbackprop.fasttext.predict.top_k import heap_order, log, top_k


def lists(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[list[list[int]], list[list[float]]]:
    counts, columns, logs = found
    ends = np.cumsum(counts)[:-1]
    return [part.tolist() for part in np.split(columns, ends)], [part.tolist() for part in np.split(logs, ends)]


@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.9])
def test_the_k_largest_that_reach_the_threshold_come_by_falling_size(k: int, threshold: float):
    p = np.random.default_rng(0).permutation(300).reshape(15, 20).astype(np.float32) / 300  # no two alike
    columns, logs = lists(top_k(p, k, np.float32(threshold), log))
    for row, (found, values) in enumerate(zip(columns, logs, strict=True)):
        expected = [c for c in sorted(range(20), key=lambda c: -p[row, c]) if p[row, c] >= np.float32(threshold)][:k]
        assert found == expected
        assert values == [np.float32(math.log(float(p[row, c]) + 1e-5)) for c in expected]


def test_of_equal_ones_the_last_is_the_best_where_one_is_asked_for():
    """fastText's heap of one lets an equal entry take the place of the one before it."""
    p = np.array([[0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.4, 0.1]], np.float32)
    assert lists(top_k(p, 1, np.float32(0), log))[0] == [[3], [2]]


def std_heap_order(values: list[float], k: int) -> list[int]:
    """What push_heap, pop_heap and sort_heap of the C++ standard library leave, written out from its description."""
    heap: list[tuple[float, int]] = []

    def up(hole: int, entry: tuple[float, int], top: int = 0) -> None:
        while hole > top and heap[(hole - 1) // 2][0] > entry[0]:
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = entry

    def pop(size: int) -> None:
        """The first of `size` entries goes to their end; the last finds its place from the top."""
        entry, heap[size - 1] = heap[size - 1], heap[0]
        size -= 1
        if not size:
            return
        hole, child = 0, 0
        while child < (size - 1) // 2:
            child = 2 * (child + 1)
            if heap[child][0] > heap[child - 1][0]:
                child -= 1
            heap[hole], hole = heap[child], child
        if size % 2 == 0 and child == (size - 2) // 2:
            child = 2 * (child + 1)
            heap[hole], hole = heap[child - 1], child - 1
        up(hole, entry)

    for number, value in enumerate(values):
        if len(heap) == k and value < heap[0][0]:
            continue
        heap.append((value, number))
        up(len(heap) - 1, heap[-1])
        if len(heap) > k:
            pop(len(heap))
            heap.pop()
    for size in range(len(heap), 1, -1):
        pop(size)
    return [number for _, number in heap]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7, 16, 40])
def test_equal_ones_are_in_the_order_in_which_the_cpp_heap_leaves_them(k: int):
    rng = np.random.default_rng(k)
    for _ in range(200):
        values = rng.integers(0, 5, 40).astype(np.float32)  # many equal
        numbers, found = heap_order(np.arange(40), values, k)
        assert numbers == std_heap_order(values.tolist(), k)
        assert found == values[numbers].tolist()


def test_the_logarithm_of_zero_is_that_of_a_hundred_thousandth():
    assert log(np.zeros(1, np.float32))[0] == np.float32(math.log(1e-5))
