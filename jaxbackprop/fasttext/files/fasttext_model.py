"""fastText's model files, .bin and .ftz: what fastText 0.9.2 writes is read, what is written fastText reads.

Little-endian, one part after another: magic and version; twelve settings and t; the dictionary; pruned n-grams;
whether and then the input table; whether and then the output table. Where a byte is not as it must be, a DataError
says at which.

Source  fastText 0.9.2: fasttext.cc, args.cc, dictionary.cc
"""

import math
import re
import struct
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...data import DataError
from ..corpus.vocabulary import LABEL_PREFIX, Vocabulary
from ..model import Kind, Model
from ..quantize.table import QuantizedTable
from ..settings import Settings
from .binary_reader import BinaryFile, opened_binary, written_whole
from .fasttext_dictionary import bytes_of_entries, entries_from
from .fasttext_matrix import flag_from, table_from, write_table

MAGIC, VERSION, OLD_VERSION = 793712314, 12, 11
LOSSES = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
KINDS: dict[Kind, int] = {"cbow": 1, "skipgram": 2, "supervised": 3}
INT = np.iinfo(np.int32).max
HEADER = {  # in the order of the file, each with what it may be
    "dim": (1, INT),
    "ws": (0, INT),
    "epoch": (0, INT),
    "min_count": (0, INT),
    "neg": (0, INT),
    "word_ngrams": (0, INT),
    "loss": (1, len(LOSSES)),
    "model": (1, len(KINDS)),
    "bucket": (0, INT),
    "minn": (0, INT),
    "maxn": (0, 1 << 16),  # no word is longer; a damaged file must not cost memory when a text is encoded
    "lr_update_rate": (0, INT),
}
FOREIGN = "Is this a fastText model (.bin or .ftz)?"


def read_model(path: str | PathLike[str], *, label_prefix: str | None = None) -> Model:
    """The model in a .bin or .ftz file, its tables read once into their place: a classifier, or word vectors.

    Args:
        label_prefix: what labels begin with. The file does not say it; where it is not given it is __label__ if all
            labels begin so and no word does, otherwise what all labels begin with, up to a sign that is no letter or
            digit.

    Raises:
        DataError: no such file; another kind of file, or a damaged one, with the byte.
    """
    with opened_binary(Path(path)) as file:
        version, header, t = _header(file)
        supervised = header["model"] == KINDS["supervised"]
        if version == OLD_VERSION and supervised:
            header["maxn"] = 0  # it had no character n-grams, whatever is written there
        vocabulary, kept = _vocabulary(file, header, label_prefix, needs_labels=supervised)
        words, at = vocabulary.word_count, file.at
        quantized = flag_from(file, "whether the input table is quantized")
        if kept is not None and not quantized:
            file.refuse("a pruned table that is not quantized", expected="both or neither", at=at)
        rows = words + (header["bucket"] if kept is None else len(kept))
        input = table_from(file, quantized, rows, header["dim"], "the input table")
        # fastText passes over the second flag where the first is not set.
        quantized = flag_from(file, "whether the output table is quantized") and quantized
        rows = len(vocabulary.labels) if supervised else words
        output = table_from(file, quantized, rows, header["dim"], "the output table")
        if file.left:
            file.refuse(f"{file.left:,} more bytes", expected="the end of the file")
        settings = _settings(file, header, t, vocabulary.label_prefix)
        return Model(vocabulary, settings, input, output, kept, list(KINDS)[header["model"] - 1])


