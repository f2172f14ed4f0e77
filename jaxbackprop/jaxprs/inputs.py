"""One input of a target, flattened: which leaves are numbers to differentiate, which are held fixed.

Also the random directions and cotangents, and the rounding and jittering of all of them to a precision.
"""

import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Leaves = list[Any]


def is_array(x: Any) -> bool:
    """Whether JAX would trace `x`: arrays and Python floats; other Python values are held static."""
    return isinstance(x, jax.Array | np.ndarray | np.generic | float | complex)


def is_key(x: Any) -> bool:
    """Whether `x` is an array of random keys."""
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _as_numpy(x: Any) -> Any:
    if is_key(x):
        return x
    return np.asarray(x)


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call, taken apart.

    Attributes:
        args: the arguments as given.
        label: in words.
        static: positions of arguments that are held as they are, arrays in them too.
    """

    args: tuple
    label: str = "the given arguments"
    static: frozenset[int] = frozenset()

    @cached_property
    def flat(self) -> tuple[list[tuple[Any, Any]], Any]:
        """The leaves with their paths, and the structure."""
        return jax.tree_util.tree_flatten_with_path(self.args, is_leaf=lambda x: x is None)

    @cached_property
    def is_traced(self) -> list[bool]:
        """For each leaf whether JAX traces it: an array or a Python float, in no static argument."""
        return [is_array(x) and path[0].idx not in self.static for path, x in self.flat[0]]

    @cached_property
    def traced(self) -> list[tuple[Any, Any]]:
        """The leaves that are traced, with their paths."""
        return list(itertools.compress(self.flat[0], self.is_traced))

    @cached_property
    def arrays(self) -> Leaves:
        """The leaves that are traced, as NumPy arrays (keys as JAX arrays)."""
        return [_as_numpy(x) for _, x in self.traced]

    @cached_property
    def live(self) -> list[int]:
        """The positions in `arrays` of the leaves that get a gradient: floating-point or complex."""
        return [i for i, x in enumerate(self.arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]

    @cached_property
    def owners(self) -> list[int]:
        """For each array the positional argument it belongs to."""
        return [path[0].idx for path, _ in self.traced]

    @property
    def dtype(self) -> Any:
        """The floating-point type of the arguments: the widest one."""
        found = [self.arrays[i].dtype for i in self.live]
        real = [np.dtype(np.float64 if d == np.complex128 else np.float32 if d == np.complex64 else d) for d in found]
        return max(real, key=lambda d: (d.itemsize, -unit_roundoff(d)), default=np.dtype(np.float32))

    @property
    def narrowest(self) -> Any:
        """The coarsest floating-point type among the arguments."""
        found = [self.arrays[i].dtype for i in self.live]
        return max(found, key=unit_roundoff, default=np.dtype(np.float32))

    @property
    def size(self) -> int:
        """How many numbers get a gradient."""
        return sum(self.arrays[i].size for i in self.live)

    @property
    def described(self) -> str:
        """The leaves' types and shapes in one line."""
        leaves = [x for _, x in self.flat[0]]
        shown = [f"{_as_numpy(x).dtype}{[*np.shape(x)]}" if is_array(x) else f"{x!r:.40}" for x in leaves]
        return ", ".join(shown)

    def label_of(self, i: int, names: Sequence[str]) -> str:
        """What array `i` is called: `W`, or `params['W']`."""
        path = self.traced[i][0]
        first = names[path[0].idx] if path[0].idx < len(names) else f"argument {path[0].idx}"
        return str(first) + jax.tree_util.keystr(path[1:])

    def rebuild(self, arrays: Sequence[Any]) -> tuple:
        """The arguments with `arrays` in the place of their arrays."""
        coming = iter(arrays)
        leaves = [next(coming) if traced else x for traced, (_, x) in zip(self.is_traced, self.flat[0], strict=True)]
        return jax.tree_util.tree_unflatten(self.flat[1], leaves)

    def with_arrays(self, arrays: Sequence[Any], label: str | None = None) -> "Inputs":
        """The same point with other arrays."""
        return Inputs(self.rebuild(arrays), label or self.label, self.static)

    def cast(self, dtype: Any) -> "Inputs":
        """The same point with floating-point leaves rounded to `dtype` (complex ones to its complex type)."""
        return self.with_arrays([_cast(x, dtype) for x in self.arrays])

    def call(self, function: Callable) -> Callable[..., Leaves]:
        """`function` of the flat arrays, answering the flat list of its inexact outputs."""

        def flat(*arrays: Any) -> Leaves:
            return inexact(function(*self.rebuild(arrays)))

        return flat

    def call_all(self, function: Callable) -> Callable[..., Leaves]:
        """`function` of the flat arrays, answering the flat list of all its outputs."""
        return lambda *arrays: jax.tree.leaves(function(*self.rebuild(arrays)))

    def pulling(self, function: Callable) -> Callable[..., tuple[Leaves, Leaves]]:
        """`(arrays, cotangents) -> (outputs, gradients of the live arrays)` of `function`."""
        flat = self.call(function)

        def pull(arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
            def of_live(*live: Any) -> Leaves:
                return flat(*replaced(arrays, self.live, live))

            y, back = jax.vjp(of_live, *(arrays[i] for i in self.live))
            return y, list(back([jnp.asarray(u).astype(a.dtype) for u, a in zip(upstream, y, strict=True)]))

        return pull


def replaced(arrays: Sequence[Any], where: Sequence[int], new: Sequence[Any]) -> Leaves:
    """`arrays` with `new` at the positions `where`."""
    out = list(arrays)
    for i, x in zip(where, new, strict=True):
        out[i] = x
    return out


def inexact(tree: Any) -> Leaves:
    """The floating-point and complex leaves of an output: those that can have a cotangent."""
    return [x for x in map(jnp.asarray, jax.tree.leaves(tree)) if jnp.issubdtype(x.dtype, jnp.inexact)]


def _cast(x: Any, dtype: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return np.asarray(x).astype(dtype)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return np.asarray(x).astype(np.complex128 if dtype == np.float64 else np.complex64)
    return x


def generator(*words: Any) -> np.random.Generator:
    """A generator that depends on `words` alone: the same verification draws the same numbers."""
    return np.random.default_rng([zlib.crc32(repr(w).encode()) for w in words])


def normal_like(rng: np.random.Generator, shapes: Sequence[Any]) -> Leaves:
    """Random numbers with the shapes and kinds of `shapes`: none near zero, so that no element goes unexercised."""
    made = []
    for s in shapes:
        x = rng.uniform(0.4, 1.6, s.shape) * rng.choice([-1.0, 1.0], s.shape)
        if jnp.issubdtype(s.dtype, jnp.complexfloating):
            x = x * np.exp(2j * np.pi * rng.random(s.shape))
        made.append(x)
    return made


def round_to(leaves: Sequence[Any], dtype: Any) -> Leaves:
    """Floating-point leaves rounded to `dtype`, the others as they are."""
    return [_cast(_as_numpy(x), dtype) for x in leaves]


def unit_roundoff(dtype: Any) -> float:
    """Half the distance from 1 to the next larger number of `dtype`."""
    return float(jnp.finfo(dtype).eps) / 2  # of a complex type, that of its parts


def precision_like(dtype: Any, wanted: Any) -> Any:
    """`wanted`, or the complex type of its precision where `dtype` is complex."""
    wide = np.dtype(np.complex128 if wanted == np.float64 else np.complex64)
    return wide if np.issubdtype(dtype, np.complexfloating) else wanted


def repeated(x: Any, count: int) -> Any:
    """`count` times the same array, along a new first axis."""
    return np.broadcast_to(np.asarray(x)[None], (count, *x.shape))
