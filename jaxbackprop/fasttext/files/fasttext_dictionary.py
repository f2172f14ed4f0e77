"""fastText's dictionary as bytes: each entry is a word, NUL, its count (int64) and its type (int8: 0 word, 1 label).

All entries are taken apart and put together at once, as array arithmetic.
"""

from array import array

import numpy as np
import pyarrow as pa

from ...data.arrow_binary import binary_array, buffers
from ...data.bags import starts
from ...data.errors import shown
from .binary_reader import BinaryFile

TAIL = 10  # bytes after a word: NUL, count, type
MOST = 10**15  # fastText's Huffman tree takes greater counts for infinity
DETAIL = "Is this a fastText model, and whole?"


def entries_from(file: BinaryFile, count: int) -> tuple[pa.BinaryArray, np.ndarray, np.ndarray]:
    """The next `count` entries: their words, their counts, and whether each is a label."""
    begin = file.at
    file.need(count * TAIL, f"{count:,} words and labels")
    data, ends = _until(file, count)
    file.seek(begin + (ends[-1] + TAIL if count else 0))
    nul = np.frombuffer(ends, np.int64) if count else np.zeros(0, np.int64)
    raw = np.frombuffer(data, np.uint8)[: nul[-1] + TAIL if count else 0]
    first = np.insert(nul[:-1] + TAIL, 0, 0)[:count]
    lengths = nul - first
    if lengths.sum() > np.iinfo(np.int32).max:
        file.refuse(f"{lengths.sum():,} bytes of words", expected="less than 2 GiB", at=begin)
    is_word = np.ones(len(raw), bool)
    for j in range(TAIL):
        is_word[nul + j] = False
    words = binary_array(raw[is_word], starts(lengths))
    counts = np.zeros((count, 8), np.uint8)
    for j in range(8):
        counts[:, j] = raw[nul + 1 + j]
    counts, types = counts.view("<i8")[:, 0], raw[nul + 9]
    _check(file, begin, first, nul, words, counts, types)
    return words, counts, types == 1


def _until(file: BinaryFile, count: int) -> tuple[bytearray, "array[int]"]:
    """As many bytes as `count` entries have, or some more, and where in them each one's NUL stands."""
    begin, data, ends, at = file.at, bytearray(), array("q"), 0
    for k in range(count):
        end, searched = data.find(0, at), len(data)
        while end < 0 or end + TAIL > len(data):
            more = file.some()
            if not more:
                found = f"the end of the file in entry {k + 1:,} of {count:,}"
                file.refuse(found, expected="a word, NUL, count and type", at=begin + at, advice=DETAIL)
            data += more
            if end < 0:
                end, searched = data.find(0, searched), len(data)
        ends.append(end)
        at = end + TAIL
    return data, ends


def _check(
    file: BinaryFile,
    begin: int,
    first: np.ndarray,
    nul: np.ndarray,
    words: pa.BinaryArray,
    counts: np.ndarray,
    types: np.ndarray,
) -> None:
    """A DataError that names the first entry that is none."""
    strange = (
        ("an empty word", nul == first, first, "at least one byte"),
        ("a count of {count}", (counts < 0) | (counts >= MOST), nul + 1, f"0 to {MOST:,}"),
        ("type {type}", types > 1, nul + 9, "0 (a word) or 1 (a label)"),
        ("a word after a label", (types == 0) & (np.cumsum(types == 1) > 0), first, "all words before all labels"),
    )
    for found, is_so, place, expected in strange:
        if is_so.any():
            k = int(np.argmax(is_so))
            what = found.format(count=counts[k], type=types[k])
            file.refuse(f"{what} in {_named(words, k)}", expected=expected, at=int(begin + place[k]), advice=DETAIL)
    if len(words.unique()) < len(words):
        k = _repeated(words)
        file.refuse(f"{_named(words, k)} twice", expected="each once", at=int(begin + first[k]), advice=DETAIL)


def _named(words: pa.BinaryArray, k: int) -> str:
    return f"entry {k + 1:,} ({shown(words[k].as_py().decode('utf-8', 'backslashreplace'))})"


def _repeated(words: pa.BinaryArray) -> int:
    """The first word that stands among those before it."""
    codes = words.dictionary_encode().indices.to_numpy()
    _, firsts = np.unique(codes, return_index=True)
    is_new = np.zeros(len(codes), bool)
    is_new[firsts] = True
    return int(np.argmin(is_new))


def bytes_of_entries(words: pa.BinaryArray, counts: np.ndarray, is_label: np.ndarray) -> np.ndarray:
    """The entries as fastText writes them, uint8."""
    data, offsets = buffers(words)
    lengths = np.diff(offsets).astype(np.int64)
    nul = starts(lengths + TAIL)[1:] - TAIL
    raw = np.zeros(int(lengths.sum()) + TAIL * len(words), np.uint8)
    is_word = np.ones(len(raw), bool)
    for j in range(TAIL):
        is_word[nul + j] = False
    raw[is_word] = data[offsets[0] : offsets[-1]]
    counted = np.ascontiguousarray(counts, "<i8").view(np.uint8).reshape(-1, 8)
    for j in range(8):
        raw[nul + 1 + j] = counted[:, j]
    raw[nul + 9] = is_label
    return raw
