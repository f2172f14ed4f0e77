"""What every backward pass obeys at every point: its values, its gradients, in every precision.

A law never prints and never raises. How a rule behaves under JAX's transformations is in `laws_transforms.py`, at
other points than those it was given in `laws_points.py`.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from .case import JITTERS, Case
from .evidence import Evidence
from .judge import Judgement, allow_for_rounding, compare, in_ulps, spread, tolerance
from .point import Leaves, jittered, round_to, unit_roundoff
from .settle import confirm, judge_by_differences, judge_gradient, judge_values
from .subject import FLOATS, Subject
from .verdict import Verdict, law


@law(everywhere=True)
def forward_pass(subject: Subject) -> Verdict:
    """The hand-derived function's value is the plain function's."""
    case = subject.case
    y, _ = case.hand(case.point.arrays, case.upstream(0))
    judged = judge_values(case, y, case.working_dtype)
    detail = "" if judged.passed else _worst_output(judged)
    return Verdict(
        judged.passed, detail, units=max(judged.ulps, default=0.0), suspect="" if judged.passed else "forward"
    )


def _worst_output(judged: Judgement) -> str:
    for j, wrong in enumerate(judged.wrong):
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            return (
                f"output {j}{list(map(int, at))}: {judged.found[j][at]:.6g}, plain function {judged.truth[j][at]:.6g}"
            )
    return "not a number where the plain function has a value, or the reverse"


@law(everywhere=True)
def gradient(subject: Subject) -> Iterator[Verdict]:
    """The gradient of each argument is the derivative of the plain function."""
    case = subject.case
    names = case.names()
    if not case.differentiable:
        upstream = subject.upstreams[0]
        yield Verdict(*judge_by_differences(case, case.hand(case.point.arrays, upstream)[1], upstream))
        return
    failed: dict[int, Evidence] = {}
    undecided: dict[int, str] = {}
    worst, by = [0.0] * len(names), set()
    for k, upstream in enumerate(subject.upstreams):
        _, found = case.hand(case.point.arrays, upstream)
        judged = judge_gradient(case, found, upstream, case.working_dtype)
        if k == 0:
            confirm(case, judged, upstream)
        by |= judged.by
        for j in range(len(names)):
            worst[j] = max(worst[j], judged.ulps[j])
            if judged.wrong[j].any():
                failed.setdefault(j, Evidence(case, judged, upstream, j))
            elif judged.undecided[j].any():
                undecided.setdefault(j, f"{int(judged.undecided[j].sum())} elements: the oracles do not agree")
        if judged.outside and not any(w.any() for w in judged.wrong):
            failed.setdefault(_leaf_of(subject, judged), Evidence(case, judged, upstream, 0))
    how = f"settled by {' and '.join(sorted(by))}" if by else ""
    for j, name in enumerate(names):
        if j in failed:
            yield Verdict(False, failed[j].sentence(), f"gradient of {name}", worst[j], failed[j])
        elif j in undecided:
            yield Verdict(None, undecided[j], f"gradient of {name}", worst[j])
        else:
            yield Verdict(True, how, f"gradient of {name}", worst[j])


def _leaf_of(subject: Subject, judged: Judgement) -> int:
    return 0


@law(everywhere=True)
def precision(subject: Subject) -> Iterator[Verdict]:
    """In float32, bfloat16 and float16 the gradient is as accurate as that precision allows, or as autodiff's is."""
    numbers = [subject.point.arrays[i] for i in subject.point.live]
    if subject.target.typed or not subject.case.differentiable or any(map(np.iscomplexobj, numbers)):
        return
    for name, dtype in _asked(subject).items():
        if jnp.dtype(dtype) == subject.case.dtype or unit_roundoff(dtype) < unit_roundoff(subject.case.dtype):
            continue
        verdict = _in_precision(subject, name, dtype)
        if verdict is not None:
            yield verdict


