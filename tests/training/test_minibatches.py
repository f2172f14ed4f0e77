"""Minibatches: every example once an epoch, texts of any length whole."""

from collections import Counter
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbackprop.data import Bags
from jaxbackprop.models import RaggedBags
from jaxbackprop.training.minibatches import Batches, on_device, parts_of, size_of, take_rows


def visited(batches: Batches, key: jax.Array | None) -> list[np.ndarray]:
    order = batches.order(key)
    whole = list(np.asarray(batches.whole(order)))
    return [*whole, np.asarray(batches.remainder(order))] if batches.rest else whole


def bags_of(lengths: list[int]) -> Bags:
    """Bags whose ids are all different, so that one that is lost or doubled shows."""
    return Bags(np.arange(sum(lengths)), np.concatenate([[0], np.cumsum(lengths)]))


def unpacked(bags: RaggedBags) -> list[list[int]]:
    ids, ends = np.asarray(bags.ids), [*np.asarray(bags.starts).tolist(), len(bags.ids)]
    return [[i for i in ids[a:b].tolist() if i != -1] for a, b in pairwise(ends)]


@pytest.mark.parametrize("batch", [1, 3, 4, 10, 64])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_example_is_visited_once_an_epoch(batch: int, seed: int | None):
    batches = on_device((np.arange(10.0),), batch)
    key = None if seed is None else jax.random.key(seed)
    seen = visited(batches, key)
    assert sorted(np.concatenate(seen).tolist()) == list(range(10))
    assert [len(s) for s in seen] == [min(batch, 10)] * (10 // min(batch, 10)) + [10 % min(batch, 10)] * (
        10 % min(batch, 10) > 0
    )


def test_a_key_shuffles_and_another_key_shuffles_otherwise():
    batches = on_device((np.arange(100.0),), 10)
    orders = [np.asarray(batches.order(key)).tolist() for key in (None, jax.random.key(0), jax.random.key(1))]
    assert orders[0] == list(range(100))
    assert orders[0] != orders[1] != orders[2]


def test_a_minibatch_is_the_rows_of_its_examples():
    x, y = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32), np.arange(7)
    batches = on_device(({"image": x}, y), 3)
    part, labels = batches.take(jnp.array([4, 0, 6]))
    assert np.array_equal(part["image"], x[[4, 0, 6]])
    assert labels.tolist() == [4, 0, 6]


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=30), st.integers(1, 8), st.integers(0, 3))
def test_no_token_of_a_text_is_lost_or_moved(lengths: list[int], batch: int, seed: int):
    bags = bags_of(lengths)
    batches = on_device((bags, np.arange(len(lengths))), batch)
    seen: Counter[int] = Counter()
    for which in visited(batches, jax.random.key(seed)):
        ragged, y = batches.take(jnp.asarray(which))
        assert y.tolist() == which.tolist()
        assert unpacked(ragged) == [bags[int(k)].tolist() for k in which]
        seen.update(which.tolist())
    assert seen == Counter(range(len(lengths)))


def test_texts_of_very_unequal_length_are_hardly_padded():
    """The longest of a stratum is no longer than the shortest of the next: all strata together have room for at most
    one text's length more than 50 texts of mean length. Padded, they would take 50 times the longest.
    """
    lengths = np.random.default_rng(0).geometric(0.01, 5000).clip(1, 1000)
    batches = on_device((bags_of(lengths.tolist()), np.zeros(5000)), 50)
    assert batches.room[0] <= 50 * lengths.mean() + lengths.max() - lengths.min()


def test_minibatches_of_texts_differ_from_epoch_to_epoch():
    batches = on_device((bags_of(list(range(40))),), 4)
    first, second = ({frozenset(w.tolist()) for w in visited(batches, jax.random.key(k))} for k in (0, 1))
    assert first != second


def test_parts_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="have 3, 4 rows"):
        parts_of((np.zeros((3, 2)), np.zeros(4)))
    with pytest.raises(ValueError, match="at least one"):
        parts_of((np.zeros((0, 2)), np.zeros(0)))
    with pytest.raises(ValueError, match="batch is 0"):
        on_device((np.zeros(3),), 0)
    with pytest.raises(ValueError, match="room for one"):
        on_device((bags_of([1]), bags_of([1])), 1)


def test_rows_are_taken_of_arrays_and_of_bags():
    bags, y = take_rows(parts_of((bags_of([1, 2, 3]), np.arange(3))), np.array([2, 0]))
    assert [bag.tolist() for bag in bags] == [[3, 4, 5], [0]]
    assert y.tolist() == [2, 0]
    assert size_of((bags, y)) == 2
