"""Whether a program's own gradient, all its rules included, is that of its value.

Where the program is a function that somebody differentiates, its gradient is held against numerical derivatives along
random directions, all in float64, each with an error bound. Where it differentiates inside, as a training step does,
what it returns is held against what it returns with plain functions in place of the rules that are not right.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..jaxprs.compat import CALLBACKS, NEW_REF, PRINTS, JaxprEqn
from ..jaxprs.evaluate import Hook, Walk, compiled, evaluate
from ..jaxprs.flatten import dual, flatten
from ..jaxprs.inputs import Inputs, generator, inexact, normal_like, unit_roundoff
from ..jaxprs.observe import Observer
from ..jaxprs.queries import equations
from ..jaxprs.widen import widened
from .checks.result import what_happened
from .oracles import finite_differences
from .oracles.finite_differences import Slopes
from .problem import HandwrittenFunction, Problem

RIGHT, WRONG, CANNOT_TELL = "right", "wrong", "cannot tell"

SHARP = 1e-3
"""Numerical derivatives of a larger relative error bound tell nothing."""

ITERATES = 1e-2
"""A program that iterates until it is near enough has a value that jumps a little: only more than that is wrong."""

DIRECTIONS = 3

MOST = 20_000_000
"""Of more numbers the program's own gradient is not judged."""


@dataclass(frozen=True)
class ProgramGradient:
    """What is known of a program's own gradient.

    Attributes:
        verdict: "right", "wrong" or "cannot tell".
        detail: the numbers, or what stands in the way.
    """

    verdict: str
    detail: str


def against_numerical(function: Callable, point: Inputs) -> ProgramGradient | None:
    """The gradient of `function` at `point` against numerical derivatives; None where it has none."""
    try:
        return _against_numerical(function, point)
    except Exception as error:
        return ProgramGradient(CANNOT_TELL, what_happened(error))


def _against_numerical(function: Callable, point: Inputs) -> ProgramGradient | None:
    program = jax.make_jaxpr(lambda *a: inexact(function(*point.rebuild(a))))(*point.arrays)
    if not program.out_avals or not point.size:
        return None
    if point.size > MOST:
        return ProgramGradient(CANNOT_TELL, f"it is a function of {point.size:,} numbers: too many for float64")
    if equations(program.jaxpr, CALLBACKS):
        return ProgramGradient(CANNOT_TELL, "it calls Python on the host, which may not be called again and again")
    if equations(program.jaxpr, (NEW_REF,)):
        return ProgramGradient(CANNOT_TELL, "it has mutable references")
    weights = normal_like(generator("weights of the outputs"), program.out_avals)
    if [v.shape for v in program.out_avals] == [()]:
        weights = [np.ones(())]
    weights = [np.asarray(u).astype(v.dtype) for u, v in zip(weights, program.out_avals, strict=True)]

    def problem_of(hook: Hook) -> Problem:
        def loss(*arrays: Any) -> Any:
            outputs = evaluate(program, arrays, hook)
            return sum(jnp.vdot(u, y).real for u, y in zip(weights, outputs, strict=True))

        return Problem(HandwrittenFunction("the program", loss, loss, typed=True), Inputs(tuple(point.arrays)))

    problem = problem_of(_silent)
    gradient = _gradient(problem)
    seconds = _seconds_of_a_value(problem)
    count = next((n for n in (DIRECTIONS, 1) if n * EVALUATIONS * seconds < PATIENCE), 0)
    if not count:
        return ProgramGradient(CANNOT_TELL, f"it takes {seconds:.1f} s, and would have to be run {EVALUATIONS} times")
    rng, unit = problem.random("program"), finite_differences.scales(problem.x, problem.leaf_of)
    shape = count, problem.x.size
    along = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape) * unit

    def values(points: np.ndarray) -> np.ndarray:
        return np.stack([flatten(problem.at_flat(p).value()) for p in points])

    def judged(rounding: np.ndarray | None = None) -> ProgramGradient:
        slopes = finite_differences.slopes(values, problem.x, along, rounding)
        found = [_judged(problem, slopes, k, float(v @ gradient)) for k, v in enumerate(along)]
        return min(found, key=lambda f: (WRONG, CANNOT_TELL, RIGHT).index(f.verdict))

    with np.errstate(all="ignore"):
        found = judged()
        # Before it is called anything but right, the bounds must hold what rounding does inside.
        found = found if found.verdict == RIGHT else judged(finite_differences.rounding_of_outputs(problem))
    if found.verdict == WRONG and equations(program.jaxpr, ("stop_gradient",)):
        moved = along @ (_gradient(problem_of(_nothing_stopped)) - gradient)
        if not np.all(np.abs(moved) <= SAME * np.abs(along @ gradient)):
            return ProgramGradient(CANNOT_TELL, "it has a stop_gradient: not the derivative of its value is meant")
    return found


