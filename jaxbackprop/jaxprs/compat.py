"""All of JAX that is private, unstable or different between its releases, behind functions and constants with names.

No other file imports `jax.extend` or `jax.interpreters`, and none outside of `jaxprs/` reads a primitive's parameters.
Each entry has a test (`tests/jaxprs/test_compat.py`) that asserts the right answer on a small program: a release of JAX
that moved something fails there, and this file is the one to mend. Nothing here falls back to a default where JAX's
answer is missing.
"""

import functools
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import jax
from jax import lax
from jax.core import Tracer as Tracer
from jax.experimental import hijax
from jax.extend.core import ClosedJaxpr as ClosedJaxpr
from jax.extend.core import Jaxpr as Jaxpr
from jax.extend.core import JaxprEqn as JaxprEqn
from jax.extend.core import Literal as Literal
from jax.extend.core import Primitive as Primitive
from jax.extend.core import Var as Var
from jax.extend.core import jaxpr_as_fun as jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

# Primitives by name. A name that a release does not use does no harm; one that it adds must be entered here.

JITTED = ("jit", "pjit")
"""Calls of a function under `jax.jit`."""

CALLS = (*JITTED, "closed_call", "core_call", "core_closed_call", "custom_vmap_call", "eval_jaxpr")
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
custom_vjp): they are evaluated whole. Their calls are noticed as they are made (`intercepted`).
"""

LINEAR_CALL = "linear_call"
"""A linear function whose transpose is written by hand."""

LINEAR_SOLVE = "custom_linear_solve"
"""A linear solve whose derivatives are solves themselves, the transposed one written by hand."""

KERNEL = "pallas_call"
"""A Pallas kernel."""

OPAQUE = {
    KERNEL: "a Pallas kernel",
    "mpmd_map": "a Pallas kernel",
    "core_map": "a Pallas kernel",
    "ffi_call": "foreign code",
    "call_exported": "an exported program",
    "pure_callback": "Python on the host",
    "io_callback": "Python on the host",
    "emit_python_callback": "Python on the host",
    "xla_call_module": "a compiled program",
    "tpu_custom_call": "a compiled kernel",
    "triton_kernel_call": "a compiled kernel",
}
"""Primitives that run what JAX does not see, and what that is."""

NEW_REF, READ_REF, WRITE_REF, FREEZE_REF = "new_ref", "get", "swap", "freeze"
"""What makes, reads, writes and ends a mutable reference (`jax.new_ref`)."""

CALLBACKS = ("pure_callback", "io_callback")
"""Primitives that call Python on the host, and wait for it."""

PRINTS = ("debug_callback", "debug_print")
"""Primitives that only tell somebody something: `jax.debug.print`, `jax.debug.callback`."""

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


def without_dead_code(program: ClosedJaxpr) -> ClosedJaxpr:
    """A program without the equations that its outputs do not need; of the same inputs. What has effects stays."""
    jaxpr, _ = pe.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars), True)
    return ClosedJaxpr(jaxpr, program.consts)


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
    return _name_and_place(jaxpr.debug_info.func_src_info)


def _name_and_place(text: str | None) -> tuple[str, str]:
    # The text reads "name at file:line", or is a bare name, or is missing where JAX made the function.
    matched = re.match(r"(\S+)(?: at (.*:\d+))?$", text or "")
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

_HIJAX: Any = getattr(hijax, "HiPrim", None) or hijax.VJPHiPrimitive
"""The class of primitives with derivatives of their own; JAX 0.10 has another name for it."""
_HIJAX_MODULE = sys.modules[_HIJAX.__module__]


@dataclass(frozen=True)
class RuleParts:
    """What a function with a hand-written derivative was made of.

    Attributes:
        kind: "custom_vjp", "custom_jvp" or "hijax".
        plain: the function without its derivative.
        derivative: the functions that are its derivative.
        static: the positions of arguments that are no arrays.
        own_remat: whether `jax.checkpoint` runs other functions in it than `jax.grad` does.
    """

    kind: str
    plain: Callable[..., Any]
    derivative: tuple[Callable[..., Any], ...]
    static: frozenset[int] = frozenset()
    own_remat: bool = False


def rule_parts(function: Any) -> RuleParts | None:
    """The parts of a `jax.custom_vjp`, `jax.custom_jvp` or hijax primitive; None for anything else.

    With `jax_custom_vjp3` and `jax_custom_jvp3` the first two are objects of other classes.
    """
    if isinstance(function, _HIJAX):
        names = [n for n in _HIJAX_DERIVATIVES if getattr(type(function), n, None) is not getattr(_HIJAX, n, None)]
        return RuleParts("hijax", function.expand, tuple(getattr(function, name) for name in names))
    if isinstance(function, _CUSTOM_VJP):
        of_remat = getattr(function, "remat_rules", None) or ()
        derivative = tuple(f for f in (function.fwd, function.bwd, *of_remat) if callable(f))
        optimized = getattr(function, "optimize_remat", False) or getattr(function, "opt_remat", False)
        plain, static = _plain_and_static(function)
        return RuleParts("custom_vjp", plain, derivative, static, bool(of_remat or optimized))
    if isinstance(function, _CUSTOM_JVP):
        jvp = function.jvp_fun if hasattr(function, "jvp_fun") else function.jvp
        plain, static = _plain_and_static(function)
        return RuleParts("custom_jvp", plain, (jvp,) if jvp else (), static)
    return None


def _plain_and_static(function: Any) -> tuple[Callable[..., Any], frozenset[int]]:
    if isinstance(function, jax.custom_vjp | jax.custom_jvp):
        return function.fun, frozenset(function.nondiff_argnums)
    return function.f, frozenset(function.static_argnums)


_HIJAX_DERIVATIVES = ("vjp_fwd", "vjp_bwd", "vjp_bwd_retval", "jvp", "lin", "linearized", "transpose")
_CUSTOM_VJP, _CUSTOM_JVP = (
    tuple(filter(None, (getattr(jax, kind), getattr(_HIJAX_MODULE, f"{kind}3", None))))
    for kind in ("custom_vjp", "custom_jvp")
)


@dataclass(frozen=True)
class BoundRule:
    """A rule as what JAX binds a primitive with says it, of flat arrays.

    Attributes:
        kind: "custom_vjp", "custom_jvp", "hijax" or "custom_root".
        name: of the plain function; empty where JAX does not know.
        place: its `file:line`.
        plain: the function without its derivative; it can be called where a program traced before is run.
        key: something hashable that is another one for another rule.
        derivative: the functions that are its derivative, as far as they are known.
        written: the plain function as somebody wrote it, where it is known.
    """

    kind: str
    name: str
    place: str
    plain: Callable[..., list[Any]]
    key: Any
    derivative: tuple[Callable[..., Any], ...] = ()
    written: Callable[..., Any] | None = None


def bound_rule(primitive: Primitive, params: dict[str, Any]) -> BoundRule | None:
    """The rule that a primitive calls, if it is bound with these parameters; None where it calls none."""
    if primitive.name in RULES and "subfuns" in params:
        function = params["subfuns"][0]
        kind = "custom_vjp" if primitive.name in CUSTOM_VJP else "custom_jvp"
        name, place = _name_and_place(function.debug_info.func_src_info)
        return BoundRule(kind, name or primitive.name, place, function.call_wrapped, (name, place))
    if primitive.name != "call_hi_primitive":
        return None
    prim: Any = params["_prim"]
    cls = type(prim)

    def plain(*operands: Any) -> list[Any]:
        return jax.tree.leaves(prim.expand(*jax.tree.unflatten(prim.in_tree, operands)))

    if not cls.__module__.startswith("jax."):
        parts = rule_parts(prim)
        assert parts is not None
        code = cls.expand.__code__
        place = f"{code.co_filename}:{code.co_firstlineno}"
        key = cls, repr(prim.params)
        return BoundRule("hijax", cls.__name__, place, plain, key, parts.derivative, prim.expand)
    if cls.__name__ == "CustomRoot":
        return BoundRule("custom_root", "custom_root", "", plain, cls)
    if cls.__name__ in ("CustomVJPTraced", "CustomJVPTraced"):
        name, place = function_of(closed(prim.traced.jaxpr)[0])
        return BoundRule("custom_vjp" if "VJP" in cls.__name__ else "custom_jvp", name, place, plain, (name, place))
    return None  # what JAX makes of another one: a mapped primitive, the linear part of one


def is_exported(place: str) -> bool:
    """Whether a rule's plain function is that of an exported program, which JAX calls through a custom_vjp."""
    return bool(re.search(r"[\\/]jax[\\/]_src[\\/]export[\\/]", place))


