"""A training kept on disk as it goes, so that one that was interrupted goes on, to the bits it would have had.

    checkpoint-N/     what there was after N chunks; the folder has its name once it is whole
      about.json      of which training, and all that is no table: the state of the sampler, the losses so far
      input.rows.npy  the tables, and what their optimizer remembers

How training goes is not known here; what a finished model's folder holds: files/model_folder.py.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ....data import DataError
from ....jaxprs.lazy_import import lazy_import
from ....training.content_hashes import files_in, of_file, seal, unseal
from ...corpus.vocabulary import Vocabulary
from ...settings import Settings

if TYPE_CHECKING:  # JAX is imported while the text is read
    from jax import Array

tables = lazy_import(f"{__name__.rsplit('.', 2)[0]}.tables")

EVERY = 60.0  # seconds between two checkpoints
SHARE_OF_TIME = 0.05  # writing takes at most about this share of a training
ABOUT, NAME = "about.json", "checkpoint-"
# no file or none that may be read; no JSON, no array; JSON of another form (twice); an empty file for an array
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError)


class Checkpoint(NamedTuple):
    """A training as far as it has come: its chunks so far, the parts of its tables (mapped files), and all the rest."""

    chunks: int
    parts: dict[str, np.ndarray]
    rest: dict[str, Any]


class Checkpoints:
    """Keeps a training in `folder`, every `seconds` of it; only the newest checkpoint stays.

    A table of 800 MB takes about a second to write. Where that is more than a twentieth of `seconds`, it is written
    less often: training takes at most a twentieth longer, and as much memory as before.
    """

    def __init__(self, folder: Path, seconds: float = EVERY):
        if not seconds >= 0:
            raise ValueError(f"the seconds between two checkpoints are {seconds!r}; they must be at least 0.")
        self.folder, self.seconds = folder, seconds
        self._kept_at, self._took = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether enough time has passed for another checkpoint to cost little."""
        waits = self._took / SHARE_OF_TIME if self.seconds else 0.0
        return time.monotonic() - self._kept_at >= max(self.seconds, waits)

    def keep(self, chunks: int, parts: "Mapping[str, Array]", training: dict[str, Any], rest: dict[str, Any]) -> None:
        """Write what there is after this number of chunks; the checkpoint before is removed once this one is whole.

        parts     the parts of the tables, by name; each (rows, columns)
        training  what tells this training from another: see `training_of`
        rest      all that is no table, as JSON can hold it
        """
        begun = time.monotonic()
        unfinished = self.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, part in parts.items():
            tables.write_table(unfinished / f"{name}.npy", part)
        about = seal({"chunks": chunks, "training": training, "rest": rest, "files": files_in(unfinished)})
        (unfinished / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        before = whole_checkpoints(self.folder)
        unfinished.rename(self.folder / f"{NAME}{chunks}")
        for old in before:
            shutil.rmtree(old)
        self._kept_at = time.monotonic()
        self._took = self._kept_at - begun

    def last(self, training: dict[str, Any]) -> Checkpoint | None:
        """The newest checkpoint, or None where there is none.

        Raises:
            DataError: it is of another training, or damaged.
        """
        whole = whole_checkpoints(self.folder)
        if not whole:
            return None
        path = whole[-1]
        try:
            about = unseal(json.loads((path / ABOUT).read_text(encoding="utf-8")), path / ABOUT)
            if files_in(path) != about["files"] | {ABOUT: of_file(path / ABOUT)}:
                raise ValueError("its files are not those that were written")
            found, chunks, rest = about["training"], int(about["chunks"]), about["rest"]
            parts = {file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")}
        except UNREADABLE as error:
            advice = "Remove it, and train anew."
            raise DataError(f"a damaged checkpoint ({error})", file=path, advice=advice) from None
        for name, value in training.items():
            if found.get(name) != value:
                advice = "Go on with what it was begun with, or take another folder."
                raise DataError(
                    f"a training with other {name}", expected="one of these data and settings", file=path, advice=advice
                )
        return Checkpoint(chunks, parts, rest)


def training_of(settings: Settings, vocabulary: Vocabulary, texts: int, batch: int, devices: int) -> dict[str, Any]:
    """What tells one training from another: its settings, and its data by their counts."""
    return {
        "settings": dataclasses.asdict(settings) | {"batch": batch},
        "data": [texts, vocabulary.tokens, vocabulary.rows, len(vocabulary.counts), _sum(vocabulary.counts)],
        "devices": devices,
    }


def _sum(counts: np.ndarray) -> int:
    """A sum of all counts in which each has its own weight."""
    return int((counts.astype(np.uint64) * (2 * np.arange(len(counts), dtype=np.uint64) + 1)).sum())


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were written to their end, the newest last."""
    found = [p for p in folder.glob(f"{NAME}*") if p.name.removeprefix(NAME).isdigit()]
    return sorted(found, key=lambda p: int(p.name.removeprefix(NAME)))
