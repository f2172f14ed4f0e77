"""The one evaluator of jaxprs: every equation is bound again to JAX's own primitive, or answered by a hook.

Whatever computes with a program other than as it stands is a hook: another precision, rounding noise, rules left out,
calls counted, values tapped. A hook sees every equation, also those inside calls, loops, branches and rules.

    def hook(walk, eqn, inputs):
        if eqn.primitive.name == "custom_vjp_call":
            return walk.inside(eqn, inputs)      # its plain function, equation by equation, in place of the rule
        return None                              # as JAX does

    outputs = evaluate(program, args, hook)

What is evaluated are JAX's own primitives, so it may be traced, differentiated, mapped and compiled like any function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .compat import (
    CALLS,
    KERNEL,
    REMAT,
    RULES,
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    binding,
    body_of,
    branches_of,
    compile_quickly,
    interpreted_kernel,
    scan_of,
    shard_map_like,
    while_of,
)

Hook = Callable[["Walk", JaxprEqn, list[Any]], Sequence[Any] | None]
"""`(walk, equation, inputs)` -> its outputs, or None.

None: as JAX does. Of a call, a loop, a branch the hook sees the equations inside; a custom rule stays whole, with its
derivative.
"""

OPENED = frozenset({*CALLS, *RULES, *REMAT, "scan", "while", "cond", "shard_map"})
"""Equations whose bodies can be evaluated one equation at a time; any other one can only be bound whole."""


def as_it_is(walk: "Walk", eqn: JaxprEqn, inputs: list[Any]) -> None:
    """The hook that changes nothing."""


def kernels_interpreted(walk: "Walk", eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
    """The hook that evaluates Pallas kernels by the program that interprets them, equation by equation."""
    if eqn.primitive.name != KERNEL:
        return None
    try:
        program = interpreted_kernel(eqn)
    except Exception:  # it holds a primitive of one kind of device
        return None
    return walk.run(program.jaxpr, program.consts, inputs)


def evaluate(
    program: ClosedJaxpr,
    args: Sequence[Any],
    hook: Hook = as_it_is,
    constant: Callable[[Any, Any], Any] | None = None,
    state: Any = (),
) -> list[Any]:
    """The outputs of `program` at the flat `args`, each equation answered by `hook`.

    Args:
        program: what is evaluated.
        args: one for each of its inputs.
        hook: sees every equation.
        constant: `(value, aval)` -> what a literal or a closed-over array becomes; itself where none is given.
        state: see `Walk`.
    """
    return Walk(hook, constant, state).run(program.jaxpr, program.consts, args)


@dataclass
class Walk:
    """An evaluation on its way through a program.

    Attributes:
        hook: answers each equation.
        constant: what a literal or a closed-over array becomes.
        state: a pytree of arrays that the hook may replace at any time. It is carried through loops and branches, so
            that a count, a random number or a checksum there goes on where it was.
    """

    hook: Hook = as_it_is
    constant: Callable[[Any, Any], Any] | None = None
    state: Any = ()

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """The outputs of a jaxpr."""
        known: dict[Any, Any] = {v: self._constant(c, v.aval) for v, c in zip(jaxpr.constvars, consts, strict=True)}
        known.update(zip(jaxpr.invars, args, strict=True))

        def at(atom: Any) -> Any:
            return self._constant(atom.val, atom.aval) if isinstance(atom, Literal) else known[atom]

        last = _last_uses(jaxpr)
        for i, eqn in enumerate(jaxpr.eqns):
            outputs = self.equation(eqn, [at(v) for v in eqn.invars])
            known.update(zip(eqn.outvars, outputs, strict=True))
            for v in last.get(i, ()):
                known.pop(v, None)
        return [at(v) for v in jaxpr.outvars]

    def equation(self, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        """The outputs of one equation."""
        answered = self.hook(self, eqn, inputs)
        if answered is not None:
            return list(answered)
        goes_in = eqn.primitive.name in OPENED and eqn.primitive.name not in RULES
        return self.inside(eqn, inputs) if goes_in else binding(eqn)(*inputs)

    def inside(self, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        """The outputs of an equation that holds programs, each equation in them answered by the hook.

        A call, a rule or a remat is evaluated in its place; a loop stays a loop, a conditional one.

        Raises:
            NotImplementedError: the equation is not of those in `OPENED`.
        """
        name = eqn.primitive.name
        if name in _CONTROL_FLOW:
            return _CONTROL_FLOW[name](self, eqn, inputs)
        body = body_of(eqn)
        if body is None:
            raise NotImplementedError(f"the programs inside {name}")
        return self.run(*body, inputs)

    def _constant(self, value: Any, aval: Any) -> Any:
        return typed(value, aval) if self.constant is None else self.constant(value, aval)


def typed(value: Any, aval: Any) -> Any:
    """A literal or a closed-over array in the type that the program says, whatever JAX's default types are."""
    return value if isinstance(value, jax.Array) or hasattr(value, "aval") else np.asarray(value, aval.dtype)


