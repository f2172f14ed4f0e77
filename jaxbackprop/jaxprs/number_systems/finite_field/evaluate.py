"""A program over finite fields, equation by equation. What is not implemented makes its results `Unknown`, by name.

Floating-point numbers are `Numbers`, complex ones are not implemented; integers and booleans are NumPy's, decided by
the floats; keys are JAX's. Casts and `reduce_precision` count as exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...compat import (
    CALLS,
    CUSTOM_JVP,
    LINEAR_SOLVE,
    REMAT,
    RULES,
    ClosedJaxpr,
    JaxprEqn,
    binding,
    branches_of,
    dtype_of,
    function_of,
    inner_jaxprs,
    linear_body,
    scan_of,
    shape_of,
    while_of,
)
from ...evaluate import Walk, evaluate
from .field import Field, Numbers, joined, stacked
from .integers import INTEGERS
from .linear_algebra import LINEAR_ALGEBRA
from .moves import MOVES
from .primitives import CAREFUL, PRIMITIVES, Refused


@dataclass(frozen=True)
class Unknown:
    """A value that is not known over finite fields.

    Attributes:
        why: the operation that is not implemented.
    """

    why: str


def has_exponentials(program: ClosedJaxpr) -> bool:
    """Whether something in a program is an exponential, a logarithm or a power."""
    return _has_exponentials(program.jaxpr)


def _has_exponentials(jaxpr: Any) -> bool:
    return any(
        eqn.primitive.name in _EXPONENTIALS or any(map(_has_exponentials, inner_jaxprs(eqn))) for eqn in jaxpr.eqns
    )


_EXPONENTIALS = frozenset(
    "exp exp2 expm1 log log2 log1p logistic tanh pow sinh cosh asinh acosh atanh cumlogsumexp lgamma".split()
)


def in_finite_field(field: Field, program: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """The outputs of `program`: `Numbers` or `Unknown`, integers and booleans as NumPy's.

    Args:
        field: of one draw; several programs at the same inputs are evaluated in the same one.
        program: of flat arguments.
        args: `Numbers`, integers, booleans, keys.

    Raises:
        OtherDraw: a number has no root or no inverse, and the inputs must be drawn again.
        Refused: the program cannot be followed any further, as in a loop whose end is not known.
    """
    with jax.enable_x64(True), np.errstate(all="ignore"):
        return evaluate(program, args, _Hook(field), lambda value, aval: _lifted(field, value, aval.dtype))


def _lifted(field: Field, x: Any, dtype: Any) -> Any:
    if _is_key(x):
        return x
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return Unknown("complex numbers")
    if jnp.issubdtype(dtype, jnp.floating):
        return field.constant(x, single=jnp.finfo(dtype).bits < 64)
    return np.asarray(x, dtype)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.extended)


@dataclass
class _Hook:
    field: Field

    def __call__(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        if name in _INSIDE:
            careful = CAREFUL.get(function_of(inner_jaxprs(eqn)[0])[0]) if name in CUSTOM_JVP else None
            if careful is not None and isinstance(inputs[0], Numbers):
                return [careful(self.field, inputs[0])]
            return walk.inside(eqn, inputs)
        if name in _LOOPS:
            return _LOOPS[name](self.field, walk, eqn, inputs)
        unknown = next((x for x in inputs if isinstance(x, Unknown)), None)
        if unknown is not None:
            return [unknown] * len(eqn.outvars)
        try:
            outputs = self.outputs(walk, eqn, name, inputs)
        except Refused as refused:
            return [Unknown(str(refused))] * len(eqn.outvars)
        return outputs if isinstance(outputs, list) else [outputs]

    def outputs(self, walk: Walk, eqn: JaxprEqn, name: str, inputs: list[Any]) -> Any:
        if any(jnp.issubdtype(dtype_of(v), jnp.complexfloating) for v in (*eqn.invars, *eqn.outvars)):
            raise Refused("complex numbers")
        if not any(isinstance(x, Numbers) for x in inputs):
            return self.without_numbers(eqn, name, inputs)
        if name in MOVES:
            return self.moved(eqn, name, inputs)
        if name == LINEAR_SOLVE:
            body, given = linear_body(eqn, inputs)
            return walk.run(*body, given)
        made = PRIMITIVES.get(name) or LINEAR_ALGEBRA.get(name)
        if made is None:
            raise Refused(name)
        return made(self.field, eqn, *inputs)

    def without_numbers(self, eqn: JaxprEqn, name: str, inputs: list[Any]) -> Any:
        plain = not any(map(_is_key, inputs)) and not jnp.issubdtype(dtype_of(eqn.outvars[0]), jax.dtypes.extended)
        if plain and name in INTEGERS:
            found = INTEGERS[name](eqn, *inputs)
        elif plain and name in MOVES:
            found = MOVES[name](eqn.params, _fill(eqn, name), *inputs)
        else:
            found = binding(eqn)(*(x if _is_key(x) else jnp.asarray(x) for x in inputs))
        return [
            _lifted(self.field, x if _is_key(x) else np.asarray(x), dtype_of(v))
            for x, v in zip(_list(found), eqn.outvars, strict=True)
        ]

    def moved(self, eqn: JaxprEqn, name: str, inputs: list[Any]) -> list[Numbers]:
        """The primitive on the positions of all numbers, laid out in one row; last in it stands what fills."""
        which = [i for i, x in enumerate(inputs) if isinstance(x, Numbers)]
        fill = [self.field.constant(_fill(eqn, name))] if name == "gather" else []
        row = (
            joined([*(inputs[i] for i in which), *fill]) if len(which) + len(fill) > 1 else inputs[which[0]].reshape(-1)
        )
        positions, start = list(inputs), 0
        for i in which:
            size = inputs[i].value.size
            positions[i] = np.arange(start, start + size).reshape(inputs[i].shape)
            start += size
        found = _list(MOVES[name](eqn.params, row.value.size - 1, *positions))
        return [row.at(p) if moved else p for p, moved in zip(found, _are_numbers(inputs, found), strict=True)]


def _are_numbers(inputs: list[Any], outputs: list[Any]) -> list[bool]:
    """Which outputs of a move are numbers: of as many as there are inputs those that are; else all."""
    same = len(outputs) == len(inputs)
    return [isinstance(x, Numbers) for x in inputs] if same else [True] * len(outputs)


def _list(x: Any) -> list[Any]:
    return x if isinstance(x, list) else [x]


def _fill(eqn: JaxprEqn, name: str) -> Any:
    """The value of a gather out of bounds: its fill value, or NaN, or the integer that JAX takes for it."""
    if name != "gather":
        return 0
    fill, dtype = eqn.params.get("fill_value"), np.dtype(dtype_of(eqn.outvars[0]))
    if fill is not None:
        return fill
    if jnp.issubdtype(dtype, jnp.floating):
        return np.nan
    return True if dtype == np.bool_ else np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


# Loops and conditionals, step by step.


def _scan(field: Field, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    loop = scan_of(eqn)
    constants, rest = inputs[: loop.constants], inputs[loop.constants :]
    carry, slices, rows = rest[: loop.carried], rest[loop.carried :], []
    for i in reversed(range(loop.length)) if loop.reverse else range(loop.length):
        out = walk.run(loop.body, loop.consts, [*constants, *carry, *(_row(x, i) for x in slices)])
        carry = out[: loop.carried]
        rows.append(out[loop.carried :])
    rows = rows[::-1] if loop.reverse else rows
    stacks = [_stacked(field, [row[k] for row in rows], v) for k, v in enumerate(eqn.outvars[loop.carried :])]
    return [*carry, *stacks]


def _row(x: Any, i: int) -> Any:
    if isinstance(x, Unknown):
        return x
    return x.row(i) if isinstance(x, Numbers) else x[i]


def _stacked(field: Field, rows: list[Any], v: Any) -> Any:
    if not rows:
        return _lifted(field, np.zeros(shape_of(v)), dtype_of(v))
    unknown = next((x for x in rows if isinstance(x, Unknown)), None)
    if unknown is not None:
        return unknown
    if isinstance(rows[0], Numbers):
        return stacked(rows)
    return jnp.stack(rows) if _is_key(rows[0]) else np.stack(rows)


def _while(field: Field, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    loop = while_of(eqn)
    for_condition, for_body, carry = loop.split(inputs)
    for _ in range(MOST_STEPS):
        going = _known(walk.run(*loop.condition, [*for_condition, *carry])[0])
        if np.ndim(going):
            raise Refused("a mapped while")
        if not going:
            return carry
        carry = walk.run(*loop.body, [*for_body, *carry])
    raise Refused(f"a while loop of more than {MOST_STEPS} steps")


def _known(x: Any) -> Any:
    if isinstance(x, Unknown):
        raise Refused(x.why)
    return x


def _cond(field: Field, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    branches = branches_of(eqn)
    return walk.run(*branches[min(max(int(_known(inputs[0])), 0), len(branches) - 1)], inputs[1:])


MOST_STEPS = 500

_INSIDE = frozenset({*CALLS, *REMAT, *RULES})
_LOOPS = {"scan": _scan, "while": _while, "cond": _cond}
