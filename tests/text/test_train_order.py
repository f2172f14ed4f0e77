"""The order in which fastText's threads come to the texts, against a loop that deals them out one by one."""

import dataclasses

import numpy as np
import pytest
from bags_of_rows import InMemory, corpus, tables
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import Bags
from jaxbackprop.data.bags import starts
from jaxbackprop.text import train_order
from jaxbackprop.text.settings import Settings
from jaxbackprop.text.train import train
from jaxbackprop.text.train_order import in_turns

SMALL = Settings(lr=0.3, dim=4, epoch=3, bucket=40, word_ngrams=2)


def dealt(texts: int, threads: int) -> list[int]:
    """Each thread reads its part from the beginning on; they take turns until none has any text left."""
    parts = [list(range(k * texts // threads, (k + 1) * texts // threads)) for k in range(threads)]
    order = []
    while any(parts):
        order += [part.pop(0) for part in parts if part]
    return order


def numbered(lengths: list[int], ids_each: list[int]) -> list[tuple[Bags, Bags]]:
    """Chunks of so many texts; each text holds its own number, several times or not at all, and has it as label."""
    chunks, first = [], 0
    for length in lengths:
        numbers = np.arange(first, first + length)
        times = np.resize(ids_each, length)
        chunks.append((Bags(np.repeat(numbers, times), starts(times)), Bags(numbers, np.arange(length + 1))))
        first += length
    return chunks


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.integers(1, 40),
    st.integers(1, 30),
)
def test_each_text_comes_once_in_the_order_in_which_threads_take_turns(lengths, ids_each, threads, room):
    """Chunks of any length, empty ones too; more threads than texts; blocks of a few texts."""
    chunks = numbered(lengths, ids_each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_order, "ROWS", room)
        twice = list(in_turns(chunks, threads, 2))
    ordered = twice[: len(twice) // 2]
    assert [rows.ids.tolist() for rows, _ in twice] == 2 * [rows.ids.tolist() for rows, _ in ordered]
    rows, labels = Bags.joined([part for part, _ in ordered]), Bags.joined([part for _, part in ordered])
    times = np.concatenate([np.resize(ids_each, length) for length in lengths])
    assert labels.ids.tolist() == dealt(sum(lengths), threads)
    assert rows.lengths.tolist() == times[labels.ids].tolist()
    assert rows.ids.tolist() == np.repeat(labels.ids, rows.lengths).tolist()


class InPasses(InMemory):
    """A corpus whose later passes are ordered by hand."""

    passes = 0

    def chunks(self):
        self.passes += 1
        order = np.arange(self.texts) if self.passes == 1 else dealt(self.texts, 3)
        for which in np.array_split(order, self.pieces):
            yield self.rows.take(which), self.labels.take(which)


@pytest.mark.parametrize(("batch", "pieces"), [(1, 2), (8, 1)])
def test_training_visits_the_texts_of_later_passes_so(batch, pieces):
    """To the bits, for slabs of any size train alike; with the order of the file the model is another one."""
    texts = corpus(pieces=pieces)
    settings = dataclasses.replace(SMALL, batch=batch)
    by_hand = InPasses(texts.vocabulary, texts.rows, texts.labels, pieces)
    of_threads = train(texts, dataclasses.replace(settings, thread=3))
    for one, other in zip(tables(of_threads), tables(train(by_hand, settings)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(tables(of_threads)[0], tables(train(texts, settings))[0])


def test_a_single_pass_is_in_the_files_order():
    settings = dataclasses.replace(SMALL, epoch=1)
    one, other = (tables(train(corpus(), dataclasses.replace(settings, thread=k))) for k in (1, 4))
    np.testing.assert_array_equal(one[0], other[0])
