"""Checkpoints of a run: arrays in NumPy's format, whole or not at all, each with the hash of its file.

    last/N.npy   the N-th state of training that was saved, its arrays one after another; the newest few are kept
    last/N.json  their names, types and shapes, the hash of their file, and where in the run it stands
    best/EPOCH   the model after the best epoch so far, in two such files, while a kept state refers to it

A checkpoint counts once its JSON file is there, which is written last. All is written in a thread beside training.
"""

import json
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ..data.errors import DataError
from .content_hashes import of_file, seal, unseal
from .processes import is_key, local

T = TypeVar("T")

SHARE_OF_TIME = 0.05
"""Writing checkpoints takes at most about this share of a run."""
FIRST_SAVE = 0.1
"""Seconds that the first save is thought to take."""
ARRAYS, HASH = "arrays", "hash of the arrays"


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
    """The checkpoints in one folder, of which the newest `keep` are kept."""

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, keep
        self._best: int | None = None  # the one known to be whole
        self._saved_at, self._save_took = time.monotonic(), FIRST_SAVE
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[None] | None = None

    def due(self) -> bool:
        """Whether so much time has passed since the last checkpoint that another costs little."""
        is_free = self._writing is None or self._writing.done()
        return is_free and time.monotonic() - self._saved_at > self._save_took / SHARE_OF_TIME

    def save(self, about: Mapping[str, Any], state: Any, best_epoch: int, best: Any) -> None:
        """Begin to write a checkpoint, once the one before is written; older ones are removed once it is whole.

        Raises:
            DataError: the one before could not be written.
        """
        before = None if self._writing is None else self._writing.exception()
        self._writing = self._writer.submit(self._save, dict(about), state, best_epoch, best)
        if before is not None:
            raise before

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            DataError: it could not be written; the ones before are still there.
        """
        if self._writing is not None:
            self._writing.result()

    def _save(self, about: dict[str, Any], state: Any, best_epoch: int, best: Any) -> None:
        started = time.monotonic()
        try:
            # The best first: were it the other way round, a run cut off between the two would lack its best model.
            if best_epoch != self._best:
                self._write("best", best_epoch, best, {})
                self._best = best_epoch
            number = max(self._numbers(), default=0) + 1
            self._write("last", number, state, {**about, "best_epoch": best_epoch})
            self._remove_old()
        except OSError as error:
            raise DataError(
                f"a checkpoint that could not be written ({_first_line(error)})",
                file=self.folder,
                advice="Make room there, or make it writable, and resume the run; what was saved before is kept.",
            ) from error
        finally:
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
        # Arrays that nothing describes are those of a process that was killed, or of a file that was removed since.
        for number in sorted({*self._numbers(), *self._numbers(".npy")}, reverse=True):
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

    def _numbers(self, ending: str = ".json") -> list[int]:
        return [int(path.stem) for path in (self.folder / "last").glob(f"*{ending}") if path.stem.isdigit()]

    def _write(self, which: str, number: int, tree: Any, about: Mapping[str, Any]) -> None:
        path, arrays = self._path(which, number), _arrays(tree)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
        with open(path, "wb") as file:
            for array in arrays.values():
                np.save(file, array, allow_pickle=False)
        new = path.with_suffix(".json.new")
        about = {**about, ARRAYS: _described(arrays), HASH: of_file(path)}
        new.write_text(json.dumps(seal(about)) + "\n", encoding="utf-8")
        new.replace(path.with_suffix(".json"))

    def _path(self, which: str, number: int) -> Path:
        return self.folder / which / f"{number}.npy"

    def _remove_old(self) -> None:
        kept, best = sorted(self._numbers())[-self.keep :], set()
        for step in kept:
            try:
                best.add(self._about("last", step)["best_epoch"])
            except DataError:
                continue
        for which, numbers in (("last", set(kept)), ("best", best)):
            for path in (self.folder / which).iterdir():
                name = path.name.partition(".")[0]
                if name.isdigit() and int(name) not in numbers:
                    path.unlink()

    def _about(self, which: str, number: int) -> dict[str, Any]:
        path = self._path(which, number).with_suffix(".json")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"a checkpoint that is not described ({_first_line(error)})", file=path) from None
        about = unseal(found, path)
        if HASH not in about:
            raise DataError("a checkpoint of another version", file=path)
        return about

    def _checked(self, which: str, number: int) -> dict[str, Any]:
        """Where the checkpoint stands; DataError where its arrays are not those that were written."""
        about, path = self._about(which, number), self._path(which, number)
        if not path.is_file() or of_file(path) != about.pop(HASH):
            raise DataError(f"a checkpoint that {'is damaged' if path.is_file() else 'is missing'}", file=path)
        del about[ARRAYS]
        return about

    def _read(self, which: str, number: int, like: T) -> T:
        path, found, wanted = self._path(which, number), self._about(which, number)[ARRAYS], _described(_arrays(like))
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                of_checkpoint, of_model = (" ".join(map(str, of.get(name, ["nothing"]))) for of in (found, wanted))
                raise DataError(f"{name}: {of_checkpoint}", expected=f"{of_model}, as the model has it", file=path)
        with open(path, "rb") as file:
            arrays = {name: np.load(file).view(dtype) for name, (dtype, _) in found.items()}
        return _like(arrays, like)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _named(tree: Any) -> dict[str, jax.Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in leaves}


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """A pytree as arrays by name, on the host, random keys as the integers they consist of."""
    named = _named(local(tree)).items()
    return jax.device_get({name: jax.random.key_data(x) if is_key(x) else x for name, x in named})


def _described(arrays: Mapping[str, np.ndarray]) -> dict[str, list]:
    """The type and shape of each."""
    return {name: [x.dtype.name, list(x.shape)] for name, x in arrays.items()}


def _like(arrays: Mapping[str, np.ndarray], like: T) -> T:
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(arrays[name]), impl=jax.random.key_impl(x))
        if is_key(x)
        else jnp.asarray(arrays[name])
        for name, x in _named(like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
