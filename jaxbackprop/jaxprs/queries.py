"""Questions about a jaxpr: what it holds, in which types it computes, which outputs depend on which inputs."""

from collections.abc import Collection, Sequence
from functools import reduce
from operator import or_
from typing import Any

import jax.numpy as jnp
import numpy as np

from .compat import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, aval, body_of, inner_jaxprs, inner_programs, program_of

UNTRACEABLE = (TypeError, ValueError, NotImplementedError)
"""What JAX raises where a function cannot be traced or differentiated at the types it is given."""


def holds(jaxpr: Jaxpr, *names: str) -> bool:
    """Whether a primitive of one of these names stands anywhere in `jaxpr`."""
    return any(eqn.primitive.name in names or any(holds(b, *names) for b in inner_jaxprs(eqn)) for eqn in jaxpr.eqns)


def equations(jaxpr: Jaxpr, names: Collection[str]) -> list[JaxprEqn]:
    """The equations of these primitives, wherever they stand; each once."""
    found: dict[int, JaxprEqn] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in names:
            found[id(eqn)] = eqn
        for body in inner_jaxprs(eqn):
            found.update((id(e), e) for e in equations(body, names))
    return list(found.values())


def while_loops(jaxpr: Jaxpr) -> int:
    """How many `while` equations stand in `jaxpr`; those inside the primitives of other packages count."""
    count = 0
    for eqn in jaxpr.eqns:
        hidden = program_of(eqn.primitive, eqn.params, map(aval, eqn.invars))
        bodies = [*inner_jaxprs(eqn), *([] if hidden is None else [hidden.jaxpr])]
        count += (eqn.primitive.name == "while") + sum(map(while_loops, bodies))
    return count


def equations_inside(eqn: JaxprEqn) -> list[JaxprEqn]:
    """The equations of the programs that an equation holds, and those that these hold."""
    return [e for body in inner_jaxprs(eqn) for inner in body.eqns for e in (inner, *equations_inside(inner))]


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


def reach(jaxpr: Jaxpr, inputs: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """For each output of `jaxpr` the union of the sets that stand at the inputs it surely depends on.

    What is not known (the outputs of a loop, of an equation with several results) counts as depending on nothing.
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


def saved_bytes(program: ClosedJaxpr) -> int:
    """The size of what a program hands out, its own inputs and constants not counted: each array once."""
    jaxpr = program.jaxpr
    made = {v for v in jaxpr.outvars if not isinstance(v, Literal)} - {*jaxpr.invars, *jaxpr.constvars}
    return sum(aval(v).size * aval(v).dtype.itemsize for v in made)


def only_forgets_weak_type(eqn: Any) -> bool:
    """Whether the equation changes nothing but that a type was weak, which no reader wants to see."""
    return eqn.primitive.name == "convert_element_type" and aval(eqn.outvars[0]).dtype == aval(eqn.invars[0]).dtype


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
                        keep(v.val, aval(v).dtype)
            for body in inner_programs(eqn):
                look(*body)

    look(program.jaxpr, program.consts)
    return steps, numbers


_BITS = frozenset({"random_bits", "threefry2x32", "bitcast_convert_type"})


def _kind(v: Any, *, exact: bool) -> Any:
    """Shape and kind: under x64 integers are wider as well, and that alone is no other program."""
    dtype = getattr(aval(v), "dtype", None)
    inexact = dtype is not None and jnp.issubdtype(dtype, jnp.inexact)
    kind = str(dtype) if exact or dtype is None else "float" if inexact else getattr(dtype, "kind", str(dtype))
    return getattr(aval(v), "shape", ()), kind
