"""CSV with a header: one column of labels, numbers in the others.

Read by pyarrow at once; where it finds fault, read again row by row to say where the fault is and what it is.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as columns

from .errors import DataError, did_you_mean, shown
from .files import opened

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
LARGEST = float(np.finfo(np.float32).max)
QUOTES = 'A comma or a line break inside a cell needs "quotes" around the cell.'


def read_table(path: Path, label_column: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The numbers, (N, features) float32, and the labels, (N,) strings.

    label_column  its name in the header; by default the one named label, else the last
    """
    with opened(path) as file:
        data = file.read().removeprefix(codecs.BOM_UTF8)
    names, start = _header(data, path)
    label = _label_column(names, path, label_column)
    found = _all_at_once(data, len(names), label)
    x, labels = found if found is not None else _row_by_row(data, names, label, path)
    if not len(x):
        raise DataError("a header and nothing below it", expected="a row an example", file=path, line=start)
    return x, labels


def csv_rows(lines: Iterator[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, each with the line at which it begins; blank lines are passed over."""
    reader = csv.reader(lines, strict=True)
    start = 1
    try:
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        advice = "Is a quotation mark missing or not doubled?"
        raise DataError(f"a row that is not CSV ({error})", file=path, line=start, advice=advice) from None


def ragged(row: list[str], header: list[str], path: Path, line: int) -> DataError:
    """The error for a row with more or fewer cells than the first one."""
    expected = f"{len(header)}, as in the first row"
    return DataError(f"{len(row)} cells", expected=expected, advice=QUOTES, file=path, line=line)


def find_column(wanted: str, names: list[str], path: Path) -> int:
    """The place of the column named `wanted`, or an error that names those there are."""
    if wanted not in names:
        raise DataError(
            f"the columns {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}",
            expected=f"one named {wanted}",
            advice=did_you_mean(wanted, names) or "Name the column that holds the label.",
            file=path,
            line=1,
        )
    return names.index(wanted)


def _header(data: bytes, path: Path) -> tuple[list[str], int]:
    line = data.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace")
    start, row = next(csv_rows(StringIO(line), path), (1, []))
    names = [name.strip() for name in row]
    if not names:
        raise DataError("an empty file", expected="a header and a row an example", file=path)
    if all(NUMBER.fullmatch(name) for name in names):
        raise DataError(
            f"numbers in the first row ({shown(line)})",
            expected="a header: the names of the columns",
            advice="Write the names above the numbers, the label's column named label.",
            file=path,
            line=1,
        )
    if len(names) < 2:
        found = f"one column ({shown(line)})"
        raise DataError(found, expected="a label and numbers, with commas between them", file=path, line=1)
    return names, start


def _label_column(names: list[str], path: Path, wanted: str | None) -> int:
    if wanted is not None:
        return find_column(wanted, names, path)
    lower = [name.lower() for name in names]
    return lower.index("label") if "label" in lower else len(names) - 1


def _all_at_once(data: bytes, width: int, label: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The numbers and labels, or None where anything is unusual."""
    names = [str(k) for k in range(width)]
    types = {name: pa.string() if k == label else pa.float32() for k, name in enumerate(names)}
    try:
        table = columns.read_csv(
            pa.BufferReader(data.lstrip(b"\r\n").partition(b"\n")[2]),
            read_options=columns.ReadOptions(column_names=names, use_threads=False),
            convert_options=columns.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowException:
        return None
    x = np.empty((len(table), width - 1), np.float32)
    for k, name in enumerate(name for name in names if name != str(label)):
        x[:, k] = table[name].to_numpy()
    labels = np.array([cell.strip() for cell in table[str(label)].to_pylist()], np.str_)
    # a quotation mark that is not closed swallows rows without a word
    usual = np.isfinite(x).all() and not (labels == "").any() and data.count(b'"') % 2 == 0
    return (x, labels) if usual else None


def _row_by_row(data: bytes, names: list[str], label: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same, slowly; a DataError at the first row that is not as it should be."""
    rows, labels = [], []
    lines = csv_rows((_text(line, path, k) for k, line in enumerate(data.splitlines(keepends=True), start=1)), path)
    next(lines)
    for line, row in lines:
        if len(row) != len(names):
            raise ragged(row, names, path, line)
        if not row[label].strip():
            raise DataError(f"no label in the column {names[label]}", expected="a label", file=path, line=line)
        labels.append(row[label].strip())
        cells = ((name, cell) for k, (name, cell) in enumerate(zip(names, row, strict=True)) if k != label)
        rows.append([_number(cell, name, path, line) for name, cell in cells])
    x = np.array(rows, np.float32).reshape(len(rows), len(names) - 1)
    return x, np.array(labels, np.str_)


def _number(cell: str, column: str, path: Path, line: int) -> float:
    if NUMBER.fullmatch(cell) and abs(value := float(cell)) <= LARGEST:
        return value
    raise DataError(
        f"{shown(cell) if cell.strip() else 'an empty cell'} in the column {column}",
        expected="a finite number",
        advice="Mend the cell, remove the row, or name the column of the labels if this is it.",
        file=path,
        line=line,
    )


def _text(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{line[error.start]:02x}, which is not UTF-8 here"
        raise DataError(found, expected="UTF-8", advice="Convert the file.", file=path, line=number) from None