def is_custom_root(function: Callable) -> bool:
    """Whether a plain function is that of `jax.lax.custom_root`, which is a custom_jvp in some releases."""
    return function.__name__ == "_custom_root" and function.__module__.startswith("jax.")


def linear_body(eqn: JaxprEqn, inputs: Sequence[Any]) -> tuple[tuple[Jaxpr, list[Any]], list[Any]]:
    """What a linear call or a linear solve computes its value with, and the inputs that this takes."""
    if eqn.primitive.name == LINEAR_CALL:
        return closed(eqn.params["callee"]), list(inputs)
    lengths = eqn.params["const_lengths"]
    before = lengths.matvec + lengths.vecmat
    return closed(eqn.params["jaxprs"].solve), [*inputs[before : before + lengths.solve], *inputs[sum(lengths) :]]


@dataclass(frozen=True)
class LinearRule:
    """A linear function whose transpose is written by hand.

    Attributes:
        name: of the hand-written function.
        place: its `file:line`.
        fixed: how many operands it is not linear in: they come first.
        plain: the function.
        key: something hashable that is another one for another rule.
        transposed: the key of the hand-written transpose as a linear function.
    """

    name: str
    place: str
    fixed: int
    plain: Callable[..., list[Any]]
    key: Any
    transposed: Any


