"""What text_against_fasttext.py trains: data sets and options, by fastText's own names, and what each run must show."""

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
