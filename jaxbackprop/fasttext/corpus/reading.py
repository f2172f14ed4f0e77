"""A labelled text as tokens, piece by piece, from wherever it is: a file, a CSV file, standard input, Texts."""

import sys
from collections.abc import Iterator, Sequence
from io import BufferedReader
from os import PathLike
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import IO, cast

import numpy as np

from ...data import DataError, Texts, Tokens, load
from ...data.files import line_blocks, read_blocks, suffix, without_byte_order_mark
from ...data.labelled_text import read_text_csv
from ...data.tokens import token_groups, tokenise

STDIN = "-"
MANY = 1 << 24  # bytes of a file that are predicted together, at most
PIPE = 1 << 16  # bytes that a pipe holds
Source = str | PathLike[str] | Texts
SampleWeight = str | PathLike[str] | Sequence[float] | np.ndarray
"""Numbers, or a file with one a line."""


def text_groups(source: Source, label_prefix: str) -> Iterator[Tokens]:
    """The tokens of a text, group by group; labels begin with `label_prefix`."""
    path = path_of(source)
    if isinstance(source, Texts):
        yield source.tokens(label_prefix)
    elif path is None:
        yield from token_groups(without_byte_order_mark(line_blocks(sys.stdin.buffer)), source="standard input")
    elif suffix(path) == ".csv":
        yield read_text_csv(path).tokens(label_prefix)
    else:
        yield from token_groups(without_byte_order_mark(read_blocks(path)), source=str(source))


def read_weights(weights: SampleWeight) -> np.ndarray:
    """The weights of texts as an array, read where they are a file.

    Raises:
        TypeError: something else than numbers.
        DataError: no such file, or a line of it is no number.
    """
    if not isinstance(weights, str | PathLike):
        try:
            return np.asarray(weights, np.float32)
        except (TypeError, ValueError):
            raise TypeError("sample_weight must hold numbers, one a text, or be the name of a file of them.") from None
    numbers = []
    for number, line in enumerate(b"".join(read_blocks(Path(weights))).splitlines(), start=1):
        try:
            numbers.append(float(line))
        except ValueError:
            found = repr(line.decode("utf-8", "replace"))
            raise DataError(found, expected="the weight of a text, a number", file=Path(weights), line=number) from None
    return np.array(numbers, np.float32)


def path_of(source: Source) -> Path | None:
    """The file that is read; None for standard input and Texts.

    Raises:
        TypeError: the source is nothing of these.
    """
    if isinstance(source, Texts):
        return None
    if not isinstance(source, str | PathLike):
        kind = type(source).__name__
        raise TypeError(f"the labelled texts are a {kind}; give the name of a file, '-' (standard input), or Texts.")
    return None if str(source) == STDIN else Path(source)


def train_and_test_sources(
    data: str, test: str | None = None, label_column: str | None = None
) -> tuple[Source, Source | None]:
    """What is trained on and what is tested on: by the name of a set, a file, or a folder with train.* and test.*.

    Plain lines of labelled words are left where they are, to be read once and fast; all else becomes Texts.
    """
    path = Path(data)
    if not _is_lines(path) and not path.is_dir():
        found = load(data, test, kind="texts", label_column=label_column)
        assert isinstance(found.train, Texts)
        return found.train, found.test if isinstance(found.test, Texts) else None
    train, beside = (_beside(path, "train"), _beside(path, "test")) if path.is_dir() else (path, None)
    if train is None:
        some = ", ".join(sorted(file.name for file in path.iterdir())[:10]) or "nothing"
        raise DataError(f"a folder with {some}", expected="a file train.*", file=path)
    if test is not None:
        beside = train_and_test_sources(test, label_column=label_column)
        return _lines_or_texts(train, label_column), beside[1] or beside[0]
    return _lines_or_texts(train, label_column), None if beside is None else _lines_or_texts(beside, label_column)


def _is_lines(path: Path) -> bool:
    return str(path) == STDIN or (path.is_file() and suffix(path) != ".csv")


def _lines_or_texts(path: Path, label_column: str | None) -> Source:
    return path if _is_lines(path) else read_text_csv(path, label_column=label_column)


def _beside(folder: Path, side: str) -> Path | None:
    return next(
        (file for file in sorted(folder.iterdir()) if file.is_file() and file.name.startswith(f"{side}.")), None
    )


def iter_prediction_batches(file: str) -> Iterator[Tokens]:
    """The lines of a file, or of standard input ("-") as they arrive: as many at a time as are there."""
    blocks = read_blocks(Path(file), MANY) if file != STDIN else line_blocks(cast("IO[bytes]", _Arriving()), MANY)
    yield from (tokenise([block], source=file) for block in without_byte_order_mark(blocks))


class _Arriving:
    """Standard input, read ahead on a thread: `read` answers what has arrived, and waits only where that is nothing.

    Who writes a line and waits for its answer gets it; who writes much is read in large pieces.
    """

    def __init__(self):
        self.come: SimpleQueue[bytes] = SimpleQueue()
        self.room, self.over = Semaphore(MANY // PIPE), False
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        stdin = cast("BufferedReader", sys.stdin.buffer)
        while self.room.acquire() and (part := stdin.read1(PIPE)):
            self.come.put(part)
        self.come.put(b"")

    def read(self, size: int = -1) -> bytes:
        """All there is, at most about `size` bytes; none at the end."""
        if self.over:
            return b""
        parts = [self.come.get()]
        while parts[-1] and sum(map(len, parts)) < size and not self.come.empty():
            parts.append(self.come.get())
        self.over = not parts[-1]
        for _ in parts:
            self.room.release()
        return b"".join(parts)
