"""What is verified: a function with a handwritten derivative, the plain one it must be the derivative of, and inputs.

A `Problem` is at inputs in one precision. It traces and compiles each of its programs once, for every point of the same
shapes, and evaluates them. It judges nothing.
"""

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..core.rule import Rule
from ..jaxprs.compat import (
    KERNEL,
    ClosedJaxpr,
    aval,
    is_for_device,
    jaxpr_as_fun,
    nondiff_argnums,
    rule_parts,
    x64_enabled,
)
from ..jaxprs.evaluate import compiled, compiled_for_device, evaluate, kernels_interpreted
from ..jaxprs.flatten import as_real, flatten, unflatten
from ..jaxprs.inputs import Inputs, Leaves, generator, is_key, normal_like, precision_like, replaced, unit_roundoff
from ..jaxprs.provenance import source_of
from ..jaxprs.queries import UNTRACEABLE, equations, holds, while_loops
from ..jaxprs.rules import evaluate_stripped, holds_rule
from ..jaxprs.widen import narrow_types, noisy, wide_type, widened
from .inferred_domains import properties_of, restored

FLOATS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


class OutOfTime(BaseException):
    """The time limit is reached. No `Exception`, so that no check takes it for a fault of the function."""


@dataclass(frozen=True)
class HandwrittenFunction:
    """A function with a handwritten derivative beside its plain one.

    Attributes:
        name: what reports call it.
        handwritten: the function whose derivative is handwritten.
        plain: the function without it.
        names: of its positional arguments, as far as known.
        source: file and line of the definition, where known.
        kind: "rule", "custom_vjp", "custom_jvp", "function", or another one of `observe.Observed.kind`.
        settings: keyword arguments already bound in both.
        rule: the `Rule`, where it is one.
        typed: only good for the types of the given arguments, as a call inside a traced program is.
        static: positions of the arguments that it takes as they are, untraced: `nondiff_argnums`.
        fun: the function as it was given; None for a call inside a traced program.
        reference: the plain function, where one was given.
    """

    name: str
    handwritten: Callable[..., Any]
    plain: Callable[..., Any]
    names: tuple[str, ...] = ()
    source: str = ""
    kind: str = "function"
    settings: dict[str, Any] = field(default_factory=dict)
    rule: Rule | None = None
    typed: bool = False
    static: frozenset[int] = frozenset()
    fun: Callable[..., Any] | None = None
    reference: Callable[..., Any] | None = None

    def inputs(self, args: tuple, label: str = "the given arguments") -> Inputs:
        """`args` as this function takes them: where it refuses Python numbers as tracers, those are held static too."""
        made = Inputs(args, label, self.static)
        numbers = {i for i, x in enumerate(args) if isinstance(x, float | complex) and not isinstance(x, np.generic)}
        if numbers <= self.static or _takes(self.handwritten, made):
            return made
        held = Inputs(args, label, self.static | numbers)
        return held if _takes(self.handwritten, held) else made


def _takes(function: Callable, inputs: Inputs) -> bool:
    try:
        jax.eval_shape(inputs.call(function), *inputs.arrays)
    except Exception:
        return False
    return True


def handwritten_function(
    fun: Callable, reference: Callable | None = None, settings: dict[str, Any] | None = None
) -> HandwrittenFunction:
    """What `fun` stands for, its keyword arguments bound.

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
    elif (parts := rule_parts(fun)) is not None:
        kind, plain = parts.kind, reference or parts.plain
    if plain is None:
        raise TypeError(
            f"verify: {_name(fun)} is neither a Rule nor a jax.custom_vjp nor a jax.custom_jvp.\n"
            f"  Say what its derivative must be: verify({_name(fun)}, ..., reference=plain_function)."
        )
    return HandwrittenFunction(
        name=_name(fun),
        handwritten=_bind(fun, settings),
        plain=_bind(plain, settings),
        names=_argument_names(fun) or (_argument_names(reference) if reference is not None else ()),
        source=source_of(fun),
        kind=kind,
        settings=settings,
        rule=fun if isinstance(fun, Rule) else None,
        static=frozenset(nondiff_argnums(fun)),
        fun=fun,
        reference=reference,
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


@dataclass
class Cache:
    """What was traced, compiled or computed, by name: made when first needed."""

    held: dict[Any, Any] = field(default_factory=dict)

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is held under that name, or is made now."""
        if key not in self.held:
            self.held[key] = make()
        return self.held[key]


