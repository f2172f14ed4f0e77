"""What a traced program is made of: questions about a jaxpr."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal

from .rules import aval, bodies

UNTRACEABLE = (TypeError, ValueError, NotImplementedError)
"""What JAX raises where a function cannot be traced or differentiated at the types it is given."""


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
