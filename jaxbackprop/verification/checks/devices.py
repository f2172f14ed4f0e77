"""On several devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from ...jaxprs.inputs import Leaves
from ..problem import Problem
from .result import CheckResult, raised_under, what_happened
from .transformations import EXAMPLES, batch, one_by_one, program_of, pulling, stack, transformed


def shard_map(problem: Problem) -> CheckResult | None:
    """Inside `jax.shard_map`, all devices alike or an example each, the results are those outside."""
    mesh = jax.make_mesh((1,), ("device",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    flat = problem.inputs.call(problem.function.handwritten)
    everywhere = jax.sharding.PartitionSpec()

    def hand(*arrays: Any) -> Leaves:
        return jax.shard_map(lambda *a: flat(*a), mesh=mesh, in_specs=everywhere, out_specs=everywhere)(*arrays)

    y, gradients = problem.handwritten_at(problem.inputs.arrays, problem.upstream(0))
    program = partial(program_of, problem, "jax.shard_map", hand, problem.inputs.arrays, problem.upstream(0))
    replicated = transformed(problem, program, [*y, *gradients], "jax.shard_map")
    if not replicated.passed or jax.device_count() == 1 or not problem.inputs.live:
        return replicated
    everything = tuple(range(len(problem.inputs.arrays)))
    detail = f"on {min(jax.device_count(), EXAMPLES)} devices"
    for subset in dict.fromkeys((everything, (problem.inputs.live[0],))):
        result = _sharded(problem, subset)
        if result is None:
            continue
        if subset == everything or problem.function.kind == "rule" or not result.suspect.startswith("fails"):
            return result
        # JAX refuses this to every custom_vjp that does not sum over the devices itself: no fault of its formula.
        shared = ", ".join(problem.inputs.label_of(i, problem.function.names) for i in everything if i not in subset)
        detail += f"; JAX refuses {shared} shared by them (a Rule sums over them)"
    return CheckResult(True, detail)


def _sharded(problem: Problem, subset: tuple[int, ...]) -> CheckResult | None:
    """Each device has its own example of the arrays in `subset`, and all of them the same of the others."""
    count = min(jax.device_count(), EXAMPLES)
    kind = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((count,), ("device",), axis_types=(kind,), devices=jax.devices()[:count])
    split, whole = jax.sharding.PartitionSpec("device"), jax.sharding.PartitionSpec()
    rows, upstream = batch(problem)[:count], [problem.upstream(b) for b in range(count)]
    arrays = problem.inputs.arrays

    def sharded(function: Callable[..., Any]) -> Callable[..., Leaves]:
        flat = problem.inputs.call(function)

        def one(*a: Any) -> Leaves:
            return [y[None] for y in flat(*(x[0] if i in subset else x for i, x in enumerate(a)))]

        specs = tuple(split if i in subset else whole for i in range(len(arrays)))
        return jax.shard_map(one, mesh=mesh, in_specs=specs, out_specs=split)

    stacked = [stack([row[i] for row in rows]) if i in subset else x for i, x in enumerate(arrays)]
    together = [np.stack([u[j] for u in upstream]) for j in range(len(problem.outputs))]
    names = ", ".join(problem.inputs.label_of(i, problem.function.names) for i in subset)
    where = f"{names} split over {count} devices"

    def run(function: Callable[..., Any]) -> Leaves:
        with problem.x64():
            found = jax.jit(pulling(sharded(function), problem.inputs.live))(stacked, together)
            return [np.asarray(x) for x in jax.tree.leaves(found)]

    try:
        found = run(problem.function.handwritten)
    except Exception as error:
        if "varying" in str(error):
            # A loop that starts with zeros must say over which axes they vary: no fault of the formula.
            detail = f"not supported under jax.shard_map unless check_vma=False: {what_happened(error)}"
            return CheckResult(True, detail, note=True)
        return raised_under(problem, error, "jax.shard_map", where, lambda: run(problem.function.plain))
    return one_by_one(problem, rows, upstream, subset, 0, found, where, "jax.shard_map")
