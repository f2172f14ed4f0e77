"""Work on further threads while the first goes on: numpy, pyarrow and zlib let go of the interpreter meanwhile."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def in_parallel(function: Callable[[A], B], items: Iterable[A], *, threads: int = 2) -> Iterator[B]:
    """function(item) for each item, in order, begun before it is needed; at most `threads` + 1 results wait.

    A single item is worked on at once: to start and end a thread takes longer than most of them.
    """
    items = iter(items)
    first = list(islice(items, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    begun = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in chain(first, items):
            begun.append(pool.submit(function, item))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
