"""`trace`: a function and its arguments become a Circuit."""

from collections.abc import Callable, Collection
from typing import Any

import jax

from .circuit import Circuit
from .walk import walk_function


def trace(
    fun: Callable,
    *args: Any,
    upstream: Any = None,
    open: bool | Collection[str] = (),
    unroll: int = 64,
    steps: str = "whole",
    autodiff: bool = True,
) -> Circuit:
    """`fun(*args)` as a circuit: every gate, and on every wire the value and the gradient of the output.

    Args:
        fun: any function of JAX arrays; `jit`, loops, branches, `jax.checkpoint`, custom rules, nnx modules inside.
        args: concrete arguments, pytrees of arrays.
        upstream: the gradient that arrives at what `fun` returns, in its structure (None: nothing arrives). It may be
            left out where `fun` returns one floating-point number; then it is 1.
        open: handwritten rules to open into their primal's gates: their names, or True for all.
        unroll: loops of more steps than this stay one gate each; the rules in it are checked by `audit`.
        steps: "whole" keeps every array within loops; "summary" replaces each by shape, extremes, mean and size once
            its gradient has been sent on: for long loops over large arrays. What leaves a loop, and arrays of few
            elements, are kept whole; gradients and verdicts are the same.
        autodiff: also compute every gradient by autodiff with the handwritten backward passes left out.

    Returns:
        A Circuit; its gradients are those of `jax.grad(fun)`, exactly.

    Raises:
        ValueError: no `upstream` for a function that does not return one number, or one of another structure; a
            `jax.Ref` among the arguments.
    """
    if steps not in ("whole", "summary"):
        raise ValueError(f"trace: steps is 'whole' or 'summary', not {steps!r}.")
    with jax.transfer_guard("allow"):
        return Circuit.of(
            walk_function(
                fun, args, upstream=upstream, open=open, unroll=unroll, summaries=steps == "summary", autodiff=autodiff
            )
        )
