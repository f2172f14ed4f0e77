"""From the inputs at which a check fails to a small example: shorter axes first, then plainer numbers."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..jaxprs.inputs import Inputs, Leaves, is_key

TRIALS = 16
SECONDS = 10.0
"""A search ends after this many trials of other sizes, or seconds."""
LARGE = 64
"""An array of more numbers than this is better written as a formula."""


def shrunk(inputs: Inputs, fails: Callable[[Inputs], Any], at: tuple[int, ...], fixed: bool = False) -> Inputs:
    """Inputs at which `fails` still holds, as small and as plain as a short search finds them.

    Args:
        inputs: where it fails.
        fails: whether it does at others, which may have other sizes.
        at: the index of a wrong element: axes may be cut down to it.
        fixed: the sizes must stay.
    """
    end = time.perf_counter() + SECONDS
    trials = 0
    sizes = {n for x in inputs.arrays if not is_key(x) for n in np.shape(x) if n > 1}
    for size in sorted(sizes, reverse=True) if not fixed else ():
        for chosen in _cuts(size, at):
            trials += 1
            if trials > TRIALS or time.perf_counter() > end:
                return _plainer(inputs, fails)
            candidate = inputs.with_arrays([_cut(x, size, chosen) for x in inputs.arrays])
            if fails(candidate):
                inputs = candidate
                break
    return _plainer(inputs, fails)


def _cuts(size: int, at: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The places to keep of an axis, few first."""
    yield np.arange(1)
    if size > 2:
        yield np.arange(2)
    for k in dict.fromkeys(at):
        if 0 < k < size:
            yield np.array([k])
    if size > 8:
        yield np.arange(size // 2)


def _cut(x: Any, size: int, chosen: np.ndarray) -> Any:
    if is_key(x):
        return x
    for axis in range(np.ndim(x)):
        if x.shape[axis] == size:
            x = np.take(x, chosen, axis)
    if x.dtype.kind in "iu" and x.size and x.max() < size:  # it may count along the axis that was cut
        x = np.minimum(x, np.asarray(len(chosen) - 1, x.dtype))
    return x


def _plainer(inputs: Inputs, fails: Callable[[Inputs], Any]) -> Inputs:
    for plain in (_formula, lambda x: _rounded(x, 0), lambda x: _rounded(x, 1), lambda x: _rounded(x, 2)):
        arrays: Leaves = [plain(x) if i in inputs.live else x for i, x in enumerate(inputs.arrays)]
        if all(a is b for a, b in zip(arrays, inputs.arrays, strict=True)):
            continue
        candidate = inputs.with_arrays(arrays)
        if fails(candidate):
            return candidate
    return inputs


def _formula(x: np.ndarray) -> np.ndarray:
    return ramp(x.shape, x.dtype) if x.size > LARGE and jnp.issubdtype(x.dtype, jnp.floating) else x


def ramp(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Numbers from 0.5 to 1.5, what a large array is written as where the failure shows with these, too."""
    return np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape).astype(dtype)


def _rounded(x: np.ndarray, digits: int) -> np.ndarray:
    wide = np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64)
    return (np.round(wide, digits) + 0.0).astype(x.dtype)  # no -0.0
