"""The best of many labels, by the definition; of equal ones the lower number comes first."""

import math

import numpy as np
import pytest

from jaxbackprop.fasttext.predict.top_k import log, top_k


def lists(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[list[list[int]], list[list[float]]]:
    counts, columns, logs = found
    ends = np.cumsum(counts)[:-1]
    return [part.tolist() for part in np.split(columns, ends)], [part.tolist() for part in np.split(logs, ends)]


@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.9])
def test_the_k_largest_that_reach_the_threshold_come_by_falling_size(k: int, threshold: float):
    p = np.random.default_rng(0).permutation(300).reshape(15, 20).astype(np.float32) / 300  # no two alike
    columns, scores = lists(top_k(p, k, np.float32(threshold)))
    for row, (found, values) in enumerate(zip(columns, scores, strict=True)):
        expected = [c for c in sorted(range(20), key=lambda c: -p[row, c]) if p[row, c] >= np.float32(threshold)][:k]
        assert found == expected
        assert values == p[row, expected].tolist()


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7, 16, 40])
def test_of_equal_ones_the_lower_number_comes_first(k: int):
    scores = np.random.default_rng(k).integers(0, 5, (200, 40)).astype(np.float32)  # many equal
    columns, values = lists(top_k(scores, k, np.float32(1)))
    for row, (found, its) in enumerate(zip(columns, values, strict=True)):
        expected = [c for c in sorted(range(40), key=lambda c: (-scores[row, c], c)) if scores[row, c] >= 1][:k]
        assert found == expected
        assert its == scores[row, expected].tolist()


def test_the_logarithm_of_zero_is_that_of_a_hundred_thousandth():
    assert log(np.zeros(1, np.float32))[0] == np.float32(math.log(1e-5))
