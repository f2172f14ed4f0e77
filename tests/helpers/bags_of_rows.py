"""A small corpus in memory, and training on it by plain loops over NumPy arrays: what the fast forms must equal."""

import math
from dataclasses import dataclass

import numpy as np

from jaxbackprop.data import Bags, Texts
from jaxbackprop.data.bags import starts
from jaxbackprop.fasttext.corpus.vocabulary import Vocabulary
from jaxbackprop.fasttext.predict.huffman import paths
from jaxbackprop.fasttext.settings import Settings
from jaxbackprop.fasttext.train.sampler import Sampler

REACH = 5.0  # under ova


@dataclass
class InMemory:
    vocabulary: Vocabulary
    rows: Bags
    labels: Bags
    pieces: int = 1
    weights: np.ndarray | None = None

    @property
    def texts(self):
        return len(self.rows)

    @property
    def tokens(self):
        return self.vocabulary.tokens

    def chunks(self):
        for which in np.array_split(np.arange(len(self.rows)), self.pieces):
            yield self.rows.take(which), self.labels.take(which)


def corpus(texts=30, *, several=False, seed=0, ngrams=2, bucket=40, pieces=1) -> InMemory:
    """Texts of a dozen words that lean to their first label; the fourth has no label, the sixth no word."""
    rng = np.random.default_rng(seed)
    lines, labels = [], []
    for _ in range(texts):
        its = tuple(
            rng.choice(list("abcde"), 1 + several * rng.integers(3), replace=False, p=[0.4, 0.25, 0.2, 0.1, 0.05])
        )
        words = [
            f"{its[0]}{rng.integers(4)}" if rng.random() < 0.5 else f"w{rng.integers(9)}"
            for _ in range(rng.integers(1, 24))
        ]
        lines.append(" ".join(words))
        labels.append(its)
    read = Texts(tuple(lines), tuple(labels))
    vocabulary = Vocabulary.build(read, word_ngrams=ngrams, bucket=bucket)
    rows, numbers = vocabulary.encode(read), vocabulary.encode_labels(read)
    return InMemory(vocabulary, without(rows, 5), without(numbers, 3), pieces)


def tables(model) -> tuple[np.ndarray, np.ndarray]:
    """The input and the output table of a model just trained."""
    assert isinstance(model.input, np.ndarray)
    assert isinstance(model.output, np.ndarray)
    return model.input, model.output


def without(bags: Bags, k: int) -> Bags:
    """The bags, number k empty."""
    lengths = bags.lengths.copy()
    lengths[k] = 0
    return Bags(np.delete(bags.ids, np.s_[bags.offsets[k] : bags.offsets[k + 1]]), starts(lengths))


class Memory:
    """What an optimizer remembers of a table's rows, in the longest way to write it."""

    def __init__(self, table, optimizer, learning_rate_scale=None):
        self.table, self.optimizer = table, optimizer
        self.learning_rate_scale = np.ones(len(table)) if learning_rate_scale is None else learning_rate_scale
        self.second_moment, self.first_moment = {}, {}

    def meet(self, row, gradient, lr):
        self.remember(row, gradient)
        self.move(row, gradient, lr)

    def remember(self, row, gradient):
        square = (gradient**2).mean()
        if self.optimizer == "adagrad":
            self.second_moment[row] = self.second_moment.get(row, 0) + square
        if self.optimizer == "adam":
            mean, t = self.second_moment.get(row, (0.0, 0))
            self.second_moment[row] = 0.999 * mean + 0.001 * square, t + 1
            self.first_moment[row] = 0.9 * self.first_moment.get(row, 0) + 0.1 * gradient

    def move(self, row, gradient, lr):
        if self.optimizer == "sgd":
            self.table[row] -= lr * self.learning_rate_scale[row] * gradient
        elif self.optimizer == "adagrad":
            self.table[row] -= lr * gradient / np.sqrt(self.second_moment[row] + 1e-16)
        else:
            mean, t = self.second_moment[row]
            rate = np.sqrt(1 - 0.999**t) / (1 - 0.9**t) / np.sqrt(mean + 1e-16)
            self.table[row] -= lr * rate * self.first_moment[row]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def deltas(h, output, loss, asked, smoothing):
    """The rows of the output table a text meets and the delta at each, and its loss, in float64."""
    if loss == "softmax":
        z = output @ h
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        target = np.full(len(z), smoothing / len(z))
        target[asked] += 1 - smoothing
        return range(len(z)), p - target, -(target * np.log(p)).sum()
    if loss == "ova":
        z = output @ h
        target = np.isin(np.arange(len(z)), asked).astype(float)
        return range(len(z)), sigmoid(z) - target, -np.log(np.where(target == 1, sigmoid(z), sigmoid(-z))).sum()
    rows, yes = asked
    z = output[rows] @ h
    return rows, sigmoid(z) - yes, -np.log(np.where(np.array(yes) == 1, sigmoid(z), sigmoid(-z))).sum()


