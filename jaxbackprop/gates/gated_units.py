"""Units of two arrays, one of which lets the other pass: the gate through a unit, times x.

They save their two arguments and nothing else, and round once.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.accumulation import to_accumulator
from ..core.rule import WithResiduals, rule
from .relu_like import _gelu_formula, gelu, gelu_backward, silu, silu_backward


@rule(formula=lambda gate, x: gate / (1 + np.exp(-gate)) * x)
def swiglu(gate: Float[Array, "*B"], x: Float[Array, "*B"]) -> WithResiduals[Float[Array, "*B"]]:
    """x, as much of it as silu of the gate lets pass: the hidden layer of most language models.

    Forward   a = silu(g) x,  silu(g) = g s,  s = sigmoid(g)
    Local     da/dg = (s + g s (1 - s)) x,  da/dx = silu(g)
    Backward  dg = s (1 + g (1 - s)) x upstream,  dx = silu(g) upstream
    Residuals g and x; s is computed again
    Source    Shazeer 2020, arXiv:2002.05202

    Args:
        gate: (*B,), usually one product of the layer's input with a matrix.
        x: (*B,), usually another.
    """
    return _gated(silu.forward, gate, x), (gate, x)


@swiglu.backward
def swiglu_backward(residuals, upstream):
    return _gradients(silu.forward, silu_backward, residuals, upstream)


@rule(
    example_settings=({"approximate": False},),
    formula=lambda gate, x, approximate: _gelu_formula(gate, approximate) * x,
)
def geglu(
    gate: Float[Array, "*B"], x: Float[Array, "*B"], *, approximate: bool = True
) -> WithResiduals[Float[Array, "*B"]]:
    """x, as much of it as gelu of the gate lets pass.

    Forward   a = gelu(g) x,  gelu(g) = g s,  s the share of a normal distribution below g, or approximately
              s = (1 + tanh v) / 2,  v = sqrt(2/pi) (g + 0.044715 g^3)
    Local     da/dg = (s + g s') x,  da/dx = gelu(g);  s' as in `gelu`
    Backward  dg = (s + g s') x upstream,  dx = gelu(g) upstream
    Residuals g and x; s is computed again
    Source    Shazeer 2020, arXiv:2002.05202

    Args:
        gate: (*B,).
        x: (*B,).
        approximate: by tanh, as `gelu` does; else by the error function.
    """
    return _gated(partial(gelu.forward, approximate=approximate), gate, x), (gate, x)


@geglu.backward
def geglu_backward(residuals, upstream, *, approximate):
    unit, backward = (partial(f, approximate=approximate) for f in (gelu.forward, gelu_backward))
    return _gradients(unit, backward, residuals, upstream)


def _gated(unit: Callable, gate: Array, x: Array) -> Array:
    return (unit(to_accumulator(gate))[0] * to_accumulator(x)).astype(jnp.result_type(gate, x))


def _gradients(unit: Callable, backward: Callable, arrays: tuple, upstream: Array) -> tuple[Array, Array]:
    gate, x = arrays
    passing, residuals = unit(to_accumulator(gate))
    upstream = to_accumulator(upstream)
    return backward(residuals, upstream * to_accumulator(x)), passing * upstream
