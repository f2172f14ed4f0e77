"""A long loop at compiled speed: how often it calls each rule, and its state before any of its iterations.

`audit` evaluates a program step by step; of a loop of a hundred thousand steps it does so for a few only. What is
known here of a program is how to run it and how to count in it: judging is done elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .compat import CALLS, REMAT, RULES, ClosedJaxpr, Jaxpr, JaxprEqn, Literal, aval, binding, close, inner_jaxprs
from .inputs import is_key
from .number_systems.interpreter import scan_counts
from .rules import holds_rule, plain_program, rules_in

LONG = 16
"""So many iterations of a loop are evaluated step by step; a longer one is compiled."""


@dataclass(frozen=True)
class Survey:
    """What one run of a loop showed.

    Attributes:
        outputs: of the loop.
        calls: of each rule in it, in the order of `rules_in`.
        iterations: those worth a look: the first, the middle and the last one, and the first and last of each rule.
    """

    outputs: list[Any]
    calls: list[int]
    iterations: list[int]


class Loop:
    """A `scan` or `while` equation, compiled twice: to its end, counting, and to any iteration.

    Raises:
        NotImplementedError: a rule stands where it cannot be counted.
    """

    def __init__(self, eqn: JaxprEqn) -> None:
        self.eqn, p = eqn, eqn.params
        self.is_scan = eqn.primitive.name == "scan"
        self.body: ClosedJaxpr = close(p["jaxpr" if self.is_scan else "body_jaxpr"])
        self.rules = [e for held in inner_jaxprs(eqn) for e in rules_in(held)]
        self.slots = {id(e): k for k, e in enumerate(self.rules)}
        if self.is_scan:
            self.fixed, self.carried = scan_counts(eqn)
        else:
            self.fixed, self.carried = p["cond_nconsts"] + p["body_nconsts"], len(eqn.outvars)
        self._to_the_end = jax.jit(self._surveyed)
        self._up_to = jax.jit(self._state_at)

    def survey(self, args: Sequence[Any]) -> Survey:
        """Run it to its end."""
        with jax.enable_x64(True):
            outputs, (calls, first, last), n = self._to_the_end(*self._typed(args))
        count = int(n)
        chosen = {0, count // 2, count - 1, *np.asarray(first).tolist(), *np.asarray(last).tolist()}
        outputs = [x if is_key(x) else np.asarray(x) for x in outputs]
        return Survey(outputs, np.asarray(calls).tolist(), sorted(i for i in chosen if 0 <= i < count))

    def inputs_of(self, args: Sequence[Any], iteration: int) -> list[Any]:
        """What the body is given in that iteration."""
        with jax.enable_x64(True):
            found = self._up_to(jnp.asarray(iteration, jnp.int32), *self._typed(args))
        return [x if is_key(x) else np.asarray(x) for x in found]

    def _typed(self, args: Sequence[Any]) -> list[Any]:
        return [x if is_key(x) else jnp.asarray(x, aval(v).dtype) for x, v in zip(args, self.eqn.invars, strict=True)]

    def _split(self, args: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        ends = self.fixed, self.fixed + self.carried
        return list(args[: ends[0]]), list(args[ends[0] : ends[1]]), list(args[ends[1] :])

    def _step(self, tally: Any, i: Any, fixed: list[Any], carry: list[Any], xs: list[Any]) -> tuple[Any, list[Any]]:
        """One iteration: counts its calls, and enters it as the last one of the rules it calls."""
        calls, first, last = tally
        now, out = _counted(self.body.jaxpr, self.body.consts, [*fixed, *carry, *xs], calls, self.slots)
        called = now > calls
        return (now, jnp.where(called & (first < 0), i, first), jnp.where(called, i, last)), out

    def _surveyed(self, *args: Any) -> tuple[list[Any], Any, Any]:
        fixed, carry, xs = self._split(args)
        none = jnp.full(len(self.rules), -1, jnp.int32)
        tally, start = (none * 0, none, none), jnp.asarray(0, jnp.int32)
        if self.is_scan:
            p = self.eqn.params

            def step(state: Any, row: list[Any]) -> Any:
                i, tally, carry = state
                tally, out = self._step(tally, i, fixed, carry, row)
                return (i + 1, tally, _strong(out[: self.carried], carry)), out[self.carried :]

            state, rows = lax.scan(step, (start, tally, carry), xs, length=p["length"], reverse=p["reverse"])
            return [*state[2], *rows], state[1], state[0]

        n = self.eqn.params["cond_nconsts"]
        cond = close(self.eqn.params["cond_jaxpr"])

        def advance(state: Any) -> Any:
            i, tally, carry, _ = state
            tally, out = self._step(tally, i, fixed[n:], carry, [])
            carry = _kept(self._going(fixed, carry), out, carry)
            calls, going = _counted(cond.jaxpr, cond.consts, [*fixed[:n], *carry], tally[0], self.slots)
            return i + 1, (calls, *tally[1:]), carry, going[0].astype(bool).any()

        calls, going = _counted(cond.jaxpr, cond.consts, [*fixed[:n], *carry], tally[0], self.slots)
        state = (start, (calls, *tally[1:]), carry, going[0].astype(bool).any())
        state = lax.while_loop(lambda state: state[3], advance, state)
        return state[2], state[1], state[0]

    def _going(self, fixed: list[Any], carry: list[Any]) -> Any:
        cond = close(self.eqn.params["cond_jaxpr"])
        given = [*fixed[: self.eqn.params["cond_nconsts"]], *carry]
        return _counted(cond.jaxpr, cond.consts, given, jnp.zeros(len(self.rules), jnp.int32), self.slots)[1][0]

    def _state_at(self, stop: Any, *args: Any) -> list[Any]:
        fixed, carry, xs = self._split(args)
        given = fixed if self.is_scan else fixed[self.eqn.params["cond_nconsts"] :]
        nothing = jnp.zeros(len(self.rules), jnp.int32)

        def row(i: Any) -> list[Any]:
            at = self.eqn.params["length"] - 1 - i if self.is_scan and self.eqn.params["reverse"] else i
            return [lax.dynamic_index_in_dim(x, at, keepdims=False) for x in xs]

        def advance(i: Any, carry: list[Any]) -> list[Any]:
            inputs = [*given, *carry, *row(i)]
            out = _counted(self.body.jaxpr, self.body.consts, inputs, nothing, self.slots)[1][: self.carried]
            return _strong(out, carry) if self.is_scan else _kept(self._going(fixed, carry), out, carry)

        carry = lax.fori_loop(jnp.asarray(0, jnp.int32), stop, advance, carry)
        return [*given, *carry, *row(stop)]


def _kept(going: Any, new: Sequence[Any], old: Sequence[Any]) -> list[Any]:
    """Under vmap a condition has the mapped axes, in front: what has ended there stays as it is."""
    going = going.astype(bool)
    if not going.ndim:
        return _strong(new, old)
    wide = [going.reshape(going.shape + (1,) * (jnp.ndim(o) - going.ndim)) for o in old]
    return [jnp.where(w, n, o) for w, n, o in zip(wide, _strong(new, old), old, strict=True)]


def _strong(new: Sequence[Any], old: Sequence[Any]) -> list[Any]:
    """A carry keeps its type, weak or not."""
    return [
        n if is_key(o) or _is_key(o) else lax.convert_element_type(n, o.dtype) for n, o in zip(new, old, strict=True)
    ]


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


Slots = dict[int, int]


def _counted(
    jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], calls: Any, slots: Slots
) -> tuple[Any, list[Any]]:
    """`calls`, grown by those of each rule in `jaxpr`, and its outputs. Rules are read as their plain functions."""
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, args, strict=True))

    def at(atom: Any) -> Any:
        return np.asarray(atom.val, aval(atom).dtype) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        calls, found = _equation(eqn, [at(v) for v in eqn.invars], calls, slots)
        known.update(zip(eqn.outvars, found, strict=True))
    return calls, [jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in map(at, jaxpr.outvars)]


def _equation(eqn: JaxprEqn, args: list[Any], calls: Any, slots: Slots) -> tuple[Any, list[Any]]:
    name = eqn.primitive.name
    if name in RULES:
        calls = calls.at[slots[id(eqn)]].add(1)
    if name in (*RULES, *CALLS, *REMAT):
        body = plain_program(eqn)
        return _counted(body.jaxpr, body.consts, args, calls, slots)
    if not any(holds_rule(body) for body in inner_jaxprs(eqn)):
        return calls, binding(eqn)(*args)
    if name == "cond":
        return lax.switch(args[0], [_branch(b, slots) for b in eqn.params["branches"]], calls, args[1:])
    if name in ("scan", "while"):
        inner = Loop(eqn)
        to_outer = [slots[id(e)] for e in inner.rules]
        outputs, tally, _ = inner._surveyed(*(jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in args))
        return calls.at[jnp.asarray(to_outer)].add(tally[0]), outputs
    raise NotImplementedError(f"rules in {name} cannot be counted")


def _branch(body: Any, slots: Slots) -> Callable[[Any, list[Any]], tuple[Any, list[Any]]]:
    closed = close(body)

    def taken(closed: ClosedJaxpr, calls: Any, given: list[Any]) -> tuple[Any, list[Any]]:
        calls, out = _counted(closed.jaxpr, closed.consts, given, calls, slots)
        return calls, [x if _is_key(x) else lax.convert_element_type(x, v.dtype) for x, v in zip(out, closed.out_avals)]

    return partial(taken, closed)
