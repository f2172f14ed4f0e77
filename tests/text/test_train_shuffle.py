"""Passes in orders of their own: each text once, with its label, never twice in one order; the bits of that order."""

import dataclasses

import numpy as np
import pytest
from bags_of_rows import InMemory, corpus, tables

from jaxbackprop.data import Bags
from jaxbackprop.text.options import settings_of
from jaxbackprop.text.settings import Settings
from jaxbackprop.text.train import _passes, train

SMALL = Settings(lr=0.3, dim=4, epoch=3, bucket=40, word_ngrams=2, shuffle=True)


class Numbered(InMemory):
    """A corpus whose texts are told by their labels' numbers: text k has the label k, and rows 3k, 3k + 1, 3k + 2."""

    def __init__(self, texts: int, pieces: int):
        rows = Bags(np.arange(3 * texts), np.arange(0, 3 * texts + 1, 3))
        super().__init__(corpus().vocabulary, rows, Bags(np.arange(texts), np.arange(texts + 1)), pieces)


@pytest.mark.parametrize(("texts", "pieces"), [(50, 1), (50, 7), (3, 5), (1, 1)])
def test_each_pass_has_every_text_once_in_an_order_of_its_own(texts, pieces):
    numbered, orders = Numbered(texts, pieces), []
    coming = _passes(numbered, SMALL)
    for _ in range(SMALL.epoch):
        rows, labels = (Bags.joined(part) for part in zip(*(next(coming) for _ in range(pieces)), strict=True))
        assert (rows.ids // 3).tolist() == np.repeat(labels.ids, 3).tolist(), "a text keeps its label"
        assert sorted(labels.ids.tolist()) == list(range(texts))
        orders.append(labels.ids.tolist())
    assert next(coming, None) is None
    assert orders[0] == list(range(texts))
    if texts > 3:
        assert len(set(map(tuple, orders))) == SMALL.epoch
        other = Bags.joined([labels for _, labels in _passes(numbered, dataclasses.replace(SMALL, seed=1))]).ids
        assert other[texts:].tolist() != orders[1] + orders[2]


class Replayed(InMemory):
    """A corpus each of whose passes is one that `_passes` has made."""

    coming: list[tuple[Bags, Bags]]

    def chunks(self):
        for _ in range(self.pieces):
            yield self.coming.pop(0)


@pytest.mark.parametrize("batch", [1, 8])
def test_training_visits_the_texts_in_these_orders(batch):
    """To the bits; in the file's order the model is another one."""
    texts = corpus(pieces=2)
    shuffled, plain = (dataclasses.replace(SMALL, batch=batch, shuffle=it) for it in (True, False))
    replayed = Replayed(texts.vocabulary, texts.rows, texts.labels, texts.pieces)
    replayed.coming = list(_passes(texts, shuffled))
    found = tables(train(texts, shuffled))
    for one, other in zip(found, tables(train(replayed, plain)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(found[0], tables(train(texts, plain))[0])


def test_a_single_pass_is_in_the_files_order():
    one, other = (tables(train(corpus(), dataclasses.replace(SMALL, epoch=1, shuffle=it))) for it in (True, False))
    np.testing.assert_array_equal(one[0], other[0])


def test_it_is_a_switch():
    with pytest.raises(TypeError, match="shuffle is 1; it must be True or False"):
        settings_of({"shuffle": 1}, called="train")
