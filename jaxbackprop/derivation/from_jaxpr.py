"""From a JAX function to named quantities in index notation: its jaxpr is run on expressions instead of arrays.

Broadcasts, transposes and sums become indices. A quantity gets a name where the source assigns one, where a function
that is not linear is applied, and where a product would have to be multiplied out. Whatever cannot be written this way
raises `CannotDerive` with the primitive and its line.
"""

import ast
import functools
import inspect
import linecache
import math
import operator
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.rule import Rule
from ..jaxprs import array_primitives as params
from ..jaxprs.compat import Jaxpr, JaxprEqn, Literal, body_of, dtype_of, function_of, scan_of, shape_of
from ..jaxprs.provenance import Frame, frames
from ..jaxprs.queries import UNTRACEABLE
from ..jaxprs.rules import HANDWRITTEN_BACKWARD
from .index_notation import (
    SIZE,
    ZERO,
    Expression,
    Factor,
    Index,
    expression,
    fresh,
    new_index,
    number,
    quantity,
)
from .quantities import LITERAL_KINDS, RESERVED, CannotDerive, Output, Parameter, Program, Quantity

EXACT = 2**10
"""A number in the program with a larger denominator than this stays a symbol: multiplying it out would round it."""

FUNCTIONS = {
    "exp": "e", "log": "l", "tanh": "t", "logistic": "s", "sqrt": "root", "rsqrt": "r", "erf": "phi", "sin": "sine",
    "cos": "cosine", "abs": "size", "sign": "sign", "log1p": "l", "expm1": "e",
}  # fmt: skip
"""Elementwise functions, and what their values are called where the source gives no name."""
POSITIVE = ("exp", "logistic", "sqrt", "rsqrt", "softplus", "relu", "abs")


@dataclass(frozen=True)
class Value:
    """What a variable of the jaxpr holds: an expression over its axes, or something that only helps to index.

    Attributes:
        axes: its axes; None is an axis of size 1, along which nothing varies.
        expression: its value; None where it is one of the following.
        known: a boolean, infinity or NaN that does not depend on the arguments.
        ids: an integer argument.
        key: a random key.
        bits: 32 random bits a number, by the quantity of their key.
        clip: of `ids`, the least and the largest value that a larger or smaller one counts as.
        counts: the index that it is equal to (an iota).
        summed: the indices that have just been summed, so that a division by their sizes is a mean.
        refused: why no equation may read it.
    """

    axes: tuple[Index | None, ...]
    expression: Expression | None = None
    known: float | bool | None = None
    ids: Factor | None = None
    key: Factor | None = None
    bits: Factor | None = None
    clip: tuple[int | None, int | None] = (None, None)
    counts: Index | None = None
    summed: tuple[Index, ...] = ()
    refused: str = ""

    @property
    def is_number(self) -> bool:
        return self.expression is not None and self.expression.constant is not None


def read(fun: Callable, args: Sequence[Any]) -> Program:
    """The named quantities of `fun` at arrays, or lists, tuples and dictionaries of arrays, like `args`.

    Raises:
        CannotDerive: an argument is no array, or an equation has no derivation.
    """
    function = fun.primal if isinstance(fun, Rule) else fun
    names = _argument_names(fun, args)
    tracer = _Tracer(_name_of(fun))
    values = [v for name, x in zip(names, args, strict=True) for v in tracer.parameter(name, x)]
    tracer.program.axis_names.update(_annotated_axes(fun, tracer.program))
    structure = jax.eval_shape(function, *args)
    leaves = structure if isinstance(structure, tuple | list) else [structure]
    if not all(hasattr(x, "dtype") and jnp.issubdtype(x.dtype, np.floating) for x in leaves):
        raise CannotDerive(f"derive: {tracer.program.name} does not return a floating-point array, or a tuple of such.")
    closed = _traced(function, args)
    consts = [tracer.literal(c) for c in closed.consts]
    outs = tracer.run(closed.jaxpr, consts, values)
    tracer.program.several = isinstance(structure, tuple | list)
    tracer.finish(outs)
    return tracer.program


def _traced(function: Callable, args: Sequence[Any]) -> Any:
    """The jaxpr in 64 bits, so that numbers in it have all their digits; in the arguments' types where that fails."""

    def wide(x: Any) -> Any:
        if not isinstance(x.dtype, np.dtype):
            return x
        x = np.asarray(x)
        return x.astype(np.float64) if jnp.issubdtype(x.dtype, np.floating) else x

    try:
        with jax.enable_x64(True):
            return jax.make_jaxpr(function)(*jax.tree.map(wide, tuple(args)))
    except UNTRACEABLE:
        return jax.make_jaxpr(function)(*args)


def _name_of(fun: Callable) -> str:
    name = getattr(inspect.unwrap(fun), "__name__", "f")
    return name if name.isidentifier() else "f"


def _argument_names(fun: Callable, args: Sequence[Any]) -> list[str]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [p.name for p in inspect.signature(fun).parameters.values() if p.kind in positional]
    names = [parameters[k] if k < len(parameters) else f"x{k}" for k in range(len(args))]
    for name in RESERVED.intersection(names):
        raise CannotDerive(f"derive: the rule has a use of its own for the name {name}; call the argument otherwise.")
    for name, x in zip(names, args):
        _check_container(name, x)
    return names


def _annotated_axes(fun: Callable, program: Program) -> dict[int, str]:
    """The names that jaxtyping annotations give to axes of arguments: `Float[Array, "batch features"]`."""
    found: dict[int, str] = {}
    annotations = {p.name: p.annotation for p in inspect.signature(fun).parameters.values()}
    for p in program.parameters:
        axes = program[p.leaves[0][0]].axes if p.structure is None else ()
        names = str(getattr(annotations.get(p.name), "dim_str", "")).split()
        if len(names) == len(axes):
            found |= {i.axis: n for i, n in zip(axes, names, strict=True) if i is not None and n.isidentifier()}
    return found


def _suffix(path: tuple[Any, ...]) -> str:
    """What is added to a parameter's name for an array in it: W[0] is W1, p["bias"] is p_bias."""
    parts = (e.idx + 1 if isinstance(e, jax.tree_util.SequenceKey) else re.sub(r"\W", "_", f"_{e.key}") for e in path)
    return "".join(f"_{part}" if k and isinstance(part, int) else str(part) for k, part in enumerate(parts))


def _check_container(name: str, x: Any) -> None:
    if type(x) in (list, tuple, dict) and x:
        for inner in x.values() if isinstance(x, dict) else x:
            _check_container(name, inner)
    elif not jax.tree_util.treedef_is_leaf(jax.tree.structure(x)):
        what = f"an empty {type(x).__name__}" if type(x) in (list, tuple, dict) else f"a {type(x).__name__}"
        raise CannotDerive(
            f"derive: {name} is or holds {what}; give arrays, or lists, tuples and dictionaries of them."
        )


