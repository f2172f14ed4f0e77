"""Under JAX's transformations: jit, vmap, scan, checkpoint; its shapes and types; called again.

`shard_map` is in `devices.py`, the second order in `second_order.py`.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...jaxprs.inputs import Leaves, is_key, replaced, unit_roundoff
from ...jaxprs.queries import holds, reach
from ...jaxprs.widen import wide_type
from ..examine import Comparison, compared, near_enough
from ..problem import CALLBACKS, Problem, Program, compile_together
from ..rounding import ALLOWED_NARROW, largest, rounding, scale_of, size, unmeasured
from ..wording import expected_and_got
from .result import CheckResult, raised_under, raises

EXAMPLES = 3
"""How many examples a mapped axis holds."""


def _agree(problem: Problem, actual: Leaves, expected: Leaves) -> Comparison:
    """Two ways to compute outputs and gradients."""
    dtype, bounds = problem.coarsest, unmeasured(expected, problem.coarsest)
    found = compared(actual, expected, bounds, dtype)
    if found.passed is not False:
        return found
    # Where terms cancel, rounding is large beside what is left of them, as in a softmax that is saturated.
    y, gradients = rounding(problem, "handwritten", problem.upstream(0), scale_of(unit_roundoff(dtype)))
    moved = [EXAMPLES * ALLOWED_NARROW * largest(m) for m in (*y, *gradients)]
    return compared(actual, expected, [b + m for b, m in zip(bounds, moved, strict=False)], dtype)


def _shown(found: Comparison) -> str:
    """The largest difference, in units of the type's resolution."""
    return f"{max(found.ulps, default=0.0):.3g} ulp"


def structure(problem: Problem) -> CheckResult:
    """Each gradient has the shape, the dtype and the weak type of its argument."""
    for position, aval in zip(
        problem.inputs.live, problem.trace("handwritten").out_avals[len(problem.outputs) :], strict=True
    ):
        x = problem.inputs.arrays[position]
        if (aval.shape, aval.dtype) != (x.shape, x.dtype) or aval.weak_type:
            name = problem.inputs.label_of(position, problem.function.names)
            weak = ", weakly typed" if aval.weak_type else ""
            return CheckResult(
                False,
                f"gradient of {name}: expected {x.dtype}{[*x.shape]}, got {aval.dtype}{[*aval.shape]}{weak}",
                suspect="the gradient's shape or type is not its argument's",
            )
    return CheckResult(True)


def same_value_when_differentiated(problem: Problem) -> CheckResult:
    """The value is the same whether or not a derivative is taken, and the same when called again."""
    arrays, upstream = problem.inputs.arrays, problem.upstream(0)
    value = problem.as_written("handwritten value", arrays)
    y, gradients = problem.handwritten_at(arrays, upstream)
    again = [*y, *gradients]
    if str(problem.trace("called again", problem.handwritten_flat(), *arrays, *upstream)) != str(
        problem.trace("handwritten")
    ):
        again = problem.as_written("called again", [*arrays, *upstream])
    for what, one, two in (("differentiated", value, y), ("called again", [*y, *gradients], again)):
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two, strict=True)):
            if what == "differentiated" and _agree(problem, y, value).passed is not False:
                continue
            near = what == "differentiated" and problem.iterates
            if near and compared(y, value, near_enough(problem, value), problem.dtype).passed:
                continue
            return CheckResult(
                False, f"another value when {what}", suspect="not deterministic: a random draw of its own"
            )
    return CheckResult(True)