def _header(file: BinaryFile) -> tuple[int, dict[str, int], float]:
    """Version, settings by name, t."""
    magic = file.number("i", "a fastText model")
    if magic != MAGIC:
        file.refuse(
            f"the number {magic}", expected=f"{MAGIC}, which a fastText model begins with", at=0, advice=FOREIGN
        )
    version = file.number("i", "the version")
    if version not in (VERSION, OLD_VERSION):
        file.refuse(f"version {version}", expected=f"{VERSION} or {OLD_VERSION}", at=4, advice=FOREIGN)
    header = {}
    for name, (low, high) in HEADER.items():
        at, value = file.at, file.number("i", "the settings")
        if not low <= value <= high:
            file.refuse(f"{name} {value:,}", expected=f"{low:,} to {high:,}", at=at)
        header[name] = value
    at, t = file.at, file.number("d", "the settings")
    if not (math.isfinite(t) and t >= 0):
        file.refuse(f"t {t}", expected="a number, at least 0", at=at)
    if (header["word_ngrams"] > 1 or header["maxn"]) and not header["bucket"]:
        file.refuse("n-grams in no bucket", expected="at least 1", at=8 + 4 * list(HEADER).index("bucket"))
    return version, header, t


def _vocabulary(
    file: BinaryFile, header: dict[str, int], label_prefix: str | None, *, needs_labels: bool
) -> tuple[Vocabulary, np.ndarray | None]:
    """The dictionary, and its pruned n-grams."""
    at = file.at
    size, words, labels = (file.number("i", "the sizes of the dictionary") for _ in range(3))
    tokens, pruned = (file.number("q", "the sizes of the dictionary") for _ in range(2))
    if min(words, labels) < 0 or words + labels != size or tokens < 0 or pruned < -1:
        found = f"{size:,} entries, {words:,} words, {labels:,} labels, {tokens:,} tokens, {pruned:,} n-grams left"
        file.refuse(found, expected="words and labels to add up to the entries, and nothing below 0", at=at)
    if needs_labels and not labels:
        file.refuse("no label", expected="at least one in a classifier", at=at + 8)
    begin = file.at
    entries, counts, is_label = entries_from(file, size)
    if is_label.sum() != labels:
        file.refuse(f"{is_label.sum():,} labels among the entries", expected=f"{labels:,}", at=begin)
    prefix = _label_prefix(entries.to_pylist(), words, label_prefix)
    if prefix is None:
        raise DataError(
            "labels with nothing in front that sets them apart from words"
            if label_prefix is None
            else f"entries for which {label_prefix} does not tell labels from words",
            expected="a prefix that all labels have and no word has",
            advice="Give the prefix the model was trained with as label_prefix.",
            file=file.path,
            byte=begin,
        )
    ngrams: dict[str, Any] = {name: header[name] for name in ("word_ngrams", "bucket", "minn", "maxn")}
    vocabulary = Vocabulary(entries, counts, tokens, **ngrams, label_prefix=prefix)
    return vocabulary, _kept(file, pruned, header["bucket"]) if pruned >= 0 else None


def _label_prefix(entries: list[bytes], words: int, given: str | None) -> str | None:
    """What sets labels apart from words, the one given or the likeliest; None where it does not."""
    labels = entries[words:]
    likely = (LABEL_PREFIX, _shared_start(labels)) if given is None else (given,)
    for prefix in likely:
        start = prefix.encode("utf-8", "surrogateescape")
        apart = all(label.startswith(start) for label in labels)
        if prefix and apart and not any(word.startswith(start) for word in entries[:words]):
            return prefix
    return None


def _shared_start(labels: list[bytes]) -> str:
    """What all begin with, up to the last sign of ASCII in it that is no letter or digit."""
    first, last = min(labels, default=b""), max(labels, default=b"")
    shared = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    found = re.match(rb"[\x01-\x7f]*[^0-9A-Za-z\x80-\xff]", first[:shared])
    return found[0].decode() if found else ""


def _kept(file: BinaryFile, count: int, bucket: int) -> np.ndarray:
    """The n-grams that are left, and the row of each: (count, 2)."""
    at = file.at
    pairs = file.array("<i4", (count, 2), "the n-grams that are left")
    old, new = np.sort(pairs[:, 0]), np.sort(pairs[:, 1])
    if count and (old[0] < 0 or old[-1] >= bucket or (np.diff(old) == 0).any()):
        file.refuse("an n-gram twice, or out of range", expected=f"each once, 0 to {bucket - 1:,}", at=at)
    if not np.array_equal(new, np.arange(count)):
        file.refuse("n-grams that share a row, or have none", expected=f"a row each, 0 to {count - 1:,}", at=at)
    return pairs


