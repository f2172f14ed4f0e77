"""Where gradients begin: the upstream gradient that arrives at what a function returns, sown on its output wires.

Nothing here walks a program or sends a gradient on.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import naming
from .model import Wire, is_inexact


def seed(fun: Callable, outputs: list[Wire], tree: Any, upstream: Any) -> None:
    """Name the outputs and sow the upstream gradient on them; ValueError where none is given or it does not fit."""
    names = naming.output_names(tree.unflatten(outputs))
    for wire, name in zip(outputs, names, strict=True):
        wire.is_output = True
        if not wire.named and wire.kind == "value":
            wire.name = name
    floating = [wire for wire in outputs if wire.differentiable]
    shapes = ", ".join(f"{name} {wire.shape}" for wire, name in zip(outputs, names, strict=True))
    if upstream is None:
        if len(outputs) != 1 or len(floating) != 1 or np.size(floating[0].value) != 1:
            raise ValueError(
                f"trace: {getattr(fun, '__name__', 'the function')} returns {shapes or 'nothing'}, "
                f"not one floating-point number.\n"
                f"  Say what gradient arrives there: upstream= in the structure of what it returns, None for nothing."
            )
        sow(floating[0], jnp.ones_like(floating[0].value))
        return
    seeds = jax.tree.flatten(upstream, is_leaf=lambda x: x is None)[0]
    if len(seeds) != len(outputs):
        raise ValueError(f"trace: upstream has {len(seeds)} arrays, but {len(outputs)} are returned: {shapes}.")
    for wire, name, given in zip(outputs, names, seeds, strict=True):
        if given is None:
            continue
        if np.shape(given) != wire.shape:
            raise ValueError(f"trace: upstream of {name} has shape {np.shape(given)}; {name} has {wire.shape}.")
        if is_inexact(wire.value):
            sow(wire, jnp.asarray(given, wire.dtype))


def sow(wire: Wire, seed: Any) -> None:
    """A gradient that enters at an output; a wire returned twice gets both."""
    if seed is not None and wire.differentiable:
        wire.seed = seed if wire.seed is None else wire.seed + seed
        wire.upstream = wire.autodiff_upstream = wire.seed
