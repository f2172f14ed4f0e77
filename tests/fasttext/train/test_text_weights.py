"""Texts that count more or less: by their labels, or by a weight each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxbackprop.data import DataError, Texts
from jaxbackprop.fasttext import Corpus, Settings, TextClassifier, train_supervised

TEXTS = Texts(("sun heat", "snow ice", "sun fire", "rain"), (("warm",), ("cold",), ("warm",), ("wet",)))
SMALL: dict[str, Any] = {"dim": 4, "word_ngrams": 1, "epoch": 3}


@pytest.mark.parametrize(("loss", "batch"), [("softmax", 1), ("hs", 1), ("ova", 1), ("ns", 4)])
def test_a_weight_multiplies_the_gradient(loss: str, batch: int):
    """So that twice the weight is twice the rate, and texts without weight change nothing."""
    settings = SMALL | {"loss": loss, "batch": batch}
    twice = TextClassifier.train(TEXTS, **settings, lr=0.1, sample_weight=[2, 2, 2, 2])
    plain = TextClassifier.train(TEXTS, **settings, lr=0.2)
    np.testing.assert_allclose(twice.get_input_matrix(), plain.get_input_matrix(), atol=1e-6)
    np.testing.assert_allclose(twice.get_output_matrix(), plain.get_output_matrix(), atol=1e-6)
    first = TextClassifier.train(TEXTS, **settings, lr=1e-9)
    some = TextClassifier.train(TEXTS, **settings, lr=0.5, sample_weight=[1, 0, 1, 1])
    for word in ("snow", "ice"):
        np.testing.assert_allclose(some[word], first[word], atol=1e-6)
    assert np.abs(some["rain"] - first["rain"]).max() > 1e-3


@pytest.mark.parametrize("model", ["fasttext", "linear"])
@pytest.mark.parametrize(
    ("class_weight", "weights"),
    [({"warm": 3, "__label__wet": 0.5}, [3, 1, 3, 0.5]), ("balanced", [4 / 6, 4 / 3, 4 / 6, 4 / 3])],
)
def test_a_labels_weight_is_that_of_its_texts(
    model: str, class_weight: str | Mapping[str, float], weights: list[float]
):
    given: dict[str, Any] = {"model": model} if model == "linear" else {**SMALL, "lr": 0.5}
    by_class = TextClassifier.train(TEXTS, **given, class_weight=class_weight)
    by_text = TextClassifier.train(TEXTS, **given, sample_weight=weights)
    plain = TextClassifier.train(TEXTS, **given)
    p = by_class.probabilities(TEXTS.texts)
    np.testing.assert_allclose(p, by_text.probabilities(TEXTS.texts), atol=1e-6)
    assert np.abs(p - plain.probabilities(TEXTS.texts)).max() > 1e-3


def test_a_text_of_several_labels_has_their_mean():
    both = Texts(("a", "b c"), (("x",), ("x", "y")))
    weighted = TextClassifier.train(both, model="linear", class_weight={"x": 1, "y": 5})
    expected = TextClassifier.train(both, model="linear", sample_weight=[1, 3])
    np.testing.assert_allclose(weighted.probabilities(["a", "b"]), expected.probabilities(["a", "b"]), atol=1e-6)


@pytest.mark.parametrize("hold_out", [None, 0.5])
def test_a_weight_belongs_to_its_line(tmp_path: Path, hold_out: float | None):
    """Blank lines are counted, lines without label are skipped, a text may end within its line."""
    lines = ["__label__a w0", "", "no label", "__label__a w3 </s> __label__b w3", "__label__b w4", "", "__label__a w6"]
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "weights.txt").write_text("\n".join(map(str, range(7))))
    with pytest.warns(UserWarning, match="1 line without label"):
        corpus = Corpus.read(path, Settings(), unlabelled="skip", sample_weight=np.arange(7), hold_out=hold_out)
    assert corpus.weights is not None
    found = [bag for rows, _ in corpus.chunks() for bag in rows]
    words = [[corpus.vocabulary.words[k] for k in bag if k < corpus.vocabulary.word_count] for bag in found]
    named = [int(next(word for word in text if word.startswith("w"))[1:]) for text in words]
    assert corpus.weights.tolist() == named
    assert hold_out or named == [0, 3, 3, 4, 6]
    with pytest.warns(UserWarning, match="1 line without label"):
        train_supervised(path, dim=2, sample_weight=tmp_path / "weights.txt", epoch=1)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"sample_weight": [1, 2]}, ValueError, r"shape \(2,\); the source has 4 lines"),
        ({"sample_weight": [1, 2, -1, 0]}, ValueError, "at least 0"),
        ({"sample_weight": ["a"]}, TypeError, "must hold numbers"),
        ({"class_weight": {"warn": 2}}, ValueError, "'warn' is not among the labels. Did you mean warm"),
        ({"class_weight": {"warm": -2}}, ValueError, r"class_weight\['warm'\] is -2.0; it must be finite"),
        ({"class_weight": {"warm": "2"}}, TypeError, r"class_weight\['warm'\] is '2'; it must be a number"),
        ({"class_weight": "even"}, ValueError, 'it must be "balanced"'),
        ({"class_weight": "balanced", "optimizer": "adam"}, ValueError, "None under adam"),
        ({"sample_weight": [1, 1, 1, 1], "optimizer": "adagrad"}, ValueError, "optimizer sgd"),
    ],
)
def test_weights_that_cannot_be_are_refused(given: dict[str, Any], error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        TextClassifier.train(TEXTS, **SMALL, **given)


def test_a_file_of_weights_names_the_line_that_is_none(tmp_path: Path):
    (tmp_path / "weights.txt").write_text("1\n2\nx\n1\n")
    with pytest.raises(DataError, match="line 3: found 'x'"):
        TextClassifier.train(TEXTS, **SMALL, sample_weight=tmp_path / "weights.txt")
