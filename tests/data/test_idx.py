"""The IDX format: what it means, and that no damage does more than raise our error."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError
from jaxbackprop.data.idx import read_idx

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}i", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(TYPES[code]).tobytes()


@pytest.fixture(scope="session")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("idx") / "file"


def read(path: Path, data: bytes) -> np.ndarray:
    path.write_bytes(data)
    return read_idx(path)


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_type_of_the_format_is_read(code, compress, scratch):
    array = np.arange(24).reshape(2, 3, 4)
    found = read(scratch, compress(idx(array, code)))
    assert found.dtype == np.dtype(TYPES[code]).newbyteorder("=")
    np.testing.assert_array_equal(found, array)


def test_the_original_mnist_files_are_read(shared_data):
    images, labels = (
        read_idx(shared_data / "mnist" / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
    )
    assert images.shape == (10_000, 28, 28)
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9], (
        "the first ten of the test set, as everyone knows them"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found an empty file"),
        (b"\x00\x00\x07\x01", "the bytes 00 00 07 01 at the start"),
        (b"\x89PNG\r\n", "the bytes 89 50 4e 47 at the start"),
        (b"\0\0\x08", "the bytes 00 00 08 at the start"),
        (b"\0\0\x08\x00", "the bytes 00 00 08 00 at the start"),
        (b"\0\0\x08\x03\0\0\0\x01", "the end of the file, expected 3 sizes"),
        (struct.pack(">BBBBi", 0, 0, 8, 1, -5), "sizes -5, expected 1 sizes, none negative"),
        (idx(np.zeros((2, 3)))[:-1], "found 17 bytes, expected 18: a header of 12 and 2 x 3 values"),
        (idx(np.zeros((2, 3))) + b"\0", "more bytes after the last value"),
        (struct.pack(">BBBB3i", 0, 0, 14, 3, 0, *[2**31 - 1] * 2), "sizes of which no array can be made"),
        (struct.pack(">BBBB100i", 0, 0, 8, 100, *[1] * 100) + b"x", "sizes of which no array can be made"),
    ],
)
def test_what_is_wrong_is_said(data, message, scratch):
    with pytest.raises(DataError, match=message):
        read(scratch, data)


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing_of_it(scratch):
    """Sizes that stand for 2^93 bytes."""
    data = struct.pack(">BBBB3i", 0, 0, 8, 3, *[2**31 - 1] * 3) + bytes(1000)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="found 1016 bytes"):
            read(scratch, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


ARRAYS = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda shape: np.arange(np.prod(shape)).reshape(shape))


@given(ARRAYS, st.sampled_from(sorted(TYPES)), st.data())
def test_a_truncated_file_is_our_error(scratch, array, code, data):
    whole = idx(array, code)
    with pytest.raises(DataError):
        read(scratch, whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(ARRAYS, st.sampled_from(sorted(TYPES)), st.booleans(), st.data())
def test_flipped_bits_are_our_error_or_an_array_of_the_files_size(scratch, array, code, compress, data):
    whole = bytearray(gzip.compress(idx(array, code)) if compress else idx(array, code))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        whole[bit // 8] ^= 1 << bit % 8
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        found = read(scratch, bytes(whole))
    except DataError:
        return
    assert found.nbytes <= len(idx(array, code))
    if compress:  # the checksum stands for the values
        np.testing.assert_array_equal(found, array)


@given(st.binary(max_size=64))
def test_any_bytes_are_our_error_or_an_array(scratch, data):
    try:
        found = read(scratch, b"\0\0" + data)
    except DataError:
        return
    assert found.nbytes <= len(data)
