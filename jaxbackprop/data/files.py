"""Bytes from files: plain, gzip and zstandard, whole or in blocks, with an error of our own for what is broken.

What the bytes mean is not known here.
"""

import codecs
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from .errors import DataError, missing

BLOCK = 1 << 19  # half a mebibyte: a block and what is computed from it stay in the second-level cache
READ = 1 << 16
LIMIT_VARIABLE = "JAXBACKPROP_MOST_BYTES"
MOST_BYTES, MOST_GROWTH = 1 << 30, 100
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def suffix(path: Path) -> str:
    """The ending that says what a file holds, in lower case: ".txt" for "train.txt.gz"."""
    name = path.with_suffix("") if path.suffix.lower() in {".gz", ".zst"} else path
    return name.suffix.lower()


def compression(path: Path) -> str | None:
    """How the file is compressed, by its first bytes (its name may lie): "gzip", "zstd" or None."""
    if not path.is_file():
        raise missing(path) if not path.exists() else DataError("a folder", expected="a file", file=path)
    with open(path, "rb") as file:
        start = file.read(4)
    return next((kind for magic, kind in COMPRESSED.items() if start.startswith(magic)), None)


def most_bytes(path: Path) -> int:
    """The bytes that a compressed file may grow to: $JAXBACKPROP_MOST_BYTES, or 1 GiB and 100 times its own size."""
    given = os.environ.get(LIMIT_VARIABLE)
    if given is None:
        return MOST_BYTES + MOST_GROWTH * path.stat().st_size
    if not given.isdecimal():
        raise ValueError(f"{LIMIT_VARIABLE} is {given!r}; it is a number of bytes.")
    return int(given)


def too_large(path: Path, most: int) -> DataError:
    """The error for a compressed file that grows beyond its limit."""
    limit, advice = f"{most:,} bytes at most", f"If it is right, set {LIMIT_VARIABLE} to more."
    return DataError("a compressed file that grows further", expected=limit, file=path, advice=advice)


class _Bounded:
    """A stream of which no more than `most` bytes are read."""

    def __init__(self, file: Any, path: Path):
        self._file, self._path, self._most = file, path, most_bytes(path)
        self._left = self._most

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all that is left where it is negative; DataError where there is more than may be."""
        data = self._file.read(self._left + 1 if size < 0 else size)
        self._left -= len(data)
        if self._left < 0:
            raise too_large(self._path, self._most)
        return data


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes after decompression; whatever is wrong with the compression becomes a DataError."""
    kind = compression(path)
    try:
        if kind == "gzip":
            with gzip.open(path, "rb") as file:
                yield cast("IO[bytes]", _Bounded(file, path))
        elif kind == "zstd":
            with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as file:
                yield cast("IO[bytes]", _Bounded(file, path))
        else:
            with open(path, "rb") as file:
                yield file
    except (EOFError, OSError, zlib.error, pa.ArrowException) as error:
        if kind is None:
            raise
        raise DataError(
            f"broken {kind} data ({error})", expected=f"a whole {kind} file", file=path, advice="Fetch the file again."
        ) from error


def read_at_most(file: IO[bytes], limit: int) -> bytes:
    """Up to `limit` bytes; what is allocated grows with what arrives, never with `limit`."""
    parts, left = [], limit
    while left > 0 and (part := file.read(min(left, READ))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_blocks(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """The file in blocks of about `size` bytes, each ending where a line ends (the last one where the file does)."""
    with opened(path) as file:
        yield from line_blocks(file, size)


def line_blocks(file: IO[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """What is left of an open file, such as standard input, in blocks as `read_blocks` makes them."""
    rest: list[bytes] = []  # the beginning of a line that has not ended yet
    while block := file.read(size):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join((*rest, block[:cut]))
            rest = []
        rest.append(block[cut:])
    if last := b"".join(rest):
        yield last


def without_byte_order_mark(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a text; a byte order mark at its start is no text."""
    for number, block in enumerate(blocks):
        yield block if number else block.removeprefix(codecs.BOM_UTF8)


def byte_of_line(path: Path, line: int, size: int = BLOCK) -> int:
    """The place in a (decompressed) file at which a line begins, both counted as a person does: bytes from 0."""
    before, newlines = 0, 0
    for block in read_blocks(path, size):
        here = block.count(b"\n")
        if newlines + here >= line - 1:
            at = 0
            for _ in range(line - 1 - newlines):
                at = block.index(b"\n", at) + 1
            return before + at
        before, newlines = before + len(block), newlines + here
    return before
