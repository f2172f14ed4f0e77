"""What a model says of texts, beside what fastText 0.9.2 says of them with the same model file."""

from pathlib import Path

import numpy as np
import pytest
from fasttexts_models import GOLDEN, model_of

from jaxbackprop.data import Bags
from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.files.fasttext_model import read_model
from jaxbackprop.fasttext.model import Model, mean_rows
from jaxbackprop.fasttext.predict.predictor import Predictor, as_fasttext_lists
from jaxbackprop.fasttext.quantize.product_quantizer import quantize


def assert_same_up_to_ties(labels: list[str], probabilities: np.ndarray, answer: list[tuple[float, str]], k: int):
    """fastText's probabilities to 1e-5; its labels, but for the order of those that are equally probable there.

    Where the list ends at `k` labels, a label that is left out may be as probable as the last.
    """
    np.testing.assert_allclose(probabilities, [p for p, _ in answer], rtol=0, atol=1e-5)
    for p in {p for p, _ in answer}:
        ours = {label for label, (other, _) in zip(labels, answer, strict=True) if other == p}
        if not (len(answer) == k and p == answer[-1][0]):
            assert ours == {label for other, label in answer if other == p}
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", list(GOLDEN["models"]))
def test_labels_and_probabilities_are_fasttexts(name: str, tmp_path: Path):
    """The same labels in the same order but for equal ones, and probabilities to 1e-5."""
    model = model_of(name, tmp_path)
    predictor, names = Predictor(model), [f"__label__{label}" for label in model.vocabulary.labels]
    for asked in GOLDEN["models"][name]["queries"]:
        found = predictor.best(model.encode(GOLDEN["texts"]), asked["k"], asked["threshold"])
        labels, probabilities = as_fasttext_lists(found, names)
        for text, answer in enumerate(asked["answers"]):
            assert_same_up_to_ties(labels[text], probabilities[text], [(p, label) for label, p in answer], asked["k"])


@pytest.mark.parametrize("name", list(GOLDEN["models"]))
def test_a_text_by_itself_has_the_labels_it_has_among_others(name: str, tmp_path: Path):
    classifier = TextClassifier(model_of(name, tmp_path))
    for asked in GOLDEN["models"][name]["queries"]:
        k, threshold = asked["k"], asked["threshold"]
        together = zip(*classifier.predict(GOLDEN["texts"], k, threshold), strict=True)
        for text, (labels, probabilities) in zip(GOLDEN["texts"], together, strict=True):
            own, p = classifier.predict(text, k, threshold)
            assert_same_up_to_ties(list(own), p, list(zip(probabilities.tolist(), labels, strict=True)), k)


def test_a_text_without_a_row_has_no_labels(tmp_path: Path):
    """fastText answers nothing where nothing is known; no row at all there is only for a table without `</s>`."""
    model = model_of("softmax", tmp_path)
    bags = model.encode(GOLDEN["texts"]).take(np.array([1, 1]))
    none = type(bags)(bags.ids[:0], np.zeros(3, np.int32))
    found = Predictor(model).best(none, 3)
    assert len(found) == 2
    assert len(found.labels) == 0


@pytest.mark.parametrize("name", ["softmax", "hs"])
def test_all_probabilities_of_a_text_sum_to_one(name: str, tmp_path: Path):
    model = model_of(name, tmp_path)
    p = Predictor(model).probabilities(model.encode(GOLDEN["texts"]))
    assert p.shape == (len(GOLDEN["texts"]), len(model.vocabulary.labels))
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "hs", "ns", "ova"])
def test_all_probabilities_are_those_that_are_reported_but_for_rounding(name: str, tmp_path: Path):
    """The sigmoid table of ns and ova has steps of 1/32, at most 1/128 of probability."""
    model = model_of(name, tmp_path)
    bags = model.encode(GOLDEN["texts"])
    predictor = Predictor(model)
    p, found = predictor.probabilities(bags), predictor.best(bags, -1)
    each = np.repeat(np.arange(len(bags)), np.diff(found.offsets))
    np.testing.assert_allclose(
        p[each, found.labels], found.probabilities, rtol=0, atol=1 / 128 if name in ("ns", "ova") else 2e-4
    )


