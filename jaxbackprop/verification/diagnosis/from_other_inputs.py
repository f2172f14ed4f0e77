"""Hypotheses that a wrong gradient is the right one elsewhere: for another upstream gradient, at another point."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...jaxprs.inputs import replaced
from .evidence import Evidence
from .from_numbers import multiple


def changed_upstream(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The truth for another upstream gradient: ignored, summed over an axis, only one example's."""

    def pull(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        changed = [np.asarray(change(np.asarray(u))) for u in e.upstream]
        return e.autodiff_at(e.problem.inputs.arrays, changed)[1]

    ones = pull(np.ones_like)
    yield "upstream gradient ignored", ones
    k = multiple(e.actual, ones)
    if k is not None and e.expected.size > 1:
        yield f"upstream gradient ignored (and a factor {k:.4g})", k * ones
    yield "residual or upstream gradient from the wrong place: reversed along every axis", pull(np.flip)
    yield "upstream gradient replaced by its mean", pull(lambda u: np.full_like(u, u.mean()))
    yield "upstream gradient replaced by its sum", pull(lambda u: np.full_like(u, u.sum()))
    yield "not linear in the upstream gradient: squared", pull(lambda u: u * u)
    yield "not linear in the upstream gradient: its absolute value", pull(np.abs)
    yield "not linear in the upstream gradient: its sign", pull(np.sign)
    for limit in (1.0, 0.5, 0.1):
        yield f"upstream gradient clipped at {limit:g}", pull(lambda u, c=limit: np.clip(u, -c, c))
    for axis in range(max((np.ndim(u) for u in e.upstream), default=0)):

        def along(u: np.ndarray, what: Callable, axis: int = axis) -> np.ndarray:
            return what(u, axis) if u.ndim > axis and u.shape[axis] > 1 else u

        for which, name in ((0, "first"), (-1, "last")):
            yield (
                f"not summed over the batch: only the {name} example of axis {axis} counts",
                pull(lambda u, w=which: along(u, lambda v, a: _only(v, a, w))),
            )
        yield (
            f"upstream gradient summed over the wrong axis ({axis})",
            pull(lambda u: along(u, lambda v, a: np.broadcast_to(v.sum(a, keepdims=True), v.shape))),
        )
        yield (
            f"upstream gradient averaged over the wrong axis ({axis})",
            pull(lambda u: along(u, lambda v, a: np.broadcast_to(v.mean(a, keepdims=True), v.shape))),
        )
        yield (
            f"residual or upstream gradient from the wrong place: reversed along axis {axis}",
            pull(lambda u: along(u, np.flip)),
        )
        for by in (1, -1):
            yield (
                f"residual or upstream gradient from the wrong place: shifted along axis {axis}",
                pull(lambda u, b=by: along(u, lambda v, a: np.roll(v, b, a))),
            )
    if len(e.upstream) > 1:
        for j in range(len(e.upstream)):
            alone = [u if i != j else np.zeros_like(u) for i, u in enumerate(e.upstream)]
            yield (
                f"only one branch of a fork: the upstream gradient of output {j} is left out",
                e.autodiff_at(e.problem.inputs.arrays, alone)[1],
            )


def _only(x: np.ndarray, axis: int, which: int) -> np.ndarray:
    out = np.zeros_like(x)
    place: list[Any] = [slice(None)] * x.ndim
    place[axis] = which
    out[tuple(place)] = x[tuple(place)]
    return out


def changed_residual(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The truth at another point: at the output instead of the input, at another argument's value, at its neighbour."""
    arrays, live = e.problem.inputs.arrays, e.problem.inputs.live
    y, _ = e.problem.autodiff_vjp(e.upstream)

    def at(i: int, value: np.ndarray) -> np.ndarray:
        return e.autodiff_at(replaced(arrays, [i], [value]), e.upstream)[1]

    for i in live:
        x, name = arrays[i], e.problem.inputs.label_of(i, e.problem.function.names)
        for out in y:
            if out.shape == x.shape:
                yield f"local derivative evaluated at the output instead of the input {name}", at(i, out)
        for j in live:
            if j != i and arrays[j].shape == x.shape:
                other = e.problem.inputs.label_of(j, e.problem.function.names)
                yield f"residual from the wrong place: {other} where {name} belongs", at(i, arrays[j])
        yield f"residual from the wrong place: minus {name}", at(i, -x)
        yield f"residual from the wrong place: the size of {name} without its sign", at(i, np.abs(x))
        for axis in range(x.ndim):
            yield f"residual from the wrong place: {name} shifted along axis {axis}", at(i, np.roll(x, 1, axis))
            yield f"residual from the wrong place: {name} reversed along axis {axis}", at(i, np.flip(x, axis))
            yield (
                f"residual from the wrong place: {name} averaged along axis {axis}",
                at(i, np.broadcast_to(x.mean(axis, keepdims=True), x.shape)),
            )
        yield f"residual from the wrong place: ones in the place of {name}", at(i, np.ones_like(x))
        yield f"residual from the wrong place: zeros in the place of {name}", at(i, np.zeros_like(x))
        if x.ndim == 2 and x.shape[0] == x.shape[1]:
            yield f"transposed: {name} where its transpose belongs", at(i, x.T)