def _asked(subject: Subject) -> dict[str, type]:
    """The precisions to ask for: all of them at the main input; at the others one, in turn."""
    if subject.main:
        return FLOATS
    which = tuple(FLOATS)[subject.number % len(FLOATS)]
    return {which: FLOATS[which]}


def _in_precision(subject: Subject, name: str, dtype: type) -> Verdict | None:
    low = subject.at(dtype)
    try:
        program = low.hand_program
    except (TypeError, ValueError, NotImplementedError) as error:
        try:
            _ = low.auto_program
        except (TypeError, ValueError, NotImplementedError):
            return None  # the plain function does not work in this precision either
        return Verdict(False, f"{type(error).__name__}: {error}".split("\n")[0], name, suspect="dtype")
    del program
    upstream = [u.astype(t) for u, t in zip(low.upstream(0), low.answers, strict=True)]
    truth = subject.rounded(dtype)
    y, found = low.hand(low.point.arrays, upstream)
    exact = [np.asarray(u).astype(np.float64) for u in upstream]
    samples = truth.auto_many(truth.jitters(exact, dtype))
    settled = _settled(subject, truth, [g for _, g in samples], exact)
    values = compare(y, samples[0][0], tolerance(samples[0][0], spread([s for s, _ in samples]), dtype), dtype)
    judged = compare(found, settled, tolerance(settled, spread([g for _, g in samples]), dtype), dtype)
    if any(w.any() for w in (*judged.wrong, *values.wrong)):
        noisy = truth.auto_noisy(exact, dtype)
        allow_for_rounding(judged, [g for _, g in noisy], dtype)
        allow_for_rounding(values, [v for v, _ in noisy], dtype)
    if any(w.any() for w in judged.wrong):
        _trust_float64(judged, subject, truth, exact, dtype)
    if any(w.any() for w in (*judged.wrong, *values.wrong)):
        _excuse(judged, values, low, truth, upstream)
    worst = max(judged.ulps, default=0.0)
    for j, wrong in enumerate(judged.wrong):
        if wrong.any():
            evidence = Evidence(truth, judged, exact, j)
            return Verdict(
                False, evidence.sentence(), name, worst, evidence, suspect=f"accuracy: less accurate than {name} allows"
            )
    if any(w.any() for w in values.wrong):
        return Verdict(
            False,
            "forward: " + _worst_output(values),
            name,
            worst,
            suspect=f"accuracy: less accurate than {name} allows",
        )
    return Verdict(True, "", name, worst)


def _settled(subject: Subject, truth: Case, samples: list[Leaves], upstream: Leaves) -> Leaves:
    """The truth for a lower precision: autodiff's, and where that is not finite the float64 gradient by hand.

    By hand in float64 was judged by its own law; here the question is only what a precision loses.
    """
    first = samples[0]
    if all(np.isfinite(np.asarray(g)).all() for g in first):
        return first
    case = subject.case.moved(truth.point)
    _, mine = case.hand(case.point.arrays, upstream)
    return [np.where(np.isfinite(g), g, m) for g, m in zip(first, mine, strict=True)]


def _trust_float64(judged: Judgement, subject: Subject, truth: Case, upstream: Leaves, dtype: type) -> None:
    """Where the rule in float64 differs from autodiff and is right nevertheless (at a kink), it is the truth."""
    case = subject.case.moved(truth.point)
    _, mine = case.hand(case.point.arrays, upstream)
    if judge_gradient(case, mine, upstream, case.working_dtype).passed:
        true = [np.where(w, m, t) for w, m, t in zip(judged.wrong, mine, judged.truth, strict=True)]
        again = compare(judged.found, true, judged.bar, dtype)
        judged.truth, judged.wrong, judged.units, judged.ulps = true, again.wrong, again.units, again.ulps