def clip_row_update(gradient, lr, settings):
    """The gradient of a text's rows, by sgd so small that a row that all texts of a batch name moves by at most 5."""
    as_fasttext = (settings.batch or 1) == 1 and settings.loss != "ova"
    if as_fasttext or settings.optimizer != "sgd" or not gradient.any():
        return gradient
    return gradient * min(1, REACH / np.sqrt(settings.batch or 1) / np.linalg.norm(lr * gradient))


def visited(corpus: InMemory, settings: Settings):
    """Each visit of a usable text: its rows, what it is asked, its learning rate; drawn as training draws."""
    counts = corpus.vocabulary.counts[corpus.vocabulary.word_count :]
    sampler = Sampler(counts, settings.neg, settings.seed)
    tree = paths(counts)
    for epoch in range(settings.epoch):
        begun = epoch * corpus.texts
        chunks = list(corpus.chunks())
        if settings.shuffle and epoch:
            np.random.default_rng((settings.seed, epoch)).shuffle(chunks)
        for rows, labels in chunks:
            usable = np.flatnonzero((rows.lengths > 0) & (labels.lengths > 0))
            lr = settings.lr * (1 - (begun + usable) / (settings.epoch * corpus.texts))
            begun += len(rows)
            order = usable[sampler.order(len(usable))] if settings.shuffle else usable
            rows, labels = rows.take(order), labels.take(order)
            if settings.loss == "ova":
                asked = list(labels)
            else:
                chosen = sampler.labels(labels)
                asked = [int(c) for c in chosen]
                if settings.loss == "ns":
                    asked = [(list(map(int, s)), [1] + [0] * settings.neg) for s in sampler.samples(chosen)]
                elif settings.loss == "hs":
                    ends = tree.offsets
                    asked = [
                        (tree.nodes[ends[c] : ends[c + 1]].tolist(), tree.codes[ends[c] : ends[c + 1]].tolist())
                        for c in asked
                    ]
            yield list(zip(rows, asked, lr, strict=True))


def idf_learning_rate_scale(corpus: InMemory, exponent: float) -> list[float]:
    """By how much each row's rate is multiplied: a power of its idf, divided by that power's mean over all visits."""
    rows = [int(row) for bags, _ in corpus.chunks() for bag in bags for row in bag]
    powers = [math.log(1 + corpus.texts / max(rows.count(row), 1)) ** exponent for row in range(corpus.vocabulary.rows)]
    mean = sum(powers[row] for row in rows) / len(rows)
    return [power / mean for power in powers]


def in_order(corpus: InMemory, settings: Settings, first: np.ndarray):
    """The tables after one text at a time, and the mean loss met on the way."""
    counts = corpus.vocabulary.counts[corpus.vocabulary.word_count :]
    table, output = first.astype(np.float64), np.zeros((len(counts), settings.dim))
    inner = Memory(table, settings.optimizer, idf_learning_rate_scale(corpus, settings.idf))
    outer, losses = Memory(output, settings.optimizer), []
    for chunk in visited(corpus, settings):
        for rows, asked, lr in chunk:
            h = table[rows].mean(0)
            which, delta, loss = deltas(h, output, settings.loss, asked, settings.smoothing)
            dh = sum(d * output[c] for c, d in zip(which, delta, strict=True))
            each = clip_row_update(dh / len(rows), lr, settings)
            changes = (
                [(outer, c, d * h) for c, d in zip(which, delta, strict=True)],
                [(inner, r, each) for r in rows],
            )
            for part in changes:
                for memory, row, gradient in part:
                    memory.remember(row, gradient)
                for memory, row, gradient in part:
                    memory.move(row, gradient, lr)
            losses.append(loss)
    return table, output, np.mean(losses)


def in_batches(corpus: InMemory, settings: Settings, first: np.ndarray):
    """The tables after batches of texts, by sgd: a row's sum over the root of how often it was named."""
    counts = corpus.vocabulary.counts[corpus.vocabulary.word_count :]
    table, output = first.astype(np.float64), np.zeros((len(counts), settings.dim))
    learning_rate_scale = idf_learning_rate_scale(corpus, settings.idf)
    for chunk in visited(corpus, settings):
        size = settings.batch or 1
        for begin in range(0, len(chunk), size):
            batch = chunk[begin : begin + size]
            lr, inner, outer = batch[0][2], {}, {}
            for rows, asked, _ in batch:
                h = table[rows].mean(0)
                which, delta, _ = deltas(h, output, settings.loss, asked, settings.smoothing)
                for c, d in zip(which, delta, strict=True):
                    outer.setdefault(c, []).append(d * h)
                each = clip_row_update((np.array(delta) @ output[list(which)]) / len(rows), lr, settings)
                for row in rows:
                    inner.setdefault(row, []).append(each)
            for row, met in inner.items():
                table[row] -= lr * learning_rate_scale[row] * sum(met) / np.sqrt(len(met))
            for row, met in outer.items():
                output[row] -= lr * sum(met)
    return table, output
