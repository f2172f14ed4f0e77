"""Where gradients begin: the upstream gradient that arrives at what a function returns, set on its output wires."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .model import Wire
from .naming import output_names
from .summary import is_inexact


def set_output_cotangents(fun: Callable, outputs: list[Wire], tree: Any, upstream: Any) -> None:
    """Name the output wires and set the upstream gradient on them.

    Args:
        fun: the function, for its name.
        outputs: the wires of what it returns.
        tree: the structure of what it returns.
        upstream: the gradient in that structure, None for zero; 1 for a function that returns one number.

    Raises:
        ValueError: none is given for a function that does not return one number, or it does not fit.
    """
    names = output_names(tree.unflatten(outputs))
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
        set_cotangent(floating[0], jnp.ones_like(floating[0].value))
        return
    cotangents = jax.tree.flatten(upstream, is_leaf=lambda x: x is None)[0]
    if len(cotangents) != len(outputs):
        raise ValueError(f"trace: upstream has {len(cotangents)} arrays, but {len(outputs)} are returned: {shapes}.")
    for wire, name, cotangent in zip(outputs, names, cotangents, strict=True):
        if cotangent is None:
            continue
        if np.shape(cotangent) != wire.shape:
            raise ValueError(f"trace: upstream of {name} has shape {np.shape(cotangent)}; {name} has {wire.shape}.")
        if is_inexact(wire.value):
            set_cotangent(wire, jnp.asarray(cotangent, wire.dtype))


def set_cotangent(wire: Wire, cotangent: Any) -> None:
    """A gradient that enters at an output; at a wire returned twice both add up."""
    if cotangent is not None and wire.differentiable:
        before = wire.output_cotangent
        wire.output_cotangent = cotangent if before is None else before + cotangent
        wire.upstream = wire.autodiff_upstream = wire.output_cotangent
