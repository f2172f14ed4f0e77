"""What words and texts come to as vectors, against fastText's own answers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxbackprop.data import Texts
from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.files.fasttext_model import read_model
from jaxbackprop.fasttext.predict.vectors import word_vectors

GOLDEN = Path(__file__).parents[1] / "golden"
SAID = json.loads((GOLDEN / "predictions.json").read_text(encoding="utf-8"))
MODELS = SAID["models"]
DENSE = [name for name in MODELS if name.endswith(".bin")]


def asked(name: str, what: str) -> np.ndarray:
    answers = MODELS[name][what]
    return np.array(list(answers.values()) if isinstance(answers, dict) else answers, np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_a_words_vector_is_fasttexts(name):
    """Known words, unknown ones, the end of line and the empty word; pruned and quantized models among them."""
    found = word_vectors(read_model(GOLDEN / name), list(MODELS[name]["words asked"]))
    expected = asked(name, "words asked")
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert name not in DENSE or np.array_equal(found, expected)


@pytest.mark.parametrize("name", [name for name in MODELS if "texts asked" in MODELS[name]])
def test_a_texts_vector_is_fasttexts(name):
    """Of word vectors: the mean of the words' unit vectors."""
    model = read_model(GOLDEN / name)
    found = np.array([TextClassifier(model).get_sentence_vector(text) for text in SAID["texts"]])
    expected = asked(name, "texts asked")
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert name not in DENSE or model.kind == "skipgram" or np.array_equal(found, expected)


def test_the_nearest_words_are_fasttexts():
    """Of known words, unknown ones and the empty one; and of an analogy."""
    vectors, said = TextClassifier.load(GOLDEN / "skipgram.bin"), MODELS["skipgram.bin"]
    for word, expected in said["neighbours"].items():
        same_neighbours(vectors.get_nearest_neighbors(word, k=4), expected)
    same_neighbours(vectors.get_analogies("the", "oven", "unheard", k=20), said["analogies"])
    with pytest.raises(ValueError, match="k is 0"):
        vectors.get_nearest_neighbors("the", k=0)


def same_neighbours(found: list[tuple[float, str]], expected: list[list]) -> None:
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-5)
    if any(score for score, _ in expected):  # fastText's order of equals is that of its heap
        assert [word for _, word in found] == [word for _, word in expected]


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.predict("the oven"),
        lambda model: model.predict(["the"]),
        lambda model: model.test(Texts(("the",), (("a",),))),
        lambda model: model.get_meter(Texts(("the",), (("a",),))),
        lambda model: model.quantize(),
        lambda model: model.fine_tune(Texts(("the",), (("a",),))),
    ],
)
def test_word_vectors_refuse_to_predict(ask):
    with pytest.raises(ValueError, match="this is a skipgram model, of word vectors: it has no labels"):
        ask(TextClassifier.load(GOLDEN / "skipgram.bin"))


@pytest.mark.parametrize("name", MODELS)
def test_one_words_vector_is_the_one_it_has_among_others(name):
    model = read_model(GOLDEN / name)
    asked = list(MODELS[name]["words asked"])
    one_by_one = [TextClassifier(model).get_word_vector(word) for word in asked]
    np.testing.assert_allclose(one_by_one, word_vectors(model, asked), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_all_words_are_asked_for_where_none_are_named(name):
    model = read_model(GOLDEN / name)
    assert np.array_equal(word_vectors(model), word_vectors(model, model.vocabulary.words))


def test_a_word_without_rows_is_zero():
    model = read_model(GOLDEN / "softmax.bin")
    assert not word_vectors(model, ["unheard"]).any()
    assert word_vectors(model, []).shape == (0, 4)


def test_a_words_own_row_is_its_vector_where_there_are_no_character_ngrams():
    model = read_model(GOLDEN / "softmax.bin")
    table = np.arange(19 * 4, dtype=np.float32).reshape(19, 4)
    vector = word_vectors(replace(model, input=table), [model.vocabulary.words[7]])
    assert vector.tolist() == [[28, 29, 30, 31]]
