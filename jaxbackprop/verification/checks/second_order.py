"""What every backward pass obeys when it is differentiated again, and beside a forward mode."""

from collections.abc import Callable

import jax
import numpy as np

from ...jaxprs.flatten import flatten
from ...jaxprs.inputs import Leaves, jittered, normal_like, replaced, round_to, unit_roundoff
from ...jaxprs.number_systems.arithmetic import Noisy
from ...jaxprs.number_systems.interpreter import FLOAT64, evaluate
from ..decide import judge_gradient
from ..oracles.autodiff import JITTERS, Case
from ..rounding import Judgement, allow_for_rounding, compare, spread, tolerance
from ..subject import Subject
from .registry import Verdict, law
from .transformations import first_line


@law()
def second_order(subject: Subject) -> Verdict | None:
    """The derivative of the backward pass, with a cotangent of its own, is the plain function's second derivative."""
    case = _smooth(subject)
    if case is None:
        return None
    arrays, upstream, live = case.point.arrays, case.upstream(0), case.point.live

    def twice(pull: Callable) -> Callable:
        def second(arrays: Leaves, upstream: Leaves, second: Leaves) -> Leaves:
            def gradients(floats: Leaves, u: Leaves) -> Leaves:
                return pull(replaced(arrays, live, floats), u)[1]

            _, back = jax.vjp(gradients, [arrays[i] for i in live], upstream)
            return jax.tree.leaves(back(second))

        return second

    weights = round_to(_dense(case), case.dtype)
    weights = [w.astype(arrays[i].dtype) for w, i in zip(weights, live, strict=True)]
    try:
        plain = case.trace(twice(case.plain_pull()), arrays, upstream, weights, once=("twice, plain",))
    except NotImplementedError:
        return None  # nor does the plain function have a second derivative
    try:
        pull = case.point.pulling(subject.target.hand)
        by_hand = case.trace(twice(pull), arrays, upstream, weights, once=("twice, by hand",))
    except Exception as error:
        return Verdict(False, first_line(error), suspect="cannot be differentiated a second time")
    found = evaluate(by_hand, [*arrays, *upstream, *weights])
    rng = case.random("second order")
    samples = [evaluate(plain, [*arrays, *upstream, *weights], FLOAT64)]
    for _ in range(JITTERS):
        moved = jittered(rng, [*arrays, *upstream, *weights], case.working_dtype)
        samples.append(evaluate(plain, moved, FLOAT64))
    judged = compare(found, samples[0], tolerance(samples[0], spread(samples), case.working_dtype), case.working_dtype)
    if judged.passed is False:
        noise = Noisy(unit_roundoff(case.working_dtype), rng)
        noisy = [evaluate(plain, [*arrays, *upstream, *weights], noise) for _ in range(JITTERS)]
        allow_for_rounding(judged, [samples[0], *noisy], case.working_dtype)
    if any(x.any() for x in judged.undecided):
        return Verdict(True, "autodiff's second derivative is not finite: not compared")
    if judged.passed is False and _at_a_seam(case, found[: len(live)], samples[0][: len(live)], upstream, weights):
        return Verdict(True, "autodiff's second derivative is wrong here, the difference of its first is the truth")
    if judged.passed is False:
        j = next(j for j, w in enumerate(judged.wrong) if w.any())
        at = tuple(np.argwhere(judged.wrong[j])[0])
        name = case.names()[j] if j < len(live) else "the upstream gradient"
        detail = (
            f"with respect to {name}{list(map(int, at))}: {judged.found[j][at]:.6g}, true {judged.truth[j][at]:.6g}"
        )
        return Verdict(
            False,
            detail,
            suspect="right once, wrong when differentiated again: something it depends on "
            "is held constant (stop_gradient, a float cast to an integer and back, a residual of the wrong kind)",
        )
    return Verdict(True)


