"""Defaults of `train text`: what a setting is where it was not given. Chosen by experiments/text_defaults.py."""

from collections.abc import Mapping
from typing import Any

DEFAULT: Mapping[str, Any] = {"dim": 50, "epoch": 12, "word_ngrams": 2, "bucket": 500_000, "shuffle": True}
LEARNING_RATES = {"sgd": 0.35, "adagrad": 0.05, "adam": 0.01}
IDF, SMOOTHING = 2.0, 0.05


def with_defaults(given: Mapping[str, Any], preset: str = "default") -> dict[str, Any]:
    """The settings given and, for those that were not, the preset's values.

    Args:
        given: settings by the names of `Settings`.
        preset: "default": as accurate as we know on texts held out of four data sets; "fasttext": fastText's own.

    Raises:
        ValueError: there is no such preset.
    """
    if preset == "fasttext":
        return dict(given)
    if preset != "default":
        raise ValueError(f"--preset is {preset!r}; it is default or fasttext.")
    optimizer, loss = given.get("optimizer", "sgd"), given.get("loss", "softmax")
    defaults = {**DEFAULT, "lr": LEARNING_RATES.get(optimizer, LEARNING_RATES["sgd"])}
    if optimizer == "sgd":
        defaults["idf"] = IDF
    if loss == "softmax":
        defaults["smoothing"] = SMOOTHING
    return {**defaults, **given}
