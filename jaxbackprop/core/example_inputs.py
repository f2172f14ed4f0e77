"""Example inputs drawn from a rule's signature and its domains.

Everything is drawn in float64 NumPy from a seed, so the same rule gets the same inputs everywhere and in every
precision. Sizes are small and all different, so that a missing transpose changes a shape or a number; 0 and 1 are
among them.
"""

import inspect
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .domains import Domain, Sizes, boolean, real
from .rule import Rule
from .signature import Parameter, Spec


@dataclass(frozen=True)
class Example:
    """One input of a rule: positional arguments as float64 or int32 NumPy arrays, and settings."""

    label: str
    args: tuple
    settings: dict[str, Any]

    def cast(self, dtype: Any) -> tuple:
        """The arguments as JAX arrays, floating-point ones in `dtype`, keys made."""
        return jax.tree.map(lambda x: _cast(x, dtype), self.args)


@dataclass(frozen=True)
class Seed:
    """A random key still to be made: drawing examples must not start a device."""

    number: int


def _cast(x: Any, dtype: Any) -> Any:
    if isinstance(x, Seed):
        return jax.random.key(x.number)
    return jnp.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else None)


@dataclass(frozen=True)
class Sizing:
    """How large the axes are: what a variadic axis stands for (argument by argument), the batch, all the others."""

    label: str
    variadic: tuple[tuple[int, ...], ...]
    batch: int = 3
    others: int | None = None

    def sizes(self, chosen: list[Spec | None]) -> list[Sizes]:
        """The size of each axis, for each argument; named axes agree, and are all different where not fixed."""
        named: Sizes = {}
        fixed = [axis for spec in chosen if spec for axis in spec.axes if not axis.startswith(("*", "..."))]
        for axis in fixed:
            if axis.isidentifier() and axis not in named:
                named[axis] = self.batch if axis == "B" else self.others or 4 + len(named)
        for factor in re.findall(r"[A-Za-z]\w*", " ".join(fixed)):
            named.setdefault(factor, min(self.others or 2, 2))  # no axis of its own, such as G in K*G
        made = []
        for i, spec in enumerate(chosen):
            stands_for = self.variadic[i % len(self.variadic)]
            written = {axis: axis_size(axis, named) for axis in (spec.axes if spec else ()) if axis not in named}
            made.append(named | {axis: stands_for if size is None else size for axis, size in written.items()})
        return made


_SIZINGS = (
    Sizing("plain", ((3,),)),
    Sizing("single", ((),)),
    Sizing("nested", ((2, 3),)),
    Sizing("ones", ((1,),), batch=1, others=1),
    Sizing("empty", ((0,),), batch=0),
)
_STRETCHED = (
    Sizing("equal", ((2, 3),)),
    Sizing("row", ((2, 3), (3,))),
    Sizing("column", ((2, 1), (2, 3))),
    Sizing("scalar", ((), (3,))),
    Sizing("empty", ((0,),)),
)


def axis_size(axis: str, named: Sizes) -> int | None:
    """The size of an axis written as a number or in terms of others, such as `4*H` or `B+1`; None if variadic."""
    if axis.startswith(("*", "...")):
        return None
    return sum(math.prod(int(named.get(t, t)) for t in term.split("*")) for term in axis.split("+"))


def examples(rule: Rule, *, seed: int = 0) -> list[Example]:
    """The small inputs at which `rule` is verified.

    The settings' defaults at every form of shape (plain, a single example, nested batches, all sizes 1, an empty
    batch; for broadcasting rules each way of stretching), then each of its `example_settings`. An argument of another
    kind, or an optional one that is absent, in nested batches, with each of those settings, and in an empty batch.

    Raises:
        ValueError: an argument without annotation, for which nothing can be drawn.
    """
    defaults = rule.signature.settings
    made = []
    for choice, chosen in _choices(rule):
        sizings = _sizings(rule, chosen)
        usual = next((sizing for sizing in sizings if sizing.label == "nested"), sizings[0])
        kept = [sizing for sizing in sizings if not choice or sizing is usual or sizing.label == "empty"]
        made += [_draw(rule, chosen, sizing, defaults, f"{sizing.label}{choice}", seed) for sizing in kept]
        for settings in rule.example_settings:
            shown = ", ".join(f"{name}={value}" for name, value in settings.items())
            made.append(_draw(rule, chosen, usual, {**defaults, **settings}, f"{usual.label}{choice}, {shown}", seed))
    return made


