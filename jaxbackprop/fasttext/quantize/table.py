"""A table whose rows are put together from few centroids, as fastText's .ftz files hold it.

Source  Jégou, Douze, Schmid 2011, "Product quantization for nearest neighbor search"; Joulin et al. 2016,
        arXiv:1612.03651
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

CENTROIDS = 256  # one byte says which


@dataclass(frozen=True, eq=False)
class QuantizedTable:
    """A table in which each subvector of `dsub` numbers of a row is one of 256 centroids of that subvector.

    Attributes:
        dim: the length of a row.
        dsub: the length of a subvector; the last one of a row may be shorter.
        codes: (rows, subvectors) uint8: which centroid.
        centroids: (256 dim,) float32, subvector after subvector, in each centroid after centroid.
        norm_codes: (rows,) uint8: which of `norms` the row is multiplied by, or None where the rows are as they are.
        norms: (256,) float32, or None.
    """

    dim: int
    dsub: int
    codes: np.ndarray
    centroids: np.ndarray
    norm_codes: np.ndarray | None = None
    norms: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and the length of one."""
        return len(self.codes), self.dim

    @property
    def nbytes(self) -> int:
        """What the codes and the centroids take."""
        parts = (self.codes, self.centroids, self.norm_codes, self.norms)
        return sum(part.nbytes for part in parts if part is not None)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The rows of these numbers, put together: (...) integers -> (..., dim) float32."""
        codes = self.codes[rows]
        table = self._subvectors[np.arange(codes.shape[-1]), codes]  # (..., subvectors, dsub)
        table = table.reshape(*codes.shape[:-1], codes.shape[-1] * self.dsub)[..., : self.dim]
        if self.norms is None or self.norm_codes is None:
            return table
        return table * self.norms[self.norm_codes[rows]][..., None]

    @cached_property
    def _subvectors(self) -> np.ndarray:
        """(subvectors, 256, dsub), a short last subvector filled up with 0."""
        table = np.zeros((n_subvectors(self.dim, self.dsub), CENTROIDS, self.dsub), np.float32)
        for k, (a, b) in enumerate(subvector_slices(self.dim, self.dsub)):
            table[k, :, : b - a] = self.centroids[a * CENTROIDS : b * CENTROIDS].reshape(CENTROIDS, b - a)
        return table


def n_subvectors(dim: int, dsub: int) -> int:
    """Into how many subvectors a row is cut."""
    return -(-dim // dsub)


def subvector_slices(dim: int, dsub: int) -> list[tuple[int, int]]:
    """Where each subvector begins and ends."""
    return [(a, min(a + dsub, dim)) for a in range(0, dim, dsub)]
