"""Text as tokens: cut at white space exactly as fastText does, each different word kept once.

Which word has which row is the vocabulary's business; no file is opened here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrow_binary import binary_array
from .bags import ranges, starts
from .errors import DataError
from .files import BLOCK
from .parallel import in_parallel

SEPARATORS = b" \n\r\t\v\f\0"
END = b"</s>"  # what fastText reads for the end of a line, and the end of a line where a text says it
WORD_BYTES = bytes(byte not in SEPARATORS for byte in range(256))
LETTERS = re.compile(r"\w+")
CUT = 1 << 12  # words that were cut at punctuation are kept, at most
GROUP = 1 << 23  # bytes of text whose words are numbered together
WRITTEN_END = re.compile(rb"(?<![^ \r\t\v\f\0])</s>(?![^ \r\t\v\f\0])")


@dataclass(frozen=True, eq=False)
class Tokens:
    """Lines of tokens, each token the number of a word: line k is words[codes[offsets[k]:offsets[k + 1]]].

    words    (W,) binary, all different, in the order in which they first occur
    codes    (T,) int32
    offsets  (N + 1,) int64
    lines    (N,) the line in the source at which each line here began, or None where k began at k + 1
    source   the name of the file, for messages
    """

    words: pa.BinaryArray
    codes: np.ndarray
    offsets: np.ndarray
    lines: np.ndarray | None = None
    source: str | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def line(self, k: int) -> int:
        """The line in the source at which line `k` began, counted from 1."""
        return k + 1 if self.lines is None else int(self.lines[k])

    def renamed(self, names: Mapping[str, str]) -> "Tokens":
        """The same tokens with some words written otherwise."""
        new = {_bytes(old): _bytes(name) for old, name in names.items()}
        words = [new.get(word, word) for word in self.words.to_pylist()]
        return replace(self, words=pa.array(words, pa.binary()))

    def take(self, which: np.ndarray) -> "Tokens":
        """The lines numbered by `which`, in that order, with the words that occur in them."""
        first, lengths = self.offsets[:-1][which], np.diff(self.offsets)[which]
        used, codes = np.unique(self.codes[ranges(first, lengths)], return_inverse=True)
        lines = (np.arange(len(self)) + 1 if self.lines is None else self.lines)[which]
        return Tokens(self.words.take(pa.array(used)), codes.astype(np.int32), starts(lengths), lines, self.source)

    def counts(self) -> np.ndarray:
        """How often each word occurs, (W,) int64."""
        counts = np.zeros(len(self.words), np.int64)
        for start in range(0, len(self.codes), BLOCK):  # in parts, for bincount copies what it counts
            counts += np.bincount(self.codes[start : start + BLOCK], minlength=len(self.words))
        return counts


def tokenise(blocks: Iterable[bytes], *, source: str | None = None) -> Tokens:
    """The tokens of a text that comes in blocks, each ending where a line does (the last one where the text does).

    fastText's rules: words are what stands between blanks, newlines, CR, tab, VT, FF and NUL; each newline is a token
    `</s>` and ends its line, and so does a `</s>` that stands in the text; a last line without newline has no `</s>`.
    """
    words, codes, newlines = _merge(list(in_parallel(_number, _groups(blocks))))
    return _in_lines(words, codes, newlines, source)


def token_groups(blocks: Iterable[bytes], *, source: str | None = None) -> Iterator[Tokens]:
    """The tokens of a text a group of lines at a time, each group with its own words: for what memory cannot hold."""
    first = 1
    for words, codes, newlines in in_parallel(_number, _groups(blocks)):
        yield _in_lines(words, codes, newlines, source, first)
        first += len(newlines)


def counted(groups: Sequence[Tokens]) -> tuple[pa.BinaryArray, np.ndarray, list[np.ndarray]]:
    """All words of some groups in the order in which they first occur, how often each does, and their numbers in the
    order in which each group has them.
    """
    together = _dictionary([group.words for group in groups])
    counts = np.concatenate([np.zeros(0), *(group.counts() for group in groups)])
    found = together.indices.to_numpy(zero_copy_only=False)
    total = np.bincount(found, counts, len(together.dictionary)).astype(np.int64)
    return together.dictionary, total, np.split(found, np.cumsum([len(group.words) for group in groups])[:-1])


def tokenise_texts(texts: Sequence[str], *, source: str | None = None, lines: np.ndarray | None = None) -> Tokens:
    """The tokens of a list of texts, one line each whatever they hold.

    A newline inside a text counts as a blank, and a text ends at the first `</s>` it holds: fastText's prediction
    reads no further either.
    """
    joined = "\n".join(text.replace("\n", " ") if "\n" in text else text for text in texts)
    data = _utf8(joined, source)
    if END in data:
        parts = data.split(b"\n")
        ends = [WRITTEN_END.search(part) if END in part else None for part in parts]
        data = b"\n".join(part[: end.start()] if end else part for part, end in zip(parts, ends, strict=True))
    tokens = tokenise(_blocks(data + b"\n") if texts else [], source=source)
    return tokens if lines is None else replace(tokens, lines=lines)


def _utf8(text: str, source: str | None) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise DataError(
            f"half a surrogate pair ({error.object[error.start]!r}) in text {text.count(chr(10), 0, error.start)}",
            expected="text that can be written as UTF-8",
            file=source,
        ) from error


def words_of_line(text: str) -> list[bytes]:
    """The words of one text, `</s>` last, as `tokenise_texts` cuts it."""
    words = _utf8(text, None).replace(b"\0", b" ").split()
    return [*words[: words.index(END)], END] if END in words else [*words, END]


def lowercased(tokens: Tokens, label_prefix: str) -> Tokens:
    """The tokens with each word cut as `cut_word` cuts it; labels and the ends of lines stay."""
    prefix = _bytes(label_prefix)
    cut = [(w,) if w == END or w.startswith(prefix) else cut_word(w, prefix) for w in tokens.words.to_pylist()]
    coded = pa.array([part for parts in cut for part in parts], pa.binary()).dictionary_encode()
    lengths = np.array([len(parts) for parts in cut], np.int64)
    each = lengths[tokens.codes]
    codes = coded.indices.to_numpy(zero_copy_only=False)[ranges(starts(lengths)[:-1][tokens.codes], each)]
    return replace(tokens, words=coded.dictionary, codes=codes, offsets=starts(each)[tokens.offsets])


@lru_cache(CUT)
def cut_word(word: bytes, label_prefix: bytes) -> tuple[bytes, ...]:
    """The runs of letters, digits and underscores of a word, in lower case; none that would be a label."""
    parts = LETTERS.findall(word.decode("utf-8", "replace").lower())
    return tuple(part for part in (text.encode() for text in parts) if not part.startswith(label_prefix))


def starts_with(words: pa.BinaryArray, prefix: str) -> np.ndarray:
    """Which of the words begin so, (W,) bool."""
    return pc.call_function("starts_with", [words], pc.MatchSubstringOptions(prefix)).to_numpy(zero_copy_only=False)


def equal(words: pa.BinaryArray, word: bytes) -> np.ndarray:
    """Which of the words is this one, (W,) bool."""
    return pc.call_function("equal", [words, pa.scalar(word, words.type)]).to_numpy(zero_copy_only=False)


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def _blocks(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + BLOCK) + 1 or len(data)
        yield data[start:end]
        start = end


def _groups(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The blocks in groups of about GROUP bytes; one empty group where there are none."""
    group, size, none = [], 0, True
    for block in blocks:
        group.append(block)
        size += len(block)
        if size >= GROUP:
            yield group
            group, size, none = [], 0, False
    if group or none:
        yield group


