"""What every backward pass obeys on several devices."""

from typing import Any

import jax
import numpy as np

from ...jaxprs.inputs import Leaves
from ..subject import Subject
from .registry import Verdict, law
from .transformations import EXAMPLES, batch, first_line, one_by_one, pulling, stack, transformed


@law()
def shard_map(subject: Subject) -> Verdict | None:
    """Inside `jax.shard_map`, on every device the same or each its own example, it answers what it answers outside."""
    case = subject.case
    mesh = jax.make_mesh((1,), ("device",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    flat = case.point.call(subject.target.hand)
    everywhere = jax.sharding.PartitionSpec()

    def hand(*arrays: Any) -> Leaves:
        return jax.shard_map(lambda *a: flat(*a), mesh=mesh, in_specs=everywhere, out_specs=everywhere)(*arrays)

    y, gradients = case.hand(case.point.arrays, case.upstream(0))
    pull, upstream = pulling(hand, case.point.live), case.upstream(0)
    replicated = transformed(case, pull, case.point.arrays, upstream, [*y, *gradients], "jax.shard_map")
    if not replicated.passed or jax.device_count() == 1 or not case.point.live:
        return replicated
    everything = tuple(range(len(case.point.arrays)))
    detail = f"on {min(jax.device_count(), EXAMPLES)} devices"
    for subset in dict.fromkeys((everything, (case.point.live[0],))):
        verdict = _sharded(subject, subset)
        if verdict is None:
            continue
        if subset == everything or subject.target.kind == "rule" or not verdict.suspect.startswith("fails"):
            return verdict
        # JAX refuses this to every custom_vjp that does not sum over the devices itself: no fault of its formula.
        shared = ", ".join(case.point.label_of(i, subject.target.names) for i in everything if i not in subset)
        detail += f"; JAX refuses {shared} shared by them (a Rule sums over them)"
    return Verdict(True, detail)


def _sharded(subject: Subject, subset: tuple[int, ...]) -> Verdict | None:
    """Each device has its own example of the arrays in `subset`, and all of them the same of the others."""
    case, count = subject.case, min(jax.device_count(), EXAMPLES)
    kind = jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((count,), ("device",), axis_types=(kind,), devices=jax.devices()[:count])
    split, whole = jax.sharding.PartitionSpec("device"), jax.sharding.PartitionSpec()
    rows, upstream = batch(case)[:count], [case.upstream(b) for b in range(count)]
    arrays, flat = case.point.arrays, case.point.call(subject.target.hand)

    def one(*a: Any) -> Leaves:
        return [y[None] for y in flat(*(x[0] if i in subset else x for i, x in enumerate(a)))]

    def hand(*a: Any) -> Leaves:
        specs = tuple(split if i in subset else whole for i in range(len(a)))
        return jax.shard_map(one, mesh=mesh, in_specs=specs, out_specs=split)(*a)

    stacked = [stack([row[i] for row in rows]) if i in subset else x for i, x in enumerate(arrays)]
    together = [np.stack([u[j] for u in upstream]) for j in range(len(case.outputs))]
    names = ", ".join(case.point.label_of(i, subject.target.names) for i in subset)
    where = f"{names} split over {count} devices"
    try:
        with jax.enable_x64(case.dtype.itemsize == 8 or jax.config.read("jax_enable_x64")):
            found = jax.jit(pulling(hand, case.point.live))(stacked, together)
            found = [np.asarray(x) for x in jax.tree.leaves(found)]
    except Exception as error:
        return Verdict(False, f"{where}: {first_line(error)}", suspect="fails under jax.shard_map")
    return one_by_one(subject, rows, upstream, subset, 0, found, where, "jax.shard_map")
