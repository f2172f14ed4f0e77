"""A training that was cut off goes on to the bits it would have had; another one is refused; a damaged one is named."""

import dataclasses

import jax
import numpy as np
import pytest
from bags_of_rows import corpus, tables

from jaxbackprop.data import DataError
from jaxbackprop.fasttext.settings import Settings
from jaxbackprop.fasttext.train import chunks as chunk_module
from jaxbackprop.fasttext.train import tables as table_module
from jaxbackprop.fasttext.train.checkpoints import storage as train_checkpoints
from jaxbackprop.fasttext.train.checkpoints.storage import SHARE_OF_TIME, Checkpoints
from jaxbackprop.fasttext.train.loop import train

SMALL = Settings(lr=0.3, dim=6, epoch=3, word_ngrams=2, bucket=40, neg=3, batch=1)


class CutOff(Exception):
    """What ends a training in these tests, as a signal would."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Ten chunks or so in a pass."""
    monkeypatch.setattr(chunk_module, "TEXTS", 8)


def cut_off_after(last, texts, settings, folder):
    """Train until so many chunks are kept; what there is on disk then stays as it is."""

    class Short(Checkpoints):
        def keep(self, chunks, parts, training, rest):
            super().keep(chunks, parts, training, rest)
            if chunks == last:
                raise CutOff

    with pytest.raises(CutOff):
        train(texts, settings, checkpoints=Short(folder, 0))


def same(one, other):
    for a, b in zip(tables(one), tables(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_what_was_cut_off_goes_on_to_the_same_bits(loss, optimizer, batch, tmp_path):
    """In the middle of the second of three passes; several labels a text, of which one is drawn at each visit."""
    texts = corpus(60, several=True, pieces=2)
    settings = dataclasses.replace(SMALL, loss=loss, optimizer=optimizer, batch=batch, shuffle=optimizer == "sgd")
    whole = train(texts, settings)
    cut_off_after(11, texts, settings, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-11"]
    second_moment = []
    same(train(texts, settings, checkpoints=Checkpoints(tmp_path, 1e9), progress=second_moment.append), whole)
    assert second_moment[0].progress > 1 / 3  # what was done before is not done again
    assert any(tmp_path.iterdir())  # the model is not on disk yet


def test_keeping_changes_nothing(tmp_path):
    texts = corpus(60, several=True)
    same(train(texts, SMALL, checkpoints=Checkpoints(tmp_path / "kept", 0)), train(texts, SMALL))


def test_the_loss_that_is_told_goes_on_too(tmp_path):
    texts, whole, resumed = corpus(60), [], []
    train(texts, SMALL, progress=whole.append)
    cut_off_after(5, texts, SMALL, tmp_path)
    train(texts, SMALL, checkpoints=Checkpoints(tmp_path), progress=resumed.append)
    assert resumed[-1].loss == whole[-1].loss
    assert resumed[-1].progress == whole[-1].progress


def test_one_that_was_not_written_to_its_end_is_passed_over(tmp_path):
    """The one before it is there until it is whole."""
    texts = corpus(60)
    cut_off_after(5, texts, SMALL, tmp_path)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "input.rows.npy").write_bytes(b"half")
    same(train(texts, SMALL, checkpoints=Checkpoints(tmp_path)), train(texts, SMALL))


@pytest.mark.parametrize("change", [{"lr": 0.2}, {"epoch": 4}, {"seed": 1}, {"batch": 4}])
def test_one_with_other_settings_is_refused(change, tmp_path):
    texts = corpus(60)
    cut_off_after(5, texts, SMALL, tmp_path)
    with pytest.raises(DataError, match="other settings"):
        train(texts, dataclasses.replace(SMALL, **change), checkpoints=Checkpoints(tmp_path))


def test_one_of_other_data_is_refused(tmp_path):
    cut_off_after(5, corpus(60), SMALL, tmp_path)
    with pytest.raises(DataError, match="other data"):
        train(corpus(60, seed=1), SMALL, checkpoints=Checkpoints(tmp_path))


@pytest.mark.parametrize("file", ["about.json", "input.rows.npy"])
def test_a_damaged_one_is_named(file, tmp_path):
    texts = corpus(60)
    cut_off_after(5, texts, SMALL, tmp_path)
    path = tmp_path / "checkpoint-5" / file
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="a damaged checkpoint") as caught:
        train(texts, SMALL, checkpoints=Checkpoints(tmp_path))
    assert caught.value.file == str(tmp_path / "checkpoint-5")


def test_a_table_is_written_whole_in_blocks_of_any_size(monkeypatch, tmp_path):
    """Blocks of five rows; the last one overlaps the one before it."""

    monkeypatch.setattr(table_module, "BLOCK", 5 * 4 * 6)
    texts = corpus(60)
    cut_off_after(5, texts, SMALL, tmp_path)
    same(train(texts, SMALL, checkpoints=Checkpoints(tmp_path)), train(texts, SMALL))


def test_writing_takes_at_most_a_share_of_the_time(monkeypatch, tmp_path):
    """A clock that runs only where it is told to: a second's writing, then nothing for twenty."""
    now = [100.0]
    monkeypatch.setattr(train_checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(table_module, "write_table", lambda path, part: now.__setitem__(0, now[0] + 0.5))
    checkpoints = Checkpoints(tmp_path, 1.0)
    zeros = jax.numpy.zeros((3, 2))
    checkpoints.keep(1, {"input.rows": zeros, "output.rows": zeros}, {}, {})
    now[0] += 0.99 / SHARE_OF_TIME
    assert not checkpoints.due()
    now[0] += 0.02 / SHARE_OF_TIME
    assert checkpoints.due()


def test_a_time_below_zero_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 0"):
        Checkpoints(tmp_path, -1)
