"""Between a data set of numbers and a model's arrays: classes and shapes."""

import numpy as np
import pytest

from jaxbackprop.data import DataError, Examples, Texts
from jaxbackprop.training.preprocessing import Preprocessor

TEXTS = Texts(("red apple",), (("fruit",),))
NUMBERS = Examples(np.arange(6.0).reshape(3, 2), np.array([1, 0, 1]), ("no", "yes"))


def test_numbers_are_taken_as_they_are():
    x, y = Preprocessor.of(NUMBERS).pairs(NUMBERS)
    assert np.array_equal(x, NUMBERS.x)
    assert y.tolist() == [1, 0, 1]


def test_a_preprocessor_is_loaded_as_it_was_saved():
    preprocessor = Preprocessor.of(NUMBERS)
    again = Preprocessor.from_config(preprocessor.to_config())
    assert again == preprocessor
    (x, y), (x_again, y_again) = preprocessor.pairs(NUMBERS), again.pairs(NUMBERS)
    assert np.array_equal(x, x_again)
    assert np.array_equal(y, y_again)


def test_data_that_do_not_fit_are_refused():
    preprocessor = Preprocessor.of(NUMBERS)
    with pytest.raises(DataError, match="found texts, expected numbers"):
        preprocessor.features(TEXTS)
    with pytest.raises(DataError, match="examples of 3"):
        preprocessor.features(Examples(np.zeros((1, 3)), np.array([0]), ("no", "yes")))
    with pytest.raises(DataError, match="never seen in training"):
        preprocessor.pairs(Examples(np.zeros((1, 2)), np.array([0]), ("maybe",)))
