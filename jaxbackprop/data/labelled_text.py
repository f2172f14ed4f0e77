"""Labelled text: lines of `__label__x words`, and CSV of class, title, description (AG News' form).

What words are, and how they are numbered, is the vocabulary's business.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from .errors import DataError, shown
from .files import read_blocks, without_byte_order_mark
from .tables import csv_rows, find_column, ragged
from .tokens import SEPARATORS, Tokens, tokenise, tokenise_texts

Invalid = Literal["keep", "replace", "refuse"]
Unlabelled = Literal["refuse", "skip", "keep"]
CODEC_ERRORS = {"keep": "surrogateescape", "replace": "replace", "refuse": "strict"}
SPACE = SEPARATORS.decode()
BLANKS = re.compile(f"[{re.escape(SPACE)}]+")
LABEL_PREFIX = "__label__"
# a label may hold blanks (a class of a CSV file); as a token it may not, so there they travel as control characters
HIDDEN = {ord(blank): 0x0E + k for k, blank in enumerate(SPACE)}
LABEL_COLUMNS = ("label", "class", "class index", "category", "target", "y")


@dataclass(frozen=True)
class Texts:
    """N texts, each with its labels, and where each came from.

    texts   N strings; bytes that were not UTF-8 are lone surrogates (`surrogateescape`) where they were kept
    labels  N tuples of label names, without prefix; empty where a text has none
    lines   the line of `source` at which each text begins, counted from 1; empty where there is no such place
    source  the file, or the name of the set
    """

    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...] = ()
    source: str | None = None

    def __post_init__(self):
        if len(self.texts) != len(self.labels):
            raise ValueError(f"Texts: {len(self.texts)} texts but {len(self.labels)} tuples of labels.")
        if self.lines and len(self.lines) != len(self.texts):
            raise ValueError(f"Texts: {len(self.texts)} texts but {len(self.lines)} line numbers.")

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """All label names there are, sorted."""
        return tuple(sorted({label for labels in self.labels for label in labels}))

    def line(self, k: int) -> int | None:
        """The line at which text `k` began, where that is known."""
        return self.lines[k] if self.lines else None

    def take(self, which: Iterable[int]) -> "Texts":
        """The texts numbered by `which`, in that order."""
        which = list(which)
        lines = tuple(self.lines[k] for k in which) if self.lines else ()
        return Texts(tuple(self.texts[k] for k in which), tuple(self.labels[k] for k in which), lines, self.source)

    def tokens(self, label_prefix: str) -> Tokens:
        """The texts as tokens, each line beginning with its labels."""
        hidden = {label: _hide(label, self.source) for label in self.classes}
        lines = [
            " ".join([*(label_prefix + hidden[label] for label in labels), text])
            for text, labels in zip(self.texts, self.labels, strict=True)
        ]
        numbers = np.array(self.lines, np.int64) if self.lines else None
        tokens = tokenise_texts(lines, source=self.source, lines=numbers)
        names = {label_prefix + name: label_prefix + label for label, name in hidden.items() if name != label}
        return tokens.renamed(names) if names else tokens


def read_tokens(path: Path) -> Tokens:
    """A file of labelled lines as tokens, as fastText reads it; the fast way to a vocabulary."""
    return tokenise(without_byte_order_mark(read_blocks(path)), source=str(path))


def read_lines(
    path: Path,
    *,
    label_prefix: str = LABEL_PREFIX,
    invalid: Invalid = "keep",
    unlabelled: Unlabelled = "refuse",
    empty: Unlabelled = "refuse",
) -> Texts:
    """A file of lines such as `__label__x __label__y some words`, plain, gzip or zstandard.

    A word that begins with `label_prefix` is a label wherever it stands. Blank lines are passed over.

        invalid     bytes that are not UTF-8: "keep" them (as lone surrogates; fastText hashes the bytes), "replace"
                    them by U+FFFD, or "refuse" the file
        unlabelled  a line without label: "refuse" the file, "skip" the line, or "keep" it (texts to predict)
        empty       a line without text, likewise
    """
    texts, labels, lines = [], [], []
    for number, line in enumerate(_decoded(path, invalid), start=1):
        if not (line := line.strip(SPACE)):
            continue
        text, names = _parsed(line, label_prefix)
        if not _usable(
            path, number, names, text, unlabelled, empty, f"at least one word beginning with {label_prefix}"
        ):
            continue
        texts.append(text)
        labels.append(names)
        lines.append(number)
    return _texts(path, texts, labels, lines, "labelled line")


def read_text_csv(
    path: Path,
    *,
    label_column: str | None = None,
    header: bool | None = None,
    invalid: Invalid = "keep",
    unlabelled: Unlabelled = "refuse",
    empty: Unlabelled = "refuse",
) -> Texts:
    """A CSV of class, title, description (AG News' form): a column of classes, the others joined to one text.

    label_column  its name in the header; by default one named label, class, category or target, else the first
    header        whether the first row is one; by default it is where it names such a column
    """
    texts, labels, lines = [], [], []
    rows = csv_rows((line + "\n" for line in _decoded(path, invalid)), path)
    start, first = next(rows, (0, []))
    if not first:
        raise DataError("an empty file", expected="rows of class, title, description", file=path)
    if len(first) < 2:
        raise DataError(f"one column ({shown(first[0])})", expected="a class and a text", file=path, line=start)
    column = label_column_of(first) if label_column is None else find_column(label_column, first, path)
    column = None if header is False else column
    header = header or column is not None
    column = column or 0
    for number, row in rows if header else chain([(start, first)], rows):
        if len(row) != len(first):
            raise ragged(row, first, path, number)
        name = row[column].strip()
        text = " ".join(cell for k, cell in enumerate(row) if k != column).strip(SPACE)
        names = (name,) if name else ()
        if _usable(path, number, names, text, unlabelled, empty, "a class"):
            texts.append(text)
            labels.append(names)
            lines.append(number)
    return _texts(path, texts, labels, lines, "row")


def _texts(path: Path, texts: list[str], labels: list[tuple[str, ...]], lines: list[int], what: str) -> Texts:
    if not texts:
        raise DataError(f"no {what}", expected="at least one", file=path, advice="Is it the right file?")
    return Texts(tuple(texts), tuple(labels), tuple(lines), str(path))


def _usable(
    path: Path,
    line: int,
    labels: tuple[str, ...],
    text: str,
    unlabelled: Unlabelled,
    empty: Unlabelled,
    expected: str,
) -> bool:
    """Whether this line is kept; a DataError where it must not be as it is."""
    if not labels and unlabelled == "refuse":
        raise DataError(
            f"a line without label ({shown(text)})",
            expected=expected,
            advice='Give the line its label, or read with unlabelled="skip".',
            file=path,
            line=line,
        )
    if not text and empty == "refuse":
        raise DataError(
            f"an empty text with the label {shown(' '.join(labels))}",
            expected="at least one word after it",
            advice='Remove the line, or read with empty="skip".',
            file=path,
            line=line,
        )
    return (bool(labels) or unlabelled == "keep") and (bool(text) or empty == "keep")


def _parsed(line: str, prefix: str) -> tuple[str, tuple[str, ...]]:
    """A line as its text and its label names."""
    labels = []
    while line.startswith(prefix):
        label, *rest = BLANKS.split(line, maxsplit=1)
        labels.append(label.removeprefix(prefix))
        line = rest[0] if rest else ""
    if prefix in line:  # perhaps a label further on, perhaps only a part of a word
        words = BLANKS.split(line)
        later = [word for word in words if word.startswith(prefix)]
        if later:
            labels += [word.removeprefix(prefix) for word in later]
            line = " ".join(word for word in words if not word.startswith(prefix))
    return line, tuple(labels)


def _decoded(path: Path, invalid: Invalid) -> Iterator[str]:
    """The lines of a file as text, without their newlines; a byte order mark at its start is no text."""
    if invalid not in CODEC_ERRORS:
        raise ValueError(f'invalid is {invalid!r}; it is one of "keep", "replace" and "refuse".')
    before = 0
    for block in without_byte_order_mark(read_blocks(path)):
        try:
            lines = block.removesuffix(b"\n").decode("utf-8", CODEC_ERRORS[invalid]).split("\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"the byte 0x{block[error.start]:02x}, which is not UTF-8 here",
                expected="UTF-8",
                advice='Convert the file, or read with invalid="keep" or "replace".',
                file=path,
                line=before + block.count(b"\n", 0, error.start) + 1,
            ) from None
        yield from lines
        before += len(lines)


def label_column_of(first: list[str]) -> int | None:
    """Which column holds the class, where the first row is a header that names one; else None."""
    names = [name.strip().lower().replace("_", " ") for name in first]
    return next((names.index(name) for name in LABEL_COLUMNS if name in names), None)


def _hide(label: str, source: str | None) -> str:
    if any(chr(code) in label for code in HIDDEN.values()):
        raise DataError(f"a control character in the label {shown(label)}", file=source, advice="Rename the label.")
    return label.translate(HIDDEN)
