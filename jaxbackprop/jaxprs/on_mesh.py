"""A function that talks across the axes of a mesh, made one of arrays that hold the shards of all devices."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .compat import to_varying, varying_axes
from .inputs import inexact


def on_mesh(
    function: Callable[..., Any], axes: Mapping[str, int], varying: Sequence[frozenset[str]]
) -> Callable[..., list[Any]]:
    """`function` of flat shards as a function of arrays with further axes in front, by `jax.shard_map`.

    Args:
        function: of flat arrays, called inside of `jax.shard_map`.
        axes: the axes of the mesh and their sizes.
        varying: for each array the axes over which it differs: in their order these stand in front of it.
            Where none differs over any, all are taken to, and JAX's check of that (`check_vma`) is off.

    Returns:
        A function of such arrays that answers the floating-point outputs, all axes in front of each.
    """
    mesh = jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(jax.sharding.AxisType.Auto,) * len(axes))
    checked = any(varying)
    specs = [jax.P(*(a for a in axes if a in differs or not checked)) for differs in varying]

    def of_shards(*shards: Any) -> list[Any]:
        outputs = inexact(function(*(x.reshape(x.shape[len(spec) :]) for x, spec in zip(shards, specs, strict=True))))
        if checked:
            outputs = [to_varying(y, [a for a in axes if a not in varying_axes(y)]) for y in outputs]
        return [jnp.expand_dims(y, tuple(range(len(axes)))) for y in outputs]

    return jax.shard_map(of_shards, mesh=mesh, in_specs=tuple(specs), out_specs=jax.P(*axes), check_vma=checked)


def on_every_device(x: Any, axes: Mapping[str, int], differs: frozenset[str], *, checked: bool) -> Any:
    """The array that holds the shard `x` on each device."""
    return np.broadcast_to(x, (*(n for a, n in axes.items() if a in differs or not checked), *np.shape(x)))
