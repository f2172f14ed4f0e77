"""How a process that trains text begins and ends: JAX is imported while the file is read, and left without ceremony.

Importing JAX takes longer than training on a small file. What training itself is stands in train.py.
"""

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

OFTEN = 2e-4  # seconds after which the thread that imports lets another go on: by default ten times as many


@contextmanager
def starting() -> Iterator[Callable[[], Any]]:
    """Imports the trainer on another thread; what is yielded answers with the module `train`, once it is there."""
    if f"{__package__}.train" in sys.modules:
        yield lambda: import_module(".loop", __package__)
        return
    before = sys.getswitchinterval()
    sys.setswitchinterval(OFTEN)
    try:
        with ThreadPoolExecutor(1) as other:
            yield other.submit(_trainer).result
    finally:
        sys.setswitchinterval(before)


def _trainer() -> Any:
    collecting = gc.isenabled()
    gc.disable()
    try:
        train = import_module(".loop", __package__)
    finally:
        if collecting:
            gc.enable()
    atexit.register(gc.freeze)
    return train
