"""Content hashes: of JSON that a run wrote, of the files of a checkpoint, of the data that a run was trained on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..data.bags import Bags
from ..data.errors import DataError

SEAL = "sha256"


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the hash of its content as its last entry."""
    bare = {name: entry for name, entry in value.items() if name != SEAL}
    return bare | {SEAL: _of_json(bare)}


def unseal(value: Any, path: Path) -> dict[str, Any]:
    """What was sealed, without the hash.

    Raises:
        DataError: no JSON object, one without a hash, or another content than the hash is of.
    """
    if not isinstance(value, dict) or not isinstance(value.get(SEAL), str):
        raise DataError(f"no object with the hash of its content, {SEAL}", expected="what a run wrote", file=path)
    bare = {name: entry for name, entry in value.items() if name != SEAL}
    if _of_json(bare) != value[SEAL]:
        advice = "The file is damaged, or was edited: restore it, or train anew."
        raise DataError(f"a content that {SEAL} is not the hash of", expected="what the run wrote", file=path,
                        advice=advice)  # fmt: skip
    return bare


def files_in(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder, by its path there."""
    return {str(path.relative_to(folder)): of_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def of_file(path: Path) -> str:
    """The hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path, hashes: Mapping[str, str]) -> None:
    """DataError where a file is not the one that these hashes, by name, were made of; one not among them is."""
    if path.name in hashes and (not path.is_file() or of_file(path) != hashes[path.name]):
        advice = "It is damaged, or was replaced: restore it, or train anew."
        raise DataError("another content than the run wrote", file=path, advice=advice)


def of_arrays(named: Mapping[str, Any]) -> str:
    """The hash of arrays: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, array in named.items():
        leaves = (array.ids, array.offsets) if isinstance(array, Bags) else (np.asarray(array),)
        for leaf in leaves:
            digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"")
    return digest.hexdigest()


def _of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
