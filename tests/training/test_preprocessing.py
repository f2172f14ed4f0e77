"""Between a data set and a model's arrays: classes, vocabulary, rows."""

from pathlib import Path

import numpy as np
import pytest

from jaxbackprop.data import DataError, Examples, Texts
from jaxbackprop.training.preprocessing import Preprocessor
from jaxbackprop.training.run_folder import RunFolder

TRAIN = Texts(
    ("red apple", "green apple", "red brick", "red red"), (("fruit",), ("fruit",), ("stone",), ("stone", "fruit"))
)
NUMBERS = Examples(np.arange(6.0).reshape(3, 2), np.array([1, 0, 1]), ("no", "yes"))


def test_texts_become_bags_of_the_rows_that_training_named():
    task = Preprocessor.of(TRAIN, word_ngrams=2, bucket=1000)
    assert task.rows is not None
    bags = task.encode(TRAIN)
    assert sorted(set(bags.ids.tolist())) == list(range(len(task.rows)))
    assert task.vocabulary is not None
    whole = task.vocabulary.encode(TRAIN)
    assert [task.rows[bag].tolist() for bag in bags] == [bag.tolist() for bag in whole]


def test_what_training_never_named_is_left_out():
    """Of "red pear" one word is known, and the bigram is not; "pear plum" has the end of its line left."""
    task = Preprocessor.of(TRAIN, word_ngrams=2, bucket=10**6)
    red, nothing = task.encode(["red pear", "pear plum"])
    whole = task.encode(["red"])[0]
    assert set(nothing) < set(red) <= set(whole)


def test_a_text_with_several_labels_is_trained_on_once_for_each():
    task = Preprocessor.of(TRAIN)
    bags, y = task.pairs(TRAIN)
    assert len(bags) == 5
    assert bags[3].tolist() == bags[4].tolist()
    assert [task.classes[k] for k in y] == ["fruit", "fruit", "stone", "stone", "fruit"]


def test_numbers_are_taken_as_they_are():
    task = Preprocessor.of(NUMBERS)
    x, y = task.pairs(NUMBERS)
    assert isinstance(x, np.ndarray)
    assert np.array_equal(x, NUMBERS.x)
    assert y.tolist() == [1, 0, 1]


@pytest.mark.parametrize("train", [TRAIN, NUMBERS], ids=["texts", "numbers"])
def test_a_task_is_loaded_as_it_was_saved(tmp_path: Path, train: Texts | Examples):
    task = Preprocessor.of(train, word_ngrams=2, bucket=100) if isinstance(train, Texts) else Preprocessor.of(train)
    run = RunFolder.create(tmp_path, {"task": task.describe()})
    task.save(run)
    again = Preprocessor.load(RunFolder.open(tmp_path))
    assert again.classes == task.classes
    (x, y), (x_again, y_again) = task.pairs(train), again.pairs(train)
    assert list(map(list, x)) == list(map(list, x_again))
    assert np.array_equal(y, y_again)


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="found numbers, expected texts"):
        Preprocessor.of(TRAIN).features(NUMBERS)
    with pytest.raises(DataError, match="found texts, expected numbers"):
        Preprocessor.of(NUMBERS).features(TRAIN)
    with pytest.raises(DataError, match="never seen in training"):
        Preprocessor.of(TRAIN).labels(Texts(("blue sky",), (("air",),)))
    with pytest.raises(DataError, match="examples of 3"):
        Preprocessor.of(NUMBERS).features(Examples(np.zeros((1, 3)), np.array([0]), ("no", "yes")))
    with pytest.raises(DataError, match="never seen in training"):
        Preprocessor.of(NUMBERS).labels(Examples(np.zeros((1, 2)), np.array([0]), ("maybe",)))
