"""The linear model: against scikit-learn's features and minimum, kept, asked, and by the same classes and commands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_lines import TOPICS, write_lines

from jaxbackprop.data import DataError, Texts
from jaxbackprop.fasttext import TextClassifier

TEXTS = [
    "Soup, bread; soup: the",
    "drum the (Violin)",
    "snow of the frost snow snow",
    "bread",
    "violin song of",
    "frost the",
]
NAMES = ["food", "music", "weather", "food", "music", "weather"]


def texts() -> Texts:
    return Texts(tuple(TEXTS), tuple((name,) for name in NAMES))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    path = write_lines(tmp_path_factory.mktemp("data") / "train.txt")
    return TextClassifier.train(path, model="linear")


def its_features() -> np.ndarray:
    """Scikit-learn's, with a logarithmic count; a text's last word has a bigram with its end, and the last column is 1:
    the bias counts among the weights, as in liblinear.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    vectorizer = CountVectorizer(ngram_range=(1, 2), token_pattern=r"</s>|\w+")
    vectorizer.fit(ended := [f"{text} </s>" for text in TEXTS])
    counts = np.delete(vectorizer.transform(ended).toarray(), vectorizer.vocabulary_["</s>"], 1)
    X = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    return np.concatenate([X.toarray(), np.ones((len(TEXTS), 1))], 1)


def in_order_of(model: TextClassifier, p: dict[str, np.ndarray]) -> np.ndarray:
    return np.transpose([p[label.removeprefix("__label__")] for label in model.labels])


@pytest.mark.parametrize(
    ("loss", "C", "weights"),
    [
        ("squared_hinge", 1.0, None),
        ("squared_hinge", 0.1, [1, 2, 0.5, 0, 3, 1]),
        ("hinge", 1.0, [1, 2, 0.5, 0, 3, 1]),
        ("ova", 5.0, None),
        ("softmax", 5.0, [1, 2, 0.5, 0, 3, 1]),
    ],
)
def test_it_is_the_minimum_that_scikit_learn_finds_on_the_same_features(loss: str, C: float, weights: list | None):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    ours = TextClassifier.train(texts(), model="linear", loss=loss, C=C, epoch=300, sample_weight=weights)
    X, p = its_features(), {}
    logistic = LogisticRegression(C=C, fit_intercept=False, tol=1e-8)
    if loss == "softmax":
        logistic.fit(X, NAMES, weights)
        p = dict(zip(logistic.classes_, logistic.predict_proba(X).T, strict=True))
    for name in dict.fromkeys(NAMES) if loss != "softmax" else ():
        y = np.array([name == other for other in NAMES])
        svm = LinearSVC(C=C, loss=loss, fit_intercept=False, tol=1e-8, max_iter=100_000) if loss != "ova" else logistic
        p[name] = 1 / (1 + np.exp(-svm.fit(X, y, weights).decision_function(X) * (1 if loss == "ova" else 2)))
    np.testing.assert_allclose(ours.probabilities(TEXTS), in_order_of(ours, p), atol=1e-3)


def test_a_smoothed_target_is_so_much_of_every_label():
    """The same as a copy of each text for each label, weighted by its share of the target."""
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    ours = TextClassifier.train(texts(), model="linear", loss="softmax", C=5.0, epoch=300, smoothing=0.3)
    X, names = its_features(), list(dict.fromkeys(NAMES))
    copies = [(k, name) for k in range(len(TEXTS)) for name in names]
    share = [0.1 + 0.7 * (NAMES[k] == name) for k, name in copies]
    logistic = LogisticRegression(C=5.0, fit_intercept=False, tol=1e-8)
    logistic.fit(X[[k for k, _ in copies]], [name for _, name in copies], share)
    p = dict(zip(logistic.classes_, logistic.predict_proba(X).T, strict=True))
    np.testing.assert_allclose(ours.probabilities(TEXTS), in_order_of(ours, p), atol=1e-3)


def test_idf_is_an_exponent():
    """Of a word in all three texts the weight is 1, of one in a single text 1 + log 2: here to the power 2, or 0."""
    common = Texts(("a b", "a c", "a d"), (("x",), ("y",), ("z",)))
    for exponent in (0.0, 1.0, 2.0):
        idf = TextClassifier.train(common, model="linear", word_ngrams=1, idf=exponent).model
        assert idf.idf is not None
        assert idf.idf[idf.vocabulary.word_id("b")] == pytest.approx((1 + np.log(2)) ** exponent)
        assert idf.idf[idf.vocabulary.word_id("a")] == 1
        assert idf.idf[idf.vocabulary.word_id("</s>")] == 0


def test_the_best_epoch_on_held_out_texts_is_kept():
    """Held-out labels are all wrong: the first epochs, which have learned least, are the best."""
    wrong = Texts(tuple(TEXTS), tuple((NAMES[k - 1],) for k in range(len(NAMES))))
    model = TextClassifier.train(texts(), model="linear", valid=wrong, patience=2, epoch=20)
    assert model.history is not None
    assert model.history.stopped_early
    assert len(model.history.epochs) == model.history.best.epoch + 2
    p = model.probabilities(TEXTS)
    gold = np.array([[label == f"__label__{NAMES[k - 1]}" for label in model.labels] for k in range(len(NAMES))])
    loss = -np.log(np.where(gold, p, 1 - p)).sum(1).mean()
    assert model.history.best.valid_loss == pytest.approx(loss, rel=1e-4)
    assert model.history.best.valid_accuracy == pytest.approx(gold[np.arange(len(p)), p.argmax(1)].mean())


