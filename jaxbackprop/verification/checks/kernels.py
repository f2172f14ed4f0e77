"""What only Pallas kernels get wrong: two steps that add to one block at once, and results that change.

Memory that a kernel never writes, or reads beyond the end of an array, is not a number where JAX interprets it, so
every check that compares numbers finds it.
"""

import itertools
import math
from collections.abc import Iterator

from ...jaxprs.compat import Kernel, KernelArray
from ..axes import kernels_in
from ..problem import Problem
from .result import CheckResult

MOST_STEPS = 1024
"""Of a longer grid it is not looked up which step writes which block."""


def kernels(problem: Problem) -> Iterator[CheckResult]:
    """No two steps of a Pallas kernel that may run at once add to the same block; run twice, it gives the same bits."""
    if not problem.holds_kernel or not problem.main:
        return
    for kernel in kernels_in(problem.trace("handwritten").jaxpr):
        for j, array in enumerate(kernel.outputs):
            yield from _written(kernel, array, f"output {j} of the kernel {kernel.name}")
    low = problem.at(problem.given.dtype)
    first, second = ([x for part in low.as_run("handwritten", low.upstream(0)) for x in part] for _ in range(2))
    if any(a.tobytes() != b.tobytes() for a, b in zip(first, second, strict=True)):
        yield CheckResult(False, "run twice, it gives other bits", suspect="not deterministic: a race, or memory read")
    else:
        yield CheckResult(True, "run twice, it gives the same bits")


def _written(kernel: Kernel, array: KernelArray, which: str) -> Iterator[CheckResult]:
    """Blocks of an output that several steps write, where that is a race, or matters on some device."""
    if kernel.grid is None or array.place is None or math.prod(kernel.grid) > MOST_STEPS:
        return
    writers: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    returned = False
    last: tuple[int, ...] | None = None
    for step in itertools.product(*map(range, kernel.grid)):
        block = array.place(step)
        returned, last = returned or (block != last and block in writers), block
        writers.setdefault(block, []).append(step)
    for axis in kernel.parallel if array.read else ():
        for block, steps in writers.items():
            if len({step[axis] for step in steps}) > 1:
                yield CheckResult(
                    False,
                    f"block {list(block)} of {which} is added to by {len(steps)} steps, {list(steps[0])} to "
                    f"{list(steps[-1])}, that may run at once: axis {axis} of the grid is said to be parallel",
                    suspect="a race between blocks: several steps of a parallel axis add to one block",
                )
                return
    if returned and not kernel.parallel:
        yield CheckResult(
            True, f"{which}: blocks are written again after others; a TPU does not read them back", note=True
        )