def test_the_hidden_vector_is_the_mean_of_the_rows(tmp_path: Path):
    model = model_of("softmax", tmp_path)
    bags = model.encode(GOLDEN["texts"])
    table = np.asarray(model.input)
    expected = [table[ids].astype(np.float64).mean(0) for ids in bags]
    np.testing.assert_allclose(mean_rows(model.input, bags), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("texts", [1, 40])
def test_a_table_with_gaps_between_its_rows_has_the_means_of_one_without(texts: int):
    """As training leaves it: rows longer than dim. One text names few of the rows, forty name most."""
    rng = np.random.default_rng(0)
    padded = rng.normal(size=(100, 8)).astype(np.float32)
    bags = Bags(rng.integers(0, 100, 6 * texts), np.arange(0, 6 * texts + 1, 6))
    found = mean_rows(padded[:, :5], bags)
    np.testing.assert_array_equal(found, mean_rows(np.ascontiguousarray(padded[:, :5]), bags))
    np.testing.assert_allclose(found, padded[bags.ids, :5].reshape(texts, 6, 5).mean(1), rtol=0, atol=1e-6)


def test_a_quantised_model_answers_as_its_rows_unpacked_do(tmp_path: Path):
    model = quantize(model_of("softmax", tmp_path), qnorm=True, qout=True, dsub=1)
    bags = model.encode(GOLDEN["texts"])
    input, output = (np.asarray(table[np.arange(table.shape[0])]) for table in (model.input, model.output))
    unpacked = Model(model.vocabulary, model.settings, input, output)
    for k in (1, 4):
        small, plain = (Predictor(m).best(bags, k) for m in (model, unpacked))
        assert small.labels.tolist() == plain.labels.tolist()
        np.testing.assert_array_equal(small.probabilities, plain.probabilities)


@pytest.mark.parametrize("k", [0, -2])
def test_k_is_refused_where_it_means_nothing(k: int, tmp_path: Path):
    model = model_of("softmax", tmp_path)
    with pytest.raises(ValueError, match=rf"k is {k}"):
        Predictor(model).best(model.encode(["w1"]), k)


@pytest.mark.parametrize(("loss", "extra"), [("softmax", {}), ("hs", {}), ("ns", {"minn": 2, "maxn": 4}), ("ova", {})])
def test_on_real_questions_answers_are_fasttexts_up_to_ties(loss: str, extra: dict, shared_data: Path, tmp_path: Path):
    """Cooking, 735 tags: the five best of each of 3,000 questions, and all above 0.1."""
    import gzip

    fasttext = pytest.importorskip("fasttext")
    for side in ("train", "test"):
        packed = (shared_data / "cooking" / f"{side}.txt.gz").read_bytes()
        (tmp_path / side).write_bytes(gzip.decompress(packed))
    theirs = fasttext.train_supervised(
        str(tmp_path / "train"), loss=loss, lr=0.5, epoch=2, dim=10, thread=1, verbose=0, bucket=20_000, **extra
    )
    theirs.save_model(str(tmp_path / "model.bin"))
    model = read_model(tmp_path / "model.bin")
    lines = (tmp_path / "test").read_text(encoding="utf-8").splitlines()
    bags, predictor = model.encode(lines), Predictor(model)
    names = [f"__label__{label}" for label in model.vocabulary.labels]
    for k, threshold in ((1, 0.0), (5, 0.0), (-1, 0.1)):
        labels, probabilities = as_fasttext_lists(predictor.best(bags, k, threshold), names)
        for text, line in enumerate(lines):
            answer = theirs.f.predict(line + "\n", k, threshold, "strict")
            assert_same_up_to_ties(labels[text], probabilities[text], answer, k)
