"""The training loop of a text classifier: epochs over a corpus.

The arithmetic of a step is in sequential.py and step.py, the rate in learning_rate_schedule.py.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...data import Bags
from ...training.stop_signals import StopSignals
from ..corpus.vocabulary import Vocabulary
from ..model import Model
from ..predict.huffman import paths
from ..settings import Settings
from .batched import AXIS, Batching, train_chunk_in_batches
from .checkpoints.manager import CheckpointManager
from .checkpoints.storage import Checkpoints, training_of
from .chunks import Chunker, most_in_a_batch
from .compile_cache import compiled
from .epochs import EpochMonitor
from .idf import idf_learning_rate_scale
from .initial_tables import Start, initial_tables
from .learning_rate_schedule import linear_decay
from .losses import Targets
from .progress import ProgressTracker, Report
from .sampler import Sampler
from .sequential import Texts, train_chunk
from .tables import Tables, init_slots
from .text_weights import label_weights, text_weights

BATCH = 256  # texts a step on an accelerator: on five data sets within a hundredth of one text at a time
VECTOR = 8  # numbers that a CPU adds at once
SECTOR = 16  # numbers in 64 bytes, the least an accelerator's memory moves
HOT = 128  # from this batch size on, rows are often named by several texts of a batch


class Corpus(Protocol):
    """What can be trained on."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Its words and labels."""
        ...

    @property
    def texts(self) -> int:
        """How many texts a pass has."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens a pass has, as fastText counts them."""
        ...

    @property
    def weights(self) -> np.ndarray | None:
        """How much each text counts, in the order of a pass; None: all alike."""
        ...

    def chunks(self) -> Iterator[tuple[Bags, Bags]]:
        """One pass over all texts in their order: some texts' rows, and the same texts' labels, chunk after chunk."""
        ...


def train(
    corpus: Corpus,
    settings: Settings,
    *,
    start: Start = None,
    progress: Callable[[Report], None] | None = None,
    checkpoints: Checkpoints | None = None,
    monitor: EpochMonitor | None = None,
) -> Model:
    """Train a model on `corpus`. The same seed gives the same model.

    Args:
        corpus: the texts.
        settings: how to train.
        start: the tables to start from: a model to be trained further, or an input table (rows, dim), such as word
            vectors; None draws them.
        progress: called with a `Report` now and then, ten times a second at most, and at the end.
        checkpoints: where training is saved as it goes; where it was saved before, it continues from there, bit for
            bit; None saves nothing. They stay until the caller has the model on disk.
        monitor: measures each epoch and stops early; None: no epoch is waited for.

    Returns:
        The model after the best epoch on the monitor's held-out texts, or after the last one.

    Raises:
        ValueError: `start` does not fit the vocabulary and settings; the corpus has no label.
        DataError: the checkpoint is of another training, or damaged.
        FloatingPointError: training met a number that is not finite.
    """
    if corpus.weights is not None and settings.optimizer != "sgd":
        raise ValueError(f"sample_weight is given; it needs the optimizer sgd, not {settings.optimizer}.")
    labels = corpus.vocabulary.counts[corpus.vocabulary.word_count :]
    if not len(labels):
        raise ValueError("train: the vocabulary has no label.")
    batch = settings.batch or (1 if jax.default_backend() == "cpu" else BATCH)
    sampler = Sampler(labels, settings.neg, settings.seed)
    weighted = settings.class_weight is not None or corpus.weights is not None
    tree = paths(labels) if settings.loss == "hs" else None
    chunker = Chunker(settings, sampler, tree, batch=batch, weighted=weighted)
    tracker = ProgressTracker(corpus.texts, corpus.tokens, settings, progress)
    devices = len(jax.devices()) if batch > 1 else 1
    identity = training_of(settings, corpus.vocabulary, corpus.texts, batch, devices)
    if corpus.weights is not None:
        identity["sample_weight"] = float(corpus.weights @ np.arange(1, len(corpus.weights) + 1))
    if monitor is not None:
        identity["validation"] = monitor.identity
    manager = CheckpointManager(checkpoints, identity, chunker, tracker, monitor)
    training = _Training(corpus, settings, start, chunker, tracker, manager, monitor)
    # Without checkpoints nothing can be saved, and signals do what they always do.
    with StopSignals() if checkpoints is not None else nullcontext() as manager.signals:
        tables = _in_order(training) if batch == 1 else _in_batches(training)
    tracker.end()
    best = None if monitor is None else monitor.best
    model = training.model(*(best or (tables.input.rows, tables.output.rows)))
    if not np.isfinite(np.asarray(model.output)).all():
        raise FloatingPointError(f"training met a number that is not finite; lr {settings.lr} is too large.")
    return model


