"""A trained classifier made to fit into a file of a given size: pruned, trained further, quantized."""

import math
import tempfile
from pathlib import Path

from ..classifier import TextClassifier
from ..corpus.reading import Source
from ..files.fasttext_model import write_model
from ..model import Model

UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
LEAST = 256  # rows; fewer cannot be quantized
MANY_LABELS = 256  # from here on the output table is quantized too
SMALLER = 0.9


class TooSmall(ValueError):
    """No model of that size can be made of the one there is."""


def bytes_of(size: int | str) -> int:
    """A size such as 2000000, "500k", "2M" in bytes, as fastText reads it."""
    text = str(size).strip().lower()
    unit = UNITS.get(text[-1:], 1)
    digits = text[:-1] if unit > 1 else text
    if not digits.isdigit() or not int(digits):
        raise ValueError(f'the model size is {size!r}; it must be bytes, or such as "500k", "2M".')
    return int(digits) * unit


def fit_to_size(classifier: TextClassifier, size: int | str, data: Source, *, dsub: int = 2) -> TextClassifier:
    """The classifier quantized to at most `size` bytes on disk, its rows that are left trained further on `data`.

    Raises:
        TooSmall: so small it cannot be.
    """
    wanted, model = bytes_of(size), classifier.model
    cutoff = _first_guess(model, wanted, dsub)
    while cutoff >= LEAST:
        small = TextClassifier(model)
        small.quantize(data, qout=len(model.vocabulary.labels) >= MANY_LABELS, cutoff=cutoff, retrain=True,
                       dsub=dsub, qnorm=True)  # fmt: skip
        if _size(small.model) <= wanted:
            return small
        cutoff = int(min(cutoff, model.input.shape[0]) * SMALLER)
    raise TooSmall(
        f"a model of {wanted:,} bytes would have fewer than {LEAST} rows left; allow more, or a smaller dim."
    )


def _first_guess(model: Model, wanted: int, dsub: int) -> int:
    """So many rows are left about: each costs its codes, a norm, and ten bytes of the dictionary."""
    labels, dim = model.output.shape
    output = 21 + labels * math.ceil(dim / 2) + 16 + 4 * 256 * dim if labels >= MANY_LABELS else 16 + 4 * labels * dim
    left = wanted - 107 - 4 * 256 * dim - output
    return int(left / (math.ceil(dim / dsub) + 1 + 10))


def _size(model: Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ftz"
        write_model(model, path)
        return path.stat().st_size
