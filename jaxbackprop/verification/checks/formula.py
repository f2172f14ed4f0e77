"""Against the formula that a rule declares in NumPy: the one oracle that owes nothing to JAX."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..oracles.formula import Limits, elementwise, limits_of
from ..problem import Problem
from ..wording import expected_and_got, index
from .result import CheckResult

DECLARED = "another value than that of the declared formula"
LIMITS = "another value or slope at infinity than the limits of the declared formula"


def declared_formula(problem: Problem) -> CheckResult | None:
    """The value is that of the formula that the rule declares in NumPy, to a millionth."""
    rule = problem.function.rule
    if rule is None or rule.formula is None:
        return None
    with np.errstate(all="ignore"):
        args = problem.given.rebuild(problem.given.arrays)
        expected = jax.tree.leaves(rule.formula(*args, **problem.function.settings))
    actual, _ = problem.handwritten_vjp(problem.upstream(0))
    if [np.shape(a) for a in actual] != [np.shape(e) for e in expected]:
        shapes = (", ".join(str(np.shape(x)) for x in each) for each in (actual, expected))
        return CheckResult(False, "got a value of shape {}, expected {}".format(*shapes), suspect=DECLARED)
    resolution = 1e-6 if problem.dtype.itemsize >= 8 else 1e-2
    for a, e in zip(actual, expected, strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        finite = np.isfinite(e)  # a textbook's formula may overflow where the rule does not
        size = np.abs(e[finite]).max(initial=0)
        wrong = finite & ~(np.abs(a - np.where(finite, e, 0)) <= resolution * size)
        if wrong.any():
            at = tuple(map(int, np.argwhere(wrong)[0]))
            return CheckResult(False, f"output{index(at)}: {expected_and_got(e[at], a[at])}", suspect=DECLARED)
    return CheckResult(True)


def limits_at_infinity(problem: Problem) -> CheckResult | None:
    """An elementwise rule that declares a formula has its limits, in value and slope, at plus and minus infinity."""
    rule = problem.function.rule
    if rule is None or rule.formula is None or not problem.main:
        return None
    if not elementwise(rule, problem.function.settings):
        return None
    return _at_infinity(problem.function.handwritten, limits_of(rule, problem.function.settings))


def _at_infinity(function: Callable, expected: Limits) -> CheckResult:
    @jax.jit
    def value_and_slope(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, pull = jax.vjp(function, z)
        return value, pull(jnp.ones_like(value))[0]

    value, slope = map(np.asarray, value_and_slope(jnp.array([-jnp.inf, jnp.inf], jnp.float32)))
    wrong = [
        f"{what} at {end}: {expected_and_got(limit, a)}"
        for what, actual, limits in (("value", value, expected.value), ("slope", slope, expected.slope))
        for end, a, limit in zip(("-inf", "inf"), actual, limits, strict=True)
        if limit is not None and not (a == limit or abs(a - limit) <= 1e-5 * abs(limit))
    ]
    return CheckResult(not wrong, "; ".join(wrong), suspect=LIMITS if wrong else "")
