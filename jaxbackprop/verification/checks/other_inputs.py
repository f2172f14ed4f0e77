"""What every backward pass obeys at other points than it was shown: large, tiny, negative, zero, tied, repeated, kinks.

A point counts where the plain function has a finite value there, and where its declared domain allows it.
"""

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from ...core.domains import real
from ...core.rule import Rule
from ...jaxprs.inputs import Leaves, Point, is_key, replaced, round_to
from ...jaxprs.number_systems.interpreter import evaluate
from ...jaxprs.queries import UNTRACEABLE
from ..decide import confirm, judge_gradient
from ..diagnosis.evidence import Evidence
from ..oracles.autodiff import Case
from ..oracles.finite_differences import LARGE
from ..points import domain_of, drawn
from ..subject import Subject
from .registry import Verdict, law

DRAWN = 24
"""So many further points are drawn by hypothesis; a sixth of that where one point holds numbers of every kind."""


def _free(subject: Subject) -> list[int]:
    """The live arrays whose values may be anything real: not those of a declared domain."""
    return [i for i in subject.case.point.live if domain_of(subject, i) is real]


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
    count = DRAWN if case.x.size <= LARGE else DRAWN // 6
    for point in itertools.chain(_points(subject), drawn(subject, count)):
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
    except UNTRACEABLE:
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
            leaves = [np.asarray(v, np.float64).reshape(-1) for v in jax.tree.leaves(values)]
            return np.concatenate([*leaves, np.zeros(0)])  # at some settings a rule has no kink at all

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
def other_batches(subject: Subject) -> Verdict | None:
    """With the leading axis cut to one, and to none, the gradient is still the plain function's.

    A rule's own examples hold such batches; of any other function, those are tried at which its plain function works.
    """
    case, target = subject.case, subject.target
    if target.typed or target.kind == "rule" or not case.differentiable or not case.point.live:
        return None
    first = case.point.arrays[case.point.live[0]]
    if first.ndim == 0 or first.shape[0] < 2:
        return None
    same = [i for i, x in enumerate(case.point.arrays) if np.ndim(x) and x.shape[0] == first.shape[0]]
    seen = []
    for count, label in ((1, "a batch of one"), (0, "an empty batch")):
        for which in dict.fromkeys((tuple(same), (case.point.live[0],))):
            arrays = replaced(case.point.arrays, which, [case.point.arrays[i][:count] for i in which])
            point = case.point.with_arrays(arrays, label)
            if not _works(target.primal, point):
                continue
            smaller = Subject(target, point, seed=subject.seed)
            verdict, counted = _judge_at(smaller, smaller.case.point)
            if verdict is not None:
                return verdict
            seen += [label] * counted
            break
    return Verdict(True, f"at {' and '.join(seen)}") if seen else None


def _works(function: Any, point: Point) -> bool:
    try:
        with jax.enable_x64(True):
            jax.eval_shape(point.call(function), *point.arrays)
    except Exception:
        return False  # the plain function is not meant for such a batch
    return True
