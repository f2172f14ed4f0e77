"""fastText's own names and options."""

import re
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_lines import write_lines

import jaxbackprop as jbp
from jaxbackprop.data import DataError

PAGE = Path(__file__).parents[2] / "docs" / "from_fasttext.md"
MODULE = "BOW EOS EOW FastText cbow load_model skipgram supervised tokenize train_supervised train_unsupervised"
METHODS = (
    "get_analogies get_dimension get_input_matrix get_input_vector get_label_id get_labels get_line get_meter "
    "get_nearest_neighbors get_output_matrix get_sentence_vector get_subword_id get_subwords get_word_id "
    "get_word_vector get_words is_quantized labels predict quantize save_model set_args set_matrices test test_label "
    "words"
)
METER = "score_vs_true precision_recall_curve precision_at_recall recall_at_precision"
TRAINING = (
    "input lr dim ws epoch minCount minCountLabel minn maxn neg wordNgrams loss bucket thread lrUpdateRate t label "
    "verbose pretrainedVectors seed autotuneValidationFile autotuneMetric autotunePredictions autotuneDuration "
    "autotuneModelSize"
)
COMMANDS = (
    "supervised quantize test test-label predict predict-prob skipgram cbow print-word-vectors print-sentence-vectors "
    "print-ngrams nn analogies dump"
)
OPTIONS = (
    "input output lr lrUpdateRate dim ws epoch minCount minCountLabel neg wordNgrams loss bucket minn maxn thread t "
    "label verbose pretrainedVectors saveOutput seed qnorm retrain qout cutoff dsub autotune-validation "
    "autotune-metric autotune-predictions autotune-duration autotune-modelsize"
)
"""Each as fastText's sources have them: dir(fasttext), FastText.py, main.cc, args.cc."""


def test_fasttexts_options_are_understood(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    model = jbp.fasttext.train_supervised(
        input=path, lr=0.5, dim=6, ws=5, epoch=12, minCount=2, minCountLabel=0, minn=2, maxn=3, neg=4, wordNgrams=2,
        loss="ns", bucket=50, thread=4, lrUpdateRate=100, t=1e-4, label="__label__", verbose=0, seed=3,
    )  # fmt: skip
    settings = model.model.settings
    assert (settings.lr, settings.dim, settings.epoch, settings.min_count) == (0.5, 6, 12, 2)
    assert (settings.minn, settings.maxn, settings.neg, settings.word_ngrams, settings.loss) == (2, 3, 4, 2, "ns")
    assert settings.shuffle
    assert model.test(path)[1] > 0.95


def test_the_defaults_are_fasttexts(tmp_path: Path):
    settings = jbp.fasttext.train_supervised(write_lines(tmp_path / "train.txt")).model.settings
    assert (settings.lr, settings.dim, settings.epoch, settings.word_ngrams) == (0.1, 100, 5, 1)
    assert (settings.loss, settings.neg, settings.bucket, settings.min_count) == ("softmax", 5, 2_000_000, 1)


def test_its_other_spellings_and_our_settings_are_understood_too(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    (tmp_path / "some.vec").write_text("1 4\nsoup 1 2 3 4\n")
    model = jbp.fasttext.train_supervised(
        path, dim=4, word_ngrams=2, min_count=3, bucket=20, pretrained_vectors=tmp_path / "some.vec", lr=1e-9,
        smoothing=0.1, idf=1.0, max_words=20, valid=0.2, patience=2,
    )  # fmt: skip
    settings = model.model.settings
    assert (settings.word_ngrams, settings.min_count, settings.smoothing, settings.idf) == (2, 3, 0.1, 1.0)
    assert model["soup"] == pytest.approx([1, 2, 3, 4], abs=1e-4)
    assert model.history is not None


def test_a_file_sorted_by_label_is_shuffled_unless_one_thread_is_asked_for(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True))))
    options = {"dim": 6, "epoch": 12, "lr": 0.5, "bucket": 0}
    assert jbp.fasttext.train_supervised(path, **options).test(path)[1] > 0.97
    with pytest.warns(UserWarning, match="sorted by label"):
        assert not jbp.fasttext.train_supervised(path, thread=1, **options).shuffle


