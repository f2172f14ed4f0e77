"""A rule: a function and its hand-derived backward pass, bound by `jax.custom_vjp`; and the register of all rules.

Whatever can be derived from the definition (shape errors, example inputs, exports, tests, pages) is derived from it.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import update_wrapper, wraps
from importlib import import_module
from typing import Any, Generic, ParamSpec, TypeVar, overload

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ..jaxprs.lazy_import import lazy_import
from .accumulation import unbroadcast
from .signature import Signature, as_array

P = ParamSpec("P")
T = TypeVar("T")

WithResiduals = tuple[T, Any]
"""What a forward pass returns: its value, and what the backward pass needs of it."""

ROOT = __name__.partition(".")[0]
# What JAX loads for a look into jaxprs takes longer than a small training, which calls passes and no rule.
compat, vmap_dependence = (lazy_import(f"{ROOT}.{name}") for name in ("jaxprs.compat", "core.vmap_dependence"))

RULE_PACKAGES = ("gates", "layers", "losses", "fasttext.train.step_rules")
"""The packages of the library's own rules."""
_REGISTER: dict[tuple[str, str], "Rule"] = {}


@jax.tree_util.register_static
class ShapeDtype:
    """The shape and dtype of an array, without the array: what a backward pass saves to know a size.

    It is static, so it costs no memory and its sizes are Python integers under `jit`.
    """

    def __init__(self, x: Any):
        self.shape: tuple[int, ...] = tuple(x.shape)
        self.dtype: DTypeLike = x.dtype

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtype) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


