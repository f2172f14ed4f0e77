"""Wrong rules by systematic mutation: every rule of the library, its backward pass gone wrong in the usual ways."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbackprop.examples import Example, examples
from jaxbackprop.rule import Rule, rules
from jaxbackprop.verify.verifier import load

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
    "float16": ("float16", ("float16", "precision", "accura", "float32"), _each(lambda g: g.astype(jnp.float16).astype(g.dtype))),
    "held constant": ("held constant", ("held constant",), _held),
    "clipped": ("clipped", ("clipped", "not linear"), _before(lambda u: jnp.clip(u, -0.5, 0.5))),
    "last element": ("last element", ("boundary", "one element", "left out", "last", "only"), _each(_smallest_lost)),
}  # fmt: skip

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


def mutations() -> list[Planted]:
    """The wrong rules: PER_RULE of each rule, left out those that change nothing there."""
    load("jaxbackprop")
    made = []
    for k, (name, right) in enumerate(rules().items()):
        example = main_example(right)
        args = arguments(example)
        chosen = 0
        kinds = list(MUTATIONS.values())
        for kind, causes, change in (kinds[(5 * k + 2 * i) % len(kinds)] for i in range(len(kinds))):
            if chosen == PER_RULE:
                break
            if not _changes_something(right, kind, args, example.settings, change):
                continue
            chosen += 1
            fun = mutant(right, change)
            made.append(Planted(f"{name}: {kind}", fun, args, causes, tuple(example.settings.items())))
    return made


def _changes_something(right: Rule, kind: str, args: tuple, settings: dict[str, Any], change: Callable) -> bool:
    """Whether the mutation makes another function of this rule: by a cotangent of random numbers."""
    if kind == "held constant":
        return _curved(right, args, settings)
    seen = list(_gradients(right, args, settings, change))
    return any(not np.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in seen)


def _curved(right: Rule, args: tuple, settings: dict[str, Any]) -> bool:
    """Whether the backward pass depends on a floating-point number it saved: else holding it constant is harmless."""
    _, saved = right.forward(*_arrays(args), **settings)
    floats = [x for x in jax.tree.leaves(saved) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)]
    if not floats:
        return False
    second = lambda change: jax.tree.leaves(_second(right, args, settings, change))  # noqa: E731
    pairs = zip(second(lambda b, s, u: b(s, u)), second(_held), strict=True)
    return any(not np.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in pairs)


def _arrays(args: tuple) -> tuple:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if _is_float(x) else x, args)


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _live(args: tuple) -> tuple[list[Any], Callable]:
    leaves, tree = jax.tree.flatten(_arrays(args))
    at = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]

    def rebuild(floats: Any) -> tuple:
        filled = list(leaves)
        for i, x in zip(at, floats, strict=True):
            filled[i] = x
        return tree.unflatten(filled)

    return [leaves[i] for i in at], rebuild


def _pull(made: Rule, settings: dict[str, Any], rebuild: Callable) -> Callable:
    def gradients(floats: Any) -> Any:
        y, back = jax.vjp(lambda *f: made(*rebuild(f), **settings), *floats)
        rng = np.random.default_rng(7)
        return back(jax.tree.map(lambda v: jnp.asarray(rng.normal(size=v.shape), v.dtype), y))

    return gradients


def _gradients(right: Rule, args: tuple, settings: dict[str, Any], change: Callable) -> Iterator[tuple[Any, Any]]:
    floats, rebuild = _live(args)
    one = _pull(right, settings, rebuild)(floats)
    two = _pull(mutant(right, change), settings, rebuild)(floats)
    yield from zip(one, two, strict=True)


def _second(right: Rule, args: tuple, settings: dict[str, Any], change: Callable) -> Any:
    floats, rebuild = _live(args)
    pull = _pull(mutant(right, change), settings, rebuild)
    _, back = jax.vjp(pull, floats)
    return back(tuple(jnp.ones_like(f) * (1 + 0.1 * i) for i, f in enumerate(floats)))
