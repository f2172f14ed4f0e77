"""What a rule keeps: residuals, tracers, arrays closed over; and whether anything was exercised at all."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...jaxprs.compat import custom_vjp_parts
from ...jaxprs.inputs import is_key, replaced
from ...jaxprs.queries import UNTRACEABLE
from ..problem import Problem
from .result import CheckResult


def exercised(problem: Problem) -> Iterator[CheckResult]:
    """Every argument's gradient is somewhere not zero: a gradient never exercised was not tested."""
    names = problem.names()
    seen = [False] * len(names)
    for upstream in problem.upstreams:
        for j, g in enumerate(problem.handwritten_vjp(upstream)[1]):
            seen[j] = seen[j] or bool(np.any(g != 0))
    for name, ever in zip(names, seen, strict=True):
        if not ever and problem.x.size:
            yield CheckResult(
                True, f"the gradient of {name} is zero at {problem.inputs.label}", "not exercised", note=True
            )


def memory(problem: Problem) -> CheckResult | None:
    """No more is kept for the backward pass than autodiff, arguments and outputs together hold, twice."""
    if not problem.differentiable:
        return None

    def kept(function: Any) -> int:
        flat = problem.inputs.call(function)
        with problem.x64():
            back = jax.eval_shape(
                lambda a: jax.vjp(
                    lambda *x: flat(*replaced(a, problem.inputs.live, x)), *(a[i] for i in problem.inputs.live)
                )[1],
                problem.inputs.arrays,
            )
        return sum(
            int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(back) if hasattr(x.dtype, "itemsize")
        )

    try:
        by_hand, by_auto = kept(problem.function.handwritten), kept(problem.function.plain)
    except (TypeError, ValueError):
        return None  # not called with the arrays alone, or not differentiated so: judged by other checks
    given = sum(x.nbytes for x in problem.inputs.arrays if not is_key(x))
    answered = sum(int(np.prod(o.shape)) * o.dtype.itemsize for o in problem.outputs)
    detail = f"keeps {by_hand} bytes, autodiff {by_auto}"
    if by_hand > 2 * (by_auto + given + answered) + 256:
        detail += f", more than twice what autodiff keeps, arguments and outputs ({given + answered}) together"
        return CheckResult(True, detail, "residual memory", note=True)
    return CheckResult(True, detail, "residual memory")


def nothing_leaks(problem: Problem) -> CheckResult:
    """No tracer survives a call. A large array closed over instead of passed is noted."""
    _ = problem.trace("handwritten")  # that it can be traced at all is another law's concern
    try:
        with jax.checking_leaks():
            again = problem.traced(problem.handwritten_flat(), [*problem.inputs.arrays, *problem.upstream(0)])
        problem.programs.get(("called again", "jaxpr"), lambda: again)
    except Exception as error:
        # JAX sometimes fails while it describes a leak: what only raises while leaks are looked for is one.
        leak = str(error).split("\n")[0][:160] if "leak" in str(error).lower() else "a leaked tracer"
        return CheckResult(False, leak, suspect="a tracer is kept beyond its call")
    largest = max((int(np.size(c)) for c in problem.trace("handwritten").consts), default=0)
    inputs = max((x.size for x in problem.inputs.arrays), default=0)
    if largest > max(1024, 4 * inputs):
        return CheckResult(True, f"an array of {largest} numbers is closed over", note=True)
    return CheckResult(True)


def no_gradient_of_integers(problem: Problem) -> CheckResult | None:
    """An integer argument gets no gradient."""
    hand = problem.function.handwritten
    halves = custom_vjp_parts(hand)
    others = [i for i, x in enumerate(problem.inputs.arrays) if i not in problem.inputs.live and not is_key(x)]
    if halves is None or halves.nondiff_argnums or not others:
        return None

    def cotangents(*arrays: Any) -> Any:
        y, saved = halves.forward(*problem.inputs.rebuild(arrays))
        given = [g for g, x in zip(halves.backward(saved, y), problem.inputs.args, strict=True) if not _has_floats(x)]
        return [g for g in jax.tree.leaves(given) if jnp.issubdtype(g.dtype, jnp.inexact)]

    try:
        problem.trace("cotangents of integers", cotangents, *problem.inputs.arrays)
        found = problem.as_written("cotangents of integers", problem.inputs.arrays)
    except (*UNTRACEABLE, AttributeError):
        return None  # its two halves are not called with what its own call hands them: judged by other checks
    if any(np.any(np.asarray(g) != 0) for g in found):
        names = ", ".join(problem.inputs.label_of(i, problem.function.names) for i in others)
        return CheckResult(
            False, f"a gradient is given to {names}, which has none", suspect="an integer is given a gradient"
        )
    return CheckResult(True)


def _has_floats(argument: Any) -> bool:
    return any(jnp.issubdtype(getattr(x, "dtype", np.asarray(x).dtype), jnp.inexact) for x in jax.tree.leaves(argument))