class Rule(Generic[P, T]):
    """A function with a hand-derived backward pass; call it like the function.

    Positional arguments are arrays (or pytrees of them); integers, booleans and keys get no gradient. Keyword-only
    arguments are settings: static, hashable Python values. Made by the decorator `rule`.

    Attributes:
        name: the function's name.
        signature: its arrays, their axes, its settings.
        primal: the plain function that autodiff differentiates.
        domain: for an argument, the domain its values come from (any real number by default).
        kinks: a function of the arguments that is zero where no derivative exists, or None.
        formula: the same function written independently, over NumPy arrays, or None.
        example_settings: further settings at which the rule is exercised, beside its defaults.
    """

    def __init__(
        self,
        forward: Callable[P, tuple[T, Any]],
        *,
        domain: Mapping[str, Any] | None = None,
        kinks: Callable[..., Any] | None = None,
        broadcasts: bool = False,
        reference: Callable[P, T] | None = None,
        formula: Callable[..., Any] | None = None,
        example_settings: tuple[Mapping[str, Any], ...] = (),
    ):
        update_wrapper(self, forward)
        self.name = self.__name__ = forward.__name__
        self.forward = forward
        self.signature = Signature(forward, broadcasts=broadcasts)
        self.domain = dict(domain or {})
        self.kinks = kinks
        self.formula = formula
        self.example_settings = example_settings
        self.primal: Callable[P, T] = reference or _value_of(forward)
        self._backward: Callable[..., Any] | None = None
        self._bound: dict[tuple, Callable] = {}
        unknown = set(self.domain) - {p.name for p in self.signature.parameters}
        if unknown:
            raise TypeError(f"{self.name}: domain= names {sorted(unknown)}, which {self.name} does not take.")

    def __repr__(self) -> str:
        return f"<rule {self.name}>"

    def backward(self, function: Callable) -> Callable:
        """Decorator: `function(residuals, upstream)` is the backward pass of this rule.

        It returns one gradient for each argument that can be floating-point, in order (the bare gradient where there
        is one such argument; None stands for zero). A setting that it takes as a keyword-only argument is passed on.
        Gradients are cast to the dtype of their argument and, in a broadcasting rule, summed to its shape.
        """
        self._backward = function
        self._passed = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        self._bound.clear()
        return function

    def with_backward(self, function: Callable) -> "Rule[P, T]":
        """The same rule with another backward pass; it is not registered."""
        other = object.__new__(Rule)
        other.__dict__ = self.__dict__ | {"_bound": {}}
        other.backward(function)
        return other

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The value of the rule; differentiating it runs the hand-derived backward pass."""
        arrays, settings = self.signature.bind(args, kwargs)
        self.signature.check(arrays)
        return self.bound(settings)(*(vmap_dependence.to_common_axes(arrays) if _traced(arrays) else arrays))

    def bound(self, settings: Mapping[str, Any]) -> Callable[..., T]:
        """The `jax.custom_vjp` function of this rule at `settings`."""
        key = tuple(settings.items())
        try:
            if key not in self._bound:
                self._bound[key] = self._bind(dict(settings))
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            shown = ", ".join(f"{name}={value!r}" for name, value in key)
            raise TypeError(
                f"{self.name}: a setting must be a hashable Python value known before tracing; got {shown}.\n"
                f"  Use a tuple for a list; pass arrays as positional arguments."
            ) from None
        return self._bound[key]

    def _bind(self, settings: dict[str, Any]) -> Callable[..., T]:
        forward, missing = self.forward, {}

        def with_dependence(value: Any, args: tuple) -> Any:
            leaves, tree = jax.tree.flatten(args)
            if not _traced(leaves):
                return value  # no vmap without a tracer
            key = (tree, *(ShapeDtype(x) for x in leaves))
            if key not in missing:
                missing[key] = vmap_dependence.missing_dependence(lambda *a: forward(*a, **settings)[0], args)
            return vmap_dependence.add_dependence(value, args, missing[key])

        # Under a transformation JAX hands a constant over as a bare Python number: as_array gives it a shape again.
        def call(*args):
            args = as_array(args)
            return with_dependence(forward(*args, **settings)[0], args)

        def call_forward(*args):
            args = as_array(args)
            value, residuals = forward(*args, **settings)
            return with_dependence(value, args), (residuals, jax.tree.map(ShapeDtype, args))

        def call_backward(residuals_and_shapes, upstream):
            residuals, shapes = residuals_and_shapes
            return self.pull(residuals, upstream, shapes, settings)

        # Not functools.wraps: the settings are bound, and custom_vjp would look for them. Jaxprs show the name and
        # where the forward pass is defined.
        call.__name__ = call.__qualname__ = self.name
        call.__dict__.update(__wrapped__=forward, __signature__=inspect.signature(call))
        call_backward.__name__ = f"{self.name}_backward"
        bound = jax.custom_vjp(call)
        bound.defvjp(call_forward, call_backward)
        return bound

    def pull(self, residuals: Any, upstream: Any, shapes: tuple, settings: Mapping[str, Any]) -> tuple:
        """One cotangent for each argument, as `jax.custom_vjp` wants them: None for integers, booleans and keys.

        Args:
            residuals: what the forward pass returned beside its value.
            upstream: the cotangent of the value.
            shapes: the arguments' structure, with a `ShapeDtype` for each array.
            settings: all of the rule's settings.

        Raises:
            TypeError: the backward pass returns too few or too many gradients, or there is none.
            ValueError: a gradient has another shape than its argument.
        """
        if self._backward is None:
            raise TypeError(f"{self.name} has no backward pass: define one under @{self.name}.backward.")
        gradients = self._backward(residuals, upstream, **{name: settings[name] for name in self._passed})
        differentiable = [i for i, p in enumerate(self.signature.parameters) if p.differentiable]
        gradients = (gradients,) if len(differentiable) == 1 else gradients
        if not isinstance(gradients, tuple | list) or len(gradients) != len(differentiable):
            names = ", ".join(self.signature.parameters[i].name for i in differentiable)
            count = len(gradients) if isinstance(gradients, tuple | list) else 1
            raise TypeError(f"{self._where()}: {count} gradients for {len(differentiable)} arguments ({names}).")
        cotangents: list[Any] = [None] * len(shapes)
        for i, gradient in zip(differentiable, gradients, strict=True):
            cotangents[i] = self._fit(self.signature.parameters[i].name, gradient, shapes[i])
        return tuple(cotangents)

    def _fit(self, name: str, gradient: Any, shapes: Any) -> Any:
        """`gradient` with the structure, shapes and dtypes of its argument; an absent argument has none."""
        if gradient is None or shapes is None:
            return None
        expected, tree = jax.tree.flatten(shapes, is_leaf=lambda leaf: isinstance(leaf, ShapeDtype))
        leaves = jax.tree.leaves(gradient, is_leaf=lambda leaf: leaf is None)
        if len(leaves) != len(expected):
            raise TypeError(
                f"{self._where()}: the gradient of {name} has {len(leaves)} leaves, but {name} has {len(expected)}."
            )
        return tree.unflatten(self._fit_leaf(name, g, argument) for g, argument in zip(leaves, expected, strict=True))

    def _fit_leaf(self, name: str, gradient: Any, argument: ShapeDtype) -> Any:
        if gradient is None or not jnp.issubdtype(argument.dtype, jnp.inexact):
            return None
        gradient = jnp.asarray(gradient)
        if self.signature.broadcasts and gradient.ndim >= len(argument.shape):
            gradient = unbroadcast(gradient, argument.shape)
        if gradient.shape != argument.shape:
            raise ValueError(
                f"{self._where()}: the gradient of {name} has shape {gradient.shape}, but {name} has {argument.shape}."
            )
        return gradient.astype(argument.dtype)

    def _where(self) -> str:
        """The backward pass with its file and line."""
        assert self._backward is not None
        code = inspect.unwrap(self._backward).__code__
        return f"{self._backward.__name__} ({code.co_filename}:{code.co_firstlineno})"


def _traced(tree: Any) -> bool:
    return any(isinstance(x, compat.Tracer) for x in jax.tree.leaves(tree))


def _value_of(forward: Callable[P, tuple[T, Any]]) -> Callable[P, T]:
    @wraps(forward)
    def primal(*args: P.args, **kwargs: P.kwargs) -> T:
        return forward(*args, **kwargs)[0]

    return primal


@overload
def rule(forward: Callable[P, tuple[T, Any]], /) -> Rule[P, T]: ...
@overload
def rule(
    *,
    domain: Mapping[str, Any] | None = ...,
    kinks: Callable[..., Any] | None = ...,
    broadcasts: bool = ...,
    reference: Callable[..., Any] | None = ...,
    formula: Callable[..., Any] | None = ...,
    example_settings: tuple[Mapping[str, Any], ...] = ...,
) -> Callable[[Callable[P, tuple[T, Any]]], Rule[P, T]]: ...
def rule(forward: Callable | None = None, /, **definition: Any) -> Any:
    """Decorator: make a rule of a forward pass that returns `(value, residuals)`, and register it.

    Args:
        forward: the function; arrays are positional, settings keyword-only, axes are given in the annotations.
        domain: the values of arguments that are not any real number, by name.
        kinks: a function of the rule's arguments, zero where the rule has no derivative.
        broadcasts: sum each gradient over the axes along which its argument was broadcast.
        reference: the plain function of a fused rule whose forward pass is not fit for autodiff.
        formula: the same function written independently in NumPy, as a textbook would: stability is not its business.
            The rule's values are compared with it. For a rule of one array that acts elementwise it is evaluated in
            many digits too, and its limits at plus and minus infinity are what the rule must return there.
        example_settings: further settings at which the rule is exercised.

    Raises:
        ValueError: a rule of this name is already registered from another module of the package.
    """

    def define(function: Callable) -> Rule:
        made = Rule(function, **definition)
        package = function.__module__.partition(".")[0]
        before = _REGISTER.get((package, made.name))
        if before is not None and before.__module__ != function.__module__:
            raise ValueError(
                f"rule {made.name} is defined in {before.__module__} and again in {function.__module__}: rename one."
            )
        _REGISTER[package, made.name] = made
        return made

    return define if forward is None else define(forward)


def rules(package: str = "jaxbackprop") -> dict[str, Rule]:
    """The registered rules of an imported package, by name; the library's own, imported here, where none is named."""
    own = __name__.partition(".")[0]
    if package == own:
        for folder in RULE_PACKAGES:
            import_module(f"{own}.{folder}")
    return {name: made for (owner, name), made in sorted(_REGISTER.items()) if owner == package}


def registered_as(name: str) -> Rule | None:
    """The rule of this library, or of one built on it, that has this name."""
    return next((made for made in _REGISTER.values() if made.name == name), None)