def compiled(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """`function`, compiled for arguments of these shapes and types, on the CPU, each step rounded as its type says.

    Under `jax.enable_x64` it must be called as it was compiled.
    """
    with jax.default_device(_cpu()):
        return compile_quickly(jax.jit(function).lower(*args))


def compiled_for_device(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """`function`, compiled for arguments of these shapes and types as a program would run it, on its device."""
    return jax.jit(function).lower(*args).compile()


@cache
def _cpu() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _last_uses(jaxpr: Jaxpr) -> dict[int, list[Any]]:
    """After which equation a variable is not needed any more: values of large programs are let go."""
    seen = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    last: dict[int, list[Any]] = {}
    for i in reversed(range(len(jaxpr.eqns))):
        for v in jaxpr.eqns[i].invars:
            if not isinstance(v, Literal) and v not in seen:
                seen.add(v)
                last.setdefault(i, []).append(v)
    return last


# Loops and conditionals: JAX's own, around bodies that the walk evaluates; the state is one more thing they carry.


def _scan(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    loop = scan_of(eqn)
    constants, rest = inputs[: loop.constants], inputs[loop.constants :]
    carry, slices = [jnp.asarray(x) for x in rest[: loop.carried]], rest[loop.carried :]

    def step(carried: Any, row: list[Any]) -> Any:
        walk.state, carry = carried
        out = walk.run(loop.body, loop.consts, [*constants, *carry, *row])
        return _alike((walk.state, out[: loop.carried]), carried), out[loop.carried :]

    start = jax.tree.map(jnp.asarray, walk.state), carry
    (walk.state, carry), rows = lax.scan(step, start, slices, length=loop.length, reverse=loop.reverse)
    return [*carry, *rows]


def _while(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    loop = while_of(eqn)
    for_condition, for_body, carry = loop.split(inputs)
    carry = [jnp.asarray(x) for x in carry]

    def going(carry: list[Any]) -> Any:
        return jnp.asarray(walk.run(*loop.condition, [*for_condition, *carry])[0]).astype(bool)

    # What the condition does to the state counts, too: it is evaluated once before the first step, and after each.
    def step(carried: Any) -> Any:
        walk.state, carry, again = carried
        new = walk.run(*loop.body, [*for_body, *carry])
        carry = [_where(again, a, b) for a, b in zip(_alike(new, carry), carry, strict=True)]
        again = going(carry)
        return _alike((walk.state, carry, again), carried)

    again = going(carry)
    start = jax.tree.map(jnp.asarray, walk.state), carry, again
    walk.state, carry, _ = lax.while_loop(lambda carried: carried[2].any(), step, start)
    return carry


def _where(going: Any, new: Any, old: Any) -> Any:
    """Under vmap a condition has the mapped axes, in front: what has ended there stays as it is."""
    if not going.ndim:
        return new
    return jnp.where(going.reshape(going.shape + (1,) * (jnp.ndim(new) - going.ndim)), new, old)


def _cond(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    index, *given = inputs
    start = jax.tree.map(jnp.asarray, walk.state)

    def taken(branch: tuple[Jaxpr, list[Any]]) -> Callable[..., Any]:
        def run(state: Any, *args: Any) -> Any:
            walk.state = state
            out = walk.run(*branch, args)
            return _alike(walk.state, start), [jnp.asarray(x) for x in out]

        return run

    walk.state, outputs = lax.switch(index, [taken(b) for b in branches_of(eqn)], start, *given)
    return outputs


def _shard_map(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    if jax.tree.leaves(walk.state):
        raise NotImplementedError("a state cannot be carried through shard_map")
    return list(shard_map_like(eqn, lambda body, shards: walk.run(*body, shards))(*inputs))


_CONTROL_FLOW = {"scan": _scan, "while": _while, "cond": _cond, "shard_map": _shard_map}


def _alike(new: Any, old: Any) -> Any:
    """What a loop carries keeps its type, weak or not."""

    def like(n: Any, o: Any) -> Any:
        is_key = jnp.issubdtype(o.dtype, jax.dtypes.extended)
        return n if is_key else lax.convert_element_type(n, o.dtype)

    return jax.tree.map(like, new, old)