def linear_rule(primitive: Primitive, params: dict[str, Any]) -> LinearRule | None:
    """Of a linear call, or a linear solve, as it is bound; None for anything else."""
    if primitive.name == LINEAR_CALL:
        callee = close(params["callee"])
        fixed = params.get("num_callee_consts", 0) + params["num_res"]
        with intercepted(None):
            transposed, _ = params["transpose_thunk"]()
        name, place = function_of(callee.jaxpr)
        both = str(callee), str(close(transposed))
        return LinearRule(name, place, fixed, jaxpr_as_fun(callee), both, both[::-1])
    if primitive.name != LINEAR_SOLVE or params["jaxprs"].transpose_solve is None:
        return None
    lengths, solve = params["const_lengths"], close(params["jaxprs"].solve)
    transposed = closed(params["jaxprs"].transpose_solve)[0]
    name, place = function_of(transposed)
    before, count = lengths.matvec + lengths.vecmat, lengths.solve

    def plain(*operands: Any) -> list[Any]:
        fixed = before + count + lengths.transpose_solve
        return jaxpr_as_fun(solve)(*operands[before : before + count], *operands[fixed:])

    both = str(solve), str(close(transposed))
    return LinearRule(name, place, before + count + lengths.transpose_solve, plain, both, both[::-1])


# Pallas kernels.


