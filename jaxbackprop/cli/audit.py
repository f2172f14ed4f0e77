"""`audit`: every hand-written rule inside a program, verified. Exit status 1 where not all is right and examined."""

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import FAILED, app, print_json
from .options import Json


@app.command("audit")
def audit_command(
    function: Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="Any JAX function, a training step too.")],
    args: Annotated[
        str | None, typer.Option(metavar="FILE.py:MAKE_ARGS", help="A function that makes its arguments.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What may stay unexamined; may be given several times.")
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Make this check alone; may be given several times.")
    ] = None,
    strict: Annotated[
        bool, typer.Option(help="Fail also rules that are imprecise, but no more so than autodiff.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find every hand-written rule inside a JAX program, also inside a derivative, and check it at what it sees."""
    from ..verification import audit

    fun, given = function_and_args(function, args)
    found = audit(fun, *given, allow=allow or (), checks=check, strict=strict)
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    if not found.passed:
        raise SystemExit(FAILED)


def function_and_args(function: str, args: str | None) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function that FILE.py:FUNCTION names, and the arguments that FILE.py:MAKE_ARGS makes for it.

    Raises:
        ValueError: the function does not take such arguments.
    """
    fun = _load(function)
    made = _load(args)() if args else ()
    given = made if isinstance(made, tuple) else (made,)
    try:
        inspect.signature(fun).bind(*given)
    except TypeError as error:
        raise ValueError(f"{function}: {error}. Give a function that makes them: --args FILE.py:MAKE_ARGS.") from None
    return fun, given


def _load(where: str) -> Callable[..., Any]:
    """The function that FILE.py:NAME names.

    Raises:
        ValueError: it is not of that form, or the file has no such function.
        FileNotFoundError: there is no such file.
    """
    path, _, name = where.rpartition(":")
    if not path or not name:
        raise ValueError(f"{where} is not of the form FILE.py:FUNCTION.")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{path} has no function called {name}.")
    return getattr(module, name)
