"""What a text classifier is trained with, by fastText's names and defaults, checked where it is written down."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..data.errors import did_you_mean

Loss = Literal["softmax", "hs", "ns", "ova"]
LinearLoss = Literal["squared_hinge", "hinge", "ova", "softmax"]
ModelKind = Literal["fasttext", "linear"]
Optimizer = Literal["sgd", "adagrad", "adam"]
LABEL_BY_LABEL = ("ova", "ns", "squared_hinge", "hinge")
"""The losses under which each label is judged for itself, and its probability by itself."""
POSITIVE = ("lr", "dim", "epoch", "neg", "lr_update_rate", "C")
NOT_NEGATIVE = ("min_count", "min_count_label", "word_ngrams", "bucket", "minn", "maxn", "smoothing", "idf", "seed")


@dataclass(frozen=True)
class Settings:
    """fastText's settings of supervised training, its names in snake case, its defaults; then ours, off by default.

    lr               learning rate, falls linearly to 0 over all texts (fastText: over all tokens, which is the same
                     where texts are in no order of length; measured in experiments/text_quality.py)
    dim              the length of a row
    epoch            how often each text is visited
    min_count        words that occur less often have no row
    min_count_label  labels that occur less often are not learned
    word_ngrams      runs of up to this number of words have a row
    bucket           how many rows n-grams share; may be 0 where there are none
    minn, maxn       lengths of character n-grams; maxn 0 for none
    loss             softmax, hs (Huffman tree), ns (negative samples), ova (one against all)
    neg              negative samples a text, for ns
    lr_update_rate   after this number of tokens fastText recomputes its rate; kept because its files hold it
    ws, t            fastText's window and sampling threshold; without meaning here, kept because its files hold them
    label_prefix     what a label begins with
    seed             of the first table, of the order and of negative samples

    optimizer        sgd, adagrad or adam, row by row: one rate a row, not a number
    batch            texts a step; 1 is exact order, None lets the device decide
    shuffle          each pass has an order of its own, drawn by the seed, instead of the file's: of the file's pieces
                     (in the first pass as they are), and of the texts within each
    max_words        the largest number of words, those that occur most
    smoothing        share of the target spread evenly over all labels (softmax)
    class_weight     how much a text counts by its label, in the mean over its labels where it has several: the weight
                     of some labels by name, others have 1; or "balanced", in inverse proportion to the labels' counts;
                     sgd, or linear
    model            fasttext: the mean of a text's rows, scored by the labels' rows; linear: the tf-idf weighted sum of
                     rows that are the labels' weights, by the losses squared_hinge, hinge, ova and softmax. It has no
                     use for lr, dim, neg, optimizer and batch; its defaults are in options.py
    lowercase        linear: words are lower-cased and cut at punctuation, which is dropped
    C                linear: the weight of the losses beside the square of the weights, as in scikit-learn's LinearSVC
    idf              exponent: a row's learning rate is lr idf^exponent, of mean 1 over all visits, with
                     idf = log(1 + texts / times the row was named); 0 is fastText; see train/idf.py; sgd;
                     the loop takes about a fifth longer. linear: a row's weight in a text is its idf^exponent, see
                     linear/features.py
    """

    lr: float = 0.1
    dim: int = 100
    epoch: int = 5
    min_count: int = 1
    min_count_label: int = 0
    word_ngrams: int = 1
    bucket: int = 2_000_000
    minn: int = 0
    maxn: int = 0
    loss: Loss | LinearLoss = "softmax"
    neg: int = 5
    lr_update_rate: int = 100
    ws: int = 5
    t: float = 1e-4
    label_prefix: str = "__label__"
    seed: int = 0
    optimizer: Optimizer = "sgd"
    batch: int | None = None
    shuffle: bool = False
    max_words: int | None = None
    smoothing: float = 0.0
    class_weight: str | Mapping[str, float] | None = None
    idf: float = 0.0
    model: ModelKind = "fasttext"
    C: float = 1.0
    lowercase: bool = False

    def __post_init__(self):
        for name in POSITIVE:
            _refuse_unless(getattr(self, name) > 0, name, getattr(self, name), "greater than 0")
        for name in NOT_NEGATIVE:
            _refuse_unless(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("batch", "max_words"):
            value = getattr(self, name)
            _refuse_unless(value is None or value > 0, name, value, "greater than 0, or None")
        has_ngrams = self.word_ngrams > 1 or self.maxn > 0
        _refuse_unless(self.bucket > 0 or not has_ngrams, "bucket", 0, "at least 1: n-grams need rows")
        fits = self.model == "linear" or not self.lowercase
        _refuse_unless(fits, "lowercase", True, "False, for fastText's files do not hold it; lower-case the text")
        _refuse_unless(math.isfinite(self.lr), "lr", self.lr, "finite")
        _refuse_unless(math.isfinite(self.idf), "idf", self.idf, "finite")
        _refuse_unless(not self.idf or self.optimizer == "sgd", "idf", self.idf, f"0 under {self.optimizer}")
        _refuse_unless(self.smoothing < 1, "smoothing", self.smoothing, "below 1")
        smooth = not self.smoothing or self.loss == "softmax"
        _refuse_unless(smooth, "smoothing", self.smoothing, f"0 under {self.loss}: it is softmax's")
        self._check_class_weight()
        _refuse_unless(self.maxn == 0 or self.minn <= self.maxn, "minn", self.minn, f"at most maxn ({self.maxn})")
        for name, known in (
            ("model", get_args(ModelKind)),
            ("loss", get_args(LinearLoss if self.model == "linear" else Loss)),
            ("optimizer", get_args(Optimizer)),
        ):
            given = getattr(self, name)
            near = did_you_mean(str(given), known)
            _refuse_unless(given in known, name, given, f"one of {', '.join(known)}", near)

    def _check_class_weight(self) -> None:
        given, name = self.class_weight, "class_weight"
        is_one = given is None or given == "balanced" or isinstance(given, Mapping)
        _refuse_unless(is_one, name, given, '"balanced", or the weight of each label by its name')
        for label, weight in given.items() if isinstance(given, Mapping) else ():
            fits = math.isfinite(weight) and weight >= 0
            _refuse_unless(fits, f"{name}[{label!r}]", weight, "finite, and at least 0")
        _refuse_unless(given is None or self.optimizer == "sgd", name, given, f"None under {self.optimizer}")


def _refuse_unless(holds: bool, name: str, value: Any, expected: str, near: str = "") -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; it must be {expected}. {near}".rstrip())
