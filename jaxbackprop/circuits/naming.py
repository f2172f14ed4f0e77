"""Names for arguments and values, as the source code has them: parameter paths, and assignments on source lines.

Also the names of nnx and equinox modules as scopes while a function is traced.
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
    if frame.function.endswith("<lambda>"):  # what is assigned on its line is not its value
        return ""
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


def shown_scopes(path: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes that a reader knows: not those of equinox's own layers beside their names, nor an empty `vmap()`."""
    return tuple(name for name in path if not name.startswith("eqx.nn.") and name != "vmap()")


@contextmanager
def module_scopes(fun: Callable, args: tuple) -> Iterator[None]:
    """Within, every flax.nnx and equinox module that is called runs under a named scope of its path in what holds it.

    Haiku and linen make such scopes themselves. The classes' `__call__` is wrapped for the time of one trace and put
    back; all classes there are, since modules may be merged, or made, inside `fun`.
    """
    nnx = sys.modules.get("flax.nnx")
    paths = _module_paths(nnx, fun, args) if nnx is not None else {}
    running: list[Any] = []

    def path_of(module: Any) -> str:
        if id(module) not in paths:  # one that a transformation put together again
            paths.update(_module_paths(nnx, None, (module,)))
        return paths[id(module)][1]

    put_back: dict[type, Any] = {}
    for package, name in (("flax.nnx", path_of), ("equinox", lambda module: _place_in(running[-1:], module))):
        for cls in _module_classes(package):
            put_back[cls] = cls.__dict__["__call__"]
            setattr(cls, "__call__", _scoped(put_back[cls], running, name))  # noqa: B010 (any class)
    try:
        yield
    finally:
        for cls, call in put_back.items():
            setattr(cls, "__call__", call)  # noqa: B010


def _module_classes(package: str) -> Iterator[type]:
    """Every class of modules of that package or built on it, but its own machinery, that defines a call."""
    module = getattr(sys.modules.get(package), "Module", None)
    found = [] if module is None else [module]
    for cls in found:
        found += [sub for sub in type.__subclasses__(cls) if sub not in found]
        machinery = cls.__module__.startswith("equinox.") and not cls.__module__.startswith("equinox.nn.")
        if "__call__" in cls.__dict__ and not machinery:
            yield cls


def _scoped(call: Any, running: list[Any], name: Callable[[Any], str]) -> Callable:
    """A module's call under a named scope; not again where it calls that of its base class."""

    @wraps(call)
    def scoped(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = call.__get__(self, type(self))
        if running and running[-1] is self:
            return bound(*args, **kwargs)
        scope = name(self) or type(self).__name__
        running.append(self)
        try:
            with jax.named_scope(scope):
                return bound(*args, **kwargs)
        finally:
            running.pop()

    return scoped


def _place_in(holders: list[Any], module: Any) -> str:
    """`layers[0]` for a module that the one that is running holds there; "" where it does not hold it itself."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(holders, is_leaf=lambda x: x is module)[0]:
        if leaf is module:
            return jax.tree_util.keystr(path[1:]).lstrip(".")
    return ""


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
