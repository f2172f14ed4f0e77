"""Arrays kept in memory while they are few, in files of a temporary folder from then on."""

import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np


class Spill:
    """Keeps arrays; those beyond `limit` bytes are moved to disk and read back from there where they are used.

    The folder goes with the object.
    """

    def __init__(self, limit: int):
        self.limit, self.held, self.files = limit, 0, 0
        self.folder: Path | None = None

    def keep(self, array: np.ndarray) -> np.ndarray:
        """The array, in memory or mapped to its file; not to be written to."""
        if self.held + array.nbytes <= self.limit or not array.size:
            self.held += array.nbytes
            return array
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="jaxbackprop-"))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        path = self.folder / f"{self.files}.npy"
        self.files += 1
        np.save(path, array)
        return np.load(path, mmap_mode="r")
