"""What differs between releases of JAX in a jaxpr, met in this one file: bodies, loops, bindings, names, sources.

Nothing here knows of circuits; everything answers in plain JAX and Python types.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ..core.rule import Rule

CALLS = ("jit", "pjit", "closed_call", "core_call", "core_closed_call")
RULES = ("custom_vjp_call", "custom_jvp_call")
REMAT = ("remat2", "remat", "checkpoint")


def closed(body: Any) -> tuple[Jaxpr, list[Any]]:
    """A jaxpr and its constants: a body is a ClosedJaxpr in some releases, a Jaxpr in others."""
    return (body.jaxpr, list(body.consts)) if isinstance(body, ClosedJaxpr) else (body, [])


def body_of(eqn: JaxprEqn) -> tuple[Jaxpr, list[Any]] | None:
    """What a plain call, a rule or a remat runs, with the equation's inputs one to one; None for anything else."""
    if eqn.primitive.name not in (*CALLS, *RULES, *REMAT):
        return None
    for key in ("call_jaxpr", "jaxpr", "fun_jaxpr"):
        if key in eqn.params:
            return closed(eqn.params[key])
    return None


@dataclass(frozen=True)
class Loop:
    """A scan: its body, and how many inputs are constants and carried; the others are slices."""

    body: Jaxpr
    consts: list[Any]
    constants: int
    carried: int
    length: int
    reverse: bool


def scan_of(eqn: JaxprEqn) -> Loop:
    """A scan's parts, from shapes alone: a slice has one axis less inside than outside, whatever the parameters say."""
    body, consts = closed(eqn.params["jaxpr"])
    carried = sum(len(_shape(o)) == len(_shape(i)) for o, i in zip(eqn.outvars, body.outvars, strict=True))
    sliced = sum(len(_shape(o)) != len(_shape(i)) for o, i in zip(eqn.invars, body.invars, strict=True))
    constants = len(eqn.invars) - carried - sliced
    return Loop(body, consts, constants, carried, eqn.params["length"], eqn.params["reverse"])


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(atom.aval.shape)


def binding(eqn: JaxprEqn, params: dict[str, Any] | None = None) -> Callable[..., list[Any]]:
    """The equation, or with other `params`, as a function of its inputs, its own derivative rule included."""
    primitive, params = eqn.primitive, eqn.params if params is None else params

    def bind(*inputs: Any) -> list[Any]:
        with eqn.ctx.manager:  # the precision and mesh it was traced under
            outputs = primitive.bind(*inputs, **primitive.get_bind_params(params))
        return list(outputs) if primitive.multiple_results else [outputs]

    return bind


