"""The settings that do best on held-out texts, found within a time budget by successive halving.

Rounds of candidates: each is trained for a few epochs, the best third for three times as many, the best of those for
all. The first round looks everywhere, later ones look near the best so far as well. Encoded texts are shared by all
candidates that cut n-grams alike.

Source  Jamieson, Talwalkar 2016, arXiv:1502.07943 (successive halving); the settings and metrics are fastText's
"""

import dataclasses
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ...data import Bags
from ..classifier import TextClassifier
from ..corpus.cache import MATTERS
from ..corpus.corpus import Corpus, Unlabelled
from ..corpus.reading import SampleWeight, Source, read_weights, text_groups
from ..linear.train import train_linear
from ..model import Model
from ..options import real_number, settings_of, string, whole_number
from ..predict.metrics import Scoring, Skipped, labelled, nothing_to_score
from ..predict.predictor import Predictor
from ..settings import Settings
from ..train.loop import train
from .fit_to_size import TooSmall, bytes_of, fit_to_size
from .objective import Metric

WIDTH, KEEP = 9, 3  # candidates a round; one in KEEP goes on, with KEEP times the epochs
TABLES = 3  # different ways to cut n-grams a round
NEAR = 0.5  # this share of what later rounds draw is drawn near the best
EPOCHS, RATES, DIMS = (3, 100), (0.02, 2.0), (10, 16, 32, 50, 64, 100, 150, 200)
BUCKETS, ORDERS, CHARACTERS = (50_000, 200_000, 1_000_000, 2_000_000), (1, 2, 3, 4), ((0, 0), (2, 5), (3, 6))
MANY_LABELS = 2_000  # from here on a Huffman tree is tried
STRENGTHS, IDF_EXPONENTS = (0.05, 20.0), (0.5, 1.0, 1.5)  # of the linear model
CUT = ("word_ngrams", "minn", "maxn", "bucket", "lowercase")  # what says which rows a text has
DIVERGED = -1.0


@dataclass(frozen=True)
class Trial:
    """One candidate: what it was trained with, its score (-1 where it diverged), and how long that took."""

    settings: Settings
    score: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """What autotune has found: the best classifier, its score, and all that was tried."""

    classifier: TextClassifier
    score: float
    trials: tuple[Trial, ...]

    @property
    def settings(self) -> Settings:
        """The settings of the best."""
        return self.classifier.model.settings


def autotune(
    data: Source,
    valid: Source,
    *,
    seconds: float = 300,
    metric: str = "f1",
    predictions: int = 1,
    unlabelled: Unlabelled = "refuse",
    sample_weight: SampleWeight | None = None,
    progress: Callable[[Trial, float, float], None] | None = None,
    model_size: int | str | None = None,
    **settings: Any,
) -> Tuned:
    """Train with the settings that have the best metric on `valid`, among those there is time for.

    Args:
        data: what is trained on, as `TextClassifier.train` takes it.
        valid: what is scored on: a file or Texts.
        seconds: the time there is; no training is begun that would not end in it, but one there is at least.
        metric: "f1", "precisionAtRecall:PERCENT" or "recallAtPrecision:PERCENT", each also with ":LABEL" behind it; or
            "macroF1", the mean of the labels' F1.
        predictions: how many labels of each text are counted; -1 for all.
        unlabelled: lines without label are an error ("refuse"), or are skipped ("skip").
        sample_weight: how much each text that is trained on counts, see `TextClassifier.train`.
        progress: called after each trial: with it, the best score so far, and the seconds left.
        model_size: bytes, or such as "2M": each candidate is quantized to fit into a file of that size before it is
            scored, as fastText does, and so is the best; one that cannot counts as one that diverged (fastText also
            searches for how many numbers a byte stands for; here it is two).
        settings: those that are fixed, by their names; the others among lr, epoch, dim, word_ngrams, minn and maxn,
            bucket and loss are searched for; under `model="linear"` C, loss, idf, epoch, word_ngrams, minn and maxn,
            lowercase.

    The candidates are the same for the same seed; how many of them there is time for depends on the machine.

    Raises:
        ValueError: no such metric or label; every candidate diverged; none fits into `model_size`.
    """
    start = settings_of(settings, called="autotune")
    metric, seconds = string(metric, "metric", "autotune"), real_number(seconds, "seconds", "autotune")
    if not seconds >= 0:
        raise ValueError(f"autotune: seconds is {seconds}; it must be at least 0.")
    predictions = whole_number(predictions, "predictions", "autotune")
    if start.model == "linear" and model_size is not None:
        raise ValueError("autotune: model_size quantizes, which a linear model cannot be; give another model or none.")
    search = _Search(data, valid, Metric.parse(metric), predictions, unlabelled, start, frozenset(settings))
    search.sample_weight = None if sample_weight is None else read_weights(sample_weight)
    search.until, search.progress = time.monotonic() + seconds, progress
    search.size = None if model_size is None else bytes_of(model_size)
    search.run()
    if search.best is None:
        fits = "" if search.size is None else f", or would not fit into {search.size:,} bytes"
        raise ValueError(f"autotune: every candidate diverged{fits}; give a smaller lr{fits and ', or more bytes'}.")
    return Tuned(TextClassifier(search.best), search.best_score, tuple(search.trials))


