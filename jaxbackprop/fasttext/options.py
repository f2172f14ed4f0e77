"""Given options become Settings: names and types are checked, the nearest name is suggested."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from ..data.errors import did_you_mean
from .settings import Settings

FASTTEXT_NAMES = {
    "minCount": "min_count",
    "minCountLabel": "min_count_label",
    "wordNgrams": "word_ngrams",
    "lrUpdateRate": "lr_update_rate",
    "label": "label_prefix",
}
"""fastText's names of settings where they are others than ours."""
KINDS = {field.name: field.type for field in fields(Settings)}
SWITCHES = {name for name, default in vars(Settings()).items() if isinstance(default, bool)}
WHOLE = {name for name, default in vars(Settings()).items() if type(default) is int} | {"batch", "max_words"}
NUMBERS = {"lr", "t", "smoothing", "idf", "C"}
LINEAR = {
    "lowercase": True, "loss": "squared_hinge", "word_ngrams": 2, "epoch": 10, "bucket": 2_000_000_000, "idf": 1.0
}  # fmt: skip
"""The defaults of the linear model: a bucket so large that hardly two n-grams share a row; only those met have one."""
NOT_LINEAR = ("lr", "dim", "neg", "optimizer", "batch")


def settings_of(options: Mapping[str, Any], *, called: str) -> Settings:
    """The settings of these names, the others as fastText has them, or as the linear model has them.

    Raises:
        TypeError: a name that is none, with the nearest that is one; a value of another type.
        ValueError: a value that cannot be.
    """
    for name in options:
        refuse_unknown(name, KINDS, called)
    if options.get("model") == "linear":
        for name in NOT_LINEAR:
            if name in options and options[name] != getattr(Settings, name):
                raise ValueError(f"{called}: {name} is {options[name]!r}; the linear model has no use for it.")
        options = {**LINEAR, **options}
    elif options.get("C", Settings.C) != Settings.C:
        raise ValueError(f"{called}: C is {options['C']!r}; only the linear model has a use for it.")
    return Settings(**{name: checked(name, value, called) for name, value in options.items()})


def refuse_unknown(name: str, known: Any, called: str) -> None:
    """A TypeError where `name` is not among the known options."""
    if name not in known:
        near = did_you_mean(name, known) or f"It takes {', '.join(known)}."
        raise TypeError(f"{called}: there is no option {name!r}. {near}")


def whole_number(value: Any, name: str, called: str) -> int:
    """The argument's value, or a TypeError where it is no whole number."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{called}: {name} is {value!r}; it must be a whole number.")
    return int(value)


def real_number(value: Any, name: str, called: str) -> float:
    """The argument's value, or a TypeError where it is no number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{called}: {name} is {value!r}; it must be a number.")
    return float(value)


def string(value: Any, name: str, called: str) -> str:
    """The argument's value, bytes read as UTF-8, or a TypeError where it is no string."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise TypeError(f"{called}: {name} is {value!r}; it must be a string.")
    return value


def file_name(value: Any, name: str, called: str) -> Path:
    """The argument's value as a path, or a TypeError where it is no name of a file or folder."""
    if not isinstance(value, str | PathLike) or isinstance(fspath(value), bytes):
        raise TypeError(f"{called}: {name} is {value!r}; it must be the name of a file or folder, a string or a path.")
    return Path(value)


def checked(name: str, value: Any, called: str) -> Any:
    """The value of a setting, or a TypeError where it is of another type."""
    if name in WHOLE:
        if value is None and name in ("batch", "max_words"):
            return None
        return whole_number(value, name, called)
    if name in SWITCHES:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{called}: {name} is {value!r}; it must be True or False.")
        return bool(value)
    if name == "class_weight":
        if isinstance(value, Mapping):
            return {string(label, f"a label of {name}", called): real_number(weight, f"{name}[{label!r}]", called)
                    for label, weight in value.items()}  # fmt: skip
        return None if value is None else string(value, name, called)
    if name in NUMBERS:
        return real_number(value, name, called)
    return string(value, name, called)
