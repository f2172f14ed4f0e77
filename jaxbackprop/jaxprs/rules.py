"""Programs without their hand-written derivatives: rules are stripped, the rest of the program is kept.

What autodiff says about a program without its rules is independent of anything that a person derived.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax

from .compat import (
    CALLS,
    CUSTOM_VJP,
    REMAT,
    RULES,
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    aval,
    binding,
    close,
    inner_jaxprs,
    map_inner_jaxprs,
)
from .evaluate import OPENED, Walk

HANDWRITTEN_BACKWARD = CUSTOM_VJP
"""Rules that come with a backward pass. JAX's own forward rules (custom_jvp) are part of what autodiff is."""


def holds_rule(jaxpr: Jaxpr, kinds: Collection[str] = RULES) -> bool:
    """Whether a rule of these kinds stands anywhere in `jaxpr`."""
    return any(eqn.primitive.name in kinds or holds_rule_inside(eqn, kinds) for eqn in jaxpr.eqns)


def holds_rule_inside(eqn: JaxprEqn, kinds: Collection[str] = RULES) -> bool:
    """Whether a rule of these kinds stands in one of the programs that the equation holds."""
    return any(holds_rule(body, kinds) for body in inner_jaxprs(eqn))


def evaluate_stripped(
    jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], kinds: Collection[str] = RULES
) -> list[Any]:
    """The outputs of `jaxpr`, its rules of these kinds replaced by their plain functions.

    Calls and remats are evaluated in their place; a loop or conditional is opened only where a rule stands inside. The
    result is made of JAX operations: it can be differentiated, mapped and compiled.
    """
    return Walk(_stripping(kinds)).run(jaxpr, consts, args)


def strip_equation(eqn: JaxprEqn, inputs: list[Any], kinds: Collection[str] = RULES) -> list[Any]:
    """The outputs of one equation, the rules of these kinds in it (or it itself) replaced by their plain functions."""
    return Walk(_stripping(kinds)).equation(eqn, inputs)


def _stripping(kinds: Collection[str]) -> Callable[[Walk, JaxprEqn, list[Any]], list[Any]]:
    inlined = {*CALLS, *REMAT, *kinds}

    def hook(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        if name in inlined:
            return walk.inside(eqn, inputs)
        if name in RULES or not holds_rule_inside(eqn, kinds):
            return binding(eqn)(*inputs)
        if name in OPENED:
            return walk.inside(eqn, inputs)
        return binding(eqn, map_inner_jaxprs(eqn, lambda body: _retraced(body, kinds)))(*inputs)

    return hook


def _retraced(body: Any, kinds: Collection[str]) -> Any:
    """A program inside an equation that can only be bound whole, traced again without its rules."""
    program = close(body)
    if not holds_rule(program.jaxpr, kinds):
        return body
    forms = [
        jax.ShapeDtypeStruct(aval(v).shape, aval(v).dtype, weak_type=aval(v).weak_type) for v in program.jaxpr.invars
    ]
    new = jax.make_jaxpr(lambda *args: evaluate_stripped(program.jaxpr, program.consts, args, kinds))(*forms)
    if isinstance(body, ClosedJaxpr):
        return new
    return body if new.consts else new.jaxpr


_STRIPPED_UNDER_AUTODIFF = OPENED - {"while"} | set(CALLS)


def cannot_be_stripped(eqn: JaxprEqn, kinds: Collection[str] = HANDWRITTEN_BACKWARD) -> bool:
    """Whether a rule stands inside where autodiff of the plain program cannot be had: in a while loop, say."""
    return holds_rule_inside(eqn, kinds) and (
        eqn.primitive.name not in _STRIPPED_UNDER_AUTODIFF
        or eqn.primitive.name in set(RULES) - set(kinds)
        or any(cannot_be_stripped(inner, kinds) for body in inner_jaxprs(eqn) for inner in body.eqns)
    )