def jit(problem: Problem) -> CheckResult | None:
    """Compiled and run on the default device, in the arguments' own precision, the results are the same.

    Products are taken in full precision: that an accelerator shortens float32 products by default (TF32 on GPUs,
    bfloat16 on TPUs) is a setting of JAX's, not a fault of the rule.
    """
    if not problem.differentiable:
        return None
    given = problem.given.dtype
    dtype = problem.dtype if problem.function.typed else np.dtype(np.float32) if given.itemsize == 8 else given
    low = problem.at(dtype) if dtype != problem.dtype else problem
    try:
        upstream = [u.astype(t) for u, t in zip(low.upstream(0), low.output_types, strict=True)]
        with jax.default_matmul_precision("highest"):
            found = jax.jit(low.handwritten_pull())(low.inputs.arrays, upstream)
        written = low.handwritten_at(low.inputs.arrays, upstream)
    except Exception:
        if raises(lambda: jax.jit(low.inputs.call(low.function.plain))(*low.inputs.arrays)):
            return None  # a matrix is not factored in bfloat16, say
        raise
    if _same(found, written, low.coarsest, 16):
        return CheckResult(True)
    exact = [np.asarray(u).astype(wide_type(u.dtype)) for u in upstream]
    scale = scale_of(unit_roundoff(low.coarsest))
    for part, as_written, moved in zip(
        found, written, rounding(problem.rounded_to(dtype), "handwritten", exact, scale), strict=True
    ):
        unit = unit_roundoff(low.coarsest)
        bounds = [
            ALLOWED_NARROW * m + 32 * unit * (size(x) + largest(x)) for m, x in zip(moved, as_written, strict=True)
        ]
        differing = compared(list(map(np.asarray, part)), as_written, bounds, low.dtype)
        if differing.passed is False:
            return CheckResult(
                False,
                f"compiled with and without optimisation differ by {_shown(differing)}",
                suspect="the compiled program gives another answer",
            )
    return CheckResult(True)


def _same(found: Sequence[Leaves], expected: Sequence[Leaves], dtype: Any, units: float) -> bool:
    """Whether outputs and gradients agree to some units in the last place."""
    unit = unit_roundoff(dtype)
    return all(
        compared(list(map(np.asarray, f)), e, [units * unit * (size(x) + largest(x)) for x in e], dtype).passed
        is not False
        for f, e in zip(found, expected, strict=True)
    )


def batch(problem: Problem) -> list[Leaves]:
    """The problem's arrays, EXAMPLES times: each time its numbers a little different; integers and keys the same."""
    rng = problem.random("batch")
    made = []
    for b in range(EXAMPLES):
        made.append(
            [
                x * (1 + 1e-3 * b * rng.uniform(0.5, 1, x.shape)).astype(_real(x.dtype))
                if i in problem.inputs.live
                else x
                for i, x in enumerate(problem.inputs.arrays)
            ]
        )
    return made


def _real(dtype: Any) -> Any:
    return np.zeros(0, dtype).real.dtype


def _subsets(problem: Problem) -> Iterator[tuple[int, ...]]:
    """The arrays to map over: every choice of the differentiable ones where they are few, and all arrays."""
    live = tuple(problem.inputs.live)
    everything = tuple(range(len(problem.inputs.arrays)))
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


def transformed_programs(problem: Problem) -> Iterator[Program]:
    """The programs of the checks `vmap`, `scan` and `checkpoint`, those that can be traced."""
    yield from _mapped_programs(problem, *_batch(problem), _mapped_axes(problem))
    for traced in (_scanned, _checkpointed):
        try:
            yield traced(problem)
        except Exception:
            continue  # it is raised again where the program is needed


def vmap(problem: Problem) -> CheckResult:
    """Mapped over any of its arguments and differentiated, the results are those of one example at a time."""
    (rows, upstream), mapped = _batch(problem), _mapped_axes(problem)
    compile_together(_mapped_programs(problem, rows, upstream, mapped))
    for subset, axis in mapped:
        result = _mapped(problem, rows, upstream, subset, axis)
        if result is not None:
            return result
    return CheckResult(True)


def _batch(problem: Problem) -> tuple[list[Leaves], list[Leaves]]:
    """The examples that are mapped over, and an upstream gradient for each."""
    return batch(problem), [problem.upstream(b) for b in range(EXAMPLES)]


def _mapped_axes(problem: Problem) -> list[tuple[tuple[int, ...], int]]:
    """Which arrays are mapped, along which axis."""
    return [
        (subset, axis)
        for subset in _subsets(problem)
        for axis in ((0, -1) if len(subset) == len(problem.inputs.arrays) else (0,))
        if axis == 0 or not any(is_key(problem.inputs.arrays[i]) for i in subset)
    ]


