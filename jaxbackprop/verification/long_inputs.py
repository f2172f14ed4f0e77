"""Inputs as long as those a function will be used at, drawn from a short example; and upstream gradients for them.

An axis is stretched by repeating what stands along it, a little changed, in threes: along three equal places upstream
gradients that sum to zero cancel exactly, whatever the function multiplies them with. Integers are drawn again from
those given, as often as words occur in text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.domains import real
from ..jaxprs.compat import ClosedJaxpr
from ..jaxprs.inputs import Inputs, Leaves, is_key, replaced, unit_roundoff
from ..jaxprs.sums import equation_count, largest_array, loop_steps, most_terms
from .inferred_domains import restored
from .points import domain_of, inferred
from .problem import Problem

PROBE = 48
"""The length at which a stretch is tried; the shortest one at which sums are judged."""

Axes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Stretch:
    """Axes of the arguments that grow together; without any, the arguments as they are.

    Attributes:
        axes: of each the array and the axis.
        size: their length in the example; without any, the terms of the longest sum.
        longest: the greatest length that is still cheap, up to the one that is wanted.
        outputs: of each output the shape in the example and at the length `PROBE`.
    """

    axes: Axes
    size: int
    longest: int
    outputs: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    def output_shape(self, j: int, n: int) -> tuple[int, ...]:
        """The shape of an output where those axes are `n` long."""
        grown = (
            a + (b - a) * (n - self.size) // (PROBE - self.size) if a != b else a for a, b in zip(*self.outputs[j])
        )
        return tuple(grown)

    def grown(self, j: int) -> int | None:
        """The first axis of an output that grows."""
        return next((axis for axis, (a, b) in enumerate(zip(*self.outputs[j])) if a != b), None)


MOST_STEPS = 3 * 2**8
"""The steps of a loop that are still cheap."""
MOST_NUMBERS = 2**19
"""The size of the largest array in a program that is still cheap."""


def stretches(problem: Problem, longest: int, most_numbers: int = MOST_NUMBERS) -> Iterator[Stretch]:
    """The ways to make the arguments up to `longest` long, so that the handwritten program adds up more.

    No array in the program is larger than `most_numbers`.
    """
    example = problem.trace("handwritten")
    terms, count = most_terms(example.jaxpr), equation_count(example.jaxpr)
    if not terms:
        return
    as_it_is = as_given(problem)
    if as_it_is is not None:
        yield as_it_is
    done: set[int] = set()
    for axes, size in _groups(problem.inputs.arrays):
        probe = None if size in done else _traced(problem, axes)
        if probe is None or most_terms(probe.jaxpr) <= max(terms, PROBE // 4):
            continue
        done.add(size)
        outputs = tuple((o.shape, p.shape) for o, p in zip(problem.outputs, probe.out_avals))
        most, steps = longest, loop_steps(probe.jaxpr)
        if equation_count(probe.jaxpr) > 1.5 * count:
            most = 4 * PROBE  # a loop written out in Python
        elif steps > min(loop_steps(example.jaxpr), PROBE - 1):  # or a block of the axis each
            most = MOST_STEPS * PROBE // steps
        numbers, before = largest_array(probe.jaxpr), max(largest_array(example.jaxpr), 1)
        linear = numbers * size <= 2 * before * PROBE
        fits = int(PROBE * (most_numbers / numbers) ** (1.0 if linear else 0.5))
        yield Stretch(axes, size, max(PROBE, min(longest, most, fits) // PROBE * PROBE), outputs)


def as_given(problem: Problem) -> Stretch | None:
    """The arguments as they are, where the handwritten program adds up many terms and they are no giants."""
    program = problem.trace("handwritten").jaxpr
    terms = most_terms(program)
    if terms <= PROBE or largest_array(program) > 8 * MOST_NUMBERS:
        return None
    return Stretch((), terms, terms, tuple((o.shape, o.shape) for o in problem.outputs))


def _groups(arrays: Leaves) -> Iterator[tuple[Axes, int]]:
    """Axes that may have to grow together: all of one size; before, those of indices alone, and each of a square."""
    by_size: dict[int, list[tuple[int, int]]] = {}
    for i, x in enumerate(arrays):
        for axis, n in enumerate(() if is_key(x) else np.shape(x)):
            if n > 1:
                by_size.setdefault(n, []).append((i, axis))
    for size, axes in by_size.items():
        of_indices = tuple((i, axis) for i, axis in axes if arrays[i].dtype.kind in "iu")
        if 0 < len(of_indices) < len(axes):
            yield of_indices, size
        if len({i for i, _ in axes}) < len(axes):
            yield from (((one,), size) for one in axes)
        yield tuple(axes), size


def _traced(problem: Problem, axes: Axes) -> ClosedJaxpr | None:
    """Outputs and gradients for arguments that are `PROBE` long; None where the function does not take them."""
    try:
        return traced_at(problem, axes, PROBE)
    except Exception:  # libraries have exceptions of their own for a shape that does not fit
        return None


def traced_at(problem: Problem, axes: Axes, n: int) -> ClosedJaxpr:
    """Outputs and gradients of the handwritten function for arguments with those axes `n` long."""
    live = problem.inputs.live
    flat = problem.inputs.call(problem.function.handwritten)

    def backward(*given: Any) -> list[Any]:
        outputs, pull = jax.vjp(lambda *x: flat(*replaced(given, live, x)), *(given[i] for i in live))
        return [*outputs, *pull([jnp.ones_like(y) for y in outputs])]

    with problem.x64():
        return jax.make_jaxpr(backward)(*shapes_at(problem, axes, n))


def shapes_at(problem: Problem, axes: Axes, n: int) -> list[Any]:
    """The shapes and types of the arguments with those axes `n` long."""
    arrays = problem.inputs.arrays
    shapes = [_shape(x, [axis for i, axis in axes if i == k], n) for k, x in enumerate(arrays)]
    return [x if is_key(x) else jax.ShapeDtypeStruct(s, x.dtype) for x, s in zip(arrays, shapes, strict=True)]


def _shape(x: Any, axes: Sequence[int], n: int) -> tuple[int, ...]:
    return tuple(n if axis in axes else old for axis, old in enumerate(np.shape(x)))


def stretched(problem: Problem, stretch: Stretch, n: int) -> Inputs:
    """The arguments with those axes `n` long."""
    return resized(problem, stretch.axes, stretch.size, n, f"{n:,} long", repeat=3)


def resized(problem: Problem, axes: Axes, size: int, n: int, label: str, *, repeat: int = 1) -> Inputs:
    """The arguments with those axes, `size` long, made `n` long; what stands along them `repeat` times each."""
    rng = problem.random("stretched", axes, n)
    chosen = rng.integers(0, size, -(-n // repeat))
    arrays = []
    for i, x in enumerate(problem.inputs.arrays):
        made = x
        for axis in (axis for k, axis in axes if k == i):
            made = np.repeat(np.take(made, chosen, axis), repeat, axis).take(range(n), axis)
        arrays.append(_drawn(problem, i, x, made, [a for k, a in axes if k == i], rng, repeat))
    return problem.inputs.with_arrays(arrays, label)


def _drawn(
    problem: Problem, i: int, old: Any, made: Any, axes: list[int], rng: np.random.Generator, repeat: int
) -> Any:
    """Other values of the same kind, each `repeat` times along the first of the axes."""
    if not axes or is_key(old) or not made.size:
        return made
    first, n = axes[0], made.shape[axes[0]]
    shape = _shape(made, [first], -(-n // repeat))

    def along(x: np.ndarray) -> np.ndarray:
        return np.repeat(x, repeat, first).take(range(n), first)

    if old.dtype.kind in "iu":
        known = np.unique(old)
        known = known[np.argsort(known < 0, kind="stable")]  # padding is the rarest
        weights = 1 / np.arange(1, len(known) + 1)
        new = along(rng.choice(known, shape, p=weights / weights.sum())).astype(old.dtype)
        ascending = old.ndim == 1 and np.all(np.diff(old) >= 0)
        return np.sort(new) if ascending and not np.all(np.diff(new) >= 0) else new
    if not jnp.issubdtype(old.dtype, jnp.inexact):
        return made
    new = made * along(1 + 0.25 * rng.uniform(-1, 1, shape))
    domain = domain_of(problem, i)
    if domain.holds is None or not domain.holds(new):
        new = domain.draw(rng, new.shape, {})
    return restored(new.astype(old.dtype), inferred(problem, i))


def far_from_zero(problem: Problem, stretch: Stretch) -> Inputs:
    """The arguments of a stretched problem; those of a `Rule` that grew moved to `FAR`, where any number will do."""
    grown = {i for i, _ in stretch.axes} & set(problem.given.live)
    free = [i for i in grown if problem.function.rule is not None and domain_of(problem, i) is real]
    arrays = problem.given.arrays
    return problem.given.with_arrays(replaced(arrays, free, [(arrays[i] + FAR).astype(arrays[i].dtype) for i in free]))


FAR = 16.0

# Upstream gradients.

ONE_SIGN, CANCELLING, MIXED, ALIKE = "of one sign", "that cancel", "of mixed magnitude", "that are nearly alike"


def upstreams(problem: Problem, stretch: Stretch) -> Iterator[tuple[str, Leaves]]:
    """Upstream gradients of several kinds for a stretched problem, in its precision."""
    rng, shapes, unit = problem.random("long upstreams"), problem.outputs, unit_roundoff(problem.dtype)
    scale = 2.0**-6 if problem.dtype == np.float16 else 1.0  # whose largest number is small

    def each(draw: Any) -> Leaves:
        return [(scale * draw(o, stretch.grown(j))).astype(o.dtype) for j, o in enumerate(shapes)]

    yield ONE_SIGN, each(lambda o, _: rng.uniform(0.5, 1.5, o.shape))
    if any(stretch.grown(j) is not None for j in range(len(shapes))):
        yield CANCELLING, each(lambda o, axis: _cancelling(rng, o, axis, unit))
    yield MIXED, each(lambda o, _: rng.uniform(0.5, 1.5, o.shape) * 2.0 ** -rng.integers(0, 9, o.shape))
    if unit > 2.0**-20:
        yield ALIKE, each(lambda o, _: 1 + 2 * unit * (rng.random(o.shape) < 0.3))


def _cancelling(rng: np.random.Generator, o: Any, axis: int | None, unit: float) -> np.ndarray:
    """Exact numbers of the type whose sum along the axis, by threes, is zero but for a few last places."""
    if axis is None or o.shape[axis] % 3:
        return rng.uniform(0.5, 1.5, o.shape)
    step = 4 * unit
    shape = _shape(np.empty(o.shape, bool), [axis], o.shape[axis] // 3)
    a, b = (step * rng.integers(round(0.5 / step), round(1 / step), shape) for _ in range(2))
    c = -(a + b) + step * (rng.random(shape) < 8 / shape[axis])
    return np.stack([a, b, c], axis + 1).reshape(o.shape)
