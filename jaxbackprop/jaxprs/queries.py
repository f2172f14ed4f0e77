"""What a traced program is made of: questions about a jaxpr."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

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


def same_but_for_types(one: ClosedJaxpr, other: ClosedJaxpr, unit: float) -> bool:
    """Whether two traces of one function, for arguments of two types, are one program but for its types.

    Not where the function branches on the type, draws random bits of another width, or holds other constants: they may
    differ by a few of the narrower type's units.
    """
    (steps, numbers), (others, other_numbers) = _outline(one), _outline(other)
    return (
        steps == others
        and len(numbers) == len(other_numbers)
        and all(
            np.shape(x) == np.shape(y) and np.allclose(x, y, rtol=4 * unit, atol=0, equal_nan=True)
            for x, y in zip(numbers, other_numbers, strict=True)
        )
    )


def _outline(program: ClosedJaxpr) -> tuple[list[Any], list[np.ndarray]]:
    """The primitives of a program with the shapes and kinds they answer, and its inexact constants."""
    steps: list[Any] = []
    numbers: list[np.ndarray] = []

    def keep(value: Any, dtype: Any) -> None:
        if jnp.issubdtype(dtype, jnp.inexact):
            numbers.append(np.asarray(value).astype(np.complex128))

    def look(jaxpr: Jaxpr, consts: Any) -> None:
        for value in consts:
            keep(value, value.dtype)
        for eqn in jaxpr.eqns:
            name = eqn.primitive.name
            if name not in ("convert_element_type", "copy", "jit", "pjit"):
                steps.append((name, *(_kind(v, exact=name in _BITS) for v in eqn.outvars)))
            if name != "convert_element_type":
                for v in eqn.invars:
                    if isinstance(v, Literal):
                        keep(v.val, v.aval.dtype)
            for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_program):
                if _is_program(value):
                    look(getattr(value, "jaxpr", value), getattr(value, "consts", ()))

    look(program.jaxpr, program.consts)
    return steps, numbers


_BITS = frozenset({"random_bits", "threefry2x32", "bitcast_convert_type"})


def _is_program(value: Any) -> bool:
    return isinstance(value, Jaxpr | ClosedJaxpr)


def _kind(v: Any, *, exact: bool) -> Any:
    """Shape and kind: under x64 integers are wider as well, and that alone is no other program."""
    dtype = getattr(v.aval, "dtype", None)
    inexact = dtype is not None and jnp.issubdtype(dtype, jnp.inexact)
    kind = str(dtype) if exact or dtype is None else "float" if inexact else getattr(dtype, "kind", str(dtype))
    return getattr(v.aval, "shape", ()), kind
