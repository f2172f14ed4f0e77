"""Whose rule an equation of a program calls, and which of its outputs the program reads. Nothing is judged here."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ..core.rule import Rule, registered
from .rules import RULES, bodies, body_of


def key(eqn: JaxprEqn) -> tuple[Any, ...]:
    """Which rule an equation calls: name and source, what it computes and where its backward pass is written.

    One line that makes rules of any two functions makes different rules.
    """
    body = body_of(eqn)
    body = body.jaxpr if isinstance(body, ClosedJaxpr) else body
    return (*place(eqn), frozenset(_primitives(body)) - _LAYOUT, _backward(eqn))


def place(eqn: JaxprEqn) -> tuple[str, str]:
    """Name and source of the rule that an equation calls."""
    body = body_of(eqn)
    info = getattr(body.jaxpr if isinstance(body, ClosedJaxpr) else body, "debug_info", None)
    text = str(getattr(info, "func_src_info", "") or "")
    matched = re.match(r"(?P<name>\S+)(?: at (?P<where>.+))?$", text)
    name = matched["name"] if matched else eqn.primitive.name
    where = (matched["where"] or "") if matched else ""
    own = registered_as(name)
    return (name, source_of(own)) if own is not None and where.rpartition(":")[0].endswith("rule.py") else (name, where)


def _primitives(jaxpr: Jaxpr) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for held in bodies(eqn):
            yield from _primitives(held)


_LAYOUT = frozenset(
    ("reshape", "transpose", "broadcast_in_dim", "squeeze", "convert_element_type", "copy", "jit", "pjit", "iota")
)
"""What shapes and types add to a program, and mapping it: no other rule for that."""


def _backward(eqn: JaxprEqn) -> str:
    """Where the backward pass is written, as far as the equation tells: mapping wraps it, layer by layer."""
    found = eqn.params.get("bwd")
    for _ in range(8):
        found = getattr(found, "f", found)
        inner = inspect.getclosurevars(found).nonlocals.get("bwd") if inspect.isfunction(found) else None
        if inner is None:
            break
        found = inner
    return source_of(found) if callable(found) else ""


def registered_as(name: str) -> Rule | None:
    """The rule of this library, or of one built on it, that has this name."""
    return next((made for made in registered() if made.name == name), None)


def outputs_read(jaxpr: Jaxpr) -> dict[int, list[int]]:
    """For each rule's equation the outputs that something reads."""
    read = {v for e in jaxpr.eqns for v in e.invars if not isinstance(v, Literal)}
    read |= {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    found: dict[int, list[int]] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in RULES:
            found[id(eqn)] = [i for i, v in enumerate(eqn.outvars) if v in read]
        for body in bodies(eqn):
            found |= outputs_read(body)
    return found


def source_of(fun: Any) -> str:
    """`file:line` of the innermost function that `fun` wraps, or nothing."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""