def _at_a_seam(case: Case, found: Leaves, truth: Leaves, upstream: Leaves, weights: Leaves) -> bool:
    """Whether differences of autodiff's first derivative agree with `found` and not with autodiff's second.

    So it is at the seam of a smooth function written in pieces: sin x / x at 0.
    """
    direction = case.random("seam").choice([-1.0, 1.0], case.x.size)
    h = 1e-3 * max(1.0, float(np.max(np.abs(case.x), initial=0.0)))
    sides = []
    for sign in (1, -1):
        arrays = [
            x[0] if i in case.point.live else x
            for i, x in enumerate(case.unflat((case.x + sign * h * direction)[None]))
        ]
        gradients = case.auto(arrays, upstream)[1]
        sides.append(sum(float(np.sum(np.real(w * g))) for w, g in zip(weights, gradients, strict=True)))
    slope = (sides[0] - sides[1]) / (2 * h)
    mine, auto = (float(direction @ flatten(g)) for g in (found, truth))
    close = 1e-3 * (abs(slope) + abs(mine))
    return abs(mine - slope) <= close < abs(auto - slope)


def _smooth(subject: Subject) -> Case | None:
    """The case, or where autodiff is no measure (at a kink, at a seam) one a little aside of it; None if none is."""
    case = subject.case
    if not case.x.size or not case.outputs or not case.differentiable:
        return None
    rng, rough = case.random("aside"), None
    for scale in (0.0, 1e-2, 1e-1):
        aside = [
            (x + scale * (1 + np.abs(x)) * rng.uniform(-1, 1, x.shape)).astype(x.dtype) if i in case.point.live else x
            for i, x in enumerate(case.point.arrays)
        ]
        here = case.moved(case.point.with_arrays(aside)) if scale else case
        _, found = here.hand(here.point.arrays, case.upstream(0))
        judged = judge_gradient(here, found, case.upstream(0), here.working_dtype)
        if judged.passed is False and not scale:
            return case  # wrong already: the law on gradients says so
        if judged.passed and not judged.by and not here.slopes.kinked.any():
            if _steady(judged):
                return here
            # Rounding alone moves autodiff's first derivative that far: at a seam such as max(x, y) at a tie.
            rough = rough or here
    return rough


def _steady(judged: Judgement) -> bool:
    """Whether the bars are small beside the gradient itself."""
    size = [np.abs(t) + (np.sqrt(np.mean(np.abs(t) ** 2)) if np.size(t) else 0.0) for t in judged.truth]
    return all(np.all(b <= 1e-2 * s + 1e-30) for b, s in zip(judged.bar, size, strict=True))


def _dense(case: Case) -> Leaves:
    return normal_like(case.random("second cotangent"), [case.point.arrays[i] for i in case.point.live])


@law()
def adjoint(subject: Subject) -> Verdict | None:
    """<u, J v> = <B u, v>, where the function has a forward mode: both modes tell of the same derivative."""
    case = subject.case
    if subject.target.kind in ("rule", "custom_vjp"):
        return None  # a custom_vjp has no forward mode
    flat, live = case.point.call(subject.target.hand), case.point.live
    direction = [w.astype(case.point.arrays[i].dtype) for w, i in zip(_dense(case), live, strict=True)]

    def push(arrays: Leaves, v: Leaves) -> Leaves:
        return jax.jvp(lambda *x: flat(*replaced(arrays, live, x)), [arrays[i] for i in live], v)[1]

    try:
        program = case.trace(push, case.point.arrays, direction, once=("push",))
    except TypeError:
        return None
    tangents = evaluate(program, [*case.point.arrays, *direction])
    upstream = case.upstream(0)
    _, gradients = case.hand(case.point.arrays, upstream)
    with np.errstate(all="ignore"):
        left = [u * t for u, t in zip(upstream, tangents, strict=True)]
        right = [g * v for g, v in zip(gradients, direction, strict=True)]
        one, two = (float(sum(np.sum(x).real for x in side)) for side in (left, right))
        size = float(sum(np.sum(np.abs(x)) for x in (*left, *right)))
    if not np.isfinite(one + two):
        return None
    if abs(one - two) > 1e3 * unit_roundoff(case.working_dtype) * size:
        return Verdict(False, f"<u, J v> = {one:.9g}, <B u, v> = {two:.9g}", suspect="the modes disagree")
    return Verdict(True)
