"""Hypotheses from the whole Jacobian: which inputs an output depends on, transposed or inverted maps, masks.

For small gradients both Jacobians are taken, one output at a time: autodiff's, and the one whose transpose the
handwritten backward pass applies.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...jaxprs.inputs import Leaves
from ..rounding import largest
from ..wording import region
from .evidence import Evidence
from .from_numbers import fits

MOST_OUTPUTS, MOST_ENTRIES = 256, 40_000
NEGLIGIBLE = 1e-9


def jacobians(e: Evidence) -> tuple[np.ndarray, np.ndarray] | None:
    """Of the largest output with respect to the argument whose gradient is wrong: (outputs, inputs), true and by hand.

    None where they are too large, complex or not finite, and where the backward pass is not linear.
    """
    sizes = [int(np.prod(np.shape(u))) for u in e.upstream]
    out = int(np.argmax(sizes))
    if sizes[out] > MOST_OUTPUTS or sizes[out] * e.expected.size > MOST_ENTRIES or e.found.by:
        return None
    if np.iscomplexobj(e.expected) or any(map(np.iscomplexobj, e.upstream)):
        return None
    key = ("jacobians", e.leaf, out)
    return e.problem.answers.get(key, lambda: _jacobians(e, out, sizes[out]))


def _jacobians(e: Evidence, out: int, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    rows: tuple[list[Any], list[Any]] = ([], [])
    for k in range(size):
        upstream: Leaves = [np.zeros_like(u, np.float64) for u in e.upstream]
        upstream[out].reshape(-1)[k] = 1.0
        for row, vjp in zip(rows, (e.problem.autodiff_vjp, e.problem.handwritten_vjp), strict=True):
            row.append(np.asarray(vjp(upstream)[1][e.leaf], np.float64).reshape(-1))
    zero = e.problem.handwritten_vjp([np.zeros_like(u, np.float64) for u in e.upstream])[1][e.leaf]
    true, hand = (np.array(row).reshape(size, -1) for row in rows)
    if np.any(zero) or not np.isfinite(true).all() or not np.isfinite(hand).all():
        return None  # not linear, or beyond float64
    return true, hand


def _upstream(e: Evidence) -> np.ndarray:
    return np.asarray(max(e.upstream, key=np.size), np.float64)


def transposed_map(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The Jacobian itself is applied to the upstream gradient, or its inverse, in the place of its transpose."""
    found = jacobians(e)
    if found is None or found[0].shape[0] != found[0].shape[1]:
        return
    true, hand = found
    if fits(hand, true) or not np.any(hand):
        return
    if fits(hand, true.T):
        yield "transposed: the map itself is applied to the upstream gradient, not its transpose", True
        yield "transposed", True
    size = largest(true)
    with np.errstate(all="ignore"):
        if np.linalg.cond(true) < 1e6:
            inverse = np.linalg.inv(true)
            if fits(hand, inverse) or fits(hand, inverse.T):
                yield "the inverse map is applied to the upstream gradient in the place of the transpose", True
            ratio = float(np.sum(hand * inverse) / np.sum(inverse * inverse))
            if size and fits(hand, ratio * inverse):
                yield f"{ratio:.4g} times the inverse map is applied in the place of the transpose", True


