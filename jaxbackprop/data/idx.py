"""The IDX format, MNIST's own: a magic number, the sizes, the values.

    bytes  0 0 T D   T the type of a value, D the number of dimensions
    D x    int32     the sizes, big-endian
    then   the values, big-endian, the last index fastest

A file is not believed: nothing is allocated that has not been read, and every damage is a DataError.

Source  Y. LeCun, "The MNIST database", section "File formats"
"""

import math
from pathlib import Path
from typing import IO

import numpy as np

from .errors import DataError
from .files import opened, read_at_most

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array an IDX file holds, plain or compressed, in this machine's byte order."""
    with opened(path) as file:
        dtype, shape = _header(file, path)
        size = math.prod(shape) * dtype.itemsize
        data = read_at_most(file, size + 1)
    if len(data) != size:
        start = 4 + 4 * len(shape)
        found = f"{start + len(data)} bytes" if len(data) < size else "more bytes after the last value"
        raise DataError(
            found,
            expected=f"{start + size}: a header of {start} and {' x '.join(map(str, shape))} values",
            advice="The file was cut short or damaged; fetch it again.",
            file=path,
        )
    try:  # no values and immense sizes, or more dimensions than numpy has
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    except ValueError as error:
        raise DataError(f"sizes of which no array can be made ({error})", file=path) from error


def _header(file: IO[bytes], path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    magic = file.read(4)
    if not magic:
        raise DataError("an empty file", expected="an IDX file", file=path, advice="Fetch the file again.")
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise DataError(
            f"the bytes {magic.hex(' ')} at the start",
            expected="00 00, a type (08 to 0e) and a number of dimensions, as every IDX file begins",
            advice="Is it really an IDX file?",
            file=path,
        )
    sizes = file.read(4 * magic[3])
    shape = tuple(int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">i4"))
    if len(shape) != magic[3] or min(shape) < 0:
        found = f"sizes {', '.join(map(str, shape))}" if len(shape) == magic[3] else "the end of the file"
        raise DataError(found, expected=f"{magic[3]} sizes, none negative", file=path, advice="Fetch the file again.")
    return np.dtype(TYPES[magic[2]]), shape
