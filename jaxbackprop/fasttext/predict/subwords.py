"""What a model makes of one word or line: its n-grams, their rows, its labels. Their vectors stand in vectors.py."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ...data.tokens import END, tokenise_texts
from ..corpus.hashing import fnv1a
from ..corpus.vocabulary import Vocabulary
from ..model import Model
from ..options import string


def one_line(text: Any, called: str, name: str = "text") -> str:
    """The text, bytes read as UTF-8, if it is a string without a newline.

    Raises:
        TypeError, ValueError: it is not; the message says which argument of which call.
    """
    text = string(text, name, called)
    if "\n" in text:
        raise ValueError(f"{called}: {name} holds a newline; one text is one line. Replace it by a blank.")
    return text


def one_line_each(texts: Any, called: str) -> list[str]:
    """The texts of a list, an array, a column, as `one_line` has them.

    Raises:
        TypeError, ValueError: there is no list of texts, or one of them is none; the message says which.
    """
    return [one_line(text, called, f"text {number}") for number, text in enumerate(list_of(texts, called))]


def list_of_strings(texts: Any, called: str) -> list[str]:
    """The same, but a text may have several lines."""
    return [string(text, f"text {number}", called) for number, text in enumerate(list_of(texts, called))]


def list_of(texts: Any, called: str) -> Iterable[Any]:
    """What may hold texts, or a TypeError."""
    if not isinstance(texts, Iterable) or isinstance(texts, str | bytes | Mapping) or getattr(texts, "ndim", 1) != 1:
        shape = getattr(texts, "shape", None)
        what = f"{texts!r:.40}" if shape is None else f"an array of shape {shape}"
        raise TypeError(f"{called}: text is {what}; it must be a string or a list of strings.")
    return texts


def words_and_labels(text: str, label_prefix: str, errors: str) -> tuple[list[str], list[str]]:
    """The words of a line, `</s>` at its end among them, and its labels; `errors` is for bytes that are not UTF-8."""
    tokens = tokenise_texts([text])
    tokens_as_bytes = [tokens.words[int(code)].as_py() for code in tokens.codes]
    prefix = label_prefix.encode("utf-8", "surrogateescape")
    words = [word.decode("utf-8", errors) for word in tokens_as_bytes if not word.startswith(prefix)]
    return words, [word.decode("utf-8", errors) for word in tokens_as_bytes if word.startswith(prefix)]


def subwords(model: Model, word: str) -> tuple[list[str], np.ndarray]:
    """The word, if it has a row, and its character n-grams; and the rows they have."""
    vocabulary = model.vocabulary
    own = [word] if vocabulary.word_id(word) >= 0 else []
    has_grams = word != END.decode() and not word.startswith(vocabulary.label_prefix)
    grams = character_ngrams_of(word, vocabulary.minn, vocabulary.maxn) if has_grams else []
    return own + grams, model.subwords(word)


def subword_row(vocabulary: Vocabulary, subword: str) -> int:
    """The row of a character n-gram.

    Raises:
        ValueError: the vocabulary has no n-grams, and no row for them.
    """
    if not vocabulary.bucket:
        raise ValueError("get_subword_id: this model has no n-grams; train with word_ngrams above 1 or maxn above 0.")
    hashed = fnv1a(pa.array([subword.encode("utf-8", "surrogateescape")], pa.binary()))
    return int(hashed[0]) % vocabulary.bucket + vocabulary.word_count


def character_ngrams_of(word: str, minn: int, maxn: int) -> list[str]:
    """The character n-grams of `<word>` in the order of their rows; a single boundary character is none."""
    text = f"<{word}>"
    return [
        text[start : start + n]
        for start in range(len(text))
        for n in range(max(minn, 1), min(maxn, len(text) - start) + 1)
        if n > 1 or 0 < start < len(text) - 1
    ]
