"""Calibrating divides all scores by the temperature that suits held-out texts best, and changes nothing else."""

import numpy as np
import pytest
from labelled_lines import TOPICS, write_lines

from jaxbackprop.data import DataError, Texts
from jaxbackprop.fasttext import TextClassifier
from jaxbackprop.fasttext.predict.huffman import paths

SMALL = {"lr": 1.0, "dim": 6, "epoch": 30, "bucket": 50, "batch": 1}
LOSSES = ["softmax", "hs", "ns", "ova"]


def held_out(texts=60, wrong=0.3, seed=1) -> Texts:
    """Texts of which some have a label that nothing speaks for, and every fifth has two."""
    rng = np.random.default_rng(seed)
    lines, labels = [], []
    for k in range(texts):
        topic, other = rng.choice(list(TOPICS), 2, replace=False)
        lines.append(" ".join(rng.choice([*TOPICS[topic], "the"], 5)))
        mine = (str(other if rng.random() < wrong else topic),)
        labels.append((str(topic), str(other)) if k % 5 == 0 else mine)
    return Texts(tuple(lines), tuple(labels))


def loss_of(classifier: TextClassifier, texts: Texts, b: float) -> float:
    """The mean log loss at scores multiplied by b: one text, one label, one question after another, in float64."""
    model, total = classifier.model, 0.0
    known = list(model.vocabulary.labels)
    tree = paths(model.vocabulary.counts[model.vocabulary.word_count :])
    for text, labels in zip(texts.texts, texts.labels, strict=True):
        z = b * np.asarray(model.output, float) @ classifier.get_sentence_vector(text).astype(float)
        numbers = [known.index(label) for label in labels]
        if model.settings.loss in ("ns", "ova"):
            total += sum(np.logaddexp(0, -z[c] if c in numbers else z[c]) for c in range(len(known)))
        for c in numbers if model.settings.loss == "softmax" else ():
            total += (np.logaddexp.reduce(z) - z[c]) / len(numbers)
        for c in numbers if model.settings.loss == "hs" else ():
            for k in range(tree.offsets[c], tree.offsets[c + 1]):
                node, turn = z[tree.nodes[k]], tree.codes[k]
                total += np.logaddexp(0, -node if turn else node) / len(numbers)
    return float(total / len(texts.texts))


@pytest.fixture(params=LOSSES)
def classifier(request: pytest.FixtureRequest, tmp_path) -> TextClassifier:
    return TextClassifier.train(write_lines(tmp_path / "train.txt"), loss=request.param, **SMALL)


def test_no_other_temperature_has_a_smaller_loss(classifier: TextClassifier, tmp_path):
    texts, whole = held_out(), TextClassifier(classifier.model)
    found = classifier.calibrate(texts)
    best = loss_of(whole, texts, 1 / found.temperature)
    assert found.log_loss[0] == pytest.approx(loss_of(whole, texts, 1), rel=1e-5)
    assert found.log_loss[1] == pytest.approx(best, rel=1e-5)
    assert found.temperature > 1  # it was too sure: three in ten labels are wrong
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert loss_of(whole, texts, factor / found.temperature) > best
    assert found.texts == 60


def test_labels_keep_their_order_and_files_their_answers(classifier: TextClassifier, tmp_path):
    texts = held_out()
    before = classifier.probabilities(texts.texts)
    classifier.predict(texts.texts[0])  # a predictor of the old model is there
    classifier.calibrate(texts)
    after = classifier.probabilities(texts.texts)
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    assert after.max() < before.max()
    classifier.save_fasttext(tmp_path / "model.bin")
    np.testing.assert_array_equal(TextClassifier.load(tmp_path / "model.bin").probabilities(texts.texts), after)


def test_the_calibration_error_is_how_far_confidence_is_from_accuracy():
    """Two labels, scores of four texts of which three share a bin: |mean confidence - share right|, by hand.

    Asked again with a text that has both labels: of the probability that it shares, each is half.
    """
    from jaxbackprop.fasttext.predict.calibration import _judged

    classifier = TextClassifier.train(Texts(("a", "b", "c", "d"), (("x",), ("y",), ("x",), ("y",))), dim=1, batch=1)
    vocabulary = classifier.model.vocabulary
    table = np.zeros((vocabulary.rows, 1), np.float32)
    for word, z in {"a": 2.0, "b": -2.0, "c": 2.0, "d": 0.2}.items():
        table[vocabulary.word_id(word)] = z
    model = type(classifier.model)(vocabulary, classifier.model.settings, table, np.array([[1.0], [-1.0]], np.float32))
    labels = Texts(("a", "b", "c", "d"), (("x",), ("y",), ("y",), ("x",)))
    ids = np.array([vocabulary.word_id(word) for word in "abcd"], np.int32)
    bags = type(vocabulary.encode(labels))(ids, np.arange(5))
    p, q = 1 / (1 + np.exp(-4.0)), 1 / (1 + np.exp(-0.4))
    _, error = _judged(model, bags, vocabulary.encode_labels(labels))
    assert error == pytest.approx((abs(3 * p - 2) + abs(q - 1)) / 4, rel=1e-6)
    both = vocabulary.encode_labels(Texts(("a", "b", "c", "d"), (("x",), ("y",), ("y",), ("x", "y"))))
    assert _judged(model, bags, both)[1] == pytest.approx((abs(3 * p - 2) + abs(q - 0.5)) / 4, rel=1e-6)


def test_a_quantised_output_table_is_refused(tmp_path):
    path = write_lines(tmp_path / "train.txt", 400)
    lines = "".join(f"__label__l{k} w{k} w{k}\n" for k in range(260))
    path.write_text(path.read_text() + lines)
    classifier = TextClassifier.train(path, **{**SMALL, "epoch": 1})
    classifier.quantize(qout=True)
    with pytest.raises(ValueError, match="calibrate first"):
        classifier.calibrate(path)


def test_data_without_a_known_label_is_refused(classifier: TextClassifier):
    with pytest.raises(DataError):
        classifier.calibrate(Texts(("soup",), (("strange",),)))
