"""A trained classifier on disk: a folder with fastText's own file and, beside it, what that file does not hold.

model.bin    the model as fastText reads it; model.ftz where it is quantized, model.linear where it is a linear one
config.json  all settings, with versions, and whatever else the caller keeps there
"""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data import DataError
from ...data.errors import missing
from ...jaxprs.lazy_import import lazy_import
from ...training.content_hashes import check_file, of_file, seal
from ...training.run_folder import RunFolder
from ..model import Model
from ..options import settings_of
from ..quantize.table import QuantizedTable
from .fasttext_model import read_model, write_model
from .linear_file import is_linear, read_linear, write_linear

metadata = lazy_import("importlib.metadata")  # only a model that is saved needs it

CONFIG, PLAIN, SMALL, LINEAR = "config.json", "model.bin", "model.ftz", "model.linear"
NAMES = (PLAIN, SMALL, LINEAR)
FILES = "files"  # the entry of config.json with the hashes of finished files
KIND = "text classifier"
ENDINGS = (".bin", ".ftz", ".linear")


def is_model(path: Path) -> bool:
    """Whether there is a text classifier at this path: a .bin, .ftz or .linear file, or a folder that `save` wrote."""
    return path.suffix in ENDINGS if not path.is_dir() else any((path / name).is_file() for name in NAMES)


def save(model: Model, path: Path, about: Mapping[str, Any] = {}) -> None:
    """Write the model: as one file where the name ends in .bin, .ftz or .linear, else as a folder."""
    if path.suffix in ENDINGS:
        write(model, path)
        return
    if (path / CONFIG).exists():
        advice = "Give another folder, or remove it."
        raise DataError("a run that is there already", expected="a new folder", file=path, advice=advice)
    path.mkdir(parents=True, exist_ok=True)
    write(model, file := path / name_of(model))
    config = {"kind": KIND, **about, "settings": dataclasses.asdict(model.settings), "versions": versions()}
    config = seal(config | {FILES: {file.name: of_file(file)}})
    new = path / f"{CONFIG}.new"
    new.write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(path / CONFIG)


def name_of(model: Model) -> str:
    """What the model's file is called in a folder."""
    if model.kind == "linear":
        return LINEAR
    return SMALL if isinstance(model.input, QuantizedTable) else PLAIN


def write(model: Model, path: Path) -> None:
    """Write the model's own file, whatever its name."""
    (write_linear if model.kind == "linear" else write_model)(model, path)


def load(path: Path) -> Model:
    """The model in a .bin, .ftz or .linear file, or in a folder.

    Raises:
        DataError: nothing there, or something else, or a damaged file.
    """
    if not path.is_dir():
        if not path.exists():
            raise missing(path)
        return read_linear(path) if is_linear(path) else read_model(path)
    file = next((path / name for name in NAMES if (path / name).is_file()), None)
    if file is None:
        raise DataError(f"a folder without {PLAIN}", expected="a trained text classifier", file=path)
    if not (path / CONFIG).is_file():
        return read_linear(file) if is_linear(file) else read_model(file)
    found = config(path)
    check_file(file, found.get(FILES, {}))
    settings = settings_of(found["settings"], called=str(path / CONFIG))
    if is_linear(file):
        return read_linear(file)
    return dataclasses.replace(read_model(file, label_prefix=settings.label_prefix), settings=settings)


def config(path: Path) -> dict[str, Any]:
    """What is kept beside the model; DataError where it is broken."""
    return RunFolder(path).config


def versions() -> dict[str, str]:
    """What a model depends on beside its settings."""
    found = {"python": platform.python_version()}
    for package in ("jaxbackprop", "jax", "jaxlib", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found
