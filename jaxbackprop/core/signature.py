"""What a rule's signature says: which arguments are arrays, of what kind, with which axes.

Reads jaxtyping annotations; checks arguments against them. The one place where an error about a shape is written.
"""

import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

_KINDS = {
    jaxtyping.Float: "float",
    jaxtyping.Int: "int",
    jaxtyping.Integer: "int",
    jaxtyping.Bool: "bool",
    jaxtyping.Key: "key",
}
_NUMBERS = {"float": jnp.floating, "int": jnp.integer, "bool": jnp.bool_, "key": jax.dtypes.prng_key}
_KIND_NAMES = {"float": "a floating-point", "int": "an integer", "bool": "a boolean", "key": "a random key"}


@dataclass(frozen=True)
class Spec:
    """One kind of array an argument may be: its kind and its axes, as written."""

    kind: str
    axes: tuple[str, ...]

    @property
    def variadic(self) -> int | None:
        """The position of the variadic axis, which is any number of axes, if there is one."""
        return next((i for i, axis in enumerate(self.axes) if axis == "..." or axis.startswith("*")), None)

    def takes(self, dtype: Any) -> bool:
        return jnp.issubdtype(dtype, _NUMBERS[self.kind])

    def fits_rank(self, rank: int) -> bool:
        return rank == len(self.axes) if self.variadic is None else rank >= len(self.axes) - 1

    def assign(self, shape: tuple[int, ...]) -> list[tuple[str, Any]]:
        """Each axis with its size; a variadic axis with its tuple of sizes."""
        at = self.variadic
        if at is None:
            return list(zip(self.axes, shape, strict=True))
        after = len(self.axes) - at - 1
        middle = shape[at : len(shape) - after]
        tail = shape[len(shape) - after :]
        return [*zip(self.axes[:at], shape), (self.axes[at], middle), *zip(self.axes[at + 1 :], tail)]

    def __str__(self) -> str:
        return f"({', '.join(self.axes)}{',' * (len(self.axes) == 1)})"


@dataclass(frozen=True)
class Parameter:
    """One positional argument: the arrays it may be; `repeated` where it is a sequence or any pytree of them."""

    name: str
    specs: tuple[Spec, ...]
    optional: bool
    repeated: bool

    @property
    def differentiable(self) -> bool:
        """Whether a backward pass returns a gradient for this argument."""
        return not self.specs or any(spec.kind == "float" for spec in self.specs)

    def __str__(self) -> str:
        either = " or ".join(str(spec) for spec in self.specs) or "any"
        return f"{self.name} {'several ' * self.repeated}{either}"


def _specs(annotation: Any) -> tuple[tuple[Spec, ...], bool, bool]:
    """The specs of an annotation, whether None may stand for it, whether it is a sequence or pytree."""
    if hasattr(annotation, "leaftype"):  # jaxtyping's PyTree
        return _specs(annotation.leaftype)[0], False, True
    if typing.get_origin(annotation) in (list, tuple, Sequence):
        return _specs(typing.get_args(annotation)[0])[0], False, True
    specs, optional = [], False
    for part in typing.get_args(annotation) or (annotation,):
        if part is type(None):
            optional = True
        elif getattr(part, "dtype", None) in _KINDS:
            specs.append(Spec(_KINDS[part.dtype], tuple(part.dim_str.split())))
    return tuple(specs), optional, False