def plain(jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """`jaxpr` evaluated with every hand-written backward pass left out, also those inside loops and branches.

    JAX's own forward rules (custom_jvp) within are kept: they are part of what autodiff is.
    """
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def at(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        known |= dict(zip(eqn.outvars, plain_equation(eqn, [at(v) for v in eqn.invars]), strict=True))
    return [at(v) for v in jaxpr.outvars]


def plain_equation(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    """What one equation computes, every hand-written backward pass in it left out."""
    name, body = eqn.primitive.name, body_of(eqn)
    if body is not None and name != "custom_jvp_call":
        return plain(*body, inputs)
    if not holds_a_rule(eqn):
        return binding(eqn)(*inputs)
    if name == "scan":
        return _plain_scan(scan_of(eqn), inputs)
    if name == "cond":
        index, *rest = inputs
        branches = [closed(b) for b in eqn.params["branches"]]
        return list(lax.switch(index, [_branch(*b) for b in branches], *rest))
    if name == "shard_map":
        return _plain_shards(eqn, inputs)
    return binding(eqn)(*inputs)


def _branch(body: Jaxpr, consts: list[Any]) -> Callable[..., list[Any]]:
    return lambda *inputs: plain(body, consts, inputs)


def _plain_scan(loop: Loop, inputs: list[Any]) -> list[Any]:
    constants = inputs[: loop.constants]
    carry = [jnp.asarray(x) for x in inputs[loop.constants : loop.constants + loop.carried]]

    def step(carry: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        out = plain(loop.body, loop.consts, [*constants, *carry, *slices])
        return out[: loop.carried], out[loop.carried :]

    slices = inputs[loop.constants + loop.carried :]
    carry, stacked = lax.scan(step, carry, slices, length=loop.length, reverse=loop.reverse)
    return [*carry, *stacked]


def _plain_shards(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    """A shard_map whose body leaves the hand-written backward passes out."""
    body, p = closed(eqn.params["jaxpr"]), eqn.params
    mapped = jax.shard_map(
        lambda *shards: plain(*body, shards),
        mesh=p["mesh"],
        in_specs=tuple(p["in_specs"]),
        out_specs=list(p["out_specs"]),
        axis_names=p["newly_manual_axes"],
        check_vma=p["check_vma"],
    )
    return list(mapped(*inputs))


OPENED = (*CALLS, *REMAT, "custom_vjp_call", "scan", "cond", "shard_map")
"""What `plain_equation` can leave hand-written backward passes out of."""


def sealed(eqn: JaxprEqn) -> bool:
    """Whether a hand-written backward pass stands inside where autodiff of the plain program cannot be had."""
    return holds_a_rule(eqn) and (
        eqn.primitive.name not in OPENED or any(sealed(inner) for body in inner_jaxprs(eqn) for inner in body.eqns)
    )


def holds_a_rule(eqn: JaxprEqn) -> bool:
    """Whether a hand-written backward pass stands anywhere inside the equation."""
    return any(
        inner.primitive.name == "custom_vjp_call" or holds_a_rule(inner)
        for body in inner_jaxprs(eqn)
        for inner in body.eqns
    )


def inner_jaxprs(eqn: JaxprEqn) -> list[Jaxpr]:
    """Every jaxpr among the equation's parameters."""
    leaves = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: isinstance(x, Jaxpr | ClosedJaxpr))
    return [closed(x)[0] for x in leaves if isinstance(x, Jaxpr | ClosedJaxpr)]


def changes_nothing(eqn: JaxprEqn) -> bool:
    """Whether the equation only forgets that a type was weak, which no reader wants to see."""
    return eqn.primitive.name == "convert_element_type" and dtype_of(eqn.outvars[0]) == dtype_of(eqn.invars[0])


def dtype_of(atom: Any) -> Any:
    """The dtype of a variable or literal of a jaxpr."""
    return atom.aval.dtype


def written(eqn: JaxprEqn) -> str | None:
    """The body of a rule as text, which says all that it computes; None where it closes over arrays."""
    body = body_of(eqn)
    return str(body[0]) if body is not None and not body[1] and not body[0].constvars else None


def own_backward(eqn: JaxprEqn) -> Any:
    """The backward pass of one of our rules: one function for each rule and settings, so that it may stand for them.

    None for anybody else's: two of theirs may share a backward pass and differ in what the forward pass saves.
    """
    function = getattr(eqn.params.get("bwd"), "f", None)
    return function if getattr(function, "__module__", None) == Rule.__module__ else None


def call_name(eqn: JaxprEqn) -> str:
    """The name of a called function: a rule's, a jitted function's."""
    if eqn.primitive.name in CALLS and "name" in eqn.params:
        return str(eqn.params["name"]).lstrip("_") or "jit"
    return defined(eqn)[0] or eqn.primitive.name


def defined(eqn: JaxprEqn) -> tuple[str, str]:
    """The name and `file:line` of the function that an equation calls, from the jaxpr's debug information."""
    body = body_of(eqn)
    info = getattr(body[0], "debug_info", None) if body else None
    found = re.match(r"(\S+)(?: at (.*:\d+))?", str(getattr(info, "func_src_info", "") or ""))
    return (found.group(1), found.group(2) or "") if found else ("", "")


def scope(eqn: JaxprEqn) -> tuple[str, ...]:
    """The `jax.named_scope`s in which the equation was traced, outermost first."""
    stack = str(eqn.source_info.name_stack)
    return tuple(stack.split("/")) if stack else ()


@dataclass(frozen=True)
class Frame:
    """One line of the user's that was being run."""

    file: str
    line: int
    function: str


_LIBRARIES = re.compile(r"[\\/](site-packages|dist-packages)[\\/]|[\\/]lib[\\/]python3\.\d+[\\/]|^<frozen")
_HERE = str(Path(__file__).parents[1] / "circuits")
_RULE = str(Path(__file__).parents[1] / "core" / "rule.py")


def frames(eqn: JaxprEqn) -> list[Frame]:
    """The user's lines that led to the equation, outermost first: below our trace(), outside installed libraries."""
    traceback = eqn.source_info.traceback
    lines: list[Frame] = []
    for frame in traceback.frames if traceback is not None else ():
        if frame.file_name.startswith(_HERE):
            if not frame.file_name.endswith("naming.py"):  # whose scopes stand between a module and its caller
                break
        elif frame.file_name != _RULE and not _LIBRARIES.search(frame.file_name):
            lines.append(Frame(frame.file_name, frame.line_num, frame.function_name))
    return lines[::-1]
