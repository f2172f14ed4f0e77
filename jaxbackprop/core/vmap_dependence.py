"""Which outputs of a function depend on which inputs, and how to make every output depend on all of them.

A `jax.custom_vjp` under `vmap` is only right when an output is mapped as soon as any input is. In JAX 0.10 an output
that does not depend on the mapped input counts its gradient once an example (`f(x, w) = (x w, w^2)` mapped over x
answers 78 for 30), and 0.12 refuses. `add_dependence` adds the missing dependence at no cost: XLA folds it away.
"""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal


def reach(jaxpr: Jaxpr, inputs: list[frozenset[int]]) -> list[frozenset[int]]:
    """For each output of `jaxpr` the union of the sets that stand at the inputs it surely depends on.

    What cannot be told (the outputs of a loop, of an equation with several results) counts as depending on nothing:
    one dependence too many costs nothing, one too few is a wrong gradient.
    """
    known = dict(zip(jaxpr.invars, inputs, strict=True))

    def at(atom: Any) -> frozenset[int]:
        return frozenset() if isinstance(atom, Literal) else known.get(atom, frozenset())

    for eqn in jaxpr.eqns:
        arriving = [at(v) for v in eqn.invars]
        body = _body(eqn)
        if body is not None:
            known |= dict(zip(eqn.outvars, reach(body, arriving), strict=True))
        elif len(eqn.outvars) == 1 and not any(_holds_jaxpr(p) for p in eqn.params.values()):
            known[eqn.outvars[0]] = reduce(or_, arriving, frozenset())
    return [at(v) for v in jaxpr.outvars]


def _body(eqn: JaxprEqn) -> Jaxpr | None:
    """The jaxpr of a plain call (jit, a custom rule), which gets the equation's inputs one to one; a loop has none."""
    if eqn.primitive.name not in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call"):
        return None
    found = eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"]
    return found.jaxpr if isinstance(found, ClosedJaxpr) else found


def _holds_jaxpr(parameter: Any) -> bool:
    members = parameter if isinstance(parameter, tuple | list) else (parameter,)
    return any(isinstance(p, ClosedJaxpr | Jaxpr) for p in members)


def to_common_axes(args: Any) -> Any:
    """`args`, under `jax.shard_map` all varying over the same devices, as a `jax.custom_vjp` asks of them.

    Weights that every device holds meet examples that differ: without this JAX refuses their gradient, which is then
    another one on each device. Transposed, it is the sum over the devices.
    """
    leaves, tree = jax.tree.flatten(args)
    over = [_varies_over(x) for x in leaves]
    every = frozenset().union(*over)
    if not every:
        return args
    return tree.unflatten(
        jax.lax.pcast(x, tuple(sorted(every - mine, key=str)), to="varying") if every - mine else x
        for x, mine in zip(leaves, over, strict=True)
    )


def _varies_over(x: Any) -> frozenset[Any]:
    kind = getattr(jax.typeof(x), "manual_axis_type", None)
    return frozenset(kind.varying) if kind is not None else frozenset()


def missing_dependence(function: Callable, args: tuple) -> list[frozenset[int]]:
    """For each output leaf of `function(*args)` the positions of the input leaves that it does not depend on."""
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
    return jnp.where(nothing != 0, jnp.zeros_like(out), out)
