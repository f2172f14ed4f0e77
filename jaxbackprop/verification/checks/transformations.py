"""What every backward pass obeys under JAX's transformations: jit, vmap, scan, checkpoint.

`shard_map` is in `laws_devices.py`, the second order in `laws_second.py`.

All are traced by JAX; all but `jit` are then evaluated in NumPy, so that nothing needs compiling.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...core.vmap_dependence import reach
from ...jaxprs.inputs import Leaves, is_key, replaced, unit_roundoff
from ...jaxprs.number_systems.interpreter import evaluate
from ...jaxprs.queries import holds
from ..oracles.autodiff import Case
from ..rounding import ALLOWED, Judgement, compare, spread, tolerance
from ..subject import Subject
from .registry import Verdict, law

EXAMPLES = 3
"""How many examples a mapped axis holds."""


def _agree(found: Leaves, expected: Leaves, dtype: Any) -> Judgement:
    """Two ways to compute one thing: a thousand units in the last place, and no more."""
    u = unit_roundoff(dtype)
    bar = [1000 / ALLOWED * u * (np.abs(x) + _largest(x)) + float(jnp.finfo(dtype).tiny) for x in expected]
    return compare(found, expected, bar, dtype)


def _largest(x: Any) -> float:
    x = np.abs(np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64))
    return float(np.max(np.where(np.isfinite(x), x, 0), initial=0.0))


def first_line(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}".strip().split("\n")[0][:160]


@law()
def structure(subject: Subject) -> Verdict:
    """Each cotangent has the shape, the dtype and the weak type of its argument."""
    case = subject.case
    for position, aval in zip(case.point.live, case.hand_program.out_avals[len(case.outputs) :], strict=True):
        x = case.point.arrays[position]
        if (aval.shape, aval.dtype) != (x.shape, x.dtype) or aval.weak_type:
            name = case.point.label_of(position, subject.target.names)
            weak = ", weakly typed" if aval.weak_type else ""
            return Verdict(
                False,
                f"{name} is {x.dtype}{x.shape}, its gradient {aval.dtype}{aval.shape}{weak}",
                suspect="the gradient's shape or type is not its argument's",
            )
    return Verdict(True)


@law()
def same_value_when_differentiated(subject: Subject) -> Verdict:
    """The value is the same, to the last bit, whether or not a derivative is asked for; and when asked twice."""
    case = subject.case
    plain = case.trace(case.point.call(subject.target.hand), *case.point.arrays, once=("value by hand",))
    value = evaluate(plain, case.point.arrays)
    y, gradients = case.hand(case.point.arrays, case.upstream(0))
    pull = case.point.pulling(subject.target.hand)
    traced_again = case.trace(pull, case.point.arrays, case.upstream(0), once=("asked again",))
    again = evaluate(traced_again, [*case.point.arrays, *case.upstream(0)])
    for what, one, two in (("differentiated", value, y), ("asked again", [*y, *gradients], again)):
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two, strict=True)):
            if what == "differentiated" and _agree(y, value, case.working_dtype).passed is not False:
                continue
            return Verdict(False, f"another answer when {what}", suspect="not deterministic: a random draw of its own")
    return Verdict(True)


@law()
def jit(subject: Subject) -> Verdict | None:
    """Compiled by XLA and run on the default device, in the arguments' own precision, the answers are the same."""
    if not subject.case.differentiable:
        return None
    wide = subject.point.dtype.itemsize == 8 and not subject.target.typed
    dtype = np.dtype(np.float32) if wide else subject.exact_dtype if subject.target.typed else subject.point.dtype
    case = subject.at(dtype)
    upstream = [u.astype(t) for u, t in zip(case.upstream(0), case.answers, strict=True)]
    found = jax.jit(case.point.pulling(subject.target.hand))(case.point.arrays, upstream)
    y, gradients = (list(map(np.asarray, part)) for part in found)
    truth = subject.rounded(dtype)
    exact = [np.asarray(u).astype(np.float64 if not np.iscomplexobj(u) else np.complex128) for u in upstream]
    samples = truth.auto_near(exact, dtype)
    by_hand = case.hand(case.point.arrays, upstream)
    for k, part in enumerate((y, gradients)):
        bar = tolerance(samples[0][k], spread([s[k] for s in samples]), dtype)
        bar = [b + _largest(x) * unit_roundoff(dtype) for b, x in zip(bar, by_hand[k], strict=True)]
        judged = compare(part, by_hand[k], bar, dtype)
        if judged.passed is False:
            return Verdict(
                False,
                f"compiled and interpreted differ by {max(judged.units):.0f} units of D",
                suspect="the compiled program gives another answer",
            )
    return Verdict(True)


