"""Hypotheses that the backward pass uses another constant than the function: no epsilon, another slope, a table turned.

The plain function is differentiated with one of its constants scaled, or with an array it closes over changed.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ...jaxprs.compat import CALLS, REMAT, RULES, JaxprEqn, name_of_call
from ...jaxprs.evaluate import Walk
from ...jaxprs.inputs import replaced
from ..wording import expected_and_got
from .evidence import Evidence
from .from_numbers import fits

MOST = 24
"""At most so many constants are tried."""

STEPS = 8
SMALL = 1e-2
"""A constant up to this size that something is added to is called an epsilon."""

_INLINED = frozenset({*CALLS, *RULES, *REMAT})


class _Constants:
    """A hook that inlines calls and scales one constant; they are numbered in the order of evaluation."""

    def __init__(self, which: Any = None, scale: Any = None):
        self.which, self.scale = which, scale
        self.seen: list[tuple[float, str]] = []

    def run(self, e: Evidence, arrays: list[Any]) -> list[Any]:
        """The plain function at `arrays`."""
        program = e.problem.trace("value")
        return Walk(self.hook, self.constant).run(program.jaxpr, program.consts, arrays)

    def hook(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        # The constants of an equation were counted just before it.
        self.seen = [(c, name or name_of_call(eqn) or eqn.primitive.name) for c, name in self.seen]
        return walk.inside(eqn, inputs) if eqn.primitive.name in _INLINED else None

    def constant(self, value: Any, aval: Any) -> Any:
        """A constant, scaled where it is the one."""
        made = np.asarray(value, aval.dtype) if not isinstance(value, jax.Array) else value
        if np.ndim(made) or np.dtype(aval.dtype).kind != "f" or not np.isfinite(value) or value == 0:
            return made
        k = len(self.seen)
        self.seen.append((float(value), ""))
        return made if self.which is None else jax.numpy.where(self.which == k, made * self.scale, made)


def another_constant(e: Evidence) -> Iterator[tuple[str, Any]]:
    """A constant of the function is left out on the way back, or another one stands in its place."""
    problem, arrays = e.problem, e.problem.inputs.arrays
    if e.expected.size < 3 or np.iscomplexobj(e.expected) or e.found.by:
        return  # one constant explains any one number
    counted = _Constants()
    with problem.x64():
        jax.make_jaxpr(lambda *a: counted.run(e, list(a)))(*arrays)
    if not counted.seen:
        return
    name, count = "another constant", len(arrays)

    def pull(*args: Any) -> list[Any]:
        *given, which, scale = args

        def of_live(*floats: Any) -> list[Any]:
            return _Constants(which, scale).run(e, replaced(given[:count], problem.inputs.live, floats))

        y, back = jax.vjp(of_live, *(given[i] for i in problem.inputs.live))
        return list(back([u.astype(a.dtype) for u, a in zip(given[count:], y, strict=True)]))

    start = np.ones((), problem.dtype)
    problem.trace(name, pull, *arrays, *e.upstream, np.int32(0), start)

    def gradient(which: int, scale: float) -> np.ndarray:
        given = [*arrays, *e.upstream, np.int32(which), np.asarray(scale, start.dtype)]
        return np.asarray(problem.exact(name, given)[e.leaf])

    for k, (value, step) in enumerate(counted.seen[:MOST]):
        if fits(e.actual, gradient(k, 0.0)):
            what = "missing epsilon" if step in ("add", "max") and abs(value) <= SMALL else "a constant is left out"
            yield f"{what}: {value:.4g} in the step '{step}' is not there on the way back", True
            continue
        scale = _solved(e.actual, lambda s, k=k: gradient(k, s))
        if scale is not None:
            said = expected_and_got(value, value * scale)
            yield f"another constant on the way back, in the step '{step}': {said}", True


def _solved(actual: np.ndarray, gradient: Any) -> float | None:
    """The scale of a constant for which the gradient is `actual`, by Gauss and Newton; None where there is none."""
    scale = 1.0
    for _ in range(STEPS):
        here = gradient(scale)
        if fits(actual, here):
            return scale
        h = 1e-6 * max(abs(scale), 1.0)
        slope = (gradient(scale + h) - here) / h
        weight = float(np.sum(slope * slope))
        if not np.isfinite(weight) or not weight:
            return None
        scale += float(np.sum(slope * (actual - here))) / weight
        if not np.isfinite(scale) or abs(scale) > 1e4:
            return None
    return None


def changed_table(e: Evidence) -> Iterator[tuple[str, Any]]:
    """An array that the function closes over is transposed, reversed or of the other sign on the way back."""
    problem, arrays = e.problem, e.problem.inputs.arrays
    program = problem.trace("value")
    tables = [
        k for k, c in enumerate(program.consts) if np.ndim(c) and np.size(c) > 1 and np.asarray(c).dtype.kind == "f"
    ]
    if not tables:
        return
    count, consts = len(arrays), list(map(np.asarray, program.consts))

    def pull(*args: Any) -> list[Any]:
        given, held = args[: -len(tables)], args[-len(tables) :]

        def of_live(*floats: Any) -> list[Any]:
            moved = replaced(consts, tables, held)
            return Walk().run(program.jaxpr, moved, replaced(given[:count], problem.inputs.live, floats))

        y, back = jax.vjp(of_live, *(given[i] for i in problem.inputs.live))
        return list(back([u.astype(a.dtype) for u, a in zip(given[count:], y, strict=True)]))

    held = [consts[k] for k in tables]
    problem.trace("changed table", pull, *arrays, *e.upstream, *held)
    for j, table in enumerate(held):
        for words, changed in _variants(table):
            yield (
                f"an array closed over is {words} on the way back",
                problem.exact("changed table", [*arrays, *e.upstream, *replaced(held, [j], [changed])])[e.leaf],
            )


def _variants(table: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if table.ndim == 2 and table.shape[0] == table.shape[1]:
        yield "transposed", table.T
    yield "of the other sign", -table
    for axis in range(table.ndim):
        yield f"reversed along axis {axis}", np.flip(table, axis)
        yield f"shifted along axis {axis}", np.roll(table, 1, axis)
