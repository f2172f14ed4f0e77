"""One planted case, and how the verifier is asked about it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxbackprop.jaxprs.inputs import Point
from jaxbackprop.verification.api import Collected
from jaxbackprop.verification.checks.registry import LAWS
from jaxbackprop.verification.problem import target
from jaxbackprop.verification.report import Verification
from jaxbackprop.verification.subject import Subject

ASKED = (
    "forward_pass", "gradient", "structure", "linear_in_the_upstream", "precision", "same_value_when_differentiated",
    "second_order", "taylor_remainder", "bias", "other_points", "other_batches", "kinks", "vmap",
    "no_gradient_of_integers",
)  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """A function with a hand-derived backward pass, right or wrong.

    Attributes:
        name: unique.
        fun: a Rule, a custom_vjp, a custom_jvp, or with `reference` any function.
        args: where it is verified.
        causes: any of these words in the likely cause names the fault; empty for a right rule.
        everywhere: False where only the given point is meant, because the rule is meant for no other.
    """

    name: str
    fun: Callable
    args: tuple
    causes: tuple[str, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    reference: Callable | None = None
    everywhere: bool = True
    only: str = ""

    def named(self, cause: str) -> bool:
        """Whether `cause` is what was planted."""
        return any(word in cause for word in self.causes)


def subject(case: Planted, dtype: str, seed: int = 0) -> Subject:
    """What is asked about; in "float32" the function is only good for that type, as a traced program is."""
    about = target(case.fun, case.reference, dict(case.settings))
    point = Point(jax.tree.map(lambda x: _cast(x, dtype), case.args))
    return Subject(replace(about, typed=dtype == "float32"), point, seed=seed)


def judge(case: Planted, dtype: str, seed: int = 0, asked_before: Subject | None = None) -> Verification:
    """The verifier's answer; `asked_before`: the same case's subject of another seed, whose programs are used again."""
    about = asked_before.again(seed) if asked_before else subject(case, dtype, seed)
    collected = Collected()
    asked = ASKED if case.everywhere else [name for name in ASKED if not name.startswith("other_")]
    for name in asked:
        collected.ask(about, [LAWS[name]])
        if name in ("linear_in_the_upstream", "second_order") and collected.failed:
            break  # it is wrong: the rest would only say so again
    return collected.verification([about], 0.0)


def _cast(x: Any, dtype: str) -> Any:
    if isinstance(x, np.ndarray) and x.dtype == np.float64:
        return x.astype(dtype)
    if isinstance(x, np.ndarray) and x.dtype == np.complex128:
        return x.astype(np.complex64 if dtype == "float32" else np.complex128)
    return x
