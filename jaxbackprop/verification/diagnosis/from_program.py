"""Which single step of the plain function, gone wrong in its backward pass, explains a wrong gradient?

The plain function is differentiated with one equation's derivative changed (left out, negated, doubled, evaluated at
the output or the input) or one use of a value cut off (a branch of a fork), and what autodiff then answers is compared
with the actual one. All changes are in one compiled program, which takes the number of the one to make.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...jaxprs.compat import CALLS, REMAT, RULES, JaxprEqn, Literal, aval, binding
from ...jaxprs.evaluate import Walk, evaluate
from ...jaxprs.inputs import Leaves, replaced
from ...jaxprs.provenance import call_name
from ..problem import Problem
from .evidence import Evidence

MOST = 60
"""So many cut branches, and so many changed steps, are tried at most."""

_INLINED = frozenset({*CALLS, *RULES, *REMAT})
_LINEAR = frozenset(
    "add sub add_any neg reshape broadcast_in_dim transpose squeeze convert_element_type copy reduce_sum slice "
    "concatenate pad gather stop_gradient".split()
)

Change = Callable[[JaxprEqn, Callable[..., list[Any]], list[Any]], list[Any]]


@dataclass(frozen=True)
class _Trial:
    """A change at an equation: of its derivative, or of the gradient through one of its inputs.

    Attributes:
        number: of the equation, as `_walked` counts them.
        words: what it would be.
        slot: the input that is cut off; None where the derivative is changed.
        change: how the derivative is changed.
        doubled: the (number, slot) of another input, whose gradient counts twice.
    """

    number: int
    words: str
    slot: int | None = None
    change: Change | None = None
    doubled: tuple[int, int] | None = None


def cut_branches(e: Evidence) -> Iterator[tuple[str, Any]]:
    """One use of a value that is used more than once gets no gradient."""
    yield from _tried(e, "cut branches", _cuts)


def changed_steps(e: Evidence) -> Iterator[tuple[str, Any]]:
    """One step's local derivative is left out, of the wrong sign, doubled, or evaluated at the wrong end."""
    yield from _tried(e, "changed steps", _changes)


def taken_for_symmetric(e: Evidence) -> Iterator[tuple[str, Any]]:
    """Of two uses of a value one counts twice and the other not: right where both are alike, as for x^T A x."""
    yield from _tried(e, "taken for symmetric", _doubles)


def _tried(e: Evidence, name: str, list_trials: Callable[[list[JaxprEqn]], list[_Trial]]) -> Iterator[tuple[str, Any]]:
    problem = e.problem
    trials = problem.programs.get((name, "trials"), lambda: list_trials(_equations(problem))[:MOST])
    if not trials:
        return
    arrays, upstream = problem.inputs.arrays, list(e.upstream)
    count = len(arrays)

    def pull(*args: Any) -> list[Any]:
        *given, which = args
        step = _step_with(trials, which)

        def of_live(*floats: Any) -> list[Any]:
            return _walked(problem, replaced(given[:count], problem.inputs.live, floats), step)

        y, back = jax.vjp(of_live, *(given[i] for i in problem.inputs.live))
        return list(back([u.astype(a.dtype) for u, a in zip(given[count:], y, strict=True)]))

    problem.trace(name, pull, *arrays, *upstream, np.int32(0))
    for k, trial in enumerate(trials):
        yield trial.words, problem.exact(name, [*arrays, *upstream, np.int32(k)])[e.leaf]


Step = Callable[[int, JaxprEqn, list[Any], Callable[..., list[Any]]], list[Any]]
"""`(number, equation, inputs, run)` -> outputs; `run(*inputs)` are those of the function itself."""


