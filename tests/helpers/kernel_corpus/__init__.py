"""Backward kernels as people write them, in chunked JAX and in Pallas: right ones, and ones with a planted fault."""

from . import attention, elementwise, embedding, losses, norms
from .entry import Kernel as Kernel

_FAMILIES = (attention, norms, losses, elementwise, embedding)


def right() -> list[Kernel]:
    """The right kernels."""
    return [entry for family in _FAMILIES for entry in family.right()]


def wrong() -> list[Kernel]:
    """The faulty ones."""
    return [entry for family in _FAMILIES for entry in family.wrong()]