class _Tracer:
    """Runs a jaxpr on `Value`s and fills a `Program`."""

    def __init__(self, name: str):
        self.program = Program(name)
        self.axis_root: dict[int, int] = {}
        self.axis_count = 0
        self.running: list[JaxprEqn] = []

    # Axes and values.

    def index(self, size: int) -> Index:
        self.axis_count += 1
        return new_index(self.axis_count, int(size))

    def axes(self, shape: Iterable[int]) -> tuple[Index | None, ...]:
        return tuple(self.index(n) if n != 1 else None for n in shape)

    def root(self, axis: int) -> int:
        while axis in self.axis_root:
            axis = self.axis_root[axis]
        return axis

    def same_axis(self, one: Index, other: Index) -> None:
        a, b = sorted((self.root(one.axis), self.root(other.axis)))
        if a != b:
            self.axis_root[b] = a

    def parameter(self, name: str, x: Any) -> list[Value]:
        """The arrays of a parameter."""
        paths = jax.tree_util.tree_flatten_with_path(x)[0]
        values = [self.argument(name + _suffix(path), leaf) for path, leaf in paths]
        reads = [name + jax.tree_util.keystr(path) for path, _ in paths]
        keys = self.program.arguments[len(self.program.arguments) - len(paths) :]
        tree = jax.tree.structure(x)
        structure = None if jax.tree_util.treedef_is_leaf(tree) else tree.unflatten(range(len(paths)))
        self.program.parameters.append(Parameter(name, tuple(zip(keys, reads, strict=True)), structure))
        return values

    def argument(self, name: str, x: Any) -> Value:
        x = np.asarray(x) if not hasattr(x, "dtype") else x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) and not x.shape:
            q = self.program.add(name, (), "key", differentiable=False, made_up=False)
            q.dtype = "key"
            self.program.arguments.append(q.key)
            return Value((), key=q.factor)
        if not isinstance(x.dtype, np.dtype):
            raise CannotDerive(f"derive: {name} has dtype {x.dtype}; floats, integers and booleans have derivations.")
        axes = self.axes(x.shape)
        indices = [i for i in axes if i is not None]
        kinds: dict[str, tuple[Any, str]] = {"f": ("argument", "float"), "b": ("mask argument", "bool")}
        kind, dtype = kinds.get("f" if jnp.issubdtype(x.dtype, np.floating) else x.dtype.kind, ("ids", "int"))
        if kind == "ids" and not jnp.issubdtype(x.dtype, np.integer):
            raise CannotDerive(f"derive: {name} has dtype {x.dtype}; floats, integers and booleans have derivations.")
        q = self.program.add(name, indices, kind, differentiable=dtype == "float", made_up=False)
        q.function = "padded" if kind == "ids" and bool((np.asarray(x) < 0).any()) else ""
        q.axes, q.dtype = axes, dtype
        self.program.arguments.append(q.key)
        return Value(axes, ids=q.factor) if kind == "ids" else Value(axes, quantity(q.factor))

    def literal(self, x: Any) -> Value:
        x = np.asarray(x)
        if x.size != 1:
            return Value((), refused=f"a constant array of shape {x.shape}: make it an argument")
        axes, value = (None,) * x.ndim, x.reshape(())[()]
        if x.dtype.kind == "b" or (x.dtype.kind == "f" and not math.isfinite(value)):
            return Value(axes, known=bool(value) if x.dtype.kind == "b" else float(value))
        exact = Fraction(float(value))
        if exact.denominator <= EXACT and abs(exact.numerator) <= 10**6:
            return Value(axes, number(exact))
        same = [q for q in self.program.quantities.values() if q.kind == "number" and q.value == float(value)]
        q = (
            same[0]
            if same
            else self.program.add(
                f"number{len(self.program.quantities)}",
                (),
                "number",
                value=float(value),
                text=str(value),
                differentiable=False,
                positive=value > 0,
            )
        )
        return Value(axes, quantity(q.factor))

    def not_finite(self, v: Value) -> Value:
        """Infinity or NaN as a branch of a select, where it is a symbol and no operand."""
        assert v.known is not None
        text = "jnp.nan" if math.isnan(v.known) else "jnp.inf" if v.known > 0 else "-jnp.inf"
        q = self.program.add(
            f"number{len(self.program.quantities)}", (), "number", value=v.known, text=text, differentiable=False
        )
        return replace(v, known=None, expression=quantity(q.factor))

    def sized(self, index: Index, sizes: Sequence[Expression]) -> None:
        """Remember the size of a new axis in terms of others."""
        self.program.size_of[index.axis] = (*self.program.size_of.get(index.axis, ()), *sizes)

    def in_range(self, ids: Quantity) -> None:
        """Make it a condition that integers are indices."""
        condition = f"every entry of {ids.name} is an index in range, counted from 0"
        if condition not in self.program.conditions:
            self.program.conditions.append(condition)

    def compared_with_number(self, ids: Value, other: Value, name: str) -> Value:
        """Integers compared with a number, or with the size of the one axis that is as long."""
        bound = of(other).constant
        if bound == 0 and name == "lt" and ids.ids is not None:
            q = self.program[ids.ids.key]
            if ids.clip[0] != 0 and q.function != "padded":
                self.in_range(q)  # an index counted from the end is not read as one
            if ids.clip[0] == 0 or q.function != "padded":
                return Value(ids.axes, known=False)
        if bound is None or ids.clip != (None, None) or ids.ids is None:
            return Value(ids.axes, refused="a comparison of integer indices")
        step = int(name in ("gt", "le"))
        longest = {
            self.root(i.axis) for key in self.program.arguments for i in self.program[key].indices if i.size == bound
        }
        threshold = quantity(Factor(f"{SIZE}{longest.pop()}")) if len(longest) == 1 else number(bound)
        threshold = threshold + number(step)
        own = self.program[ids.ids.key]
        for q in self.program.quantities.values():
            if q.function == "at least" and q.definition == threshold and q.selector and q.selector.key == own.key:
                reached = quantity(Factor(q.key, ids.ids.indices))
                break
        else:
            q = self.program.add(
                "m", own.indices, "mask", definition=threshold, function="at least", selector=own.factor,
                differentiable=False,
            )  # fmt: skip
            reached = quantity(Factor(q.key, ids.ids.indices))
        mask = Value(ids.axes, reached)
        return mask if name in ("ge", "gt") else self.mask("not", mask)

    # Naming.

    def order(self, v: Value) -> list[Index]:
        """The indices of a value in the order of its axes; those that are only in its expression first."""
        free = of(v).free
        placed = [i for i in v.axes if i is not None]
        return sorted(free - set(placed), key=lambda i: i.number) + [i for i in placed if i in free]

    def named(self, v: Value, name: str = "t", made_up: bool = True) -> Value:
        """The same value as one quantity, named if it has no name yet; equal definitions are one quantity."""
        if of(v).single is not None:
            return v
        indices = self.order(v)
        for q in self.program.quantities.values():
            if (
                q.kind == "formula"
                and q.definition == v.expression
                and q.differentiable
                and set(q.indices) == set(indices)
            ):
                return replace(v, expression=quantity(q.factor), summed=())
        q = self.program.add(
            name, indices, "formula", definition=v.expression, positive=self.is_positive(of(v)), made_up=made_up
        )
        return replace(v, expression=quantity(q.factor), summed=())

    def quantity_of(self, v: Value) -> Quantity:
        factor = of(v).single
        assert factor is not None
        return self.program[factor.key]

    def is_positive(self, e: Expression) -> bool:
        """Whether an expression is certainly not negative."""

        def positive(f: Factor, exponent: Fraction) -> bool:
            q = self.program.quantities.get(f.key)  # a size has none yet
            return exponent % 2 == 0 or q is None or q.positive or q.is_mask

        return bool(e) and all(c > 0 and all(positive(f, p) for f, p in powers) for (_, powers), c in e.terms.items())

    def as_factor(self, v: Value) -> Value:
        """A value that may be multiplied: one product, or 1 plus one product; anything else gets a name."""
        e = of(v)
        if e.is_product or not e:
            return v
        plain = all(not bound for bound, _ in e.terms)
        symbols = any(
            f.key in self.program.quantities and self.program[f.key].kind == "number" and len(powers) == 1
            for _, powers in e.terms
            for f, _ in powers
        )
        if len(e.terms) == 2 and plain and not symbols and any(not powers for _, powers in e.terms):
            return v
        return self.named(v)

    def function(self, name: str, v: Value) -> Value:
        """An elementwise function, as a quantity of its own."""
        if v.is_number:
            result = _NUMPY[name](float(of(v).constant or 0))
            return (
                self.literal(np.float64(result)) if math.isfinite(result) else replace(v, expression=None, known=result)
            )
        if any(product.bound for product in of(v).terms) or name in ("log", "log1p", "softplus", "relu"):
            v = self.named(v, "z" if name == "relu" else "t")
        for q in self.program.quantities.values():
            if q.kind == "function" and q.function == name and q.definition == v.expression:
                return replace(v, expression=quantity(q.factor), summed=())
        q = self.program.add(
            FUNCTIONS.get(name, name),
            self.order(v),
            "function",
            definition=v.expression,
            function=name,
            positive=name in POSITIVE,
        )
        return replace(v, expression=quantity(q.factor), summed=())

    def mask(self, function: str, v: Value) -> Value:
        """A 0/1 quantity: v > 0 (`positive`), v = 0 (`zero`), its negation (`not`), a product of masks (`all`)."""
        if function in ("positive", "zero"):
            v = self.named(v)
        for q in self.program.quantities.values():
            if q.kind == "mask" and q.function == function and q.definition == v.expression:
                return replace(v, expression=quantity(q.factor))
        name = "m" if function != "not" else f"not_{self.quantity_of(v).name}"
        q = self.program.add(
            name, self.order(v), "mask", definition=v.expression, function=function, differentiable=False
        )
        return replace(v, expression=quantity(q.factor))

    def is_mask(self, v: Value) -> bool:
        factor = v.expression.single if v.expression is not None else None
        return factor is not None and self.program[factor.key].is_mask

    # Arithmetic.

    def aligned(self, *values: Value) -> tuple[tuple[Index | None, ...], list[Value]]:
        """The values over common axes: an axis of size 1 stretches, a number has no axes."""
        rank = max(len(v.axes) for v in values)
        full = [v for v in values if len(v.axes) == rank]
        axes = tuple(next((v.axes[k] for v in full if v.axes[k] is not None), None) for k in range(rank))
        out = []
        for v in values:
            names = {}
            for own, common in zip(v.axes, axes):
                if own is not None and common is not None:
                    names[own] = common
                    self.same_axis(own, common)
            moved = v.expression.renamed(names) if v.expression is not None else None
            ids = v.ids.renamed(names) if v.ids else None
            counts = names.get(v.counts, v.counts) if v.counts else None
            out.append(
                replace(
                    v,
                    axes=axes if v.axes else (),
                    expression=moved,
                    ids=ids,
                    counts=counts,
                    summed=tuple(names.get(i, i) for i in v.summed),
                )
            )
        return axes, out

    def multiplied(self, a: Value, b: Value) -> Value:
        axes, (a, b) = self.aligned(a, b)
        if not a.is_number and not b.is_number:
            a, b = self.as_factor(a), self.as_factor(b)
        return Value(axes, of(a) * of(b))

    def power(self, v: Value, exponent: Fraction) -> Value:
        if not (
            of(v).is_product
            and (exponent.denominator == 1 or of(v).constant is not None or next(iter(of(v).terms.values())) == 1)
        ):
            v = self.named(v)
        if v.is_number and exponent.denominator != 1:
            return self.literal(np.float64(float(of(v).constant or 0) ** float(exponent)))
        return replace(v, expression=of(v).power(exponent), summed=())

    def mean_or_quotient(self, a: Value, b: Value) -> Value:
        """a / b, a division by the sizes of what was just summed written as such."""
        divisor = of(b).constant
        if divisor is not None and a.summed:
            for count in range(len(a.summed), 0, -1):
                chosen = a.summed[-count:]
                options = [chosen] if count == len(a.summed) else [(i,) for i in a.summed]
                for indices in options:
                    if math.prod(i.size for i in indices) == divisor:
                        sizes = [(Factor(f"{SIZE}{i.axis}"), Fraction(-1)) for i in indices]
                        return replace(a, expression=of(a) * expression([((), sizes, Fraction(1))]), summed=())
        if divisor is not None:
            return replace(self.multiplied(a, replace(b, expression=number(1 / divisor))), summed=a.summed)
        out = self.multiplied(a, self.power(b, Fraction(-1)))
        several = sum(len(powers) for _, powers in of(out).terms) > 1
        literal = all(
            f.key in self.program.quantities and self.program[f.key].kind == "number"
            for _, powers in of(b).terms
            for f, _ in powers
        )
        return self.named(out, "ratio") if several and not literal else out

    # Running.

    def run(self, jaxpr: Jaxpr, consts: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
        env = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, inputs, strict=True))

        def value(atom: Any) -> Value:
            return self.literal(atom.val) if isinstance(atom, Literal) else env[atom]

        eqns = _needed(jaxpr)
        readers = Counter(v for eqn in eqns for v in eqn.invars if not isinstance(v, Literal))
        names = _assigned_names(eqns, function_of(jaxpr))
        for eqn, name in zip(eqns, names):
            ins = [value(v) for v in eqn.invars]
            self.running.append(eqn)
            outs = self.equation(eqn, ins)
            self.running.pop()
            if name and len(outs) == 1 and outs[0].expression is not None and not outs[0].is_number:
                outs = [self.called(outs[0], name)]
            outs = [self.forked(o) if readers[v] > 1 else o for v, o in zip(eqn.outvars, outs)]
            env.update(zip(eqn.outvars, outs, strict=True))
        return [value(v) for v in jaxpr.outvars]

    def forked(self, v: Value) -> Value:
        """A sum that several equations read: a fork, at which deltas meet."""
        e = v.expression
        if e is None or not e or (e.is_product and len(next(iter(e.terms)).powers) < 3) or v.summed:
            return v
        return v if self.as_factor(v) is v else self.named(v)

    def called(self, v: Value, name: str) -> Value:
        """The value under the name that the source gives it."""
        before = self.program.named(name)
        if before is not None and before.made_up and before.factor != of(v).single:
            before.name = self.program.free_name(f"{name}_")  # the source's names come first
        v = self.named(v, name, made_up=False)
        q = self.quantity_of(v)
        if q.made_up and q.kind not in LITERAL_KINDS:
            q.name, q.made_up = name if q.name == name else self.program.free_name(name), False
        q.source_axes = v.axes
        return v

    def equation(self, eqn: JaxprEqn, ins: list[Value]) -> list[Value]:
        name = eqn.primitive.name
        body = body_of(eqn)
        if body is not None:
            jaxpr, consts = body
            self.program.holds_rules |= name in HANDWRITTEN_BACKWARD
            if "logaddexp" in function_of(jaxpr)[0] and ins[1].expression == ZERO:
                return [self.function("softplus", ins[0])]
            if ins and ins[0].key is not None and (found := self.random(eqn, jaxpr, ins)) is not None:
                return [found]
            return self.run(jaxpr, [self.literal(c) for c in consts], ins)
        if name == "scan":
            return self.scan(eqn, ins)
        if name not in _PRIMITIVES:
            raise self.cannot(eqn, f"the primitive {name} has no derivation")
        for v in ins:
            if v.refused and name != "select_n":
                raise self.cannot(eqn, v.refused)
        try:
            out = _PRIMITIVES[name](self, eqn, *ins)
            return out if isinstance(out, list) else [out]
        except _NotAnExpression:
            raise self.cannot(eqn, f"{name} of integers, infinities or booleans has no derivation") from None

    def random(self, eqn: JaxprEqn, jaxpr: Jaxpr, ins: Sequence[Value]) -> Value | None:
        """A call of `jax.random.bernoulli`, `uniform` between 0 and 1, or `normal`."""
        key, *numbers = ins
        constants = [of(v).constant if v.expression is not None else None for v in numbers]
        literals = [self.quantity_of(v).value if of(v).single else of(v).constant for v in numbers if v.expression]
        name = function_of(jaxpr)[0].strip("_")
        if name not in ("bernoulli", "uniform", "normal") or len(literals) < len(numbers) or None in literals:
            return None
        if name == "uniform" and constants != [0, 1]:
            return None
        return self.drawn(eqn, name, key.key, float(literals[0] or 0) if name == "bernoulli" else 0.0)

    def drawn(self, eqn: JaxprEqn, function: str, key: Factor | None, value: float) -> Value:
        """Random numbers of an equation's shape, as a quantity."""
        axes = self.axes(shape_of(eqn.outvars[0]))
        q = self.program.add(
            "m" if function in ("bernoulli", "bits") else "r", [i for i in axes if i is not None], "drawn",
            function=function, selector=key, value=value, differentiable=False,
        )  # fmt: skip
        return Value(axes, quantity(q.factor))

    def scan(self, eqn: JaxprEqn, ins: list[Value]) -> list[Value]:
        """A loop over the leading axis: time is one more index, the value before a step a quantity of its own."""
        loop = scan_of(eqn)
        refused = next((v.refused for v in ins if v.refused), "")
        if loop.reverse or loop.length < 2 or self.program.loop_axes or refused:
            raise self.cannot(
                eqn, refused or "a loop that is reversed, short, or the second one, has no derivation yet"
            )
        t = self.index(loop.length)
        self.program.loop_axes.append(t.axis)
        constants, start = ins[: loop.constants], ins[loop.constants : loop.constants + loop.carried]
        previous, inside = [], []
        for v, atom in zip(start, eqn.invars[loop.constants :]):
            integer = not jnp.issubdtype(dtype_of(atom), np.floating)
            if (
                integer
                or v.expression is None
                or (len(of(v).free) < sum(i is not None for i in v.axes) and of(v) != ZERO)
            ):
                raise self.cannot(eqn, "a loop whose start is not floating-point, or broadcast, has no derivation yet")
            axes = tuple(fresh(i) if i is not None else None for i in v.axes)
            names = {o: n for o, n in zip(v.axes, axes) if o is not None and n is not None}
            kept = [i for i in axes if i is not None]
            q = self.program.add("before", (t, *kept), "previous", definition=of(v).renamed(names))
            previous.append(q)
            inside.append(Value(axes, quantity(q.factor)))
        slices = []
        for v in ins[loop.constants + loop.carried :]:
            along = v.axes[0]
            if v.expression is None or along is None:
                raise self.cannot(eqn, "a loop over integers, or over an axis of size 1, has no derivation yet")
            self.same_axis(along, t)
            slices.append(Value(v.axes[1:], of(v).renamed({along: t})))
        outs = self.run(loop.body, [self.literal(c) for c in loop.consts], [*constants, *inside, *slices])
        last = []
        for q, before, after in zip(previous, inside, outs):
            after = self.named(after, "h")
            new = self.quantity_of(after)
            own = [i for i in after.axes if i is not None]
            if {*own, t} != of(after).free or not new.differentiable or new.kind in ("argument", "previous"):
                raise self.cannot(eqn, "a loop that carries what it does not compute anew has no derivation yet")
            names = {o: n for o, n in zip(after.axes, before.axes) if o is not None and n is not None}
            for o, n in names.items():
                self.same_axis(o, n)
            factor = of(after).single
            assert factor is not None
            q.recurrence, q.base = factor.renamed(names), f"{new.name}_before"
            q.name, q.made_up = self.program.free_name(q.base), False
            end = self.program.add(f"{new.name}_last", own, "last", recurrence=factor)
            last.append(Value(after.axes, quantity(end.factor)))
        stacked = []
        for v in outs[loop.carried :]:
            if t not in of(v).free:
                raise self.cannot(eqn, "a loop that returns what is the same in each step has no derivation yet")
            stacked.append(Value((t, *v.axes), v.expression))
        return [*last, *stacked]

    def cannot(self, eqn: JaxprEqn, why: str) -> CannotDerive:
        lines = next((found for e in (eqn, *reversed(self.running)) if (found := frames(e))), [])
        where = f" at {lines[-1].file}:{lines[-1].line}" if lines else ""
        return CannotDerive(f"derive: {why}{where}.")

    def finish(self, outs: Sequence[Value]) -> None:
        """Name the outputs, and write axes that are one as one."""
        for k, v in enumerate(outs):
            if v.expression is None:
                raise CannotDerive(f"derive: output {k} of {self.program.name} is not a number that has a derivative.")
            name = "y" if len(outs) == 1 else f"y{k + 1}"
            is_argument = of(v).single is not None and self.quantity_of(v).axes
            if v.is_number or is_argument:
                q = self.program.add(name, self.order(v), "formula", definition=v.expression)
                v = replace(v, expression=quantity(q.factor))
            else:
                v = self.called(v, name)
            factor = of(v).single
            assert factor is not None
            self.program.outputs.append(Output(factor, v.axes))
        self.program.loop_axes = [self.root(axis) for axis in self.program.loop_axes]
        self.program.with_axes({axis: self.root(axis) for axis in self.axis_root})
        for q in self.program.quantities.values():
            if sum(i.axis in self.program.loop_axes for i in q.indices) > 1:
                raise CannotDerive(f"derive: {q.name} has the axis of a loop twice, which has no derivation yet.")