def coupling(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The gradient couples elements along another axis than the function does."""
    found, shape = jacobians(e), e.expected.shape
    u = _upstream(e)
    if found is None or u.ndim != len(shape) or not shape:
        return
    true, hand = (_couples(x, u.shape, shape) for x in found)
    same = [axis for axis in range(len(shape)) if u.shape[axis] == shape[axis] > 1]
    more = [axis for axis in same if hand[axis] and not true[axis]]
    less = [axis for axis in same if true[axis] and not hand[axis]]
    along = e.problem.inputs.label_of(e.problem.inputs.live[e.leaf], e.problem.function.names)
    if more and less:
        yield (
            f"wrong axis: the gradient couples elements along axis {more[0]}, the function along axis {less[0]}",
            True,
        )
    elif more:
        yield (
            f"wrong axis: {along} gets gradient from elsewhere along axis {more[0]}, which the function keeps apart",
            True,
        )
    elif less and not e.wrong.all():
        return
    elif less:
        yield (
            f"only one branch of a fork: what an output owes to the other inputs along axis {less[0]} is left out",
            True,
        )


def _couples(jacobian: np.ndarray, out: tuple[int, ...], into: tuple[int, ...]) -> list[bool]:
    """For each axis whether an output depends on an input at another place of it."""
    strong = np.abs(jacobian) > NEGLIGIBLE * largest(jacobian)
    rows, columns = np.nonzero(strong)
    outputs, inputs = np.unravel_index(rows, out), np.unravel_index(columns, into)
    return [bool(np.any(a != b)) for a, b in zip(outputs, inputs, strict=True)]


def mask(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Places along an axis of the output depend on some along one of the input only; for the gradient on others."""
    found, shape = jacobians(e), e.expected.shape
    u = _upstream(e)
    if found is None:
        return
    for out in range(u.ndim):
        for into in range(len(shape)):
            of_true, of_hand = (_strengths(x, u.shape, shape, out, into) for x in found)
            yield from _mask_in_words(of_true, of_hand, out)


def _strengths(jacobian: np.ndarray, out: tuple[int, ...], into: tuple[int, ...], o: int, i: int) -> np.ndarray:
    """How strongly each place along axis `o` of the output depends on each along axis `i` of the input."""
    sizes = np.abs(jacobian).reshape(*out, *into)
    return np.asarray(sizes.max(tuple(a for a in range(sizes.ndim) if a not in (o, len(out) + i)), initial=0.0))


def _mask_in_words(of_true: np.ndarray, of_hand: np.ndarray, axis: int) -> Iterator[tuple[str, Any]]:
    true, hand = (x > NEGLIGIBLE * largest(x) for x in (of_true, of_hand))
    diagonal = true.shape[0] == true.shape[1] and not np.any(true & ~np.eye(len(true), dtype=bool))
    if true.all() or diagonal or np.array_equal(true, hand) or min(true.shape) < 2:
        return
    silent = np.asarray(true.any(1) & ~hand.any(1))
    if silent.any() and np.array_equal(hand, true & ~silent[:, None]):
        yield f"some of the upstream gradient is left out: {region(silent)} along axis {axis} of the output", True
        return
    # Another mask changes nothing where both let the gradient pass, or it comes from a table that is moved as a whole.
    alone = np.allclose(of_hand[true & hand], of_true[true & hand], rtol=1e-6)
    for k in (1, -1, 2, -2):
        (moved, known), (of_moved, _) = _shifted(true, k), _shifted(of_true, k)
        # What the shift brings in at the edge is not known.
        if np.array_equal(known & hand, known & moved) and (alone or np.allclose(known * of_hand, known * of_moved)):
            by = "one" if abs(k) == 1 else abs(k)
            yield f"mask off by {by}: the gradient passes along another diagonal than the value", True
            return
    more, less = hand & ~true, true & ~hand
    if bool(more.any()) != bool(less.any()) and not alone:
        return  # something else is wrong
    if more.any() and not less.any():
        yield f"mask: the gradient passes where the function is masked ({region(more)}, by output and input)", True
    elif less.any() and not more.any() and (true.sum() - less.sum()) > 0:
        yield f"mask: no gradient passes where the function does ({region(less)}, by output and input)", True
    elif np.array_equal(true.sum(1), hand.sum(1)):
        yield "another layout: the gradient goes to other places than the value came from, as many of them", True
    elif more.any():
        yield f"mask: the gradient passes at other places than the value ({region(more | less)})", True


def _shifted(pattern: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The pattern moved `k` places along its columns, and where that is known."""
    moved, known = np.roll(pattern, k, 1), np.ones(pattern.shape, bool)
    known[:, slice(0, k) if k > 0 else slice(k, None)] = False
    return moved, known
