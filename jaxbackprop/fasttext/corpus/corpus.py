"""What a text classifier is trained on: a file read once, encoded during training, larger than memory if it is."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np

from ...data import Bags, DataError, Texts, Tokens
from ...data.errors import shown
from ...data.files import byte_of_line, suffix
from ...data.parallel import in_parallel
from ...data.tokens import END, equal, starts_with
from ..settings import Settings
from .cache import MATTERS, EncodedFiles, content_key
from .reading import Source, path_of, text_groups
from .spill import Spill
from .vocabulary import Vocabulary
from .word_rows import select

Unlabelled = Literal["refuse", "skip"]
Chunk = tuple[Bags, Bags]
"""Some texts: the rows of each, and the numbers of its labels."""
MEMORY = 1 << 31  # bytes of token numbers, and of rows, that are held before further ones go to disk
SHOWN = 16  # words of a line in a message
SORTED = 0.25  # a text whose label changes less often, beside a random order, is sorted by label
PIECE = 1 << 22  # rows in a chunk of a corpus that is shuffled whole


class Corpus:
    """Labelled texts as a trainer sees them: chunk after chunk of rows and labels, as often as it wants.

    Attributes:
        vocabulary: words and labels as fastText numbers them.
        texts: how many texts there are, those that no label is left of not counted.
        tokens: how many tokens were read, labels and line ends included: what fastText's learning rate falls over.
        held_out: lines that were held out, not counted and not in any chunk.
        weights: (texts,) how much each text counts, in the order of the chunks; None: all alike.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        texts: int,
        chunks: Iterable[Chunk],
        held_out: Sequence[Tokens] = (),
        weights: np.ndarray | None = None,
    ):
        self.vocabulary, self.texts, self.tokens, self.held_out = vocabulary, texts, vocabulary.tokens, held_out
        self.weights = weights
        self._known: list[Chunk] = []
        self._coming = iter(chunks)

    @classmethod
    def read(
        cls,
        source: Source,
        settings: Settings,
        *,
        unlabelled: Unlabelled = "refuse",
        vocabulary: Vocabulary | None = None,
        cache: Path | None = None,
        also: Sequence[str] | None = None,
        hold_out: float | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> "Corpus":
        """The corpus in a file of labelled lines (plain, .gz, .zst), a .csv, or "-" (standard input); or Texts.

        Args:
            unlabelled: a line with words but no label is an error ("refuse"), or is skipped, with a warning that says
                how many there are ("skip"). What follows a `</s>` within a line needs no label: it is passed over.
            vocabulary: the one to number by, instead of the text's own: of a model that is trained further, or
                compared.
            cache: a folder in which the encoded file is kept, found again by its content and by the settings that
                matter: another corpus of the same file is there at once.
            also: words that have a row whether the text holds them or not: those that vectors were given for; such a
                corpus is not kept in the cache.
            hold_out: the share of the lines to hold out, drawn by the seed of the settings: neither the vocabulary nor
                the chunks know them; such a corpus is not kept in the cache.
            sample_weight: how much each counts, a number for each line of the file, blank ones included, or for each
                of the Texts; such a corpus is not kept in the cache.

        A text sorted by label is shuffled whole where the settings say `shuffle`; otherwise there is a warning.

        Raises:
            TypeError: the source is no text.
            DataError: no such file; a line without label; no line that a label is left of.
            ValueError: `hold_out` leaves one side without a line; another number of weights than of lines; the cache is
                a file.
        """
        path = path_of(source)
        files = None
        if cache is not None and cache.exists() and not cache.is_dir():
            raise ValueError(f"{cache} is a file: name a folder to keep the encoded text in.")
        plain = vocabulary is None and also is None and hold_out is None and sample_weight is None
        if cache is not None and path is not None and plain:
            files = EncodedFiles(cache / content_key(path, settings))
            if files.exist():
                known, chunks = files.read()
                found = cls(known, sum(len(rows) for rows, _ in chunks), chunks)
                return found._in_no_order_of_labels([labels for _, labels in chunks], settings, str(path))
        spill = Spill(MEMORY)
        groups, held_out, random = [], [], np.random.default_rng(settings.seed)
        skipped, first, places, count = 0, 0, [], 0
        by_line = not isinstance(source, Texts) and (path is None or suffix(path) != ".csv")
        for group in text_groups(source, settings.label_prefix):
            bad = _unlabelled(group, settings.label_prefix)
            if len(bad) and unlabelled == "refuse":
                raise _line_without_label(group, int(bad[0]), settings.label_prefix, path)
            if len(bad):
                first, skipped = first or group.line(int(bad[0])), skipped + len(bad)
            place = np.arange(len(group)) if group.lines is None or not by_line else group.lines - 1
            count = max(count, int(place.max(initial=-1)) + 1)
            if hold_out is not None:
                is_held_out = random.random(len(group)) < hold_out
                held_out.append(group.take(np.flatnonzero(is_held_out)))
                group, place = group.take(np.flatnonzero(~is_held_out)), place[~is_held_out]
            groups.append(replace(group, codes=spill.keep(group.codes)))
            places.append(place)
        if hold_out is not None and not (sum(map(len, held_out)) and sum(map(len, groups))):
            raise ValueError(f"valid is {hold_out}: of so few lines it leaves one side without any.")
        known = vocabulary or Vocabulary.build(groups, **{name: getattr(settings, name) for name in MATTERS})
        known = known if also is None else known.with_words(also)
        labels = [known.encode_labels(group, unknown="drop" if vocabulary is None else "refuse") for group in groups]
        texts = sum(int((part.lengths > 0).sum()) for part in labels)
        if not texts:
            raise _no_label(groups, settings)
        named = groups[0].source or "the texts"
        if skipped:
            message = f"{skipped:,} line{'s' * (skipped > 1)} without label skipped, the first is line {first:,}"
            warnings.warn(f"{named}: {message}.", stacklevel=2)
        weights = None
        if sample_weight is not None:
            has_label = np.concatenate([part.lengths > 0 for part in labels])
            weights = _weights_at(sample_weight, np.concatenate(places)[has_label], count)
        found = cls(known, texts, _encoded(known, groups, labels, files or spill), held_out, weights)
        return found._in_no_order_of_labels(labels, settings, named)

    def chunks(self) -> Iterator[Chunk]:
        """One pass over all texts, in the order of the file; the first is encoded on another thread as it goes.

        Every text has a label; one of which no word is known has no row.
        """
        number = 0
        while True:
            if number == len(self._known):
                chunk = next(self._coming, None)
                if chunk is None:
                    return
                self._known.append(chunk)
            yield self._known[number]
            number += 1

    def shuffled(self, seed: int) -> "Corpus":
        """The corpus with all its texts in one order, drawn by the seed; it is encoded and copied at once."""
        rows, labels = (Bags.joined(part) for part in zip(*self.chunks(), strict=True))
        order = np.random.default_rng(seed).permutation(len(rows))
        parts = np.array_split(order, len(rows.ids) // PIECE + 1)
        weights = None if self.weights is None else self.weights[order]
        chunks = [(rows.take(k), labels.take(k)) for k in parts]
        return Corpus(self.vocabulary, self.texts, chunks, self.held_out, weights)

    def _in_no_order_of_labels(self, labels: Sequence[Bags], settings: Settings, named: str) -> "Corpus":
        """The corpus, shuffled whole if it is sorted by label: shuffling chunks would leave a label a chunk."""
        if settings.model == "linear" or not _is_sorted(labels):  # the linear model draws an order of all texts
            return self
        if settings.shuffle and sum(rows.ids.nbytes for rows, _ in self.chunks()) <= MEMORY:
            return self.shuffled(settings.seed)
        do = "it is too large to be shuffled whole here: shuffle the file" if settings.shuffle else "give shuffle=True"
        message = "its lines are sorted by label, and the labels that come last would be learned at the others' cost"
        warnings.warn(f"{named}: {message}; {do}.", stacklevel=3)
        return self


def _encoded(
    vocabulary: Vocabulary, groups: list[Tokens], labels: list[Bags], keeper: "EncodedFiles | Spill"
) -> Iterator[Chunk]:
    """The chunks, one ahead of the consumer; each group is released once it is encoded."""
    coming = _in_order(vocabulary, groups, labels)
    for chunk in in_parallel(lambda _: next(coming, None), count(), threads=1):
        if chunk is None:
            break
        if isinstance(keeper, EncodedFiles):
            yield keeper.keep(chunk)
        else:
            rows, its_labels = chunk
            yield Bags(keeper.keep(rows.ids), rows.offsets), its_labels
    if isinstance(keeper, EncodedFiles):
        keeper.finish(vocabulary)


def _in_order(vocabulary: Vocabulary, groups: list[Tokens], labels: list[Bags]) -> Iterator[Chunk]:
    """The chunks; those of the first group are small, so that training begins before it is encoded whole."""
    for number, its_labels in enumerate(labels):
        group, groups[number] = groups[number], None  # type: ignore[call-overload]
        parts, first = vocabulary.encoded(group) if number == 0 else [vocabulary.encode(group)], 0
        for rows in parts:
            own = its_labels.part(first, first + len(rows))
            first, has_label = first + len(rows), own.lengths > 0
            yield (rows, own) if has_label.all() else (rows.take(has_label), own.take(has_label))


def _weights_at(sample_weight: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """The weights of the texts at these places of a source that has `count` of them."""
    weights = np.asarray(sample_weight, np.float32)
    if weights.shape != (count,):
        raise ValueError(f"sample_weight has shape {weights.shape}; the source has {count:,} lines, a weight for each.")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights[places].any()):
        raise ValueError("sample_weight must hold finite numbers that are at least 0, and not 0 for all texts.")
    return weights[places]


def _no_label(groups: list[Tokens], settings: Settings) -> DataError:
    """The error for a text without any label, or without a frequent one."""
    rare = any(starts_with(group.words, settings.label_prefix).any() for group in groups)
    return DataError(
        f"no label that occurs {settings.min_count_label} times" if rare else "no line with a label",
        expected="at least one" if rare else f"lines such as {settings.label_prefix}x some words",
        advice="Try a smaller min_count_label." if rare else "Is it the right file, and the label's prefix as given?",
        file=groups[0].source,
    )


def _is_sorted(labels: Sequence[Bags]) -> bool:
    """Whether texts of one label stand together: the label changes far less often than in a random order."""
    first = np.concatenate([part.ids[part.offsets[:-1][part.lengths > 0]] for part in labels])
    shares = np.bincount(first) / len(first)
    return bool(np.count_nonzero(np.diff(first)) < SORTED * (len(first) - 1) * (1 - (shares**2).sum()))


def _unlabelled(group: Tokens, label_prefix: str) -> np.ndarray:
    """The lines that have words but no label, and are not what follows a `</s>` within a line."""
    codes, starts, ends = group.codes, group.offsets[:-1], group.offsets[1:]
    is_label, is_end = starts_with(group.words, label_prefix), equal(group.words, END)
    words = ends - starts - is_end[codes[ends - 1]]
    bad = np.flatnonzero(~is_label[codes[starts]] & (words > 0))  # almost every label is its line's first word
    if len(bad):
        _, labels = select(codes, is_label, group.offsets)
        bad = bad[np.diff(labels)[bad] == 0]
    if len(bad) and group.lines is not None:
        bad = bad[(bad == 0) | (group.lines[bad] != group.lines[bad - 1])]
    return bad


def _line_without_label(group: Tokens, k: int, label_prefix: str, path: Path | None) -> DataError:
    """The error for line `k` of a group."""
    is_end = equal(group.words, END)
    codes = group.codes[group.offsets[k] : group.offsets[k + 1]]
    words = b" ".join(group.words[int(code)].as_py() for code in codes[:SHOWN] if not is_end[code])
    line = group.line(k)
    return DataError(
        f"a line without label ({shown(words.decode('utf-8', 'backslashreplace'))})",
        expected=f"at least one word beginning with {label_prefix}",
        advice='Give the line its label, or skip such lines: unlabelled="skip", --skip-unlabelled.',
        file=group.source,
        line=line,
        byte=None if path is None or suffix(path) == ".csv" else byte_of_line(path, line),
    )