class _NotAnExpression(Exception):
    """A value without expression arrived where numbers are calculated with."""


def of(v: Value) -> Expression:
    """The expression of a value that must have one."""
    if v.expression is None:
        raise _NotAnExpression
    return v.expression


def _needed(jaxpr: Jaxpr) -> list[JaxprEqn]:
    """The equations that an output depends on."""
    needed = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    eqns = []
    for eqn in reversed(jaxpr.eqns):
        if any(v in needed for v in eqn.outvars):
            needed.update(v for v in eqn.invars if not isinstance(v, Literal))
            eqns.append(eqn)
    return eqns[::-1]


def _assigned_names(eqns: Sequence[JaxprEqn], function: tuple[str, str]) -> list[str]:
    """For each equation the name that the source of `function` assigns its result, or nothing.

    An equation is the last of its statement where the next one belongs to another; the innermost statement wins.
    """
    places = [[_statement(frame) for frame in _frames_inside(eqn, function)] for eqn in eqns]
    names = []
    for k, statements in enumerate(places):
        after = places[k + 1] if k + 1 < len(places) else []
        last = [s for depth, s in enumerate(statements) if s and s not in after[depth : depth + 1]]
        names.append(next((s[2] for s in reversed(last) if s[2]), ""))
    return names


def _frames_inside(eqn: JaxprEqn, function: tuple[str, str]) -> list[Frame]:
    """The lines of a function (name and file:line), and of what it calls, that led to an equation."""
    name, file = function[0].rpartition(".")[2], function[1].rpartition(":")[0]
    lines = frames(eqn)
    inside = (k for k, f in enumerate(lines) if f.function.rpartition(".")[2] == name and f.file == file)
    start = next(inside, len(lines))
    return lines[start:]