def _cut(block: bytes) -> tuple[pa.BinaryArray, np.ndarray]:
    """The words of a block, and before which of them each of its newlines stands."""
    inside = np.zeros(len(block) + 2, np.uint8)
    inside[1:-1] = np.frombuffer(block.translate(WORD_BYTES), np.uint8)
    edges = np.flatnonzero(inside[1:] != inside[:-1])  # starts and ends of words in turn
    starts, ends = edges[::2], edges[1::2]
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(ends - starts, out=offsets[1:])
    newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    return binary_array(block.translate(None, SEPARATORS), offsets), np.searchsorted(starts, newlines)


def _dictionary(parts: list[pa.BinaryArray]) -> pa.DictionaryArray:
    """Words one part after another, numbered by the order in which they first occur."""
    return pa.chunked_array(parts, pa.binary()).dictionary_encode().combine_chunks()


def _number(blocks: list[bytes]) -> tuple[pa.BinaryArray, np.ndarray, np.ndarray]:
    """A group of blocks as its words, its codes with `</s>` put in, and the places of its newlines among the codes."""
    group = [_cut(block) for block in blocks]
    encoded = _dictionary([words for words, _ in group])
    words, plain = encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
    before = np.cumsum([0, *(len(words) for words, _ in group)])[: len(group)]
    at = [newlines + start for (_, newlines), start in zip(group, before, strict=True)]
    newlines = np.concatenate(at) if at else np.zeros(0, np.int64)
    if not len(newlines):
        return words, plain, newlines
    words, plain, end = _with_end(words, plain, int(newlines[0]))
    newlines = newlines + np.arange(len(newlines))
    codes = np.full(len(plain) + len(newlines), end, np.int32)
    is_word = np.ones(len(codes), bool)
    is_word[newlines] = False
    codes[is_word] = plain
    return words, codes, newlines


