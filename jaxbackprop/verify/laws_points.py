"""What every backward pass obeys at other points than it was shown: large, tiny, negative, zero, tied, repeated, kinks.

A point counts where the plain function has a finite value there, and where its declared domain allows it.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ..examples import real
from ..rule import Rule
from .case import Case
from .evidence import Evidence
from .interpreter import evaluate
from .point import Leaves, Point, is_key, replaced, round_to
from .settle import confirm, judge_gradient
from .subject import Subject
from .verdict import Verdict, law


def _free(subject: Subject) -> list[int]:
    """The live arrays whose values may be anything real: not those of a declared domain."""
    made: Rule | None = subject.target.rule
    if made is None:
        return subject.case.point.live
    names = [p.name for p in made.signature.parameters]
    return [i for i in subject.case.point.live if made.where.get(names[subject.case.point.owners[i]], real) is real]


def _at(subject: Subject, label: str, change: Any) -> Point:
    arrays = subject.case.point.arrays
    free = _free(subject)
    return subject.case.point.with_arrays(replaced(arrays, free, [change(arrays[i]) for i in free]), label)


def _points(subject: Subject) -> Iterator[Point]:
    """Other points of the same shapes."""
    rng = subject.case.random("points")
    yield _at(subject, "a thousand times larger", lambda x: x * 1000)
    yield _at(subject, "a millionth as large", lambda x: x * 1e-6)
    yield _at(subject, "thirty times larger", lambda x: x * 30)
    yield _at(subject, "negated", lambda x: -x)
    yield _at(subject, "all positive", lambda x: np.abs(x) + 0.1)
    yield _at(subject, "all zero", np.zeros_like)
    yield _at(subject, "all alike", lambda x: np.full_like(x, x.reshape(-1)[0] if x.size else 0))
    yield _at(subject, "one zero among others", lambda x: _with_first(x, 0))
    yield _at(subject, "drawn again", lambda x: rng.normal(size=x.shape).astype(x.dtype) if x.dtype.kind == "f" else x)
    yield from _one_apart(subject)
    yield from _repeated(subject)


def _with_first(x: np.ndarray, value: Any) -> np.ndarray:
    out = np.array(x)
    if out.size:
        out.reshape(-1)[0] = value
    return out


def _one_apart(subject: Subject) -> Iterator[Point]:
    """One argument zero, the others as they are."""
    arrays, free = subject.case.point.arrays, _free(subject)
    if len(free) < 2:
        return
    for i in free[:4]:
        name = subject.case.point.label_of(i, subject.target.names)
        yield subject.case.point.with_arrays(replaced(arrays, [i], [np.zeros_like(arrays[i])]), f"{name} zero")


def _repeated(subject: Subject) -> Iterator[Point]:
    """Every integer array full of its first element: all indices the same."""
    arrays = subject.case.point.arrays
    whole = [i for i, x in enumerate(arrays) if not is_key(x) and x.dtype.kind in "iu" and x.size > 1]
    if whole:
        same = [np.full_like(arrays[i], arrays[i].reshape(-1)[0]) for i in whole]
        yield subject.case.point.with_arrays(replaced(arrays, whole, same), "all indices the same")


@law()
def other_points(subject: Subject) -> Verdict | None:
    """The gradient is right at shifted and scaled inputs as well: large, tiny, negative, zero, tied, repeated."""
    case = subject.case
    if not case.differentiable or any(np.iscomplexobj(case.point.arrays[i]) for i in case.point.live):
        return None
    seen = 0
    for point in _points(subject):
        verdict, counted = _judge_at(subject, point)
        seen += counted
        if verdict is not None:
            return verdict
    return Verdict(True, f"at {seen} other points") if seen else None


def _judge_at(subject: Subject, point: Point) -> tuple[Verdict | None, bool]:
    case = subject.case.moved(point)
    value = evaluate(case.value_program, case.point.arrays)
    if not all(np.isfinite(y).all() for y in value):
        return None, False  # outside the function's domain, or beyond float64
    upstream = subject.upstreams[0]
    y, found = case.hand(case.point.arrays, upstream)
    if not all(np.isfinite(a).all() for a in y):
        return Verdict(
            False, f"{point.label}: the value is not finite, the plain function's is", suspect="overflow"
        ), True
    judged = judge_gradient(case, found, upstream, case.working_dtype)
    if judged.by and judged.passed:
        confirm(case, judged, upstream)
    if judged.passed is False:
        j = next((j for j, w in enumerate(judged.wrong) if w.any()), 0)
        evidence = Evidence(case, judged, upstream, j)
        return Verdict(False, f"{point.label}: {evidence.sentence()}", evidence=evidence), True
    if judged.passed is None and _lost(found):
        return Verdict(None, f"{point.label}: not a number by hand, and nobody can tell the truth"), True
    return _in_float32(subject, case), True


def _lost(gradients: Leaves) -> bool:
    return not all(np.isfinite(g).all() for g in gradients)


def _in_float32(subject: Subject, case: Case) -> Verdict | None:
    """In float32 the gradient at the same point is finite where float64's fits into float32."""
    if case.dtype != np.float64:
        return None
    low = subject.at(np.float32)
    try:
        answers = low.answers
    except (TypeError, ValueError, NotImplementedError):
        return None  # judged by the law on precision
    arrays = round_to(case.point.arrays, np.float32)
    upstream = [u.astype(t) for u, t in zip(low.upstream(0), answers, strict=True)]
    _, found = low.hand(arrays, upstream)
    if not _lost(found):
        return None
    _, auto = low.auto_as_written(arrays, upstream)
    _, exact = case.auto(arrays, upstream)
    for j, (f, a, e) in enumerate(zip(found, auto, exact, strict=True)):
        lost = ~np.isfinite(f) & np.isfinite(a) & (np.abs(e) < 1e37)
        if lost.any():
            return Verdict(
                False,
                f"{case.point.label}, float32: the gradient of {case.names()[j]} is not finite where autodiff's is",
                suspect="right at small values only: something overflows in float32",
            )
    return None


