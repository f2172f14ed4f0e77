"""All of JAX that is private, unstable or different between its releases, behind functions and constants with names.

No other file imports `jax.extend` or `jax.interpreters`, and none outside of `jaxprs/` reads a primitive's parameters.
Each entry has a test (`tests/jaxprs/test_compat.py`) that asserts the right answer on a small program: a release of JAX
that moved something fails there, and this file is the one to mend. Nothing here falls back to a default where JAX's
answer is missing.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax
from jax.core import Tracer as Tracer
from jax.extend.core import ClosedJaxpr as ClosedJaxpr
from jax.extend.core import Jaxpr as Jaxpr
from jax.extend.core import JaxprEqn as JaxprEqn
from jax.extend.core import Literal as Literal
from jax.extend.core import Primitive as Primitive
from jax.extend.core import Var as Var
from jax.extend.core import jaxpr_as_fun as jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

# Primitives by name. A name that a release does not use does no harm; one that it adds must be entered here.

JITTED = ("jit", "pjit")
"""Calls of a function under `jax.jit`."""

CALLS = (*JITTED, "closed_call", "core_call", "core_closed_call", "custom_vmap_call")
"""Primitives that only call the program they hold."""

REMAT = ("remat2", "remat", "checkpoint")
"""Primitives that call the program they hold, and run it again on the way back (`jax.checkpoint`)."""

CUSTOM_VJP = ("custom_vjp_call", "custom_vjp_call_jaxpr")
"""Calls of a `jax.custom_vjp`: a backward pass written by hand."""

CUSTOM_JVP = ("custom_jvp_call",)
"""Calls of a `jax.custom_jvp`: a forward derivative written by hand."""

RULES = (*CUSTOM_VJP, *CUSTOM_JVP)
"""Calls of a function whose derivative is written by hand.

Not among them are primitives of the experimental hijax (`call_hi_primitive`, to which `jax_custom_vjp3` turns every
custom_vjp): they are evaluated whole, their derivative is not looked at.
"""

NEW_REF, READ_REF, WRITE_REF, FREEZE_REF = "new_ref", "get", "swap", "freeze"
"""What makes, reads, writes and ends a mutable reference (`jax.new_ref`)."""

_BODY_OF_A_CALL = ("call_jaxpr", "jaxpr", "fun_jaxpr", "call")


# Programs and the programs inside them.


def closed(body: Any) -> tuple[Jaxpr, list[Any]]:
    """A jaxpr and its constants: a body is a ClosedJaxpr in some releases, a Jaxpr in others."""
    return (body.jaxpr, list(body.consts)) if isinstance(body, ClosedJaxpr) else (body, [])


def close(body: Any) -> ClosedJaxpr:
    """A body as a ClosedJaxpr."""
    return body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ())


def body_of(eqn: JaxprEqn) -> tuple[Jaxpr, list[Any]] | None:
    """What a plain call, a rule or a remat runs, with the equation's inputs one to one; None for anything else."""
    if eqn.primitive.name not in (*CALLS, *RULES, *REMAT):
        return None
    return closed(eqn.params[next(key for key in _BODY_OF_A_CALL if key in eqn.params)])


def inner_jaxprs(eqn: JaxprEqn) -> list[Jaxpr]:
    """Every jaxpr among an equation's parameters: a loop's body, a conditional's branches, what a call calls."""
    return [jaxpr for jaxpr, _ in inner_programs(eqn)]


def inner_programs(eqn: JaxprEqn) -> list[tuple[Jaxpr, list[Any]]]:
    """The same, each with its constants."""
    leaves = jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr)
    return [closed(x) for x in leaves if _is_jaxpr(x)]


