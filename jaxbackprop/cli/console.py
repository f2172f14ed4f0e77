"""What all commands share: the app, where they print, and how errors end. No command lives here."""

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from platformdirs import user_cache_path
from rich.console import Console
from rich.markup import escape

from .. import __version__

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

app = typer.Typer(
    name="jaxbackprop",
    help="Backpropagation derived by hand, proved against autodiff, and put to work.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

BAD_INPUT, FAILED, INTERRUPTED, TERMINATED = 2, 1, 130, 143
WORTH_KEEPING = 0.05  # seconds a program took to compile; a small one is compiled faster than it is found
TRACEBACK_VARIABLE = "JAXBACKPROP_TRACEBACK"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"jaxbackprop {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Backpropagation derived by hand, proved against autodiff, and put to work."""


def out() -> Console:
    """Where results go."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Where progress and errors go, so that results can be piped."""
    return Console(file=sys.stderr, highlight=False)


def note(text: str) -> None:
    """A line beside the results."""
    err().print(text, style="dim", markup=False, soft_wrap=True)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Each different warning once, as a note at the end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        finally:
            for message in dict.fromkeys(str(warning.message) for warning in caught):
                note(message)


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    print(json.dumps(value, ensure_ascii=False, default=float))


def fail(message: str, status: int) -> NoReturn:
    """End with one clear message on stderr."""
    err().print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    raise SystemExit(status)


def keep_compiled_programs() -> None:
    """What one command compiles the next one finds, in the user's cache or where JAX_COMPILATION_CACHE_DIR says.

    A folder of the cache that somebody else can write is not used: what is found there is run.
    """
    from ..training.private_folder import is_private

    folder = user_cache_path("jaxbackprop") / "compiled"
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or not (is_private(folder.parent) and is_private(folder)):
        return
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": WORTH_KEEPING,
    }
    if "jax" not in sys.modules:  # JAX reads them when it is imported, which a command without it never does
        os.environ.update({name.upper(): str(value) for name, value in settings.items()})
        return
    import jax

    for name, value in settings.items():
        jax.config.update(name, value)


def interrupt_again(ignored: "UnraisableHookArgs") -> None:
    """A Ctrl-C where Python ignores exceptions, as in a callback of its garbage collector, comes once more.

    Anything else is reported as Python reports it.
    """
    if isinstance(ignored.exc_value, KeyboardInterrupt):
        # Python still ignores exceptions until this has returned; and only a signal to its thread ends a wait.
        main_thread = threading.main_thread().ident
        threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run a command line; the exit status is 0 where all is well, 1 where a check failed, 2 for bad input."""
    given = sys.argv[1:] if arguments is None else arguments
    # `circuit` takes an expression such as "-x * h": there, -h is the help only where it stands alone.
    given = ["--help" if given[:1] == ["circuit"] and one == "-h" else one for one in given]
    try:
        app(args=given, prog_name="jaxbackprop")
    except FloatingPointError as error:  # training met a NaN
        _end(error, FAILED)
    except (ValueError, OSError) as error:
        _end(error, BAD_INPUT)
    raise SystemExit(0)


def _end(error: Exception, status: int) -> NoReturn:
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    fail(str(error), status)
