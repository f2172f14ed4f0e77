"""Numbers and arrays from a binary file; its size is checked before memory is allocated."""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from ...data import DataError
from ...data.errors import missing
from ...data.files import compression

BLOCK = 1 << 20


class BinaryFile:
    """A file that is read from its start to its end; whatever is wrong with it is a DataError that says where."""

    def __init__(self, path: Path, file: IO[bytes]):
        self.path, self.file, self.size = path, file, os.fstat(file.fileno()).st_size

    @property
    def at(self) -> int:
        """The byte that is read next."""
        return self.file.tell()

    @property
    def left(self) -> int:
        """How many bytes have not been read."""
        return self.size - self.at

    def number(self, kind: str, what: str) -> Any:
        """One little-endian number, `kind` as struct calls it."""
        size = struct.calcsize("<" + kind)
        self.need(size, what)
        return struct.unpack("<" + kind, self.file.read(size))[0]

    def array(self, kind: str, shape: Sequence[int], what: str) -> np.ndarray:
        """An array read into its place: no second copy is made of it."""
        size, start = prod(shape) * np.dtype(kind).itemsize, self.at
        self.need(size, what)
        array = np.fromfile(self.file, kind, prod(shape))
        if array.nbytes != size:
            self.refuse(f"the end of the file within {what}", expected=f"{size:,} bytes", at=start)
        return array.reshape(shape)

    def some(self) -> bytes:
        """The next bytes, a block of them, or fewer where the file ends."""
        return self.file.read(min(BLOCK, self.left))

    def seek(self, at: int) -> None:
        """Go on reading at this byte."""
        self.file.seek(at)

    def need(self, size: int, what: str) -> None:
        """A DataError where fewer bytes than `size` are left."""
        if size > self.left:
            self.refuse(f"{self.left:,} bytes before the end of the file", expected=f"{size:,} of {what}")

    def refuse(self, found: str, *, expected: str, at: int | None = None, advice: str = "") -> NoReturn:
        """Raise the DataError; the place is the next byte where none is given."""
        advice = advice or "Is the file whole? Fetch or write it again."
        raise DataError(found, expected=expected, advice=advice, file=self.path, byte=self.at if at is None else at)


@contextmanager
def opened_binary(path: Path) -> Iterator[BinaryFile]:
    """The file; a DataError where there is none, or where it is compressed."""
    if kind := compression(path):
        raise DataError(f"{kind} data", expected="a plain file", advice="Unpack it first.", file=path, byte=0)
    with open(path, "rb", buffering=0) as file:
        yield BinaryFile(path, file)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which gets its name once all is written: a reader finds the old one or the new one."""
    path = path.resolve()
    if not path.parent.is_dir():
        raise missing(path.parent)
    unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with open(unfinished, "xb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
