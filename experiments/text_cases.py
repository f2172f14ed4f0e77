"""What the comparisons of text models train: data sets and options, by fastText's own names."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One data set with its options.

    speed     the least number of times our whole process must be as fast as fastText's; None where nothing is asked
    memory    the most megabytes that our peak may be above fastText's; None where nothing is asked
    multi     whether the best single threshold over all labels is judged (several labels a text) instead of P@1
    """

    data: str
    options: dict[str, Any]
    speed: float | None = None
    memory: float | None = None
    multi: bool = False
    test: str = "test"


IMDB = {"lr": 0.5, "dim": 10, "epoch": 5}
COOKING = {"lr": 1.0, "dim": 50, "epoch": 25, "wordNgrams": 2, "bucket": 200_000}
TREC = {"lr": 0.5, "dim": 10, "epoch": 25, "wordNgrams": 2}
CLINC = {"dim": 50, "wordNgrams": 2}
CASES = {
    "imdb, words": Case("imdb", IMDB, speed=1.5),
    "imdb, bigrams": Case("imdb", IMDB | {"wordNgrams": 2}, speed=1.0),
    "trec": Case("trec", TREC, speed=0.5),
    "trec, hs": Case("trec", TREC | {"loss": "hs"}, speed=0.5),
    "clinc150": Case("clinc150", CLINC | {"lr": 1.0, "epoch": 50}, speed=0.5),
    "clinc150, hs": Case("clinc150", CLINC | {"lr": 0.5, "epoch": 25, "loss": "hs"}, speed=0.5),
    "cooking": Case("cooking", COOKING, speed=1.5),
    "cooking, ns": Case("cooking", COOKING | {"loss": "ns", "lr": 0.5}),
    "cooking, ova": Case("cooking", COOKING | {"loss": "ova", "lr": 0.5}, multi=True),
    "reuters21578, ova": Case("reuters21578", COOKING | {"loss": "ova", "lr": 0.5}, multi=True),
    "langid75": Case(
        "langid75", {"lr": 0.2, "dim": 16, "epoch": 10, "minn": 2, "maxn": 4, "bucket": 200_000}, speed=1.5
    ),
    "trec, 2,000,000 buckets x 100": Case("trec", {"wordNgrams": 2, "lr": 0.5}, memory=300),
}


@dataclass(frozen=True)
class Compared:
    """One data set of text_comparison.py.

    data            the folder of the set, or docstrings
    options         of the fastText models
    several_labels  whether a text may have several labels: the best F1 is judged
    lines           how many lines of the training file are used; None for all
    linear          whether the linear models are compared too
    """

    data: str
    options: dict[str, Any]
    several_labels: bool = False
    lines: int | None = None
    linear: bool = True


BIGRAMS = IMDB | {"wordNgrams": 2}
REQUESTS = CLINC | {"lr": 1.0, "epoch": 50}
OVA = COOKING | {"loss": "ova", "lr": 0.5}
LANGUAGES = {"lr": 0.2, "dim": 16, "epoch": 10, "minn": 2, "maxn": 4, "bucket": 200_000}
COMPARED = {
    "imdb": Compared("imdb", BIGRAMS),
    "trec": Compared("trec", TREC),
    "clinc150": Compared("clinc150", REQUESTS),
    "cooking": Compared("cooking", OVA, several_labels=True),
    "reuters21578": Compared("reuters21578", OVA, several_labels=True),
    "docstrings": Compared("docstrings", TREC),
    "langid75": Compared("langid75", LANGUAGES),
    "imdb, words": Compared("imdb", IMDB, linear=False),
    "trec, hs": Compared("trec", TREC | {"loss": "hs"}, linear=False),
    "trec, 2,000,000 buckets x 100": Compared("trec", {"wordNgrams": 2, "lr": 0.5}, linear=False),
    "clinc150, hs": Compared("clinc150", CLINC | {"lr": 0.5, "epoch": 25, "loss": "hs"}, linear=False),
    "cooking, softmax": Compared("cooking", COOKING, linear=False),
    "cooking, ns": Compared("cooking", COOKING | {"loss": "ns", "lr": 0.5}, linear=False),
    **{
        f"{data}, {lines:,} lines": Compared(data, options, lines=lines)
        for data, options in (("imdb", BIGRAMS), ("clinc150", REQUESTS))
        for lines in (20, 200, 2_000, 20_000)
        if (data, lines) != ("clinc150", 20_000)  # it has 15,000
    },
}
