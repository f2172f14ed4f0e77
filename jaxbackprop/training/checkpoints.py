"""Checkpoints of a run: pytrees of arrays by name and epoch, written by orbax, whole or not at all."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from ..data.errors import DataError

T = TypeVar("T")

SHARE_OF_TIME = 0.05
"""Writing checkpoints takes at most about this share of a run."""


class Checkpoints:
    """The checkpoints in one folder: of each name the newest."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._saved_at, self._save_took = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether so much time has passed since the last checkpoint that another costs little."""
        return time.monotonic() - self._saved_at > self._save_took / SHARE_OF_TIME

    def save(self, which: str, epoch: int, tree: Any) -> None:
        """Write a checkpoint of that name ("last" or "best"); the one before is removed once this one is whole."""
        started = time.monotonic()
        folder = self.folder / which
        target = folder / str(epoch)
        if not target.exists():
            import orbax.checkpoint as ocp

            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save(target.absolute(), _arrays(tree))
        for old in _numbered(folder):
            if old != epoch:
                shutil.rmtree(folder / str(old))
        self._saved_at, self._save_took = time.monotonic(), time.monotonic() - started

    def load(self, which: str, like: T) -> tuple[int, T]:
        """The epoch of the newest checkpoint of that name and its arrays, in the structure of `like`.

        Raises:
            DataError: there is none, or its arrays do not fit.
        """
        import orbax.checkpoint as ocp

        folder = self.folder / which
        epochs = _numbered(folder)
        if not epochs:
            raise DataError("no checkpoint", file=folder, advice="The run ended before its first epoch did.")
        wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _arrays(like))
        path = folder / str(epochs[-1])
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                found = checkpointer.restore(path.absolute(), wanted)
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"arrays that do not fit the model of config.json ({reason})", file=path) from error
        return epochs[-1], _like(found, like)


def _numbered(folder: Path) -> Sequence[int]:
    """The epochs of the whole checkpoints in a folder; orbax gives one its plain number only once it is whole."""
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit()) if folder.is_dir() else []


def _named(tree: Any) -> dict[str, jax.Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): x for path, x in leaves}


def _is_key(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _arrays(tree: Any) -> dict[str, jax.Array]:
    """A pytree as arrays by name, random keys as the integers they consist of."""
    return {name: jax.random.key_data(x) if _is_key(x) else x for name, x in _named(tree).items()}


def _like(arrays: Mapping[str, jax.Array], like: T) -> T:
    leaves = [
        jax.random.wrap_key_data(arrays[name], impl=jax.random.key_impl(x)) if _is_key(x) else arrays[name]
        for name, x in _named(like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