def test_lines_without_label_are_skipped_and_counted_or_refused(tmp_path: Path):
    path = write_lines(tmp_path / "train.txt")
    path.write_text(path.read_text() + "no label\nnone\n")
    with pytest.warns(UserWarning, match="2 lines without label skipped, the first is line 121"):
        assert len(jbp.fasttext.train_supervised(path, dim=4).labels) == 3
    with pytest.raises(DataError, match="line 121"):
        jbp.fasttext.train_supervised(path, dim=4, unlabelled="refuse")


def test_text_is_cut_as_in_training():
    """The answer is fastText's."""
    text = "Hello  world\u00a0__label__a\t foo </s> bar\nbaz\0"
    words = ["Hello", "world\u00a0__label__a", "foo", "</s>", "bar", "</s>", "baz"]
    assert jbp.fasttext.tokenize(text) == words
    with pytest.raises(TypeError, match="tokenize: text is None"):
        jbp.fasttext.tokenize(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"wordngrams": 2}, TypeError, "wordNgrams"),
        ({"autotuneValidation": "x"}, TypeError, "autotuneValidationFile"),
        ({"loss": "hierarchical"}, ValueError, "one of softmax, hs, ns, ova"),
        ({"dim": 10.5}, TypeError, "whole number"),
        ({"thread": "2"}, TypeError, "thread is '2'; it must be a whole number"),
        ({"dim": 3, "min_count": 2, "minCount": 2}, TypeError, "min_count is given twice"),
        ({"shuffle": 1}, TypeError, "shuffle is 1; it must be True or False"),
        ({"autotuneValidationFile": "x", "patience": 2}, ValueError, "give no patience"),
    ],
)
def test_a_wrong_option_is_refused_with_the_nearest_name(options: dict, error: type, said: str):
    with pytest.raises(error, match=said):
        jbp.fasttext.train_supervised("nowhere.txt", **options)


def test_a_model_goes_to_fasttext_and_back(tmp_path: Path):
    """Trained here, asked there and here: the same labels, probabilities to 1e-5."""
    fasttext = pytest.importorskip("fasttext")
    path = write_lines(tmp_path / "train.txt")
    for loss in ("softmax", "hs", "ns", "ova"):
        ours = jbp.fasttext.train_supervised(path, dim=6, loss=loss, lr=0.5, wordNgrams=2, bucket=40, minn=2, maxn=3)
        ours.save_model(tmp_path / "model.bin")
        theirs = fasttext.load_model(str(tmp_path / "model.bin"))
        back = jbp.fasttext.load_model(tmp_path / "model.bin")
        for text in ("soup and rain", "violin", "", "qqq", "the of drum snow"):
            answer = theirs.f.predict(text + "\n", 3, 0.0, "strict")
            for model in (ours, back):
                labels, probabilities = model.predict(text, k=3)
                assert list(labels) == [label for _, label in answer]
                assert probabilities == pytest.approx([p for p, _ in answer], abs=1e-5)


def test_with_a_validation_file_the_rest_is_searched_for(tmp_path: Path):
    train, valid = write_lines(tmp_path / "train.txt"), write_lines(tmp_path / "valid.txt", seed=1)
    model = jbp.fasttext.train_supervised(train, dim=8, bucket=40, autotuneValidationFile=valid, autotuneDuration=3)
    assert model.get_dimension() == 8
    assert model.test(valid)[1] > 0.9


