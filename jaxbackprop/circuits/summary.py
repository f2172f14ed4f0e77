"""Measures of an array: its size, its zeros, whether it is finite. And the summary that may be kept in its place.

`trace(..., steps="summary")` keeps only summaries of the arrays within loops, so that a long loop fits into memory.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Shaped

WHOLE = 16
"""Arrays of at most this many elements are kept whole: they are no larger than their summary."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Kept in place of an array.

    Attributes:
        shape: the array's.
        dtype: the array's.
        min: the smallest finite element; `max`, `mean` and `rms` (root mean square) likewise.
        zeros: the share of elements that are 0.
        finite: the share of elements that are finite.
        gap: of a gradient by autodiff, its `relative_gap` to the handwritten one.
        saturated: of the gradient at the output of an activation, the share of elements that are hardly passed back.
    """

    shape: tuple[int, ...]
    dtype: Any
    min: float
    max: float
    mean: float
    rms: float
    zeros: float
    finite: float
    gap: float = 0.0
    saturated: float | None = None

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(f"only a summary of this array {list(self.shape)} was kept: trace with steps='whole'.")


Value = Shaped[Array, "..."]
"""What a wire carries. Where only a summary was kept, a `Summary` is in its place."""

Gradient = Inexact[Array, "..."]
"""What flows back through a wire; likewise."""


def summarise(x: Any, gap: float = 0.0, saturated: float | None = None) -> Summary:
    """The summary of an array that has elements."""
    array = to_numpy(x)
    finite = array[np.isfinite(array)]
    real = np.real(finite).astype(np.float64)
    low, high, mean = (float(f(real)) if real.size else np.nan for f in (np.min, np.max, np.mean))
    return Summary(
        shape=tuple(array.shape),
        dtype=x.dtype,
        min=low,
        max=high,
        mean=mean,
        rms=rms(array),
        zeros=float(np.mean(array == 0)),
        finite=finite.size / array.size,
        gap=gap,
        saturated=saturated,
    )


def to_numpy(value: Any) -> Shaped[np.ndarray, "..."]:
    """`value` as a NumPy array of NumPy's own types: random keys as their data, half precisions as float32."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def is_inexact(value: Any) -> bool:
    """Whether `value` is real or complex floating-point: whether it has a derivative."""
    dtype = getattr(value, "dtype", None)
    dtype = jnp.result_type(value) if dtype is None else dtype
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def precision_of(*values: Any) -> AbstractContextManager:
    """A context in which arrays of the precision of `values` can be made: a float64 circuit outlives its context."""
    wide = any(np.dtype(x.dtype).itemsize >= 8 for x in values if isinstance(getattr(x, "dtype", None), np.dtype))
    return jax.enable_x64(True) if wide else nullcontext()


def rms(x: Shaped[np.ndarray, "..."]) -> float:
    """The root mean square of the finite elements."""
    finite = np.abs(x[np.isfinite(x)]).astype(np.float64)
    largest = finite.max(initial=0.0)
    return 0.0 if largest == 0 else float(largest * np.sqrt(np.mean((finite / largest) ** 2)))


def size(x: Any) -> float:
    """The root mean square of the finite elements of an array or of a summarised one."""
    return x.rms if isinstance(x, Summary) else rms(to_numpy(x))


def all_finite(x: Any) -> bool:
    """Whether every element is a finite number."""
    return x.finite == 1 if isinstance(x, Summary) else bool(np.isfinite(to_numpy(x)).all())


def share_of_zeros(x: Any) -> float:
    """The share of elements that are 0."""
    if isinstance(x, Summary):
        return x.zeros
    array = to_numpy(x)
    return float(np.mean(array == 0)) if array.size else 0.0


def relative_gap(handwritten: Any, autodiff: Any) -> float:
    """The largest difference of two gradients, relative to the largest element; 1 where it is not finite."""
    if isinstance(autodiff, Summary):
        return autodiff.gap
    h, a = to_numpy(handwritten), to_numpy(autodiff)
    largest = max(np.abs(h).max(initial=0.0), np.abs(a).max(initial=0.0))
    gap = float(np.abs(h - a).max(initial=0.0) / largest) if largest else 0.0
    return gap if np.isfinite(gap) else 1.0
