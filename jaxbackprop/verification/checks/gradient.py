"""What every backward pass obeys at every point: its values, its gradients.

A law never prints and never raises. Lower precisions are in `laws_precision.py`; how a rule behaves under JAX's
transformations is in `laws_transforms.py`, at other points than those it was given in `laws_points.py`.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from ...jaxprs.flatten import dual, flatten
from ...jaxprs.inputs import unit_roundoff
from ..decide import confirm, judge_by_differences, judge_gradient, judge_values
from ..diagnosis.evidence import Evidence
from ..oracles.subgradient_interval import admits
from ..rounding import ALLOWED, compare, doubled, spread, tolerance, worst_output
from ..subject import Subject
from .registry import Verdict, law


@law(everywhere=True)
def forward_pass(subject: Subject) -> Verdict:
    """The hand-derived function's value is the plain function's."""
    case = subject.case
    y, _ = case.hand(case.point.arrays, case.upstream(0))
    judged = judge_values(case, y, case.working_dtype)
    detail = "" if judged.passed else worst_output(judged)
    return Verdict(
        judged.passed, detail, units=max(judged.ulps, default=0.0), suspect="" if judged.passed else "forward"
    )


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
    for upstream in subject.upstreams:
        _, found = case.hand(case.point.arrays, upstream)
        judged = judge_gradient(case, found, upstream, case.working_dtype)
        confirm(case, judged, upstream)
        by |= judged.by
        for j in range(len(names)):
            worst[j] = max(worst[j], judged.ulps[j])
            if judged.wrong[j].any():
                failed.setdefault(j, Evidence(case, judged, upstream, j))
            elif judged.undecided[j].any():
                undecided.setdefault(j, f"{int(judged.undecided[j].sum())} elements: the oracles do not agree")
        if judged.outside and not any(w.any() for w in judged.wrong):
            # A direction moves all arguments: the first stands for them.
            failed.setdefault(0, Evidence(case, judged, upstream, 0))
    how = f"settled by {' and '.join(sorted(by))}" if by else ""
    for j, name in enumerate(names):
        if j in failed:
            yield Verdict(False, failed[j].sentence(), f"gradient of {name}", worst[j], failed[j])
        elif j in undecided:
            yield Verdict(None, undecided[j], f"gradient of {name}", worst[j])
        else:
            yield Verdict(True, how, f"gradient of {name}", worst[j])


@law(everywhere=True)
def linear_in_the_upstream(subject: Subject) -> Verdict | None:
    """B(2u - 3w) = 2 B(u) - 3 B(w); zero gives zero; scaling by 1e-20, 1e5 or 1e15 scales the answer."""
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
    for factor in (1e-20, 1e5, 1e15) if np.finfo(case.dtype).bits >= 32 else ():
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


@law()
def taylor_remainder(subject: Subject) -> Verdict | None:
    """f(x + h v) - f(x) - h <g, v> falls as h^2: a second opinion that no step size decides.

    It falls as h where g is wrong. Called wrong only where it does so four steps in a row, far above rounding.
    """
    case = subject.case
    if not case.x.size or not case.outputs or not case.differentiable or case.stops_gradient:
        return None
    upstream = subject.upstreams[0]
    found = case.hand(case.point.arrays, upstream)[1]
    mine = case.directions @ flatten(dual(found))
    weights, s = flatten(dual(upstream)), case.slopes
    noise = 64 * unit_roundoff(case.working_dtype) * (s.size @ np.abs(weights)) + 16 * s.shaken @ np.abs(weights)
    # What the gradient may be off by leaves a remainder that falls as h, too.
    samples = [g for _, g in case.auto_near(upstream, case.working_dtype)]
    bars = flatten(doubled(tolerance(samples[0], spread(samples), case.working_dtype), found))
    allowed = ALLOWED * (np.abs(case.directions) @ bars)
    best, seen = np.inf, 0
    for k in np.flatnonzero(~s.kinked.any(1)):
        with np.errstate(all="ignore"):
            left = np.abs(s.rise[k] @ weights - s.steps * mine[k])
            falls = np.log(left[:-1] / left[1:]) / np.log(s.steps[:-1] / s.steps[1:])
        clear = np.isfinite(falls) & (left[1:] > noise[k] + allowed[k] * s.steps[1:])
        first = clear & (np.abs(falls - 1) < 0.05)
        if np.convolve(first, np.ones(4), "valid").max(initial=0) == 4:
            if admits(case, s, int(k), case.directions[k], weights, mine[k], allowed[k])[0]:
                continue  # a kink that this direction does not see
            return Verdict(False, "it falls as h, not as h^2", suspect="the derivative is another one")
        if clear.any():
            best, seen = min(best, float(falls[np.flatnonzero(clear)[-1]])), seen + 1
    return Verdict(True, f"falls as h^{best:.1f}" if seen else "nothing is left beyond rounding")
