"""A corpus against the vocabulary asked for everything at once: in chunks, from disk, from a cache, from a pipe."""

import gzip
import io
import random
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from jaxbackprop.data import DataError, Texts, read_tokens, tokens
from jaxbackprop.fasttext.corpus import cache, corpus, reading
from jaxbackprop.fasttext.corpus import word_rows as rows
from jaxbackprop.fasttext.corpus.corpus import Corpus
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.settings import Settings

SETTINGS = Settings(word_ngrams=2, bucket=1000, minn=2, maxn=3)
LINES = [f"__label__{'ab'[k % 2]} word{k % 7} w\xffrd{k} __label__{k % 3} the end" for k in range(200)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(reading, "read_blocks", partial(reading.read_blocks, size=300))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "train.txt"
    file.write_bytes("\n".join(LINES).encode("latin-1") + b"\n\nunfinished __label__a")
    return file


def joined(chunks) -> list[tuple[list[int], list[int]]]:
    return [(list(r), list(n)) for rows, labels in chunks for r, n in zip(rows, labels, strict=True)]


def at_once(path: Path, settings: Settings) -> list[tuple[list[int], list[int]]]:
    """What the vocabulary answers for the whole file; texts without label (the blank line) left out."""
    read = read_tokens(path)
    names = ("min_count", "min_count_label", "word_ngrams", "bucket", "minn", "maxn")
    known = Vocabulary.build(read, **{name: getattr(settings, name) for name in names})
    pairs = zip(known.encode(read), known.encode_labels(read, unknown="drop"), strict=True)
    return [(list(rows), list(labels)) for rows, labels in pairs if len(labels)]


@pytest.mark.parametrize("settings", [SETTINGS, Settings(min_count=30), Settings(word_ngrams=3, min_count_label=67)])
def test_a_corpus_read_in_groups_is_what_the_vocabulary_makes_of_the_whole_file(path, settings, monkeypatch):
    expected = at_once(path, settings)
    assert len(expected) > 100
    for group in (1, 1000, 1 << 23):
        monkeypatch.setattr(tokens, "GROUP", group)
        read = Corpus.read(path, settings)
        assert read.texts == len(expected)
        assert read.tokens == len(read_tokens(path).codes)
        assert joined(read.chunks()) == expected
        assert joined(read.chunks()) == expected, "a second pass is the first one again"


def test_what_memory_cannot_hold_is_read_back_from_disk(path, monkeypatch):
    monkeypatch.setattr(tokens, "GROUP", 1000)
    monkeypatch.setattr(corpus, "MEMORY", 2000)
    read = Corpus.read(path, SETTINGS)
    chunks = list(read.chunks())
    assert any(isinstance(rows.ids.base, np.memmap) or isinstance(rows.ids, np.memmap) for rows, _ in chunks)
    assert joined(chunks) == at_once(path, SETTINGS) == joined(read.chunks())


def test_a_cached_corpus_is_the_same_and_is_not_read_again(path, tmp_path, monkeypatch):
    folder = tmp_path / "encoded"
    expected = at_once(path, SETTINGS)
    first = Corpus.read(path, SETTINGS, cache=folder)
    assert not list(folder.glob("[0-9a-f]*")), "nothing has its name before it is whole"
    assert joined(first.chunks()) == expected
    monkeypatch.setattr(corpus, "text_groups", None)  # whoever reads now fails
    again = Corpus.read(path, SETTINGS, cache=folder)
    assert joined(again.chunks()) == expected
    assert again.vocabulary.state() == first.vocabulary.state()
    assert (again.texts, again.tokens) == (first.texts, first.tokens)


def test_a_file_in_the_caches_place_is_refused(path):
    with pytest.raises(ValueError, match="is a file: name a folder"):
        Corpus.read(path, SETTINGS, cache=path)


def test_the_cache_tells_apart_whatever_changes_the_numbers(path):
    key = cache.content_key(path, SETTINGS)
    changed = {"min_count": 2, "max_words": 3, "word_ngrams": 3, "bucket": 7, "minn": 1, "maxn": 5, "label_prefix": "x"}
    keys = [cache.content_key(path, replace(SETTINGS, **{name: value})) for name, value in changed.items()]
    path.write_bytes(path.read_bytes() + b"x")
    keys.append(cache.content_key(path, SETTINGS))
    assert len({key, *keys}) == len(changed) + 2
    assert cache.content_key(path, replace(SETTINGS, lr=9.0, dim=3, epoch=1)) == keys[-1]


def test_a_run_cut_off_leaves_nothing_that_looks_whole(path, tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "GROUP", 1000)
    folder = tmp_path / "encoded"
    passes = Corpus.read(path, SETTINGS, cache=folder).chunks()
    next(passes)
    assert len(list(folder.iterdir())) == 1
    del passes
    assert joined(Corpus.read(path, SETTINGS, cache=folder).chunks()) == at_once(path, SETTINGS)


def test_a_corpus_comes_from_a_pipe_a_compressed_file_a_table_and_texts_alike(tmp_path, monkeypatch):
    plain = tmp_path / "t.txt"
    plain.write_text("__label__a one two\n__label__b three\n")
    expected = joined(Corpus.read(plain, SETTINGS).chunks())
    zipped = tmp_path / "t.txt.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "t.csv"
    table.write_text("label,text\na,one two\nb,three\n")

    class Pipe:
        buffer = io.BytesIO(plain.read_bytes())

    monkeypatch.setattr(sys, "stdin", Pipe())
    for source in (zipped, table, "-", Texts(("one two", "three"), (("a",), ("b",)))):
        assert joined(Corpus.read(source, SETTINGS).chunks()) == expected


def test_another_vocabulary_numbers_a_test_set(path, tmp_path):
    known = Corpus.read(path, SETTINGS).vocabulary
    other = tmp_path / "test.txt"
    other.write_text("__label__b word1 unseen\n")
    [(rows, labels)] = joined(Corpus.read(other, SETTINGS, vocabulary=known).chunks())
    assert labels == [known.labels.index("b")]
    assert rows[0] == known.word_id("word1")


@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
def test_a_line_without_label_is_an_error_with_its_line_and_byte(tmp_path, ending):
    data = b"__label__a \xc3\xa9t\xc3\xa9\n\n__label__b x\nno label here\n"
    file = tmp_path / f"train.{ending}"
    file.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    with pytest.raises(DataError, match=r"no label here.*beginning with __label__") as caught:
        Corpus.read(file, SETTINGS)
    assert (caught.value.file, caught.value.line) == (str(file), 4)
    assert data[caught.value.byte :].startswith(b"no label here")
    with pytest.warns(UserWarning, match=r"train\.txt.*: 1 line without label skipped, the first is line 4"):
        assert Corpus.read(file, SETTINGS, unlabelled="skip").texts == 2


def test_what_follows_a_written_end_of_line_needs_no_label(tmp_path):
    """As in fastText, whose lines end there: the rest is one without label. A label of its own makes it a text."""
    file = tmp_path / "train.txt"
    file.write_text("__label__a x </s> y z\n__label__b y </s> __label__a z </s>\n")
    read = Corpus.read(file, Settings())
    ids = {word: read.vocabulary.word_id(word) for word in ("x", "y", "z", "</s>")}
    assert [rows for rows, _ in joined(read.chunks())] == [[ids[a], ids["</s>"]] for a in "xyz"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    file = tmp_path / "train.txt"
    file.write_bytes(b"\xef\xbb\xbf__label__a x\nno label\n")
    with pytest.raises(DataError, match="line 2, byte 16"):
        Corpus.read(file, Settings())
    file.write_bytes(b"\xef\xbb\xbf__label__a x\n")
    assert Corpus.read(file, Settings()).vocabulary.labels == ("a",)


@pytest.mark.parametrize("source", [None, ["a text"], np.array(["a text"])])
def test_what_is_no_file_is_refused(source):
    with pytest.raises(TypeError, match="the labelled texts are a"):
        Corpus.read(source, Settings())


@pytest.mark.parametrize("cached", [False, True])
def test_a_text_sorted_by_label_is_shuffled_whole_or_warned_of(tmp_path, cached):
    """One that is in no order is left as it is."""
    file, cache = tmp_path / "train.txt", tmp_path / "cache" if cached else None
    lines = [f"__label__{'ab'[k // 50]} word{k}" for k in range(100)]
    file.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match=r"sorted by label.*give shuffle=True"):
        in_order = joined(Corpus.read(file, Settings(), cache=cache).chunks())
    with pytest.warns(UserWarning, match="sorted by label"):  # found in the cache, where there is one
        Corpus.read(file, Settings(), cache=cache)
    one, two, other = (
        joined(Corpus.read(file, Settings(shuffle=True, seed=s), cache=cache).chunks()) for s in (0, 0, 1)
    )
    assert one == two != other
    assert sorted(one) == sorted(in_order) == sorted(other)
    labels = [label for _, label in one]
    assert sum(a != b for a, b in pairwise(labels)) > 30
    random.Random(0).shuffle(lines)
    file.write_text("\n".join(lines) + "\n")
    plain, shuffled = (Corpus.read(file, Settings(shuffle=s), cache=cache) for s in (False, True))
    assert joined(plain.chunks()) == joined(shuffled.chunks())


def test_a_file_without_a_label_or_without_a_frequent_one_is_an_error(tmp_path):
    file = tmp_path / "train.txt"
    file.write_text("__label__a x\n")
    with pytest.raises(DataError, match=r"(?s)occurs 5 times.*smaller min_count_label"):
        Corpus.read(file, Settings(min_count_label=5, label_prefix="__label__"))
    file.write_text("just words\n")
    with pytest.raises(DataError, match="no line with a label"):
        Corpus.read(file, SETTINGS, unlabelled="skip")
    file.write_text("")
    with pytest.raises(DataError, match="no word"):
        Corpus.read(file, SETTINGS)


def test_the_first_group_comes_in_pieces_that_make_up_the_whole(path, monkeypatch):
    expected = at_once(path, SETTINGS)
    monkeypatch.setattr(rows, "BLOCK", 100)
    read = Corpus.read(path, SETTINGS)
    assert len(list(read.chunks())) > 5
    assert joined(read.chunks()) == expected