@law()
def kinks(subject: Subject) -> Verdict | None:
    """At a declared kink the gradient lies between the one-sided derivatives, along each element and along all."""
    made = subject.target.rule
    if made is None or made.kinks is None or not subject.case.differentiable:
        return None
    seen = 0
    for point in _kink_points(subject, made):
        case = subject.case.moved(point)
        upstream = subject.upstreams[0]
        _, found = case.hand(case.point.arrays, upstream)
        judged = judge_gradient(case, found, upstream, case.working_dtype)
        confirm(case, judged, upstream)
        seen += 1
        if judged.passed is False:
            j = next((j for j, w in enumerate(judged.wrong) if w.any()), 0)
            evidence = Evidence(case, judged, upstream, j)
            return Verdict(False, f"at a kink: {evidence.sentence()}", evidence=evidence, suspect="kink")
    return Verdict(True, f"at {seen} kinks") if seen else None


def _kink_points(subject: Subject, made: Rule) -> Iterator[Point]:
    """Points at which some value of the rule's `kinks` function is exactly zero, found by bisection on one number."""
    case, rng = subject.case, subject.case.random("kinks")
    named = inspect.signature(made.kinks).parameters  # type: ignore[arg-type]
    settings = {k: v for k, v in subject.target.settings.items() if k in named}

    def margin(arrays: Leaves) -> np.ndarray:
        with jax.enable_x64(True):
            values = made.kinks(*case.point.rebuild(arrays), **settings)  # type: ignore[misc]
            return np.concatenate([np.asarray(v, np.float64).reshape(-1) for v in jax.tree.leaves(values)])

    found = 0
    free = [i for i in _free(subject) if case.point.arrays[i].size]
    for _ in range(12):
        if not free or found == 2:
            return
        i = int(rng.choice(free))
        at = np.unravel_index(int(rng.integers(case.point.arrays[i].size)), case.point.arrays[i].shape)

        def moved(t: float, i: int = i, at: Any = at) -> Leaves:
            x = np.array(case.point.arrays[i])
            x[at] = t
            return replaced(case.point.arrays, [i], [x])

        t = _root(lambda t: margin(moved(t)), float(case.point.arrays[i][at]), rng)
        if t is not None:
            found += 1
            yield case.point.with_arrays(moved(t), "a kink")


