"""The linear model trained: every text weighted once, then visited in as many orders as there are epochs."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from ...data import Bags
from ..corpus.corpus import Corpus
from ..model import Model
from ..settings import Settings
from ..train.compile_cache import compiled
from ..train.epochs import EpochMonitor
from ..train.progress import ProgressTracker, Report
from ..train.text_weights import label_weights, text_weights
from .ascent import Weighted, Weights, visit_all
from .features import counted, idf_of, weigh


def train_linear(
    corpus: Corpus,
    settings: Settings,
    *,
    progress: Callable[[Report], None] | None = None,
    monitor_of: Callable[[Model], EpochMonitor] | None = None,
) -> tuple[Model, EpochMonitor | None]:
    """The linear model of a corpus that fits into memory; n-grams that no text of it holds have no row.

    Args:
        corpus: the texts.
        settings: how to train.
        progress: called with a `Report` now and then.
        monitor_of: makes what measures each epoch and stops early, of the model before it is trained.

    Returns:
        The model after the best epoch on the monitor's held-out texts, or after the last one; and the monitor.

    Raises:
        FloatingPointError: training met a number that is not finite.
    """
    parts = list(corpus.chunks())
    bags, labels = (Bags.joined([part[side] for part in parts]) for side in (0, 1))
    vocabulary, count = corpus.vocabulary, len(corpus.vocabulary.labels)
    bags, kept = _compact(bags, vocabulary.word_count)
    rows = vocabulary.word_count + len(kept)
    counts = counted(bags, rows)
    idf = idf_of(counts, vocabulary, settings.idf)
    features = weigh(counts, idf)
    weights = text_weights(labels, label_weights(vocabulary, settings.class_weight), corpus.weights)
    C = np.full(len(bags), settings.C, np.float32)
    texts = Weighted(
        features.indices.astype(np.uint32),
        features.data.astype(np.float32),
        features.indptr.astype(np.uint32),
        labels.ids.view(np.uint32),
        labels.offsets.astype(np.uint32),
        C if weights is None else C * weights,
    )
    order = np.arange(len(bags), dtype=np.uint32)
    with jax.default_device(jax.devices("cpu")[0]):  # one short text after another is no work for an accelerator
        trained = Weights(jnp.zeros((rows, count)), jnp.zeros((1, count)), jnp.zeros((len(bags), count)))
        program = compiled(visit_all, trained, texts, order, loss=settings.loss, smoothing=settings.smoothing)
    none = np.zeros((0, count), np.float32)
    untrained = Model(vocabulary, settings, none, none, kept if vocabulary.bucket else None, "linear", idf, none)

    def model_of(rows: jax.Array, bias: jax.Array) -> Model:
        return replace(untrained, input=np.asarray(rows), bias=np.asarray(bias)[0])

    monitor = None if monitor_of is None else monitor_of(untrained)
    tracker = ProgressTracker(len(bags), corpus.tokens, settings, progress)
    random = np.random.default_rng(settings.seed)
    for _ in range(settings.epoch):
        trained, loss = program(trained, texts, random.permutation(order))
        tracker.visited(len(bags), loss)
        if monitor is not None and monitor.end_of_epoch((trained.rows, trained.bias), tracker, model_of):
            break
    tracker.end()
    best = None if monitor is None else monitor.best
    model = model_of(*(best or (trained.rows, trained.bias)))
    if not np.isfinite(np.asarray(model.bias)).all():
        raise FloatingPointError("training met a number that is not finite; give a smaller C.")
    return model, monitor


def _compact(bags: Bags, words: int) -> tuple[Bags, np.ndarray]:
    """The rows with n-grams numbered anew by those that occur, and the pairs (number in the bucket, new number)."""
    is_gram = bags.ids >= words
    coded = pa.array(bags.ids[is_gram] - words).dictionary_encode()
    ids = bags.ids.copy()
    ids[is_gram] = coded.indices.to_numpy() + words
    used = coded.dictionary.to_numpy()
    return Bags(ids, bags.offsets), np.stack([used, np.arange(len(used), dtype=np.int32)], 1)
