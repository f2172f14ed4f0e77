"""Names for arguments and values, as the source code has them: parameter paths, and assignments on source lines.

Also the names of nnx modules as scopes while a function is traced.
"""

import inspect
import linecache
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import jax

from ..core.rule import __file__ as _RULE
from ..jaxprs.compat import JaxprEqn
from ..jaxprs.provenance import Frame, frames

_HERE = str(Path(__file__).parent)
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*(?::[^=]+)?(?:[-+*/@]|\*\*|//)?=(?!=)")


def argument_names(fun: Callable, args: tuple) -> list[str]:
    """One name for each array in `args`: the parameter, then the path into it, as in `params['W1']`."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = []
    for i, arg in enumerate(args):
        root = parameters[i].name if i < len(parameters) else f"arg{i}"
        if parameters and any(p.kind is p.VAR_POSITIONAL for p in parameters[: i + 1]):
            at = next(k for k, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL)
            root = f"{parameters[at].name}[{i - at}]"
        for path, _ in jax.tree_util.tree_flatten_with_path(arg)[0]:
            names.append(root + re.sub(r"(\.value|\[<flat index \d+>\])$", "", jax.tree_util.keystr(path)))
    return names


LONG = 12
"""Names of arguments that are longer are also given short."""


def short_names(names: list[str]) -> list[str]:
    """Of each name the parts that tell it from the others, its last part among them: `…layers.0…kernel`."""
    paths = [re.findall(r"[^.\[\]'\"]+", name)[::-1] for name in names]
    return [_short(path, [other for other in paths if other is not path]) for path in paths]


def _short(path: list[str], others: list[list[str]]) -> str:
    """The parts of a path, given from its end, that no other one has at the same places."""
    kept = {0}
    for other in others:
        if all(place < len(other) and other[place] == path[place] for place in kept):
            differ = [i for i, part in enumerate(path) if i >= len(other) or part != other[i]]
            kept.update(differ[:1])
    text, last = "", len(path)
    for place in sorted(kept, reverse=True):
        text += ("…" if place < last - 1 else "." if text else "") + path[place]
        last = place
    return text


def output_names(tree: Any) -> list[str]:
    """One name for each array that the function returns."""
    return ["output" + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def assigned(eqns: list[JaxprEqn], depth: int) -> tuple[list[str], list[list[Frame]]]:
    """For each equation the name its value is assigned to, or "", and the user's lines that led to it.

    An equation has a name when it is the last one on a line that reads `name = ...`.

    Args:
        eqns: in program order.
        depth: how many of the outermost lines belong to callers, and give no name.
    """
    stacks = [frames(eqn, ends=_is_tracer, hidden=lambda file: file in (_RULE, __file__)) for eqn in eqns]
    named = []
    for i, stack in enumerate(stacks):
        after = stacks[i + 1] if i + 1 < len(stacks) else []
        same = next((k for k, (f, g) in enumerate(zip(stack, after)) if f != g), min(len(stack), len(after)))
        done = stack[max(same, depth) :] if stack != after else []
        named.append(next(filter(None, map(_target, done)), ""))
    return named, stacks


def _is_tracer(file: str) -> bool:
    """Whether a file is one of those that trace; this one's scopes stand between a module and its caller."""
    return file.startswith(_HERE) and file != __file__


def _target(frame: Frame) -> str:
    match = _ASSIGNMENT.match(linecache.getline(frame.file, frame.line))
    return match.group(1) if match else ""


class Names:
    """Gives each name once: the second `h` is `h_2`."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.counts: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        name = wanted
        while name in self.taken:
            self.counts[wanted] = self.counts.get(wanted, 1) + 1
            name = f"{wanted}_{self.counts[wanted]}"
        self.taken.add(name)
        return name


@contextmanager
def module_scopes(fun: Callable, args: tuple) -> Iterator[None]:
    """Within, every flax.nnx module that `fun` or `args` hold runs under a named scope of its own path.

    The classes' `__call__` is wrapped for the time of one trace and put back.
    """
    nnx = sys.modules.get("flax.nnx")
    paths = _module_paths(nnx, fun, args) if nnx is not None else {}
    calls: dict[type, Any] = {}
    for cls in {type(module) for module, _ in paths.values()}:
        owner = next((c for c in cls.__mro__ if "__call__" in c.__dict__), None)
        if owner is not None and owner not in calls:
            calls[owner] = owner.__dict__["__call__"]
            setattr(owner, "__call__", _scoped(calls[owner], nnx, paths))  # noqa: B010 (owner is any class)
    try:
        yield
    finally:
        for owner, call in calls.items():
            setattr(owner, "__call__", call)  # noqa: B010


def _scoped(call: Callable, nnx: Any, paths: dict[int, tuple[Any, str]]) -> Callable:
    @wraps(call)
    def scoped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self) not in paths:  # a copy that a transformation put together again
            paths.update(_module_paths(nnx, None, (self,)))
        with jax.named_scope(paths[id(self)][1]):
            return call(self, *args, **kwargs)

    return scoped


def _module_paths(nnx: Any, fun: Any, args: tuple) -> dict[int, tuple[Any, str]]:
    """By id, the module itself (so that the id stays its own) and its path from the module that holds it."""
    roots = [*args, fun, getattr(fun, "__self__", None)]
    roots += [cell.cell_contents for cell in getattr(fun, "__closure__", None) or () if _filled(cell)]
    paths: dict[int, tuple[Any, str]] = {}
    for root in roots:
        for leaf in jax.tree.leaves(root, is_leaf=lambda x: isinstance(x, nnx.Module)):
            if not isinstance(leaf, nnx.Module):
                continue
            for path, module in nnx.iter_graph(leaf):
                if isinstance(module, nnx.Module):
                    paths.setdefault(id(module), (module, _dotted(path) or type(module).__name__))
    return paths


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _dotted(path: tuple) -> str:
    """('layers', 0, 'norm') as `layers[0].norm`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