def _gradient(problem: Problem) -> np.ndarray:
    ones = [np.ones((), o.dtype) for o in problem.outputs]
    return flatten(dual(problem.handwritten_vjp(ones)[1]))


EVALUATIONS = 2 * finite_differences.STEPS + 1
PATIENCE = 5.0
"""So many seconds a program may run for numerical derivatives of its own."""


def _seconds_of_a_value(problem: Problem) -> float:
    problem.value()  # compiles
    start = time.perf_counter()
    problem.value()
    return time.perf_counter() - start


def _silent(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
    """A program that is evaluated many times prints nothing."""
    return [] if eqn.primitive.name in PRINTS else None


def _nothing_stopped(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
    return inputs if eqn.primitive.name == "stop_gradient" else _silent(walk, eqn, inputs)


def _judged(problem: Problem, slopes: Slopes, k: int, actual: float) -> ProgramGradient:
    value, bound = float(slopes.value[k, 0]), float(slopes.bound[k, 0])
    size, off = max(abs(actual), abs(value)), abs(actual - value)
    shown = f"{actual:.8g} along a random direction, numerically {value:.8g} +- {bound:.1g}"
    if not np.isfinite(size + bound):
        return ProgramGradient(CANNOT_TELL, shown)
    slack = 4 * bound + 4 * unit_roundoff(problem.dtype) * size  # constants in a program are rounded to its type
    if slopes.kinked[k, 0]:
        low, high = sorted((float(slopes.left[k, 0]), float(slopes.right[k, 0])))
        slack += 4 * float(slopes.left_bound[k, 0] + slopes.right_bound[k, 0])
        shown = f"{actual:.8g} along a random direction, numerically from {low:.8g} to {high:.8g} at a kink"
        off = max(low - actual, actual - high, 0.0)
    if off <= slack:
        return ProgramGradient(RIGHT if slack <= SHARP * size or not size else CANNOT_TELL, shown)
    least = ITERATES * size if problem.holds("while") else 0.0
    # What swings faster than the steps looks flat: at the smallest one it must not be much steeper.
    smallest = float(np.abs(slopes.rise[k, -1, 0]) / slopes.steps[-1])
    known = slack < SHARP * off and off > least and smallest <= 2 * abs(value) + slack + 1e-2 * off
    return ProgramGradient(WRONG if known else CANNOT_TELL, shown)


def against_plain_functions(function: Callable, point: Inputs, rules: Collection[Any]) -> ProgramGradient:
    """What `function` returns, against the same with plain functions in place of the rules that have these keys."""
    try:
        own, plain = (_results(function, point, keys) for keys in ((), rules))
    except Exception as error:
        return ProgramGradient(CANNOT_TELL, f"with plain functions in place of its rules: {what_happened(error)}")
    if not all(np.isfinite(p).all() for p in plain):
        return ProgramGradient(CANNOT_TELL, "with plain functions in place of its rules its results are not finite")
    moved = max((_moved(a, b) for a, b in zip(own, plain, strict=True)), default=0.0)
    shown = (
        "with plain functions in place of the rules that are not right, its results differ by up to "
        f"{moved:.2g} times their root mean square"
    )
    return ProgramGradient(RIGHT if moved <= SAME else WRONG, shown)


SAME = 1e-9
"""So much two programs of one formula differ in float64."""


def _results(function: Callable, point: Inputs, keys: Collection[Any]) -> list[np.ndarray]:
    """The floating-point results in float64."""
    with Observer(replaced=keys).watching():
        program = jax.make_jaxpr(point.call(function))(*point.arrays)
    with jax.enable_x64(True):
        return list(map(np.asarray, compiled(widened(program), point.arrays)(point.arrays)))


def _moved(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, in units of the root mean square."""
    scale = float(np.sqrt(np.mean(np.abs(b) ** 2))) if b.size else 0.0
    return float(np.max(np.abs(a - b), initial=0.0)) / (scale or 1.0)
