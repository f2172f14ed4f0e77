"""A run on disk: what was asked, what each epoch measured, and the numbers of the model, to go on from or to load.

    config.json      everything that was asked, with versions
    metrics.jsonl    a line an epoch, written as the epoch ends
    checkpoints/     the last state and the best model, by orbax
    vocabulary.json  and whatever else the caller puts there

How a model is trained is not known here.
"""

import json
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from ..data.errors import DataError
from .history import Epoch

T = TypeVar("T")

SHARE_OF_TIME = 0.05
"""Writing checkpoints takes at most about this share of a run."""


class RunFolder:
    """One run's folder.

    Raises:
        DataError: the folder is there already and `create` was asked for; it is not a run, and `open` was.
    """

    def __init__(self, path: Path):
        self.path = path
        self._saved_at, self._save_took = time.monotonic(), 0.0

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> "RunFolder":
        """A new run. A folder that already holds one is left alone."""
        path = Path(path)
        if (path / "config.json").exists():
            advice = "Give another folder, resume the run that is there, or remove it."
            raise DataError("a run that is there already", expected="a new folder", file=path, advice=advice)
        path.mkdir(parents=True, exist_ok=True)
        made = cls(path)
        made.write("config.json", {**config, "versions": versions()})
        return made

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """A run that is there."""
        path = Path(path)
        if not (path / "config.json").is_file():
            found = "no config.json" if path.is_dir() else "no such folder"
            raise DataError(found, expected="the folder of a run", file=path, advice="Train one: jaxbackprop train.")
        return cls(path)

    @property
    def config(self) -> dict[str, Any]:
        return self.read("config.json")

    def read(self, name: str) -> Any:
        """A JSON file of the run; DataError where it is missing or broken."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError("no such file", file=self.path / name, advice="The run is not complete.") from None
        except json.JSONDecodeError as error:
            raise DataError(f"broken JSON ({error.msg})", file=self.path / name, line=error.lineno) from None

    def write(self, name: str, value: Any) -> None:
        """A JSON file of the run, whole or not at all."""
        new = self.path / f"{name}.new"
        text = json.dumps(value, indent=1, ensure_ascii=False)
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            text = json.dumps(value, indent=1)  # a word that is no UTF-8 is a lone surrogate, which only JSON can say
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(self.path / name)

    def record(self, epoch: Epoch) -> None:
        """Add an epoch to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(epoch.as_dict()) + "\n")

    def epochs(self) -> list[Epoch]:
        """The epochs recorded so far; a last line that was cut off is not counted."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        try:
            return [Epoch(**json.loads(line)) for line in lines[:-1]]
        except (json.JSONDecodeError, TypeError) as error:
            raise DataError(f"a broken line ({error})", file=path, advice="Remove it, or train anew.") from None

    def forget_after(self, epoch: int) -> list[Epoch]:
        """Drop what was recorded after `epoch`: those epochs will be run again. Answers what is left."""
        kept = [e for e in self.epochs() if e.epoch <= epoch]
        new = self.path / "metrics.jsonl.new"
        new.write_text("".join(json.dumps(e.as_dict()) + "\n" for e in kept), encoding="utf-8")
        new.replace(self.path / "metrics.jsonl")
        return kept

    def due(self) -> bool:
        """Whether so much time has passed since the last checkpoint that another costs little."""
        return time.monotonic() - self._saved_at > self._save_took / SHARE_OF_TIME

    def save(self, which: str, epoch: int, tree: Any) -> None:
        """Write a checkpoint of that name ("last" or "best"); the one before is removed once this one is whole."""
        started = time.monotonic()
        folder = self._checkpoints(which)
        target = folder / str(epoch)
        if not target.exists():
            import orbax.checkpoint as ocp

            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(target.absolute(), _numbers(tree))
        for old in _numbered(folder):
            if old != epoch:
                shutil.rmtree(folder / str(old))
        self._saved_at, self._save_took = time.monotonic(), time.monotonic() - started

    def load(self, which: str, like: T) -> tuple[int, T]:
        """The epoch of the newest checkpoint of that name and its numbers, in the structure of `like`.

        Raises:
            DataError: there is none, or its numbers do not fit.
        """
        import orbax.checkpoint as ocp

        folder = self._checkpoints(which)
        epochs = _numbered(folder)
        if not epochs:
            raise DataError("no checkpoint", file=folder, advice="The run ended before its first epoch did.")
        wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _numbers(like))
        path = folder / str(epochs[-1])
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                found = checkpointer.restore(path.absolute(), wanted)
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"numbers that do not fit the model of config.json ({reason})", file=path) from error
        return epochs[-1], _like(found, like)

    def _checkpoints(self, which: str) -> Path:
        return self.path / "checkpoints" / which


def _numbered(folder: Path) -> Sequence[int]:
    """The epochs of the whole checkpoints in a folder; orbax gives one its plain number only once it is whole."""
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit()) if folder.is_dir() else []


def _named(tree: Any) -> dict[str, jax.Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in leaves}


def _is_key(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _numbers(tree: Any) -> dict[str, jax.Array]:
    """A pytree as arrays by name, random keys as the numbers they are made of."""
    return {name: jax.random.key_data(x) if _is_key(x) else x for name, x in _named(tree).items()}


def _like(numbers: Mapping[str, jax.Array], like: T) -> T:
    leaves = [
        jax.random.wrap_key_data(numbers[name], impl=jax.random.key_impl(x)) if _is_key(x) else numbers[name]
        for name, x in _named(like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def versions() -> dict[str, str]:
    """What the numbers of a run depend on beside its settings."""
    found = {"python": platform.python_version(), "device": jax.devices()[0].device_kind}
    for package in ("jaxbackprop", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found
