"""The commands. The only place that prints; each command imports what it needs when it runs, so that help is quick."""

import atexit
import gc
import sys
from typing import NoReturn

from . import verify as verify  # isort: skip  (the order here is that of the help)
from . import audit as audit  # isort: skip
from . import derive as derive  # isort: skip
from . import circuit as circuit  # isort: skip
from . import bench as bench  # isort: skip
from . import train as train  # isort: skip
from . import test as test  # isort: skip
from . import predict as predict  # isort: skip
from . import resume as resume  # isort: skip
from . import quantize as quantize  # isort: skip
from . import data as data  # isort: skip
from . import info as info  # isort: skip
from .console import app as app
from .console import interrupt_again, keep_compiled_programs, run

FEW_SEARCHES = 100_000  # new objects until the next search for garbage


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console command `jaxbackprop`."""
    keep_compiled_programs()
    sys.unraisablehook = interrupt_again
    # The process is the command's own, and JAX's modules are many objects but no garbage: they are searched seldom.
    gc.set_threshold(FEW_SEARCHES)
    atexit.register(gc.freeze)
    run(arguments)
