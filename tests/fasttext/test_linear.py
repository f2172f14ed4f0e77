"""The linear model: against scikit-learn's features and minimum, kept, asked, and by the same classes and commands."""

from pathlib import Path

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


@pytest.mark.parametrize(
    ("loss", "C"), [("squared_hinge", 1.0), ("squared_hinge", 0.1), ("ova", 5.0), ("softmax", 5.0)]
)
def test_it_is_the_minimum_that_scikit_learn_finds_on_the_same_features(loss: str, C: float):
    """Its features are scikit-learn's with a logarithmic count; a text's last word has a bigram with its end."""
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    ours = TextClassifier.train(texts(), model="linear", loss=loss, C=C, epoch=300)
    vectorizer = CountVectorizer(ngram_range=(1, 2), token_pattern=r"</s>|\w+")
    vectorizer.fit(ended := [f"{text} </s>" for text in TEXTS])
    counts = np.delete(vectorizer.transform(ended).toarray(), vectorizer.vocabulary_["</s>"], 1)
    X = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    X = np.concatenate([X.toarray(), np.ones((len(TEXTS), 1))], 1)  # the bias counts among the weights, as in liblinear
    scores = {}
    for name in dict.fromkeys(NAMES):
        y = np.array([name == other for other in NAMES])
        if loss == "squared_hinge":
            scores[name] = (
                LinearSVC(C=C, fit_intercept=False, tol=1e-8, max_iter=100_000).fit(X, y).decision_function(X)
            )
        elif loss == "ova":
            scores[name] = LogisticRegression(C=C, fit_intercept=False, tol=1e-8).fit(X, y).decision_function(X)
    if loss == "softmax":
        joint = LogisticRegression(C=C, fit_intercept=False, tol=1e-8).fit(X, NAMES)
        p = dict(zip(joint.classes_, joint.predict_proba(X).T, strict=True))
    else:
        p = {name: 1 / (1 + np.exp(-s * (2 if loss == "squared_hinge" else 1))) for name, s in scores.items()}
    names = [label.removeprefix("__label__") for label in ours.labels]
    np.testing.assert_allclose(ours.probabilities(TEXTS), np.transpose([p[name] for name in names]), atol=1e-3)


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
        ({"loss": "hs"}, "one of squared_hinge, ova, softmax"),
        ({"C": 0.0}, "C is 0.0; it must be greater than 0"),
        ({"valid": 0.1}, "valid: the linear model"),
    ],
)
def test_what_it_has_no_use_for_is_refused(options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        TextClassifier.train(texts(), model="linear", **options)
    with pytest.raises(ValueError, match="one of softmax, hs, ns, ova"):
        TextClassifier.train(texts(), loss="squared_hinge")


def test_what_needs_two_tables_is_refused_by_name(trained: TextClassifier):
    for ask in (trained.quantize, lambda: trained.fine_tune(texts()), lambda: trained.calibrate(texts())):
        with pytest.raises(ValueError, match="this is a linear model"):
            ask()


def test_the_estimator_offers_it():
    pytest.importorskip("sklearn")
    from jaxbackprop.fasttext import TextEstimator

    rng = np.random.default_rng(0)
    y = rng.choice(list(TOPICS), 60)
    X = [" ".join(rng.choice(TOPICS[topic], 5)) for topic in y]
    assert TextEstimator(model="linear", C=2.0).fit(X, y).score(X, y) > 0.97
