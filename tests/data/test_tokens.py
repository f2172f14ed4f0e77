"""Cutting text into tokens, against fastText's reader written out one byte at a time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError, tokens
from jaxbackprop.data.tokens import Tokens, lowercased, tokenise, tokenise_texts

PIECES = [b"a", b"b", b"ab", b" ", b"\n", b"\t", b"\r", b"\0", b"\x0b", b"\x0c", b"</s>", b"\xff", b"\xc2\xa0"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)


def read_slowly(data: bytes) -> list[list[bytes]]:
    """The lines fastText's readWord and getLine make of a file."""
    lines, line, word, i = [], [], b"", 0
    while i <= len(data):
        byte = data[i : i + 1]
        if byte and byte not in b" \n\r\t\v\f\0":
            word += byte
        elif word:
            line.append(word)
            word = b""
            if line[-1] == b"</s>":
                lines.append(line)
                line = []
            continue  # the separator is looked at again
        elif byte == b"\n":
            lines.append([*line, b"</s>"])
            line = []
        i += 1
    return [*lines, line] if line else lines


def as_lists(read: Tokens) -> list[list[bytes]]:
    words = read.words.to_pylist()
    return [[words[code] for code in read.codes[a:b]] for a, b in zip(read.offsets[:-1], read.offsets[1:], strict=True)]


def in_blocks(data: bytes, ends: list[int]) -> list[bytes]:
    """The text cut after some of its newlines."""
    newlines = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    cuts = sorted({newlines[k % len(newlines)] for k in ends}) if newlines else []
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(TEXT, st.lists(st.integers(0, 20), max_size=4), st.booleans())
def test_lines_are_cut_as_fasttext_cuts_them_however_the_file_comes(data, ends, one_group_a_block):
    with pytest.MonkeyPatch.context() as patch:
        if one_group_a_block:
            patch.setattr(tokens, "GROUP", 1)
        read = tokenise(in_blocks(data, ends))
    expected = read_slowly(data)
    assert as_lists(read) == expected
    in_order = list(dict.fromkeys(word for line in expected for word in line))
    assert read.words.to_pylist() == in_order, "words are numbered in the order in which they first occur"
    everything = [word for line in expected for word in line]
    assert read.counts().tolist() == [everything.count(word) for word in in_order]


@given(TEXT)
def test_a_line_knows_its_number_in_the_file(data):
    read = tokenise([data])
    number, expected = 1, []
    for line, ends in zip(data.split(b"\n"), [b"\n"] * data.count(b"\n") + [b""], strict=True):
        expected += [number] * len(read_slowly(line + ends))
        number += 1
    assert [read.line(k) for k in range(len(read))] == expected


@given(st.lists(TEXT.map(lambda data: data.decode("utf-8", "surrogateescape")), max_size=5))
def test_a_list_of_texts_has_one_line_a_text_which_ends_at_the_first_end_mark(texts):
    expected = []
    for text in texts:
        line = text.encode("utf-8", "surrogateescape").replace(b"\n", b" ")
        expected.append(read_slowly(line + b"\n")[0])
    assert as_lists(tokenise_texts(texts)) == expected


def test_a_long_list_of_texts_is_cut_into_blocks_without_losing_any(monkeypatch):
    monkeypatch.setattr(tokens, "BLOCK", 10)
    texts = [f"text number {k}" for k in range(50)]
    assert as_lists(tokenise_texts(texts)) == [[*text.encode().split(), b"</s>"] for text in texts]


def test_lines_of_the_source_can_be_given():
    read = tokenise_texts(["a", "b"], source="news.csv", lines=np.array([2, 5]))
    assert [read.line(k) for k in range(2)] == [2, 5]


def test_a_text_that_cannot_be_utf8_names_which_one():
    with pytest.raises(DataError, match=r"half a surrogate pair.*in text 1"):
        tokenise_texts(["fine", "not \ud800 fine"])


def test_words_are_cut_at_punctuation_and_lower_cased_while_labels_and_ends_stay():
    """What would become a label is dropped."""
    read = tokenise([b"__label__A-b Hello, WORLD!\n\xc3\x89t\xc3\xa9(x_1) ... </s> __LABEL__x ok\n"])
    cut = lowercased(read, "__label__")
    lines = [[cut.words[int(code)].as_py().decode() for code in cut.codes[a:b]] for a, b in pairwise(cut.offsets)]
    assert lines == [["__label__A-b", "hello", "world", "</s>"], ["été", "x_1", "</s>"], ["ok", "</s>"]]
    assert len(set(cut.words.to_pylist())) == len(cut.words)
