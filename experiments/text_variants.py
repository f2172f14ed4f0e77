"""What might raise a text classifier's accuracy at the cost it has, and how each is trained: the candidates of
text_quality.py. All are trained by the package's own loop over texts, whole passes as one chunk.
"""

import gzip
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxbackprop.data import Bags, read_tokens
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.model import Model, mean_rows
from jaxbackprop.fasttext.predict.huffman import paths
from jaxbackprop.fasttext.settings import Settings
from jaxbackprop.fasttext.train.chunks import Chunker
from jaxbackprop.fasttext.train.idf import idf_learning_rate_scale
from jaxbackprop.fasttext.train.initial_tables import initial_tables
from jaxbackprop.fasttext.train.sampler import Sampler
from jaxbackprop.fasttext.train.sequential import train_chunk
from jaxbackprop.fasttext.train.tables import Tables, init_slots

HELD_OUT, SPLIT_SEED = 0.2, 7
PRIOR = 10.0  # visits' worth of what all texts say, before a row's labels are believed


@dataclass(frozen=True)
class Split:
    """One training file, its texts parted at random into those trained on and those held out; encoded once."""

    vocabulary: Vocabulary
    train: tuple[Bags, Bags]
    held_out: tuple[Bags, Bags]
    settings: Settings

    @classmethod
    def of(cls, file: Path, settings: Settings) -> "Split":
        """Of a file of labelled lines, .gz."""
        lines = [line for line in gzip.decompress(file.read_bytes()).split(b"\n") if line.strip()]
        order = np.random.default_rng(SPLIT_SEED).permutation(len(lines))
        first = round(HELD_OUT * len(lines))
        tokens = []
        with tempfile.TemporaryDirectory() as folder:
            for name, which in (("train", order[first:]), ("held out", order[:first])):
                (Path(folder) / name).write_bytes(b"\n".join(lines[k] for k in np.sort(which)) + b"\n")
                tokens.append(read_tokens(Path(folder) / name))
        known = Vocabulary.build(tokens[0], word_ngrams=settings.word_ngrams, bucket=settings.bucket)
        parts = []
        for part in tokens:
            rows, labels = known.encode(part), known.encode_labels(part, unknown="drop")
            usable = (rows.lengths > 0) & (labels.lengths > 0)
            parts.append((rows.take(usable), labels.take(usable)))
        return cls(known, parts[0], parts[1], settings)

    @property
    def named(self) -> np.ndarray:
        """How often each row is named in training."""
        return np.bincount(self.train[0].ids, minlength=self.vocabulary.rows)


@dataclass(frozen=True)
class Variant:
    """One way to train.

    change   settings that are others
    learning_rate_scale    by how much each row's learning rate is multiplied, of a split: (rows, 1)
    kept     the probability with which a row is visited when it is named, of a split; 0: never, and it has no vector
    first    by how much the first table is multiplied
    shuffle  whether every pass has its own order
    average  whether the tables are the mean of those after each pass of the second half
    rate     by how much the learning rate is multiplied, to begin with
    by_rows  whether the rate falls over rows read, which is fastText's way, and not over texts
    """

    change: dict[str, Any] = field(default_factory=dict)
    learning_rate_scale: Callable[[Split], np.ndarray] | None = None
    kept: Callable[[Split], np.ndarray] | None = None
    first: float = 1.0
    shuffle: bool = False
    average: bool = False
    rate: float = 1.0
    by_rows: bool = False


def information(split: Split) -> np.ndarray:
    """What a row says of the label, as a share of mean 1: the Kullback-Leibler divergence of the labels of its texts
    from those of all texts, the row's counts smoothed by ten of all texts'."""
    rows, labels = split.train
    ones = [
        scipy.sparse.csr_array((np.ones(len(b.ids)), b.ids, b.offsets), shape=(len(b), n), copy=True)  # it sorts them
        for b, n in ((rows, split.vocabulary.rows), (labels, len(split.vocabulary.labels)))
    ]
    ones[0].sum_duplicates()
    ones[0].data[:] = 1  # that a text names a row, not how often
    prior = np.asarray(ones[1].sum(0)) / ones[1].sum()
    met = (ones[1].T @ ones[0]).toarray()
    p = (met + PRIOR * prior[:, None]) / (met.sum(0) + PRIOR)
    said = np.maximum((p * np.log(np.maximum(p, 1e-30) / prior[:, None])).sum(0), 0)
    named = split.named
    return (said * named.sum() / (said * named).sum()).astype(np.float32)[:, None]


def idf(exponent: float) -> Callable[[Split], np.ndarray]:
    """The package's own shares."""
    return lambda split: idf_learning_rate_scale([split.train], split.vocabulary.rows, exponent)


def repeated_ngrams(split: Split) -> np.ndarray:
    """All words, and the n-grams' rows that are named more than once."""
    return (np.arange(split.vocabulary.rows) < split.vocabulary.word_count) | (split.named > 1)


