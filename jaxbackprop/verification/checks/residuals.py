"""What a rule keeps: residuals, tracers, arrays closed over; and whether anything was exercised at all."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...jaxprs.inputs import is_key, replaced
from ...jaxprs.number_systems.interpreter import evaluate
from ...jaxprs.queries import UNTRACEABLE
from ..subject import Subject
from .registry import Verdict, law


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
    """What is kept for the backward pass is of the size of what autodiff keeps, or of arguments and outputs."""
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
        return None  # not called with the arrays alone, or not differentiated so: judged by other laws
    given = sum(x.nbytes for x in case.point.arrays if not is_key(x))
    answered = sum(int(np.prod(o.shape)) * o.dtype.itemsize for o in case.outputs)
    detail = f"keeps {by_hand} bytes, autodiff {by_auto}"
    if by_hand > 2 * (by_auto + given + answered) + 256:
        return Verdict(
            False,
            f"{detail}; arguments and outputs are {given + answered}",
            "residual memory",
            suspect="more is kept for the backward pass than autodiff keeps, arguments and outputs together, twice",
        )
    return Verdict(True, detail, "residual memory")


@law()
def nothing_leaks(subject: Subject) -> Verdict:
    """No tracer survives a call, and no large array is closed over instead of passed."""
    case = subject.case
    _ = case.hand_program  # that it can be traced at all is another law's concern
    try:
        with jax.checking_leaks():
            case.trace(case.point.pulling(subject.target.hand), case.point.arrays, case.upstream(0))
    except Exception as error:
        # JAX sometimes fails while it describes a leak: what only raises while leaks are looked for is one.
        leak = str(error).split("\n")[0][:160] if "leak" in str(error).lower() else "a leaked tracer"
        return Verdict(False, leak, suspect="a tracer is kept beyond its call")
    largest = max((int(np.size(c)) for c in case.hand_program.consts), default=0)
    inputs = max((x.size for x in case.point.arrays), default=0)
    if largest > max(1024, 4 * inputs):
        return Verdict(False, f"an array of {largest} numbers is closed over", suspect="closed-over array")
    return Verdict(True)


@law()
def no_gradient_of_integers(subject: Subject) -> Verdict | None:
    """An integer argument gets no gradient: a number given in its place is lost without a word."""
    case, hand = subject.case, subject.target.hand
    forward, backward = getattr(hand, "fwd", None), getattr(hand, "bwd", None)
    others = [i for i, x in enumerate(case.point.arrays) if i not in case.point.live and not is_key(x)]
    if forward is None or backward is None or not others or getattr(hand, "nondiff_argnums", ()):
        return None

    def cotangents(*arrays: Any) -> Any:
        y, saved = forward(*case.point.rebuild(arrays))
        given = [g for g, x in zip(backward(saved, y), case.point.args, strict=True) if not _has_floats(x)]
        return [g for g in jax.tree.leaves(given) if jnp.issubdtype(g.dtype, jnp.inexact)]

    try:
        found = evaluate(case.trace(cotangents, *case.point.arrays), case.point.arrays)
    except (*UNTRACEABLE, AttributeError):
        return None  # its two halves are not called with what its own call hands them: judged by other laws
    if any(np.any(np.asarray(g) != 0) for g in found):
        names = ", ".join(case.point.label_of(i, subject.target.names) for i in others)
        return Verdict(
            False, f"a gradient is given to {names}, which has none", suspect="an integer is given a gradient"
        )
    return Verdict(True)


def _has_floats(argument: Any) -> bool:
    return any(jnp.issubdtype(getattr(x, "dtype", np.asarray(x).dtype), jnp.inexact) for x in jax.tree.leaves(argument))