@dataclass(frozen=True)
class KernelArray:
    """An array that a Pallas kernel reads or writes, and the blocks it is cut into.

    Attributes:
        shape: of the whole array.
        block: the size of a block along each axis.
        place: from the place in the grid to that of the block, counted in blocks; None where it depends on data.
        read: of an output, whether every step reads it, at an index that is the same in each, as where it adds to it.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]
    place: Callable[[Sequence[int]], tuple[int, ...]] | None
    read: bool


@dataclass(frozen=True)
class Kernel:
    """What a `pallas_call` says about its kernel.

    Attributes:
        name: of the kernel.
        grid: its sizes; None where they are known only when it runs.
        inputs: the arrays that are read.
        outputs: those that are written.
        aliases: pairs of an input and the output that takes its memory.
        parallel: the axes of the grid along which steps may run at once, as its author says.
    """

    name: str
    grid: tuple[int, ...] | None
    inputs: tuple[KernelArray, ...]
    outputs: tuple[KernelArray, ...]
    aliases: tuple[tuple[int, int], ...]
    parallel: tuple[int, ...]


def kernel_of(eqn: JaxprEqn) -> Kernel:
    """The kernel of a `pallas_call`."""
    mapping, params = eqn.params["grid_mapping"], eqn.params
    dynamic = not all(isinstance(n, int) for n in mapping.grid)
    before, count = mapping.num_index_operands, mapping.num_inputs
    jaxpr = closed(params["jaxpr"])[0]
    arrays = [
        KernelArray(
            tuple(m.array_aval.shape),
            tuple(getattr(d, "block_size", d if isinstance(d, int) else 1) for d in m.block_shape),
            None if dynamic or before else functools.partial(_block_place, m.index_map_jaxpr),
            k >= count and _is_read(jaxpr, jaxpr.invars[before + k]),
        )
        for k, m in enumerate(mapping.block_mappings)
    ]
    on_device = params["compiler_params"]
    semantics = getattr(on_device, "dimension_semantics", None) or ()
    if any(word in type(on_device).__module__ for word in ("triton", "mosaic_gpu")):
        semantics = ("parallel",) * len(mapping.grid)  # on a GPU all steps run at once
    return Kernel(
        name_of_opaque(eqn.primitive, params),
        None if dynamic else tuple(mapping.grid),
        tuple(arrays[:count]),
        tuple(arrays[count:]),
        tuple((i - before, o) for i, o in params["input_output_aliases"]),
        tuple(k for k, word in enumerate(semantics) if "parallel" in str(getattr(word, "name", word)).lower()),
    )


def _is_read(jaxpr: Jaxpr, ref: Var) -> bool:
    """Whether a kernel reads a reference at an index that no variable says."""
    for eqn in jaxpr.eqns:
        at = [k for k, v in enumerate(eqn.invars) if v is ref]
        if not at:
            continue
        besides = {"get": 1, "masked_load": 1, "addupdate": 2}.get(eqn.primitive.name)
        if besides is not None and at[0] == 0 and all(isinstance(v, Literal) for v in eqn.invars[besides:]):
            return True
        for inner in inner_jaxprs(eqn):
            shift = len(eqn.invars) - len(inner.invars)  # a conditional has its index before
            if shift in (0, 1) and any(_is_read(inner, inner.invars[k - shift]) for k in at if k >= shift):
                return True
    return False


def is_for_device(eqn: JaxprEqn) -> bool:
    """Whether a `pallas_call` is compiled for a GPU or TPU, not interpreted."""
    return not eqn.params["interpret"]


def _block_place(index_map: Any, at: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in jaxpr_as_fun(close(index_map))(*(jax.numpy.int32(i) for i in at)))


def interpreted_kernel(eqn: JaxprEqn) -> ClosedJaxpr:
    """The program by which JAX interprets a `pallas_call`, of JAX's own primitives: a loop over the grid.

    What the kernel never wrote is NaN in it, and so is what stands beyond the end of an array.
    """
    package = type(eqn.params["grid_mapping"]).__module__.rpartition(".")[0]
    interpret = sys.modules[f"{package}.hlo_interpreter"].pallas_call_hlo_interpret
    params = {key: value for key, value in eqn.params.items() if key != "interpret"}
    given = [jax.ShapeDtypeStruct(shape_of(v), dtype_of(v)) for v in eqn.invars]
    return jax.make_jaxpr(functools.partial(interpret, **params))(*given)


def name_of_opaque(primitive: Primitive, params: dict[str, Any]) -> str:
    """What somebody calls a kernel, a callback or an exported program."""
    if primitive.name == KERNEL:
        return params.get("name") or function_of(closed(params["jaxpr"])[0])[0]
    for key in ("name", "target_name", "exported", "callback"):
        found = params.get(key)
        for attribute in ("name", "fun_name", "__name__", "callback_func"):
            found = getattr(found, attribute, found)
        if callable(found):
            found = getattr(found, "__name__", None)
        if isinstance(found, str) and found:
            return found
    return primitive.name


def plain_function_of(function: Any) -> Callable[..., Any] | None:
    """The plain function that a rule of JAX's (see `rule_parts`) was made of; None for anything else."""
    parts = rule_parts(function)
    return parts.plain if parts is not None else None


def nondiff_argnums(function: Any) -> tuple[int, ...]:
    """The positions of the arguments that a `jax.custom_vjp` or `jax.custom_jvp` takes as they are, untraced."""
    return tuple(function.nondiff_argnums) if isinstance(function, jax.custom_vjp | jax.custom_jvp) else ()