def _root(margin: Any, start: float, rng: np.random.Generator) -> float | None:
    """A number at which an element of `margin` is exactly zero, between `start` and somewhere else; None if none is."""
    for other in rng.normal(size=4) * 3:
        a, b = start, float(other)
        fa, fb = margin(a), margin(b)
        crossed = np.flatnonzero(np.sign(fa) * np.sign(fb) < 0)
        if not crossed.size:
            continue
        k = crossed[0]
        for _ in range(200):
            middle = (a + b) / 2
            for guess in (middle, round(middle, 9)):
                if min(a, b) <= guess <= max(a, b) and margin(guess)[k] == 0:
                    return guess
            if middle in (a, b):
                break
            a, b = (middle, b) if np.sign(margin(middle)[k]) == np.sign(fa[k]) else (a, middle)
    return None


@law()
def exercised(subject: Subject) -> Iterator[Verdict]:
    """Every argument's gradient is somewhere not zero: a gradient never exercised was not tested."""
    case = subject.case
    names = case.names()
    seen = [False] * len(names)
    for upstream in subject.upstreams:
        for j, g in enumerate(case.hand(case.point.arrays, upstream)[1]):
            seen[j] = seen[j] or bool(np.any(g != 0))
    for name, ever in zip(names, seen, strict=True):
        if not ever and case.x.size:
            yield Verdict(True, f"the gradient of {name} is zero at {case.point.label}", "not exercised", note=True)


@law()
def memory(subject: Subject) -> Verdict | None:
    """What is kept for the backward pass, beside what autodiff keeps."""
    case = subject.case

    def kept(function: Any) -> int:
        flat = case.point.call(function)
        with jax.enable_x64(case.dtype.itemsize == 8 or jax.config.read("jax_enable_x64")):
            back = jax.eval_shape(
                lambda a: jax.vjp(lambda *x: flat(*replaced(a, case.point.live, x)), *(a[i] for i in case.point.live))[
                    1
                ],
                case.point.arrays,
            )
        return sum(
            int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(back) if hasattr(x.dtype, "itemsize")
        )

    try:
        by_hand, by_auto = kept(subject.target.hand), kept(subject.target.primal)
    except (TypeError, ValueError):
        return None
    more = " (more than autodiff)" if by_hand > 1.5 * by_auto and by_hand - by_auto > 64 else ""
    return Verdict(True, f"keeps {by_hand} bytes, autodiff {by_auto}{more}", "residual memory")


@law()
def nothing_leaks(subject: Subject) -> Verdict:
    """No tracer survives a call, and no large array is closed over instead of passed."""
    case = subject.case
    try:
        with jax.checking_leaks():
            case.trace(case.point.pulling(subject.target.hand), case.point.arrays, case.upstream(0))
    except Exception as error:
        if "leak" in str(error).lower():
            return Verdict(False, str(error).split("\n")[0][:160], suspect="a tracer is kept beyond its call")
        return Verdict(True)
    largest = max((int(np.size(c)) for c in case.hand_program.consts), default=0)
    inputs = max((x.size for x in case.point.arrays), default=0)
    if largest > max(1024, 4 * inputs):
        return Verdict(False, f"an array of {largest} numbers is closed over", suspect="closed-over array")
    return Verdict(True)