def test_a_share_of_the_texts_may_be_held_out(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    model = TextClassifier.train(path, model="linear", valid=0.25)
    assert model.history is not None
    assert model.history.best.valid_accuracy == 1


@pytest.mark.parametrize("loss", ["hinge", "softmax"])
def test_no_other_temperature_suits_held_out_texts_better(loss: str, tmp_path: Path):
    doubtful = Texts(tuple(TEXTS) * 2, tuple((name,) for name in [*NAMES, *NAMES[::-1]]))
    model = TextClassifier.train(texts(), model="linear", loss=loss, C=20.0)
    before = model.probabilities(TEXTS)
    found = model.calibrate(doubtful)

    def log_loss(p: np.ndarray) -> float:
        total = 0.0
        for row, (label,) in zip(np.concatenate([p, p]), doubtful.labels, strict=True):
            gold = np.array([name == f"__label__{label}" for name in model.labels])
            total -= np.log(np.where(gold, row, 1 - row)).sum() if loss != "softmax" else np.log(row[gold]).sum()
        return total / len(doubtful)

    assert found.temperature > 1
    assert found.log_loss == pytest.approx((log_loss(before), log_loss(model.probabilities(TEXTS))), rel=1e-4)
    np.testing.assert_array_equal(model.probabilities(TEXTS).argmax(1), before.argmax(1))
    at_best = log_loss(model.probabilities(TEXTS))
    for factor in (0.8, 1.25):
        assert model.model.bias is not None
        table: Any = model.model.input
        scaled = replace(model.model, input=table[:] * factor, bias=model.model.bias * factor)
        assert log_loss(TextClassifier(scaled).probabilities(TEXTS)) > at_best
    model.save(tmp_path / "one.linear")
    np.testing.assert_array_equal(
        TextClassifier.load(tmp_path / "one.linear").probabilities(TEXTS), model.probabilities(TEXTS)
    )


def test_topics_are_told_apart_and_one_text_is_answered_as_among_many(trained: TextClassifier, tmp_path: Path):
    assert trained.test(write_lines(tmp_path / "test.txt", seed=1))[1] > 0.97
    asked = [
        "soup bread",
        "violin unheard",
        "",
        "the the of",
        "unheard",
        "frost " * 40,
        "SOUP,bread-of!",
        "...",
        "É(x)",
    ]
    labels, probabilities = trained.predict(asked, k=3)
    for text, its, p in zip(asked, labels, probabilities, strict=True):
        alone, alone_p = trained.predict(text, k=3)
        assert list(alone) == its
        np.testing.assert_allclose(alone_p, p, atol=1e-6)
    assert labels[0][0] == labels[6][0] == "__label__food"


def test_words_may_stay_as_they_are_written():
    plain, lower = (TextClassifier.train(texts(), model="linear", lowercase=low) for low in (False, True))
    assert {"Soup,", "soup:", "(Violin)"} < set(plain.words)
    assert set(lower.words) == {"soup", "bread", "the", "drum", "violin", "snow", "of", "frost", "song", "</s>"}
    with pytest.raises(ValueError, match="lowercase is True; it must be False"):
        TextClassifier.train(texts(), lowercase=True)


def test_a_text_may_have_several_labels():
    both = Texts(
        ("soup drum", "soup bread", "drum song", "snow"), (("food", "music"), ("food",), ("music",), ("weather",))
    )
    model = TextClassifier.train(both, model="linear", C=10.0)
    for text, labels in zip(both.texts, both.labels, strict=True):
        assert set(model.predict(text, k=-1, threshold=0.5)[0]) == {f"__label__{label}" for label in labels}


@pytest.mark.parametrize(
    "options", [{}, {"bucket": 50}, {"word_ngrams": 1, "lowercase": False}, {"minn": 2, "maxn": 3}], ids=str
)
def test_a_kept_model_answers_as_before(options: dict, tmp_path: Path):
    model = TextClassifier.train(texts(), model="linear", **options)
    model.save(tmp_path / "kept")
    model.save(tmp_path / "one.linear")
    model.save_model(tmp_path / "two")
    expected = model.predict(TEXTS, k=3)
    for name in ("kept", "one.linear", "two"):
        other = TextClassifier.load(tmp_path / name)
        assert other.model.settings == model.model.settings
        found = other.predict(TEXTS, k=3)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
    data = (tmp_path / "two").read_bytes()
    for broken in (data[: len(data) // 2], b"PK" + data[50:], b"PK"):
        (tmp_path / "broken.linear").write_bytes(broken)
        with pytest.raises(DataError, match="no linear model"):
            TextClassifier.load(tmp_path / "broken.linear")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": 0.5}, "lr is 0.5; the linear model has no use for it"),
        ({"loss": "hs"}, "one of squared_hinge, hinge, ova, softmax"),
        ({"C": 0.0}, "C is 0.0; it must be greater than 0"),
        ({"pretrained": "x.vec"}, "pretrained: not for the linear model"),
        ({"smoothing": 0.1}, "smoothing is 0.1; it must be 0 under squared_hinge"),
    ],
)
def test_what_it_has_no_use_for_is_refused(options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        TextClassifier.train(texts(), model="linear", **options)
    with pytest.raises(ValueError, match="one of softmax, hs, ns, ova"):
        TextClassifier.train(texts(), loss="squared_hinge")


def test_what_needs_two_tables_is_refused_by_name(trained: TextClassifier):
    for ask in (trained.quantize, lambda: trained.fine_tune(texts())):
        with pytest.raises(ValueError, match="this is a linear model"):
            ask()


def test_the_estimator_offers_it():
    pytest.importorskip("sklearn")
    from jaxbackprop.fasttext import TextEstimator

    rng = np.random.default_rng(0)
    y = rng.choice(list(TOPICS), 60)
    X = [" ".join(rng.choice(TOPICS[topic], 5)) for topic in y]
    assert TextEstimator(model="linear", C=2.0).fit(X, y).score(X, y) > 0.97
