"""What every backward pass obeys in float32, bfloat16 and float16: the accuracy that the precision allows, no bias."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from ...jaxprs.inputs import Leaves, jittered, round_to, unit_roundoff
from ...jaxprs.queries import UNTRACEABLE, inexact_constants
from ..decide import judge_gradient
from ..diagnosis.evidence import Evidence
from ..oracles.autodiff import JITTERS, Case
from ..points import domain_of
from ..rounding import Judgement, allow_for_rounding, compare, in_ulps, spread, tolerance, worst_output
from ..subject import FLOATS, Subject
from .registry import Verdict, law


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
    except UNTRACEABLE as error:
        try:
            _ = low.auto_program
        except UNTRACEABLE:
            return None  # the plain function does not work in this precision either
        return Verdict(False, f"{type(error).__name__}: {error}".split("\n")[0], name, suspect="dtype")
    del program
    if not _evaluates(low):
        return None
    upstream = [u.astype(t) for u, t in zip(low.upstream(0), low.answers, strict=True)]
    truth = subject.rounded(dtype)
    y, found = low.hand(low.point.arrays, upstream)
    exact = [np.asarray(u).astype(np.float64) for u in upstream]
    samples = truth.auto_near(exact, dtype)
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
            "forward: " + worst_output(values),
            name,
            worst,
            suspect=f"accuracy: less accurate than {name} allows",
        )
    return Verdict(True, "", name, worst)


def _evaluates(low: Case) -> bool:
    """Whether the plain function's derivative can be had in this precision: a matrix is not factored in bfloat16."""
    try:
        low.auto_as_written(low.point.arrays, low.upstream(0))
    except NotImplementedError:
        return False
    return True


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


DRAWS = 16
"""At so many points and cotangents the signed errors are averaged."""


@law()
def bias(subject: Subject) -> Verdict | None:
    """In bfloat16 the errors of a gradient are as often too large as too small: their mean is not biased.

    Truncating instead of rounding, say, keeps every element within its tolerance and shrinks them all. The signed
    errors, in units of the type's round-off, are averaged over elements; each draw gives one mean, as the elements of
    one gradient may share an error. Autodiff in bfloat16 is excused what it does itself.
    """
    numbers = [subject.point.arrays[i] for i in subject.point.live]
    if subject.target.typed or not subject.case.differentiable or any(map(np.iscomplexobj, numbers)):
        return None
    if subject.case.dtype != np.float64 or not subject.case.x.size or subject.case.x.size > 4096:
        return None
    low = subject.at(jnp.bfloat16)
    try:
        answers = low.answers
    except UNTRACEABLE:
        return None  # judged by the law on precision
    if not _evaluates(low):
        return None
    rng, means = low.random("bias"), ([], [])
    for k in range(DRAWS):
        moved = [_elsewhere(subject, i, x, rng) for i, x in enumerate(subject.case.point.arrays)]
        arrays = round_to(moved, jnp.bfloat16)
        upstream = [u.astype(t) for u, t in zip(low.upstream(k), answers, strict=True)]
        exact = [np.asarray(u).astype(np.float64) for u in upstream]
        # By hand in float64 was judged by its own law (at a kink, autodiff may answer another right value).
        truth = subject.case.hand(round_to(arrays, np.float64), exact)[1]
        means[0].append(_mean_error(low.hand(arrays, upstream)[1], truth))
        means[1].append(_mean_error(low.auto_as_written(arrays, upstream)[1], truth))
    mine, autodiffs = np.array(means[0]), np.array(means[1])
    of_hand, of_auto = abs(mine.mean()), abs(autodiffs.mean())
    by_chance = 5 * mine.std() / np.sqrt(DRAWS)
    # A constant that bfloat16 does not hold, such as 0.3, is off by up to one unit in every element.
    constants = inexact_constants(subject.case.hand_program.jaxpr, jnp.bfloat16)
    if of_hand > max(0.35 + constants, by_chance, 2 * of_auto + 0.2):
        return Verdict(
            False,
            f"the mean error over elements is {mine.mean():+.2f} units of round-off, autodiff's {of_auto:.2f}",
            "bfloat16 bias",
            suspect="accuracy: biased in bfloat16 (truncated instead of rounded, summed in too narrow a type)",
        )
    return Verdict(True, f"mean error {mine.mean():+.2f} units of round-off", "bfloat16 bias")


def _elsewhere(subject: Subject, i: int, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other numbers of about that size: so many units away that their errors say nothing of one another's."""
    if i not in subject.point.live:
        return x
    far, near = (x * (1 + share * rng.uniform(-1, 1, np.shape(x))) for share in (0.25, 4e-3))
    inside = domain_of(subject, i).holds
    return far if inside is not None and inside(far) else near


def _mean_error(found: Leaves, truth: Leaves) -> float:
    """The mean over elements of (|found| - |truth|) / (u |truth|), where that is no large error but one of rounding."""
    errors = []
    for f, t in zip(found, truth, strict=True):
        f, t = np.asarray(f, np.float64).reshape(-1), np.asarray(t, np.float64).reshape(-1)
        size = np.abs(t)
        matters = np.isfinite(t) & np.isfinite(f) & (size > 1e-3 * np.max(size, initial=0.0)) & (size > 1e-30)
        errors.append((f[matters] - t[matters]) * np.sign(t[matters]) / (size[matters] * unit_roundoff(jnp.bfloat16)))
    joined = np.concatenate(errors) if errors else np.zeros(0)
    joined = joined[np.abs(joined) < 4]
    return float(np.mean(joined)) if joined.size else 0.0
