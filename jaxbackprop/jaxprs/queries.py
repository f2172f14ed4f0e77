"""What a traced program is made of: questions about a jaxpr."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from .flatten import flatten
from .inputs import jittered, unit_roundoff
from .number_systems.arithmetic import Noisy
from .number_systems.interpreter import FLOAT64, evaluate
from .rules import aval, bodies

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
            kind = getattr(v.aval, "dtype", None)
            if kind is not None and jnp.issubdtype(kind, np.floating) and coarser(kind, found):
                found = np.dtype(kind)
        for body in bodies(eqn):
            found = narrowest(body, found)
    return found


def coarser(a: Any, b: Any) -> bool:
    """Whether type `a` rounds more than `b`."""
    return unit_roundoff(a) > unit_roundoff(b)


def holds(jaxpr: Jaxpr, name: str) -> bool:
    """Whether a primitive of this name stands anywhere in `jaxpr`."""
    return any(eqn.primitive.name == name or any(holds(b, name) for b in bodies(eqn)) for eqn in jaxpr.eqns)


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
        found = found.union(*(_inexact(body, dtype) for body in bodies(eqn)))
    return found


def shaken(program: ClosedJaxpr, arrays: Sequence[Any], rng: np.random.Generator, times: int) -> np.ndarray:
    """How far each number a program answers moves when its arguments and every step are rounded at random."""
    here = flatten(evaluate(program, arrays, FLOAT64))
    noise = Noisy(unit_roundoff(np.float64), rng)
    found = [flatten(evaluate(program, jittered(rng, arrays, np.float64), noise)) for _ in range(times)]
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.max([np.abs(y - here) for y in found], 0), posinf=0.0)