class _Training(NamedTuple):
    """One training: what it trains on, and all that accompanies it."""

    corpus: Corpus
    settings: Settings
    start: Start
    chunker: Chunker
    tracker: ProgressTracker
    manager: CheckpointManager
    monitor: EpochMonitor | None

    def model(self, input_rows: jax.Array, output_rows: jax.Array) -> Model:
        """The model that has these tables."""
        vocabulary, dim = self.corpus.vocabulary, self.settings.dim
        input = _without_padding(input_rows, vocabulary.rows, dim)
        output = _without_padding(output_rows, len(self.chunker.sampler.counts), dim)
        return Model(vocabulary, self.settings, input, output)

    def chunks(self, epoch: int) -> Iterator[tuple[Texts, Targets]]:
        """The chunks of one epoch (from 0), as the compiled loop takes them."""
        for chunk in _chunks_with_rates(self.corpus, self.settings, epoch):
            yield from self.chunker.of(*chunk)

    def is_over(self, epoch: int, tables: Tables) -> bool:
        """Measure an epoch that has ended (from 0), unless that was done before an interruption; whether to stop."""
        if self.monitor is None or epoch < len(self.monitor.epochs):
            return False
        return self.monitor.end_of_epoch((tables.input.rows, tables.output.rows), self.tracker, self.model)


def _without_padding(table: jax.Array, rows: int, dim: int) -> np.ndarray:
    """The table as NumPy sees it, where it lies if it can."""
    return np.asarray(table)[:rows, :dim]


def _in_order(training: _Training) -> Tables:
    """One text after another."""
    corpus, settings, start, chunker, tracker, manager, _ = training
    rows, labels = corpus.vocabulary.rows, len(chunker.sampler.counts)
    with ThreadPoolExecutor(1) as other:
        program = other.submit(_compiled, chunker, rows, labels, settings)  # while the first chunk is read
        tables = manager.tables()
        if tables is None:
            padded = rows, _row_length(settings)
            first = initial_tables(rows, labels, settings.dim, settings.seed, start, padded=padded)
            tables = _begun(corpus, settings, first)
        usual = chunker.shapes()
        for epoch in range(settings.epoch):
            for texts, targets in training.chunks(epoch):
                if jax.tree.map(np.shape, (texts, targets)) == jax.tree.map(np.shape, usual):
                    tables, loss = program.result()(tables, *jax.device_put((texts, targets), may_alias=True))
                else:  # a text longer than a chunk
                    tables, loss = train_chunk(tables, texts, targets, loss=settings.loss, smoothing=settings.smoothing)
                tracker.visited(int(texts.total), loss)
                manager.visited(tables)
            if training.is_over(epoch, tables):
                break
    return tables


