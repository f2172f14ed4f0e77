"""How often a program calls each of its rules, and what it gives them: found by one compiled run with taps.

Counts are carried through loops and branches, so that a loop of a hundred thousand steps costs what it costs compiled.
A tap hands a rule's inputs to the host at chosen calls only. Judging is done elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import io_callback

from .compat import ClosedJaxpr, Jaxpr, JaxprEqn, binding, inner_jaxprs
from .evaluate import Walk, compiled
from .inputs import is_key
from .rules import holds_rule_inside, rules_in

LOOPS = frozenset({"scan", "while"})


@dataclass
class RuleCalls:
    """One equation that calls a rule.

    Attributes:
        eqn: the equation.
        calls: how often it was run.
        inputs: what it was given, at the first, the middle and the last call.
    """

    eqn: JaxprEqn
    calls: int = 0
    inputs: list[list[Any]] = field(default_factory=list)


def watch(program: ClosedJaxpr, args: Sequence[Any]) -> tuple[list[RuleCalls], Exception | None]:
    """Run a program and watch its rules; with the exception that ended it, where one did.

    It is run once, and where a rule stands in a loop a second time: which call is the middle or the last one is known
    only then.
    """
    watching = _Watching(rules_in(program.jaxpr))
    found = [RuleCalls(eqn) for eqn in watching.rules]
    if not found:
        return found, None
    in_loops = [id(e) for e in _inside_loops(program.jaxpr)]
    broken = None
    try:
        run = compiled(lambda args, wanted: watching.run(program, args, wanted), list(args), watching.first_calls())
        calls = np.asarray(run(list(args), watching.first_calls()))
        jax.effects_barrier()
        if any(n > 1 and id(e) in in_loops for n, e in zip(calls, watching.rules, strict=True)):
            run(list(args), np.stack([np.full_like(calls, -1), calls // 2, calls - 1], 1))
            jax.effects_barrier()
        for seen, n in zip(found, calls, strict=True):
            seen.calls = int(n)
    except Exception as error:
        broken = error
        _walk_to_the_break(program, args, watching)
    for k, seen in enumerate(found):
        seen.inputs = [given for _, given in sorted(watching.tapped[k].items())]
        seen.calls = max(seen.calls, len(seen.inputs))
    return found, broken


def _walk_to_the_break(program: ClosedJaxpr, args: Sequence[Any], watching: "_Watching") -> None:
    """Once more, step by step: a compiled program may raise before it comes to a tap that stands further up."""

    def hook(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        if id(eqn) not in watching.slots:
            return None
        tapped = watching.tapped[watching.slots[id(eqn)]]
        tapped[len(tapped)] = [x if is_key(x) else np.array(x) for x in inputs]
        return walk.inside(eqn, inputs)

    try:
        with jax.disable_jit():
            Walk(hook).run(program.jaxpr, program.consts, args)
    except Exception:
        return  # as was expected: what was seen on the way is kept


def _inside_loops(jaxpr: Jaxpr) -> list[JaxprEqn]:
    found = []
    for eqn in jaxpr.eqns:
        for body in inner_jaxprs(eqn):
            found += rules_in(body) if eqn.primitive.name in LOOPS else _inside_loops(body)
    return found


class _Watching:
    """The hook that counts and taps. A traced program refers to its equations by identity: each has a slot."""

    def __init__(self, rules: list[JaxprEqn]):
        self.rules = rules
        self.slots = {id(eqn): k for k, eqn in enumerate(rules)}
        self.tapped: list[dict[int, list[Any]]] = [{} for _ in rules]
        self.wanted: Any = None

    def first_calls(self) -> np.ndarray:
        """For each rule the call to tap at first: the very first one."""
        return np.tile(np.array([0, -1, -1], np.int32), (len(self.rules), 1))

    def run(self, program: ClosedJaxpr, args: Sequence[Any], wanted: Any) -> Any:
        """The number of calls of each rule; `wanted` (rules, 3) are the calls to tap."""
        self.wanted = wanted
        walk = Walk(self, state=jnp.zeros(len(self.rules), jnp.int32))
        outputs = walk.run(program.jaxpr, program.consts, args)
        # Whatever the outputs hold, the program runs to its end before the counts are handed out.
        return lax.optimization_barrier((walk.state, [x for x in outputs if not is_key(x)]))[0]

    def __call__(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        if id(eqn) in self.slots:
            self.count(walk, self.slots[id(eqn)], inputs)
            return walk.inside(eqn, inputs)
        return None if holds_rule_inside(eqn) else binding(eqn)(*inputs)

    def count(self, walk: Walk, slot: int, inputs: list[Any]) -> None:
        """One more call of the rule in that slot, tapped where it is wanted."""
        call = walk.state[slot]
        walk.state = walk.state.at[slot].add(1)
        data = [jax.random.key_data(x) if _is_key(x) else x for x in inputs]
        kinds = [jax.random.key_impl(x) if _is_key(x) else None for x in inputs]

        def keep(call: Any, *given: Any) -> None:
            self.tapped[slot][int(call)] = [
                np.array(x) if kind is None else jax.random.wrap_key_data(jnp.asarray(x), impl=kind)
                for x, kind in zip(given, kinds, strict=True)
            ]

        lax.cond(
            (self.wanted[slot] == call).any(),
            lambda given: io_callback(keep, None, call, *given),
            lambda given: None,
            data,
        )


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
