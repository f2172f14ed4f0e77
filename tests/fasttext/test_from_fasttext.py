"""The page for those who come from fastText names all that fastText 0.9.2 offers."""

import re
from inspect import signature
from pathlib import Path

import pytest

import jaxbackprop.fasttext as fasttext

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
    assert {name for name in MODULE.split() if not hasattr(fasttext, name)} == missing
    assert {name for name in METHODS.split() if not hasattr(fasttext.TextClassifier, name)} == {"set_args"}


def test_train_supervised_takes_its_arguments_in_fasttexts_order():
    assert list(signature(fasttext.train_supervised).parameters)[: len(TRAINING.split())] == TRAINING.split()
