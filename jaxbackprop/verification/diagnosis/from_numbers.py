"""Hypotheses about a wrong gradient from its numbers alone: each predicts it, and is compared."""

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from ...jaxprs.inputs import Leaves, is_key, replaced
from ..problem import Problem
from ..wording import number, region
from .evidence import Evidence

Hypothesis = Callable[[Evidence], Iterator[tuple[str, Any]]]

CLOSE = 1e-6


def fits(found: Any, predicted: Any, close: float = CLOSE) -> bool:
    """Whether `predicted` explains `found`: the same shape, and as close as rounding."""
    found, predicted = np.asarray(found), np.asarray(predicted)
    if found.shape != predicted.shape or not found.size:
        return False
    with np.errstate(all="ignore"):
        scale = np.max(np.abs(np.where(np.isfinite(found), found, 0)), initial=0.0)
        gap = np.abs(found - predicted)
    return bool(np.all(gap <= close * scale)) and bool(scale > 0 or np.all(predicted == 0))


def _slope(gap: np.ndarray, of: np.ndarray) -> float | None:
    """k for which k times `of` is nearest to `gap`; None where that is nothing."""
    weight = float(np.sum(np.abs(of) ** 2))
    k = float(np.real(np.sum(gap * np.conj(of)))) / weight if weight else 0.0
    return (
        k if abs(k) * float(np.max(np.abs(of), initial=0.0)) > 1e-5 * float(np.max(np.abs(gap), initial=0.0)) else None
    )


def multiple(found: np.ndarray, truth: np.ndarray) -> float | None:
    """k where `found` is k times `truth`."""
    weight = float(np.sum(np.abs(truth) ** 2))
    if weight == 0 or found.shape != truth.shape:
        return None
    k = float(np.real(np.sum(found * np.conj(truth)))) / weight
    return k if abs(k) > 1e-12 and fits(found, k * truth) else None


def _others(e: Evidence) -> Iterator[tuple[str, np.ndarray]]:
    for j, name in enumerate(e.problem.names()):
        if j != e.leaf:
            yield name, np.asarray(e.found.expected[j])


