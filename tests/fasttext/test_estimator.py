"""The text classifier as a scikit-learn estimator."""

import pickle
from typing import Any

import numpy as np
import pytest
from labelled_lines import TOPICS

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone, is_classifier  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402

from jaxbackprop.fasttext import TextEstimator  # noqa: E402

SMALL: dict[str, Any] = {"dim": 6, "bucket": 50, "lr": 0.5, "epoch": 10}


def data(texts: int = 90) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.choice(list(TOPICS), texts)
    return [" ".join(rng.choice(TOPICS[topic], 5)) for topic in y], y


def test_classes_are_learned_and_probabilities_are_in_their_order():
    X, y = data()
    made = TextEstimator(**SMALL).fit(X, y)
    assert made.classes_.tolist() == sorted(TOPICS)
    assert made.score(X, y) > 0.97
    p = made.predict_proba(X)
    assert p.shape == (90, 3)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert (made.classes_[p.argmax(1)] == made.predict(X)).all()
    assert p[:, made.classes_ == "food"][y == "food"].mean() > 0.7


@pytest.mark.parametrize("classes", [[7, -1, 3], [True, False], ["é a", "b", "0"]])
def test_classes_of_any_type_that_sorts_come_back(classes: list):
    X, y = data()
    named = dict(zip(sorted(TOPICS), classes, strict=False))
    kept = [k for k, topic in enumerate(y) if topic in named]
    X, y = [X[k] for k in kept], np.array([named[y[k]] for k in kept])
    predicted = TextEstimator(**SMALL).fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert (predicted == y).mean() > 0.95


def test_it_works_in_a_pipeline_and_a_search():
    X, y = data()
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    search = GridSearchCV(make_pipeline(lower, TextEstimator(**SMALL)), {"textestimator__lr": [1e-9, 0.5]}, cv=3)
    search.fit([text.upper() for text in X], y)
    assert search.best_params_ == {"textestimator__lr": 0.5}
    assert search.predict(["SOUP BREAD"]) == ["food"]
    assert cross_val_score(TextEstimator(**SMALL), X, y, cv=3).min() > 0.9


def test_it_can_be_copied_and_kept():
    X, y = data()
    made = TextEstimator(**SMALL).fit(X, y)
    copy = clone(made)
    assert isinstance(copy, TextEstimator)
    assert copy.get_params() == made.get_params()
    assert is_classifier(made)
    assert (pickle.loads(pickle.dumps(made)).predict_proba(X) == made.predict_proba(X)).all()


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_it_is_an_estimator_as_scikit_learn_checks_them(check):
    """All of its checks that do not fit on tables of numbers: a text estimator takes none."""
    check("TextEstimator", TextEstimator())


@pytest.mark.parametrize(
    ("X", "y", "error", "said"),
    [
        ("one text", ["a"], TypeError, "one string"),
        (["a", 3], ["a", "b"], TypeError, r"X\[1\]"),
        (["a"], ["a", "b"], ValueError, "1 texts, but y 2"),
        ([], [], ValueError, "no text"),
        (["a __label__x"], ["a"], ValueError, "begins a label"),
        (["a", "b"], [0.5, 1.5], ValueError, "continuous"),
    ],
)
def test_what_is_no_text_or_no_class_is_refused(X: object, y: list, error: type, said: str):
    with pytest.raises(error, match=said):
        TextEstimator(**SMALL).fit(X, y)  # type: ignore[arg-type]


def test_it_must_be_fitted_before_it_predicts():
    with pytest.raises(NotFittedError):
        TextEstimator().predict(["a"])


def test_settings_that_cannot_be_are_refused_when_it_is_fitted():
    with pytest.raises(ValueError, match="one of softmax"):
        TextEstimator(loss="hinge").fit(*data())


@pytest.mark.parametrize("settings", [SMALL, {"model": "linear"}], ids=["fasttext", "linear"])
def test_classes_and_texts_have_weights(settings: dict):
    X, y = ["sun", "sun", "sun"], [5, 7, 7]
    assert TextEstimator(**settings).fit(X, y).predict(["sun"]) == [7]
    assert TextEstimator(**settings, class_weight={5: 9.0}).fit(X, y).predict(["sun"]) == [5]
    assert TextEstimator(**settings).fit(X, y, sample_weight=[9, 1, 1]).predict(["sun"]) == [5]
    with pytest.raises(ValueError, match="6 is not among the classes 5, 7"):
        TextEstimator(**settings, class_weight={6: 9.0}).fit(X, y)


def test_texts_sorted_by_class_are_shuffled():
    X, y = data()
    order = np.argsort(y)
    assert TextEstimator(**SMALL).fit([X[k] for k in order], y[order]).score(X, y) > 0.97
