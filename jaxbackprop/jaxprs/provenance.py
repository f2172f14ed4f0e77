"""Where an equation comes from: names, `file:line`, scopes, the lines of Python that led to it, which rule it calls.

Nothing is judged here.
"""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compat import (
    JITTED,
    JaxprEqn,
    body_of,
    function_of,
    name_of_call,
    name_stack,
    rule_call,
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


@dataclass(frozen=True)
class Lines:
    """The lines of a function in its file."""

    file: str
    function: str
    first: int
    last: int


def lines_of(fun: Any) -> Lines | None:
    """The lines of the innermost function that `fun` wraps; None where it is not written in Python."""
    code = code_of(fun)
    if code is None:
        return None
    last = max((line for *_, line in code.co_lines() if line is not None), default=code.co_firstlineno)
    return Lines(code.co_filename, code.co_name, code.co_firstlineno, last)


def written_in(eqn: JaxprEqn, lines: Collection[Lines]) -> bool:
    """Whether an equation was traced in one of these functions."""
    return any(
        (file, function.rpartition(".")[2]) == (f.file, f.function) and f.first <= line <= f.last
        for file, line, function in traceback_of(eqn)
        for f in lines
    )


def calling_lines(traceback: Iterable[tuple[str, int, str]]) -> tuple[tuple[str, int], ...]:
    """The user's lines that led to the call of a rule (`compat.rule_call`), innermost first; none where none did."""
    found: list[tuple[str, int]] = []
    inside = False
    for file, line, function in traceback:
        if file.startswith(_PACKAGE):
            if found and file.startswith(_MACHINERY):
                break
            inside = inside or function.rpartition(".")[2] == rule_call.__name__
        if inside and not file.startswith(_MACHINERY) and not of_a_library(file):
            found.append((file, line))
    return tuple(found)


_PACKAGE = str(Path(__file__).parents[1])
_MACHINERY = tuple(str(Path(_PACKAGE, folder)) for folder in ("jaxprs", "circuits", "verification"))


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
        lines: file, line and function, innermost first.
        codes: the code of each function that is being run, innermost first.
        traced_before: whether JAX is running a program again that it traced before.
    """

    place: str
    lines: tuple[tuple[str, int, str], ...]
    codes: tuple[Any, ...]
    traced_before: bool


def callers() -> Callers:
    """What Python is running now."""
    place, lines, codes, traced_before = "", [], [], False
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        codes.append(frame.f_code)
        lines.append((file, frame.f_lineno, frame.f_code.co_name))
        if not place and of_jax(file):
            traced_before = traced_before or frame.f_code.co_name == "eval_jaxpr"
        elif not place and not file.startswith(_HERE):
            place = f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return Callers(place, tuple(lines), tuple(codes), traced_before)


def frames(
    eqn: JaxprEqn,
    *,
    ends: Callable[[str], bool] = lambda file: False,
    hidden: Callable[[str], bool] = lambda file: False,
) -> list[Frame]:
    """The user's lines that led to the equation, outermost first, those of installed libraries left out.

    Args:
        eqn: the equation.
        ends: whether a file is that of the tracer: its own frames, and those of its callers, are left out.
        hidden: whether a file's frames are left out.
    """
    lines: list[Frame] = []
    for file, line, function in traceback_of(eqn):
        if ends(file):
            break
        if not hidden(file) and not file.startswith(_HERE) and not _LIBRARIES.search(file):
            lines.append(Frame(file, line, function))
    return lines[::-1]