def map_inner_jaxprs(eqn: JaxprEqn, function: Callable[[Any], Any]) -> dict[str, Any]:
    """An equation's parameters, each jaxpr among them (closed or not) replaced by what `function` makes of it."""
    return {name: _mapped(value, function) for name, value in eqn.params.items()}


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    if _is_jaxpr(value):
        return function(value)
    if isinstance(value, tuple | list) and any(map(_is_jaxpr, jax.tree.leaves(value, is_leaf=_is_jaxpr))):
        items = [_mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _is_jaxpr(x: Any) -> bool:
    return isinstance(x, Jaxpr | ClosedJaxpr)


def aval(atom: Any) -> Any:
    """The abstract value (shape, dtype) of a variable or literal."""
    return atom.aval


def dtype_of(atom: Any) -> Any:
    """The dtype of a variable or literal."""
    return aval(atom).dtype


def shape_of(atom: Any) -> tuple[int, ...]:
    """The shape of a variable or literal."""
    return tuple(aval(atom).shape)


# Loops, conditionals, shards: what their parameters say.


@dataclass(frozen=True)
class Loop:
    """A scan: its body, and how many inputs are constants and carried; the others are slices."""

    body: Jaxpr
    consts: list[Any]
    constants: int
    carried: int
    length: int
    reverse: bool


def scan_of(eqn: JaxprEqn) -> Loop:
    """A scan's parts, from shapes alone: a slice has one axis less inside than outside, whatever the parameters say."""
    body, consts = closed(eqn.params["jaxpr"])
    carried = sum(len(shape_of(o)) == len(shape_of(i)) for o, i in zip(eqn.outvars, body.outvars, strict=True))
    sliced = sum(len(shape_of(o)) != len(shape_of(i)) for o, i in zip(eqn.invars, body.invars, strict=True))
    constants = len(eqn.invars) - carried - sliced
    return Loop(body, consts, constants, carried, eqn.params["length"], eqn.params["reverse"])


@dataclass(frozen=True)
class WhileLoop:
    """A while loop: condition and body, and how many of the inputs are constants of the one and of the other.

    What is carried is the rest of the inputs.
    """

    condition: tuple[Jaxpr, list[Any]]
    body: tuple[Jaxpr, list[Any]]
    condition_constants: int
    body_constants: int

    def split(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """The inputs as the condition's constants, the body's constants and what is carried."""
        n, m = self.condition_constants, self.body_constants
        return list(inputs[:n]), list(inputs[n : n + m]), list(inputs[n + m :])


def while_of(eqn: JaxprEqn) -> WhileLoop:
    """A while loop's parts."""
    p = eqn.params
    return WhileLoop(closed(p["cond_jaxpr"]), closed(p["body_jaxpr"]), p["cond_nconsts"], p["body_nconsts"])


def branches_of(eqn: JaxprEqn) -> list[tuple[Jaxpr, list[Any]]]:
    """The branches of a `cond` or `switch`, in the order in which its first input counts them."""
    return [closed(branch) for branch in eqn.params["branches"]]


def shard_map_like(
    eqn: JaxprEqn, run: Callable[[tuple[Jaxpr, list[Any]], Sequence[Any]], list[Any]]
) -> Callable[..., list[Any]]:
    """An equation of `jax.shard_map` as a function of its inputs, `run(body, shards)` evaluating its body."""
    p = eqn.params
    body = closed(p["jaxpr"])
    return jax.shard_map(
        lambda *shards: run(body, shards),
        mesh=p["mesh"],
        in_specs=tuple(p["in_specs"]),
        out_specs=list(p["out_specs"]),
        axis_names=p["newly_manual_axes"],
        check_vma=p["check_vma"],
    )


# An equation as a function.


def binding(eqn: JaxprEqn, params: dict[str, Any] | None = None) -> Callable[..., list[Any]]:
    """The equation, or with other `params`, as a function of its inputs, its own derivative rule included."""
    primitive, params = eqn.primitive, eqn.params if params is None else params

    def bind(*inputs: Any) -> list[Any]:
        with eqn.ctx.manager:  # the precision and mesh it was traced under
            outputs = primitive.bind(*inputs, **primitive.get_bind_params(params))
        return list(outputs) if primitive.multiple_results else [outputs]

    return bind


# Where an equation comes from.


def function_of(jaxpr: Jaxpr) -> tuple[str, str]:
    """The name and the `file:line` of the function that a jaxpr was traced from; empty where JAX does not know."""
    # The text reads "name at file:line", or is a bare name, or is missing where JAX made the function.
    matched = re.match(r"(\S+)(?: at (.*:\d+))?$", jaxpr.debug_info.func_src_info or "")
    return (matched[1], matched[2] or "") if matched else ("", "")


def name_stack(eqn: JaxprEqn) -> str:
    """The `jax.named_scope`s in which the equation was traced, outermost first, "/" between them."""
    return str(eqn.source_info.name_stack)


def traceback_of(eqn: JaxprEqn) -> list[tuple[str, int, str]]:
    """The lines of Python that were being run, innermost first: file, line, function. Empty where JAX kept none."""
    traceback = eqn.source_info.traceback
    frames = traceback.frames if traceback is not None else ()
    return [(frame.file_name, frame.line_num, frame.function_name) for frame in frames]


def name_of_call(eqn: JaxprEqn) -> str:
    """The name that a jitted function goes by; empty for every other equation."""
    return str(eqn.params["name"]) if eqn.primitive.name in JITTED else ""


# Functions whose derivative is written by hand.


def plain_function_of(function: Any) -> Callable[..., Any] | None:
    """The plain function that a `jax.custom_vjp` or `jax.custom_jvp` was made of; None for anything else."""
    return function.__wrapped__ if isinstance(function, jax.custom_vjp | jax.custom_jvp) else None


def nondiff_argnums(function: Any) -> tuple[int, ...]:
    """The positions of the arguments that a `jax.custom_vjp` or `jax.custom_jvp` takes as they are, untraced."""
    return tuple(function.nondiff_argnums) if isinstance(function, jax.custom_vjp | jax.custom_jvp) else ()


def backward_function(eqn: JaxprEqn) -> Callable[..., Any] | None:
    """The backward pass of a `custom_vjp` equation, as it was written; None for any other equation.

    `jax.vmap` wraps it in a function of JAX's own, once for each level, which closes over it as `bwd`.
    """
    if eqn.primitive.name not in CUSTOM_VJP:
        return None
    function = eqn.params["bwd"].f
    while inspect.isfunction(function) and function.__module__.startswith("jax."):
        inner = dict(zip(function.__code__.co_freevars, function.__closure__ or ())).get("bwd")
        if inner is None:
            break  # a backward pass that JAX itself wrote
        function = inner.cell_contents.f
    return function


@dataclass(frozen=True)
class CustomVJPParts:
    """What a `jax.custom_vjp` was made of."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    nondiff_argnums: tuple[int, ...]


def custom_vjp_parts(function: Any) -> CustomVJPParts | None:
    """The two halves of a `jax.custom_vjp`; None for anything else, and where they are not defined yet."""
    if not isinstance(function, jax.custom_vjp) or function.fwd is None or function.bwd is None:
        return None
    return CustomVJPParts(function.fwd, function.bwd, tuple(function.nondiff_argnums))


def vjp_into_refs(pull: Any, refs: Any, upstream: Any) -> None:
    """Run the backward pass `pull` that `jax.vjp` returned, its gradients added into mutable references."""
    pull.with_refs(refs)(upstream)


# Values while they are traced.


def varying_axes(x: Any) -> frozenset[Any]:
    """The axes of the mesh over which `x` differs, under `jax.shard_map`; none outside of it."""
    return frozenset(jax.typeof(x).manual_axis_type.varying)


def to_varying(x: Any, axes: Sequence[Any]) -> Any:
    """`x`, now counted as differing over these axes of the mesh, too; transposed, the sum over them."""
    return lax.pcast(x, tuple(axes), to="varying")


def x64_enabled() -> bool:
    """Whether 64-bit types are on here: by the process's setting, or by `jax.enable_x64` around it."""
    return bool(jax.config.read("jax_enable_x64"))


# Compiling.

_QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_allow_excess_precision": False,
}
"""XLA's options for a program that runs seldom: compiling it costs more than running it. Nothing is rounded less often
than the program's types say."""


def compile_quickly(lowered: Any) -> Any:
    """What `jax.jit(...).lower(...)` returned, compiled with little optimisation; each step rounds as its type says."""
    while True:
        try:
            return lowered.compile(dict(_QUICK))
        except jax.errors.JaxRuntimeError as error:
            unknown = re.search(r"No such compile option: '(\w+)'", str(error))
            if unknown is None:
                raise
            del _QUICK[unknown[1]]  # this release of XLA has it no more, or not yet


# A primitive of our own.


ZERO = object()
"""A tangent or an upstream gradient that is known to be zero."""


def define_primitive(
    name: str,
    run: Callable[..., list[Any]],
    *,
    shapes: Callable[..., list[Any]],
    jvp: Callable[..., tuple[list[Any], list[Any]]],
    transpose: Callable[..., list[Any]],
    batch: Callable[..., tuple[list[Any], list[Any]]],
) -> Primitive:
    """A primitive with several results that runs as the JAX function `run` and has derivatives of its own.

    Args:
        name: as jaxprs show it.
        run: `(*operands, **params)` -> results; what is executed and compiled.
        shapes: the same of abstract values.
        jvp: `(primals, tangents, **params)` -> results and their tangents; one that is known to be zero is `ZERO`.
        transpose: `(upstream, *operands, **params)` -> a cotangent for each operand, None where it has none; an
            upstream gradient that is known to be zero is `ZERO`.
        batch: `(operands, axes, **params)` -> results and their mapped axes.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(lambda *operands, **params: jax.jit(lambda *a: run(*a, **params))(*operands))
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, mlir.lower_fun(run, multiple_results=True))

    def zeros_marked(values: Sequence[Any]) -> list[Any]:
        return [ZERO if isinstance(v, ad.Zero) else v for v in values]

    ad.primitive_jvps[primitive] = lambda primals, tangents, **p: jvp(primals, zeros_marked(tangents), **p)
    ad.primitive_transposes[primitive] = lambda upstream, *operands, **p: transpose(
        zeros_marked(upstream), *operands, **p
    )
    batching.primitive_batchers[primitive] = batch
    return primitive


def strong_aval(value: Any) -> Any:
    """An abstract value whose type is not weak."""
    return value.strip_weak_type()