ANY: Any = jbp.fasttext  # of any type: its own checks are what is tested


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda model, path: model.probabilities(None), "probabilities: text is None"),
        (lambda model, path: model.probabilities(["a", 3]), "probabilities: text 1 is 3; it must be a string"),
        (lambda model, path: model.get_input_vector("1"), "get_input_vector: ind is '1'; it must be a whole number"),
        (lambda model, path: model.quantize(cutoff="300"), "quantize: cutoff is '300'"),
        (lambda model, path: model.predict("soup", on_unicode_error=None), "on_unicode_error is None"),
        (lambda model, path: model.save_model(None), "save_model: path is None; it must be the name of a file"),
        (lambda model, path: ANY.load_model(b"model.bin"), "load: path is b'model.bin'; it must be the name of a file"),
        (lambda model, path: ANY.train_supervised(path, valid=0.2, patience="2"), "patience is '2'"),
        (lambda model, path: ANY.train_supervised(path, cache=3), "cache is 3; it must be the name of a file"),
        (lambda model, path: ANY.train_supervised(path, checkpoints=3), "checkpoints is 3"),
        (lambda model, path: ANY.train_supervised(path, pretrainedVectors=3), "pretrained is 3"),
        (lambda model, path: ANY.train_supervised(path, progress=3), "progress is 3; it must be a function"),
        (lambda model, path: ANY.autotune(path, path, metric=None), "autotune: metric is None"),
        (lambda model, path: ANY.autotune(path, path, seconds="9"), "autotune: seconds is '9'"),
    ],
)
def test_what_is_of_another_type_is_refused_by_name(small: jbp.fasttext.TextClassifier, tmp_path: Path, ask, said: str):
    with pytest.raises(TypeError, match=said):
        ask(small, write_lines(tmp_path / "train.txt"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> jbp.fasttext.TextClassifier:
    return jbp.fasttext.train_supervised(write_lines(tmp_path_factory.mktemp("data") / "train.txt"), dim=2, epoch=1)


def test_bytes_arrays_and_tuples_are_texts(small: Any):
    expected = small.predict(["soup", "drum"])
    for texts in ([b"soup", b"drum"], ("soup", "drum"), np.array(["soup", "drum"]), iter(["soup", "drum"])):
        assert small.predict(texts)[0] == expected[0]
        assert np.array_equal(small.predict(["soup", "drum"])[1], expected[1])
    assert small.predict(b"soup")[0] == small.predict("soup")[0]


def test_lines_without_label_are_skipped_or_refused_and_nothing_else(tmp_path: Path):
    with pytest.raises(ValueError, match="unlabelled is 'keep'; it must be one of refuse, skip"):
        ANY.train_supervised(write_lines(tmp_path / "train.txt"), unlabelled="keep")


@pytest.fixture(scope="module")
def page() -> tuple[str, str]:
    python, command = PAGE.read_text().split("## On the command line")
    return python, command


@pytest.mark.parametrize("names", [MODULE, METHODS, METER, TRAINING])
def test_the_page_names_every_call_and_option_of_the_python_module(page, names):
    code = " ".join(re.findall(r"`([^`]*)`", page[0]))
    assert [name for name in names.split() if not re.search(rf"\b{name}\b", code)] == []


def test_the_page_names_every_command_and_option_of_the_program(page):
    code = " ".join(re.findall(r"`([^`]*)`", page[1]))
    assert [name for name in COMMANDS.split() if not re.search(rf"(?<![-\w]){name}(?![-\w])", code)] == []
    assert [name for name in OPTIONS.split() if not re.search(rf"(?<![-\w])-{name}(?![-\w])", code)] == []


def test_the_calls_that_the_page_says_are_the_same_are_there():
    missing = {"FastText", "cbow", "skipgram", "supervised", "train_unsupervised"}
    assert {name for name in MODULE.split() if not hasattr(jbp.fasttext, name)} == missing
    assert {name for name in METHODS.split() if not hasattr(jbp.fasttext.TextClassifier, name)} == {"set_args"}


def test_train_supervised_takes_its_arguments_in_fasttexts_order():
    assert list(signature(jbp.fasttext.train_supervised).parameters)[: len(TRAINING.split())] == TRAINING.split()