def closed_over(eqn: JaxprEqn) -> int:
    """How many of its first inputs a custom rule closes over: JAX refuses to differentiate it by them."""
    return eqn.params.get("num_consts", 0) if eqn.primitive.name in RULES else 0


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


def derivative_rules(primitive: Primitive) -> list[Callable[..., Any]]:
    """The derivative rules of a primitive that are not JAX's, nor made with `define_primitive`.

    `stop_gradient` has none: it is there to have another derivative than its value, whoever adds a transpose to it.
    """
    if primitive in _OWN or primitive.name == "stop_gradient":
        return []
    found: list[Callable[..., Any]] = []
    todo = [table.get(primitive) for table in (ad.primitive_jvps, ad.primitive_transposes)]
    while todo:  # `ad.defjvp` and its like hold them in partials, tuples and closures
        rule = todo.pop()
        if isinstance(rule, functools.partial):
            todo += [rule.func, *rule.args]
        elif isinstance(rule, tuple | list):
            todo += rule
        elif inspect.isfunction(rule):
            if not rule.__module__.startswith("jax."):
                found.append(rule)
            todo += [cell.cell_contents for cell in rule.__closure__ or ()]
    return found


_OWN: set[Primitive] = set()


@functools.cache
def is_foreign(primitive: Primitive) -> bool:
    """Whether a primitive has derivative rules that are not JAX's: another package's."""
    return bool(derivative_rules(primitive))


def program_of(primitive: Primitive, params: dict[str, Any], avals: Iterable[Any]) -> ClosedJaxpr | None:
    """What a primitive of another package, or of hijax, computes, where that is made of JAX's own operations."""
    rule = bound_rule(primitive, params) if primitive.name == "call_hi_primitive" else None
    if rule is None and not is_foreign(primitive):
        return None
    try:
        forms = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
        program = jax.make_jaxpr(functools.partial(primitive.impl, **params) if rule is None else rule.plain)(*forms)
    except Exception:  # it is computed elsewhere
        return None
    return None if any(eqn.primitive is primitive for eqn in program.jaxpr.eqns) else program


def rule_call(proceed: Callable, *args: Any, **kwargs: Any) -> Any:
    """A watcher makes the call of a rule by this function, which marks the equations of its derivative."""
    return proceed(*args, **kwargs)


class Watcher(Protocol):
    """Observes calls; each method makes the call, by `proceed`, and returns its result."""

    def called(self, rule: Any, parts: RuleParts, args: tuple, kwargs: dict[str, Any], proceed: Callable) -> Any:
        """A function with a hand-written derivative is called: `proceed(*args, **kwargs)`."""
        ...

    def bound(self, primitive: Primitive, args: tuple, params: dict[str, Any], proceed: Callable) -> Any:
        """A primitive is bound: `proceed(*args, **params)`."""
        ...

    def compiled_called(self, compiled: Any) -> None:
        """A program compiled ahead of time is about to be called."""
        ...