def not_finite(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Not finite where the truth is."""
    lost = ~np.isfinite(e.actual)
    if lost.any() and np.isfinite(e.expected[lost]).all():
        yield why_not_finite(e.problem, lambda here: [here.handwritten_vjp(e.upstream)[1][e.leaf]]), True


def why_not_finite(problem: Problem, evaluate: Callable[[Problem], Leaves]) -> str:
    """The likely cause of numbers that are not finite where the true ones are.

    Args:
        problem: where they are not.
        evaluate: the numbers at a problem.
    """

    def lost(x: np.ndarray) -> int:
        return sum(int((~np.isfinite(y)).sum()) for y in evaluate(problem.at_flat(x)))

    aside = 1e-3 * np.maximum(np.abs(problem.x), 1.0) * problem.random("aside").uniform(0.5, 1, problem.x.size)
    if not lost(problem.x + aside):
        return "not a number at this very point, such as 0 / 0 or 0 times infinity; close by it is finite"
    if problem.holds_kernel and any(np.isnan(y).any() for y in evaluate(problem)):
        return "memory that the kernel never wrote, or read beyond the end of an array: not a number, when interpreted"
    if lost(1e-2 * problem.x) < lost(problem.x):
        return "overflow: finite at a hundredth of these values, and not finite here, where the truth is"
    return "not finite where the truth is, such as a division by zero or a root or logarithm of a negative number"


def nothing(e: Evidence) -> Iterator[tuple[str, Any]]:
    """A gradient of zero."""
    if not np.any(e.actual) and np.any(e.expected):
        yield "the gradient is left out: it is zero (a stop_gradient, a None, a forgotten argument)", True


def conjugated(e: Evidence) -> Iterator[tuple[str, Any]]:
    """A complex gradient that is conjugated, or without its imaginary part."""
    if not np.iscomplexobj(e.actual) or not np.any(np.imag(e.expected)):
        return
    yield "conjugated: the complex conjugate of the gradient (PyTorch's convention, not JAX's)", np.conj(e.expected)
    yield "the imaginary part of the gradient is dropped", np.real(e.expected) + 0j
    yield "the real part of the gradient is dropped", 1j * np.imag(e.expected)
    arrays, live = e.problem.inputs.arrays, e.problem.inputs.live
    pull = lambda arrays, upstream: e.autodiff_at(arrays, upstream)[1]  # noqa: E731
    of_upstream = [np.conj(u) for u in e.upstream]
    for i in live:
        if np.iscomplexobj(arrays[i]):
            name = e.problem.inputs.label_of(i, e.problem.function.names)
            yield f"conjugated: {name} on the way back", pull(replaced(arrays, [i], [np.conj(arrays[i])]), e.upstream)
    every = replaced(arrays, live, [np.conj(arrays[i]) for i in live])
    yield "conjugated: every argument on the way back (PyTorch's convention, not JAX's)", pull(every, e.upstream)
    yield "conjugated: the upstream gradient", pull(arrays, of_upstream)
    yield (
        "the imaginary part of the upstream gradient is dropped",
        pull(arrays, [np.real(u) + 0 * u for u in e.upstream]),
    )


def constant_factor(e: Evidence) -> Iterator[tuple[str, Any]]:
    """k times the truth: -1, 2, 1/2, N, 1/N, or some other number."""
    f, t = e.actual.reshape(-1), e.expected.reshape(-1)
    keep = np.isfinite(f) & np.isfinite(t)
    weight = float(np.sum(np.abs(t[keep]) ** 2))
    if weight == 0 or t.size < 1:
        return
    k = np.sum(f[keep] * np.conj(t[keep])) / weight
    if abs(np.imag(k)) > CLOSE * abs(k):
        yield f"complex factor {complex(k):.4g}", k * e.expected
        return
    k = float(np.real(k))
    if abs(k) < 1e-12 or not fits(e.actual, k * e.expected):
        return
    if fits(k, -1.0):
        yield "sign: minus the truth", True
    if fits(abs(k), 1.0):
        return
    named = _factor_in_words(e, k)
    if e.expected.size > 1 or named:
        yield named or f"constant factor {k:.6g}", True


def _sizes(e: Evidence) -> list[float]:
    """Numbers a mean may have divided by: sizes of axes and of their products."""
    found: set[int] = set()
    for x in [*e.problem.inputs.arrays, *e.upstream]:
        shape = np.shape(x)
        found |= {int(n) for n in shape}
        found |= {int(np.prod(shape[i:j])) for i in range(len(shape)) for j in range(i + 1, len(shape) + 1)}
    return sorted(float(n) for n in found if n > 2)


NUMBERS = {
    "2": 2.0, "1/2": 0.5, "ln 2": np.log(2), "1 / ln 2": 1 / np.log(2), "pi": np.pi, "1 / pi": 1 / np.pi,
    "2 pi": 2 * np.pi, "1 / (2 pi)": 0.5 / np.pi, "sqrt(2)": np.sqrt(2), "1 / sqrt(2)": np.sqrt(0.5),
    "sqrt(pi)": np.sqrt(np.pi), "1 / sqrt(pi)": 1 / np.sqrt(np.pi), "2 / sqrt(pi)": 2 / np.sqrt(np.pi),
    "sqrt(pi) / 2": np.sqrt(np.pi) / 2, "sqrt(2 pi)": np.sqrt(2 * np.pi), "1 / sqrt(2 pi)": 1 / np.sqrt(2 * np.pi),
}  # fmt: skip


def _factor_in_words(e: Evidence, k: float) -> str:
    """A factor that has a name; empty for any other one: a single number is always some multiple of the truth."""
    sign = "minus " if k < 0 else ""
    known = [(name, value) for name, value in NUMBERS.items()]
    for n in _sizes(e):
        known += [
            (f"{n:g}, the size of an axis: a sum where a mean is meant", n),
            (f"1/{n:g}, one over the size of an axis: a mean where a sum is meant", 1 / n),
            (f"sqrt({n:g}), of the size of an axis: a scale left out or twice", np.sqrt(n)),
            (f"1/sqrt({n:g}), of the size of an axis: a scale left out or twice", 1 / np.sqrt(n)),
        ]
    for name, value in known:
        if fits(abs(k), value):
            return f"constant factor {sign}{name}"
    for name, value in _scalars(e):
        for words, factor in ((name, value), (f"1 / {name}", 1 / value if value else 0), (f"{name} squared", value**2)):
            if factor and fits(abs(k), abs(factor)):
                return f"constant factor {k:.6g}, that is {words}"
    return ""


def _scalars(e: Evidence) -> Iterator[tuple[str, float]]:
    """Outputs and arguments that are one number."""
    y, _ = e.problem.autodiff_vjp(e.upstream)
    yield from (("the output", float(np.real(out))) for out in y if np.size(out) == 1 and np.ndim(out) == 0)
    for i in e.problem.inputs.live:
        x = e.problem.inputs.arrays[i]
        if np.ndim(x) == 0:
            yield e.problem.inputs.label_of(i, e.problem.function.names), float(np.real(x))


def signs(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The right sizes, some wrong signs."""
    if fits(np.abs(e.actual), np.abs(e.expected)) and np.any(e.actual != 0):
        if np.iscomplexobj(e.actual):
            yield "every size is right, every phase another one", True
            return
        turned = int(np.sum(np.abs(np.sign(e.actual) - np.sign(e.expected)) > 1e-3))
        if turned:
            yield f"sign: the size is right, the sign wrong in {turned} of {e.actual.size} elements", True
        elif np.any(e.wrong):
            yield "accuracy: right but for its last digits (a constant or a step too coarse)", True


def another_argument(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Arguments swapped."""
    for name, truth in _others(e):
        if truth.size and np.any(truth) and not np.array_equal(truth, e.expected):
            yield f"arguments swapped: this is the gradient of {name}", truth
            yield f"arguments swapped: this is minus the gradient of {name}", -truth
            if truth.ndim == 2:
                yield f"arguments swapped: this is the transposed gradient of {name}", truth.T


def transposed(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Two axes exchanged, or reshaped where they should be."""
    t = e.expected
    for i in range(t.ndim):
        for j in range(i + 1, t.ndim):
            swapped = np.swapaxes(t, i, j)
            yield "transposed", swapped
            yield "transposed: reshaped where it should be transposed", swapped.reshape(t.shape)
    if t.ndim > 2:
        yield "transposed", np.transpose(t).reshape(t.shape)


def misplaced(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The right numbers in the wrong places, perhaps with a factor."""
    t = e.expected
    moved: list[tuple[str, np.ndarray]] = []
    for axis in range(t.ndim):
        moved.append((f"reversed along axis {axis}", np.flip(t, axis)))
        moved.append((f"reversed along axis {axis} but for its first place", np.roll(np.flip(t, axis), 1, axis)))
        moved += [(f"shifted by one along axis {axis}", np.roll(t, by, axis)) for by in (1, -1)]
    if t.ndim > 1:
        moved.append(("reversed along every axis", np.flip(t)))
    if t.ndim == 2 and t.shape[0] == t.shape[1]:
        moved.append(("transposed", t.T))
    yield from moved
    for words, values in moved:
        k = multiple(e.actual, values) if t.size > 2 else None
        if k is not None and not fits(k, 1.0):
            yield f"{words}, and {_factor_in_words(e, k) or f'constant factor {k:.6g}'}", True
    if t.size > 2 and len(np.unique(np.abs(t))) > 2 and fits(np.sort(e.actual.reshape(-1)), np.sort(t.reshape(-1))):
        yield "transposed or permuted: the right numbers in the wrong places", True


def wrong_axis(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Summed, or averaged, over an axis that should have been kept."""
    t = e.expected
    for axis in range(t.ndim):
        if t.shape[axis] > 1:
            for words, total in (("summed", t.sum(axis, keepdims=True)), ("averaged", t.mean(axis, keepdims=True))):
                yield f"{words} over the wrong axis ({axis})", np.broadcast_to(total, t.shape)


def duplicates(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Wrong exactly where an index occurs more than once."""
    if e.expected.ndim == 0:
        return
    for x in e.problem.inputs.arrays:
        if is_key(x) or x.dtype.kind not in "iu" or x.size < 2:
            continue
        values, counts = np.unique(x, return_counts=True)
        repeated = set(values[counts > 1].tolist())
        for axis in range(e.expected.ndim):
            wrong = set(np.flatnonzero(e.wrong.any(tuple(a for a in range(e.expected.ndim) if a != axis))).tolist())
            if wrong and wrong <= repeated and len(wrong) < e.expected.shape[axis]:
                yield "duplicates overwritten instead of added: wrong only where an index is repeated", True


def rounded(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The truth in a lower precision."""
    for dtype, close in ((ml_dtypes.bfloat16, 2.0**-6), (np.float16, 2.0**-9), (np.float32, 2.0**-22)):
        held = np.array_equal(np.asarray(e.actual, dtype).astype(np.float64), np.asarray(e.actual, np.float64))
        if held and fits(e.actual, e.expected, 4 * close) and e.expected.size:
            yield f"computed or stored in {np.dtype(dtype).name}: precision is lost", True


def remainder(e: Evidence) -> Iterator[tuple[str, Any]]:
    """A term too many: the upstream gradient itself, or one proportional to an argument (weight decay)."""
    gap = e.actual - e.expected
    for u in e.upstream:
        u = np.asarray(u)
        k = _slope(gap, u) if u.shape == gap.shape else None
        if k is not None and fits(e.actual, e.expected + k * u):
            missing = "only one branch of a fork" if k < 0 else "one branch of a fork too many"
            yield f"{missing}: off by {k:.4g} times the upstream gradient", True
        if u.shape == e.actual.shape:
            k = multiple(e.actual, u)
            if k is not None and e.expected.size > 1:
                yield (
                    "a local derivative is left out: the upstream gradient passes unchanged"
                    + ("" if fits(k, 1.0) else f" but for a factor {k:.4g}"),
                    True,
                )
    for i in e.problem.inputs.live:
        x = e.problem.inputs.arrays[i]
        k = _slope(gap, x) if x.shape == gap.shape and x.size > 1 else None
        if k is not None and fits(e.actual, e.expected + k * x):
            name = e.problem.inputs.label_of(i, e.problem.function.names)
            yield f"a term too many or too few: {k:.2g} times {name}", True


def local_value(e: Evidence) -> Iterator[tuple[str, Any]]:
    """The function's value, or its argument, where its derivative belongs."""
    y, _ = e.problem.autodiff_vjp(e.upstream)
    if len(y) != 1 or y[0].shape != e.expected.shape:
        return
    u = np.asarray(e.upstream[0])
    x = np.asarray(e.problem.inputs.arrays[e.problem.inputs.live[e.leaf]])
    for name, v in (("the output", y[0]), ("the input", x), ("1 - the output", 1 - y[0]), ("1 / the input", 1 / x)):
        for sign, minus in ((1, ""), (-1, "minus ")):
            yield f"wrong local derivative: {minus}{name} stands where the derivative belongs", sign * u * v


def diagonal(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Each output's dependence on its own input alone."""
    y, _ = e.problem.autodiff_vjp(e.upstream)
    if len(y) != 1 or y[0].shape != e.expected.shape:
        return
    u = np.asarray(e.upstream[0])
    if 1 < u.size <= 64:
        alone = np.zeros(u.size, u.dtype)
        for k in range(u.size):
            single = np.zeros(u.size, u.dtype)
            single[k] = u.reshape(-1)[k]
            alone[k] = e.autodiff_at(e.problem.inputs.arrays, [single.reshape(u.shape)])[1].reshape(-1)[k]
        yield (
            "only one branch of a fork: the diagonal of the Jacobian alone, what an output owes to the other inputs is "
            "left out",
            alone.reshape(u.shape),
        )


def left_out(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Right but for a factor which is an argument, the output, or a simple function of one."""
    arrays = e.problem.inputs.arrays
    y, _ = e.problem.autodiff_vjp(e.upstream)
    known = [(e.problem.inputs.label_of(i, e.problem.function.names), arrays[i]) for i in e.problem.inputs.live]
    known += [("the output", out) for out in y] + [("the upstream gradient", u) for u in e.upstream]
    with np.errstate(all="ignore"):
        for name, v in known:
            try:
                v = np.broadcast_to(v, e.expected.shape)
            except ValueError:
                continue
            if np.all(v == v.reshape(-1)[:1]) and v.size > 1:
                continue
            for shown, factor in (
                (name, v),
                (f"1 - {name}", 1 - v),
                (f"{name} squared", v * v),
                (f"1 - {name} squared", 1 - v * v),
                (f"1 + {name}", 1 + v),
            ):
                yield f"a local derivative is left out: the factor {shown} is missing", e.expected / factor
                yield f"a local derivative counted twice: the factor {shown} is one too many", e.expected * factor


def edges(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Wrong only at the first or last places of an axis: right at interior points only; or a block left out there."""
    if not e.expected.ndim or e.wrong.all() or not e.wrong.any():
        return
    missing = not np.any(e.actual[e.wrong])
    for axis in range(e.expected.ndim):
        n = e.expected.shape[axis]
        wrong = np.flatnonzero(e.wrong.any(tuple(a for a in range(e.expected.ndim) if a != axis)))
        whole = len(wrong) < n and e.wrong.take(wrong, axis).mean() > 0.5
        if not len(wrong) or not whole:
            continue
        if missing and np.all(np.diff(wrong) == 1) and len(wrong) > 1:
            which = {0: "first", n - len(wrong): "last"}.get(int(wrong[0]), "one")
            yield f"{which} block left out: no gradient in {region(e.wrong)}", True
        if n > 2 and set(wrong.tolist()) <= {0, n - 1}:
            which = "first" if set(wrong.tolist()) == {0} else "last" if set(wrong.tolist()) == {n - 1} else "outermost"
            yield f"boundary: wrong only at the {which} place of axis {axis}, right at interior points", True


def beyond(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Wrong exactly where an argument is beyond some value: one branch of the function."""
    if e.wrong.all() or e.wrong.sum() < 2 or np.iscomplexobj(e.expected):
        return
    for i in e.problem.inputs.live:
        x = np.asarray(e.problem.inputs.arrays[i])
        if x.shape != e.expected.shape or np.iscomplexobj(x):
            continue
        name = e.problem.inputs.label_of(i, e.problem.function.names)
        for shown, v in ((name, x), (f"|{name}|", np.abs(x))):
            low, high = v[~e.wrong], v[e.wrong]
            if high.min() > low.max():
                yield f"one branch of the function is wrong: where {shown} is beyond {number(high.min(), 3)}", True
            if high.max() < low.min():
                yield f"one branch of the function is wrong: where {shown} is up to {number(high.max(), 3)}", True


def sparse(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Few wrong elements."""
    if e.wrong.sum() == 1 and e.expected.size > 3:
        yield f"one element alone is wrong: {list(e.worst() or ())}", True


def approximate(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Everywhere right to some digits: an approximation, or a constant of too few digits."""
    if not e.wrong.any() or not np.isfinite(e.actual).all():
        return
    with np.errstate(all="ignore"):
        error = float(np.max(np.abs(e.actual - e.expected)) / np.max(np.abs(e.expected)))
    if error < 2e-2:
        digits = int(-np.log10(error))
        yield f"accuracy: right to {digits} digits everywhere: an approximation, or constants of too few digits", True


def tie(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Each element alone is right, all at once are not: a tie whose gradient is given to every one of them."""
    if e.found.outside and not any(w.any() for w in e.found.wrong):
        yield "at a tie or kink: each element's gradient alone is possible, all of them together are not", True


def described(e: Evidence) -> str:
    """What can be said of a formula that no hypothesis explains: where it is wrong, and by how much."""
    places = e.region
    with np.errstate(all="ignore"):
        ratio = np.real(e.actual[e.wrong] / e.expected[e.wrong])
    ratio = ratio[np.isfinite(ratio)]
    said = f"another formula for the gradient of {e.argument}: wrong in {places or 'its only element'}"
    if not ratio.size:
        return said
    low, high = number(ratio.min(), 2), number(ratio.max(), 2)
    return said + (f", {low} times the true one" if low == high else f", {low} to {high} times the true one")
