"""What a traced program is made of: questions about a jaxpr."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr

from .point import unit_roundoff
from .strip import bodies


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