def _walked(problem: Problem, arrays: Leaves, step: Step) -> list[Any]:
    """The plain function at `arrays`, plain calls inlined; `step` answers each equation, a call before those inside."""
    numbers = iter(range(10**9))

    def hook(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        inlined = eqn.primitive.name in _INLINED
        run = (lambda *x: walk.inside(eqn, list(x))) if inlined else binding(eqn)
        return step(next(numbers), eqn, inputs, run)

    # As it was written: "value" has its rules stripped, and the names of calls with them.
    whole = problem.inputs.call(problem.function.plain)
    return evaluate(problem.trace("value with calls", whole, *problem.inputs.arrays), arrays, hook)


def _equations(problem: Problem) -> list[JaxprEqn]:
    """The equations of the plain function, in the order in which `_walked` numbers them."""
    seen: list[JaxprEqn] = []

    def note(number: int, eqn: JaxprEqn, inputs: list[Any], run: Callable[..., list[Any]]) -> list[Any]:
        seen.append(eqn)
        return run(*inputs)

    with problem.x64():
        jax.make_jaxpr(lambda *a: _walked(problem, list(a), note))(*problem.inputs.arrays)
    return seen


def _step_with(trials: list[_Trial], which: Any) -> Step:
    """The step that makes the trial of that number, a traced integer."""

    def step(number: int, eqn: JaxprEqn, inputs: list[Any], run: Callable[..., list[Any]]) -> list[Any]:
        mine = [(k, t) for k, t in enumerate(trials) if t.number == number]
        for k, trial in mine:
            if trial.slot is not None:
                x = inputs[trial.slot]
                inputs = replaced(inputs, [trial.slot], [jnp.where(which == k, lax.stop_gradient(x), x)])
        for k, trial in enumerate(trials):
            if trial.doubled is not None and trial.doubled[0] == number:
                x = inputs[trial.doubled[1]]
                twice = 2 * x - lax.stop_gradient(x)
                inputs = replaced(inputs, [trial.doubled[1]], [jnp.where(which == k, twice, x)])
        changes = [(k, t.change) for k, t in mine if t.change is not None]
        if not changes:
            return run(*inputs)
        if eqn.primitive.name in _INLINED:  # run but once: what is inside is numbered as it comes
            (k, _), outputs = changes[0], run(*inputs)
            changed = _left_out(eqn, lambda *x: outputs, inputs)
            return [jnp.where(which == k, a, b) for a, b in zip(changed, outputs, strict=True)]
        # A branch each: a derivative that is not finite there must not reach the others.
        branches = [lambda *x: binding(eqn)(*x)]
        branches += [lambda *x, change=change: change(eqn, binding(eqn), list(x)) for _, change in changes]
        chosen = sum(jnp.where(which == k, i + 1, 0) for i, (k, _) in enumerate(changes))
        return list(lax.switch(chosen, branches, *inputs))

    return step


def _live(v: Any) -> bool:
    return not isinstance(v, Literal) and jnp.issubdtype(aval(v).dtype, jnp.inexact)


def _name(eqn: JaxprEqn) -> str:
    return call_name(eqn) if eqn.primitive.name in _INLINED else eqn.primitive.name


def _shown(eqn: JaxprEqn) -> str:
    sizes = "x".join(map(str, aval(eqn.outvars[0]).shape))
    return f"the step '{_name(eqn)}'" + (f" ({sizes})" if sizes else "")


def _cuts(equations: list[JaxprEqn]) -> list[_Trial]:
    uses: dict[Any, list[_Trial]] = {}
    for number, eqn in enumerate(equations):
        for slot, v in enumerate(eqn.invars):
            if _live(v):
                words = f"only one branch of a fork: the gradient through {_shown(eqn)} is left out"
                uses.setdefault(v, []).append(_Trial(number, words, slot))
    return [trial for trials in uses.values() for trial in trials]


def _doubles(equations: list[JaxprEqn]) -> list[_Trial]:
    """For each of two uses of a value: that use cut off, and the other one doubled."""
    uses: dict[Any, list[tuple[int, int]]] = {}
    for number, eqn in enumerate(equations):
        for slot, v in enumerate(eqn.invars):
            if _live(v):
                uses.setdefault(v, []).append((number, slot))
    words = "only one branch of a fork, counted twice: {} is taken for symmetric"
    return [
        _Trial(number, words.format(_shown(equations[number])), slot, doubled=other)
        for pair in uses.values()
        if len(pair) == 2
        for (number, slot), other in (pair, pair[::-1])
    ]


def _changes(equations: list[JaxprEqn]) -> list[_Trial]:
    trials = []
    for number, eqn in enumerate(equations):
        if len(eqn.outvars) != 1 or not _live(eqn.outvars[0]) or not any(map(_live, eqn.invars)):
            continue
        if eqn.primitive.name in _INLINED:
            name = _name(eqn)
            if name != eqn.primitive.name:
                trials.append(_Trial(number, f"a local derivative is left out: that of '{name}'", change=_left_out))
            continue
        for change, words in _CHANGES:
            name = eqn.primitive.name
            if name in _LINEAR and change in (_left_out, _at_output):
                continue
            if change is _at_input and name not in OF_OUTPUT:
                continue
            trials.append(_Trial(number, words.format(_shown(eqn)), change=change))
    return trials


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


_CHANGES: tuple[tuple[Change, str], ...] = (
    (_left_out, "a local derivative is left out: that of {}"),
    (_negated, "sign: of the derivative of {}"),
    (_at_output, "local derivative evaluated at the output instead of the input: of {}"),
    (_at_input, "local derivative evaluated at the input instead of the output: of {}"),
    (_doubled, "constant factor 2 in the derivative of {}"),
    (_halved, "constant factor 1/2 in the derivative of {}"),
)
