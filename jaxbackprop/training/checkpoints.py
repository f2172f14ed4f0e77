"""Checkpoints of a run: arrays written by orbax, whole or not at all, each with the hashes of its files.

    last/N       the N-th state of training that was saved; the newest two are kept
    last/N.json  the hashes of its files, and where in the run it stands
    best/EPOCH   the model after the best epoch so far, with such a file too, while a kept state refers to it

A checkpoint counts once its JSON file is there, which is written last.
"""

import json
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from ..data.errors import DataError
from .integrity import files_in, seal, unseal
from .processes import is_key, local

T = TypeVar("T")

SHARE_OF_TIME = 0.05
"""Writing checkpoints takes at most about this share of a run."""
FIRST_SAVE = 0.1
"""Seconds that the first save is thought to take."""
KEPT = 2


class Saved(NamedTuple):
    """A checkpoint of a training.

    about  where in the run it stands
    state  the arrays of training
    best   the arrays of the best model
    """

    about: dict[str, Any]
    state: Any
    best: Any


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._best: int | None = None  # the one known to be whole
        self._saved_at, self._save_took = time.monotonic(), FIRST_SAVE

    def due(self) -> bool:
        """Whether so much time has passed since the last checkpoint that another costs little."""
        return time.monotonic() - self._saved_at > self._save_took / SHARE_OF_TIME

    def save(self, about: Mapping[str, Any], state: Any, best_epoch: int, best: Any) -> None:
        """Write a checkpoint; older ones are removed once it is whole.

        Raises:
            DataError: it could not be written; the ones before are still there.
        """
        started = time.monotonic()
        try:
            # The best first: were it the other way round, a run cut off between the two would lack its best model.
            if best_epoch != self._best:
                self._write("best", best_epoch, best, {})
                self._best = best_epoch
            number = max(self._numbers(), default=0) + 1
            self._write("last", number, state, {**about, "best_epoch": best_epoch})
            self._remove_old()
        except (OSError, ValueError) as error:
            raise DataError(
                f"a checkpoint that could not be written ({_first_line(error)})",
                file=self.folder,
                advice="Make room there, or make it writable, and resume the run; what was saved before is kept.",
            ) from error
        self._saved_at, self._save_took = time.monotonic(), time.monotonic() - started

    def any(self) -> bool:
        """Whether there is any, whole or damaged."""
        return bool(self._numbers())

    def newest(self) -> tuple[int, dict[str, Any]]:
        """The number of the newest whole checkpoint, and where in the run it stands; a warning names damaged ones.

        Raises:
            DataError: there is none, or all there are, are damaged.
        """
        problems: list[DataError] = []
        for number in sorted(self._numbers(), reverse=True):
            try:
                about = self._checked("last", number)
                self._checked("best", about["best_epoch"])
            except DataError as error:
                problems.append(error)
                continue
            if problems:
                warnings.warn(f"{problems[0]} The checkpoint before it is used.", stacklevel=3)
            return number, about
        if problems:
            raise problems[0]
        raise DataError("no checkpoint", file=self.folder, advice="Nothing was saved: train anew.")

    def load(self, state: Any, best: Any) -> Saved:
        """The newest whole checkpoint, its arrays in the structure of those given.

        Raises:
            DataError: there is none, all are damaged, or its arrays do not fit.
        """
        number, about = self.newest()
        self._best = about["best_epoch"]
        return Saved(about, self._read("last", number, state), self._read("best", about["best_epoch"], best))

    def load_best(self, like: T) -> T:
        """The model after the best epoch up to the newest whole checkpoint.

        Raises:
            DataError: there is none, all are damaged, its arrays do not fit, or no epoch ended before it.
        """
        _, about = self.newest()
        if not about["best_epoch"]:
            raise DataError("a run that was stopped in its first epoch", file=self.folder, advice="Resume it.")
        return self._read("best", about["best_epoch"], like)

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in (self.folder / "last").glob("*.json") if path.stem.isdigit()]

    def _write(self, which: str, number: int, tree: Any, about: Mapping[str, Any]) -> None:
        target = self.folder / which / str(number)
        listed = target.with_name(f"{number}.json")
        listed.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)  # left by a process that was killed before it listed the files
        with _checkpointer() as checkpointer:
            checkpointer.save(target.absolute(), _arrays(tree))
        new = target.with_name(f"{number}.json.new")
        new.write_text(json.dumps(seal({**about, "files": files_in(target)})) + "\n", encoding="utf-8")
        new.replace(listed)

    def _remove_old(self) -> None:
        kept, best = sorted(self._numbers())[-KEPT:], set()
        for step in kept:
            try:
                best.add(self._about("last", step)["best_epoch"])
            except DataError:
                continue
        for which, numbers in (("last", set(kept)), ("best", best)):
            for path in (self.folder / which).iterdir():
                name = path.name.partition(".")[0]
                if name.isdigit() and int(name) not in numbers:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _about(self, which: str, number: int) -> dict[str, Any]:
        path = self.folder / which / f"{number}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"a checkpoint without the list of its files ({_first_line(error)})", file=path) from None
        return unseal(found, path)

    def _checked(self, which: str, number: int) -> dict[str, Any]:
        """Where the checkpoint stands; DataError where its files are not those that were written."""
        about, path = self._about(which, number), self.folder / which / str(number)
        listed = about.pop("files")
        found = files_in(path)
        for name in sorted(listed.keys() | found.keys()):
            if listed.get(name) != found.get(name):
                how = "is missing" if name not in found else "was added" if name not in listed else "is damaged"
                raise DataError(f"a checkpoint of which {name} {how}", file=path)
        return about

    def _read(self, which: str, number: int, like: T) -> T:
        here = SingleDeviceSharding(jax.local_devices()[0])
        wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), _arrays(like))
        path = self.folder / which / str(number)
        try:
            with _checkpointer() as checkpointer:
                found = checkpointer.restore(path.absolute(), wanted)
        except (ValueError, KeyError, OSError) as error:
            raise DataError(
                f"arrays that do not fit the model of config.json ({_first_line(error)})", file=path
            ) from error
        return _like(found, like)


def _checkpointer() -> Any:
    """Orbax's, of this process alone: each reads for itself, and the first writes what all have."""
    import orbax.checkpoint as ocp

    here = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"process{here}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=alone)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _named(tree: Any) -> dict[str, jax.Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in leaves}


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """A pytree as arrays by name, on the host, random keys as the integers they consist of."""
    named = _named(local(tree)).items()
    return jax.device_get({name: jax.random.key_data(x) if is_key(x) else x for name, x in named})


def _like(arrays: Mapping[str, jax.Array], like: T) -> T:
    leaves = [
        jax.random.wrap_key_data(arrays[name], impl=jax.random.key_impl(x)) if is_key(x) else arrays[name]
        for name, x in _named(like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