def _mapped_programs(
    problem: Problem, rows: list[Leaves], upstream: list[Leaves], mapped: Sequence[tuple[tuple[int, ...], int]]
) -> Iterator[Program]:
    """The mapped and differentiated programs, up to the first that cannot be traced."""
    for subset, axis in mapped:
        stacked, together, axes = _stacked(problem, rows, upstream, subset, axis)
        try:
            name = _trace_mapped(problem, stacked, together, axes)
        except Exception:
            return  # it is raised again where its turn comes
        yield problem, name, [*stacked, *together]


def _stacked(
    problem: Problem, rows: list[Leaves], upstream: list[Leaves], subset: tuple[int, ...], axis: int
) -> tuple[Leaves, Leaves, list[int | None]]:
    """The arrays, those in `subset` for all examples at once, the upstream gradients likewise, and the mapped axes."""
    arrays = problem.inputs.arrays
    stacked = [stack([row[i] for row in rows], axis) if i in subset else x for i, x in enumerate(arrays)]
    together = [np.stack([u[j] for u in upstream]) for j in range(len(problem.outputs))]
    return stacked, together, [axis if i in subset else None for i in range(len(arrays))]


def _trace_mapped(problem: Problem, stacked: Leaves, together: Leaves, axes: Sequence[int | None]) -> str:
    """The name of the program that is mapped and then differentiated, once it is traced."""
    name, count = f"vmap {axes}", len(stacked)
    flat = problem.inputs.call(problem.function.handwritten)
    pull = pulling(jax.vmap(lambda *a: flat(*a), tuple(axes)), problem.inputs.live)
    problem.trace(name, lambda *a: pull(list(a[:count]), list(a[count:])), *stacked, *together)
    return name


def _mapped(
    problem: Problem, rows: list[Leaves], upstream: list[Leaves], subset: tuple[int, ...], axis: int
) -> CheckResult | None:
    stacked, together, axes = _stacked(problem, rows, upstream, subset, axis)
    names = [problem.inputs.label_of(i, problem.function.names) for i in subset]
    where = f"over {', '.join(names)}" + (" along the last axis" if axis else "")
    try:
        name = _trace_mapped(problem, stacked, together, axes)
    except Exception as error:
        return raised_under(problem, error, "vmap", where, lambda: _map_plain(problem, stacked, together, axes))
    try:
        found = problem.as_written(name, [*stacked, *together])
    except jax.errors.JaxRuntimeError:
        if holds(problem.trace(name).jaxpr, *CALLBACKS):
            return None  # an error raised on purpose: mapped, a `cond` runs both of its branches
        raise
    return one_by_one(problem, rows, upstream, subset, axis, found, where, "vmap")


def _map_plain(problem: Problem, stacked: Leaves, together: Leaves, axes: Sequence[int | None]) -> None:
    """Trace the plain function mapped and then differentiated."""
    flat = problem.inputs.call(problem.function.plain)
    with problem.x64():
        jax.make_jaxpr(pulling(jax.vmap(lambda *a: flat(*a), tuple(axes)), problem.inputs.live))(stacked, together)


def one_by_one(
    problem: Problem,
    rows: list[Leaves],
    upstream: list[Leaves],
    subset: tuple[int, ...],
    axis: int,
    found: Leaves,
    where: str,
    what: str,
) -> CheckResult | None:
    """What was found for all examples at once, held against each of them alone; None where they agree."""
    arrays, live = problem.inputs.arrays, problem.inputs.live
    alone = [
        problem.handwritten_at([row[i] if i in subset else arrays[i] for i in range(len(arrays))], u)
        for row, u in zip(rows, upstream, strict=True)
    ]
    values = [np.stack([y[j] for y, _ in alone]) for j in range(len(problem.outputs))]
    gradients = []
    for j, i in enumerate(live):
        each = [g[j] for _, g in alone]
        gradients.append(np.stack(each, axis) if i in subset else np.sum(each, 0))
    differing = _agree(problem, found, [*values, *gradients])
    if differing.passed is not False:
        return None
    j = next(j for j, w in enumerate(differing.wrong) if w.any()) - len(values)
    name = f"the gradient of {problem.names()[j]}" if j >= 0 else "the value"
    at = tuple(np.argwhere(differing.wrong[j + len(values)])[0])
    got, want = differing.actual[j + len(values)][at], differing.expected[j + len(values)][at]
    missing = what == "vmap" and _some_output_misses_a_dependence(problem, subset)
    return CheckResult(
        False,
        f"{where}: {name}: {expected_and_got(want, got)}",
        suspect=f"wrong under {what}" + ": an output that does not depend on the mapped argument" * missing,
    )