def batch(case: Case) -> list[Leaves]:
    """The case's arrays, EXAMPLES times: each time its numbers a little different; integers and keys the same."""
    rng = case.random("batch")
    made = []
    for b in range(EXAMPLES):
        made.append(
            [
                x * (1 + 1e-3 * b * rng.uniform(0.5, 1, x.shape)).astype(_real(x.dtype)) if i in case.point.live else x
                for i, x in enumerate(case.point.arrays)
            ]
        )
    return made


def _real(dtype: Any) -> Any:
    return np.zeros(0, dtype).real.dtype


def _subsets(case: Case) -> Iterator[tuple[int, ...]]:
    """The arrays to map over: every choice of the differentiable ones where they are few, and all arrays."""
    live = tuple(case.point.live)
    everything = tuple(range(len(case.point.arrays)))
    if len(live) <= 3:
        for n in range(1, len(live) + 1):
            yield from itertools.combinations(live, n)
    else:
        yield from ((i,) for i in live[:4])
        yield live
    if everything != live:
        yield everything


def stack(rows: Sequence[Any], axis: int = 0) -> Any:
    """Arrays, keys among them, along a new axis."""
    return jnp.stack(list(rows)) if is_key(rows[0]) else np.stack(rows, axis)


@law()
def vmap(subject: Subject) -> Verdict:
    """Mapped over any of its arguments, and then differentiated, it answers what it answers one by one."""
    case = subject.case
    rows, upstream = batch(case), [case.upstream(b) for b in range(EXAMPLES)]
    for subset in _subsets(case):
        for axis in (0, -1) if len(subset) == len(case.point.arrays) else (0,):
            if axis == -1 and any(is_key(case.point.arrays[i]) for i in subset):
                continue
            verdict = _mapped(subject, case, rows, upstream, subset, axis)
            if verdict is not None:
                return verdict
    return Verdict(True)


def _mapped(
    subject: Subject, case: Case, rows: list[Leaves], upstream: list[Leaves], subset: tuple[int, ...], axis: int
) -> Verdict | None:
    arrays, live = case.point.arrays, case.point.live
    stacked = [stack([row[i] for row in rows], axis) if i in subset else x for i, x in enumerate(arrays)]
    axes = [axis if i in subset else None for i in range(len(arrays))]
    names = [case.point.label_of(i, subject.target.names) for i in subset]
    where = f"over {', '.join(names)}" + (" along the last axis" if axis else "")
    flat = case.point.call(subject.target.hand)
    pull = pulling(jax.vmap(lambda *a: flat(*a), tuple(axes)), live)
    together = [np.stack([u[j] for u in upstream]) for j in range(len(case.outputs))]
    try:
        program = case.trace(pull, stacked, together, once=("vmap", subset, axis))
    except Exception as error:
        if isinstance(error, NotImplementedError) and not _maps(case, stacked, together, axes):
            return None  # nor can the plain function be mapped
        return Verdict(False, f"{where}: {first_line(error)}", suspect="fails under vmap")
    try:
        found = evaluate(program, [*stacked, *together])
    except jax.errors.JaxRuntimeError:
        if any(holds(program.jaxpr, name) for name in ("pure_callback", "io_callback")):
            return None  # an error raised on purpose: mapped, a `cond` runs both of its branches
        raise
    return one_by_one(subject, rows, upstream, subset, axis, found, where, "vmap")


def _maps(case: Case, stacked: Leaves, together: Leaves, axes: Sequence[int | None]) -> bool:
    """Whether the plain function can be mapped and then differentiated."""
    flat = case.point.call(case.target.primal)
    try:
        case.trace(pulling(jax.vmap(lambda *a: flat(*a), tuple(axes)), case.point.live), stacked, together)
    except NotImplementedError:
        return False
    return True