class _Interception:
    """The methods of JAX's classes by which calls are noticed, replaced while anybody watches."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.watching = 0
        self.local = threading.local()
        self.originals: list[tuple[type, str, Any]] = []

    @property
    def watcher(self) -> Watcher | None:
        return getattr(self.local, "watcher", None)

    def enter(self) -> None:
        with self.lock:
            self.watching += 1
            if self.watching == 1:
                for cls in (*_CUSTOM_VJP, *_CUSTOM_JVP):
                    self.replace(cls, "__call__", self.around_call)
                self.replace(Primitive, "bind", self.around_bind)
                self.replace(jax.stages.Compiled, "__call__", self.around_compiled)

    def leave(self) -> None:
        with self.lock:
            self.watching -= 1
            while not self.watching and self.originals:
                setattr(*self.originals.pop())

    def replace(self, cls: type, name: str, around: Callable) -> None:
        original = getattr(cls, name)
        self.originals.append((cls, name, original))
        setattr(cls, name, around(original))

    def around_call(self, original: Callable) -> Callable:
        @functools.wraps(original)
        def call(rule: Any, *args: Any, **kwargs: Any) -> Any:
            watcher = self.watcher
            parts = rule_parts(rule) if watcher is not None else None
            if watcher is None or parts is None:
                return original(rule, *args, **kwargs)
            return watcher.called(rule, parts, args, kwargs, functools.partial(original, rule))

        return call

    def around_bind(self, original: Callable) -> Callable:
        @functools.wraps(original)
        def bind(primitive: Primitive, *args: Any, **params: Any) -> Any:
            watcher = self.watcher
            if watcher is None:
                return original(primitive, *args, **params)
            return watcher.bound(primitive, args, params, functools.partial(original, primitive))

        return bind

    def around_compiled(self, original: Callable) -> Callable:
        @functools.wraps(original)
        def call(compiled: Any, *args: Any, **kwargs: Any) -> Any:
            if self.watcher is not None:
                self.watcher.compiled_called(compiled)
            return original(compiled, *args, **kwargs)

        return call


_INTERCEPTION = _Interception()


@contextmanager
def intercepted(watcher: Watcher | None) -> Iterator[None]:
    """Within it `watcher`, where there is one, observes every call that this thread makes."""
    before = _INTERCEPTION.watcher
    _INTERCEPTION.enter()
    _INTERCEPTION.local.watcher = watcher
    try:
        yield
    finally:
        _INTERCEPTION.local.watcher = before
        _INTERCEPTION.leave()


def linearized_before(value: Any) -> tuple[str, str] | None:
    """Of what `jax.vjp` or `jax.linearize` returned: the name and place of the function; None for anything else."""
    if isinstance(value, _linearized()[0]):
        return function_of(value.jaxpr)
    inner = _lifted(value)
    return function_of(inner.args[0]) if inner is not None and inner.func is _linearized()[1] else None


def _lifted(value: Any) -> functools.partial | None:
    """What a `jax.tree_util.Partial` calls, where that is a partial function itself."""
    inner = getattr(value.func, "fun", value.func) if isinstance(value, jax.tree_util.Partial) else None
    return inner if isinstance(inner, functools.partial) else None


@functools.cache
def _linearized() -> tuple[type, Callable]:
    """The class of what `jax.vjp` returns, and the function that `jax.linearize` wraps."""
    (_, pull), (_, pushforward) = jax.vjp(lambda x: x, 1.0), jax.linearize(lambda x: x, 1.0)
    lifted = _lifted(pushforward)
    assert lifted is not None
    return type(pull), lifted.func


# Values while they are traced.


def varying_axes(x: Any) -> frozenset[Any]:
    """The axes of the mesh over which `x` differs, under `jax.shard_map`; none outside of it."""
    return frozenset(jax.typeof(x).manual_axis_type.varying)


def to_varying(x: Any, axes: Sequence[Any]) -> Any:
    """`x`, now counted as differing over these axes of the mesh, too; transposed, the sum over them."""
    return lax.pcast(x, tuple(axes), to="varying")


def manual_axes() -> dict[str, int]:
    """The axes of the mesh over which the program being traced is split by `jax.shard_map`, and their sizes."""
    mesh = jax.sharding.get_abstract_mesh()
    return {name: mesh.shape[name] for name in mesh.manual_axes}


def weakly_typed(x: Any) -> Any:
    """`x` with a type that gives way to others, as a Python number's."""
    return lax.convert_element_type_p.bind(x, new_dtype=x.dtype, weak_type=True, sharding=None)


def x64_enabled() -> bool:
    """Whether 64-bit types are on here: by the process's setting, or by `jax.enable_x64` around it."""
    return bool(jax.config.read("jax_enable_x64"))


def settings() -> dict[str, Any]:
    """JAX's settings as they are in this process, by name."""
    return dict(jax.config.values)


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
    _OWN.add(primitive)
    return primitive


@dataclass(frozen=True)
class MappedAxis:
    """An axis over which `jax.vmap` maps a tap.

    Attributes:
        mapped: for each operand whether it has this axis, in front.
        size: how long it is.
        name: what collectives call it; None for most.
    """

    mapped: tuple[bool, ...]
    size: int
    name: Any = None


TAP = "rule_tap"
MARK = "rule_output"


