"""Words and labels numbered as fastText numbers them, and texts as bags of those numbers.

Words, then labels, each by falling count; of equal counts the one that appears first in the text comes first (fastText
leaves their order to the sort of its C++ library). The rows of word n-grams and of character n-grams are fastText's: a
table trained on these numbers is a table that fastText reads. Everything is array arithmetic: a word is hashed once
however often it occurs, and no line of text is looked at by Python.

Source  Bojanowski et al. 2017, arXiv:1607.04606; Joulin et al. 2017, arXiv:1607.01759; fastText 0.9.2, dictionary.cc
"""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeGuard, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...data.bags import Bags, starts
from ...data.errors import DataError, shown
from ...data.labelled_text import Texts
from ...data.tokens import (
    END,
    Tokens,
    counted,
    cut_word,
    equal,
    lowercased,
    starts_with,
    tokenise_texts,
    words_of_line,
)
from .hashing import character_ngrams, character_ngrams_of, fnv1a, signed_fnv1a_of, word_ngrams, word_ngrams_of
from .word_memo import WordMemo
from .word_rows import WordRows, blocks, select, shifted

LABEL_PREFIX = "__label__"
SETTINGS = ("word_ngrams", "bucket", "minn", "maxn", "label_prefix", "lowercase")
"""Those by which an existing vocabulary encodes."""
SHORT = 1 << 16  # characters of a text that is encoded word by word
LONG = 1 << 8  # bytes of a word that is worked on by arrays
FEW = 1 << 12  # words looked up one by one in a dict; more of them by pyarrow's hash join
Readable = Tokens | Texts | Sequence[str]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words and labels of a text, and how a text becomes row numbers of one table.

    Rows 0 to words - 1 are words, the `bucket` rows after them are shared by hashed n-grams. Labels are numbered apart.

    Attributes:
        entries: (W + L,) binary: words by falling count, then labels by falling count, prefix included.
        counts: (W + L,) int64.
        tokens: how many tokens were read, those that are no longer in the vocabulary included.
        word_ngrams: runs of up to this number of words have a row.
        minn, maxn: character n-grams of these lengths have a row; none where maxn is 0.
        bucket: how many rows n-grams share; counts as 0 where there are none.
        lowercase: whether words are lower-cased and cut at punctuation, which is dropped.
    """

    entries: pa.BinaryArray
    counts: np.ndarray
    tokens: int
    word_ngrams: int = 1
    bucket: int = 2_000_000
    minn: int = 0
    maxn: int = 0
    label_prefix: str = LABEL_PREFIX
    lowercase: bool = False

    def __post_init__(self):
        for name in ("word_ngrams", "bucket", "minn", "maxn"):
            if getattr(self, name) < 0:
                raise ValueError(f"Vocabulary: {name} is {getattr(self, name)}, it must not be negative.")
        if self.word_ngrams <= 1 and self.maxn == 0:
            object.__setattr__(self, "bucket", 0)
        elif not 0 < self.bucket < 2**31:
            raise ValueError(f"Vocabulary: bucket is {self.bucket}; n-grams need between 1 and 2**31 - 1 rows.")
        if not self.label_prefix:
            raise ValueError("Vocabulary: with an empty label_prefix every word would be a label.")

    @classmethod
    def build(
        cls,
        texts: "Readable | Sequence[Tokens]",
        *,
        min_count: int = 1,
        min_count_label: int = 0,
        max_words: int | None = None,
        word_ngrams: int = 1,
        bucket: int = 2_000_000,
        minn: int = 0,
        maxn: int = 0,
        label_prefix: str = LABEL_PREFIX,
        lowercase: bool = False,
    ) -> "Vocabulary":
        """The vocabulary of `texts`: what occurs `min_count` times (labels `min_count_label` times), most often first.

        `max_words` keeps only the words that occur most. A text may come as the groups of lines of
        `token_groups`. One without any word left is a DataError.
        """
        groups = texts if _is_groups(texts) else [as_tokens(cast("Readable", texts), label_prefix)]
        groups = [lowercased(group, label_prefix) for group in groups] if lowercase else groups
        words, counts, found = counted(groups)
        total = sum(len(group.codes) for group in groups)
        is_label = starts_with(words, label_prefix)
        order = np.argsort(_falling(counts, is_label), kind="stable")
        kept = order[counts[order] >= np.where(is_label[order], min_count_label, min_count)]
        if max_words is not None:
            most = len(kept) - is_label[kept].sum()
            kept = np.concatenate([kept[: min(most, max_words)], kept[most:]])
        if not len(kept):
            raise DataError(
                "no word" if not total else f"no word that occurs {min_count} times",
                expected="at least one",
                advice="Is the file empty?" if not total else "Try a smaller min_count.",
                file=groups[0].source if groups else None,
            )
        entries = words.take(pa.array(kept))
        made = cls(entries, counts[kept], total, word_ngrams, bucket, minn, maxn, label_prefix, lowercase)
        numbers = np.full(len(words), -1, np.int32)
        numbers[kept] = np.arange(len(kept), dtype=np.int32)
        for group, its_words in zip(groups, found, strict=True):
            made._remember(group.words, numbers[its_words])
        return made

    def with_words(self, words: Sequence[str]) -> "Vocabulary":
        """The vocabulary in which each of `words` occurs once more, new ones added, in the same order again.

        As fastText takes in the words of pretrained vectors; one that begins as labels do becomes a label.
        """
        coded = pa.array([_bytes(w) for w in words], pa.binary()).dictionary_encode()
        found, times = coded.dictionary, np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
        at = self._ids(found)
        counts = self.counts.copy()
        counts[at[at >= 0]] += times[at >= 0]
        entries = pa.concat_arrays([self.entries, found.filter(pa.array(at < 0))])
        counts = np.concatenate([counts, times[at < 0]])
        order = np.argsort(_falling(counts, starts_with(entries, self.label_prefix)), kind="stable")
        return replace(
            self, entries=entries.take(pa.array(order)), counts=counts[order], tokens=self.tokens + len(words)
        )

    @cached_property
    def word_count(self) -> int:
        """How many of the entries are words."""
        return len(self.entries) - int(starts_with(self.entries, self.label_prefix).sum())

    @property
    def rows(self) -> int:
        """How many rows the table has: a row a word, and the bucket."""
        return self.word_count + self.bucket

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words in the order of their rows; bytes that are not UTF-8 as lone surrogates (`surrogateescape`)."""
        return tuple(_text(entry) for entry in self.entries[: self.word_count].to_pylist())

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of their numbers, without the prefix."""
        prefix = len(self.label_prefix)
        return tuple(_text(entry)[prefix:] for entry in self.entries[self.word_count :].to_pylist())

    def encode(self, texts: Readable) -> Bags:
        """The rows of each text: its words (each with its character n-grams), then its word n-grams.

        In fastText's order. A word that is not in the vocabulary has the rows of its character n-grams only, and still
        takes part in the word n-grams. Labels have none.
        """
        return Bags.joined(list(self.encoded(as_tokens(texts, self.label_prefix))))

    def encoded(self, tokens: Tokens) -> Iterator[Bags]:
        """What `encode` answers, some lines at a time."""
        tokens = lowercased(tokens, self.label_prefix) if self.lowercase else tokens
        is_word = ~starts_with(tokens.words, self.label_prefix)
        rows = WordRows(*self._rows_of(tokens.words), is_word)
        hashes = fnv1a(tokens.words) if self.word_ngrams > 1 else None
        for a, b in blocks(tokens.offsets):
            offsets = tokens.offsets[a : b + 1]
            codes = tokens.codes[offsets[0] : offsets[-1]]
            codes, offsets = select(codes, is_word, offsets - offsets[0])
            block, ends = rows.of(codes, offsets)
            if hashes is not None:
                block, ends = self._with_word_ngrams(block, ends, hashes[codes], offsets)
            yield Bags(block, ends)

    def encode_line(self, text: str) -> np.ndarray:
        """The rows of one text, (T,) int32, as `encode` has them: faster, for what its words need is remembered."""
        if len(text) > SHORT:
            return self.encode([text]).ids
        memo = self._memo
        words = memo.numbers(words_of_line(text), self._rows_and_hashes)
        if memo.is_full:
            self.__dict__.pop("_memo", None)
        ids = memo.rows.of(words)
        if self.word_ngrams <= 1:
            return ids
        grams = word_ngrams_of(memo.hashes.of(words), self.word_ngrams, self.bucket)
        return np.concatenate([ids, grams + np.int32(self.word_count)])

    def encode_labels(self, texts: Readable, *, unknown: Literal["refuse", "drop"] = "refuse") -> Bags:
        """The numbers of each text's labels; a label that is not in the vocabulary is a DataError, or is dropped."""
        tokens = as_tokens(texts, self.label_prefix)
        number = self._ids(tokens.words) - self.word_count
        strange = starts_with(tokens.words, self.label_prefix) & (number < 0)
        if unknown == "refuse" and strange.any():
            self._refuse(tokens, strange)
        codes, offsets = select(tokens.codes, number >= 0, tokens.offsets)
        return Bags(number[codes], offsets)

    def word_id(self, word: str) -> int:
        """The row of `word`, or -1 where it is not in the vocabulary."""
        number = self._index.get(_bytes(word), -1)
        return number if number < self.word_count else -1

    def subwords(self, word: str) -> np.ndarray:
        """The rows that stand for `word`: its own, where it has one, and those of its character n-grams."""
        if len(word) > LONG:
            return self._rows_of(pa.array([_bytes(word)], pa.binary()))[0]
        return np.array(self._rows_of_one(_bytes(word)), np.int32)

    def _rows_and_hashes(self, word: bytes) -> tuple[list[int], list[int]]:
        """The rows of a word as a text has it, and the hashes by which it takes part in n-grams of words."""
        prefix = _bytes(self.label_prefix)
        if word.startswith(prefix):
            return [], []
        parts = cut_word(word, prefix) if self.lowercase and word != END else (word,)
        rows = [row for part in parts for row in self._rows_of_one(part)]
        return rows, [signed_fnv1a_of(part) for part in parts] if self.word_ngrams > 1 else []

    def _rows_of_one(self, word: bytes) -> list[int]:
        """`_rows_of` of one word."""
        row = self._index.get(word, -1)
        own = [row] if 0 <= row < self.word_count else []
        if self.maxn <= 0 or word == END or word.startswith(_bytes(self.label_prefix)):
            return own
        if len(word) > LONG:
            return self._rows_of(pa.array([word], pa.binary()))[0].tolist()
        return own + [row + self.word_count for row in character_ngrams_of(word, self.minn, self.maxn, self.bucket)]

    def word_bags(self, words: Sequence[str]) -> Bags:
        """The rows that stand for each word, as `subwords` has them."""
        rows, counts = self._rows_of(pa.array([_bytes(w) for w in words], pa.binary()))
        return Bags(rows, starts(counts))

    def state(self) -> dict[str, Any]:
        """All there is to know, as plain numbers, strings and lists that JSON can hold."""
        return {
            "entries": [_text(entry) for entry in self.entries.to_pylist()],
            "counts": self.counts.tolist(),
            "tokens": self.tokens,
            "word_ngrams": self.word_ngrams,
            "bucket": self.bucket,
            "minn": self.minn,
            "maxn": self.maxn,
            "label_prefix": self.label_prefix,
            "lowercase": self.lowercase,
        }

    @cached_property
    def _memo(self) -> WordMemo:
        """What `_rows_and_hashes` found, for the next text."""
        return WordMemo()

    @cached_property
    def _found(self) -> dict[int, np.ndarray]:
        """What was found for some arrays of words, by their identity, as long as they exist."""
        return {}

    def _remember(self, words: pa.BinaryArray, numbers: np.ndarray) -> None:
        self._found[id(words)] = numbers
        weakref.finalize(words, self._found.pop, id(words), None).atexit = False

    @cached_property
    def _index(self) -> dict[bytes, int]:
        return {entry: k for k, entry in enumerate(self.entries.to_pylist())}

    def _ids(self, words: pa.BinaryArray) -> np.ndarray:
        """The place of each word among the entries, -1 where it is not there: (W,) int32."""
        if id(words) not in self._found:  # first the rows of a text's words are looked up, then its labels
            if len(words) <= FEW:
                found = np.array([self._index.get(word, -1) for word in words.to_pylist()], np.int32)
            else:
                found = pc.call_function("index_in", [words], pc.SetLookupOptions(self.entries)).fill_null(-1)
                found = found.to_numpy(zero_copy_only=False)
            self._remember(words, found)
        return self._found[id(words)]

    def _rows_of(self, words: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        """The rows of each word, one word after another, and how many each has."""
        ids = self._ids(words)
        has_row = (ids >= 0) & (ids < self.word_count)
        if self.maxn <= 0:
            return ids[has_row], has_row.astype(np.int32)
        cut = ~(starts_with(words, self.label_prefix) | equal(words, END))
        own = np.where(has_row, ids, -1)
        return character_ngrams(words, self.minn, self.maxn, self.bucket, own=own, cut=cut, base=self.word_count)

    def _with_word_ngrams(
        self, ids: np.ndarray, ends: np.ndarray, hashes: np.ndarray, offsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each line's rows followed by those of its word n-grams."""
        begins = np.zeros(len(hashes) + 1, bool)
        begins[offsets] = True
        grams, counts = word_ngrams(hashes, begins[:-1], self.word_ngrams, self.bucket)
        gram_ends = starts(counts)[offsets]
        both = np.empty(len(ids) + len(grams), np.int32)
        both[shifted(len(ids), ends, gram_ends[:-1])] = ids
        both[shifted(len(grams), gram_ends, ends[1:])] = grams + np.int32(self.word_count)
        return both, ends + gram_ends

    def _refuse(self, tokens: Tokens, strange: np.ndarray) -> None:
        at = int(np.flatnonzero(strange[tokens.codes])[0])
        label = _text(tokens.words[int(tokens.codes[at])].as_py())[len(self.label_prefix) :]
        raise DataError(
            f"the label {shown(label)}",
            expected=f"one of the {len(self.labels)} labels seen in training ({_some(self.labels)})",
            advice='Train with it, mend the line, or drop such labels with unknown="drop".',
            file=tokens.source,
            line=tokens.line(int(np.searchsorted(tokens.offsets, at, side="right")) - 1),
        )


def as_tokens(texts: Readable, label_prefix: str = LABEL_PREFIX) -> Tokens:
    """Whatever holds text as tokens; labels become tokens before the text's own, with the prefix."""
    if isinstance(texts, Tokens):
        return texts
    if isinstance(texts, Texts):
        return texts.tokens(label_prefix)
    if isinstance(texts, str):
        raise TypeError("encode takes a list of texts; for a single one write encode([text]).")
    return tokenise_texts(texts)


def _is_groups(texts: "Readable | Sequence[Tokens]") -> TypeGuard[Sequence[Tokens]]:
    return isinstance(texts, Sequence) and not isinstance(texts, str) and bool(texts) and isinstance(texts[0], Tokens)


def _falling(counts: np.ndarray, is_label: np.ndarray) -> np.ndarray:
    """Numbers that rise with the order of the entries: words before labels, and each of them by falling count."""
    most = int(counts.max(initial=0)) + 1
    return (np.where(is_label, most, 0) - counts).astype(np.int32 if most < 2**30 else np.int64)


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def _text(entry: bytes) -> str:
    return entry.decode("utf-8", "surrogateescape")


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])
