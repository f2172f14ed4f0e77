"""What a model makes of one word or line: its n-grams, their rows, its labels. Their vectors stand in vectors.py."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ...data.errors import shown
from ...data.tokens import END, tokenise_texts
from ..corpus.hashing import fnv1a
from ..corpus.vocabulary import Vocabulary
from ..model import Model


def one_line_each(texts: Sequence[str]) -> Sequence[str]:
    """The texts, if each is a string without a newline.

    Raises:
        TypeError, ValueError: one is not; the message says which.
    """
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {number} is {shown(str(text))}, a {type(text).__name__}; it must be a string.")
        if "\n" in text:
            raise ValueError(f"text {number} holds a newline; one text is one line. Replace it by a blank.")
    return texts


def words_and_labels(text: str, label_prefix: str, errors: str) -> tuple[list[str], list[str]]:
    """The words of a line, `</s>` at its end among them, and its labels; `errors` is for bytes that are not UTF-8."""
    tokens = tokenise_texts([text])
    said = [tokens.words[int(code)].as_py() for code in tokens.codes]
    prefix = label_prefix.encode("utf-8", "surrogateescape")
    words = [word.decode("utf-8", errors) for word in said if not word.startswith(prefix)]
    return words, [word.decode("utf-8", errors) for word in said if word.startswith(prefix)]


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
