"""Words to rows, against numbers that fastText 0.9.2 gave, and against the program itself where it is installed."""

import gc
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError, Texts, tokenise
from jaxbackprop.data.tokens import Tokens
from jaxbackprop.fasttext.corpus import vocabulary
from jaxbackprop.fasttext.corpus import word_rows as rows
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary

GOLDEN = json.loads((Path(__file__).parent / "fasttext_golden.json").read_text())
TRAIN, OTHER = GOLDEN["train"].encode("latin-1"), GOLDEN["other"].encode("latin-1")
CASES = GOLDEN["cases"]
NAMES = [" ".join(f"{key}={value}" for key, value in case["settings"].items()) or "plain" for case in CASES]
golden = pytest.mark.parametrize("case", CASES, ids=NAMES)


def names(known: Vocabulary) -> list[str]:
    return [entry.decode("latin-1") for entry in known.entries.to_pylist()]


def written(tokens: Tokens, known: Vocabulary) -> list[list[list[int]]]:
    """Rows and labels of each line, as the recorded numbers are written."""
    bags, labels = known.encode(tokens), known.encode_labels(tokens, unknown="drop")
    return [[row.tolist(), label.tolist()] for row, label in zip(bags, labels, strict=True)]


def renumbered(lines: list[list[list[int]]], known: Vocabulary, case) -> list[list[list[int]]]:
    """Rows and labels with fastText's numbers: equal counts have another order there. Rows of n-grams stay."""
    words, labels = known.word_count, names(known)[known.word_count :]
    word = {k: case["words"].index(name) for k, name in enumerate(names(known)[:words])}
    label = {k: case["labels"].index(name) for k, name in enumerate(labels)}
    return [[[word.get(k, k) for k in rows], [label[k] for k in its]] for rows, its in lines]


def test_of_equal_counts_the_first_in_the_text_comes_first():
    known = Vocabulary.build(tokenise([b"__label__y d c c b a\n", b"__label__x a e __label__z b\n"]))
    assert known.words == ("c", "b", "a", "</s>", "d", "e")
    assert known.labels == ("y", "x", "z")


@golden
def test_entries_and_counts_are_fasttexts_up_to_the_order_of_equal_counts(case):
    known = Vocabulary.build(tokenise([TRAIN]), **case["settings"])
    entries, count = names(known), dict(zip(case["words"] + case["labels"], case["counts"], strict=True))
    assert set(entries[: known.word_count]) == set(case["words"])
    assert set(entries[known.word_count :]) == set(case["labels"])
    assert len(entries) == len(case["words"] + case["labels"])
    assert known.counts.tolist() == case["counts"] == [count[entry] for entry in entries]
    assert known.word_count == len(case["words"])
    assert known.tokens == case["tokens"]


@golden
def test_each_line_has_fasttexts_rows_in_its_order(case):
    tokens = tokenise([TRAIN])
    known = Vocabulary.build(tokens, **case["settings"])
    assert renumbered(written(tokens, known), known, case) == case["train"]
    assert renumbered(written(tokenise([OTHER]), known), known, case) == case["other"]


