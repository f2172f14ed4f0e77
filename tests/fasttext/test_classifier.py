"""The classifier a person uses: trained, asked, kept; and its methods beside those of fastText's Python module."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fasttexts_models import GOLDEN, model_of
from labelled_lines import write_lines

import jaxbackprop as jbp
from jaxbackprop.data import DataError, Texts
from jaxbackprop.fasttext import TextClassifier

SMALL: dict[str, Any] = {"dim": 6, "bucket": 60, "lr": 0.5, "epoch": 12}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    path = write_lines(tmp_path_factory.mktemp("data") / "train.txt")
    return TextClassifier.train(path, word_ngrams=2, **SMALL)


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_topics_are_told_apart(loss: str, tmp_path: Path):
    train, test = write_lines(tmp_path / "train.txt"), write_lines(tmp_path / "test.txt", seed=1)
    classifier = jbp.fasttext.TextClassifier.train(train, loss=loss, **SMALL)
    texts, precision, recall = classifier.test(test)
    assert texts == 120
    assert precision == recall
    assert precision > 0.97
    assert classifier.predict("soup bread")[0] == ("__label__food",)


def test_one_text_and_several_are_answered_in_fasttexts_forms(trained: TextClassifier):
    labels, probabilities = trained.predict("soup bread", k=2)
    assert isinstance(labels, tuple)
    assert (len(labels), probabilities.shape, probabilities.dtype) == (2, (2,), np.float64)
    several, their = trained.predict(["soup bread", "violin"], k=2)
    assert several[0] == list(labels)
    assert several[1][0] == "__label__music"
    np.testing.assert_allclose(their[0], probabilities, atol=1e-6)
    assert trained.predict([]) == ([], [])
    assert trained.predict("soup", threshold=1.1)[0] == ()


def test_many_texts_are_answered_as_one_by_one(trained: TextClassifier, monkeypatch: pytest.MonkeyPatch):
    texts = [f"{a} {b}" for a in ("soup", "violin", "", "frost", "?") for b in ("rain", "song", "of")]
    monkeypatch.setattr("jaxbackprop.fasttext.classifier.PIECE", 4)
    labels, probabilities = trained.predict(texts, k=-1)
    for text, its_labels, its_probabilities in zip(texts, labels, probabilities, strict=True):
        alone, its = trained.predict(text, k=-1)
        assert its_labels == list(alone)
        np.testing.assert_allclose(its_probabilities, its, atol=1e-6)


@pytest.mark.parametrize(
    "texts",
    [
        ("soup bread", "violin"),
        [b"soup bread", "violin"],
        np.array(["soup bread", "violin"]),
        np.array(["soup bread", "violin"], object),
        np.array([b"soup bread", b"violin"]),
        iter(["soup bread", "violin"]),
        dict.fromkeys(["soup bread", "violin"]).keys(),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_texts_come_in_whatever_holds_strings(texts: Any, trained: TextClassifier):
    assert trained.predict(texts)[0] == [["__label__food"], ["__label__music"]]


def test_bytes_are_utf8(trained: TextClassifier):
    assert trained.predict(b"soup bread") == trained.predict("soup bread")
    assert trained.get_word_vector(b"soup").any()  # type: ignore[arg-type]
    assert b"soup" in trained  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("a\nb", ValueError, "predict: text holds a newline"),
        (["a", "b\n"], ValueError, "predict: text 1 holds a newline"),
        (["a", 3], TypeError, "predict: text 1 is 3; it must be a string"),
        (np.array(["a", None], object), TypeError, "predict: text 1 is None"),
        (None, TypeError, "predict: text is None; it must be a string or a list of strings"),
        (119, TypeError, "predict: text is 119"),
        (np.array("a"), TypeError, r"text is an array of shape \(\)"),
        (np.array([["a"]]), TypeError, r"text is an array of shape \(1, 1\)"),
        ({"a": 1}, TypeError, "text is {'a': 1}"),
    ],
)
def test_what_is_no_line_of_text_is_refused(text: Any, error: type, said: str, trained: TextClassifier):
    with pytest.raises(error, match=said):
        trained.predict(text)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda model: model.predict("a", k="3"), "predict: k is '3'; it must be a whole number"),
        (lambda model: model.predict(["a"], k=2.5), "predict: k is 2.5; it must be a whole number"),
        (lambda model: model.predict("a", k=True), "predict: k is True"),
        (lambda model: model.predict("a", threshold="a"), "predict: threshold is 'a'; it must be a number"),
        (lambda model: model.predict(["a"], threshold=None), "predict: threshold is None"),
        (lambda model: model.get_word_vector(None), "get_word_vector: word is None; it must be a string"),
        (lambda model: model.get_word_id(3), "get_word_id: word is 3"),
        (lambda model: model.get_label_id(3), "get_label_id: label is 3"),
        (lambda model: model.get_sentence_vector(["a"]), "get_sentence_vector: text is"),
        (lambda model: model.get_subwords(None), "get_subwords: word is None"),
        (lambda model: model.get_subword_id(None), "get_subword_id: subword is None"),
        (lambda model: model.get_line(None), "get_line: text is None"),
        (lambda model: model.get_nearest_neighbors(None), "get_nearest_neighbors: word is None"),
        (lambda model: model.get_nearest_neighbors("soup", k="3"), "k is '3'"),
        (lambda model: model.get_analogies("soup", None, "rain"), "get_analogies: wordB is None"),
        (lambda model: model.test(["soup"]), "the labelled texts are a list"),
    ],
)
def test_a_wrong_argument_is_named(ask: Any, said: str, trained: TextClassifier):
    with pytest.raises(TypeError, match=said):
        ask(trained)


def test_numbers_of_numpy_are_numbers(trained: TextClassifier):
    labels, _ = trained.predict("soup", k=np.int64(2), threshold=np.float32(0))  # type: ignore[call-overload]
    assert labels == trained.predict("soup", k=2)[0]


def test_settings_are_attributes_by_fasttexts_names_and_ours(trained: TextClassifier):
    expected = {"dim": 6, "lr": 0.5, "epoch": 12, "wordNgrams": 2, "bucket": 60, "minCount": 1, "loss": "softmax",
                "label": "__label__", "word_ngrams": 2, "optimizer": "sgd"}  # fmt: skip
    assert {name: getattr(trained, name) for name in expected} == expected
    with pytest.raises(AttributeError, match="learning_rate"):
        _ = trained.learning_rate


def test_the_meter_is_fasttexts(tmp_path: Path):
    """Scores beside what was given, curves and the points on them, of all labels and of one."""
    fasttext = pytest.importorskip("fasttext")
    path = write_lines(tmp_path / "train.txt", 60)
    TextClassifier.train(path, **{**SMALL, "epoch": 1}).save_model(tmp_path / "model.bin")
    ours, theirs = (
        module.load_model(str(tmp_path / "model.bin")).get_meter(str(path)) for module in (jbp.fasttext, fasttext)
    )
    number = {label: k for k, label in enumerate(TextClassifier.load(tmp_path / "model.bin").labels)}
    for label in (None, *number):
        curve = theirs.m.precisionRecallCurveLabel(number[label]) if label else theirs.m.precisionRecallCurve()
        np.testing.assert_allclose(np.transpose(ours.precision_recall_curve(label)), curve, atol=1e-6)
        for share in (0.1, 0.6, 1.0):
            assert ours.precision_at_recall(share, label) == pytest.approx(theirs.precision_at_recall(share, label))
            assert ours.recall_at_precision(share, label) == pytest.approx(theirs.recall_at_precision(share, label))
        if label:
            found, expected = ours.score_vs_true(label), theirs.m.scoreVsTrue(number[label])
            np.testing.assert_allclose(np.transpose(found), sorted(expected), atol=1e-5)


def test_a_meter_counts_as_by_hand(trained: TextClassifier):
    meter = trained.get_meter(Texts(("soup", "soup", "violin"), (("food",), ("music",), ("music",))), k=1)
    scores, given = meter.score_vs_true("__label__food")
    assert given.tolist() == [0, 1]
    assert scores[0] == scores[1]
    precision, recall = meter.precision_recall_curve("__label__food")
    assert (precision.tolist(), recall.tolist()) == ([0.5, 1.0], [1.0, 0.0])
    assert meter.precision_at_recall(0.5, "__label__music") == 1.0
    assert meter.recall_at_precision(0.9, "__label__music") == 0.5
    with pytest.raises(ValueError, match="Did you mean __label__food"):
        meter.score_vs_true("__label__foot")


def test_training_goes_on_from_a_model(trained: TextClassifier, tmp_path: Path):
    """On lines whose labels are exchanged it learns these; words, labels and the model before stay as they were."""
    path = write_lines(tmp_path / "train.txt")
    exchanged = path.read_text().replace("food", "?").replace("music", "food").replace("?", "music")
    (tmp_path / "more.txt").write_text(exchanged + "__label__new soup\n")
    before = trained.get_input_matrix().copy()
    with pytest.warns(UserWarning, match="1 label.s. never seen in training"):
        further = trained.fine_tune(tmp_path / "more.txt", epoch=30, lr=1.0)
    assert further.predict("soup bread")[0] == ("__label__music",)
    assert (further.words, further.labels, further.epoch) == (trained.words, trained.labels, 30)
    np.testing.assert_array_equal(trained.get_input_matrix(), before)
    same = trained.fine_tune(path, lr=1e-30)
    np.testing.assert_allclose(same.get_input_matrix(), before, atol=1e-12)
    with pytest.raises(TypeError, match="there is no option 'dim'"):
        trained.fine_tune(path, dim=3)
    with pytest.raises(FloatingPointError, match="lr"):
        trained.fine_tune(path, lr=1e30)


def test_tables_can_be_set(trained: TextClassifier):
    model = pickle.loads(pickle.dumps(trained))
    assert model.predict("soup")[0] == ("__label__food",)
    assert model.get_nearest_neighbors("soup", k=1)[0][0] > 0.9
    model.set_matrices(model.get_input_matrix(), -model.get_output_matrix())
    assert model.predict("soup")[0] != ("__label__food",)
    model.set_matrices(np.zeros_like(model.get_input_matrix()), model.get_output_matrix())
    assert model.get_nearest_neighbors("soup", k=1)[0][0] == 0
    with pytest.raises(ValueError, match=r"the output_matrix is \(2, 6\); it must be \(3, 6\)"):
        model.set_matrices(model.get_input_matrix(), model.get_output_matrix()[:2])


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_one_label_is_a_model_too(loss: str, tmp_path: Path):
    (tmp_path / "train.txt").write_text("__label__a x y\n__label__a z\n")
    model = TextClassifier.train(tmp_path / "train.txt", loss=loss, **SMALL)
    assert model.predict("x")[0] == ("__label__a",)


def test_without_ngrams_there_may_be_no_bucket(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    model = TextClassifier.train(path, **{**SMALL, "bucket": 0})
    assert model.get_input_matrix().shape[0] == len(model.words)
    assert model.test(path)[1] > 0.97
    with pytest.raises(ValueError, match="bucket is 0; it must be at least 1: n-grams need rows"):
        TextClassifier.train(path, word_ngrams=2, bucket=0)


def test_a_kept_classifier_answers_as_before(trained: TextClassifier, tmp_path: Path):
    """As a folder, with all settings; as a file, which holds fewer of them; and by pickle."""
    trained.save(tmp_path / "kept")
    trained.save(tmp_path / "one.bin")
    trained.save_model(tmp_path / "two")
    asked = ["soup bread", "", "violin storm"]
    expected = trained.predict(asked, k=3)
    others = [TextClassifier.load(tmp_path / name) for name in ("kept", "one.bin", "two")]
    for other in [*others, pickle.loads(pickle.dumps(trained))]:
        labels, probabilities = other.predict(asked, k=3)
        assert labels == expected[0]
        np.testing.assert_array_equal(probabilities, expected[1])
    assert others[0].model.settings == trained.model.settings
    with pytest.raises(DataError, match="a run that is there already"):
        trained.save(tmp_path / "kept")


def test_the_same_seed_gives_the_same_classifier(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    one, two, other = (TextClassifier.train(path, seed=seed, **SMALL) for seed in (1, 1, 2))
    assert np.array_equal(one.get_input_matrix(), two.get_input_matrix())
    assert not np.array_equal(one.get_input_matrix(), other.get_input_matrix())


def test_a_line_without_label_is_named_by_line_and_byte_or_passed_over(tmp_path: Path):
    path = tmp_path / "train.txt"
    path.write_text("__label__a x y\nz z\n__label__b y\n")
    with pytest.raises(DataError, match=r"train\.txt, line 2, byte 15: found a line without label \('z z'\)"):
        TextClassifier.train(path, **SMALL)
    with pytest.warns(UserWarning, match="1 line without label skipped"):
        skipped = TextClassifier.train(path, unlabelled="skip", **SMALL)
    assert set(skipped.labels) == {"__label__a", "__label__b"}


@pytest.mark.parametrize(
    ("content", "found"), [("", "no word"), ("\n\n", "no line with a label"), ("x y\n", "a line without label")]
)
def test_a_file_with_no_valid_line_is_refused(content: str, found: str, tmp_path: Path):
    path = tmp_path / "train.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=found):
        TextClassifier.train(path, **SMALL)


def test_training_that_diverges_says_so(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    with pytest.raises(FloatingPointError, match="lr"):
        TextClassifier.train(path, **{**SMALL, "lr": 1e30})


@pytest.mark.parametrize(
    ("option", "error", "said"),
    [
        ({"wordNgrams": 2}, TypeError, "word_ngrams"),
        ({"epochs": 2}, TypeError, "Did you mean epoch"),
        ({"dim": "ten"}, TypeError, "dim is 'ten'"),
        ({"dim": 2.5}, TypeError, "whole number"),
        ({"lr": "fast"}, TypeError, "lr is 'fast'"),
        ({"loss": 3}, TypeError, "string"),
        ({"loss": "sofmax"}, ValueError, "one of softmax"),
        ({"minn": 4, "maxn": 2}, ValueError, "at most maxn"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(option: dict, error: type, said: str):
    with pytest.raises(error, match=said):
        TextClassifier.train("nowhere.txt", **option)


def test_a_missing_file_is_named_with_the_one_that_is_like_it(tmp_path: Path):
    write_lines(tmp_path / "train.txt")
    with pytest.raises(DataError, match=r"train\.txt"):
        TextClassifier.train(tmp_path / "trian.txt", **SMALL)
    with pytest.raises(DataError, match="no such file"):
        TextClassifier.load(tmp_path / "model.bin")


def test_a_small_copy_answers_alike(tmp_path: Path):
    """Product quantization, pruned to 30 rows and trained further, on disk and back."""
    path = write_lines(tmp_path / "train.txt", 400)
    classifier = TextClassifier.train(path, word_ngrams=2, **{**SMALL, "bucket": 2_000})
    whole = classifier.test(path)[1]
    classifier.quantize(str(path), cutoff=30, retrain=True, qnorm=True, epoch=5)
    assert classifier.is_quantized()
    assert classifier.model.input.shape[0] == 30
    assert classifier.test(path)[1] > whole - 0.05
    classifier.save(tmp_path / "small")
    assert (tmp_path / "small" / "model.ftz").is_file()
    assert (
        TextClassifier.load(tmp_path / "small").predict("soup bread", k=3)[0]
        == classifier.predict("soup bread", k=3)[0]
    )
    with pytest.raises(ValueError, match="quantized"):
        classifier.get_input_matrix()
    with pytest.raises(ValueError, match="input"):
        TextClassifier.train(path, **SMALL).quantize(retrain=True)


def test_word_vectors_are_started_from(tmp_path: Path):
    """With a learning rate near 0 a word keeps the vector it was given; others are drawn. All given words have one."""
    path = write_lines(tmp_path / "train.txt")
    (tmp_path / "some.vec").write_text("2 6\nsoup 1 2 3 4 5 6\nstranger 1 1 1 1 1 1\n")
    classifier = TextClassifier.train(path, pretrained=tmp_path / "some.vec", **{**SMALL, "lr": 1e-9})
    np.testing.assert_allclose(classifier["soup"], [1, 2, 3, 4, 5, 6], atol=1e-4)
    np.testing.assert_array_equal(classifier["stranger"], 1)
    assert np.abs(classifier["bread"]).max() <= 1 / 6


PRETRAINED = "6 3\nbread 1 2 3\nnew 4 5 6\n</s> 7 8 9\n__label__c 1 1 1\nrare 2 2 2\nnew 3 3 3\n"
GIVEN = {"</s>": [7, 8, 9], "bread": [1, 2, 3], "rare": [2, 2, 2], "new": [3, 3, 3]}


@pytest.mark.parametrize(
    ("min_count", "words", "counts"),
    [
        (1, ["</s>", "the", "oven", "salt", "bread", "rare", "new"], [4, 3, 2, 2, 2, 2, 2]),
        (2, ["</s>", "the", "oven", "salt", "new", "bread", "rare"], [4, 3, 2, 2, 2, 1, 1]),
    ],
)
@pytest.mark.parametrize("asked", ["by its numbers", "itself"])
def test_all_words_of_pretrained_vectors_have_a_row_as_in_fasttext(min_count, words, counts, asked, tmp_path: Path):
    """Words and labels are counted once more for each line of the .vec file. The numbers are fastText 0.9.2's, by
    train_supervised(text, dim=3, lr=1e-30, epoch=1, thread=1, minCount=..., pretrainedVectors=...)."""
    (tmp_path / "some.vec").write_text(PRETRAINED)
    path = tmp_path / "train.txt"
    path.write_text("__label__a the oven salt the\n__label__b salt bread the\n__label__a rare oven\n")
    if asked == "itself":
        fasttext = pytest.importorskip("fasttext")
        model = fasttext.train_supervised(
            str(path), dim=3, lr=1e-30, epoch=1, thread=1, verbose=0, minCount=min_count,
            pretrainedVectors=str(tmp_path / "some.vec"),
        )  # fmt: skip
    else:
        model = TextClassifier.train(path, pretrained=tmp_path / "some.vec", dim=3, lr=1e-30, min_count=min_count)
        assert model.model.vocabulary.tokens == 21  # 15 of the text, 6 of the vectors
    found, times = model.get_words(include_freq=True)
    assert (list(found), times.tolist()) == (words, counts)
    found, times = model.get_labels(include_freq=True)
    assert (list(found), times.tolist()) == (["__label__a", "__label__b", "__label__c"], [2, 1, 1])
    for word, vector in GIVEN.items():
        assert model.get_word_vector(word).tolist() == vector
    assert model.get_output_matrix().shape == (3, 3)


@pytest.mark.parametrize("name", ["softmax", "ns"])
def test_its_methods_answer_as_fasttexts(name: str, tmp_path: Path):
    fasttext = pytest.importorskip("fasttext")
    ours = TextClassifier(model_of(name, tmp_path))
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    assert ours.words == theirs.words
    assert ours.labels == theirs.labels
    assert ours.get_dimension() == theirs.get_dimension()
    for words, counts in (
        (ours.get_words(True), theirs.get_words(True)),
        (ours.get_labels(True), theirs.get_labels(True)),
    ):
        assert words[0] == counts[0]
        assert words[1].tolist() == counts[1].tolist()
    for text in GOLDEN["texts"]:
        assert ours.get_line(text) == theirs.get_line(text)
    assert ours.get_line(GOLDEN["texts"]) == theirs.get_line(GOLDEN["texts"])
    for word in ("w1", "été", "unknown", "</s>", "__label__l0", "w"):
        assert ours.get_word_id(word) == (theirs.get_word_id(word) if not word.startswith("__label__") else -1)
        assert (word in ours) == (word in theirs.words)
        if not word.startswith("__label__"):  # a label has no row; fastText answers some others for it
            strings, rows = ours.get_subwords(word)
            assert (strings, rows.tolist()) == (theirs.get_subwords(word)[0], theirs.get_subwords(word)[1].tolist())
        assert ours.get_subword_id(word) == theirs.get_subword_id(word)
        assert ours.get_label_id(word) == (theirs.get_label_id(word) if word.startswith("__label__") else -1)


def test_vectors_are_means_of_rows(trained: TextClassifier):
    table = trained.get_input_matrix()
    row = trained.get_word_id("soup")
    np.testing.assert_array_equal(trained["soup"], table[row])
    np.testing.assert_array_equal(trained.get_input_vector(row), table[row])
    np.testing.assert_array_equal(trained["unheard"], np.zeros(6))
    rows = trained.model.encode(["soup bread"])[0]
    np.testing.assert_allclose(trained.get_sentence_vector("soup bread"), table[rows].mean(0), atol=1e-6)
    assert trained.get_output_matrix().shape == (3, 6)
    with pytest.raises(IndexError):
        trained.get_input_vector(len(table))


def test_a_model_without_ngrams_has_no_row_for_one(tmp_path: Path):
    """fastText divides by zero here and ends the process."""
    classifier = TextClassifier.train(write_lines(tmp_path / "train.txt"), **SMALL)
    with pytest.raises(ValueError, match="no n-grams"):
        classifier.get_subword_id("sou")
