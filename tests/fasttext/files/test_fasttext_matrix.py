"""The tables in fastText's files, plain, pruned and quantized: what cannot be is named."""

import struct

import pytest
from damaged_files import GOLDEN, damaged, patched

from jaxbackprop.fasttext.files.fasttext_model import read_model


@pytest.mark.parametrize("sizes", [(-1, 4), (2**62, 4), (2**33, 2**33), (19, 0), (25, 4), (19, -4)])
def test_a_table_whose_size_is_not_the_models_is_named(sizes, tmp_path):
    data = (GOLDEN / "softmax.bin").read_bytes()
    at = data.index(struct.pack("<qq", 19, 4))
    error = damaged(tmp_path, patched("softmax.bin", at, "qq", *sizes))
    assert (error.byte, error.expected) == (at, "19 rows of 4")


def test_a_flag_that_is_neither_0_nor_1_is_named(tmp_path):
    at = (GOLDEN / "softmax.bin").read_bytes().index(struct.pack("<qq", 19, 4)) - 1
    error = damaged(tmp_path, patched("softmax.bin", at, "B", 7))
    assert (error.byte, error.found) == (at, "7 in the byte that says whether the input table is quantized")


@pytest.mark.parametrize(
    ("pair", "found"), [((500, 0), "out of range"), ((-1, 0), "out of range"), ((None, 999), "share a row")]
)
def test_pruned_ngrams_out_of_range_are_named(pair, found, tmp_path):
    model = read_model(GOLDEN / "cutoff.ftz")
    assert model.kept is not None
    data = (GOLDEN / "cutoff.ftz").read_bytes()
    at = data.index(model.kept.astype("<i4").tobytes())
    old, new = (int(model.kept[0, 0]) if pair[0] is None else pair[0]), pair[1]
    assert found in damaged(tmp_path, patched("cutoff.ftz", at, "2i", old, new)).found
    twice = patched("cutoff.ftz", at, "i", int(model.kept[1, 0]))
    assert "twice" in damaged(tmp_path, twice).found


@pytest.mark.parametrize("sizes", [(3, 2, 0, 1), (3, 2, 2, 2), (4, 2, 2, 2), (3, 2, -1, 4), (3, 2**30, 2, 1)])
def test_centroids_that_do_not_fit_the_table_are_named(sizes, tmp_path):
    at = (GOLDEN / "cutoff.ftz").read_bytes().index(struct.pack("<4i", 3, 2, 2, 1))
    assert damaged(tmp_path, patched("cutoff.ftz", at, "4i", *sizes)).byte == at
