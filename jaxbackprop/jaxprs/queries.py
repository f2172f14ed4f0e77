"""Questions about a jaxpr: what it holds, in which types it computes, which outputs depend on which inputs."""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .compat import RULES, ClosedJaxpr, Jaxpr, Literal, aval, body_of, inner_jaxprs
from .flatten import flatten
from .inputs import jittered, unit_roundoff
from .number_systems.arithmetic import Noisy
from .number_systems.interpreter import FLOAT64, evaluate

UNTRACEABLE = (TypeError, ValueError, NotImplementedError)
"""What JAX raises where a function cannot be traced or differentiated at the types it is given."""


def over_rows(function: Callable, axes: Sequence[int | None], count: int) -> Callable:
    """`function(arrays, *more)` mapped over the arrays whose axis is 0 and over all `more`.

    One row after the other where a primitive cannot be mapped.
    """

    def mapped(arrays: Sequence[Any], *more: Any) -> Any:
        try:
            return jax.vmap(function, (list(axes), *(0 for _ in more)), axis_size=count)(arrays, *more)
        except NotImplementedError:
            pass

        def row(i: Any) -> Any:
            at = partial(lax.dynamic_index_in_dim, index=i, keepdims=False)
            given = [at(x) if a == 0 else x for x, a in zip(arrays, axes, strict=True)]
            return function(given, *jax.tree.map(at, more))

        return lax.map(row, jnp.arange(count))

    return mapped


def narrowest(jaxpr: Jaxpr, dtype: Any) -> np.dtype:
    """The narrowest floating-point type of any intermediate of `jaxpr`, `dtype` where none is narrower."""
    found = np.dtype(dtype)
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            dtype = getattr(aval(v), "dtype", None)  # a token or a reference has none
            if dtype is not None and jnp.issubdtype(dtype, np.floating) and coarser(dtype, found):
                found = np.dtype(dtype)
        for body in inner_jaxprs(eqn):
            found = narrowest(body, found)
    return found


def coarser(a: Any, b: Any) -> bool:
    """Whether type `a` rounds more than `b`."""
    return unit_roundoff(a) > unit_roundoff(b)


def holds(jaxpr: Jaxpr, name: str) -> bool:
    """Whether a primitive of this name stands anywhere in `jaxpr`."""
    return any(eqn.primitive.name == name or any(holds(b, name) for b in inner_jaxprs(eqn)) for eqn in jaxpr.eqns)


def inexact_constants(jaxpr: Jaxpr, dtype: Any) -> int:
    """How many of the numbers written in a program `dtype` does not hold exactly; each value counts once."""
    return len(_inexact(jaxpr, dtype))


def _inexact(jaxpr: Jaxpr, dtype: Any) -> set[float]:
    found = set()
    for eqn in jaxpr.eqns:
        for v in eqn.invars:
            if isinstance(v, Literal) and np.ndim(v.val) == 0 and jnp.issubdtype(aval(v).dtype, jnp.floating):
                value = float(v.val)
                if value != float(np.asarray(value).astype(dtype)):
                    found.add(value)
        found = found.union(*(_inexact(body, dtype) for body in inner_jaxprs(eqn)))
    return found


def shaken(program: ClosedJaxpr, arrays: Sequence[Any], rng: np.random.Generator, times: int) -> np.ndarray:
    """How far each number a program answers moves when its arguments and every step are rounded at random."""
    here = flatten(evaluate(program, arrays, FLOAT64))
    noise = Noisy(unit_roundoff(np.float64), rng)
    found = [flatten(evaluate(program, jittered(rng, arrays, np.float64), noise)) for _ in range(times)]
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.max([np.abs(y - here) for y in found], 0), posinf=0.0)


def reach(jaxpr: Jaxpr, inputs: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """For each output of `jaxpr` the union of the sets that stand at the inputs it surely depends on.

    What cannot be told (the outputs of a loop, of an equation with several results) counts as depending on nothing.
    """
    known = dict(zip(jaxpr.invars, inputs, strict=True))

    def at(atom: Any) -> frozenset[int]:
        return frozenset() if isinstance(atom, Literal) else known.get(atom, frozenset())

    for eqn in jaxpr.eqns:
        arriving = [at(v) for v in eqn.invars]
        body = body_of(eqn)
        if body is not None:
            known |= dict(zip(eqn.outvars, reach(body[0], arriving), strict=True))
        elif len(eqn.outvars) == 1 and not inner_jaxprs(eqn):
            known[eqn.outvars[0]] = reduce(or_, arriving, frozenset())
    return [at(v) for v in jaxpr.outvars]


def outputs_read(jaxpr: Jaxpr) -> dict[int, list[int]]:
    """For each rule's equation, by id, the outputs that something reads."""
    read = {v for e in jaxpr.eqns for v in e.invars if not isinstance(v, Literal)}
    read |= {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    found: dict[int, list[int]] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in RULES:
            found[id(eqn)] = [i for i, v in enumerate(eqn.outvars) if v in read]
        for body in inner_jaxprs(eqn):
            found |= outputs_read(body)
    return found


def saved_bytes(program: ClosedJaxpr) -> int:
    """The size of what a program hands out, its own inputs and constants not counted: each array once."""
    jaxpr = program.jaxpr
    made = {v for v in jaxpr.outvars if not isinstance(v, Literal)} - {*jaxpr.invars, *jaxpr.constvars}
    return sum(aval(v).size * aval(v).dtype.itemsize for v in made)


def only_forgets_weak_type(eqn: Any) -> bool:
    """Whether the equation changes nothing but that a type was weak, which no reader wants to see."""
    return eqn.primitive.name == "convert_element_type" and aval(eqn.outvars[0]).dtype == aval(eqn.invars[0]).dtype