@functools.cache
def _statement(frame: Frame) -> tuple[str, int, str] | None:
    """The assignment at a line, as (file, first line, name); None where there is none."""
    return _assignments(frame.file).get(frame.line)


@functools.lru_cache(maxsize=64)
def _assignments(file: str) -> dict[int, tuple[str, int, str]]:
    """For each line of a file the statement it belongs to, with the name that it assigns or nothing."""
    try:
        tree = ast.parse(textwrap.dedent("".join(linecache.getlines(file))))
    except SyntaxError:
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Return):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            name = target.id if isinstance(target, ast.Name) else ""
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = (file, node.lineno, name)
    return found


# The primitives.

_PRIMITIVES: dict[str, Callable[..., Value | list[Value]]] = {}
_NUMPY: dict[str, Callable[[float], float]] = {
    "exp": math.exp, "log": lambda x: math.log(x) if x > 0 else -math.inf, "tanh": math.tanh, "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x), "logistic": lambda x: 1 / (1 + math.exp(-x)), "erf": math.erf,
    "sin": math.sin, "cos": math.cos, "abs": abs, "sign": lambda x: math.copysign(1.0, x) if x else 0.0,
    "log1p": math.log1p, "expm1": math.expm1, "softplus": lambda x: math.log1p(math.exp(x)),
    "relu": lambda x: max(x, 0.0),
}  # fmt: skip


