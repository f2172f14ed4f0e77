"""Rules that differ from their plain function on purpose: straight-through, clipped, scaled, reversed gradients.

Nobody can know a purpose; the evidence for one is what stands here, and it never makes a failure a pass.
"""

from collections.abc import Callable

import numpy as np

from ...jaxprs.compat import Jaxpr, inner_jaxprs
from ...jaxprs.inputs import Leaves
from ...jaxprs.queries import holds
from ..examine import compare_gradient
from ..oracles import finite_differences
from ..problem import Problem
from .evidence import Evidence
from .from_numbers import fits


def by_design(evidence: Evidence) -> str:
    """What speaks for an intended difference, in words; empty where nothing does."""
    problem, actual, expected = evidence.problem, evidence.actual, evidence.expected
    if not np.isfinite(actual).all():
        return ""
    if _is_identity(problem, evidence.leaf):
        return _of_an_identity(actual, np.asarray(evidence.upstream[0], np.float64))
    steps = any(holds(problem.trace("value").jaxpr, name) for name in _STEPS)
    if steps and not np.any(expected) and _passes(evidence) and _is_constant_in_pieces(problem, evidence.leaf):
        return "straight-through estimator: the plain function is a step, whose derivative is zero; a gradient passes"
    if holds(problem.trace("value").jaxpr, "stop_gradient") and not np.any(expected) and np.any(actual):
        return "the plain function stops this gradient, the backward pass lets one through"
    silent = _silent_outputs(evidence)
    if silent:
        return f"no gradient passes output {', '.join(map(str, silent))}: handed out beside the value; else it is right"
    return ""


def _passes(evidence: Evidence) -> bool:
    """Whether some gradient passes: a number of the upstream gradient's size, and not of its rounding."""
    arriving = max((float(np.abs(u).max(initial=0.0)) for u in evidence.upstream), default=0.0)
    return float(np.abs(evidence.actual).max(initial=0.0)) > 1e-3 * arriving


def _is_constant_in_pieces(problem: Problem, leaf: int) -> bool:
    """Whether the plain function's derivative by that argument is zero everywhere, as that of a step is."""
    if not problem.differentiable:
        return False
    points = (-problem.x, problem.x + _aside(problem, 0.7), _aside(problem, 3.0))
    return not any(np.any(problem.at_flat(x).autodiff_vjp(problem.upstream(0))[1][leaf]) for x in points)


def _aside(problem: Problem, reach: float) -> np.ndarray:
    return problem.random("aside", reach).uniform(-reach, reach, problem.x.size)


def _silent_outputs(evidence: Evidence) -> list[int]:
    """The outputs whose upstream gradients are ignored, where that is all that is wrong: a softmax's largest score."""
    problem, upstream = evidence.problem, evidence.upstream
    if len(upstream) < 2 or not problem.differentiable:
        return []

    def only(kept: Callable[[int], bool]) -> Leaves:
        return [u if kept(j) else np.zeros_like(u) for j, u in enumerate(upstream)]

    silent = []
    for j in range(len(upstream)):
        alone = only(lambda k, j=j: k == j)
        if not any(map(np.any, problem.handwritten_vjp(alone)[1])):
            silent.append(j)
    if not silent or len(silent) == len(upstream):
        return []
    others = only(lambda k: k not in silent)
    actual = problem.handwritten_vjp(others)[1]
    return silent if compare_gradient(problem, actual, others).passed else []


def _is_identity(problem: Problem, leaf: int) -> bool:
    """Whether the value is that argument: here, a little aside, and at both signs of a common size.

    Clip is the identity at its bounds, softplus at large values.
    """
    for x in (problem.x, problem.x + _aside(problem, 0.1) * (1 + np.abs(problem.x)), _aside(problem, 3.0)):
        here = problem.at_flat(x)
        value, x = here.value(), here.inputs.arrays[here.inputs.live[leaf]]
        if len(value) != 1 or value[0].shape != x.shape or not np.array_equal(value[0], x):
            return False
    return True


def knows_more(problem: Problem) -> str:
    """The plain function is a constant, and its derivative rule says more than that."""
    if not problem.x.size:
        return ""
    handed = _hands_out_values(problem)
    if handed:
        return f"the same comes as the gradient of {handed}, whatever arrives: a new value handed out in its place"
    if _draws_until_accepted(problem.trace("value").jaxpr):
        return "the plain function draws at random until it accepts: the derivative of the distribution is meant"
    points = (problem.x, -problem.x, _aside(problem, 3.0))
    if any(np.any(finite_differences.slopes_of(problem.at_flat(x)).value) for x in points):
        return ""
    return "the plain function is constant: only its derivative rule can be meant"


def _hands_out_values(problem: Problem) -> str:
    """The arguments whose gradient is not zero, the same for every upstream gradient, and not that of the sum."""
    if not problem.differentiable:
        return ""
    u = problem.upstream(0)
    zero, one = ([np.zeros_like(x) for x in u], [np.ones_like(x) for x in u])
    nothing, something = (problem.handwritten_vjp(upstream)[1] for upstream in (zero, u))
    of_the_sum = problem.autodiff_vjp(one)[1]
    same = [
        np.any(a) and np.array_equal(a, b) and not fits(np.asarray(a), np.asarray(t))
        for a, b, t in zip(nothing, something, of_the_sum, strict=True)
    ]
    # Where all gradients do so, the upstream gradient was forgotten.
    return ", ".join(n for n, s in zip(problem.names(), same, strict=True) if s) if not all(same) else ""


def _draws_until_accepted(jaxpr: Jaxpr) -> bool:
    for eqn in jaxpr.eqns:
        inside = inner_jaxprs(eqn)
        if eqn.primitive.name == "while" and any(holds(b, name) for b in inside for name in _DRAWS):
            return True
        if any(_draws_until_accepted(b) for b in inside):
            return True
    return False


_DRAWS = ("random_bits", "threefry2x32", "rng_bit_generator")


_STEPS = ("round", "floor", "ceil", "sign", "gt", "ge", "lt", "le", "argmax", "convert_element_type")


def _of_an_identity(found: np.ndarray, upstream: np.ndarray) -> str:
    """The function answers its argument unchanged: it exists for its backward pass alone."""
    start = "the value is the argument itself, so only the backward pass can be meant: "
    if not np.any(found):
        return start + "a stopped gradient"
    weight = float(np.sum(upstream**2))
    k = float(np.sum(found * upstream)) / weight if weight else 0.0
    if k and fits(found, k * upstream):
        return start + (f"gradient reversal, times {k:.4g}" if k < 0 else f"a gradient scaled by {k:.4g}")
    inside = np.abs(found) <= np.abs(upstream) * (1 + 1e-6)
    if inside.all() and np.all(found * upstream >= 0):
        return start + "gradient clipping, no element grows or turns its sign"
    return start + "the upstream gradient is changed on its way"
