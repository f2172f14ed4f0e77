"""Bytes from files, plain and compressed, whole and damaged."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError
from jaxbackprop.data.files import byte_of_line, compression, opened, read_at_most, read_blocks, suffix

TEXT = b"first line\nsecond line\n" * 20_000


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


WRITTEN = {"plain": lambda data: data, "gzip": gzip.compress, "zstd": zstd}


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_file_is_read_whatever_it_is_compressed_with_and_called(kind, tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(WRITTEN[kind](TEXT))
    assert compression(path) == (None if kind == "plain" else kind)
    with opened(path) as file:
        assert read_at_most(file, 1 << 30) == TEXT
    blocks = list(read_blocks(path, 1000))
    assert b"".join(blocks) == TEXT
    assert len(blocks) > 100
    assert all(block.endswith(b"\n") for block in blocks)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_file_cut_short_is_an_error_that_names_it(kind, tmp_path):
    path = tmp_path / "file.txt"
    whole = WRITTEN[kind](TEXT)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"file.txt: found broken {kind} data"):
        list(read_blocks(path))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_compressed_file_grows_no_further_than_may_be(kind, tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_bytes(WRITTEN[kind](TEXT))
    for most in (len(TEXT), len(TEXT) - 1):
        monkeypatch.setenv("JAXBACKPROP_MOST_BYTES", str(most))
        for read in (lambda: list(read_blocks(path)), lambda: whole(path)):
            if most == len(TEXT):
                read()
            else:
                with pytest.raises(DataError, match=f"file.txt: found a compressed file .* expected {most:,} bytes"):
                    read()
    path.write_bytes(TEXT)
    assert whole(path) == TEXT, "a plain file has no limit"


def whole(path):
    with opened(path) as file:
        return file.read()


def test_a_damaged_gzip_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "file.gz"
    whole = bytearray(gzip.compress(TEXT))
    whole[-6] ^= 1  # in the checksum
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"file.gz: found broken gzip data \(CRC check failed"):
        list(read_blocks(path))


@given(st.lists(st.sampled_from([b"a", b"bb", b"\n"]), max_size=40).map(b"".join), st.integers(1, 10))
def test_blocks_end_where_lines_do_and_join_to_the_file(tmp_path_factory, data, size):
    path = tmp_path_factory.mktemp("blocks") / "file"
    path.write_bytes(data)
    blocks = list(read_blocks(path, size))
    assert b"".join(blocks) == data
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert all(blocks)


def test_no_more_is_read_than_asked(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with opened(path) as file:
        assert read_at_most(file, 100_001) == TEXT[:100_001]


def test_a_folder_and_a_missing_file_are_errors(tmp_path):
    with pytest.raises(DataError, match="found a folder, expected a file"), opened(tmp_path):
        pass
    with pytest.raises(DataError, match="no such file"), opened(tmp_path / "none"):
        pass


@pytest.mark.parametrize(
    ("name", "ending"), [("a.txt", ".txt"), ("a.txt.gz", ".txt"), ("a.CSV.zst", ".csv"), ("a.gz", ""), ("a", "")]
)
def test_the_ending_of_a_name_does_not_count_the_compression(name, ending):
    assert suffix(Path(name)) == ending


@given(data=st.lists(st.sampled_from([b"a", b"\n", b"bc\n"]), max_size=12).map(b"".join), size=st.integers(1, 9))
def test_the_byte_at_which_a_line_begins_is_found(tmp_path_factory, data, size):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(data)
    starts = [0, *(k + 1 for k, byte in enumerate(data) if byte == ord("\n"))]
    assert [byte_of_line(path, line + 1, size) for line in range(len(starts))] == starts
