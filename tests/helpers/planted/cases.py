"""One planted case, and how the verifier is asked about it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxbackprop.core.rule import Rule
from jaxbackprop.jaxprs.inputs import Inputs
from jaxbackprop.verification.checks.registry import CHECKS
from jaxbackprop.verification.collect import Collected
from jaxbackprop.verification.problem import Cache, Problem, handwritten_function
from jaxbackprop.verification.report import Verification

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


def problem(case: Planted, dtype: str, seed: int = 0) -> Problem:
    """What is asked about; in "float32" the function is only good for that type, as a traced program is."""
    about = handwritten_function(case.fun, case.reference, dict(case.settings))
    point = Inputs(jax.tree.map(lambda x: _cast(x, dtype), case.args))
    caches = _of_the_plain_function(case, dtype)
    made = Problem(replace(about, typed=dtype == "float32"), point, seed=seed, caches=caches)
    _before[dtype] = case, made
    return made


_before: dict[str, tuple[Planted, Problem]] = {}
_PLAIN = ("value", "values", "autodiff", "twice, plain", "outputs", "differentiable", "autodiff is the law")


def _of_the_plain_function(case: Planted, dtype: str) -> dict[Any, Cache]:
    """Its programs, where the case before is another fault of the same rule, at the same arguments."""
    if dtype not in _before or not isinstance(case.fun, Rule):
        return {}
    other, made = _before[dtype]
    if not (isinstance(other.fun, Rule) and other.fun.primal is case.fun.primal and other.args is case.args):
        return {}
    names = lambda key: key if isinstance(key, str) else key[0]  # noqa: E731
    return {
        precision: Cache({key: what for key, what in cache.held.items() if names(key) in _PLAIN})
        for precision, cache in made.caches.items()
    }


def judge(case: Planted, dtype: str, seed: int = 0, asked_before: Problem | None = None) -> Verification:
    """The verifier's answer; `asked_before`: the same case of another seed, whose programs are used again."""
    about = asked_before.again(seed) if asked_before else problem(case, dtype, seed)
    collected = Collected()
    asked = ASKED if case.everywhere else [name for name in ASKED if not name.startswith("other_")]
    for name in asked:
        collected.make(about, [CHECKS[name]])
        if name in ("linear_in_the_upstream", "second_order") and collected.failed:
            break  # it is wrong: the rest would only say so again
    return collected.verification(about.function, 1, 0.0)


def _cast(x: Any, dtype: str) -> Any:
    if isinstance(x, np.ndarray) and x.dtype == np.float64:
        return x.astype(dtype)
    if isinstance(x, np.ndarray) and x.dtype == np.complex128:
        return x.astype(np.complex64 if dtype == "float32" else np.complex128)
    return x
