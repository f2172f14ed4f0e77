"""At other points than those given: large, tiny, negative, zero, tied, repeated, kinks.

A point counts where the plain function has a finite value there, and where its declared domain allows it.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ...core.domains import real
from ...core.rule import Rule
from ...jaxprs.evaluate import compiled
from ...jaxprs.inputs import Inputs, Leaves, is_key, replaced
from ...jaxprs.queries import UNTRACEABLE, holds
from ..diagnosis.evidence import Evidence
from ..diagnosis.from_numbers import why_not_finite
from ..examine import Comparison, compare_gradient, confirmed
from ..inferred_domains import restored
from ..oracles.finite_differences import LARGE
from ..points import distinct, domain_of, drawn, inferred
from ..problem import HandwrittenFunction, Problem
from ..rounding import apart, size
from ..wording import expected_and_got, index
from .result import OPAQUE, CheckResult, raised_under, what_happened

DRAWN = 24
"""So many further points are drawn at random; a sixth of that where one point holds numbers of every kind."""


def _free(problem: Problem) -> list[int]:
    """The live arrays whose values may be anything real: not those of a declared domain."""
    return [i for i in problem.inputs.live if domain_of(problem, i) is real]


def _at(problem: Problem, label: str, change: Any) -> Inputs:
    arrays = problem.inputs.arrays
    free = _free(problem)
    changed = [restored(change(arrays[i]).astype(arrays[i].dtype), inferred(problem, i)) for i in free]
    return problem.inputs.with_arrays(replaced(arrays, free, changed), label)


def _points(problem: Problem) -> Iterator[Inputs]:
    """Other points of the same shapes."""
    rng = problem.random("points")
    yield _at(problem, "a thousand times larger", lambda x: x * 1000)
    yield _at(problem, "a millionth as large", lambda x: x * 1e-6)
    yield _at(problem, "thirty times larger", lambda x: x * 30)
    yield _at(problem, "negated", lambda x: -x)
    yield _at(problem, "all positive", lambda x: np.abs(x) + 0.1)
    yield _at(problem, "all zero", np.zeros_like)
    yield _at(problem, "all alike", lambda x: np.full_like(x, x.reshape(-1)[0] if x.size else 0))
    yield _at(problem, "one zero among others", lambda x: _with_first(x, 0))
    yield _at(problem, "drawn again", lambda x: _normal(rng, x))
    if any(np.iscomplexobj(problem.inputs.arrays[i]) for i in problem.inputs.live):
        yield _at(problem, "turned by a right angle", lambda x: x * 1j if np.iscomplexobj(x) else x)
        yield _at(problem, "imaginary parts zero", lambda x: x.real)
    yield from _one_apart(problem)
    yield from _repeated(problem)


def _normal(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    made = rng.normal(size=x.shape)
    return (made + 1j * rng.normal(size=x.shape) if np.iscomplexobj(x) else made).astype(x.dtype)


def _with_first(x: np.ndarray, value: Any) -> np.ndarray:
    out = np.array(x)
    if out.size:
        out.reshape(-1)[0] = value
    return out


def _one_apart(problem: Problem) -> Iterator[Inputs]:
    """One argument zero, the others as they are."""
    arrays, free = problem.inputs.arrays, _free(problem)
    if len(free) < 2:
        return
    for i in free[:4]:
        name = problem.inputs.label_of(i, problem.function.names)
        zero = restored(np.zeros_like(arrays[i]), inferred(problem, i))
        yield problem.inputs.with_arrays(replaced(arrays, [i], [zero]), f"{name} zero")


def _repeated(problem: Problem) -> Iterator[Inputs]:
    """Every integer array full of its first element: all indices the same."""
    arrays = problem.inputs.arrays
    whole = [i for i, x in enumerate(arrays) if not is_key(x) and x.dtype.kind in "iu" and x.size > 1]
    whole = [i for i in whole if not distinct(problem, i)]
    if whole:
        same = [np.full_like(arrays[i], arrays[i].reshape(-1)[0]) for i in whole]
        yield problem.inputs.with_arrays(replaced(arrays, whole, same), "all indices the same")


def other_points(problem: Problem) -> CheckResult | None:
    """The gradient is right at shifted and scaled inputs as well: large, tiny, negative, zero, tied, repeated."""
    if not problem.differentiable:
        return None
    seen = 0
    count = DRAWN if problem.x.size <= LARGE else DRAWN // 6
    for point in itertools.chain(_points(problem), drawn(problem, count)):
        result, counted = _judge_at(problem, point)
        seen += counted
        if result is not None:
            return result
    return _digits_lost(problem) or (CheckResult(True, f"at {seen} other points") if seen else None)


FAR = (18.0, 30.0)
"""Between them sigmoid(-x) is so small that 1 - sigmoid(x) has no digit of it left in float32."""


def _digits_lost(problem: Problem) -> CheckResult | None:
    """Far out, where the derivative of an elementwise function levels off, float32 keeps digits where autodiff does."""
    free = _free(problem)
    shapes = [o.shape for o in problem.outputs]
    if problem.dtype != np.float64 or len(problem.inputs.live) != 1 or len(free) != 1 or not problem.x.size:
        return None
    x = problem.inputs.arrays[free[0]]
    if shapes != [x.shape] or np.iscomplexobj(x) or inferred(problem, free[0]):
        return None
    far = problem.random("far").uniform(*FAR, x.shape)
    for label, values in ((f"beyond {FAR[0]:g}", far), (f"below -{FAR[0]:g}", -far)):
        point = problem.inputs.with_arrays(replaced(problem.inputs.arrays, free, [values.astype(np.float32)]), label)
        here = problem.moved(point.cast(np.float64))
        (e,) = here.autodiff_vjp(problem.upstreams[0])[1]
        if not np.isfinite(e).any():
            continue  # outside the function's domain, where a rule's loop might never end
        try:
            low = problem.at(np.float32).moved(point)
            (f,), (a,) = (low.as_run(program, problem.upstreams[0])[1] for program in ("handwritten", "autodiff"))
        except UNTRACEABLE:
            return None  # judged by the check of precision
        (t,) = here.handwritten_vjp(problem.upstreams[0])[1]
        with np.errstate(all="ignore"):
            known = (np.abs(a - e) <= 1e-2 * np.abs(e)) & (np.abs(t - e) <= 1e-2 * np.abs(e)) & (np.abs(e) > 1e-30)
            lost = known & (np.abs(f - t) > 0.5 * np.abs(t))
        if 2 * lost.sum() > lost.size:
            at = tuple(np.argwhere(lost)[0])
            return CheckResult(
                False,
                f"{label}, float32: {here.names()[0]}{index(at)}: {expected_and_got(t[at], f[at])}",
                suspect="accuracy: all digits of the derivative are lost far out, where autodiff keeps them",
                at=label,
                imprecise=True,
            )
    return None


def _judge_at(problem: Problem, point: Inputs) -> tuple[CheckResult | None, bool]:
    """What is wrong there, and whether the point counts: not where the plain function has no value or no derivative."""
    here = problem.moved(point)
    upstream = problem.upstreams[0]
    if not all(np.isfinite(y).all() for y in here.autodiff_vjp(upstream)[0]):
        return None, False  # outside the function's domain, or beyond float64
    y, actual = here.handwritten_vjp(upstream)
    if not all(np.isfinite(a).all() for a in y):
        detail = f"{point.label}: expected the finite value of the plain function, got one that is not finite"
        suspect = why_not_finite(here, lambda there: there.handwritten_vjp(upstream)[0])
        return CheckResult(False, detail, suspect=suspect, at=point.label), True
    found = _clear_of_doubt(compare_gradient(here, actual, upstream), here.autodiff_vjp(upstream)[1])
    if found.by and found.passed:
        found = confirmed(here, found, upstream)
    if found.passed is False:
        return _failed(here, found, upstream, point.label), True
    return _overflows_in_float32(problem, here, upstream, actual), not found.hidden


APPROXIMATE = 1e-6
"""At points that were not given, approximate algorithms (a matrix exponential's) agree to six digits and no more."""


def _clear_of_doubt(found: Comparison, autodiff: Leaves) -> Comparison:
    """Without elements where neither derivative is finite (x / s at s = 0), and those that are right to six digits."""
    wrong, undecided = [], []
    for j, a in enumerate(autodiff):
        f, t, bound = found.actual[j], found.expected[j], found.error_bound[j]
        inside = np.isfinite(f) | np.isfinite(a)
        wrong.append(found.wrong[j] & inside & apart(f, t, bound + APPROXIMATE * size(t)))
        undecided.append(found.undecided[j] & inside)
    return replace(found, wrong=wrong, undecided=undecided)


def _failed(here: Problem, found: Comparison, upstream: Leaves, label: str, suspect: str = "") -> CheckResult:
    j = next((j for j, w in enumerate(found.wrong) if w.any()), 0)
    evidence = Evidence(here, found, upstream, j)
    return CheckResult(False, f"{label}: {evidence.sentence()}", evidence=evidence, suspect=suspect, at=label)


def _overflows_in_float32(problem: Problem, here: Problem, upstream: Leaves, wide: Leaves) -> CheckResult | None:
    """In float32 the gradient at this point is finite where the `wide` one is and the true one fits into float32."""
    if problem.dtype != np.float64:
        return None
    try:
        low = problem.at(np.float32).moved(here.inputs.cast(np.float32))
        actual = low.as_run("handwritten", upstream)[1]
    except UNTRACEABLE:
        return None  # judged by the check of precision
    if all(np.isfinite(g).all() for g in actual):
        return None
    of_autodiff = low.as_run("autodiff", upstream)[1]
    exact = problem.moved(low.inputs.cast(np.float64)).autodiff_vjp(upstream)[1]
    for j, (f, a, e, w) in enumerate(zip(actual, of_autodiff, exact, wide, strict=True)):
        lost = ~np.isfinite(f) & np.isfinite(a) & np.isfinite(w) & (np.abs(e) < 1e37)
        if lost.any():
            name = here.names()[j]
            return CheckResult(
                False,
                f"{here.inputs.label}, float32: gradient of {name}: expected {e[lost][0]:.4g}, got {f[lost][0]}",
                suspect="right at small values only: something overflows in float32",
                at=here.inputs.label,
            )
    return None


def kinks(problem: Problem) -> CheckResult | None:
    """At a declared kink the gradient lies between the one-sided derivatives, along each element and along all."""
    made = problem.function.rule
    if made is None or made.kinks is None or not problem.differentiable:
        return None
    seen = 0
    for point in _kink_points(problem, made):
        here, upstream = problem.moved(point), problem.upstreams[0]
        actual = here.handwritten_vjp(upstream)[1]
        found = confirmed(here, compare_gradient(here, actual, upstream), upstream)
        seen += 1
        if found.passed is False:
            return _failed(here, found, upstream, "at a kink", suspect="kink")
    return CheckResult(True, f"at {seen} kinks") if seen else None


def _kink_points(problem: Problem, made: Rule) -> Iterator[Inputs]:
    """Points at which some value of the rule's `kinks` function is exactly zero, found by bisection on one number."""
    rng = problem.random("kinks")
    named = inspect.signature(made.kinks).parameters  # type: ignore[arg-type]
    settings = {k: v for k, v in problem.function.settings.items() if k in named}

    def values(*arrays: Any) -> Any:
        return made.kinks(*problem.inputs.rebuild(arrays), **settings)  # type: ignore[misc]

    def margin(arrays: Leaves) -> np.ndarray:
        with jax.enable_x64(True):
            run = problem.programs.get("kinks", lambda: compiled(values, *arrays))
            leaves = [np.asarray(v, np.float64).reshape(-1) for v in jax.tree.leaves(run(*arrays))]
            return np.concatenate([*leaves, np.zeros(0)])  # at some settings a rule has no kink at all

    found = 0
    free = [i for i in _free(problem) if problem.inputs.arrays[i].size]
    for _ in range(12):
        if not free or found == 2:
            return
        i = int(rng.choice(free))
        at = np.unravel_index(int(rng.integers(problem.inputs.arrays[i].size)), problem.inputs.arrays[i].shape)

        def moved(t: float, i: int = i, at: Any = at) -> Leaves:
            x = np.array(problem.inputs.arrays[i])
            x[at] = t
            return replaced(problem.inputs.arrays, [i], [x])

        t = _root(lambda t: margin(moved(t)), float(problem.inputs.arrays[i][at]), rng)
        if t is not None:
            found += 1
            yield problem.inputs.with_arrays(moved(t), "a kink")


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


def other_batches(problem: Problem) -> CheckResult | None:
    """With one example, and with none, along its leading axis the gradient is still the plain function's.

    A rule's own examples hold such batches; of any other function, those are tried at which its plain function works.
    """
    function, inputs = problem.function, problem.inputs
    if function.typed or function.kind == "rule" or not problem.differentiable or not inputs.live:
        return None
    if any(np.size(x) > 1 for i in inputs.static for x in jax.tree.leaves(inputs.args[i]) if hasattr(x, "shape")):
        return None  # an array held static may belong to the batch, too
    kernels = [name for name in OPAQUE if holds(problem.trace("handwritten").jaxpr, name)]
    if kernels:  # outside of the blocks of its grid a kernel leaves numbers as they happen to be
        return CheckResult(True, f"not tried: shapes=True tries other lengths of a {kernels[0]}", note=True)
    first = inputs.arrays[inputs.live[0]]
    size = first.shape[0] if first.ndim else 0
    same = tuple(i for i, x in enumerate(inputs.arrays) if np.ndim(x) and x.shape[0] == size)
    seen, refused = [], []
    for count, label in (
        ((2, "a batch of two"), (0, "an empty batch"))
        if size == 1
        else (
            (1, "a batch of one"),
            (0, "an empty batch"),
        )
    ):
        for which in dict.fromkeys((same, (inputs.live[0],))) if size else ():
            point = _with_batch(problem, which, count, label)
            if not _is_batch(problem, which, size) or _refusal(function.plain, point) is not None:
                continue
            if count == 0 and not _row_by_row(problem, which):
                continue  # of no examples at all a mean or a norm has no meaning
            refusal = _refusal(function.handwritten, point) or _refused_with_more(function, problem, which, size, point)
            if refusal is not None:
                refused.append(f"{label} is refused: {what_happened(refusal)}")
                break
            smaller = Problem(function, point, seed=problem.seed, deadline=problem.deadline)
            try:
                _ = smaller.autodiff_vjp(smaller.upstreams[0])
            except Exception:
                continue  # the plain function cannot be run there
            try:
                result, counted = _judge_at(smaller, smaller.inputs)
            except Exception as error:
                return raised_under(problem, error, label)
            if result is not None:
                return result
            seen += [label] * counted
            break
    if refused:
        return CheckResult(True, "; ".join(refused), note=True)
    return CheckResult(True, f"at {' and '.join(seen)}") if seen else None


def _refused_with_more(
    function: HandwrittenFunction, problem: Problem, which: Sequence[int], size: int, point: Inputs
) -> Exception | None:
    """What the backward pass raises at a point, where it raises with one example more, too: it works in blocks."""
    refusals = [_refusal_of_derivative(function, at) for at in (point, _with_batch(problem, which, size + 1))]
    return refusals[0] if all(refusals) else None


def _refusal_of_derivative(function: HandwrittenFunction, point: Inputs) -> Exception | None:
    pull, flat = point.pulling(function.handwritten), point.call(function.handwritten)
    try:
        with jax.enable_x64(True):
            jax.eval_shape(lambda *arrays: pull(arrays, flat(*arrays)), *point.arrays)
    except Exception as error:
        return error
    return None


def _with_batch(problem: Problem, which: Sequence[int], count: int, label: str = "") -> Inputs:
    """The inputs with `count` examples along the leading axis of some arrays; integers stay valid as indices of it."""
    arrays = problem.inputs.arrays
    resized = [np.concatenate([arrays[i], arrays[i][-1:]])[:count] for i in which]
    arrays = replaced(arrays, which, resized)
    whole = [i for i, x in enumerate(arrays) if not is_key(x) and x.dtype.kind in "iu"]
    below = max(count - 1, 0) if count < problem.inputs.arrays[which[0]].shape[0] else np.inf
    clipped = [np.minimum(arrays[i], below).astype(arrays[i].dtype) for i in whole]
    return problem.inputs.with_arrays(replaced(arrays, whole, clipped), label)


def _is_batch(problem: Problem, which: Sequence[int], size: int) -> bool:
    """Whether the leading axis holds examples.

    One more of them works, and comes out where examples come out; in another order they change nothing but their order.
    """
    flat = problem.inputs.call(problem.function.plain)
    try:
        with jax.enable_x64(True):
            before, after = (
                jax.eval_shape(flat, *_with_batch(problem, which, count).arrays) for count in (size, size + 1)
            )
    except Exception:
        return False
    if not all(a.shape == b.shape or a.shape[:1] == (size + 1,) for a, b in zip(after, before, strict=True)):
        return False
    arrays = problem.inputs.arrays
    rolled = problem.inputs.with_arrays(replaced(arrays, which, [np.roll(arrays[i], 1, 0) for i in which]))
    values = zip(problem.value(), problem.moved(rolled).value(), strict=True)
    return all(_same(y, z) or (y.ndim > 0 and _same(np.roll(y, 1, 0), z)) for y, z in values)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True))


def _row_by_row(problem: Problem, which: Sequence[int]) -> bool:
    """Whether the plain function treats each example alone: the first example's outputs are those of it alone."""
    one = Problem(problem.function, _with_batch(problem, which, 1), seed=problem.seed, deadline=problem.deadline)
    try:
        alone, together = one.value(), problem.value()
    except Exception:
        return False
    return all(
        a.shape[:1] == (1,) and a.shape[1:] == t.shape[1:] and np.allclose(a[0], t[0], rtol=1e-9, atol=1e-12)
        for a, t in zip(alone, together, strict=True)
    )


def _refusal(function: Callable[..., Any], point: Inputs) -> Exception | None:
    """What a function raises at a point of other shapes."""
    try:
        with jax.enable_x64(True):
            jax.eval_shape(point.call(function), *point.arrays)
    except Exception as error:
        return error
    return None
