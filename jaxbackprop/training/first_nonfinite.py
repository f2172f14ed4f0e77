"""Where a number first stopped being finite: which step of an epoch, and within that step which rule.

Runs only after a run has failed, so nothing here need be fast.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..circuits import trace
from .step import Program, State, all_finite


@dataclass(frozen=True)
class Fault:
    """The first rule that made a number which is not finite.

    Attributes:
        rule: its name; the primitive's where no rule is to blame, None where the arithmetic of the model was finite.
        what: "output" or "gradient".
        value: what stood there: "NaN" or "infinity".
        source: file and line of the rule, or of the line that called the primitive, where known.
        arguments: the arrays that were not finite before the rule was even called.
    """

    rule: str | None
    what: str
    value: str
    source: str = ""
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        before = f" {', '.join(self.arguments)} was not finite even before." if self.arguments else ""
        if self.rule is None:
            return f"All outputs and gradients were finite; the optimizer's update was not ({self.value}).{before}"
        place = f" ({self.source})" if self.source else ""
        return f"The first rule whose {self.what} was not finite is {self.rule}: {self.value}{place}.{before}"


class NotFinite(FloatingPointError):
    """Training stopped because the loss became NaN or infinite.

    Attributes:
        epoch: in which the first number was not finite, counted from 1.
        step: of that epoch, counted from 1.
        fault: the first rule that made such a number; None where the steps, run again, had none.
    """

    def __init__(self, epoch: int, step: int, steps: int | None, fault: Fault | None, seen: str):
        self.epoch, self.step, self.fault = epoch, step, fault
        cause = fault or "Run again, no step did so: the fault does not repeat itself."
        of = "" if steps is None else f" of {steps}"
        super().__init__(
            f"{seen}: training stopped in epoch {epoch}, step {step}{of}.\n  {cause}\n"
            "  Often the learning rate is too high: try a tenth of it, or clip the gradient."
        )


def find_fault(program: Program, state: State, minibatches: Iterable[tuple]) -> tuple[int, Fault] | None:
    """Replay steps from the state before them: the first that went wrong (from 0) and the rule to blame.

    Goes wrong: the objective, its gradient or the parameters after the update are not finite. None where no step does.
    """

    @jax.jit
    def try_step(state: State, batch: tuple) -> tuple[State, Array]:
        new, metrics, gradient = program.step(state, batch)
        return new, all_finite((metrics.objective, gradient, new.params))

    for number, batch in enumerate(minibatches):
        new, well = try_step(state, batch)
        if not well:
            return number, _fault_of(program, state, new, batch)
        state = new
    return None


def _fault_of(program: Program, state: State, new: State, batch: tuple) -> Fault:
    def objective(params: Any, model_state: Any, batch: Any) -> Array:
        return program.objective(params, model_state, batch)[0]

    arguments = {"params": state.params, "model_state": state.model_state, "batch": batch}
    if fault := first_not_finite(objective, arguments):
        return fault
    broken = [x for x in jax.tree.leaves(new.params) if not all_finite(x)]
    return Fault(None, "update", _kind(broken[0]) if broken else "not in this run alone")


def first_not_finite(function: Callable[..., Array], arguments: dict[str, Any]) -> Fault | None:
    """The first rule whose output, or failing that whose gradient, is not finite in `function(**arguments)`.

    The function is traced as a circuit, each rule one gate; a gradient of 1 arrives at the one number that it returns.
    Only floating-point arguments get a gradient. Where a number stops being finite outside any rule, the primitive is
    named.
    """
    circuit = trace(lambda named: function(**named), arguments, autodiff=False)
    health = circuit.health()
    paths, _ = jax.tree_util.tree_flatten_with_path(arguments)
    broken = tuple(_written(path) for path, x in paths if not _finite(x))
    for gate in circuit.gates if health.origin is None else [health.origin]:
        # Where an argument was not finite no gate is the origin, and the first one that the argument reaches is named.
        for value in (wire.value for wire in gate.outputs):
            if not _finite(value):
                return Fault(gate.name, "output", _kind(value), gate.defined or gate.source, broken)
    gate = health.backward_origin
    if gate is None:
        return None
    gradient = next(g for g in gate.downstream if g is not None and not _finite(g))
    return Fault(gate.name, "gradient", _kind(gradient), gate.defined or gate.source, broken)


def _is_number(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _finite(x: Any) -> bool:
    return not _is_number(x) or bool(jnp.isfinite(x).all())


def _kind(x: Any) -> str:
    return "NaN" if bool(jnp.isnan(x).any()) else "infinity"


def _written(path: tuple) -> str:
    """A path such as params.W[0], as a person writes it."""
    names = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
    names = [name for name in names if name != "value"]
    return names[0] + "".join(f"[{name}]" if name.isdigit() else f".{name}" for name in names[1:])
