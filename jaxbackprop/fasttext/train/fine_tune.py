"""Training that starts from a model, or from word vectors."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from ..corpus.corpus import Corpus
from ..corpus.reading import Source, text_groups
from ..corpus.vocabulary import Vocabulary
from ..files.vec_file import pretrained_rows
from ..model import Model
from ..predict.metrics import Skipped, labelled, nothing_to_score
from ..quantize.table import QuantizedTable
from ..settings import Settings
from .initial_tables import initial_tables
from .loop import train
from .progress import Report


def fine_tune(
    data: Source, changes: Mapping[str, Any], model: Model, *, progress: Callable[[Report], None] | None = None
) -> Model:
    """The model trained on `data` from where it is, with some settings changed.

    Texts become the rows that the model has: words it does not know stay unknown, and it may have been pruned.

    Raises:
        ValueError: the model is quantized.
        DataError: no line has a label that the model knows.
        FloatingPointError: training diverged.
    """
    if isinstance(model.input, QuantizedTable) or isinstance(model.output, QuantizedTable):
        raise ValueError("fine_tune: the model is quantized; train it before it is.")
    settings, chunks, skipped = replace(model.settings, **changes), [], Skipped()
    for tokens in text_groups(data, settings.label_prefix):
        gold, skipped_here = labelled(model.vocabulary, tokens)
        usable, skipped = np.flatnonzero(gold.lengths > 0), skipped + skipped_here
        chunks.append((model.encode(tokens).take(usable), gold.take(usable)))
    texts = sum(len(gold) for _, gold in chunks)
    if not texts:
        raise nothing_to_score(skipped, settings.label_prefix, data)
    if str(skipped):
        warnings.warn(f"{data if isinstance(data, str | PathLike) else 'texts'}: {skipped}.", stacklevel=3)
    as_is = model.vocabulary
    if model.kept is not None:  # for the trainer, a table of as many rows as are left
        cut = {} if len(model.kept) else {"word_ngrams": 1, "maxn": 0}
        as_is = replace(as_is, bucket=len(model.kept) or as_is.bucket, **cut)
    trained = train(Corpus(as_is, texts, chunks), settings, start=model, progress=progress)
    return replace(model, settings=settings, input=trained.input, output=trained.output)


def pretrained_table(
    words: Sequence[str], vectors: np.ndarray, vocabulary: Vocabulary, settings: Settings
) -> np.ndarray:
    """The input table to start from: the vectors (words, dim) in the rows of their words, numbers drawn elsewhere."""
    rows, places = pretrained_rows(words, vocabulary)
    table = np.array(initial_tables(vocabulary.rows, 1, settings.dim, settings.seed, None)[0])
    table[rows] = vectors[places]
    return table