def telling_ngrams(split: Split) -> np.ndarray:
    """All words, and the half of the n-grams' rows that say most of the label."""
    words, said = split.vocabulary.word_count, information(split)[:, 0]
    ngrams = said[words:][split.named[words:] > 0]
    return (np.arange(len(said)) < words) | (said > (np.median(ngrams) if len(ngrams) else 0))


def less_of_the_frequent(split: Split) -> np.ndarray:
    """word2vec's subsampling: a row that is the share f of all visits is kept with probability sqrt(1e-3 / f)."""
    return np.minimum(1, np.sqrt(1e-3 * split.named.sum() / np.maximum(split.named, 1)))


VARIANTS = {
    "as fastText": Variant(),
    "idf 1": Variant(learning_rate_scale=idf(1)),
    "idf 2": Variant(learning_rate_scale=idf(2)),
    "idf 3": Variant(learning_rate_scale=idf(3)),
    "weighted by label information": Variant(learning_rate_scale=information),
    "smoothing 0.1": Variant(change={"smoothing": 0.1}),
    "idf 2, smoothing 0.1": Variant(change={"smoothing": 0.1}, learning_rate_scale=idf(2)),
    "row-wise adagrad": Variant(change={"optimizer": "adagrad"}, rate=0.1),
    "a tenth of each text's rows left out": Variant(kept=lambda split: np.full(split.vocabulary.rows, 0.9)),
    "frequent rows subsampled": Variant(kept=less_of_the_frequent),
    "n-grams met once left out": Variant(kept=repeated_ngrams),
    "n-grams: the half that tells most": Variant(kept=telling_ngrams),
    "first table a tenth as large": Variant(first=0.1),
    "another order every pass": Variant(shuffle=True),
    "tables averaged": Variant(average=True),
    "rate falls by rows read, not texts": Variant(by_rows=True),
}


def trained(split: Split, variant: Variant, rate: float, seed: int) -> tuple[Model, float]:
    """The model trained so, and the seconds of user CPU time of all passes."""
    settings = replace(split.settings, seed=seed, lr=split.settings.lr * rate, **variant.change)
    (rows, labels), known = split.train, split.vocabulary
    counts = known.counts[known.word_count :]
    chunker = Chunker(settings, Sampler(counts, settings.neg, seed), paths(counts) if settings.loss == "hs" else None)
    first, output = initial_tables(known.rows, len(counts), settings.dim, seed, None)
    kept = None if variant.kept is None else np.asarray(variant.kept(split), float)
    if kept is not None and not kept.all():
        first = first * jnp.array(kept[:, None] > 0)
    tables = Tables(init_slots(variant.first * first, settings.optimizer), init_slots(output, settings.optimizer))
    if variant.learning_rate_scale is not None:
        tables = tables._replace(
            input=tables.input._replace(learning_rate_scale=jnp.array(variant.learning_rate_scale(split)))
        )
    random, mean, begun = np.random.default_rng(seed), [], getrusage(RUSAGE_SELF).ru_utime
    for epoch in range(settings.epoch):
        done = rows.offsets[:-1] / rows.offsets[-1] if variant.by_rows else np.arange(len(rows)) / len(rows)
        falls = 1 - (epoch + done) / settings.epoch
        order = random.permutation(len(rows)) if variant.shuffle else np.arange(len(rows))
        bags, gold = rows.take(order), labels.take(order)
        bags = bags if kept is None else _thinned(bags, kept, random)
        for texts, targets in chunker.of(bags, gold, (settings.lr * falls).astype(np.float32)):
            tables, _ = train_chunk(tables, texts, targets, loss=settings.loss, smoothing=settings.smoothing)
        if variant.average and epoch >= settings.epoch // 2:
            mean.append([np.array(part.rows) for part in tables])
    last = [np.asarray(part.rows) for part in tables]
    seconds = getrusage(RUSAGE_SELF).ru_utime - begun
    input_table, output_table = [np.mean(p, 0) for p in zip(*mean, strict=True)] if mean else last
    return Model(known, settings, input_table, output_table), seconds


def _thinned(bags: Bags, kept: np.ndarray, random: np.random.Generator) -> Bags:
    """The bags, each row left in with its own probability."""
    stays = random.random(len(bags.ids)) < kept[bags.ids]
    return Bags(bags.ids[stays], np.concatenate([[0], np.cumsum(stays)])[bags.offsets])


def scores(model: Model, bags: Bags) -> np.ndarray:
    """The score of each label, (texts, labels)."""
    assert isinstance(model.input, np.ndarray)
    return mean_rows(model.input, bags) @ np.asarray(model.output).T


def right(z: np.ndarray, labels: Bags) -> float:
    """The share of the texts whose best label is one of theirs."""
    text = np.repeat(np.arange(len(labels)), labels.lengths)
    return float(np.bincount(text, z.argmax(1)[text] == labels.ids, minlength=len(labels)).mean())
