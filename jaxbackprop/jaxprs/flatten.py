"""Many arrays as one row of real numbers: what numerical derivatives work on. Knows nothing of JAX."""

from typing import Any

import numpy as np


def dual(leaves: list[Any]) -> list[Any]:
    """JAX's convention for complex cotangents: <u, dy> = Re(u dy), so the imaginary part counts negative."""
    return [np.conj(x) if np.iscomplexobj(x) else x for x in leaves]


def flatten(leaves: Any) -> np.ndarray:
    """All numbers in one row of float64; of complex leaves first the real, then the imaginary parts."""
    parts = [as_real(np.asarray(x)[None]).reshape(-1) for x in leaves]
    return np.concatenate(parts) if parts else np.zeros(0)


def as_real(x: np.ndarray) -> np.ndarray:
    """Rows of numbers as rows of float64; complex ones as their real, then their imaginary parts."""
    flat = x.reshape(len(x), int(np.prod(x.shape[1:])))
    if np.iscomplexobj(flat):
        return np.concatenate([np.real(flat), np.imag(flat)], 1)
    return flat.astype(np.float64)


def unflatten(points: np.ndarray, arrays: list[Any], live: list[int]) -> list[Any]:
    """Rows of numbers back as `arrays`, those at `live` with a leading axis; the others as they are."""
    out, at = list(arrays), 0
    for i in live:
        x = arrays[i]
        size = flatten([x]).size
        part = points[:, at : at + size]
        at += size
        if np.iscomplexobj(x):
            part = part[:, : size // 2] + 1j * part[:, size // 2 :]
        out[i] = part.reshape(len(points), *x.shape)
    return out
