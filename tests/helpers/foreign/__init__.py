"""Rules that were not made by changing ours: after public reports and other libraries, right ones and wrong ones."""

from . import (
    arguments,
    attention,
    complex_numbers,
    domains,
    indexing,
    kernels,
    kinks_and_infinities,
    layers,
    linear_algebra,
    losses,
    normalization,
    precision,
)
from .entry import Foreign

_FAMILIES = (
    arguments, attention, complex_numbers, domains, indexing, kernels, kinks_and_infinities, layers, linear_algebra,
    losses, normalization, precision,
)  # fmt: skip


def right() -> list[Foreign]:
    """The right rules."""
    return [entry for family in _FAMILIES for entry in family.right()]


def wrong() -> list[Foreign]:
    """The wrong rules."""
    return [entry for family in _FAMILIES if hasattr(family, "wrong") for entry in family.wrong()]
