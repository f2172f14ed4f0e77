"""Where an equation comes from: names, `file:line`, scopes, the lines of Python that led to it, whose rule it calls.

Nothing is judged here.
"""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compat import (
    JITTED,
    Jaxpr,
    JaxprEqn,
    backward_function,
    body_of,
    function_of,
    inner_jaxprs,
    name_of_call,
    name_stack,
    traceback_of,
)


def code_of(fun: Any) -> Any:
    """The code of the innermost function that `fun` wraps, or nothing."""
    while True:
        fun = inspect.unwrap(fun)
        inner = fun.func if isinstance(fun, functools.partial) else getattr(fun, "__func__", None)
        if inner is None:
            return getattr(fun, "__code__", None) or getattr(type(fun).__call__, "__code__", None)
        fun = inner


def source_of(fun: Any) -> str:
    """`file:line` of the innermost function that `fun` wraps, or nothing."""
    code = code_of(fun)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


def name_of(fun: Any) -> str:
    """What a function is called."""
    return getattr(fun, "__name__", None) or name_of(fun.func if hasattr(fun, "func") else type(fun))


def defined(eqn: JaxprEqn) -> tuple[str, str]:
    """The name and `file:line` of the function that an equation calls; empty where it calls none."""
    body = body_of(eqn)
    return function_of(body[0]) if body is not None else ("", "")


def place(eqn: JaxprEqn) -> tuple[str, str]:
    """The name and `file:line` of the rule that an equation calls; the primitive's name where JAX does not know."""
    name, where = defined(eqn)
    return name or eqn.primitive.name, where


def call_name(eqn: JaxprEqn) -> str:
    """The name of a called function: a rule's, a jitted function's."""
    name = name_of_call(eqn).lstrip("_")
    return name or ("jit" if eqn.primitive.name in JITTED else place(eqn)[0])


def key(eqn: JaxprEqn) -> tuple[Any, ...]:
    """Which rule an equation calls: name and source, what it computes and where its backward pass is written.

    One line that makes rules of any two functions makes different rules.
    """
    body = body_of(eqn)
    primitives = frozenset(_primitives(body[0])) if body is not None else frozenset()
    return (*place(eqn), primitives - _LAYOUT, _backward_source(eqn))


def _primitives(jaxpr: Jaxpr) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in inner_jaxprs(eqn):
            yield from _primitives(inner)


_LAYOUT = frozenset(
    ("reshape", "transpose", "broadcast_in_dim", "squeeze", "convert_element_type", "copy", "jit", "pjit", "iota")
)
"""What shapes and types add to a program, and mapping it: no other rule for that."""


def _backward_source(eqn: JaxprEqn) -> str:
    function = backward_function(eqn)
    return source_of(function) if function is not None else ""


def text_of(eqn: JaxprEqn) -> str | None:
    """The body of a rule or call as text, which says all that it computes; None where it closes over arrays."""
    body = body_of(eqn)
    return str(body[0]) if body is not None and not body[1] and not body[0].constvars else None


def scopes(eqn: JaxprEqn) -> tuple[str, ...]:
    """The `jax.named_scope`s in which the equation was traced, outermost first."""
    stack = name_stack(eqn)
    return tuple(stack.split("/")) if stack else ()


@dataclass(frozen=True)
class Frame:
    """One line of the user's that was being run."""

    file: str
    line: int
    function: str


_LIBRARIES = re.compile(r"[\\/](site-packages|dist-packages)[\\/]|[\\/]lib[\\/]python3\.\d+[\\/]|^<frozen")


_JAX = re.compile(r"[\\/](site|dist)-packages[\\/](jax|jaxlib)[\\/]|^<")
_HERE = str(Path(__file__).parent)


def of_a_library(file: str) -> bool:
    """Whether a file belongs to an installed library."""
    return bool(_LIBRARIES.search(file))


def of_jax(file: str) -> bool:
    """Whether a file belongs to JAX."""
    return bool(_JAX.search(file))


@dataclass(frozen=True)
class Callers:
    """What Python is running: the line that called JAX, and all code.

    Attributes:
        place: `file:line` of the innermost line outside of JAX.
        codes: the code of each function that is being run, innermost first.
        traced_before: whether JAX is running a program again that it traced before.
    """

    place: str
    codes: tuple[Any, ...]
    traced_before: bool


def callers() -> Callers:
    """What Python is running now."""
    place, codes, traced_before = "", [], False
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        codes.append(frame.f_code)
        if not place and of_jax(file):
            traced_before = traced_before or frame.f_code.co_name == "eval_jaxpr"
        elif not place and not file.startswith(_HERE):
            place = f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return Callers(place, tuple(codes), traced_before)


def frames(
    eqn: JaxprEqn,
    *,
    ends: Callable[[str], bool] = lambda file: False,
    hidden: Callable[[str], bool] = lambda file: False,
) -> list[Frame]:
    """The user's lines that led to the equation, outermost first, those of installed libraries left out.

    Args:
        eqn: the equation.
        ends: whether a file is that of the tracer: its own frames, and those of whoever called it, are left out.
        hidden: whether a file's frames are left out.
    """
    lines: list[Frame] = []
    for file, line, function in traceback_of(eqn):
        if ends(file):
            break
        if not hidden(file) and not _LIBRARIES.search(file):
            lines.append(Frame(file, line, function))
    return lines[::-1]
