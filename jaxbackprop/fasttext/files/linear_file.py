"""The linear model's file: a NumPy archive (.npz) of its vocabulary, its weights and its settings."""

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np

from ...data import DataError
from ...data.arrow_binary import binary_array, buffers
from ..corpus.vocabulary import Vocabulary
from ..model import Model
from ..options import settings_of
from .binary_reader import written_whole

MAGIC = b"PK"
FORMAT = 1
ARRAYS = ("words", "ends", "counts", "kept", "weights", "idf", "bias")


def is_linear(path: Path) -> bool:
    """Whether a file begins as such an archive does."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def write_linear(model: Model, path: Path) -> None:
    """Write the model; it takes its name once it is whole."""
    vocabulary = model.vocabulary
    words, ends = buffers(vocabulary.entries)
    about = {
        "format": FORMAT,
        "tokens": vocabulary.tokens,
        "bucket": vocabulary.bucket,
        "settings": dataclasses.asdict(model.settings),
    }
    kept = np.zeros((0, 2), np.int32) if model.kept is None else model.kept
    found = (words[ends[0] : ends[-1]], ends - ends[0], vocabulary.counts, kept, model.input, model.idf, model.bias)
    with written_whole(path) as file:
        np.savez(file, about=np.array(json.dumps(about)), **dict(zip(ARRAYS, map(np.asarray, found), strict=True)))


def read_linear(path: Path) -> Model:
    """The model in such a file.

    Raises:
        DataError: a damaged file, or another archive.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            words, ends, counts, kept, weights, idf, bias = (archive[name] for name in ARRAYS)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise DataError(f"no linear model ({error})", expected="a file that save_model wrote", file=path) from error
    settings = settings_of(about["settings"], called=str(path))
    names = {name: getattr(settings, name) for name in ("word_ngrams", "minn", "maxn", "label_prefix", "lowercase")}
    entries = binary_array(words, ends)
    vocabulary = Vocabulary(entries, counts, about["tokens"], bucket=about["bucket"], **names)
    none = np.zeros((0, len(vocabulary.labels)), np.float32)
    return Model(vocabulary, settings, weights, none, kept if about["bucket"] else None, "linear", idf, bias)