class Problem:
    """A function at inputs, in one precision.

    Its programs: "value", the plain function without rules; "handwritten" and "autodiff", the two backward passes, of
    `(*arrays, *upstream)` to `(*outputs, *gradients)`. Each can be run as written, exactly (in float64 throughout), or
    with rounding noise.

    Attributes:
        function: what is verified.
        given: the inputs as they were given.
        inputs: the same, their floating-point numbers in `dtype`.
        dtype: float64; or the arguments' own type, where the function takes no other.
        seed: of everything drawn at random.
        number: which of several inputs this is.
        main: whether every check is made here, or only those that are cheap.
        programs: what holds for every problem of these shapes and this precision.
        answers: what holds here alone.
        deadline: when nothing more is traced or run (`time.perf_counter`): `OutOfTime` is raised.
        sizes: the lengths at which sums are judged; None for the default ones, none for not at all.
        shapes: the lengths to try, by the name of the axis; True for such as are chosen here, None for none.
        blocks: the block sizes of axes that are known from elsewhere, by array and axis.
        note: what a reader must know of the inputs.
    """

    def __init__(
        self,
        function: HandwrittenFunction,
        given: Inputs,
        *,
        dtype: Any = None,
        seed: int = 0,
        number: int = 0,
        main: bool = True,
        caches: dict[Any, Cache] | None = None,
        deadline: float = np.inf,
    ):
        self.deadline = deadline
        self.sizes: tuple[int, ...] | None = None
        self.shapes: Mapping[str, Sequence[int]] | bool | None = None
        self.blocks: Mapping[tuple[int, int], Sequence[int]] = {}
        self.note = ""
        self.function, self.given = function, given
        self.seed, self.number, self.main = seed, number, main
        self.caches: dict[Any, Cache] = {} if caches is None else caches
        self.dtype: Any = np.dtype(self._exact_dtype() if dtype is None else dtype)
        self.programs = self.caches.setdefault(self.dtype, Cache())
        self.answers = Cache()
        self.inputs = given if function.typed else _cast(given, self.dtype)

    def _exact_dtype(self) -> Any:
        if self.function.typed:
            return self.given.narrowest
        exact = self._like(dtype=np.float64)
        try:
            _ = exact.trace("handwritten")
        except UNTRACEABLE:
            return self.given.dtype
        return np.float64

    def _like(self, **changed: Any) -> "Problem":
        same = {
            "seed": self.seed,
            "number": self.number,
            "main": self.main,
            "caches": self.caches,
            "deadline": self.deadline,
        }
        return Problem(self.function, changed.pop("given", self.given), **{**same, **changed})

    def at(self, dtype: Any) -> "Problem":
        """This problem in another precision."""
        return self.answers.get(("at", np.dtype(dtype)), lambda: self._at(np.dtype(dtype)))

    def _at(self, dtype: Any) -> "Problem":
        other = self._like(dtype=dtype)
        if dtype != self.dtype:  # no need to trace only to learn the outputs' shapes
            shapes = [jax.ShapeDtypeStruct(o.shape, precision_like(o.dtype, dtype)) for o in self.outputs]
            other.programs.get("outputs", lambda: shapes)
        return other

    def moved(self, inputs: Inputs) -> "Problem":
        """This problem at other inputs of the same shapes: nothing is traced again."""
        return self._like(given=inputs, dtype=self.dtype)

    def rounded_to(self, dtype: Any) -> "Problem":
        """This problem at its inputs rounded to `dtype`."""
        return self.moved(self.given.cast(dtype)) if not self.function.typed else self

    @property
    def float_types(self) -> dict[str, Any]:
        """The types narrower than float64 that it is judged in, by name: float8 only where it is given in it."""
        own = self.given.narrowest
        return FLOATS | ({own.name: own} if own.itemsize == 1 else {})

    def again(self, seed: int) -> "Problem":
        """This problem with other random numbers."""
        return self._like(seed=seed, dtype=self.dtype)

    # What is known of it before anything runs.

    def names(self) -> list[str]:
        """The differentiable arrays by name."""
        return [self.inputs.label_of(i, self.function.names) for i in self.inputs.live]

    def random(self, *words: Any) -> np.random.Generator:
        """A generator for this problem and these words."""
        return generator(self.function.name, self.seed, *words)

    @property
    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the inexact outputs."""
        return self.programs.get(
            "outputs", lambda: [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in self.trace("value").out_avals]
        )

    @property
    def output_types(self) -> list[Any]:
        """The dtypes of the outputs as the handwritten function gives them."""
        return [v.dtype for v in self.trace("handwritten").out_avals[: len(self.outputs)]]

    def upstream(self, k: int) -> Leaves:
        """The k-th random upstream gradient, in this precision: dense, its numbers around 1."""

        def draw() -> Leaves:
            dense = normal_like(self.random("upstream", k), self.outputs)
            return [np.asarray(u).astype(o.dtype) for u, o in zip(dense, self.outputs, strict=True)]

        return self.answers.get(("upstream", k), draw)

    @property
    def upstreams(self) -> list[Leaves]:
        """Upstream gradients: two dense random ones, one with a single number, and each output's alone."""
        return self.answers.get("upstreams", self._upstreams)

    def _upstreams(self) -> list[Leaves]:
        made = dense = [self.upstream(k) for k in range(2)]
        sizes = [int(np.prod(o.shape)) for o in self.outputs]
        if max(sizes, default=0) > 1:
            leaf = int(np.argmax(sizes))
            one = [np.zeros_like(u) for u in dense[0]]
            at = int(self.random("single").integers(sizes[leaf]))
            one[leaf].reshape(-1)[at] = dense[0][leaf].reshape(-1)[at]
            made = [*made, one]
        if len(sizes) > 1:
            alone = [[u if i == j else np.zeros_like(u) for i, u in enumerate(dense[1])] for j in range(len(sizes))]
            made = [*made, *alone]
        return made

    # Programs.

    def x64(self) -> Any:
        """The context in which programs of this precision are traced and run as written."""
        return jax.enable_x64(self.dtype.itemsize == 8 or x64_enabled())

    def in_time(self) -> None:
        """Raise `OutOfTime` where the time limit is reached."""
        if time.perf_counter() > self.deadline:
            raise OutOfTime

    def trace(self, program: str, function: Callable | None = None, *args: Any) -> ClosedJaxpr:
        """The jaxpr of one of the named programs; or under another name that of `function` at `args`."""
        self.in_time()

        def make() -> ClosedJaxpr:
            return _TRACED[program](self) if function is None else self.traced(function, args)

        return self.programs.get((program, "jaxpr"), make)

    def traced(self, function: Callable, args: Sequence[Any]) -> ClosedJaxpr:
        """The jaxpr of `function` at `args`, in this precision."""
        with self.x64():
            return jax.make_jaxpr(function)(*args)

    def as_written(self, program: str, args: Sequence[Any]) -> Leaves:
        """The outputs of a program, each step rounded to the type it was traced with."""
        opaque = self.programs.get((program, "opaque"), lambda: holds(self.trace(program).jaxpr, KERNEL, *CALLBACKS))
        if opaque or sum(np.size(x) for x in args) > TOGETHER or any(map(is_key, args)):
            return self._run(program, args)
        # Many checks look at the same gradients. What is opaque may answer otherwise the next time.
        key = (program, *((np.shape(x), np.asarray(x).tobytes()) for x in args))
        return list(self.answers.get(key, lambda: self._run(program, args)))

    def _run(self, program: str, args: Sequence[Any]) -> Leaves:
        self.in_time()
        with self.x64():
            run = self.programs.get((program, "as written"), lambda: self._compiled_as_written(program, args))
            return list(map(np.asarray, run(*args)))

    def _compiled_as_written(self, program: str, args: Sequence[Any]) -> Callable[..., Any]:
        if self.runs_on_device(program):
            return compiled_for_device(jaxpr_as_fun(self.trace(program)), *args)
        return compiled(self.as_function(program), *args)

    def runs_on_device(self, program: str) -> bool:
        """Whether a program holds a Pallas kernel that the GPU or TPU of this process runs, in this precision."""
        if self.dtype.itemsize >= 8 or jax.default_backend() == "cpu":
            return False
        return any(map(is_for_device, equations(self.trace(program).jaxpr, (KERNEL,))))

    def as_function(self, program: str) -> Callable[..., Leaves]:
        """A program as a function of its flat arguments; Pallas kernels in it are interpreted."""
        traced = self.trace(program)
        if not holds(traced.jaxpr, KERNEL):
            return jaxpr_as_fun(traced)
        return lambda *args: evaluate(traced, args, kernels_interpreted)

    def exact(self, program: str, args: Sequence[Any]) -> Leaves:
        """The outputs of a program evaluated in float64 throughout."""
        traced = self.trace(program)
        if self.is_wide(program):
            return self.as_written(program, [_wide(x) for x in args])
        with jax.enable_x64(True):
            args = [_wide(x) for x in args]
            run = self.programs.get((program, "exact"), lambda: compiled(widened(traced), args))
            return list(map(np.asarray, run(args)))

    def noisy(self, program: str, args: Sequence[Any], bank: np.ndarray, scale: tuple[float, float, float]) -> Leaves:
        """The same with rounding noise; the last one is the checksum of all decisions."""
        traced = self.trace(program)
        with jax.enable_x64(True):
            given = [_wide(x) for x in args], bank, np.array(scale)
            run = self.programs.get((program, "noisy"), lambda: compiled(noisy(traced), *given))
            return list(map(np.asarray, run(*given)))

    def is_wide(self, program: str) -> bool:
        """Whether a program is in float64 as it was traced."""

        def look() -> bool:
            traced = self.trace(program)
            arguments = [aval(v).dtype for v in traced.jaxpr.invars]
            return not narrow_types(traced.jaxpr) and all(
                jnp.issubdtype(d, jax.dtypes.extended) or wide_type(d) == d for d in arguments
            )

        return self.dtype == np.float64 and self.programs.get((program, "is wide"), look)

    def narrow_types(self, program: str) -> frozenset[Any]:
        """The floating-point types narrower than float64 that a program computes in."""
        return self.programs.get((program, "narrow"), lambda: frozenset(narrow_types(self.trace(program).jaxpr)))

    @property
    def coarsest(self) -> Any:
        """The type that rounds most, of those the handwritten program computes in."""
        return max((self.dtype, *self.narrow_types("handwritten")), key=unit_roundoff)

    # The two backward passes, and the plain function.

    def handwritten_vjp(self, upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by the handwritten backward pass, in float64 throughout."""
        return self._split(self.exact("handwritten", [*self.inputs.arrays, *upstream]))

    def autodiff_vjp(self, upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by autodiff of the plain function, in float64 throughout."""
        return self._split(self.exact("autodiff", [*self.inputs.arrays, *upstream]))

    def as_run(self, program: str, upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients of "handwritten" or "autodiff" as written, in this precision."""
        given = self.upstream_for(program, upstream)
        return self._split(self.as_written(program, [*self.inputs.arrays, *given]))

    def upstream_for(self, program: str, upstream: Leaves) -> Leaves:
        """The upstream gradient in the types of the outputs that "handwritten" or "autodiff" gives."""
        types = self.output_types if program == "handwritten" else [o.dtype for o in self.outputs]
        return [np.asarray(u).astype(t) for u, t in zip(upstream, types, strict=True)]

    def handwritten_at(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by the handwritten backward pass as written, at other arrays of the same shapes."""
        return self._split(self.as_written("handwritten", [*arrays, *upstream]))

    def _split(self, found: Leaves) -> tuple[Leaves, Leaves]:
        return found[: len(self.outputs)], found[len(self.outputs) :]

    def value(self) -> Leaves:
        """The plain function's outputs, in float64 throughout."""
        return self.exact("value", self.inputs.arrays)

    @property
    def differentiable(self) -> bool:
        """Whether autodiff can differentiate the plain function: not a while loop, nor a primitive without a rule."""

        def tried() -> bool:
            try:
                _ = self.trace("autodiff")
            except Exception:  # of a Pallas kernel an AssertionError, say
                return False
            return True

        return self.programs.get("differentiable", tried)

    @property
    def iterates(self) -> bool:
        """Whether the plain function is a loop that autodiff cannot reverse, as of a solver until it is near enough."""
        return not self.differentiable and while_loops(self.trace("value").jaxpr) > 0

    @property
    def iterates_back(self) -> bool:
        """Whether the handwritten backward pass holds such a loop of its own, as the derivative of a solver may."""
        return self.iterates and while_loops(self.trace("handwritten").jaxpr) > while_loops(self.trace("value").jaxpr)

    def plain_vjp(self) -> Callable:
        """The VJP of the plain function, of flat arrays, for tracing."""

        def pull(arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
            program = self.trace("value")

            def of_live(*live: Any) -> Leaves:
                return evaluate_stripped(program.jaxpr, program.consts, replaced(arrays, self.inputs.live, live))

            y, back = jax.vjp(of_live, *(arrays[i] for i in self.inputs.live))
            return y, list(back([u.astype(a.dtype) for u, a in zip(upstream, y, strict=True)]))

        return pull

    def handwritten_pull(self) -> Callable:
        """The VJP of the handwritten function, of flat arrays, for tracing."""
        return self.inputs.pulling(self.function.handwritten)

    def handwritten_flat(self) -> Callable:
        """The same of `(*arrays, *upstream)`: a new function each time, so that it is traced anew."""
        pull, count = self.handwritten_pull(), len(self.inputs.arrays)
        return lambda *a: pull(a[:count], list(a[count:]))

    def holds(self, primitive: str) -> bool:
        """Whether a primitive of this name stands in the plain function."""
        return holds(self.trace("value").jaxpr, primitive)

    @property
    def holds_kernel(self) -> bool:
        """Whether a Pallas kernel stands in the handwritten function or its backward pass."""
        return self.programs.get("holds a kernel", lambda: holds(self.trace("handwritten").jaxpr, KERNEL))

    # The plain function at many points: what numerical derivatives are made of.

    @cached_property
    def x(self) -> np.ndarray:
        """The differentiable numbers in one row; complex ones as real and imaginary parts."""
        return flatten(_wide(self.inputs.arrays[i]) for i in self.inputs.live)

    @cached_property
    def leaf_of(self) -> np.ndarray:
        """For each number of `x` which differentiable leaf it belongs to."""
        sizes = [flatten([self.inputs.arrays[i]]).size for i in self.inputs.live]
        return np.repeat(np.arange(len(sizes)), sizes)

    def at_flat(self, x: np.ndarray) -> "Problem":
        """This problem at the flat point `x`."""
        rows = unflatten(x[None], [_wide(a) for a in self.inputs.arrays], self.inputs.live)
        arrays = [a[0] if i in self.inputs.live else a for i, a in enumerate(rows)]
        return self._like(given=self.inputs.with_arrays(arrays), dtype=self.dtype)

    def values_at(self, points: np.ndarray) -> np.ndarray:
        """The plain function at many flat points (points, n) -> (points, m), in float64.

        One after the other inside one compiled program: no batching rule takes part, and memory stays flat.
        """
        block = int(np.clip(2**18 // max(points.shape[1], 1), 1, 64))
        count = -(-len(points) // block)
        padded = np.resize(points, (count * block, points.shape[1])) if len(points) else np.zeros((0, points.shape[1]))
        found = [self._block_of_values(padded[i * block : (i + 1) * block]) for i in range(count)]
        return np.concatenate([*found, np.zeros((0, self._outputs_size()))])[: len(points)]

    def _outputs_size(self) -> int:
        return sum(
            int(np.prod(o.shape)) * (2 if jnp.issubdtype(o.dtype, jnp.complexfloating) else 1) for o in self.outputs
        )

    def _block_of_values(self, points: np.ndarray) -> np.ndarray:
        self.in_time()
        wide = [_wide(x) for x in self.inputs.arrays]
        rows, live = unflatten(points, wide, self.inputs.live), self.inputs.live
        traced = self.trace("value")

        def one_by_one(arrays: Leaves) -> Leaves:
            def one(floats: Leaves) -> Leaves:
                return widened(traced)(replaced(arrays, live, floats))

            return lax.map(one, [arrays[i] for i in live])

        with jax.enable_x64(True):
            run = self.programs.get(("values", len(points)), lambda: compiled(one_by_one, rows))
            found = [as_real(np.asarray(x)) for x in run(rows)]
        return np.concatenate([*found, np.zeros((len(points), 0))], 1)


def _cast(given: Inputs, dtype: Any) -> Inputs:
    """The inputs in `dtype`; what sums to one in a narrower type does so in this one."""
    made = given.cast(dtype)
    arrays = [
        restored(x, properties_of(old)) if i in given.live and unit_roundoff(dtype) < unit_roundoff(old.dtype) else x
        for i, (x, old) in enumerate(zip(made.arrays, given.arrays, strict=True))
    ]
    return made.with_arrays(arrays)


Program = tuple[Problem, str, Sequence[Any]]
"""A program of a problem, by its name, and arguments that it was traced for."""


def compile_together(programs: Iterable[Program]) -> None:
    """Compile small programs as one: what XLA spends on any program, however small, it then spends once.

    Running one of them runs them all, the others at the arguments given here. What cannot be traced, is large or calls
    back into Python is left to be compiled alone, where it is needed.
    """
    groups: dict[bool, list[Program]] = {}
    for problem, name, args in programs:
        try:
            jaxpr = problem.trace(name).jaxpr
        except Exception:
            continue  # it is raised again where the program is needed
        size = sum(aval(v).size for v in (*jaxpr.invars, *jaxpr.outvars))
        if size <= TOGETHER and not holds(jaxpr, *CALLBACKS) and not problem.runs_on_device(name):
            groups.setdefault(problem.dtype.itemsize == 8, []).append((problem, name, args))
    for members in groups.values():
        if len(members) > 1:
            _Together(members).offer()


def backward_passes(
    problems: Iterable[Problem], names: Sequence[str] = ("handwritten", "autodiff")
) -> Iterator[Program]:
    """Those of each problem that can be traced, at its own arguments."""
    for problem in problems:
        for name in names:
            try:
                upstream = problem.upstream_for(name, problem.upstream(0))
            except Exception:
                continue  # it is raised again where the outputs are needed
            yield problem, name, [*problem.inputs.arrays, *upstream]


TOGETHER = 2**15
"""Beyond so many numbers, arguments and outputs together, a program is compiled alone."""

CALLBACKS = ("pure_callback", "io_callback")


class _Together:
    """Some programs as one, compiled when the first of them is run."""

    def __init__(self, members: Sequence[Program]):
        self.members = members
        self.functions = [problem.as_function(name) for problem, name, _ in members]
        self.args = [tuple(args) for _, _, args in members]
        self.alone = Cache()

    def offer(self) -> None:
        """Put each program where its problem looks for what is compiled."""
        for k, (problem, name, _) in enumerate(self.members):
            problem.programs.get((name, "as written"), lambda k=k: partial(self.run, k))

    def run(self, k: int, *args: Any) -> Leaves:
        """The outputs of program `k`."""
        if self.compiled is None:
            return self.alone.get(k, lambda: compiled(self.functions[k], *args))(*args)
        return self.compiled(*self.args[:k], args, *self.args[k + 1 :])[k]

    @cached_property
    def compiled(self) -> Callable[..., list[Leaves]] | None:
        def all_of_them(*args: Sequence[Any]) -> list[Leaves]:
            return [function(*given) for function, given in zip(self.functions, args, strict=True)]

        try:
            return compiled(all_of_them, *self.args)
        except Exception:
            return None  # one of them cannot be compiled: each is compiled alone


def _wide(x: Any) -> Any:
    return x if is_key(x) else np.asarray(x).astype(wide_type(np.asarray(x).dtype))


def _trace_value(problem: Problem) -> ClosedJaxpr:
    arrays = problem.inputs.arrays
    program = problem.traced(problem.inputs.call(problem.function.plain), arrays)
    if not holds_rule(program.jaxpr):
        return program
    return problem.traced(lambda *arrays: evaluate_stripped(program.jaxpr, program.consts, arrays), arrays)


def _trace_vjp(problem: Problem, pull: Callable) -> ClosedJaxpr:
    count = len(problem.inputs.arrays)
    given = [*problem.inputs.arrays, *problem.upstream(0)]
    return problem.traced(lambda *a: pull(a[:count], list(a[count:])), given)


_TRACED: dict[str, Callable[[Problem], ClosedJaxpr]] = {
    "value": _trace_value,
    "handwritten": lambda problem: _trace_vjp(problem, problem.handwritten_pull()),
    "autodiff": lambda problem: _trace_vjp(problem, problem.plain_vjp()),
    "handwritten value": lambda problem: problem.traced(
        problem.inputs.call(problem.function.handwritten), problem.inputs.arrays
    ),
}
