"""What is verified: a function with a hand-derived derivative, and the plain function it must be the derivative of."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax

from ..core.rule import Rule
from ..jaxprs.provenance import source_of


@dataclass(frozen=True)
class Target:
    """A hand-derived function beside its plain one.

    Attributes:
        name: what reports call it.
        hand: the function whose derivative is hand-derived.
        primal: the plain function.
        names: of its positional arguments, as far as known.
        source: file and line of the definition, where known.
        kind: "rule", "custom_vjp", "custom_jvp" or "function".
        settings: keyword arguments already bound in `hand` and `primal`.
        rule: the `Rule`, where it is one.
        typed: only good for the types of the given arguments, as a call inside a traced program is.
    """

    name: str
    hand: Callable[..., Any]
    primal: Callable[..., Any]
    names: tuple[str, ...] = ()
    source: str = ""
    kind: str = "function"
    settings: dict[str, Any] = field(default_factory=dict)
    rule: Rule | None = None
    typed: bool = False


def target(fun: Callable, reference: Callable | None = None, settings: dict[str, Any] | None = None) -> Target:
    """The `Target` that `fun` stands for, its keyword arguments bound.

    Raises:
        TypeError: `fun` is no function, or a plain one and no reference says what its derivative must be.
    """
    if not callable(fun):
        raise TypeError(f"verify: {fun!r:.60} is no function that could be differentiated.")
    settings = dict(settings or {})
    plain, kind = reference, "function"
    if isinstance(fun, Rule):
        kind = "rule"
        settings = {**fun.signature.settings, **settings}
        plain = reference or fun.primal
    elif isinstance(fun, jax.custom_vjp | jax.custom_jvp):
        kind = "custom_vjp" if isinstance(fun, jax.custom_vjp) else "custom_jvp"
        plain = reference or inspect.unwrap(fun, stop=lambda f: not hasattr(f, "__wrapped__"))
    if plain is None:
        raise TypeError(
            f"verify: {_name(fun)} is neither a Rule nor a jax.custom_vjp nor a jax.custom_jvp.\n"
            f"  Say what its derivative must be: verify({_name(fun)}, ..., reference=plain_function)."
        )
    return Target(
        name=_name(fun),
        hand=_bind(fun, settings),
        primal=_bind(plain, settings),
        names=_argument_names(fun),
        source=source_of(fun),
        kind=kind,
        settings=settings,
        rule=fun if isinstance(fun, Rule) else None,
    )


def _bind(function: Callable, settings: dict[str, Any]) -> Callable:
    if not settings:
        return function
    return lambda *args: function(*args, **settings)


def _name(fun: Any) -> str:
    name = getattr(fun, "name", None) or getattr(fun, "__name__", None)
    return name if isinstance(name, str) else type(fun).__name__


def _argument_names(fun: Callable) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
