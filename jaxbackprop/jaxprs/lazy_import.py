"""Modules that are loaded when something of theirs is first used: those that take long and that few runs need."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import Any


def lazy_import(name: str) -> ModuleType:
    """The module of that name, loaded by the first look at one of its attributes.

    Raises:
        ModuleNotFoundError: there is none.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    if parent:  # as an import does
        setattr(sys.modules[parent], child, module)
    return module


def lazy_names(
    package: str, public: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are each loaded when they are first used.

    Args:
        package: its `__name__`.
        public: the names by the module that has them; none for a module that is public itself.
    """
    module_of = {name: module for module, names in public.items() for name in names or (module,)}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{module_of[name]}", package)
        return getattr(module, name) if public[module_of[name]] else module

    return get, lambda: sorted(module_of)


mpmath = lazy_import("mpmath")