def primitive(*names: str) -> Callable[[Callable], Callable]:
    """Decorator: the function that answers for these primitives, `(tracer, equation, *inputs) -> value or values`."""

    def put(function: Callable[..., Value | list[Value]]) -> Callable:
        _PRIMITIVES.update(dict.fromkeys(names, function))
        return function

    return put


def _elementwise(name: str) -> None:
    _PRIMITIVES[name] = lambda tracer, _, x: tracer.function(name, x)


for _name in ("exp", "tanh", "logistic", "log", "log1p", "expm1", "sqrt", "rsqrt", "erf", "sin", "cos"):
    _elementwise(_name)


@primitive("copy", "reduce_precision", "optimization_barrier", "copy_p")
def _same(tracer: _Tracer, _: JaxprEqn, x: Value) -> Value:
    return x


@primitive("convert_element_type")
def _convert(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    to, was = (np.dtype(dtype_of(v)) for v in (eqn.outvars[0], eqn.invars[0]))
    if x.expression is not None and not x.is_number and jnp.issubdtype(was, np.floating):
        if not jnp.issubdtype(to, np.floating):
            raise tracer.cannot(eqn, f"a conversion of {was} to {to} has no derivation")
    if x.ids is not None and jnp.issubdtype(to, np.floating):
        return Value(x.axes, quantity(x.ids)) if x.clip == (None, None) else Value(x.axes, refused="clipped integers")
    return x


@primitive("add", "add_any", "sub")
def _add(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    if x.ids is not None or y.ids is not None:
        return Value(x.axes, refused="arithmetic on integer indices")
    axes, (x, y) = tracer.aligned(x, y)
    return Value(axes, of(x) - of(y) if eqn.primitive.name == "sub" else of(x) + of(y))


@primitive("neg")
def _neg(tracer: _Tracer, _: JaxprEqn, x: Value) -> Value:
    return replace(x, expression=-of(x))


@primitive("mul")
def _mul(tracer: _Tracer, _: JaxprEqn, x: Value, y: Value) -> Value:
    return tracer.multiplied(x, y)


@primitive("div")
def _div(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    if not jnp.issubdtype(dtype_of(eqn.outvars[0]), np.floating):
        raise tracer.cannot(eqn, "a division of integers has no derivation")
    return tracer.mean_or_quotient(x, y)


@primitive("integer_pow", "square")
def _integer_pow(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    return tracer.power(x, Fraction(params.integer_exponent(eqn)))


@primitive("pow")
def _pow(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    exponent = of(y).constant
    if exponent is None:
        raise tracer.cannot(eqn, "a power whose exponent is no simple number has no derivation")
    return tracer.power(tracer.named(x), exponent)


@primitive("abs")
def _abs(tracer: _Tracer, _: JaxprEqn, x: Value) -> Value:
    return x if tracer.is_positive(of(x)) else tracer.function("abs", tracer.named(x))


@primitive("sign")
def _sign(tracer: _Tracer, _: JaxprEqn, x: Value) -> Value:
    v = tracer.function("sign", tracer.named(x))
    tracer.quantity_of(v).differentiable = False
    return v


@primitive("max")
def _max(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    if x.ids is not None or y.ids is not None:
        return clipped(x, y, 0)
    for one, other in ((x, y), (y, x)):
        if one.known == -math.inf:
            return other
        if one.expression == ZERO:
            return tracer.function("relu", other)
    axes, (x, y) = tracer.aligned(x, y)
    difference = of(x) - of(y)
    if not difference:
        return x
    return tracer_select(tracer, Value(axes, of(tracer.mask("positive", Value(axes, difference)))), y, x)


@primitive("min")
def _min(tracer: _Tracer, _: JaxprEqn, x: Value, y: Value) -> Value:
    if x.ids is not None or y.ids is not None:
        return clipped(x, y, 1)
    for one, other in ((x, y), (y, x)):
        if one.known == math.inf:
            return other
    axes, (x, y) = tracer.aligned(x, y)
    difference = of(x) - of(y)
    if not difference:
        return x
    return tracer_select(tracer, Value(axes, of(tracer.mask("positive", Value(axes, difference)))), x, y)


def clipped(x: Value, y: Value, side: int) -> Value:
    """Integers of which those beyond a number count as that number: the least (side 0) or the largest (side 1)."""
    ids, bound = (x, y) if x.ids is not None else (y, x)
    value = of(bound).constant
    if value is None or ids.clip[side] is not None:
        raise _NotAnExpression
    return replace(ids, clip=(int(value), ids.clip[1]) if side == 0 else (ids.clip[0], int(value)))


@primitive("clamp")
def _clamp(tracer: _Tracer, eqn: JaxprEqn, low: Value, x: Value, high: Value) -> Value:
    return _min(tracer, eqn, _max(tracer, eqn, x, low), high)


@primitive("random_wrap")
def _random_wrap(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    if x.ids is None or tracer.program[x.ids.key].indices != x.ids.indices:
        raise tracer.cannot(eqn, "a key that is computed has no derivation")
    q = tracer.program[x.ids.key]
    q.kind = "key"
    return Value((), key=q.factor)


@primitive("random_bits")
def _random_bits(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    if x.key is None or params.bit_width(eqn) != 32:
        raise tracer.cannot(eqn, "random bits other than 32 a number have no derivation")
    return Value(tracer.axes(shape_of(eqn.outvars[0])), bits=x.key)


@primitive("gt", "lt", "ge", "le")
def _compare(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    name = eqn.primitive.name
    if x.bits is not None:
        symbol = of(y).single
        least = tracer.program[symbol.key].value if symbol is not None else of(y).constant
        if name != "lt" or least is None:
            raise tracer.cannot(
                eqn, "random bits compared with what is no number, or otherwise than by <, have no rule"
            )
        return tracer.drawn(eqn, "bits", x.bits, float(least))
    if x.ids is not None or y.ids is not None:
        if x.ids is None:
            x, y, name = y, x, {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}[name]
        return tracer.compared_with_number(x, y, name)
    if x.known is not None or y.known is not None:
        return Value(x.axes or y.axes, known=_compared(name, x.known, y.known))
    axes, (x, y) = tracer.aligned(x, y)
    difference = Value(axes, of(x) - of(y) if name in ("gt", "le") else of(y) - of(x))
    if not difference.expression:
        return Value(axes, known=name in ("ge", "le"))
    positive = tracer.mask("positive", difference)
    return positive if name in ("gt", "lt") else tracer.mask("not", positive)


def _compared(name: str, x: float | bool | None, y: float | bool | None) -> bool:
    """A comparison with infinity or NaN, of which None stands for any finite number."""
    if isinstance(x, bool) or isinstance(y, bool):
        raise _NotAnExpression
    return bool(getattr(operator, name)(0.0 if x is None else x, 0.0 if y is None else y))


@primitive("eq", "ne")
def _equal(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    equal = eqn.primitive.name == "eq"
    if x.ids is None and y.ids is not None:
        x, y = y, x
    if x.ids is not None:
        axes, (x, y) = tracer.aligned(x, y)
        if y.is_number and not y.axes:
            at, above = (tracer.compared_with_number(x, y, name) for name in ("ge", "gt"))
            both = tracer.mask("all", Value(axes, of(at) * of(tracer.mask("not", above))))
            return both if equal else tracer.mask("not", both)
        if y.counts is None or x.ids is None:
            return Value(axes, refused="a comparison of integer indices")
        hot = Value(axes, quantity(one_hot(tracer, x, y.counts)))
        return hot if equal else tracer.mask("not", hot)
    if x.known is not None or y.known is not None:
        return Value(x.axes or y.axes, known=_compared(eqn.primitive.name, x.known, y.known))
    axes, (x, y) = tracer.aligned(x, y)
    difference = of(x) - of(y)
    if not difference:
        return Value(axes, known=equal)
    zero = tracer.mask("zero", Value(axes, difference))
    return zero if equal else tracer.mask("not", zero)


def one_hot(tracer: _Tracer, which: Value, index: Index, padded: bool = False) -> Factor:
    """[ids = index] as a quantity; an integer out of range has no 1 where that is allowed."""
    ids = which.ids
    assert ids is not None
    function = "padded" if padded or tracer.program[ids.key].function == "padded" else ""
    if which.clip != (None, None):
        if which.clip != (0, index.size - 1):
            raise _NotAnExpression
        function = "clipped"
    for q in tracer.program.quantities.values():
        if (
            q.kind == "one-hot"
            and q.function == function
            and q.selector is not None
            and q.selector.key == ids.key
            and tracer.root(q.over[0].axis) == tracer.root(index.axis)
        ):
            names = dict(zip(q.selector.indices, ids.indices, strict=True)) | {q.over[0]: index}
            return q.factor.renamed(names)
    name = tracer.program[ids.key].name
    q = tracer.program.add(
        f"is_{name}", (*ids.indices, index), "one-hot", selector=ids, over=(index,), differentiable=False,
        function=function,
    )  # fmt: skip
    if function:
        return q.factor
    tracer.in_range(tracer.program[ids.key])
    return q.factor


@primitive("and", "or", "not")
def _logic(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value | None = None) -> Value:
    name = eqn.primitive.name
    if y is None:
        return replace(x, known=not x.known) if x.known is not None else tracer.mask("not", x)
    for one, other in ((x, y), (y, x)):
        if one.known is not None:
            return other if one.known == (name == "and") else replace(other, expression=None, known=one.known)
    axes, (x, y) = tracer.aligned(x, y)
    if name == "and":
        return tracer.mask("all", Value(axes, of(x) * of(y)))
    neither = of(tracer.mask("not", x)) * of(tracer.mask("not", y))
    return tracer.mask("not", tracer.mask("all", Value(axes, neither)))


@primitive("is_finite")
def _is_finite(tracer: _Tracer, _: JaxprEqn, x: Value) -> Value:
    return Value(x.axes, known=True)


@primitive("stop_gradient")
def _stop_gradient(tracer: _Tracer, _: JaxprEqn, x: Value) -> Value:
    if x.expression is None or x.is_number:
        return x
    factor = of(x).single
    top = tracer.program[factor.key] if factor else None
    if factor is not None and top is not None and top.kind == "maximum":
        q = tracer.program.add(
            "top", factor.indices, "maximum", definition=top.definition, over=top.over, differentiable=False
        )
    else:
        q = tracer.program.add("fixed", tracer.order(x), "formula", definition=x.expression, differentiable=False)
    return replace(x, expression=quantity(q.factor), summed=())


@primitive("select_n")
def _select(tracer: _Tracer, eqn: JaxprEqn, which: Value, *cases: Value) -> Value:
    if len(cases) != 2:
        raise tracer.cannot(eqn, "a select among more than two has no derivation")
    if which.known is not None:
        return cases[bool(which.known)]
    refused = next((v.refused for v in (which, *cases) if v.refused), "")
    if refused:
        raise tracer.cannot(eqn, refused)
    cases = tuple(v if v.known is None or isinstance(v.known, bool) else tracer.not_finite(v) for v in cases)
    return tracer_select(tracer, which, *cases)


def tracer_select(tracer: _Tracer, which: Value, otherwise: Value, chosen: Value) -> Value:
    """`chosen` where the mask holds, `otherwise` elsewhere."""
    axes, (which, otherwise, chosen) = tracer.aligned(which, otherwise, chosen)
    if of(otherwise) == ZERO:
        return tracer.multiplied(which, chosen)
    if of(chosen) == ZERO:
        return tracer.multiplied(tracer.mask("not", which), otherwise)
    which = replace(which, axes=axes)
    both = [v if v.is_number else tracer.named(v) for v in (chosen, otherwise)]
    everything = Value(axes, of(which) * of(both[0]) + of(which) * of(both[1]))
    selector = of(which).single
    assert selector is not None
    q = tracer.program.add(
        "chosen",
        tracer.order(everything),
        "select",
        definition=both[0].expression,
        otherwise=both[1].expression,
        selector=selector,
    )
    return Value(axes, quantity(q.factor))


# Shapes.


@primitive("iota")
def _iota(tracer: _Tracer, eqn: JaxprEqn) -> Value:
    axes = tracer.axes(shape_of(eqn.outvars[0]))
    return Value(axes, counts=axes[params.counted_axis(eqn)])


@primitive("broadcast_in_dim")
def _broadcast(tracer: _Tracer, eqn: JaxprEqn, x: Value, *_: Value) -> Value:
    axes = list(tracer.axes(shape_of(eqn.outvars[0])))
    for own, place in zip(x.axes, params.broadcast_dimensions(eqn)):
        if own is not None:
            axes[place] = own
    return replace(x, axes=tuple(axes))


@primitive("reshape", "squeeze", "expand_dims")
def _reshape(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    shape = shape_of(eqn.outvars[0])
    kept = [i for i in x.axes if i is not None]
    if [i.size for i in kept] != [n for n in shape if n != 1]:
        return reshaped(tracer, x, shape)
    left = iter(kept)
    return replace(x, axes=tuple(next(left) if n != 1 else None for n in shape))


def reshaped(tracer: _Tracer, x: Value, shape: Sequence[int]) -> Value:
    """Neighbouring axes merged row by row, and axes split, a group of them at a time."""
    old, new = [i for i in x.axes if i is not None], [n for n in shape if n != 1]
    axes: list[Index] = []
    x = tracer.named(x)
    e = of(x)
    while old:
        own, sizes = [old.pop(0)], [new.pop(0)]
        while (a := math.prod(i.size for i in own)) != (b := math.prod(sizes)):
            own, sizes = ([*own, old.pop(0)], sizes) if a < b else (own, [*sizes, new.pop(0)])
        if len(own) == len(sizes) == 1:
            axes += own
            continue
        merged = tracer.index(math.prod(sizes)) if len(own) > 1 else own[0]
        if len(own) > 1:
            tracer.sized(merged, [expression([((), [(size(i), Fraction(1)) for i in own], Fraction(1))])])
            e = (e * quantity(placement(tracer, merged, own, [ZERO]))).summed(own)
        if len(sizes) == 1:
            axes.append(merged)
            continue
        parts = [tracer.index(n) for n in sizes]
        for i in parts:
            rest = [(size(j), Fraction(-1)) for j in parts if j != i]
            others = math.prod(j.size for j in parts if j != i)
            whole = quantity(size(merged))
            tracer.sized(
                i, [number(i.size), whole * number(Fraction(1, others)), expression([((), rest, Fraction(1))]) * whole]
            )
        e = (e * quantity(placement(tracer, merged, parts, [ZERO]))).summed([merged])
        axes += parts
    left = iter(axes)
    return Value(tuple(next(left) if n != 1 else None for n in shape), e)


def size(i: Index) -> Factor:
    """The size of an axis."""
    return Factor(f"{SIZE}{i.axis}")


def placement(tracer: _Tracer, whole: Index, parts: Sequence[Index], offsets: Sequence[Expression]) -> Factor:
    """1 where `whole` is the place of `parts`, row by row, behind an offset."""
    for q in tracer.program.quantities.values():
        if q.kind == "placement" and q.indices == (whole, *parts) and q.offsets == tuple(offsets):
            return q.factor
    return tracer.program.add(
        f"place{len(tracer.program.quantities)}", (whole, *parts), "placement", offsets=tuple(offsets),
        differentiable=False,
    ).factor  # fmt: skip


def sliced(tracer: _Tracer, x: Value, axis: int, start: int, length: int) -> Value:
    """`length` entries along an axis, from `start` on."""
    whole = x.axes[axis]
    if whole is None or (start, length) == (0, whole.size):
        return x
    x = tracer.named(x)
    part = tracer.index(length) if length != 1 else None
    offsets = [number(start)]
    total = quantity(size(whole))
    if part is not None:
        if start % length == 0 and start:
            offsets.insert(0, quantity(size(part)) * number(start // length))
        if whole.size % length == 0:
            tracer.sized(part, [total * number(Fraction(length, whole.size))])
            tracer.sized(whole, [quantity(size(part)) * number(whole.size // length)])
        tracer.sized(part, [total - number(whole.size - length), number(length)])
        tracer.sized(whole, [quantity(size(part)) + number(whole.size - length)])
    if start:
        offsets.append(total - number(whole.size - start))
        if start * 2 == whole.size:
            offsets.append(total * number(Fraction(1, 2)))
    axes = (*x.axes[:axis], part, *x.axes[axis + 1 :])
    if whole not in of(x).free:
        return replace(x, axes=axes)
    place = placement(tracer, whole, [part] if part is not None else [], offsets)
    return Value(axes, (of(x) * quantity(place)).summed([whole]))


def joined(tracer: _Tracer, pieces: Sequence[Value], axis: int) -> Value:
    """Arrays end to end along an axis."""
    lengths = [i.size if (i := v.axes[axis]) is not None else 1 for v in pieces]
    whole = tracer.index(sum(lengths))
    places = [tracer.index(n) if n != 1 else None for n in lengths]
    rank = range(len(pieces[0].axes))
    common = tuple(next((v.axes[k] for v in pieces if v.axes[k] is not None), None) for k in rank)
    total, before = ZERO, ZERO
    for v, place in zip(pieces, places, strict=True):
        v = v if of(v).is_product or not of(v) else tracer.named(v)
        names: dict[Index, Index] = {}
        for k, own in enumerate(v.axes):
            target = place if k == axis else common[k]
            if own is not None and target is not None:
                names[own] = target
                tracer.same_axis(own, target)
        at = placement(tracer, whole, [place] if place is not None else [], [before])
        total = total + (of(v).renamed(names) * quantity(at)).summed([place] if place is not None else [])
        before = before + (quantity(size(place)) if place is not None else number(1))
    tracer.sized(whole, [before])
    return Value((*common[:axis], whole, *common[axis + 1 :]), total)


@primitive("slice")
def _slice(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    cut = params.slice_of(eqn)
    if any(stride != 1 for stride in cut.strides):
        raise tracer.cannot(eqn, "a slice with steps has no derivation yet")
    for axis, (start, limit) in enumerate(zip(cut.start, cut.limit, strict=True)):
        x = sliced(tracer, x, axis, start, limit - start)
    return x


@primitive("dynamic_slice")
def _dynamic_slice(tracer: _Tracer, eqn: JaxprEqn, x: Value, *starts: Value) -> Value:
    lengths = shape_of(eqn.outvars[0])
    for axis, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        at = of(start).constant
        if at is None:
            raise tracer.cannot(eqn, "a slice whose start depends on the arguments has no derivation")
        own = x.axes[axis]
        x = sliced(tracer, x, axis, min(max(int(at), 0), (own.size if own else 1) - length), length)
    return x


@primitive("split")
def _split(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> list[Value]:
    axis, lengths = params.split_of(eqn)
    x = tracer.named(x)
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    return [sliced(tracer, x, axis, start, length) for start, length in zip(starts, lengths, strict=True)]


@primitive("concatenate")
def _concatenate(tracer: _Tracer, eqn: JaxprEqn, *pieces: Value) -> Value:
    first, *others = pieces
    return joined(tracer, pieces, params.joined_axis(eqn)) if others else first


@primitive("stack")
def _stack(tracer: _Tracer, eqn: JaxprEqn, *pieces: Value) -> Value:
    axis = params.joined_axis(eqn)
    return joined(tracer, [replace(v, axes=(*v.axes[:axis], None, *v.axes[axis:])) for v in pieces], axis)


@primitive("pad")
def _pad(tracer: _Tracer, eqn: JaxprEqn, x: Value, filled: Value) -> Value:
    if of(filled) != ZERO:
        raise tracer.cannot(eqn, "padding with another number than 0 has no derivation yet")
    for axis, (low, high, between) in enumerate(params.padding(eqn)):
        if between or low < 0 or high < 0:
            raise tracer.cannot(eqn, "padding between entries, or by less than nothing, has no derivation yet")
        if low or high:
            x = padded(tracer, x, axis, low, high)
    return x


def padded(tracer: _Tracer, x: Value, axis: int, low: int, high: int) -> Value:
    """Zeros before and behind an array along an axis."""
    own = x.axes[axis]
    x = tracer.named(x)
    whole = tracer.index((own.size if own is not None else 1) + low + high)
    tracer.sized(whole, [(quantity(size(own)) if own is not None else number(1)) + number(low + high)])
    place = placement(tracer, whole, [own] if own is not None else [], [number(low)])
    axes = (*x.axes[:axis], whole, *x.axes[axis + 1 :])
    return Value(axes, (of(x) * quantity(place)).summed([own] if own is not None else []))


@primitive("transpose")
def _transpose(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    return replace(x, axes=tuple(x.axes[k] for k in params.permutation(eqn)))


@primitive("reduce_sum")
def _reduce_sum(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    over = params.reduced_axes(eqn)
    indices = tuple(i for k in over if (i := x.axes[k]) is not None)
    axes = tuple(i for k, i in enumerate(x.axes) if k not in over)
    return Value(axes, of(x).summed(indices), summed=(*x.summed, *indices))


@primitive("reduce_max")
def _reduce_max(tracer: _Tracer, eqn: JaxprEqn, x: Value) -> Value:
    over = params.reduced_axes(eqn)
    x = tracer.named(x)
    indices = tuple(i for k in over if (i := x.axes[k]) is not None and i in of(x).free)
    axes = tuple(i for k, i in enumerate(x.axes) if k not in over)
    if not indices:
        return Value(axes, x.expression)
    kept = [i for i in tracer.order(x) if i not in indices]
    q = tracer.program.add("top", kept, "maximum", definition=x.expression, over=indices)
    return Value(axes, quantity(q.factor))


@primitive("dot_general")
def _dot_general(tracer: _Tracer, eqn: JaxprEqn, x: Value, y: Value) -> Value:
    dims = params.contraction(eqn)
    (contracted_x, contracted_y), (batch_x, batch_y) = dims.contracted, dims.batch

    def renamed(v: Value) -> Value:
        v = v if of(v).is_product or not of(v) else tracer.named(v)
        axes = tuple(fresh(i) if i is not None else None for i in v.axes)
        names = {o: n for o, n in zip(v.axes, axes) if o is not None and n is not None}
        return Value(axes, of(v).renamed(names))

    x, y = renamed(x), renamed(y)
    names = {}
    for i, j in zip((*contracted_x, *batch_x), (*contracted_y, *batch_y)):
        one, other = x.axes[i], y.axes[j]
        if one is not None and other is not None:
            names[other] = one
            tracer.same_axis(one, other)
    summed = [i for k in contracted_x if (i := x.axes[k]) is not None]
    axes = (
        *(x.axes[k] for k in batch_x),
        *(i for k, i in enumerate(x.axes) if k not in (*contracted_x, *batch_x)),
        *(i for k, i in enumerate(y.axes) if k not in (*contracted_y, *batch_y)),
    )
    return Value(axes, (of(x) * of(y).renamed(names)).summed(summed), summed=tuple(summed))


@primitive("gather")
def _gather(tracer: _Tracer, eqn: JaxprEqn, table: Value, ids: Value) -> Value:
    how = params.row_gather(eqn, shape_of(eqn.invars[0]))
    if how is None or ids.ids is None or table.axes[how.axis] is None:
        raise tracer.cannot(eqn, "a gather that is not table[ids] has no derivation yet")
    table = tracer.named(table)
    at = ids.axes[:-1]
    names: dict[Index, Index] = {}
    axes: list[Index | None] = [None] * len(shape_of(eqn.outvars[0]))
    whole = [k for k in range(len(table.axes)) if k != how.axis and k not in how.operand_batch]
    for place, k in zip(how.offset, whole):
        own = table.axes[k]
        if own is not None:
            names[own] = axes[place] = fresh(own)
    for place, i in zip([k for k in range(len(axes)) if k not in how.offset], at):
        axes[place] = i
    for k, j in zip(how.operand_batch, how.ids_batch):
        own, shared = table.axes[k], at[j]
        if own is not None and shared is not None:
            tracer.same_axis(own, shared)
            names[own] = shared
    picked = table.axes[how.axis]
    assert picked is not None
    row = names[picked] = fresh(picked)
    indicator = one_hot(tracer, ids, row, how.fills_with_zero)
    return Value(tuple(axes), (of(table).renamed(names) * quantity(indicator)).summed([row]))
