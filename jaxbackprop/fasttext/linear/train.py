"""The linear model trained: every text weighted once, then visited in as many orders as there are epochs."""

from collections.abc import Callable
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from ...data import Bags
from ...training.history import Epoch
from ..corpus.corpus import Corpus
from ..model import Model
from ..settings import Settings
from ..train.compile_cache import compiled
from ..train.progress import ProgressTracker, Report
from .ascent import Weighted, Weights, visit_all
from .features import counted, idf_of, weigh


def train_linear(
    corpus: Corpus,
    settings: Settings,
    *,
    progress: Callable[[Report], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Model:
    """The linear model of a corpus that fits into memory; n-grams that no text of it holds have no row.

    Raises:
        FloatingPointError: training met a number that is not finite.
    """
    parts = list(corpus.chunks())
    bags, labels = (Bags.joined([part[side] for part in parts]) for side in (0, 1))
    vocabulary, count = corpus.vocabulary, len(corpus.vocabulary.labels)
    bags, kept = _compact(bags, vocabulary.word_count)
    rows = vocabulary.word_count + len(kept)
    counts = counted(bags, rows)
    idf = idf_of(counts, vocabulary)
    features = weigh(counts, idf)
    texts = Weighted(
        features.indices.astype(np.uint32),
        features.data.astype(np.float32),
        features.indptr.astype(np.uint32),
        labels.ids.view(np.uint32),
        labels.offsets.astype(np.uint32),
    )
    order = np.arange(len(bags), dtype=np.uint32)
    with jax.default_device(jax.devices("cpu")[0]):  # one short text after another is no work for an accelerator
        model = Weights(jnp.zeros((rows, count)), jnp.zeros((1, count)), jnp.zeros((len(bags), count)))
        program = compiled(visit_all, model, texts, order, loss=settings.loss, C=settings.C)
    tracker, random = (
        ProgressTracker(len(bags), corpus.tokens, settings, progress),
        np.random.default_rng(settings.seed),
    )
    for epoch in range(settings.epoch):
        began = perf_counter()
        model, loss = program(model, texts, random.permutation(order))
        tracker.visited(len(bags), loss)
        if on_epoch is not None:
            mean, seconds = float(loss) / len(bags), perf_counter() - began
            on_epoch(Epoch(epoch + 1, mean, None, None, None, seconds, len(bags) / seconds))
    tracker.end()
    table, bias = np.asarray(model.rows), np.asarray(model.bias)[0]
    if not np.isfinite(bias).all():
        raise FloatingPointError("training met a number that is not finite; give a smaller C.")
    none = np.zeros((0, count), np.float32)
    return Model(vocabulary, settings, table, none, kept if vocabulary.bucket else None, "linear", idf, bias)


def _compact(bags: Bags, words: int) -> tuple[Bags, np.ndarray]:
    """The rows with n-grams numbered anew by those that occur, and the pairs (number in the bucket, new number)."""
    is_gram = bags.ids >= words
    coded = pa.array(bags.ids[is_gram] - words).dictionary_encode()
    ids = bags.ids.copy()
    ids[is_gram] = coded.indices.to_numpy() + words
    used = coded.dictionary.to_numpy()
    return Bags(ids, bags.offsets), np.stack([used, np.arange(len(used), dtype=np.int32)], 1)