def large(rule: Rule, *, size: int = 256, batch: int = 1024, seed: int = 0) -> Example:
    """One input to measure at: `batch` for batch and variadic axes, `size` for every other.

    Where an array has no axis but a variadic one, as in a gate or a unit, that stands for (batch, size).
    """
    _, chosen = next(_choices(rule))
    alone = all(spec is None or len(spec.axes) <= 1 for spec in chosen)
    sizing = Sizing("large", ((batch, size) if alone else (batch,),), batch=batch, others=size)
    return _draw(rule, chosen, sizing, rule.signature.settings, "large", seed)


def _choices(rule: Rule) -> Iterator[tuple[str, list[Spec | None]]]:
    """Which spec each argument takes: all the first ones, then each other kind and each absence alone."""
    parameters = rule.signature.parameters
    for p in parameters:
        if not p.specs:
            raise ValueError(
                f"{rule.name}: no example can be drawn for {p.name}, which has no annotation.\n"
                f"  Annotate it, for instance {p.name}: Float[Array, '*B D'], or verify at arguments of your own."
            )
    first: list[Spec | None] = [p.specs[0] for p in parameters]
    yield "", first
    for i, p in enumerate(parameters):
        for spec in p.specs[1:]:
            yield f", {p.name} {spec.kind}", [*first[:i], spec, *first[i + 1 :]]
        if p.optional:
            yield f", no {p.name}", [*first[:i], None, *first[i + 1 :]]


def _sizings(rule: Rule, chosen: list[Spec | None]) -> list[Sizing]:
    axes = {axis for spec in chosen if spec for axis in spec.axes}
    variadic = any(axis.startswith(("*", "...")) for axis in axes)
    sizings = _STRETCHED if rule.signature.broadcasts and variadic else _SIZINGS
    if not variadic:
        sizings = tuple(sizing for sizing in sizings if sizing.label not in ("single", "nested"))
    if not (variadic or "B" in axes) or not all(domain.empty for domain in domains(rule)):
        sizings = tuple(sizing for sizing in sizings if sizing.label != "empty")
    return list(sizings)


def domains(rule: Rule) -> list[Domain]:
    """Every domain that the rule names, those given kind by kind included."""
    return [d for given in rule.domain.values() for d in (given.values() if isinstance(given, Mapping) else [given])]


def _draw(
    rule: Rule, chosen: list[Spec | None], sizing: Sizing, settings: Mapping[str, Any], label: str, seed: int
) -> Example:
    """An example of `sizing`, drawn again until it is well away from the rule's kinks."""
    rng = np.random.default_rng([zlib.crc32(rule.name.encode()), seed])
    sizes = sizing.sizes(chosen)
    for _ in range(1000):
        args = tuple(
            _value(rule, p, spec, of_axis, rng)
            for p, spec, of_axis in zip(rule.signature.parameters, chosen, sizes, strict=True)
        )
        if sizing.label == "large" or rule.kinks is None or clear_of_kinks(rule, args, settings):
            return Example(label, args, dict(settings))
    raise ValueError(f"{rule.name}: 1000 draws all lay within {CLEARANCE} of a kink; give domain= a narrower set.")


CLEARANCE = 0.02
"""How far from a kink examples stay: beyond the reach of any step of a numerical derivative."""


def clear_of_kinks(rule: Rule, args: tuple, settings: Mapping[str, Any]) -> bool:
    """Whether no value of the rule's `kinks` function is near zero."""
    assert rule.kinks is not None
    named = inspect.signature(rule.kinks).parameters
    passed = {name: value for name, value in settings.items() if name in named}
    return all(np.all(np.abs(np.asarray(x)) > CLEARANCE) for x in jax.tree.leaves(rule.kinks(*args, **passed)))


def _value(rule: Rule, p: Parameter, spec: Spec | None, sizes: Sizes, rng: np.random.Generator) -> Any:
    if spec is None:
        return None
    if p.repeated:
        return [_array(rule, p, spec, sizes, rng) for _ in range(3)]
    return _array(rule, p, spec, sizes, rng)


def _array(rule: Rule, p: Parameter, spec: Spec, sizes: Sizes, rng: np.random.Generator) -> Any:
    shape: tuple[int, ...] = ()
    for axis in spec.axes:
        shape += sizes[axis] if isinstance(sizes[axis], tuple) else (sizes[axis],)
    domain = rule.domain.get(p.name) or (boolean if spec.kind == "bool" else real)
    if isinstance(domain, Mapping):
        domain = domain.get(spec.kind, real)
    if spec.kind == "key":
        return Seed(int(rng.integers(1 << 30)))
    if spec.kind == "int" and domain is real:
        raise ValueError(f"{rule.name}: say which values {p.name} takes, as in domain={{'{p.name}': below('V')}}.")
    drawn = domain.draw(rng, shape, sizes)
    return drawn.astype(np.int32) if spec.kind == "int" else drawn
