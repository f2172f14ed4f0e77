"""The search for settings: what is tried, what is shared, what is kept."""

import time
from pathlib import Path
from typing import Any

import pytest
from labelled_lines import write_lines

from jaxbackprop.data import DataError
from jaxbackprop.fasttext import Corpus, Trial
from jaxbackprop.fasttext.tune import search as tuning
from jaxbackprop.fasttext.tune.search import autotune

FIXED: dict[str, Any] = {"dim": 6, "bucket": 40}


@pytest.fixture
def train_and_test(tmp_path: Path) -> tuple[Path, Path]:
    return write_lines(tmp_path / "train.txt"), write_lines(tmp_path / "valid.txt", 60, seed=1)


def test_the_best_of_all_that_was_tried_is_answered(train_and_test: tuple[Path, Path]):
    told: list[tuple[Trial, float]] = []
    found = autotune(*train_and_test, seconds=4, progress=lambda trial, best, left: told.append((trial, best)), **FIXED)
    assert [trial for trial, _ in told] == list(found.trials)
    assert found.score == max(trial.score for trial in found.trials) == told[-1][1]
    assert found.classifier.test(train_and_test[1])[1] == pytest.approx(
        found.score
    )  # one label each: F1 is the precision
    assert any(trial.settings == found.settings and trial.score == found.score for trial in found.trials)
    assert found.trials[0].settings.lr == 0.1  # fastText's own settings are the first


def test_what_is_given_stays_as_it_is(train_and_test: tuple[Path, Path]):
    found = autotune(*train_and_test, seconds=3, lr=0.3, word_ngrams=1, minn=2, maxn=3, loss="hs", **FIXED)
    for trial in found.trials:
        its = trial.settings
        assert (its.lr, its.word_ngrams, its.minn, its.maxn, its.loss, its.dim) == (0.3, 1, 2, 3, "hs", 6)


def test_a_third_goes_on_with_three_times_the_epochs(
    train_and_test: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    """Scores are made up: the larger the rate the better; so of each round the largest rates go on."""
    tried = []

    def score(self: tuning._Search, settings: tuning.Settings) -> float:
        tried.append(settings)
        if len(tried) == 1 + 9 + 3 + 1:
            self.until = 0
        self._read(settings)
        return settings.lr

    monkeypatch.setattr(tuning._Search, "_try", score)
    with pytest.raises(ValueError, match="diverged"):  # nothing was trained
        autotune(*train_and_test, seconds=60, **FIXED)
    first, second, third = tried[1:10], tried[10:13], tried[13:]
    assert sorted(s.lr for s in second) == sorted(s.lr for s in first)[-3:]
    assert [s.lr for s in third] == [max(s.lr for s in first)]
    short = next(s for s in first if s.lr == third[0].lr)
    assert short.epoch == max(round(third[0].epoch / 9), 1)


def test_texts_are_read_once_for_all_that_cut_them_alike(
    train_and_test: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    reads, read = [], Corpus.read

    def counted(source: object, settings: tuning.Settings, **options: object) -> Corpus:
        reads.append(settings)
        return read(source, settings, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Corpus, "read", counted)
    found = autotune(*train_and_test, seconds=3, word_ngrams=2, minn=0, maxn=0, **FIXED)
    assert len(found.trials) > 3
    assert len(reads) == 1


def test_each_candidate_is_scored_as_small_as_it_is_to_be(tmp_path: Path):
    """The larger of two dims would be better, but has too few rows left: that it diverged is what is said of it."""
    train, valid = write_lines(tmp_path / "train.txt", 600), write_lines(tmp_path / "valid.txt", 60, seed=1)
    how: dict[str, Any] = {"word_ngrams": 2, "bucket": 5_000, "lr": 0.5, "epoch": 5, "minn": 0, "maxn": 0}
    found = autotune(train, valid, seconds=0, model_size="20k", dim=8, **how)
    assert found.classifier.is_quantized()
    found.classifier.save(tmp_path / "small.ftz")
    assert (tmp_path / "small.ftz").stat().st_size <= 20_000
    assert found.score == pytest.approx(found.classifier.test(valid)[1])
    with pytest.raises(ValueError, match="would not fit into 20,000 bytes"):
        autotune(train, valid, seconds=0, model_size="20k", dim=50, **how)


@pytest.mark.parametrize(
    ("metric", "predictions"),
    [("f1:__label__food", 1), ("precisionAtRecall:50", -1), ("recallAtPrecision:90:__label__music", -1)],
)
def test_other_metrics_are_made_large_too(metric: str, predictions: int, train_and_test: tuple[Path, Path]):
    """One training is enough: the data is easy."""
    assert autotune(*train_and_test, seconds=0, metric=metric, predictions=predictions, lr=0.5, **FIXED).score > 0.9


def test_bad_input_is_refused(train_and_test: tuple[Path, Path], tmp_path: Path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(ValueError, match="the metric is 'accuracy'"):
        autotune(*train_and_test, metric="accuracy")
    with pytest.raises(ValueError, match="never seen in training"):
        autotune(*train_and_test, metric="f1:__label__foo", seconds=1, **FIXED)
    with pytest.raises(DataError, match=r"empty\.txt: found no line to test on"):
        autotune(train_and_test[0], empty, **FIXED)
    with pytest.raises(TypeError, match="Did you mean lr"):
        autotune(*train_and_test, lrr=0.1)


def test_the_linear_models_settings_are_searched_too(
    train_and_test: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    began, tried = time.monotonic(), []
    monkeypatch.setattr(tuning.time, "monotonic", lambda: began + 1000 * (len(tried) > 4))  # it is over after five
    found = autotune(
        *train_and_test, seconds=60, metric="macroF1", model="linear", word_ngrams=1, class_weight="balanced",
        progress=lambda trial, best, left: tried.append(trial),
    )  # fmt: skip
    assert len(found.trials) == 5
    first, *others = (trial.settings for trial in found.trials)
    assert (first.C, first.loss, first.lowercase) == (1.0, "squared_hinge", True)
    assert len({its.C for its in others}) > 1
    assert {(its.model, its.word_ngrams, its.class_weight) for its in others} == {("linear", 1, "balanced")}
    assert found.score == pytest.approx(found.classifier.score(train_and_test[1])[0].macro_f1)
    with pytest.raises(ValueError, match="model_size quantizes"):
        autotune(*train_and_test, model="linear", model_size="1M")
