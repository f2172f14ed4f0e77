"""Flat bags and their padding, against lists of lists."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import Bags, pad
from jaxbackprop.data.bags import ranges, starts

LISTS = st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6)


def bags(lists: list[list[int]]) -> Bags:
    return Bags(
        np.array([i for ids in lists for i in ids], np.int32), starts(np.array([len(ids) for ids in lists], int))
    )


def as_lists(given: Bags) -> list[list[int]]:
    return [ids.tolist() for ids in given]


@given(LISTS)
def test_bags_hold_what_was_put_in(lists):
    made = bags(lists)
    assert as_lists(made) == lists
    assert len(made) == len(lists)
    assert made.lengths.tolist() == [len(ids) for ids in lists]
    assert made.longest == max(map(len, lists), default=0)
    assert made.ids.dtype == made.offsets.dtype == np.int32


@given(LISTS, st.data())
def test_taking_bags_copies_them_in_the_order_asked(lists, data):
    which = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)) if lists else []
    assert as_lists(bags(lists).take(np.array(which, int))) == [lists[k] for k in which]
    chosen = [k % 2 == 0 for k in range(len(lists))]
    assert as_lists(bags(lists).take(np.array(chosen, bool))) == lists[::2]


@given(LISTS, st.one_of(st.none(), st.integers(1, 6)))
def test_padding_fills_with_minus_one_on_the_right(lists, most):
    cut = [ids[:most] for ids in lists]
    length = max(1, *(len(ids) for ids in cut), 1)
    padded = pad(bags(lists), max_length=most)
    assert padded.dtype == np.int32
    assert padded.shape == (len(lists), length)
    assert padded.tolist() == [ids + [-1] * (length - len(ids)) for ids in cut]


def test_a_bag_beyond_the_last_one_is_an_index_error():
    made = bags([[1], [2, 3]])
    assert made[-1].tolist() == [2, 3]
    with pytest.raises(IndexError):
        made[2]


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 1], [0, 2, 1, 2], [[0, 2]]])
def test_offsets_that_do_not_cut_the_ids_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Bags(np.zeros(2, np.int32), np.array(offsets, int))


def test_room_for_no_id_is_refused():
    with pytest.raises(ValueError, match="max_length is 0"):
        pad(bags([[1]]), max_length=0)


def test_ranges_count_up_from_each_first():
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


@given(LISTS, st.lists(st.integers(0, 6), max_size=4))
def test_parts_joined_are_the_whole(lists, cuts):
    made = bags(lists)
    ends = [0, *sorted(min(cut, len(made)) for cut in cuts), len(made)]
    parts = [made.part(a, b) for a, b in pairwise(ends)]
    assert [[list(bag) for bag in part] for part in parts] == [lists[a:b] for a, b in pairwise(ends)]
    assert [list(bag) for bag in Bags.joined(parts)] == lists


def test_no_bags_joined_are_no_bags():
    assert len(Bags.joined([])) == 0
