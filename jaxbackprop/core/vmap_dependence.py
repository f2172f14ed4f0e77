"""Which outputs of a function depend on which inputs, and how to make every output depend on all of them.

A `jax.custom_vjp` under `vmap` is only right when an output is mapped as soon as any input is. In JAX 0.10 an output
that does not depend on the mapped input counts its gradient once an example (`f(x, w) = (x w, w^2)` mapped over x
answers 78 for 30), and 0.12 refuses. `add_dependence` adds the missing dependence at no cost: XLA folds it away.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..jaxprs.compat import to_varying, varying_axes
from ..jaxprs.queries import reach


def to_common_axes(args: Any) -> Any:
    """`args`, under `jax.shard_map` all varying over the same devices, as a `jax.custom_vjp` asks of them.

    Weights that every device holds meet examples that differ: without this JAX refuses their gradient, which is then
    another one on each device. Transposed, it is the sum over the devices.
    """
    leaves, tree = jax.tree.flatten(args)
    axes = [varying_axes(x) for x in leaves]
    common = frozenset().union(*axes)
    if not common:
        return args
    return tree.unflatten(
        to_varying(x, sorted(common - mine, key=str)) if common - mine else x
        for x, mine in zip(leaves, axes, strict=True)
    )


def missing_dependence(function: Callable, args: tuple) -> list[frozenset[int]]:
    """For each output leaf of `function(*args)` the positions of the input leaves that it may not depend on.

    Where that is not known it counts as missing: one dependence too many costs nothing, one too few is a wrong
    gradient.
    """
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    all_of_them = frozenset(range(len(jaxpr.invars)))
    return [all_of_them - found for found in reach(jaxpr, [frozenset([i]) for i in range(len(jaxpr.invars))])]


def add_dependence(value: Any, args: tuple, missing: list[frozenset[int]]) -> Any:
    """`value`, each leaf now depending also on the input leaves `missing` for it; no number changes."""
    leaves = jax.tree.leaves(args)
    outputs, tree = jax.tree.flatten(value)
    return tree.unflatten(
        reduce(_depend, (leaves[i] for i in sorted(absent)), out) for out, absent in zip(outputs, missing, strict=True)
    )


def _depend(out: Array, x: Array) -> Array:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    # The sum of no elements: a zero that depends on x in the eyes of vmap, whatever x holds.
    nothing = jnp.sum(jnp.ravel(jax.lax.stop_gradient(x))[:0])
    devices = varying_axes(x) - varying_axes(out)
    if devices:  # what is the same on these devices, a sum over them, stays so
        nothing = jax.lax.psum(nothing, tuple(sorted(devices, key=str)))
    return jnp.where(nothing != 0, jnp.zeros_like(out), out)
