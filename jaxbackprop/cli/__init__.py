"""The commands. The only place that prints; each command imports what it needs when it runs, so that help is quick."""

from typing import NoReturn

from . import bench as bench
from . import check as check
from . import circuit as circuit
from . import data as data
from . import runs as runs
from . import train as train
from .console import app as app
from .console import keep_compiled_programs, run


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console command `jaxbackprop`."""
    keep_compiled_programs()
    run(arguments)