def _with_end(words: pa.BinaryArray, codes: np.ndarray, first: int) -> tuple[pa.BinaryArray, np.ndarray, int]:
    """The words with `</s>` among them, at the place it gets by occurring before token `first`; and that place."""
    seen = int(codes[:first].max(initial=-1)) + 1
    written = pc.index(words, END).as_py()  # -1 where no text says it
    if 0 <= written < seen:
        return words, codes, written
    order = np.insert(np.arange(len(words)), seen, len(words))
    moved = codes + (codes >= seen)
    if written >= 0:
        order = order[order != written]
        moved = np.where(codes == written, seen, moved - (codes > written))
    words = pa.concat_arrays([words, pa.array([END], pa.binary())]).take(pa.array(order))
    return words, moved.astype(np.int32), seen


def _merge(
    groups: list[tuple[pa.BinaryArray, np.ndarray, np.ndarray]],
) -> tuple[pa.BinaryArray, np.ndarray, np.ndarray]:
    """Groups numbered apart, numbered together."""
    if len(groups) == 1:
        return groups[0]
    together = _dictionary([words for words, _, _ in groups])
    new = together.indices.to_numpy(zero_copy_only=False)
    first = np.cumsum([0, *(len(words) for words, _, _ in groups)])
    before = np.cumsum([0, *(len(codes) for _, codes, _ in groups)])
    codes = np.empty(before[-1], np.int32)
    for k, (_, old, _) in enumerate(groups):
        np.take(new[first[k] : first[k + 1]], old, out=codes[before[k] : before[k + 1]])
    newlines = [newlines + start for (_, _, newlines), start in zip(groups, before, strict=False)]
    return together.dictionary, codes, np.concatenate(newlines)


def _in_lines(
    words: pa.BinaryArray, codes: np.ndarray, newlines: np.ndarray, source: str | None, first: int = 1
) -> Tokens:
    """Cut the codes into lines at each `</s>`, and count lines of the source where that is more than its newlines."""
    end = pc.index(words, END).as_py() if len(words) else -1
    ends = np.flatnonzero(codes == end) + 1 if end >= 0 else np.zeros(0, np.int64)
    if len(codes) and (not len(ends) or ends[-1] != len(codes)):
        ends = np.append(ends, len(codes))
    offsets = np.concatenate([[0], ends])
    more = len(offsets) - 1 > len(newlines) + (len(codes) > 0 and (not len(newlines) or newlines[-1] + 1 < len(codes)))
    lines = np.searchsorted(newlines, offsets[:-1]) + first if more or first > 1 else None
    return Tokens(words, codes, offsets, lines, source)