def one_by_one(
    subject: Subject,
    rows: list[Leaves],
    upstream: list[Leaves],
    subset: tuple[int, ...],
    axis: int,
    found: Leaves,
    where: str,
    what: str,
) -> Verdict | None:
    """What was found for all examples at once, held against each of them alone; None where they agree."""
    case, arrays, live = subject.case, subject.case.point.arrays, subject.case.point.live
    alone = [
        case.hand([row[i] if i in subset else arrays[i] for i in range(len(arrays))], u)
        for row, u in zip(rows, upstream, strict=True)
    ]
    values = [np.stack([y[j] for y, _ in alone]) for j in range(len(case.outputs))]
    gradients = []
    for j, i in enumerate(live):
        each = [g[j] for _, g in alone]
        gradients.append(np.stack(each, axis) if i in subset else np.sum(each, 0))
    judged = _agree(found, [*values, *gradients], case.working_dtype)
    if judged.passed is not False:
        return None
    j = next(j for j, w in enumerate(judged.wrong) if w.any()) - len(values)
    name = f"the gradient of {case.names()[j]}" if j >= 0 else "the value"
    at = tuple(np.argwhere(judged.wrong[j + len(values)])[0])
    got, want = judged.found[j + len(values)][at], judged.truth[j + len(values)][at]
    untied = what == "vmap" and _some_output_is_untied(case, subset)
    return Verdict(
        False,
        f"{where}: {name} is {got:.6g}, one by one {want:.6g}",
        suspect=f"wrong under {what}" + ": an output that does not depend on the mapped argument" * untied,
    )


def _some_output_is_untied(case: Case, subset: tuple[int, ...]) -> bool:
    inputs = [frozenset([i]) for i in range(len(case.point.arrays))]
    return any(not (found & set(subset)) for found in reach(case.value_program.jaxpr, inputs))


@law()
def scan(subject: Subject) -> Verdict:
    """Inside `lax.scan`, differentiated through, it answers what it answers outside."""
    case = subject.case
    rows, upstream = batch(case), [case.upstream(b) for b in range(EXAMPLES)]
    flat, live = case.point.call(subject.target.hand), case.point.live
    stacked = [stack([row[i] for row in rows]) for i in range(len(case.point.arrays))]
    together = [np.stack([u[j] for u in upstream]) for j in range(len(case.outputs))]
    pull = pulling(lambda *a: lax.scan(lambda carry, x: (carry, flat(*x)), None, list(a))[1], live)

    alone = [case.hand(row, u) for row, u in zip(rows, upstream, strict=True)]
    expected = [np.stack([y[j] for y, _ in alone]) for j in range(len(case.outputs))]
    expected += [np.stack([g[j] for _, g in alone]) for j in range(len(live))]
    return transformed(case, pull, stacked, together, expected, "scan")


@law()
def checkpoint(subject: Subject) -> Verdict:
    """Recomputed in the backward pass by `jax.checkpoint`, it answers the same."""
    case = subject.case
    # A function of its own each time: `jax.checkpoint` remembers what it traced, also of a rule since redefined.
    hand = jax.checkpoint(lambda *args: subject.target.hand(*args), static_argnums=_static(subject))
    pull = case.point.pulling(hand)
    y, gradients = case.hand(case.point.arrays, case.upstream(0))
    return transformed(case, pull, case.point.arrays, case.upstream(0), [*y, *gradients], "jax.checkpoint")


def _static(subject: Subject) -> tuple[int, ...]:
    """The positions of arguments that hold a Python value which is no array: static for `jax.checkpoint`."""
    owners = set(subject.point.owners)
    return tuple(i for i, x in enumerate(subject.point.args) if i not in owners and jax.tree.leaves(x))


def pulling(hand: Callable[..., Leaves], live: Sequence[int]) -> Callable[..., tuple[Leaves, Leaves]]:
    """`(arrays, cotangents) -> (outputs, gradients)` of a function of flat arrays."""

    def pull(arrays: Leaves, upstream: Leaves) -> tuple[Leaves, Leaves]:
        y, back = jax.vjp(lambda *floats: hand(*replaced(arrays, live, floats)), *(arrays[i] for i in live))
        return y, list(back([u.astype(v.dtype) for u, v in zip(upstream, y, strict=True)]))

    return pull


def transformed(case: Case, pull: Callable, arrays: Leaves, upstream: Leaves, expected: Leaves, what: str) -> Verdict:
    """Whether a transformed function answers what is expected of it."""
    try:
        program = case.trace(pull, arrays, upstream, once=(what,))
    except Exception as error:
        return Verdict(False, first_line(error), suspect=f"fails under {what}")
    judged = _agree(evaluate(program, [*arrays, *upstream]), expected, case.working_dtype)
    if judged.passed is False:
        return Verdict(False, f"under {what} off by {max(judged.units):.3g} units of D", suspect=f"wrong under {what}")
    return Verdict(True)
