"""Passes in orders of their own: every text once, with its labels. What is learned so: test_loop.py."""

import dataclasses

import numpy as np
import pytest
from bags_of_rows import InMemory, corpus

from jaxbackprop.data import Bags
from jaxbackprop.fasttext.options import settings_of
from jaxbackprop.fasttext.settings import Settings
from jaxbackprop.fasttext.train.chunks import Chunker
from jaxbackprop.fasttext.train.loop import _chunks_with_rates
from jaxbackprop.fasttext.train.sampler import Sampler

SMALL = Settings(lr=0.3, dim=4, epoch=3, bucket=40, word_ngrams=2, shuffle=True)


def visited(texts: int, pieces: int, **others) -> list[list[int]]:
    """Pass by pass the texts in the order of their visits, of a corpus whose text k has the rows 2k, 2k + 1."""
    settings = dataclasses.replace(SMALL, **others)
    numbered = InMemory(
        corpus().vocabulary,
        Bags(np.arange(2 * texts), np.arange(0, 2 * texts + 1, 2)),
        Bags(np.arange(texts), np.arange(texts + 1)),
        pieces,
    )
    chunker, order = Chunker(settings, Sampler(np.ones(texts), 5, settings.seed), None, batch=settings.batch or 1), []
    parts = (part for epoch in range(settings.epoch) for part in _chunks_with_rates(numbered, settings, epoch))
    for its, targets in (chunk for part in parts for chunk in chunker.of(*part)):
        for k in range(int(its.total)):
            n = int(its.order[k])
            rows = its.ids[its.offsets[n] : its.offsets[n + 1]].tolist()
            assert rows == [2 * targets.labels[k], 2 * targets.labels[k] + 1], "a text keeps its label"
            order.append(int(targets.labels[k]))
    return np.reshape(order, (settings.epoch, texts)).tolist()


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("pieces", [1, 7])
def test_each_pass_has_every_text_once_in_an_order_of_its_own(pieces, batch):
    orders = visited(50, pieces, batch=batch)
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(50)]}) == 4
    assert orders == visited(50, pieces, batch=batch)
    assert orders != visited(50, pieces, batch=batch, seed=1)
    assert visited(50, pieces, batch=batch, shuffle=False) == 3 * [list(range(50))]


def test_pieces_too_change_places():
    """Ten pieces of five texts: the first of a pass is another one than before, and its texts stay together."""
    first = [{text // 5 for text in order[:5]} for order in visited(50, 10, epoch=8)]
    assert first[0] == {0}
    assert all(len(pieces) == 1 for pieces in first)
    assert len(set.union(*first)) > 3


def test_it_is_a_switch():
    with pytest.raises(TypeError, match="shuffle is 1; it must be True or False"):
        settings_of({"shuffle": 1}, called="train")
