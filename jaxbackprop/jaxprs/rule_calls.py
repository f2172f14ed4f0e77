"""The rules that a function calls, how often, and what it gives them: it is traced with taps, and run once.

Counts are carried through loops and branches, so that a loop of a hundred thousand steps costs what it costs compiled.
A tap hands a rule's inputs to the host at chosen calls only. A function that cannot be traced as a whole is run as it
is, on copies of its arguments. Judging is done elsewhere.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import io_callback

from .closures import linearized_earlier
from .compat import (
    RULES,
    TAP,
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    binding,
    bound_rule,
    inner_jaxprs,
    is_exported,
    without_dead_code,
)
from .elementwise import Places
from .evaluate import OPENED, Walk, compiled, evaluate
from .inputs import Inputs, is_key
from .observe import Observer, note_outputs_read
from .observed import NotExamined, Observed
from .provenance import defined
from .queries import equations

LOOPS = frozenset({"scan", "while"})
STEP_BY_STEP = OPENED - {"shard_map"}
"""Equations whose bodies are watched: counts cannot be carried out of shards, where taps call the host themselves."""


@dataclass(frozen=True)
class Found:
    """What is known of a function's rules.

    Attributes:
        rules: those it calls.
        not_examined: what could not be looked into.
        error: what ended the run early, where something did.
        whole: whether the function could be traced as one program.
    """

    rules: tuple[Observed, ...]
    not_examined: tuple[NotExamined, ...]
    error: Exception | None = None
    whole: bool = True


OBSERVERS: tuple[Callable[[], Observer], ...] = (
    Observer,
    functools.partial(Observer, each=True),
    functools.partial(Observer, each=True, kept=False),
)
"""Tried one after the other: from the one that sees most to the one that JAX allows most."""


def find(function: Callable, point: Inputs) -> Found:
    """Run `function` at `point` and watch its rules.

    It is traced as one program, and that is run. Where it cannot be traced so, it is run as it is.

    Raises:
        Exception: whatever ends `function`, where it is run as it is.
    """
    failed: Exception | None = None
    for whole, run in ((True, _as_one_program), (False, _as_it_is)):
        for make in OBSERVERS if whole else OBSERVERS[:2]:
            observer = make()
            try:
                error = run(function, point, observer)
            except Exception as raised:
                failed = raised
                continue
            finally:
                observer.end()
            return Found(*_what_was_found(observer, function, point), error, whole)
    assert failed is not None
    raise failed


def _as_one_program(function: Callable, point: Inputs, observer: Observer) -> Exception | None:
    with observer.watching():
        program = jax.make_jaxpr(point.call_all(function))(*point.arrays)
        if _holds_untapped_rule(program.jaxpr):
            program = jax.make_jaxpr(lambda *args, given=program: evaluate(given, args))(*point.arrays)
    program = without_dead_code(program)
    note_outputs_read(program.jaxpr)
    error = watch(program, point.arrays)
    if observer.kept:  # then what left no tap was called for its shapes alone
        standing = {id(eqn.params["call"].rule) for eqn in equations(program.jaxpr, (TAP,))}
        observer.rules = {key: rule for key, rule in observer.rules.items() if rule.calls or id(rule) in standing}
    return error


def _as_it_is(function: Callable, point: Inputs, observer: Observer) -> None:
    with observer.watching():
        jax.block_until_ready(jax.tree.leaves(function(*jax.tree.map(_copied, point.args))))
        jax.effects_barrier()


def _what_was_found(
    observer: Observer, function: Callable, point: Inputs
) -> tuple[tuple[Observed, ...], tuple[NotExamined, ...]]:
    for call in observer.calls:  # of a linear rule no tangent passes a tap
        if call.pulled and call.drawn:
            call.rule.differentiated, call.rule.undifferentiated = call.rule.calls, 0
    earlier = [
        NotExamined(name, place, "it was linearized before: what is left of its rules does not tell what they are")
        for name, place in linearized_earlier(function, point.args)
    ]
    return tuple(observer.rules.values()), (*observer.not_examined, *earlier)


def _holds_untapped_rule(jaxpr: Jaxpr) -> bool:
    """Whether a rule stands in a loop, say, that was traced before anybody watched: its call was not noticed."""
    tapped = {v for eqn in jaxpr.eqns if eqn.primitive.name == TAP for v in eqn.outvars}
    for eqn in jaxpr.eqns:
        is_rule = eqn.primitive.name in RULES or bound_rule(eqn.primitive, eqn.params) is not None
        is_rule = is_rule and not is_exported(defined(eqn)[1])
        if is_rule and eqn.invars and not any(v in tapped for v in eqn.invars if not isinstance(v, Literal)):
            return True
        if any(map(_holds_untapped_rule, inner_jaxprs(eqn))):
            return True
    return False


def _copied(x: Any) -> Any:
    if isinstance(x, jax.Array):
        return jnp.copy(x)
    return x if callable(x) else copy.deepcopy(x)


def watch(program: ClosedJaxpr, args: Sequence[Any]) -> Exception | None:
    """Run a program that has taps and give each call of a rule its values; returns the exception that ended the run.

    It is run once, and where a tap stands in a loop a second time: which call is the middle or the last one is known
    only then.
    """
    every = equations(program.jaxpr, (TAP,))
    if not every:
        return None
    watching, error = _Watching(_taps(program.jaxpr)), None
    calls = np.zeros(len(watching.taps), int)
    try:
        run = compiled(lambda args, wanted: watching.run(program, args, wanted), list(args), watching.first_calls())
        calls = np.asarray(run(list(args), watching.first_calls()))
        jax.effects_barrier()
        if any(n > 1 and looped for n, looped in zip(calls, watching.looped, strict=True)):
            for eqn in every:  # a tap that calls the host has counted already
                eqn.params["call"].ended = True
            run(list(args), np.stack([np.full_like(calls, -1), calls // 2, calls - 1], 1))
            jax.effects_barrier()
    except Exception as raised:
        error = raised
        _walk_to_the_break(program, args, watching)
    for eqn, n, tapped in zip(watching.taps, calls, watching.tapped, strict=True):
        call, axes = eqn.params["call"], eqn.params["axes"]
        call.count(max(int(n), len(tapped)), axes, eqn.params["differentiated"])
        for _, values in sorted(tapped.items()):
            call.keep(values, axes, eqn.params["differentiated"])
    return error


def _walk_to_the_break(program: ClosedJaxpr, args: Sequence[Any], watching: "_Watching") -> None:
    """Once more, step by step: a compiled program may raise before it comes to a tap that stands further up."""

    def hook(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        if id(eqn) not in watching.slots:
            return watching.elsewhere(walk, eqn, inputs)
        tapped = watching.tapped[watching.slots[id(eqn)]]
        tapped[len(tapped)] = [x if is_key(x) else np.array(x) for x in inputs]
        return inputs

    try:
        with jax.disable_jit():
            Walk(hook).run(program.jaxpr, program.consts, args)
    except Exception:
        return  # as was expected: what was seen on the way is kept


def _taps(jaxpr: Jaxpr, *, looped: bool = False) -> dict[int, tuple[JaxprEqn, bool]]:
    """The taps that are watched step by step, and whether each stands in a loop."""
    found = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == TAP:
            found[id(eqn)] = eqn, looped
        elif eqn.primitive.name in STEP_BY_STEP:
            for body in inner_jaxprs(eqn):
                found |= _taps(body, looped=looped or eqn.primitive.name in LOOPS)
    return found


class _Watching:
    """The hook that counts and taps. A traced program refers to its equations by identity: each has a slot."""

    def __init__(self, taps: dict[int, tuple[JaxprEqn, bool]]):
        self.taps, self.looped = [eqn for eqn, _ in taps.values()], [looped for _, looped in taps.values()]
        self.slots = {key: k for k, key in enumerate(taps)}
        self.tapped: list[dict[int, list[Any]]] = [{} for _ in taps]
        self.wanted: Any = None

    def first_calls(self) -> np.ndarray:
        """For each tap the call to look at first: the very first one."""
        return np.tile(np.array([0, -1, -1], np.int32), (len(self.taps), 1))

    def run(self, program: ClosedJaxpr, args: Sequence[Any], wanted: Any) -> Any:
        """How often each tap was passed; `wanted` (taps, 3) are the calls to look at."""
        self.wanted = wanted
        walk = Walk(self, state=jnp.zeros(len(self.taps), jnp.int32))
        outputs = walk.run(program.jaxpr, program.consts, args)
        # Whatever the outputs hold, the program runs to its end before the counts are handed out.
        return lax.optimization_barrier((walk.state, [x for x in outputs if not _is_key(x)]))[0]

    def __call__(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any] | None:
        if id(eqn) in self.slots:
            self.count(walk, self.slots[id(eqn)], inputs, None if eqn.params["axes"] else eqn.params["call"].places)
            return inputs
        return self.elsewhere(walk, eqn, inputs)

    def elsewhere(self, walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
        """Any other equation: what holds taps is opened."""
        goes_in = eqn.primitive.name in STEP_BY_STEP and any(equations(body, (TAP,)) for body in inner_jaxprs(eqn))
        return walk.inside(eqn, inputs) if goes_in else binding(eqn)(*inputs)

    def count(self, walk: Walk, slot: int, inputs: list[Any], places: Places | None) -> None:
        """The tap in that slot is passed once more, and looked at, at these places, where that is wanted."""
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
            lambda given: io_callback(keep, None, call, *(map(places.of, given) if places else given)),
            lambda given: None,
            data,
        )


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
