"""Where verification may be called, and what of the caller's settings it must not feel or disturb."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from ..jaxprs.compat import Tracer


@contextmanager
def undisturbed() -> Iterator[None]:
    """No warning is raised or shown, and arrays may be moved between host and device whatever the guard says."""
    with warnings.catch_warnings(), jax.transfer_guard("allow"):
        warnings.simplefilter("ignore")
        yield


def refuse_tracers(who: str, args: Sequence[Any]) -> None:
    """Nothing can be verified while a program is traced: there are no numbers.

    Raises:
        TypeError: an argument is a tracer, or the call itself stands in a function that is traced.
    """
    if any(isinstance(x, Tracer) for x in (*jax.tree.leaves(args), jnp.add(1, 1))):
        raise TypeError(
            f"{who}: called inside jax.jit, grad, vmap or another transformation, where there are no numbers.\n"
            f"  Call {who} outside of it, with arrays."
        )
