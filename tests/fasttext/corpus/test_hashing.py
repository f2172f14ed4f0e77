"""Hashes and n-grams, against one-at-a-time arithmetic in Python's own integers."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.fasttext.corpus import hashing
from jaxbackprop.fasttext.corpus.hashing import character_ngrams, extend_one, fnv1a, modulo, word_ngrams


def slow_hash(word: bytes) -> int:
    h = 2166136261
    for byte in word:
        signed = byte - 256 if byte > 127 else byte
        h = ((h ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return h


def slow_character_ngrams(word: bytes, minn: int, maxn: int, bucket: int) -> list[int]:
    """The program's own loop, one character after another."""
    text, rows = b"<" + word + b">", []
    starts = [i for i, byte in enumerate(text) if byte & 0xC0 != 0x80]
    for k in range(len(starts)):
        for n in range(1, maxn + 1):
            if k + n > len(starts):
                break
            end = starts[k + n] if k + n < len(starts) else len(text)
            if n >= minn and not (n == 1 and (k == 0 or end == len(text))):
                rows.append(slow_hash(text[starts[k] : end]) % bucket)
    return rows


def words(*items: bytes) -> pa.BinaryArray:
    return pa.array(items, pa.binary())


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"b", 0xE70C2DE5), (b"foobar", 0xBF9CF968)],
)
def test_ascii_words_have_their_published_fnv1a_hash(text, expected):
    """The numbers are Fowler, Noll and Vo's own test vectors (Noll's fnv-1a 32 bit table)."""
    assert fnv1a(words(text)).tolist() == [expected]


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_a_byte_above_127_is_sign_extended(items):
    assert fnv1a(words(*items)).tolist() == [slow_hash(item) for item in items]


@pytest.mark.parametrize("length", [2049, 4000])
@pytest.mark.parametrize("before", [b"", b"some words"])
def test_a_long_word_has_the_hash_of_its_bytes_one_after_another(length, before):
    word = before + np.random.default_rng(length).integers(0, 256, length).astype(np.uint8).tobytes()
    assert fnv1a(words(b"short", word)).tolist() == [slow_hash(b"short"), slow_hash(word)]
    assert extend_one(slow_hash(before), word[len(before) :]) == slow_hash(word)


def test_a_slice_of_an_array_is_hashed_as_what_it_holds():
    array = words(b"zero", b"one", b"two", b"three")
    assert fnv1a(array[1:3]).tolist() == [slow_hash(b"one"), slow_hash(b"two")]
    rows, counts = character_ngrams(array[2:], 2, 3, 1000)
    assert rows.tolist() == slow_character_ngrams(b"two", 2, 3, 1000) + slow_character_ngrams(b"three", 2, 3, 1000)
    assert counts.sum() == len(rows)


@given(
    st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=6), max_size=6),
    st.integers(2, 5),
    st.sampled_from([1, 7, 2_000_000, 2**31 - 1]),
)
def test_word_ngrams_are_the_programs_sixty_four_bit_sums(lines, n, bucket):
    signed = [[h - 2**32 if h >= 2**31 else h for h in line] for line in lines]
    expected, per_word = [], []
    for line in signed:
        for i, h in enumerate(line):
            ahead = line[i + 1 : i + n]
            for other in ahead:
                h = (h * 116049371 + other) % 2**64
                expected.append(h % bucket)
            per_word.append(len(ahead))
    hashes = np.array([h for line in lines for h in line], np.uint32)
    starts = np.array([k == 0 for line in lines for k in range(len(line))], bool)
    rows, counts = word_ngrams(hashes, starts, n, bucket)
    assert rows.tolist() == expected
    assert counts.tolist() == per_word


ODD = st.lists(st.sampled_from([b"a", b"\x80", b"\xbf", b"\xc3\xa9", b"\xff", b"\xe6", "語".encode()]), max_size=8)


@pytest.mark.parametrize("cells", [hashing.CELLS, 16])
@given(st.lists(ODD.map(b"".join), max_size=6), st.integers(0, 4), st.integers(1, 5))
def test_character_ngrams_follow_bytes_that_are_no_utf8_too(cells, items, minn, maxn):
    bucket = 1009
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "CELLS", cells)
        rows, counts = character_ngrams(words(*items), minn, maxn, bucket)
    expected = [slow_character_ngrams(item, minn, maxn, bucket) for item in items]
    assert rows.tolist() == [row for item in expected for row in item]
    assert counts.tolist() == [len(item) for item in expected]


@pytest.mark.parametrize("cells", [hashing.CELLS, 16])
@given(st.lists(st.tuples(ODD.map(b"".join), st.integers(-1, 3), st.booleans()), max_size=6), st.integers(0, 3))
def test_a_words_own_number_stands_before_its_ngrams_and_some_words_are_not_cut(cells, items, minn):
    of = [item for item, _, _ in items]
    own, cut = np.array([k for _, k, _ in items], np.int32), np.array([is_cut for _, _, is_cut in items], bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "CELLS", cells)
        rows, counts = character_ngrams(words(*of), minn, 4, 1009, own=own, cut=cut, base=50)
    expected = [
        [k] * (k >= 0) + [50 + row for row in slow_character_ngrams(item, minn, 4, 1009)] * is_cut
        for item, k, is_cut in items
    ]
    assert rows.tolist() == [row for item in expected for row in item]
    assert counts.tolist() == [len(item) for item in expected]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 2**31 - 1))
def test_modulo_is_the_remainder(numbers, bucket):
    assert modulo(np.array(numbers, np.uint64), bucket).tolist() == [number % bucket for number in numbers]
