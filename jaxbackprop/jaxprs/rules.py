"""A program without its hand-derived rules: every `custom_vjp` and `custom_jvp` in it becomes its plain function.

What autodiff says about the stripped program is independent of anything a person derived.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

RULES = ("custom_vjp_call", "custom_jvp_call", "custom_vjp_call_jaxpr")
_INLINED = ("jit", "pjit", "closed_call", "core_closed_call", "custom_vmap_call")
CALLS = (*_INLINED, "remat", "remat2", "checkpoint")
"""Primitives that only call the program they hold."""


def stripped(function: Callable) -> Callable:
    """`function` (of flat arrays) with every hand-derived rule in it replaced by its plain function."""

    def plain(*args: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        return jax.tree.unflatten(jax.tree.structure(shape), replay(program.jaxpr, program.consts, args))

    return plain


def holds_rule(jaxpr: Jaxpr) -> bool:
    """Whether a hand-derived rule stands anywhere in `jaxpr`."""
    return any(eqn.primitive.name in RULES or any(holds_rule(body) for body in bodies(eqn)) for eqn in jaxpr.eqns)


def bodies(eqn: JaxprEqn) -> list[Jaxpr]:
    """The jaxprs that an equation holds: the body of a loop, the branches of a conditional, what a call calls."""
    found = []
    for value in eqn.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, Jaxpr):
                found.append(part)
    return found


def body_of(eqn: JaxprEqn) -> ClosedJaxpr | Jaxpr:
    """The program that a call, or a rule, stands for."""
    return next(eqn.params[k] for k in ("call_jaxpr", "jaxpr", "fun_jaxpr", "call") if k in eqn.params)


def replay(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """The outputs of `jaxpr` with its rules replaced, as JAX operations that can be differentiated and mapped."""
    known: dict[Any, Any] = {}

    def at(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    known.update(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [at(v) for v in eqn.invars]
        known.update(zip(eqn.outvars, _step(eqn, inputs), strict=True))
    return [at(v) for v in jaxpr.outvars]


def _step(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    if eqn.primitive.name in RULES + _INLINED:
        body = body_of(eqn)
        return replay(body.jaxpr, body.consts, inputs) if isinstance(body, ClosedJaxpr) else replay(body, (), inputs)
    params = eqn.params
    if any(holds_rule(body) for body in bodies(eqn)):
        params = {name: _without_rules(value) for name, value in params.items()}
    params = eqn.primitive.get_bind_params(params)
    found = eqn.primitive.bind(*inputs, **params)
    return found if eqn.primitive.multiple_results else [found]


def _without_rules(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_without_rules(v) for v in value)
    if isinstance(value, ClosedJaxpr):
        return _retraced(value.jaxpr, value.consts)
    if isinstance(value, Jaxpr) and not value.constvars:
        closed = _retraced(value, ())
        return value if closed.consts else closed.jaxpr
    return value


def _retraced(jaxpr: Jaxpr, consts: Sequence[Any]) -> ClosedJaxpr:
    specs = [jax.ShapeDtypeStruct(aval(v).shape, aval(v).dtype, weak_type=aval(v).weak_type) for v in jaxpr.invars]
    return jax.make_jaxpr(lambda *args: replay(jaxpr, consts, args))(*specs)


def aval(atom: Any) -> Any:
    """The shape and dtype of a variable or literal of a jaxpr."""
    return atom.aval
