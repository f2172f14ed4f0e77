"""std::sort's order, against what the real one answered."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.fasttext.corpus import sort_order
from jaxbackprop.fasttext.corpus.sort_order import SMALL

CASES = json.loads((Path(__file__).parent / "std_sort_golden.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_ties_stand_as_the_real_sort_left_them(case):
    assert sort_order.sort_order(np.array(case["keys"])).tolist() == case["order"]


def test_ties_do_not_stand_as_a_stable_sort_would_leave_them():
    keys = np.zeros(SMALL + 1, int)
    assert sort_order.sort_order(keys).tolist() != list(range(len(keys)))


def test_a_sequence_that_defeats_the_median_of_three_is_finished_by_the_heap(monkeypatch):
    """Otherwise the recorded case of that name would not have tested the heap."""
    sorted_by_heap = []
    heap = sort_order._heap_sorted
    monkeypatch.setattr(sort_order, "_heap_sorted", lambda keys: sorted_by_heap.append(len(keys)) or heap(keys))
    (keys,) = [case["keys"] for case in CASES if case["name"] == "against the median of three"]
    sort_order.sort_order(np.array(keys))
    assert sorted_by_heap
    assert max(sorted_by_heap) > SMALL


@given(st.lists(st.integers(-3, 3), max_size=400))
def test_it_is_a_sort(keys):
    order = sort_order.sort_order(np.array(keys, int))
    assert sorted(order.tolist()) == list(range(len(keys)))
    assert [keys[k] for k in order] == sorted(keys)


@pytest.mark.parametrize("size", [1, SMALL, SMALL + 1, 63, 64, 100, 1023, 1024, 1025, 5000])
def test_equal_keys_ordered_as_a_whole_stand_as_step_by_step(size, monkeypatch):
    """Alone, and as the larger part of keys of which a few differ."""
    rng = np.random.default_rng(size)
    some = np.where(rng.random(size) < 0.9, 7, rng.integers(0, 7, size))
    orders = []
    for many in (SMALL + 1, 1 << 30):
        monkeypatch.setattr(sort_order, "MANY", many)
        orders.append([sort_order.sort_order(keys).tolist() for keys in (np.zeros(size, int), some)])
    assert orders[0] == orders[1]
