"""Where a program adds up: how many terms, in which type, in which line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from .compat import Jaxpr, JaxprEqn, aval, dtype_of, inner_jaxprs, scan_of, shape_of
from .provenance import frames
from .queries import equations

_PACKAGE = str(Path(__file__).parents[1] / "verification")


@dataclass(frozen=True)
class Sum:
    """An equation that adds up.

    Attributes:
        eqn: the equation.
        terms: how many numbers one of its outputs is the sum of, at most.
        dtype: the type in which they are added.
    """

    eqn: JaxprEqn
    terms: int
    dtype: Any

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.eqn.primitive.name

    @property
    def step_by_step(self) -> bool:
        """Whether every partial sum is rounded to that type; XLA's own sums and products are accumulated in float32."""
        return self.name in _STEP_BY_STEP

    @property
    def place(self) -> str:
        """`file:line` of the line it was traced in; empty where JAX does not know, as in most backward passes."""
        found = frames(self.eqn, ends=lambda file: file.startswith(_PACKAGE))
        return f"{Path(found[-1].file).name}:{found[-1].line}" if found else ""


def sums(jaxpr: Jaxpr) -> Iterator[Sum]:
    """Every sum of floating-point numbers in a program, those in loops and calls too."""
    for eqn in jaxpr.eqns:
        terms = _TERMS.get(eqn.primitive.name)
        if terms is not None:
            added = eqn.outvars[: scan_of(eqn).carried] if eqn.primitive.name == "scan" else eqn.outvars
            types = [dtype_of(v) for v in added if jnp.issubdtype(dtype_of(v), jnp.inexact)]
            if types:
                yield Sum(eqn, int(terms(eqn)), max(types, key=lambda t: float(jnp.finfo(t).eps)))
        for body in inner_jaxprs(eqn):
            yield from sums(body)


def most_terms(jaxpr: Jaxpr) -> int:
    """The terms of the longest sum; 0 where there is none."""
    return max((s.terms for s in sums(jaxpr)), default=0)


def equation_count(jaxpr: Jaxpr) -> int:
    """How many equations a program has: it grows with the inputs where a Python loop is written out."""
    return sum(1 + sum(map(equation_count, inner_jaxprs(eqn))) for eqn in jaxpr.eqns)


def largest_array(jaxpr: Jaxpr) -> int:
    """The size of the largest array that a program computes."""
    own = (getattr(aval(v), "size", 0) for eqn in jaxpr.eqns for v in eqn.outvars)
    inner = (largest_array(body) for eqn in jaxpr.eqns for body in inner_jaxprs(eqn))
    return max((*own, *inner), default=0)


def loop_steps(jaxpr: Jaxpr) -> int:
    """The steps of the longest `scan`; 0 where there is none."""
    own = (eqn.params["length"] for eqn in jaxpr.eqns if eqn.primitive.name == "scan")
    return max((*own, *(loop_steps(body) for eqn in jaxpr.eqns for body in inner_jaxprs(eqn))), default=0)


def scan_lengths(jaxpr: Jaxpr) -> set[int]:
    """The steps of each `scan`."""
    return {eqn.params["length"] for eqn in equations(jaxpr, ("scan",))}


def _reduced(eqn: JaxprEqn) -> float:
    return aval(eqn.invars[0]).size / max(aval(eqn.outvars[0]).size, 1)


def _along_the_axis(eqn: JaxprEqn) -> int:
    return shape_of(eqn.invars[0])[eqn.params["axis"]]


def _contracted(eqn: JaxprEqn) -> int:
    (axes, _), _ = eqn.params["dimension_numbers"]
    terms = 1
    for axis in axes:
        terms *= shape_of(eqn.invars[0])[axis]
    return terms


def _indices(eqn: JaxprEqn) -> int:
    shape = shape_of(eqn.invars[1])
    return aval(eqn.invars[1]).size // max(shape[-1] if shape else 1, 1)


def _window(eqn: JaxprEqn) -> int:
    terms = 1
    for n in eqn.params["window_dimensions"]:
        terms *= n
    return terms


def _kernel(eqn: JaxprEqn) -> int:
    kernel = eqn.invars[1]
    return aval(kernel).size // max(shape_of(kernel)[eqn.params["dimension_numbers"].rhs_spec[0]], 1)


def _steps(eqn: JaxprEqn) -> int:
    return eqn.params["length"]


def _longest_axis(eqn: JaxprEqn) -> int:
    return max((n for v in eqn.invars for n in getattr(aval(v), "shape", ())), default=0)


_TERMS: dict[str, Callable[[JaxprEqn], float]] = {
    "reduce_sum": _reduced,
    "reduce": _reduced,
    "cumsum": _along_the_axis,
    "cumlogsumexp": _along_the_axis,
    "dot_general": _contracted,
    "scatter-add": _indices,
    "scatter_add": _indices,
    "reduce_window_sum": _window,
    "reduce_window": _window,
    "conv_general_dilated": _kernel,
    "scan": _steps,
    "while": _longest_axis,
}
"""How many terms each primitive adds up; what a loop adds, it adds once a step."""

_STEP_BY_STEP = frozenset({"scatter-add", "scatter_add", "scan", "while", "cumsum"})
