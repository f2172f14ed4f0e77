"""fastText's two kinds of table as bytes: a matrix of float32, and one that is product-quantized.

Dense: m, n (int64), then m n numbers. Quantized: whether norms are apart (bool), m, n (int64), how many codes (int32),
the codes, a quantizer; where norms are apart, a code a row and a second quantizer, of rows of one number. A quantizer:
dim, subvectors, dsub, length of the last subvector (int32), 256 dim centroids.

Source  fastText 0.9.2: densematrix.cc, quantmatrix.cc, productquantizer.cc
"""

import struct
from typing import IO

import numpy as np

from ..model import Table, row_blocks
from ..quantize.table import CENTROIDS, QuantizedTable, n_subvectors, subvector_slices
from .binary_reader import BinaryFile

ROWS = 1 << 16  # rows written at a time


def flag_from(file: BinaryFile, what: str) -> bool:
    """The next byte, which must be 0 or 1."""
    at, value = file.at, file.number("B", what)
    if value > 1:
        file.refuse(f"{value} in the byte that says {what}", expected="0 or 1", at=at)
    return bool(value)


def table_from(file: BinaryFile, quantized: bool, rows: int, dim: int, what: str) -> Table:
    """The next table, which must have this shape."""
    return _quantized(file, rows, dim, what) if quantized else _dense(file, rows, dim, what)


def _dense(file: BinaryFile, rows: int, dim: int, what: str) -> np.ndarray:
    _check_shape(file, rows, dim, what)
    return file.array("<f4", (rows, dim), what)


def _check_shape(file: BinaryFile, rows: int, dim: int, what: str) -> None:
    at = file.at
    m, n = file.number("q", f"the size of {what}"), file.number("q", f"the size of {what}")
    if (m, n) != (rows, dim):
        file.refuse(f"{m:,} rows of {n:,} numbers as {what}", expected=f"{rows:,} rows of {dim:,}", at=at)


def _quantized(file: BinaryFile, rows: int, dim: int, what: str) -> QuantizedTable:
    norms_apart = flag_from(file, "whether norms are apart")
    _check_shape(file, rows, dim, what)
    at, count = file.at, file.number("i", "the number of codes")
    if count < rows or count % rows or count > rows * dim:
        expected = f"a whole number a row, {rows:,} to {rows * dim:,}"
        file.refuse(f"{count:,} codes for {rows:,} rows of {dim:,} numbers", expected=expected, at=at)
    codes = file.array("u1", (rows, count // rows), f"the codes of {what}")
    dsub, centroids = _quantiser(file, dim, codes.shape[1], what)
    if not norms_apart:
        return QuantizedTable(dim, dsub, codes, centroids)
    norm_codes = file.array("u1", (rows,), f"the codes of the norms of {what}")
    _, norms = _quantiser(file, 1, 1, f"the norms of {what}")
    return QuantizedTable(dim, dsub, codes, centroids, norm_codes, norms)


def _quantiser(file: BinaryFile, dim: int, count: int, what: str) -> tuple[int, np.ndarray]:
    """The length of a subvector, and the centroids."""
    at = file.at
    sizes = tuple(file.number("i", f"the sizes of the centroids of {what}") for _ in range(4))
    dsub = sizes[2]
    if dsub < 1 or sizes != (dim, count, dsub, dim - (count - 1) * dsub) or n_subvectors(dim, dsub) != count:
        found = "dim {:,}, {:,} subvectors of {:,} and a last one of {:,}".format(*sizes)
        file.refuse(f"{found} for {what}", expected=f"dim {dim:,} cut into {count:,}", at=at)
    return dsub, file.array("<f4", (CENTROIDS * dim,), f"the centroids of {what}")


def write_table(file: IO[bytes], table: Table) -> None:
    """The table, quantized where it is; none is copied whole."""
    m, n = table.shape
    if isinstance(table, QuantizedTable):
        file.write(struct.pack("<?qqi", table.norms is not None, m, n, table.codes.size))
        file.write(_plain(table.codes))
        _write_quantiser(file, n, table.dsub, table.centroids)
        if table.norms is not None and table.norm_codes is not None:
            file.write(_plain(table.norm_codes))
            _write_quantiser(file, 1, 1, table.norms)
        return
    file.write(struct.pack("<qq", m, n))
    for rows in row_blocks(table, ROWS):
        file.write(_plain(rows))


def _write_quantiser(file: IO[bytes], dim: int, dsub: int, centroids: np.ndarray) -> None:
    begin, end = subvector_slices(dim, dsub)[-1]
    file.write(struct.pack("<4i", dim, n_subvectors(dim, dsub), dsub, end - begin))
    file.write(_plain(np.ascontiguousarray(centroids, "<f4")))


def _plain(array: np.ndarray) -> memoryview:
    """The array's bytes, without a copy where it lies in one piece."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