def _excuse(judged: Judgement, values: Judgement, low: Case, truth: Case, upstream: Leaves) -> None:
    """No less accurate than autodiff in the same precision, by more than a factor of 4: no fault of the rule.

    Autodiff is asked at several points one unit in the last place apart, so that its luck at one of them is no measure.
    """
    rng = low.random("autodiff's accuracy")
    errors: list[list[Leaves]] = [[], []]
    for k in range(JITTERS + 1):
        arrays = low.point.arrays if k == 0 else jittered(rng, low.point.arrays, low.dtype)
        near = low.moved(low.point.with_arrays(round_to(arrays, low.dtype)))
        exact = truth.moved(near.point)
        answers = low.auto_as_written(near.point.arrays, upstream), exact.auto(exact.point.arrays, upstream)
        for kind, (rounded, true) in enumerate(zip(*answers, strict=True)):
            with np.errstate(all="ignore"):
                errors[kind].append([np.abs(np.asarray(r, np.float64) - t) for r, t in zip(rounded, true, strict=True)])
    for judgement, of_auto in ((values, errors[0]), (judged, errors[1])):
        for j, (found, true, bar) in enumerate(zip(judgement.found, judgement.truth, judgement.bar, strict=True)):
            with np.errstate(all="ignore"):
                mine = np.abs(np.asarray(found).astype(np.float64) - true)
                lost = ~np.isfinite(of_auto[0][j])
                worst = np.max([np.where(np.isfinite(e[j]), e[j], 0.0) for e in of_auto], initial=0.0)
                judgement.wrong[j] &= ~(lost | (mine <= 4 * worst + bar))
                judgement.ulps[j] = in_ulps(found, true, bar + worst, lost, low.dtype)


@law(everywhere=True)
def linear_in_the_upstream(subject: Subject) -> Verdict | None:
    """B(2u - 3w) = 2 B(u) - 3 B(w); zero gives zero; scaling by 1e-20 or 1e5 scales the answer."""
    case = subject.case
    arrays, (u, w) = case.point.arrays, subject.upstreams[:2]
    pull = lambda upstream: case.hand(arrays, upstream)[1]  # noqa: E731
    of_u, of_w = pull(u), pull(w)
    if not all(np.isfinite(g).all() for g in (*of_u, *of_w)):
        return None  # judged by the law on gradients
    nothing = pull([np.zeros_like(x) for x in u])
    if any(np.any(np.asarray(g) != 0) for g in nothing):
        return Verdict(False, "a zero upstream gradient does not give zero", suspect="not linear")
    dtype = case.working_dtype
    expected = [2 * a - 3 * b for a, b in zip(of_u, of_w, strict=True)]
    bar = [_bar(np.abs(2 * a) + np.abs(3 * b), dtype) for a, b in zip(of_u, of_w, strict=True)]
    both = [(2 * a - 3 * b).astype(a.dtype) for a, b in zip(u, w, strict=True)]
    trials = [("a sum of two upstream gradients", both, expected, bar)]
    # Halves hold no number of 1e-20.
    for factor in (1e-20, 1e5) if np.finfo(case.dtype).bits >= 32 else ():
        scaled = [(factor * a).astype(a.dtype) for a in u]
        allowed = [factor * _bar(np.abs(g), dtype) for g in of_u]
        trials.append((f"an upstream gradient scaled by {factor:g}", scaled, [factor * g for g in of_u], allowed))
    for what, upstream, truth, allowed in trials:
        found = pull(upstream)
        if compare(found, truth, allowed, dtype).passed is not False:
            continue
        # Where terms cancel, rounding alone makes a sum differ from its parts: then the sum is at least right.
        if not case.differentiable or judge_gradient(case, found, upstream, dtype).passed is not True:
            return Verdict(False, f"not linear: {what} does not give that of its parts", suspect="not linear")
    return Verdict(True)


def _bar(size: np.ndarray, dtype: np.dtype) -> np.ndarray:
    rms = np.sqrt(np.mean(size**2)) if size.size else 0.0
    return 16 * unit_roundoff(dtype) * (size + rms) + float(jnp.finfo(dtype).tiny)