class _Search:
    """The course of one search."""

    until: float
    size: int | None = None
    sample_weight: np.ndarray | None = None
    progress: Callable[[Trial, float, float], None] | None

    def __init__(
        self,
        data: Source,
        valid: Source,
        goal: Metric,
        predictions: int,
        unlabelled: Unlabelled,
        start: Settings,
        fixed: frozenset[str],
    ):
        self.data, self.valid, self.goal, self.predictions = data, valid, goal, predictions
        self.unlabelled: Unlabelled = unlabelled
        self.start, self.fixed = start, fixed
        self.random = np.random.default_rng(start.seed)
        self.encoded: OrderedDict[tuple[Any, ...], tuple[Corpus, list[tuple[Bags, Bags]]]] = OrderedDict()
        self.trials: list[Trial] = []
        self.best: Model | None = None
        self.best_score = DIVERGED

    def run(self) -> None:
        """Rounds until the time is over: fastText's own settings first, then candidates by successive halving."""
        self._try(self.start)
        for number in count():
            candidates = list(self._candidates(near=number > 0))
            for share in (KEEP**-2, KEEP**-1, 1.0):
                scores = []
                for settings in candidates:
                    epochs = max(round(settings.epoch * share), 1)
                    short = dataclasses.replace(settings, epoch=epochs)
                    scores.append(self._try(short) if self._time_for(short) else DIVERGED)
                if time.monotonic() >= self.until or max(scores) == DIVERGED:
                    break
                order = np.argsort(-np.array(scores), kind="stable")
                candidates = [candidates[k] for k in order[: max(len(candidates) // KEEP, 1)]]
            if time.monotonic() >= self.until or not self._time_for(dataclasses.replace(self.start, epoch=1)):
                return

    def _try(self, settings: Settings) -> float:
        """Train one candidate and score it."""
        started = time.monotonic()
        corpus, valid = self._read(settings)
        labels = [settings.label_prefix + label for label in corpus.vocabulary.labels]
        score, model = DIVERGED, None
        try:
            model = train_linear(corpus, settings)[0] if settings.model == "linear" else train(corpus, settings)
        except FloatingPointError:
            pass
        if model is not None and self.size is not None:
            model = self._small(model, self.size)
        if model is not None:
            score = self.goal.of(self._scoring(model, valid, len(labels)), labels)
        trial = Trial(settings, score, time.monotonic() - started)
        self.trials.append(trial)
        if score > self.best_score:
            self.best, self.best_score = model, score
        if self.progress is not None:
            self.progress(trial, self.best_score, max(self.until - time.monotonic(), 0))
        return score

    def _small(self, model: Model, size: int) -> Model | None:
        """The model quantized to that size, what is left of its rows trained further; None where it cannot be."""
        try:
            return fit_to_size(TextClassifier(model), size, self.data).model
        except TooSmall:
            return None

    def _scoring(self, model: Model, valid: list[tuple[Bags, Bags]], labels: int) -> Scoring:
        """The predictions for the texts to score on; a model that was made small has rows of its own for them."""
        if self.size is not None:
            return TextClassifier(model).score(self.valid, self.predictions)[0]
        best = Predictor(model).best
        return Scoring.joined(
            [Scoring.of(gold, best(model.remaining(bags), self.predictions), labels) for gold, bags in valid]
        )

    def _read(self, settings: Settings) -> tuple[Corpus, list[tuple[Bags, Bags]]]:
        """The texts to train on and to score on, encoded once for all settings that cut them alike."""
        key = tuple(getattr(settings, name) for name in MATTERS)
        if key not in self.encoded:
            corpus = Corpus.read(self.data, settings, unlabelled=self.unlabelled, sample_weight=self.sample_weight)
            valid, skipped = [], Skipped()
            for tokens in text_groups(self.valid, settings.label_prefix):
                gold, skipped_here = labelled(corpus.vocabulary, tokens)
                bags, skipped = corpus.vocabulary.encode(tokens), skipped + skipped_here
                usable = np.flatnonzero((gold.lengths > 0) & (bags.lengths > 0))
                valid.append((gold.take(usable), bags.take(usable)))
            if not sum(len(gold) for gold, _ in valid):
                raise nothing_to_score(skipped, settings.label_prefix, self.valid)
            self.encoded[key] = corpus, valid
            if len(self.encoded) > TABLES:
                self.encoded.popitem(last=False)
        self.encoded.move_to_end(key)
        return self.encoded[key]

    def _time_for(self, settings: Settings) -> bool:
        """Whether training with these settings would probably end in time, judged by the trials there were."""
        if self.best is None:
            return True
        rate = float(np.median([trial.seconds / _work(trial.settings) for trial in self.trials]))
        return time.monotonic() + rate * _work(settings) <= self.until

    def _candidates(self, *, near: bool) -> Iterator[Settings]:
        """A round's candidates: few ways to cut n-grams, and other settings for each."""
        for _ in range(TABLES):
            cut = self._free(self._near_cut() if near and self._chance(NEAR) else self._any_cut())
            for _ in range(WIDTH // TABLES):
                rest = self._near_rest() if near and self._chance(NEAR) else self._any_rest()
                yield dataclasses.replace(self.start, **cut, **self._free(rest))

    def _free(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """Without what the person has fixed."""
        if {"minn", "maxn"} & self.fixed:
            drawn = {name: value for name, value in drawn.items() if name not in ("minn", "maxn")}
        return {name: value for name, value in drawn.items() if name not in self.fixed}

    def _any_cut(self) -> dict[str, Any]:
        minn, maxn = self._one_of(CHARACTERS)
        if self.start.model == "linear":
            cut = {"word_ngrams": self._one_of(ORDERS[:3]), "minn": minn, "maxn": maxn}
            return cut | {"lowercase": self._one_of((True, False))}
        return {"word_ngrams": self._one_of(ORDERS), "minn": minn, "maxn": maxn, "bucket": self._one_of(BUCKETS)}

    def _near_cut(self) -> dict[str, Any]:
        best = self._best_settings()
        same = {name: getattr(best, name) for name in CUT}
        return same if self._chance(0.5) else {**same, "word_ngrams": self._one_of(ORDERS)}

    def _any_rest(self) -> dict[str, Any]:
        corpus, _ = next(reversed(self.encoded.values()))
        several = corpus.vocabulary.counts[corpus.vocabulary.word_count :].sum() > corpus.texts
        if self.start.model == "linear":
            losses = ["squared_hinge", "hinge", "ova", *(["softmax"] * (not several))]
            rest = {"C": self._between(*STRENGTHS), "idf": self._one_of(IDF_EXPONENTS)}
            return rest | {"loss": self._one_of(["softmax"] if self.start.smoothing else losses)}
        losses = ["softmax"]
        if len(corpus.vocabulary.labels) >= MANY_LABELS:
            losses.append("hs")
        if several:
            losses.append("ova")
        losses = ["softmax"] if self.start.smoothing else losses
        return {
            "lr": self._between(*RATES),
            "epoch": round(self._between(*EPOCHS)),
            "dim": self._one_of(DIMS),
            "loss": self._one_of(losses),
        }

    def _near_rest(self) -> dict[str, Any]:
        best = self._best_settings()
        if self.start.model == "linear":
            idf = best.idf if self._chance(0.5) else self._one_of(IDF_EXPONENTS)
            return {"C": best.C * 2 ** self.random.normal(0, 0.7), "idf": idf, "loss": best.loss}
        return {
            "lr": best.lr * 2 ** self.random.normal(0, 0.7),
            "epoch": max(round(best.epoch * 2 ** self.random.normal(0, 0.7)), 1),
            "dim": best.dim if self._chance(0.5) else self._one_of(DIMS),
            "loss": best.loss,
        }

    def _best_settings(self) -> Settings:
        return self.best.settings if self.best is not None else self.start

    def _chance(self, p: float) -> bool:
        return bool(self.random.random() < p)

    def _one_of(self, choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def _between(self, low: float, high: float) -> float:
        """A number drawn log-uniformly between the two."""
        return float(math.exp(self.random.uniform(math.log(low), math.log(high))))


def _work(settings: Settings) -> float:
    """What training costs, in no unit: visits, times rows a word, times numbers a row."""
    rows = settings.word_ngrams + (settings.maxn - settings.minn + 1 if settings.maxn else 0)
    return settings.epoch * rows * (settings.dim + 16)
