"""Precision, recall and F1: numbers counted by hand, and scikit-learn's and fastText's own."""

import math
from pathlib import Path

import numpy as np
import pytest
from fasttexts_models import model_of

from jaxbackprop.data import Bags, DataError, Texts
from jaxbackprop.data.bags import starts
from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.predict.metrics import Scoring
from jaxbackprop.fasttext.predict.predictor import Predictions
from jaxbackprop.fasttext.tune.objective import Metric


def bags(rows: list[list[int]]) -> Bags:
    return Bags(np.array([k for row in rows for k in row], np.int32), starts(np.array([len(row) for row in rows])))


def predictions(rows: list[list[int]], p: list[float] | None = None) -> Predictions:
    found = bags(rows)
    scores = np.array(p, np.float32) if p is not None else np.full(len(found.ids), 0.5, np.float32)
    return Predictions(found.ids, scores, found.offsets.astype(np.int64))


def test_precision_and_recall_are_counted_as_by_hand():
    """Three texts, four predictions, two of them right, five labels given."""
    found = Scoring.of(bags([[0], [1, 2], [0, 1]]), predictions([[0], [0, 2], [3]]), 4)
    assert (found.texts, found.precision, found.recall) == (3, 2 / 4, 2 / 5)
    assert found.f1 == pytest.approx(2 * (1 / 2) * (2 / 5) / (1 / 2 + 2 / 5))
    assert found.of_label(0) == {"precision": 1 / 2, "recall": 1 / 2, "f1score": 2 / 4}
    assert found.of_label(2) == {"precision": 1.0, "recall": 1.0, "f1score": 1.0}
    assert found.of_label(3)["precision"] == 0
    assert math.isnan(found.of_label(3)["recall"])


def test_macro_f1_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    gold, said = [0, 1, 1, 2, 0, 1], [0, 1, 0, 3, 0, 1]
    found = Scoring.of(bags([[k] for k in gold]), predictions([[k] for k in said]), 5)
    assert found.macro_f1 == pytest.approx(metrics.f1_score(gold, said, average="macro"))
    assert Metric.parse("macroF1").of(found, list("abcde")) == found.macro_f1


def test_a_label_given_twice_counts_twice_as_in_fasttext():
    found = Scoring.of(bags([[1, 1]]), predictions([[1]]), 2)
    assert (found.precision, found.recall) == (1.0, 0.5)


def test_parts_together_count_as_the_whole():
    gold, said = [[0], [1], [1], [0, 1]], [[0], [0], [1], [1]]
    whole = Scoring.of(bags(gold), predictions(said), 2)
    parts = Scoring.joined([Scoring.of(bags(gold[a:b]), predictions(said[a:b]), 2) for a, b in ((0, 1), (1, 4))])
    assert (parts.texts, parts.precision, parts.recall, parts.f1) == (4, whole.precision, whole.recall, whole.f1)


def test_the_curve_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    hits, scores = rng.random(200) < 0.4, np.round(rng.random(200), 1).astype(np.float32)  # many equal
    found = Scoring.of(bags([[int(hit)] for hit in hits]), predictions([[1]] * 200, scores.tolist()), 2)
    precision, recall = found.curve(1)
    expected = metrics.precision_recall_curve(hits, scores)
    np.testing.assert_allclose(precision, expected[0][::-1])
    np.testing.assert_allclose(recall, expected[1][::-1])
    assert found.precision_at_recall(0.5, 1) == max(p for p, r in zip(*expected[:2], strict=True) if r >= 0.5)
    assert found.recall_at_precision(0.45, 1) == max(r for p, r in zip(*expected[:2], strict=True) if p >= 0.45)


@pytest.mark.parametrize(
    ("said", "metric"),
    [
        ("f1", Metric("f1")),
        ("f1:__label__a:b", Metric("f1", label="__label__a:b")),
        ("precisionAtRecall:30", Metric("precisionAtRecall", 0.3)),
        ("recallAtPrecision:12.5:__label__x", Metric("recallAtPrecision", 0.125, "__label__x")),
    ],
)
def test_a_metric_is_understood_as_fasttext_understands_it(said: str, metric: Metric):
    assert Metric.parse(said) == metric


@pytest.mark.parametrize("said", ["", "f2", "f1:", "precisionAtRecall", "precisionAtRecall:x", "recallAtPrecision:130"])
def test_another_metric_is_refused_with_those_there_are(said: str):
    with pytest.raises(ValueError, match="precisionAtRecall:PERCENT"):
        Metric.parse(said)


@pytest.fixture
def classifier(tmp_path: Path) -> TextClassifier:
    """fastText's own softmax model of the golden file of predictions."""
    return TextClassifier(model_of("softmax", tmp_path))


def test_a_file_is_tested_as_fasttext_tests_it(classifier: TextClassifier, tmp_path: Path):
    """Lines without label or without word are passed over, unknown labels are not counted and warned of."""
    path = tmp_path / "test.txt"
    best = classifier.predict("w1 w2")[0][0]
    path.write_text(f"{best} w1 w2\n\nw3 w4\n__label__strange w1\n{best} __label__strange w1 w2\n{best} {best} w1 w2\n")
    with pytest.warns(UserWarning, match=r"2 label\(s\) never seen in training, the first 'strange' in line 4"):
        texts, precision, recall = classifier.test(path)
    assert (texts, precision, recall) == (3, 1.0, 3 / 4)


def test_each_label_is_scored_by_its_name(classifier: TextClassifier):
    """fastText 0.9.2 answers NaN for every recall; later ones, and this, count."""
    best = classifier.predict("w1 w2")[0][0]
    other = next(label for label in classifier.labels if label != best)
    texts = Texts(("w1 w2", "w1 w2"), ((best.removeprefix("__label__"),), (other.removeprefix("__label__"),)))
    found = classifier.test_label(texts)
    assert found[best] == {"precision": 0.5, "recall": 1.0, "f1score": pytest.approx(2 / 3)}
    assert found[other]["recall"] == 0
    assert set(found) == set(classifier.labels)


@pytest.mark.parametrize("content", ["", "\n\n", "w1 w2\n", "__label__strange w1\n"])
def test_a_file_with_nothing_to_score_is_an_error_that_names_it(
    content: str, classifier: TextClassifier, tmp_path: Path
):
    path = tmp_path / "empty.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=r"empty\.txt: found no line to test on"):
        classifier.test(path)


def test_a_real_set_scores_as_in_fasttext(shared_data: Path, tmp_path: Path):
    """TREC, whose classes are six: N, precision and recall for three k, and the precision of each class."""
    import gzip

    fasttext = pytest.importorskip("fasttext")
    for side in ("train", "test"):
        packed = (shared_data / "trec" / f"{side}.txt.gz").read_bytes()
        (tmp_path / side).write_bytes(gzip.decompress(packed))
    theirs = fasttext.train_supervised(str(tmp_path / "train"), lr=0.5, epoch=5, dim=10, thread=1, verbose=0)
    theirs.save_model(str(tmp_path / "model.bin"))
    ours = TextClassifier.load(tmp_path / "model.bin")
    for k, threshold in ((1, 0.0), (2, 0.0), (-1, 0.3)):
        assert ours.test(tmp_path / "test", k, threshold) == theirs.test(str(tmp_path / "test"), k, threshold)
    for label, numbers in theirs.test_label(str(tmp_path / "test")).items():
        assert ours.test_label(tmp_path / "test")[label]["precision"] == numbers["precision"]