def _settings(file: BinaryFile, header: dict[str, int], t: float, label_prefix: str) -> Settings:
    known: dict[str, Any] = {name: value for name, value in header.items() if name not in ("loss", "model")}
    for name in ("epoch", "neg", "lr_update_rate"):
        known[name] = max(known[name], 1)  # 0 is no setting to train with, but a file may hold it
    known["bucket"] = known["bucket"] or Settings.bucket  # 0 where there are no n-grams
    loss: Any = list(LOSSES)[header["loss"] - 1]
    try:
        return Settings(**known, loss=loss, t=t, label_prefix=label_prefix)
    except ValueError as error:
        raise DataError(f"a setting that cannot be ({error})", advice=FOREIGN, file=file.path, byte=8) from error


def write_model(model: Model, path: str | PathLike[str]) -> None:
    """Write fastText's file: a .bin, or a .ftz where the input table is quantized. It takes its name once it is whole.

    Raises:
        ValueError: what fastText has no form for: an output table quantized alone, a pruned table that is not
            quantized, tables whose shapes do not fit the vocabulary, a number too great for its place.
    """
    _refuse_unwritable(model)
    vocabulary, settings, kept = model.vocabulary, model.settings, model.kept
    words, labels = vocabulary.word_count, len(vocabulary.labels)
    header = {name: getattr(settings, name, None) for name in HEADER}
    header |= {"dim": model.input.shape[1], "loss": LOSSES[settings.loss], "model": KINDS[model.kind]}
    header |= {name: getattr(vocabulary, name) for name in ("word_ngrams", "minn", "maxn")}
    header["bucket"] = vocabulary.bucket if kept is not None else model.input.shape[0] - words
    for name, value in header.items():
        if not (isinstance(value, int) and 0 <= value <= INT):
            raise ValueError(f"write_model: {name} is {value}; fastText's file holds 0 to {INT:,}.")
    is_label = np.arange(words + labels) >= words
    with written_whole(Path(path)) as file:
        file.write(struct.pack("<2i12id", MAGIC, VERSION, *header.values(), settings.t))
        sizes = (words + labels, words, labels, vocabulary.tokens, -1 if kept is None else len(kept))
        file.write(struct.pack("<3i2q", *sizes))
        file.write(bytes_of_entries(vocabulary.entries, vocabulary.counts, is_label).data)
        if kept is not None:
            file.write(np.ascontiguousarray(kept, "<i4").tobytes())
        for table in (model.input, model.output):
            file.write(struct.pack("<?", isinstance(table, QuantizedTable)))
            write_table(file, table)


def _refuse_unwritable(model: Model) -> None:
    vocabulary, (rows, dim) = model.vocabulary, model.input.shape
    bucket = vocabulary.bucket if model.kept is None else len(model.kept)
    unused = model.kept is None and vocabulary.bucket == 0  # a table may have rows for n-grams that there are none of
    if rows != vocabulary.word_count + bucket and not (unused and rows > vocabulary.word_count):
        raise ValueError(f"write_model: the input table has {rows:,} rows for {vocabulary.word_count + bucket:,}.")
    named = "labels" if model.kind == "supervised" else "words"
    shape, expected = tuple(model.output.shape), (len(getattr(vocabulary, named)), dim)
    if shape != expected:
        raise ValueError(f"write_model: the output table is {shape}; {named} and dim make it {expected}.")
    quantized = isinstance(model.input, QuantizedTable)
    if not quantized and (isinstance(model.output, QuantizedTable) or model.kept is not None):
        raise ValueError("write_model: quantize the input table; fastText prunes, and quantizes the output, with it.")
    for table in (model.input, model.output):
        if isinstance(table, QuantizedTable) and table.codes.size > INT:
            raise ValueError(f"write_model: {table.codes.size:,} codes; fastText's file holds {INT:,}. Raise dsub.")
