"""Which single step of the plain function, gone wrong in its backward pass, explains a wrong gradient?

The plain function is replayed with one equation's derivative changed (left out, negated, doubled, evaluated at the
output or the input) or one use of a value cut off (a branch of a fork), and what autodiff then answers is compared
with what came.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from ...jaxprs.inputs import Leaves, replaced
from ...jaxprs.number_systems.interpreter import FLOAT64, evaluate
from ...jaxprs.rules import aval
from .evidence import Evidence

MOST = 60
"""So many changed programs are tried at most: each is traced once."""

_CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_closed_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "remat2",
    "checkpoint",
)
_LINEAR = {
    "add",
    "sub",
    "add_any",
    "neg",
    "reshape",
    "broadcast_in_dim",
    "transpose",
    "squeeze",
    "convert_element_type",
    "copy",
    "reduce_sum",
    "slice",
    "concatenate",
    "pad",
    "gather",
    "stop_gradient",
}

Wrap = Callable[[JaxprEqn, Callable[..., list[Any]], list[Any]], list[Any]]


def _inlined(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], step: Callable) -> list[Any]:
    """Evaluate `jaxpr`, plain calls inlined; `step(number, equation, inputs)` answers each equation's outputs."""
    counter = iter(range(10**9))

    def run(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        known.update(zip(jaxpr.invars, args, strict=True))
        at = lambda atom: atom.val if isinstance(atom, Literal) else known[atom]  # noqa: E731
        for eqn in jaxpr.eqns:
            inputs = [at(v) for v in eqn.invars]
            if eqn.primitive.name in _CALLS:
                body = next(eqn.params[k] for k in ("call_jaxpr", "jaxpr", "fun_jaxpr") if k in eqn.params)
                inner = (body.jaxpr, body.consts) if isinstance(body, ClosedJaxpr) else (body, ())
                outputs = run(*inner, inputs)
            else:
                outputs = step(next(counter), eqn, inputs)
            known.update(zip(eqn.outvars, outputs, strict=True))
        return [at(v) for v in jaxpr.outvars]

    return run(jaxpr, consts, args)


def _bind(eqn: JaxprEqn) -> Callable[..., list[Any]]:
    params = eqn.primitive.get_bind_params(eqn.params)

    def bound(*inputs: Any) -> list[Any]:
        out = eqn.primitive.bind(*inputs, **params)
        return list(out) if eqn.primitive.multiple_results else [out]

    return bound


def _gradient(e: Evidence, step: Callable) -> np.ndarray:
    """The gradient at the evidence's leaf of the plain function replayed with `step`."""
    case = e.case
    program, live = case.value_program, case.point.live

    def pull(arrays: Leaves, upstream: Leaves) -> Any:
        def of_live(*floats: Any) -> list[Any]:
            return _inlined(program.jaxpr, program.consts, replaced(arrays, live, floats), step)

        y, back = jax.vjp(of_live, *(arrays[i] for i in live))
        return back([u.astype(a.dtype) for u, a in zip(upstream, y, strict=True)])[e.leaf]

    traced = case.trace(pull, case.point.arrays, list(e.upstream))
    return np.asarray(evaluate(traced, [*case.point.arrays, *e.upstream], FLOAT64)[0])


def _equations(e: Evidence) -> list[JaxprEqn]:
    """The equations of the plain function that a derivative passes through, in the order `_inlined` counts them."""
    seen: list[JaxprEqn] = []

    def note(number: int, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        seen.append(eqn)
        return _bind(eqn)(*inputs)

    program = e.case.value_program
    e.case.trace(lambda *a: _inlined(program.jaxpr, program.consts, a, note), *e.case.point.arrays)
    return seen


def _live(v: Any) -> bool:
    return not isinstance(v, Literal) and jnp.issubdtype(aval(v).dtype, jnp.inexact)


def cut_branches(e: Evidence) -> Iterator[tuple[str, Any]]:
    """One use of a value that is used more than once gets no gradient."""
    uses: dict[Any, list[tuple[int, int, JaxprEqn]]] = {}
    for number, eqn in enumerate(_equations(e)):
        for slot, v in enumerate(eqn.invars):
            if _live(v):
                uses.setdefault(v, []).append((number, slot, eqn))
    tried = 0
    for places in uses.values():
        for number, slot, eqn in places:
            tried += 1
            if tried > MOST:
                return

            def step(k: int, here: JaxprEqn, inputs: list[Any], at: tuple[int, int] = (number, slot)) -> list[Any]:
                if k == at[0]:
                    inputs = replaced(inputs, [at[1]], [lax.stop_gradient(inputs[at[1]])])
                return _bind(here)(*inputs)

            words = f"only one branch of a fork: the gradient through {_shown(eqn)} is left out"
            yield words, _gradient(e, step)


def _shown(eqn: JaxprEqn) -> str:
    sizes = "x".join(map(str, aval(eqn.outvars[0]).shape))
    return f"the step '{eqn.primitive.name}'" + (f" ({sizes})" if sizes else "")


def changed_steps(e: Evidence) -> Iterator[tuple[str, Any]]:
    """One step's local derivative is left out, of the wrong sign, doubled, or evaluated at the wrong end."""
    tried = 0
    for number, eqn in enumerate(_equations(e)):
        if len(eqn.outvars) != 1 or not _live(eqn.outvars[0]) or not any(map(_live, eqn.invars)):
            continue
        for change, words in _CHANGES:
            name = eqn.primitive.name
            if (name in _LINEAR and change in (_left_out, _at_output)) or (
                change is _at_input and name not in OF_OUTPUT
            ):
                continue
            tried += 1
            if tried > MOST:
                return

            def step(k: int, here: JaxprEqn, inputs: list[Any], at: int = number, change: Wrap = change) -> list[Any]:
                return change(here, _bind(here), inputs) if k == at else _bind(here)(*inputs)

            yield words.format(_shown(eqn)), _gradient(e, step)


def _negated(eqn: JaxprEqn, bound: Callable, inputs: list[Any]) -> list[Any]:
    (y,) = bound(*inputs)
    return [2 * lax.stop_gradient(y) - y]


def _doubled(eqn: JaxprEqn, bound: Callable, inputs: list[Any]) -> list[Any]:
    (y,) = bound(*inputs)
    return [2 * y - lax.stop_gradient(y)]


def _halved(eqn: JaxprEqn, bound: Callable, inputs: list[Any]) -> list[Any]:
    (y,) = bound(*inputs)
    return [(y + lax.stop_gradient(y)) / 2]


def _left_out(eqn: JaxprEqn, bound: Callable, inputs: list[Any]) -> list[Any]:
    """The value stays; the derivative is that of the identity in each input of the output's shape."""
    (y,) = bound(*inputs)
    held = lax.stop_gradient(y)
    passing = [
        x - lax.stop_gradient(x)
        for x, v in zip(inputs, eqn.invars, strict=True)
        if _live(v) and jnp.shape(x) == y.shape
    ]
    return [sum((p.astype(y.dtype) for p in passing), held)]


def _at_output(eqn: JaxprEqn, bound: Callable, inputs: list[Any]) -> list[Any]:
    """The derivative is taken at the step's output in the place of its input."""
    (y,) = bound(*inputs)
    moved = [
        lax.stop_gradient(y) + (x - lax.stop_gradient(x)) if _live(v) and jnp.shape(x) == y.shape else x
        for x, v in zip(inputs, eqn.invars, strict=True)
    ]
    (elsewhere,) = bound(*moved)
    return [lax.stop_gradient(y) + elsewhere - lax.stop_gradient(elsewhere)]


OF_OUTPUT: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda y: 1 - y * y,
    "logistic": lambda y: y * (1 - y),
    "exp": lambda y: y,
    "exp2": lambda y: jnp.log(2.0) * y,
    "expm1": lambda y: y + 1,
    "sqrt": lambda y: 0.5 / y,
    "rsqrt": lambda y: -0.5 * y**3,
    "cbrt": lambda y: 1 / (3 * y * y),
    "tan": lambda y: 1 + y * y,
}
"""Derivatives that are written in the step's output y."""


def _at_input(eqn: JaxprEqn, bound: Callable, inputs: list[Any]) -> list[Any]:
    """The derivative, which is one of the step's output, is taken at its input in its place."""
    (y,), (x,) = bound(*inputs), inputs
    return [lax.stop_gradient(y) + OF_OUTPUT[eqn.primitive.name](lax.stop_gradient(x)) * (x - lax.stop_gradient(x))]


_CHANGES: tuple[tuple[Wrap, str], ...] = (
    (_left_out, "a local derivative is left out: that of {}"),
    (_negated, "sign: of the derivative of {}"),
    (_at_output, "local derivative evaluated at the output instead of the input: of {}"),
    (_at_input, "local derivative evaluated at the input instead of the output: of {}"),
    (_doubled, "constant factor 2 in the derivative of {}"),
    (_halved, "constant factor 1/2 in the derivative of {}"),
)
