"""The trainer is imported on a thread while the text is read: importing JAX takes longer than a small training."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def starting() -> Iterator[Callable[[], Any]]:
    """Imports the trainer on another thread; what is yielded answers with the module `loop`, once it is there."""
    if f"{__package__}.loop" in sys.modules:
        yield lambda: import_module(".loop", __package__)
        return
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(import_module, ".loop", __package__).result