def define_tap(arrived: Callable[..., None]) -> Primitive:
    """An identity of several operands that says what they are: `arrived(*operands, call=, axes=, differentiated=)`.

    Its parameters: `call`, an object that is handed on; `axes`, what it was mapped over, the last first;
    `differentiated`, the positions of operands by which a derivative was taken; `kept`, whether it stays where its
    results are not needed.
    Differentiated it is a tap of the values alone: tangents pass by it.
    """
    primitive = Primitive(TAP)
    primitive.multiple_results = primitive.skip_canonicalization = True
    (effect,) = jax.make_jaxpr(lambda: jax.debug.callback(lambda: None))().effects  # allowed in all of JAX's loops

    @primitive.def_effectful_abstract_eval
    def shapes(*operands: Any, kept: bool, **params: Any) -> Any:
        return list(operands), {effect} if kept else set()

    @primitive.def_impl
    def run(*operands: Any, kept: bool, **params: Any) -> list[Any]:
        arrived(*operands, **params)
        return list(operands)

    def lowered(*operands: Any, kept: bool, **params: Any) -> list[Any]:
        kinds = [
            jax.random.key_impl(x) if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key) else None for x in operands
        ]

        def on_host(*data: Any) -> None:
            keys = (x if kind is None else jax.random.wrap_key_data(x, impl=kind) for x, kind in zip(data, kinds))
            arrived(*keys, **params)

        jax.debug.callback(on_host, *(x if k is None else jax.random.key_data(x) for x, k in zip(operands, kinds)))
        return list(operands)

    def jvp(primals: Any, tangents: Any, *, differentiated: frozenset[int], **params: Any) -> Any:
        differentiated |= {k for k, t in enumerate(tangents) if not isinstance(t, ad.Zero)}
        return primitive.bind(*primals, differentiated=differentiated, **params), list(tangents)

    def transpose(upstream: Any, *operands: Any, **params: Any) -> list[Any]:
        return [u if ad.is_undefined_primal(x) else None for u, x in zip(upstream, operands, strict=True)]

    def batch(axis: Any, operands: Any, dims: Any, *, axes: tuple[MappedAxis, ...], **params: Any) -> Any:
        mapped = tuple(d is not None for d in dims)
        if not any(mapped):
            return primitive.bind(*operands, axes=axes, **params), dims
        operands = [x if d is None else jax.numpy.moveaxis(x, d, 0) for x, d in zip(operands, dims, strict=True)]
        name = axis.name if isinstance(axis.name, str | int | tuple) else None
        axes = (MappedAxis(mapped, axis.size, name), *axes)
        return primitive.bind(*operands, axes=axes, **params), [0 if m else None for m in mapped]

    ad.primitive_jvps[primitive], ad.primitive_transposes[primitive] = jvp, transpose
    batching.fancy_primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(lowered, multiple_results=True))
    _OWN.add(primitive)
    return primitive


def define_mark(transposed: Callable[..., None]) -> Primitive:
    """An identity of one operand that says when a gradient arrives at it: `transposed(**params)`, while traced."""
    primitive = Primitive(MARK)

    def transpose(upstream: Any, operand: Any, **params: Any) -> list[Any]:
        if not isinstance(upstream, ad.Zero):
            transposed(**params)
        return [upstream]

    primitive.def_impl(lambda x, **params: x)
    primitive.def_abstract_eval(lambda x, **params: x)
    ad.deflinear2(primitive, transpose)
    batching.primitive_batchers[primitive] = lambda xs, dims, **params: (primitive.bind(*xs, **params), dims[0])
    mlir.register_lowering(primitive, lambda context, x, **params: [x])
    _OWN.add(primitive)
    return primitive


def without_derivative(function: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`function` of arrays, which JAX can run but not differentiate."""
    primitive = Primitive("without_derivative")
    primitive.multiple_results = True
    primitive.def_impl(lambda *operands: jax.jit(function)(*operands))

    @primitive.def_abstract_eval
    def shapes(*operands: Any) -> list[Any]:
        return list(jax.make_jaxpr(function)(*operands).out_avals)

    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=True))
    return lambda *operands: primitive.bind(*operands)


def strong_aval(value: Any) -> Any:
    """An abstract value whose type is not weak."""
    return value.strip_weak_type()
