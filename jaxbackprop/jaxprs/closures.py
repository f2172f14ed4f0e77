"""What a function holds beside its arguments: numbers, functions, arrays, values of a program that is being traced.

Two functions made by one line are distinguished by it, and a function that closes over traced values is made one that
takes them as arguments.
"""

import functools
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .compat import ClosedJaxpr, Jaxpr, Tracer, closed, function_of, jaxpr_as_fun, linearized_before, rule_parts
from .inputs import inexact, replaced
from .provenance import of_a_library

DEPTH = 4
"""Functions hold functions; so deep they are looked at."""


def held_by(value: Any) -> list[Any]:
    """What a function, a container or an object holds; nothing of a number, an array, a class or a module."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or () if not _empty(cell)]
        return [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    parts = rule_parts(value)
    if parts is not None:
        return [parts.plain, *parts.derivative]
    if isinstance(value, tuple | list | set | frozenset):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, type | types.ModuleType | jax.Array | np.ndarray | Jaxpr | ClosedJaxpr):
        return []
    if hasattr(value, "__wrapped__"):
        return [value.__wrapped__]
    return list(getattr(value, "__dict__", {}).values())


def _empty(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def fingerprint(value: Any, depth: int = DEPTH) -> Any:
    """Something hashable that two functions share if they are the same code with the same numbers and functions.

    Arrays do not count: layers that close over their own are one rule.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return type(value), repr(value)
    if isinstance(value, Jaxpr | ClosedJaxpr):
        return function_of(closed(value)[0])
    if isinstance(value, type):
        return value
    inside = tuple(fingerprint(x, depth - 1) for x in held_by(value)) if depth else ()
    code = getattr(value, "__code__", None)
    return type(value), (code.co_filename, code) if code else None, inside


def reachable(values: Sequence[Any], depth: int) -> Iterator[Any]:
    """These values, what they hold, what that holds, and so on: so many levels, each value once."""
    level, seen = list(values), set()
    for _ in range(depth):
        level = [x for x in level if id(x) not in seen and not seen.add(id(x))]
        yield from level
        level = [y for x in level for y in held_by(x)]


def holds_tracer(functions: Any) -> bool:
    """Whether functions close over a value that is being traced."""
    return any(isinstance(x, Tracer) for x in reachable([functions], DEPTH + 2))


def linearized_earlier(function: Any, args: Any) -> list[tuple[str, str]]:
    """Name and place of functions whose `jax.vjp` or `jax.linearize` was taken earlier, which `function` holds."""
    found = {}
    for value in reachable([function, args], 2 * DEPTH):
        found[linearized_before(value)] = None
        if inspect.isfunction(value) and not of_a_library(value.__code__.co_filename):
            for name in value.__code__.co_names:
                found[linearized_before(value.__globals__.get(name))] = None
    return [named for named in found if named is not None]


def _shapes(program: ClosedJaxpr) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in program.out_avals]


def with_closed_over(
    function: Callable, plain: Callable, args: tuple
) -> tuple[Callable[[Sequence[Any]], tuple[Callable, Callable]], tuple[Any, ...]]:
    """A rule that closes over traced values, and these values.

    The first result makes of other values in their place the rule, a `jax.custom_vjp` of the same derivative, and its
    plain function. They answer the floating-point outputs alone.
    """
    leaves, tree = jax.tree.flatten(args)
    live = [i for i, x in enumerate(leaves) if jnp.issubdtype(jax.typeof(x).dtype, jnp.inexact)]

    def pulled(*operands: Any) -> tuple[list[Any], Callable]:
        def of_live(*floats: Any) -> list[Any]:
            return inexact(function(*jax.tree.unflatten(tree, replaced(operands, live, floats))))

        return jax.vjp(of_live, *(operands[i] for i in live))

    value = jax.make_jaxpr(lambda *x: inexact(plain(*jax.tree.unflatten(tree, x))))(*leaves)
    forward = jax.make_jaxpr(lambda *x: pulled(*x)[0])(*leaves)
    count = len(leaves)
    backward = jax.make_jaxpr(lambda *x: list(pulled(*x[:count])[1](list(x[count:]))))(*leaves, *_shapes(forward))
    programs = (value, forward, backward)
    traced = list({id(c): c for program in programs for c in program.consts if isinstance(c, Tracer)}.values())
    # The tracers themselves are let go: each constant that is one is remembered by its number.
    number = {id(c): k for k, c in enumerate(traced)}
    parts = [(p.jaxpr, [(number.get(id(c)), None if id(c) in number else c) for c in p.consts]) for p in programs]

    def bind(values: Sequence[Any]) -> tuple[Callable, Callable]:
        of_value, of_forward, of_backward = (
            jaxpr_as_fun(ClosedJaxpr(jaxpr, [c if k is None else values[k] for k, c in consts]))
            for jaxpr, consts in parts
        )
        rule = jax.custom_vjp(lambda *x: of_value(*x))

        def back(operands: Sequence[Any], upstream: list[Any]) -> tuple[Any, ...]:
            return tuple(replaced([None] * count, live, of_backward(*operands, *upstream)))

        rule.defvjp(lambda *x: (of_forward(*x), x), back)
        return (lambda *a: rule(*jax.tree.leaves(a))), (lambda *a: of_value(*jax.tree.leaves(a)))

    return bind, tuple(traced)
