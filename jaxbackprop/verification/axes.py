"""The axes of the arguments by name, and the blocks that kernels cut them into.

An axis has the name of its jaxtyping annotation where the function, or the plain one, has such; otherwise that of the
first argument it belongs to. Axes without a name that are equally long belong together, as far as the plain function
takes them so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import jax
import numpy as np

from ..core.signature import Signature
from ..jaxprs.compat import KERNEL, Jaxpr, Kernel, kernel_of
from ..jaxprs.inputs import Inputs, is_key, replaced
from ..jaxprs.queries import UNTRACEABLE, equations
from ..jaxprs.sums import scan_lengths
from .long_inputs import Axes, resized, shapes_at, traced_at
from .points import distinct
from .problem import Problem


@dataclass(frozen=True)
class Axis:
    """Axes of arguments that are equally long and have one meaning.

    Attributes:
        name: `T`, or `axis 0 of q`.
        places: of each the array and the axis.
        size: their length in the example.
    """

    name: str
    places: Axes
    size: int

    def at_length(self, problem: Problem, n: int) -> Inputs:
        """The arguments with this axis `n` long; integers that point into it, or count it, still do."""
        made = resized(problem, self.places, self.size, n, f"{self.name} = {n}")
        grown = {i for i, _ in self.places}
        arrays = made.arrays
        pointing = [
            i
            for i, x in enumerate(arrays)
            if i not in grown and not is_key(x) and x.dtype.kind in "iu" and x.size and n <= x.max() <= self.size
        ]
        below = [n - (arrays[i].max() < self.size) for i in pointing]
        clipped = [np.minimum(arrays[i], m).astype(arrays[i].dtype) for i, m in zip(pointing, below, strict=True)]
        return made.with_arrays(replaced(arrays, pointing, clipped))


def axes_of(problem: Problem) -> list[Axis]:
    """The axes along which the arguments can be made longer or shorter."""
    named: dict[str, list[tuple[int, int]]] = {}
    for place, name in _names(problem).items():
        named.setdefault(name, []).append(place)
    known = {place for places in named.values() for place in places}
    arrays = problem.inputs.arrays
    axes = [Axis(name, tuple(places), arrays[places[0][0]].shape[places[0][1]]) for name, places in named.items()]
    for size, places in _equally_long(problem, known).items():
        for group in _belonging_together(problem, places, size):
            i, axis = group[0]
            axes.append(Axis(f"axis {axis} of {problem.inputs.label_of(i, problem.function.names)}", group, size))
    return [a for a in axes if not any(distinct(problem, i) for i, _ in a.places)]


def _names(problem: Problem) -> dict[tuple[int, int], str]:
    """The name of each axis of an array that an annotation names."""
    inputs, function = problem.inputs, problem.function
    found: dict[tuple[int, int], str] = {}
    for fun in (function.plain, function.fun):
        try:
            parameters = Signature(fun).parameters  # pyright: ignore[reportArgumentType]
        except (TypeError, ValueError, NameError, AttributeError):
            continue
        for i, owner in enumerate(inputs.owners):
            specs = parameters[owner].specs if owner < len(parameters) and len(inputs.traced[i][0]) == 1 else ()
            if len(specs) != 1 or not specs[0].fits_rank(np.ndim(inputs.arrays[i])):
                continue
            position = 0
            for name, n in specs[0].assign(np.shape(inputs.arrays[i])):
                if name.isidentifier() and name != "_":
                    found[i, position] = name
                position += len(n) if isinstance(n, tuple) else 1
    return found


def _equally_long(problem: Problem, known: set[tuple[int, int]]) -> dict[int, list[tuple[int, int]]]:
    """The axes that have no name, by length. One of length 1 may be there to be broadcast."""
    found: dict[int, list[tuple[int, int]]] = {}
    for i, x in enumerate(problem.inputs.arrays):
        for axis, n in enumerate(() if is_key(x) else np.shape(x)):
            if n > 1 and (i, axis) not in known:
                found.setdefault(n, []).append((i, axis))
    return found


def _belonging_together(problem: Problem, places: list[tuple[int, int]], size: int) -> list[Axes]:
    """All of the axes; or where the plain function does not take them longer together, or an array has two of them,
    those in the same position; or the smallest groups that it takes.
    """
    takes = partial(_takes_longer, problem, size=size)
    by_position = [tuple(p for p in places if p[1] == axis) for axis in dict.fromkeys(axis for _, axis in places)]
    together = [tuple(places)]
    square = len({i for i, _ in places}) < len(places)
    for groups in (by_position, together) if square else (together, by_position):
        taken = [group for group in groups if takes(group)]
        if taken:
            return taken
    return list(_smallest_groups(places, takes)) if len(places) <= 6 else []


def _smallest_groups(places: Sequence[tuple[int, int]], takes: Callable[[Axes], bool]) -> Iterator[Axes]:
    left = list(places)
    while left:
        first, *others = left
        groups = ((first, *rest) for k in range(len(others) + 1) for rest in combinations(others, k))
        group = next((g for g in groups if takes(g)), None)
        if group is not None:
            yield group
        left = [p for p in others if group is None or p not in group]


def _takes_longer(problem: Problem, places: Axes, size: int) -> bool:
    """Whether the plain function takes these axes one longer, or twice as long."""
    flat = problem.inputs.call(problem.function.plain)
    for n in (size + 1, 2 * size):
        try:
            with problem.x64():
                jax.eval_shape(flat, *shapes_at(problem, places, n))
        except Exception:
            continue
        return True
    return False


def named_lengths(problem: Problem, shapes: Mapping[str, Sequence[int]]) -> list[tuple[Axis, list[int]]]:
    """The axes of these names, and the lengths that are wanted.

    Raises:
        ValueError: there is no axis of such a name, or a length is negative.
    """
    known = {axis.name: axis for axis in axes_of(problem)}
    for name, lengths in shapes.items():
        if name not in known:
            raise ValueError(f"verify: there is no axis called {name!r}. There are {', '.join(map(repr, known))}.")
        if any(n != int(n) or n < 0 for n in lengths):
            raise ValueError(f"verify: shapes[{name!r}] must hold lengths, at least 0, not {list(lengths)}.")
    return [(known[name], list(map(int, lengths))) for name, lengths in shapes.items()]


# Blocks.


def kernels_in(jaxpr: Jaxpr) -> list[Kernel]:
    """The Pallas kernels of a program."""
    return [kernel_of(eqn) for eqn in equations(jaxpr, (KERNEL,))]


def blocks_of(jaxpr: Jaxpr, size: int) -> list[int]:
    """The sizes of the blocks into which its kernels cut an axis of this length; ascending."""
    found = set()
    for kernel in kernels_in(jaxpr):
        for array in (*kernel.inputs, *kernel.outputs):
            for whole, block in zip(array.shape, array.block, strict=True):
                # An axis that the blocks do not divide may have been padded before.
                if 1 < block < whole and whole - block < size <= whole and (whole == size or whole % block == 0):
                    found.add(block)
    return sorted(found)


LONG = 256
"""The length at which the blocks of an axis are looked up: a short axis is often one block."""


def blocks_along(problem: Problem, axis: Axis) -> list[int]:
    """The sizes of the blocks of an axis, as the kernels cut it where it is long, or else as in the example.

    A loop over chunks has them as well: as many steps as there are chunks.
    """
    example = problem.trace("handwritten").jaxpr
    for n in (LONG, 4 * axis.size):
        try:
            long = traced_at(problem, axis.places, n).jaxpr
        except (*UNTRACEABLE, IndexError, AssertionError):
            continue
        steps = scan_lengths(long) - scan_lengths(example)
        return blocks_of(long, n) or sorted({n // k for k in steps if 1 < k < n and n % k == 0})
    return blocks_of(example, axis.size)


def described(problem: Problem, leaf: int) -> list[tuple[str, int]]:
    """Of each axis of a differentiable array the name, empty where it has none, and the block size, 0 for no blocks."""
    i = problem.inputs.live[leaf]
    names, jaxpr = _names(problem), problem.trace("handwritten").jaxpr
    made: list[tuple[str, int]] = []
    for axis, n in enumerate(np.shape(problem.inputs.arrays[i])):
        blocks: Any = problem.blocks.get((i, axis)) or blocks_of(jaxpr, n)
        made.append((names.get((i, axis), ""), blocks[0] if blocks else 0))
    return made
