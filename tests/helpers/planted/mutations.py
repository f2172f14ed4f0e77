"""Wrong rules by systematic mutation: every rule of the library, its backward pass gone wrong in the usual ways."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbackprop.core.example_inputs import Example, examples
from jaxbackprop.core.rule import Rule, rules
from jaxbackprop.jaxprs.inputs import Inputs, replaced
from jaxbackprop.verification.api import load
from jaxbackprop.verification.problem import Problem, handwritten_function

from .cases import Planted

Mutation = tuple[str, tuple[str, ...], Callable[[Any, Any, Any], Any]]


def _each(change: Callable) -> Callable:
    """A change of every gradient, after the backward pass."""
    return lambda backward, saved, upstream: jax.tree.map(change, backward(saved, upstream))


def _before(change: Callable) -> Callable:
    """A change of the upstream gradient, before the backward pass."""
    return lambda backward, saved, upstream: backward(saved, jax.tree.map(change, upstream))


def _one_percent(g: Any) -> Any:
    return g * jnp.asarray(1.01, g.dtype)


def _first_only(u: Any) -> Any:
    return u * (jnp.arange(u.shape[0]) == 0).astype(u.dtype).reshape(-1, *[1] * (u.ndim - 1)) if u.ndim else u


def _held(backward: Any, saved: Any, upstream: Any) -> Any:
    stop = lambda x: jax.lax.stop_gradient(x) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact) else x  # noqa: E731
    return backward(jax.tree.map(stop, saved), upstream)


def _smallest_lost(g: Any) -> Any:
    """One element of the gradient is left out: the last one."""
    return g.reshape(-1).at[-1].set(0).reshape(g.shape) if g.size > 1 else g


MUTATIONS: dict[str, Mutation] = {
    "sign": ("sign", ("sign", "minus"), _each(jnp.negative)),
    "doubled": ("doubled", ("factor 2",), _each(lambda g: 2 * g)),
    "halved": ("halved", ("factor 1/2",), _each(lambda g: g / 2)),
    "one percent": ("one percent", ("factor 1.01",), _each(_one_percent)),
    "left out": ("left out", ("left out",), _each(jnp.zeros_like)),
    "upstream ignored": ("upstream ignored", ("upstream gradient ignored",), _before(jnp.ones_like)),
    "upstream squared": ("upstream squared", ("not linear",), _before(lambda u: u * u)),
    "first example only": ("first example only", ("only the first", "only one branch"), _before(_first_only)),
    "upstream reversed": ("upstream reversed", ("wrong place", "reversed", "permuted"), _before(jnp.flip)),
    "float16": (
        "float16",
        ("float16", "precision", "accura", "float32"),
        _each(lambda g: g.astype(jnp.float16).astype(g.dtype)),
    ),
    "held constant": ("held constant", ("held constant",), _held),
    "clipped": ("clipped", ("clipped", "not linear"), _before(lambda u: jnp.clip(u, -0.5, 0.5))),
    "last element": ("last element", ("boundary", "one element", "left out", "last", "only"), _each(_smallest_lost)),
}

PER_RULE = 3
"""So many mutations of each rule, each rule beginning with another one, so that all are met by many rules."""


def mutant(made: Rule, change: Callable) -> Rule:
    """`made` with its backward pass changed."""
    original = made._backward
    assert original is not None

    @wraps(original)
    def changed(saved: Any, upstream: Any, **settings: Any) -> Any:
        return change(lambda s, u: original(s, u, **settings), saved, upstream)

    return made.with_backward(changed)


def main_example(made: Rule) -> Example:
    """The example that shows most: nested batches, or else a plain one."""
    drawn = examples(made)
    return next((e for e in drawn if e.label in ("nested", "equal")), drawn[0])


def arguments(example: Example) -> tuple:
    return jax.tree.map(
        lambda x: x if isinstance(x, np.ndarray | np.generic) else jax.random.key(x.number), example.args
    )


def mutations(part: int = 0, parts: int = 1) -> list[Planted]:
    """The wrong rules: PER_RULE of each rule, left out those that change nothing there.

    Args:
        part: those of each rule whose number leaves this remainder.
        parts: when divided by this.
    """
    load("jaxbackprop")
    made = []
    folders = ("gates", "layers", "losses")
    own = {name: made for name, made in rules().items() if made.__module__.split(".")[1] in folders}
    for k, (name, right) in list(enumerate(own.items()))[part::parts]:
        example = main_example(right)
        args = arguments(example)
        kinds = list(MUTATIONS.values())
        in_turn = (kinds[(5 * k + 2 * i) % len(kinds)] for i in range(len(kinds)))
        answers = _Answers(right, args, example.settings)
        for kind, causes, change in itertools.islice((kind for kind in in_turn if answers.change(*kind)), PER_RULE):
            fun = mutant(right, change)
            made.append(Planted(f"{name}: {kind}", fun, args, causes, tuple(example.settings.items())))
    return made


@dataclass
class _Answers:
    """What a rule answers at its example."""

    right: Rule
    args: tuple
    settings: dict[str, Any]

    def change(self, kind: str, causes: Any, change: Callable) -> bool:
        """Whether the mutation makes another function of this rule: other gradients, or another derivative of them."""
        answer, expected = (_second, self.second) if kind == "held constant" else (_first, self.first)
        found = answer(mutant(self.right, change), self.args, self.settings)
        return any(not np.allclose(a, b, rtol=1e-4, atol=1e-9, equal_nan=True) for a, b in zip(expected, found))

    @cached_property
    def first(self) -> list[Any]:
        return _first(self.right, self.args, self.settings)

    @cached_property
    def second(self) -> list[Any]:
        return _second(self.right, self.args, self.settings)


def _problem(made: Rule, args: tuple, settings: dict[str, Any]) -> Problem:
    return Problem(handwritten_function(made, None, settings), Inputs(args), dtype=np.float64)


def _first(made: Rule, args: tuple, settings: dict[str, Any]) -> list[Any]:
    problem = _problem(made, args, settings)
    return problem.handwritten_at(problem.inputs.arrays, problem.upstream(0))[1]


def _second(made: Rule, args: tuple, settings: dict[str, Any]) -> list[Any]:
    """The derivative of the gradients in the arguments, for cotangents of different sizes."""
    problem = _problem(made, args, settings)
    arrays, live, pull = problem.inputs.arrays, problem.inputs.live, problem.handwritten_pull()

    def twice(*given: Any) -> Any:
        gradients = lambda floats: pull(replaced(given, live, floats), problem.upstream(0))[1]  # noqa: E731
        found, back = jax.vjp(gradients, [given[i] for i in live])
        return jax.tree.leaves(back([jnp.ones_like(g) * (1 + 0.1 * i) for i, g in enumerate(found)]))

    problem.trace("twice", twice, *arrays)
    return problem.as_written("twice", arrays)
