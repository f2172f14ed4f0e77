"""fastText's own names and options."""

from pathlib import Path

import pytest
from labelled_lines import write_lines

import jaxbackprop as jbp


def test_fasttexts_options_are_understood(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    model = jbp.fasttext.train_supervised(
        input=path, lr=0.5, dim=6, ws=5, epoch=12, minCount=2, minCountLabel=0, minn=2, maxn=3, neg=4, wordNgrams=2,
        loss="ns", bucket=50, thread=4, lrUpdateRate=100, t=1e-4, label="__label__", verbose=0, seed=3,
    )  # fmt: skip
    settings = model.model.settings
    assert (settings.lr, settings.dim, settings.epoch, settings.min_count) == (0.5, 6, 12, 2)
    assert (settings.minn, settings.maxn, settings.neg, settings.word_ngrams, settings.loss) == (2, 3, 4, 2, "ns")
    assert settings.shuffle
    assert model.test(path)[1] > 0.95


def test_the_defaults_are_fasttexts(tmp_path: Path):
    settings = jbp.fasttext.train_supervised(write_lines(tmp_path / "train.txt")).model.settings
    assert (settings.lr, settings.dim, settings.epoch, settings.word_ngrams) == (0.1, 100, 5, 1)
    assert (settings.loss, settings.neg, settings.bucket, settings.min_count) == ("softmax", 5, 2_000_000, 1)


def test_its_other_spellings_are_understood_too(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    settings = jbp.fasttext.train_supervised(path, dim=4, word_ngrams=2, min_count=3, bucket=20).model.settings
    assert (settings.word_ngrams, settings.min_count) == (2, 3)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"wordngrams": 2}, TypeError, "wordNgrams"),
        ({"autotuneValidation": "x"}, TypeError, "autotuneValidationFile"),
        ({"loss": "hierarchical"}, ValueError, "one of softmax, hs, ns, ova"),
        ({"dim": 10.5}, TypeError, "whole number"),
        ({"thread": "2"}, TypeError, "thread is '2'; it must be a whole number"),
    ],
)
def test_a_wrong_option_is_refused_with_the_nearest_name(options: dict, error: type, said: str):
    with pytest.raises(error, match=said):
        jbp.fasttext.train_supervised("nowhere.txt", **options)


def test_a_model_goes_to_fasttext_and_back(tmp_path: Path):
    """Trained here, asked there and here: the same labels, probabilities to 1e-5."""
    fasttext = pytest.importorskip("fasttext")
    path = write_lines(tmp_path / "train.txt")
    for loss in ("softmax", "hs", "ns", "ova"):
        ours = jbp.fasttext.train_supervised(path, dim=6, loss=loss, lr=0.5, wordNgrams=2, bucket=40, minn=2, maxn=3)
        ours.save_model(tmp_path / "model.bin")
        theirs = fasttext.load_model(str(tmp_path / "model.bin"))
        back = jbp.fasttext.load_model(tmp_path / "model.bin")
        for text in ("soup and rain", "violin", "", "qqq", "the of drum snow"):
            answer = theirs.f.predict(text + "\n", 3, 0.0, "strict")
            for model in (ours, back):
                labels, probabilities = model.predict(text, k=3)
                assert list(labels) == [label for _, label in answer]
                assert probabilities == pytest.approx([p for p, _ in answer], abs=1e-5)


def test_with_a_validation_file_the_rest_is_searched_for(tmp_path: Path):
    train, valid = write_lines(tmp_path / "train.txt"), write_lines(tmp_path / "valid.txt", seed=1)
    model = jbp.fasttext.train_supervised(train, dim=8, bucket=40, autotuneValidationFile=valid, autotuneDuration=3)
    assert model.get_dimension() == 8
    assert model.test(valid)[1] > 0.9