def _row_length(settings: Settings) -> int:
    """The length of a row in memory: whole vectors of a CPU, and none in two lines of its cache if it is short.

    IMDB with bigrams, dim 10: 18 ns a row read and changed with 16 numbers a row, 27 with 10. Cooking, dim 50: 447 ns
    with 56, 611 with 50, its 735 labels included. Adagrad and Adam take means over a row, zeros included.
    """
    if settings.optimizer != "sgd":
        return settings.dim
    whole = -(-settings.dim // VECTOR) * VECTOR
    return whole if settings.dim <= VECTOR else max(whole, SECTOR)


def _begun(corpus: Corpus, settings: Settings, first: tuple[jax.Array, jax.Array]) -> Tables:
    """The first tables with what their optimizer needs, all zero."""
    tables = Tables(*(init_slots(table, settings.optimizer) for table in first))
    if not settings.idf:
        return tables
    learning_rate_scale = jnp.array(idf_learning_rate_scale(corpus.chunks(), len(tables.input.rows), settings.idf))
    return tables._replace(input=tables.input._replace(learning_rate_scale=learning_rate_scale))


def _compiled(chunker: Chunker, rows: int, labels: int, settings: Settings):
    """The program for this corpus, made without waiting for its texts."""
    dim = _row_length(settings)
    tables = jax.eval_shape(
        lambda: Tables(*(init_slots(jnp.zeros((n, dim)), settings.optimizer) for n in (rows, labels)))
    )
    if settings.idf:
        learning_rate_scale = jax.ShapeDtypeStruct((rows, 1), jnp.float32)
        tables = tables._replace(input=tables.input._replace(learning_rate_scale=learning_rate_scale))
    return compiled(train_chunk, tables, *chunker.shapes(), loss=settings.loss, smoothing=settings.smoothing)


def _in_batches(training: _Training) -> Tables:
    """Some texts at a time, the input table's rows shared out to all devices there are."""
    corpus, settings, start, chunker, tracker, manager, _ = training
    devices = jax.devices()
    mesh = Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None
    rows = -(-corpus.vocabulary.rows // len(devices)) * len(devices)
    fast = jax.default_backend() != "cpu" and settings.optimizer == "sgd"
    dim = -(-settings.dim // SECTOR) * SECTOR if fast else settings.dim
    tables = manager.tables()
    if tables is None:
        known, labels = corpus.vocabulary.rows, len(chunker.sampler.counts)
        first = initial_tables(known, labels, settings.dim, settings.seed, start, padded=(rows, dim))
        tables = _begun(corpus, settings, first)
    times = jnp.zeros(rows)
    if mesh is not None:
        mine, whole = NamedSharding(mesh, PartitionSpec(AXIS)), NamedSharding(mesh, PartitionSpec())
        tables = Tables(jax.device_put(tables.input, mine), jax.device_put(tables.output, whole))
        times = jax.device_put(times, mine)
    hot = HOT if fast and mesh is None and chunker.batch >= HOT and rows > HOT else 0
    cut = Batching(chunker.batch, manager.room[0], manager.room[1], hot)
    for epoch in range(settings.epoch):
        for texts, targets in training.chunks(epoch):
            cut = cut._replace(ids=max(cut.ids, most_in_a_batch(texts.offsets, int(texts.total), cut.batch)))
            if settings.loss == "ova":
                cut = cut._replace(
                    labels=max(cut.labels, most_in_a_batch(targets.offsets, int(texts.total), cut.batch))
                )
            kind = {"loss": settings.loss, "smoothing": settings.smoothing, "cut": cut, "mesh": mesh}
            tables, times, loss = train_chunk_in_batches(tables, times, texts, targets, **kind)
            tracker.visited(int(texts.total), loss)
            manager.room = cut.ids, cut.labels
            manager.visited(tables)
        if training.is_over(epoch, tables):
            break
    return tables


def _chunks_with_rates(
    corpus: Corpus, settings: Settings, epoch: int
) -> Iterator[tuple[Bags, Bags, np.ndarray, np.ndarray | None]]:
    """Every chunk of one epoch (from 0), the learning rate at each of its texts, and how much each counts."""
    visits, done = settings.epoch * max(corpus.texts, 1), epoch * corpus.texts
    chunks = _chunks_with_weights(corpus, settings)
    if settings.shuffle and epoch:  # the first epoch begins while the last chunks are still encoded
        chunks = list(chunks)
        np.random.default_rng((settings.seed, epoch)).shuffle(chunks)
    for rows, labels, weights in chunks:
        rates = linear_decay(settings.lr, np.arange(done, done + len(rows)) / visits)
        yield rows, labels, rates.astype(np.float32), weights
        done += len(rows)


def _chunks_with_weights(corpus: Corpus, settings: Settings) -> Iterator[tuple[Bags, Bags, np.ndarray | None]]:
    """Every chunk in the corpus's order, and how much each of its texts counts."""
    of_labels, first = label_weights(corpus.vocabulary, settings.class_weight), 0
    for rows, labels in corpus.chunks():
        own = None if corpus.weights is None else corpus.weights[first : first + len(rows)]
        yield rows, labels, text_weights(labels, of_labels, own)
        first += len(rows)
