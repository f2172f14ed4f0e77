"""The built-in text set: the same every time, and no leak from test to training."""

import os
import subprocess
import sys
import zlib
from collections import Counter

import pytest

from jaxbackprop.data import DataError, docstrings
from jaxbackprop.data.docstrings import TOPICS, modules, plain
from jaxbackprop.data.docstrings import docstrings as sentences


def test_a_few_thousand_sentences_of_every_topic_are_on_each_side():
    train, test = sentences()
    assert 3000 < len(train) < 8000
    assert 600 < len(test) < 2000
    for side, least in ((train, 200), (test, 40)):
        counts = Counter(label for (label,) in side.labels)
        assert set(counts) == set(TOPICS)
        assert min(counts.values()) >= least
    assert max(Counter(label for (label,) in test.labels).values()) < len(test) / 3, "no class is a third of the test"


def test_no_sentence_and_no_module_is_on_both_sides():
    train, test = (set(side.texts) for side in sentences())
    assert not train & test
    for found in modules().values():
        for module, own in found.items():
            told = set(own)
            # a sentence that a module shares with another may stand on the other's side
            others = {text for name, texts in found.items() if name != module for text in texts}
            alone = told - others
            assert not (alone & train and alone & test), f"{module} is on both sides"


def test_each_topic_has_several_modules_on_each_side():
    train, test = (set(side.texts) for side in sentences())
    for topic, found in modules().items():
        for side in (train, test):
            assert sum(bool(side & set(own)) for own in found.values()) >= 3, topic


def test_another_process_finds_the_same_in_the_same_order():
    """One with another hash seed, so that nothing hangs on the order of a set."""
    program = (
        "import zlib; from jaxbackprop.data import docstrings as d; print(zlib.crc32(repr(d.docstrings()).encode()))"
    )
    other = {**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    run = subprocess.run([sys.executable, "-c", program], env=other, capture_output=True, text=True, check=True)
    assert int(run.stdout) == zlib.crc32(repr(sentences()).encode())


def test_the_topics_are_mixed():
    """Training that takes the sentences as they come must not see one topic after another."""
    train, _ = sentences()
    changes = sum(a != b for a, b in zip(train.labels[:-1], train.labels[1:], strict=True))
    assert changes > len(train) / 2


def test_a_bag_of_words_is_clearly_above_the_majority():
    """Naive Bayes, in a few lines of its own: at least twice the largest class."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    train, test = sentences()
    words = CountVectorizer(token_pattern=r"\S+")
    model = MultinomialNB().fit(words.fit_transform(train.texts), [label for (label,) in train.labels])
    right = model.score(words.transform(test.texts), [label for (label,) in test.labels])
    majority = max(Counter(test.labels).values()) / len(test)
    assert right > 2 * majority


MODULE = '''"""The module has a first sentence here.  And it has a second one, too.

no capital letter stands at the start here.

>>> The(example, which, is, no, sentence).
"""
x = "This is only a string and no docstring."
class C:
    def f(self):
        "A method says what it does here."
        raise SystemExit("never run")
'''


def test_sentences_are_cut_from_docstrings_only_and_code_is_left_out(tmp_path):
    (tmp_path / "module.py").write_text(MODULE)
    assert docstrings._sentences(tmp_path / "module.py") == (
        "the module has a first sentence here .",
        "and it has a second one , too .",
        "a method says what it does here .",
    )


def test_a_library_without_source_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no docstring, expected the source of Python's standard library"):
        modules(tmp_path)


def test_plain_text_is_in_lower_case_with_punctuation_apart():
    assert plain("Don't  panic: It's 42!") == "don ' t panic : it ' s 42 !"