@golden
def test_rows_do_not_depend_on_how_many_lines_are_encoded_together(case, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK", 3)
    monkeypatch.setattr(vocabulary, "FEW", 0)
    tokens = tokenise([TRAIN])
    known = Vocabulary.build(tokens, **case["settings"])
    assert renumbered(written(tokens, known), known, case) == case["train"]


@golden
def test_a_text_by_itself_has_the_rows_it_has_among_others(case, monkeypatch):
    monkeypatch.setattr(vocabulary, "SHORT", 1 << 12)
    known = Vocabulary.build(tokenise([TRAIN]), **case["settings"])
    for text in [line.decode("utf-8", "surrogateescape") for line in [*TRAIN.split(b"\n"), *OTHER.split(b"\n")]]:
        for again in (text, text, text * 600):
            assert known.encode_line(again).tolist() == known.encode([again]).ids.tolist()


@given(st.text("ab _</s>\0\t\u00e9", max_size=30))
def test_any_text_by_itself_is_cut_as_among_others(text):
    known = Vocabulary.build(tokenise([b"__label__x a b a </s> b\n"]), word_ngrams=3, bucket=50, minn=1, maxn=3)
    assert known.encode_line(text).tolist() == known.encode([text]).ids.tolist()


@golden
def test_a_words_own_rows_are_fasttexts(case):
    known = Vocabulary.build(tokenise([TRAIN]), **case["settings"])
    for word, expected in case["subwords"].items():
        text = word.encode("latin-1").decode("utf-8", "surrogateescape")
        own = known.subwords(text).tolist()
        assert renumbered([[own, []]], known, case) == [[expected, []]]
        assert known.word_id(text) == own[0]


def test_the_recorded_numbers_cover_what_is_odd():
    """What the golden lines must hold for the tests above to mean anything."""
    assert b"\xff\xfe" in TRAIN
    assert b"</s>" in TRAIN
    assert b"\0" in TRAIN
    assert sum(count == 1 for count in CASES[0]["counts"]) > 100, "ties in the counts"
    assert any(case["subwords"] for case in CASES)


def test_a_list_of_texts_is_encoded_text_by_text():
    known = Vocabulary.build(tokenise([b"__label__x a b b\n"]), word_ngrams=2, bucket=10)
    bags = known.encode(["b a", "", "unseen", "a\nb"])
    assert known.words == ("b", "a", "</s>")
    assert [len(bag) for bag in bags] == [3 + 2, 1, 1 + 1, 3 + 2]
    assert bags[0][:3].tolist() == [0, 1, 2]
    assert len(known.encode([])) == 0
    with pytest.raises(TypeError, match=r"encode\(\[text\]\)"):
        known.encode("b a")


def test_texts_with_labels_are_encoded_like_the_lines_they_stand_for():
    texts = Texts(("a b", "c"), (("x",), ("y", "x")))
    lines = tokenise([b"__label__x a b\n__label__y __label__x c\n"])
    known = Vocabulary.build(lines)
    assert Vocabulary.build(texts).state() == known.state()
    assert known.encode(texts).ids.tolist() == known.encode(lines).ids.tolist()
    assert [label.tolist() for label in known.encode_labels(texts)] == [[0], [1, 0]]


def test_a_label_may_hold_blanks():
    texts = Texts(("a", "b"), (("Sci / Tech",), ("World news",)))
    known = Vocabulary.build(texts)
    assert known.labels == ("Sci / Tech", "World news")
    assert [label.tolist() for label in known.encode_labels(texts)] == [[0], [1]]


def test_a_label_never_seen_names_its_line_and_those_that_are_known():
    known = Vocabulary.build(tokenise([b"__label__x a\n__label__y b\n"]))
    test = tokenise([b"__label__x a\n\n__label__z b\n"], source="test.txt")
    with pytest.raises(DataError, match=r"test.txt, line 3: found the label 'z', expected one of the 2 .*\(x, y\)"):
        known.encode_labels(test)
    assert [label.tolist() for label in known.encode_labels(test, unknown="drop")] == [[0], [], []]


def test_only_the_most_frequent_words_are_kept_where_that_is_asked():
    text = tokenise([b"__label__x a a a b b c\n"])
    known = Vocabulary.build(text, max_words=2)
    assert known.words == ("a", "b")
    assert known.labels == ("x",)
    assert known.rows == 2


def test_the_table_has_a_bucket_only_where_ngrams_need_one():
    text = tokenise([b"__label__x a b\n"])
    assert Vocabulary.build(text).rows == 3
    assert Vocabulary.build(text, word_ngrams=2, bucket=100).rows == 103
    assert Vocabulary.build(text, minn=2, maxn=3, bucket=100).rows == 103


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (b"", {}, "found no word, expected at least one"),
        (b"a b\n", {"min_count": 2}, "no word that occurs 2 times.*\n.*smaller min_count"),
    ],
)
def test_a_text_without_a_word_left_says_so(data, settings, message):
    with pytest.raises(DataError, match=message):
        Vocabulary.build(tokenise([data]), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_ngrams": 2, "bucket": 0}, "bucket is 0"),
        ({"maxn": 3, "bucket": 2**31}, "bucket is 2147483648"),
        ({"minn": -1}, "minn is -1"),
        ({"label_prefix": ""}, "every word would be a label"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.build(tokenise([b"a b\n"]), **settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("trec", {"word_ngrams": 2}),
        ("cooking", {"word_ngrams": 3, "min_count": 2, "bucket": 1000}),
        ("clinc150", {"word_ngrams": 2, "min_count": 3, "min_count_label": 20}),
        ("langid75", {"minn": 1, "maxn": 3, "word_ngrams": 2, "bucket": 20000, "min_count": 2}),
    ],
)
def test_the_program_itself_gives_the_same_words_labels_and_rows_up_to_equal_counts(
    name: str, settings: dict[str, int], shared_data: Path, tmp_path: Path
):
    """fastText trained for no epoch: its dictionary, its table of random rows, and the mean of a line's rows.

    A line's mean tells whether the rows are the same ones: random rows of 16 numbers have another mean otherwise.
    """
    fasttext = pytest.importorskip("fasttext", reason="fastText itself is not installed")
    path = tmp_path / "train.txt"
    path.write_bytes(gzip.decompress((shared_data / name / "train.txt.gz").read_bytes())[:1_000_000])
    names = {"word_ngrams": "wordNgrams", "min_count": "minCount", "min_count_label": "minCountLabel"}
    said: dict[str, int] = {names.get(key, key): value for key, value in settings.items()}
    theirs = fasttext.train_supervised(str(path), dim=16, epoch=0, thread=1, verbose=0, **said)
    ours = Vocabulary.build(tokenise([path.read_bytes()]), **settings)  # type: ignore[arg-type]
    words, word_counts = theirs.get_words(include_freq=True, on_unicode_error="replace")
    labels, label_counts = theirs.get_labels(include_freq=True)
    assert sorted(ours.words) == sorted(words)
    assert sorted(f"__label__{label}" for label in ours.labels) == sorted(labels)
    count = dict(zip([*words, *labels], [*word_counts.tolist(), *label_counts.tolist()], strict=True))
    assert ours.counts.tolist() == [count[name] for name in [*ours.words, *(f"__label__{x}" for x in ours.labels)]]

    table = theirs.get_input_matrix().astype(np.float64)
    assert len(table) == ours.rows
    table[: len(words)] = table[[theirs.get_word_id(word) for word in ours.words]]
    test = gzip.decompress((shared_data / name / "test.txt.gz").read_bytes()).decode().splitlines()[:300]
    resolution = np.finfo(np.float32).eps
    for line, bag in zip(test, ours.encode(test), strict=True):
        mean = table[bag].sum(0) / max(len(bag), 1)
        # a float32 sum of n numbers is off by at most n roundings of its largest partial sum, which n/16 bounds
        assert np.abs(theirs.get_sentence_vector(line) - mean).max() <= resolution * max(len(bag), 1) / 16


def test_words_that_were_counted_are_not_looked_up_again_and_are_forgotten_with_their_text(monkeypatch):
    monkeypatch.setattr(vocabulary, "FEW", 0)
    asked, call = [], vocabulary.pc.call_function
    monkeypatch.setattr(vocabulary.pc, "call_function", lambda name, *rest: asked.append(name) or call(name, *rest))
    groups = [tokenise([TRAIN]), tokenise([OTHER])]
    known = Vocabulary.build(groups, min_count=2)
    counted = [written(group, known) for group in groups]
    assert "index_in" not in asked
    assert [written(tokenise([text]), known) for text in (TRAIN, OTHER)] == counted
    assert "index_in" in asked
    del groups
    gc.collect()
    assert not known._found
