"""The dictionary in fastText's files: what cannot be is named."""

import pytest
from damaged_files import ENTRIES, GOLDEN, SIZES, damaged, patched


@pytest.mark.parametrize(
    ("at", "kind", "values", "found"),
    [
        (56, "d", [float("nan")], "t nan"),
        (SIZES, "3i", [26, 19, 6], "26 entries, 19 words"),
        (SIZES, "3i", [5, 11, -6], "5 entries, 11 words, -6 labels"),
        (SIZES, "3i", [2**31 - 1, 2**31 - 7, 6], "bytes before the end"),
        (SIZES, "3i", [25, 18, 7], "6 labels among the entries"),
        (SIZES, "3i", [25, 25, 0], "no label"),
        (SIZES + 12, "q", [-1], "-1 tokens"),
        (SIZES + 20, "q", [-2], "-2 n-grams left"),
        (SIZES + 20, "q", [0], "a pruned table that is not quantized"),
        (SIZES + 20, "q", [2**62], "bytes before the end"),
        (ENTRIES, "b", [0], "an empty word"),
        (ENTRIES + 5, "q", [-3], "a count of -3 in entry 1 ('</s>')"),
        (ENTRIES + 5, "q", [10**16], "a count of 10000000000000000"),
        (ENTRIES + 13, "b", [2], "type 2 in entry 1 ('</s>')"),
        (ENTRIES + 13, "b", [1], "a word after a label in entry 2 ('the')"),
    ],
)
def test_a_dictionary_that_cannot_be_is_named(at, kind, values, found, tmp_path):
    assert found in damaged(tmp_path, patched("softmax.bin", at, kind, *values)).found


def test_a_word_that_comes_twice_is_named(tmp_path):
    data = (
        (GOLDEN / "softmax.bin")
        .read_bytes()
        .replace(b"\x01w4\x00", b"\x01w5\x00")
        .replace(b"\x00w4\x00", b"\x00w5\x00")
    )
    assert "('w5') twice" in damaged(tmp_path, data).found
