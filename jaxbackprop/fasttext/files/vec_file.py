"""Word vectors as text, .vec: "words dim" on the first line, then on each a word and its numbers, as fastText and
word2vec write it.

Source  fastText 0.9.2: FastText::saveVectors, FastText::getInputMatrixFromFile
"""

import math
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from ...data import DataError
from ...data.errors import shown
from ...data.files import read_blocks
from ..corpus.vocabulary import Vocabulary
from ..model import Model
from ..predict.vectors import WORDS, word_vectors
from .binary_reader import written_whole

BLOCK = 1 << 22  # bytes of text that are parsed together
HEADER = re.compile(rb"\s*(\d{1,18})\s+(\d{1,9})\s*")
ADVICE = "Is this a .vec file, and whole?"


def write_vectors(model: Model, path: str | PathLike[str]) -> None:
    """Write the vectors of all words of the vocabulary, with five digits a number, as fastText writes them."""
    words, dim = model.vocabulary.words, model.input.shape[1]
    line = "%s " + "%.5g " * dim + "\n"
    with written_whole(Path(path)) as file:
        file.write(f"{len(words)} {dim}\n".encode())
        for k in range(0, len(words), WORDS):
            some = words[k : k + WORDS]
            rows = word_vectors(model, some).tolist()
            text = "".join([line % (word, *row) for word, row in zip(some, rows, strict=True)])
            file.write(text.encode("utf-8", "surrogateescape"))


def read_vectors(path: str | PathLike[str], dim: int | None = None) -> tuple[tuple[str, ...], np.ndarray]:
    """The words of a .vec file (plain, .gz, .zst) and their vectors, (words, dim) float32.

    Raises:
        DataError: no such file; a line that is none, with its number and byte; more or fewer lines than are announced;
            vectors of another length than `dim`, where that is given.
    """
    words, parts = [], []
    for block, vectors in _blocks(Path(path), dim):
        words += [word.decode("utf-8", "surrogateescape") for word in block.to_pylist()]
        parts.append(vectors)
    return tuple(words), np.concatenate(parts)


def pretrained_rows(words: Sequence[str], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The rows of those of `words` that are words of the vocabulary, and at which place each stands: (K,) and (K,).

    Where a word comes twice the later one counts, as in fastText; one that is a label has no row.
    """
    known = vocabulary.entries[: vocabulary.word_count]
    coded = pa.array([word.encode("utf-8", "surrogateescape") for word in words], pa.binary())
    rows = pc.call_function("index_in", [coded], pc.SetLookupOptions(known)).fill_null(-1).to_numpy()
    places = np.flatnonzero(rows >= 0)[::-1]
    found, last = np.unique(rows[places], return_index=True)
    return found, places[last]


def _blocks(path: Path, needed: int | None = None) -> Iterator[tuple[pa.BinaryArray, np.ndarray]]:
    """The file a block of lines at a time: the words, and their vectors; at least one block, maybe without any."""
    line, byte, read, count, dim = 1, 0, 0, None, 0
    for block in read_blocks(path, BLOCK):
        if count is None:
            count, dim, end = _announced(path, block, needed)
            yield pa.array([], pa.binary()), np.zeros((0, dim), np.float32)
            block, byte, line = block[end:], end, 2
        words, vectors = _parsed(block, dim) or _line_by_line(path, block, dim, line, byte)
        read, line, byte = read + len(words), line + block.count(b"\n"), byte + len(block)
        yield words, vectors
    if read != (count or 0) or count is None:
        found = "nothing" if count is None else f"{read:,} words"
        expected = "a line with the number of words and the length of a vector" if count is None else f"{count:,}"
        raise DataError(found, expected=expected, advice=ADVICE, file=path, line=line, byte=byte)


def _announced(path: Path, block: bytes, needed: int | None) -> tuple[int, int, int]:
    """How many words there are to be, how long their vectors are, and where the first line ends."""
    end = block.find(b"\n") + 1 or len(block)
    announced = HEADER.fullmatch(block[:end])
    if announced is None or not int(announced[2]):
        found = f"the line {shown(block[: min(end, 80)].decode('utf-8', 'backslashreplace').rstrip())}"
        raise DataError(
            found, expected="the number of words and the length of a vector", advice=ADVICE, file=path, line=1, byte=0
        )
    count, dim = int(announced[1]), int(announced[2])
    if needed not in (None, dim):
        advice = f"Train with dim {dim}, or take other vectors."
        raise DataError(f"vectors of {dim} numbers", expected=f"{needed}", advice=advice, file=path, line=1, byte=0)
    return count, dim, end


def _parsed(block: bytes, dim: int) -> tuple[pa.BinaryArray, np.ndarray] | None:
    """The words and vectors of some lines, all at once; None where a line is not as it should be, or may not be."""
    first = block[: block.find(b"\n") + 1 or len(block)].rstrip(b"\r\n")
    names = [f"f{k}" for k in range(first.count(b" ") + 1)]
    ends_in_blank = first.endswith(b" ")
    if len(names) != 1 + dim + ends_in_blank:
        return None
    kinds = dict.fromkeys(names, pa.float32()) | {names[0]: pa.binary()}
    if ends_in_blank:
        kinds[names[-1]] = pa.binary()
    try:
        table = csv.read_csv(
            pa.BufferReader(block),
            csv.ReadOptions(column_names=names, block_size=max(len(block), 1)),
            csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False),
            csv.ConvertOptions(column_types=kinds, null_values=[], check_utf8=False),
        )
    except pa.ArrowInvalid:
        return None
    vectors = np.stack([table[name].to_numpy() for name in names[1 : dim + 1]], 1)
    words, rest = table[0].combine_chunks(), table[-1]
    whole = not ends_in_blank or not pc.call_function("binary_length", [rest]).to_numpy().any()
    return (words, vectors) if whole and b"" not in words.to_pylist() and np.isfinite(vectors).all() else None


def _line_by_line(path: Path, block: bytes, dim: int, line: int, byte: int) -> tuple[pa.BinaryArray, np.ndarray]:
    """The same, slowly: any white space will do, and a line that is none is named."""
    words, vectors = [], []
    for text in block.split(b"\n"):
        word, *fields = text.split() or [b""]
        if word:
            numbers = [_number(number) for number in fields]
            if len(fields) != dim or not all(math.isfinite(number) for number in numbers):
                bad = next((fields[k] for k, number in enumerate(numbers) if not math.isfinite(number)), None)
                found = f"{len(fields):,} numbers" if bad is None else shown(bad.decode("utf-8", "backslashreplace"))
                shown_word = shown(word.decode("utf-8", "backslashreplace"))
                expected = f"a word and {dim:,} numbers"
                raise DataError(
                    f"{found} after {shown_word}", expected=expected, advice=ADVICE, file=path, line=line, byte=byte
                )
            words.append(word)
            vectors.append(numbers)
        line, byte = line + 1, byte + len(text) + 1
    return pa.array(words, pa.binary()), np.array(vectors, np.float32).reshape(len(words), dim)


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