class Signature:
    """The positional arrays and keyword-only settings of a forward pass."""

    def __init__(self, function: Callable, *, broadcasts: bool = False):
        self.name = function.__name__
        self.broadcasts = broadcasts
        self.inspected = inspect.signature(function)
        hints = typing.get_type_hints(function)
        self.parameters: list[Parameter] = []
        self.settings: dict[str, Any] = {}
        for p in self.inspected.parameters.values():
            if p.kind is p.KEYWORD_ONLY:
                self.settings[p.name] = p.default
            elif p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(
                    f"{self.name}: a rule names each of its arguments, and *{p.name} does not.\n"
                    f"  Take a sequence, {p.name}: Sequence[Float[Array, '...']], instead."
                )
            else:
                self.parameters.append(Parameter(p.name, *_specs(hints.get(p.name))))

    def __str__(self) -> str:
        return f"{self.name} takes {', '.join(map(str, self.parameters))}."

    def bind(self, args: tuple, keywords: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arrays in order, as JAX arrays, and the settings with their defaults."""
        try:
            bound = self.inspected.bind(*args, **keywords)
        except TypeError as error:
            settings = "".join(f", {name}=" for name in self.settings)
            names = ", ".join(p.name for p in self.parameters)
            raise TypeError(f"{self.name}: {error}.\n  It is called {self.name}({names}{settings}).") from None
        bound.apply_defaults()
        for p in self.parameters:
            self._refuse_no_array(p, bound.arguments[p.name])
        arrays = [as_array(bound.arguments[p.name]) for p in self.parameters]
        arrays = [self._of_a_kind(p, a) for p, a in zip(self.parameters, arrays, strict=True)]
        return arrays, {name: bound.arguments[name] for name in self.settings}

    def _refuse_no_array(self, parameter: Parameter, value: Any) -> None:
        """Raise TypeError where one array is expected and a list, a string, None or another object was given."""
        if not parameter.specs or parameter.repeated or (value is None and parameter.optional):
            return
        if (
            isinstance(value, bool | int | float | complex)
            or hasattr(value, "dtype")
            or hasattr(value, "__jax_array__")
        ):
            return
        taken = " or ".join(sorted({_KIND_NAMES[spec.kind] for spec in parameter.specs}))
        hint = f" Make one of it: jnp.asarray({parameter.name})." if isinstance(value, list | tuple) else ""
        raise TypeError(
            f"{self.name}: {parameter.name} is a {type(value).__name__}; it takes {taken} array.{hint}\n  {self}"
        )

    def _of_a_kind(self, parameter: Parameter, value: Any) -> Any:
        """`value`, a Python integer made floating where a floating-point number is expected."""
        if not parameter.specs or (value is None and parameter.optional):
            return value
        kinds = {spec.kind for spec in parameter.specs}

        def convert(x: Any) -> Any:
            if any(spec.takes(x.dtype) for spec in parameter.specs):
                return x
            if "float" in kinds and getattr(x, "weak_type", False) and jnp.issubdtype(x.dtype, jnp.integer):
                return x * 1.0  # stays weak: takes the precision of whatever it meets
            taken = " or ".join(_KIND_NAMES[kind] for kind in sorted(kinds))
            raise TypeError(
                f"{self.name}: {parameter.name} {np.shape(x)} is {x.dtype}; it takes {taken} array.\n  {self}"
            )

        return jax.tree.map(convert, value)

    def check(self, arrays: list[Any]) -> None:
        """Raise ValueError where the axes of `arrays` do not agree with the signature, naming both sides."""
        sizes: dict[str, tuple[Any, str]] = {}
        for parameter, value in zip(self.parameters, arrays, strict=True):
            if not parameter.specs or value is None:
                continue
            members = jax.tree.leaves(value) if parameter.repeated else [value]
            for i, x in enumerate(members):
                label = f"{parameter.name}[{i}]" if parameter.repeated else parameter.name
                self._check_one(label, parameter, x, sizes)
        if self.broadcasts:
            self._check_broadcast(arrays)

    def _check_one(self, label: str, parameter: Parameter, x: Any, sizes: dict[str, tuple[Any, str]]) -> None:
        specs = [spec for spec in parameter.specs if spec.takes(x.dtype)]
        fitting = [spec for spec in specs if spec.fits_rank(x.ndim)]
        if not fitting:
            axes = " or ".join(str(spec) for spec in specs)
            raise ValueError(f"{self.name}: {label} has shape {x.shape}, but its axes are {axes}.\n  {self}")
        for axis, size in fitting[0].assign(x.shape):
            if axis in ("_", "...", "*_") or (self.broadcasts and axis.startswith("*")):
                continue
            here = f"{label} {x.shape}"
            expected, there = sizes.setdefault(axis, (_expected_size(axis, sizes, size), here))
            if expected != size:
                raise ValueError(
                    f"{self.name}: {axis} is {_text(expected)} in {there} but {_text(size)} in {here}.\n  {self}"
                )

    def _check_broadcast(self, arrays: list[Any]) -> None:
        shapes = [
            size
            for parameter, x in zip(self.parameters, arrays, strict=True)
            if x is not None and parameter.specs
            for axis, size in next(s for s in parameter.specs if s.takes(x.dtype)).assign(x.shape)
            if axis.startswith("*")
        ]
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            listed = ", ".join(f"{p.name} {np.shape(x)}" for p, x in zip(self.parameters, arrays, strict=True))
            raise ValueError(
                f"{self.name}: {listed} do not broadcast together: aligned at the right, "
                f"two sizes must be equal or one of them 1.\n  {self}"
            ) from None


def as_array(tree: Any) -> Any:
    """`tree` with Python numbers and NumPy arrays as JAX arrays."""
    return jax.tree.map(lambda x: x if isinstance(x, jax.Array) else jnp.asarray(x), tree)


def _expected_size(axis: str, sizes: dict[str, tuple[Any, str]], actual: Any) -> Any:
    """The size that an axis such as 3 or 4*H must have; the actual one where it is free or not yet known."""
    names = re.findall(r"[A-Za-z_]\w*", axis)
    if axis.startswith("*") or names == [axis] or any(name not in sizes for name in names):
        return actual
    factors = [[sizes[t][0] if t in sizes else int(t) for t in term.split("*")] for term in axis.split("+")]
    return sum(int(np.prod(term)) for term in factors)


def _text(size: Any) -> str:
    return f"({', '.join(map(str, size))})" if isinstance(size, tuple) else str(size)
