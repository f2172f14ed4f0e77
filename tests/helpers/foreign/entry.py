"""One foreign rule: written after a public report or another library, not by changing a rule of our own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxbackprop.verification import verify
from jaxbackprop.verification.report import Verification


@dataclass(frozen=True)
class Foreign:
    """A function with a handwritten derivative, and where it is verified.

    Attributes:
        name: unique.
        fun: a custom_vjp, a custom_jvp, or with `reference` any function.
        args: where it is verified.
        reference: the plain function, where `fun` does not hold it.
        causes: of a wrong rule: any of these words in the likely cause names its fault.
        checks: of a wrong rule: the checks that must see it; all where there are none.
        options: further keyword arguments of `verify`.
    """

    name: str
    fun: Callable
    args: tuple
    reference: Callable | None = None
    causes: tuple[str, ...] = ()
    checks: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def verified(self) -> Verification:
        """What `verify` says of it."""
        return verify(self.fun, *self.args, reference=self.reference, checks=self.checks, **self.options)

    def named(self, cause: str) -> bool:
        """Whether `cause` names the fault."""
        return any(word in cause for word in self.causes)


def vjp(primal: Callable, forward: Callable, backward: Callable, **options: Any) -> Any:
    """A `jax.custom_vjp` of three functions."""
    fun = jax.custom_vjp(lambda *args: primal(*args), **options)
    fun.defvjp(forward, backward)
    return fun


def of_arguments(primal: Callable, backward: Callable) -> Any:
    """A `jax.custom_vjp` that keeps its arguments: `backward(arguments, upstream)`."""
    return vjp(primal, lambda *args: (primal(*args), args), backward)


def jvp(primal: Callable, tangent: Callable) -> Any:
    """A `jax.custom_jvp` of two functions."""
    fun = jax.custom_jvp(lambda *args: primal(*args))
    fun.defjvp(tangent)
    return fun


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal random numbers in float32, as a program has them."""
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)