def _some_output_misses_a_dependence(problem: Problem, subset: tuple[int, ...]) -> bool:
    inputs = [frozenset([i]) for i in range(len(problem.inputs.arrays))]
    return any(not (found & set(subset)) for found in reach(problem.trace("value").jaxpr, inputs))


def scan(problem: Problem) -> CheckResult:
    """Inside `lax.scan`, differentiated through, the results are those outside."""
    rows, upstream = _batch(problem)
    alone = [problem.handwritten_at(row, u) for row, u in zip(rows, upstream, strict=True)]
    expected = [np.stack([y[j] for y, _ in alone]) for j in range(len(problem.outputs))]
    expected += [np.stack([g[j] for _, g in alone]) for j in range(len(problem.inputs.live))]
    return transformed(problem, lambda: _scanned(problem), expected, "scan")


def _scanned(problem: Problem) -> Program:
    rows, upstream = _batch(problem)
    flat = problem.inputs.call(problem.function.handwritten)
    stacked = [stack([row[i] for row in rows]) for i in range(len(problem.inputs.arrays))]
    together = [np.stack([u[j] for u in upstream]) for j in range(len(problem.outputs))]
    return program_of(
        problem, "scan", lambda *a: lax.scan(lambda carry, x: (carry, flat(*x)), None, list(a))[1], stacked, together
    )


def checkpoint(problem: Problem) -> CheckResult:
    """Recomputed in the backward pass by `jax.checkpoint`, the results are the same."""
    y, gradients = problem.handwritten_at(problem.inputs.arrays, problem.upstream(0))
    return transformed(problem, lambda: _checkpointed(problem), [*y, *gradients], "jax.checkpoint")


def _checkpointed(problem: Problem) -> Program:
    # A function of its own each time: `jax.checkpoint` remembers what it traced, also of a rule since redefined.
    hand = jax.checkpoint(problem.inputs.call(problem.function.handwritten))
    return program_of(problem, "jax.checkpoint", hand, problem.inputs.arrays, problem.upstream(0))


def pulling(hand: Callable[..., Leaves], live: Sequence[int]) -> Callable[..., tuple[Leaves, Leaves]]:
    """`(arrays, cotangents) -> (outputs, gradients)` of a function of flat arrays."""

    def pull(arrays: Leaves, upstream: Leaves) -> tuple[Leaves, Leaves]:
        y, back = jax.vjp(lambda *floats: hand(*replaced(arrays, live, floats)), *(arrays[i] for i in live))
        return y, list(back([u.astype(v.dtype) for u, v in zip(upstream, y, strict=True)]))

    return pull


def program_of(problem: Problem, name: str, hand: Callable[..., Leaves], arrays: Leaves, upstream: Leaves) -> Program:
    """The backward pass of a function of flat arrays, traced under that name."""
    pull, count, given = pulling(hand, problem.inputs.live), len(arrays), [*arrays, *upstream]
    problem.trace(name, lambda *a: pull(list(a[:count]), list(a[count:])), *given)
    return problem, name, given


def transformed(problem: Problem, program: Callable[[], Program], expected: Leaves, what: str) -> CheckResult:
    """Whether the program of a transformed function answers what is expected of it."""
    try:
        _, name, given = program()
    except Exception as error:
        return raised_under(problem, error, what)
    try:
        found = problem.as_written(name, given)
    except Exception as error:
        noted = raised_under(problem, error, what)
        if not noted.note:
            raise
        return noted
    differing = _agree(problem, found, expected)
    if differing.passed is False:
        return CheckResult(False, f"under {what} off by {_shown(differing)}", suspect=f"wrong under {what}")
    return CheckResult(True)
