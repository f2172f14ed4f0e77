"""Every call of a rule that a program makes is noticed, also inside `grad`, `vjp`, `linearize`, `vmap(grad)`, `jvp`.

Differentiation uses a rule up: nothing of it is left in the program. So a rule is noticed where it is called. While a
function is traced, or run as it is, the arguments of each call pass through a tap: an identity that differentiation,
`vmap`, `jax.checkpoint` and loops leave where it is. It stands in the finished program and records its values.
The rule, its functions and its object are not touched. A mark on each output records whether a gradient arrives there.

Functions that were jitted before are traced again: JAX's caches depend on a context (`jax.make_user_context`) that has
another value each time. Nothing is cleared. What cannot be looked into is listed, with its name and place.
"""

import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .closures import fingerprint, holds_tracer, reachable, with_closed_over
from .compat import (
    MARK,
    OPAQUE,
    RULES,
    TAP,
    Jaxpr,
    LinearRule,
    MappedAxis,
    Primitive,
    RuleParts,
    Tracer,
    bound_rule,
    define_mark,
    define_tap,
    derivative_rules,
    inner_jaxprs,
    intercepted,
    is_custom_root,
    is_exported,
    linear_rule,
    manual_axes,
    name_of_opaque,
    program_of,
    rule_call,
    traceback_of,
    varying_axes,
    without_derivative,
)
from .elementwise import Places, sampled_places
from .inputs import is_key
from .observed import Bound, Call, NotExamined, Observed, Part, put_together
from .provenance import (
    Lines,
    callers,
    calling_lines,
    code_of,
    lines_of,
    name_of,
    of_a_library,
    of_jax,
    source_of,
    written_in,
)
from .queries import equations

_CONTEXT = jax.make_user_context(None)
_TURN = itertools.count(1)

_LINEAR_CALLS = tuple(map(code_of, (jax.custom_derivatives.linear_call, jax.lax.custom_linear_solve)))
"""The functions that people call; JAX itself binds the primitives once more."""


def _record(*values: Any, call: Call | Part, axes: tuple[MappedAxis, ...], differentiated: frozenset[int]) -> None:
    """Record the values at a tap outside of a program that is watched step by step."""
    if not call.ended:
        call.count(1, axes, differentiated)
        call.keep([x if is_key(x) else np.array(x) for x in values], axes, differentiated)


def _pulled(call: Call, output: int) -> None:
    call.pulled.add(output)


@functools.cache
def _primitives() -> tuple[Primitive, Primitive]:
    return define_tap(_record), define_mark(_pulled)


class Observer:
    """Notices calls of rules (a `compat.Watcher`), and what cannot be looked into.

    Attributes:
        rules: what was found, by a key that is different for each.
        not_examined: what cannot be looked into.
        kept: whether taps stay where nothing else of the call is needed, as where only its backward pass runs. Some
            parts of JAX do not allow that.
        each: whether each array of a call has a tap of its own. In what is linear, a tap of all would make the others
            unknown as well; of each call the first values are kept alone.
        calls: the places of calls.
        replaced: the keys of rules in whose place the plain function is called; where it is given, nothing is tapped.
    """

    def __init__(self, *, kept: bool = True, each: bool = False, replaced: Collection[Any] | None = None):
        self.rules: dict[Any, Observed] = {}
        self.replaced = replaced
        self.not_examined: dict[NotExamined, None] = {}
        self.kept, self.each = kept, each
        self.parts: list[list[Part]] = []
        self.calls: list[Call] = []
        self._tapped: dict[int, tuple[weakref.ref, Observed]] = {}
        self._entering: Any = None
        self._places: dict[Any, set[Any]] = {}
        self._codes: set[Any] = set()
        self._derivatives: dict[Any, set[Observed]] = {}
        self._foreign: dict[Primitive, list[Callable]] = {}
        self._linear_keys: set[Any] = set()
        self._inside_linear = False
        self._opaque: set[str] = set()
        self._traced_before: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it this thread's calls are noticed."""
        with _CONTEXT(next(_TURN)), intercepted(self):
            yield

    def end(self) -> None:
        """Close the records of all calls: a tapped program that was kept may still run afterwards."""
        for call in (*self.calls, *(part for parts in self.parts for part in parts)):
            call.ended = True
        for parts in self.parts:
            put_together(parts)

    # What JAX does meanwhile (see `compat.Watcher`).

    def called(self, rule: Any, parts: RuleParts, args: tuple, kwargs: dict[str, Any], proceed: Callable) -> Any:
        """A rule is called."""

        def make(*args: Any, **kwargs: Any) -> Any:
            before, self._entering = self._entering, parts.plain
            try:
                return rule_call(proceed, *args, **kwargs)
            finally:
                self._entering = before

        positional, place, running = _positional(parts.plain, args, kwargs), source_of(parts.plain), callers()
        if self._entering is parts.plain or positional is None or is_exported(place):
            return make(*args, **kwargs)
        if place in self._traced_before and any(code_of(f) in running.codes for f in parts.derivative):
            return make(*positional)  # the derivative of a rule that was noticed as an equation calls it
        held = {i: x for i, x in enumerate(positional) if i in parts.static}
        if is_custom_root(parts.plain):
            new = Observed("custom_root", "custom_root", running.place)
            observed = self._rule(("custom_root", running.place), new, None, parts.derivative)
        else:
            key = parts.kind, *map(fingerprint, (parts.plain, *parts.derivative, *held.values()))
            names = [name for i, name in enumerate(_argument_names(parts.plain)) if i not in held]
            new = Observed(parts.kind, *named(parts.plain), tuple(names), parts.own_remat)
            observed = self._rule(key, new, parts.plain, parts.derivative)
        if observed.key in (self.replaced or ()):
            return parts.plain(*positional)
        self._places.setdefault(place, set()).add(observed)

        def complete(dynamic: Sequence[Any]) -> list[Any]:
            coming = iter(dynamic)
            return [held[i] if i in held else next(coming) for i in range(len(positional))]

        def of_dynamic(function: Callable) -> Callable:
            return (lambda *dynamic: function(*complete(dynamic))) if held else function

        dynamic = tuple(x for i, x in enumerate(positional) if i not in held)
        closes_over = holds_tracer((parts.plain, parts.derivative, tuple(held.values())))
        call, tapped = self._tap(observed, (of_dynamic(rule), of_dynamic(parts.plain)), dynamic, closes_over)
        return self._marked(make(*complete(tapped)), call)

    def bound(self, primitive: Primitive, args: tuple, params: dict[str, Any], proceed: Callable) -> Any:
        """A primitive is bound."""
        if primitive.name == TAP:
            outputs = proceed(*args, **params)
            rule = params["call"].rule
            self._tapped |= {id(x): (weakref.ref(x), rule) for x in outputs if isinstance(x, Tracer)}
            return outputs
        if primitive.name in OPAQUE:
            self._note_opaque(primitive, params)
            return proceed(*args, **params)
        linear = linear_rule(primitive, params)
        if linear is not None and not of_jax(linear.place):
            return self._linear(linear, primitive, args, params, proceed)
        noticed = self._traced_rule(primitive, args, params) or self._foreign_rule(primitive, args, params)
        if noticed is None:
            return proceed(*args, **params)
        observed, functions = noticed
        if observed.key in (self.replaced or ()):
            with intercepted(None if observed.kind == "primitive" else self):  # it calls itself
                return functions[1](*args)
        call, tapped = self._tap(observed, functions, args)
        return self._marked(rule_call(proceed, *tapped, **params), call)

    def compiled_called(self, compiled: Any) -> None:
        """A compiled program is called."""
        self._note("compiled program", callers().place, "it was compiled before: only its machine code is left")

    # Rules that are primitives, with what each computes without its derivative.

    def _traced_rule(
        self, primitive: Primitive, args: tuple, params: dict[str, Any]
    ) -> tuple[Observed, tuple[Callable, Callable]] | None:
        """A hijax primitive, or a rule in a program that was traced before anybody watched."""
        rule = bound_rule(primitive, params)
        if rule is None or is_exported(rule.place):
            return None
        known = self._places.get(rule.place, set())
        # What was noticed as a call of Python's is bound then, and once more where a program holds its tap.
        traced_before = self._entering is None and (not known or rule.place in self._traced_before)
        self._entering = None
        if not (traced_before or rule.kind in ("hijax", "custom_root")) or self._is_tapped(args, known):
            return None
        place = rule.place or callers().place
        key = rule.kind, rule.key, place
        observed = self._rule(key, Observed(rule.kind, rule.name, place), rule.written, rule.derivative)
        self._traced_before.add(rule.place)
        self._places.setdefault(rule.place, set()).add(observed)
        return observed, (functools.partial(primitive.bind, **params), rule.plain)

    def _foreign_rule(
        self, primitive: Primitive, args: tuple, params: dict[str, Any]
    ) -> tuple[Observed, tuple[Callable, Callable]] | None:
        """A primitive of another package with rules of its own."""
        if primitive not in self._foreign:
            self._foreign[primitive] = derivative_rules(primitive)
        rules, known = self._foreign[primitive], self._places.get(primitive, set())
        if not rules or self._is_tapped(args, known):
            return None
        observed = self._rule(primitive, Observed("primitive", primitive.name, source_of(rules[0])), None, rules)
        self._places.setdefault(primitive, set()).add(observed)
        bind = functools.partial(primitive.bind, **params)
        computed = functools.partial(primitive.impl, **params)
        with intercepted(None):
            of_jax_only = program_of(primitive, params, map(jax.typeof, args)) is not None

        def several(function: Callable) -> Callable:
            return function if primitive.multiple_results else lambda *operands: [function(*operands)]

        return observed, (several(bind), several(computed) if of_jax_only else without_derivative(several(bind)))

    def _linear(self, rule: LinearRule, primitive: Primitive, args: tuple, params: Any, proceed: Callable) -> Any:
        """A linear function with a transpose of its own. What it is linear in may be a tangent: it is not tapped."""
        # Differentiated it is called with tangents, and transposed it is a linear call itself.
        again = self._inside_linear or not any(code in callers().codes for code in _LINEAR_CALLS)
        if rule.key in self._linear_keys and again:
            return proceed(*args, **params)
        self._linear_keys |= {rule.key, rule.transposed}
        new = Observed(primitive.name, rule.name or primitive.name, rule.place)
        observed = self._rule((primitive.name, rule.key), new)
        if observed.key in (self.replaced or ()):
            return rule.plain(*args)
        fixed, linear = args[: rule.fixed], args[rule.fixed :]

        def bound(values: Sequence[Any]) -> tuple[Callable, Callable]:
            return (lambda *x: primitive.bind(*values, *x, **params)), (lambda *x: rule.plain(*values, *x))

        call, fixed = self._tapped_call(observed, bound, fixed, (), tuple(map(jax.typeof, linear)))
        before, self._inside_linear = self._inside_linear, True
        try:
            outputs = rule_call(proceed, *fixed, *linear, **params)
        finally:
            self._inside_linear = before
        return self._marked(outputs, call)

    # Taps and marks.

    def _rule(self, key: Any, new: Observed, plain: Any = None, derivative: Sequence[Callable] = ()) -> Observed:
        """The entry of a rule: of one that was seen before, or a new one."""
        observed = self.rules.setdefault(key, new)
        observed.key = key
        observed.derivative |= {lines for lines in map(lines_of, derivative) if lines is not None}
        for code in map(code_of, derivative):
            self._derivatives.setdefault(code, set()).add(observed)
        self._codes |= {code_of(f) for f in (plain, *derivative) if f is not None}
        return observed

    def _tap(
        self, observed: Observed, functions: tuple[Callable, Callable], args: Sequence[Any], closes_over: bool = False
    ) -> tuple[Call | None, Sequence[Any]]:
        """A call of a rule, and its arguments tapped; as they are, and no call, where they cannot be."""
        strange = [x for x in jax.tree.leaves(tuple(args)) if not _is_array(x)]
        if self.replaced is not None:
            return None, args
        if strange:
            is_ref = hasattr(getattr(strange[0], "aval", None), "inner_aval")
            what = "mutable reference" if is_ref else type(strange[0]).__name__
            self._note(observed.name, observed.source, f"a rule that is given a {what}, which is no array")
            return None, args
        bound, closed = (lambda values: functions), ()
        if closes_over:
            try:
                with intercepted(None):
                    bound, closed = with_closed_over(*functions, tuple(args))
            except Exception as error:
                what = f"{type(error).__name__}: {error}".split("\n")[0][:120]
                self._note(observed.name, observed.source, f"a rule that closes over traced values; {what}")
                return None, args
        places = None if closes_over else _sampled_places(functions, tuple(args))
        return self._tapped_call(observed, bound, closed, tuple(args), places=places)

    def _tapped_call(
        self,
        observed: Observed,
        bound: Bound,
        closed: tuple,
        args: tuple,
        drawn: tuple[Any, ...] = (),
        places: Places | None = None,
    ) -> tuple[Call | None, Sequence[Any]]:
        """A call, and what is tapped: the arguments; or what the rule closes over, where the arguments are `drawn`."""
        if self.replaced is not None:
            return None, closed if drawn else args
        leaves, tree = jax.tree.flatten(args)
        ids, axes = [id(x) for x in leaves], manual_axes()
        call = Call(
            observed,
            bound,
            jax.tree.structure(drawn) if drawn else tree,
            len(closed),
            tied=tuple(ids.index(i) for i in ids),
            weak=tuple(jax.typeof(x).weak_type for x in leaves),
            inside=any(observed in self._derivatives.get(code, ()) for code in callers().codes),
            drawn=drawn,
            axes=axes,
            varying=tuple(map(varying_axes, leaves)) if axes else (),
            places=places,
        )
        self.calls.append(call)
        observed.called_from.add(rule_call(lambda: calling_lines(callers().lines)))
        # Where there is nothing to tap, a number is: the calls are counted all the same.
        tapped = self._through_taps((*closed, *leaves) or (np.int32(0),), call)
        if drawn:
            return call, tapped[: len(closed)]
        return call, jax.tree.unflatten(tree, tapped[len(closed) :] if leaves else [])

    def _through_taps(self, operands: Sequence[Any], call: Call) -> list[Any]:
        """The operands behind one tap, or behind one each."""
        tap = functools.partial(_primitives()[0].bind, axes=(), differentiated=frozenset(), kept=self.kept)
        if not self.each:
            return tap(*operands, call=call)
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(jax.typeof, operands)]
        self.parts.append([Part(call, k, shape) for k, shape in enumerate(shapes)])
        return [tap(x, call=part)[0] for x, part in zip(operands, self.parts[-1], strict=True)]

    def _marked(self, outputs: Any, call: Call | None) -> Any:
        """The outputs, each floating-point one with a mark that records whether a gradient arrives there."""
        if call is None:
            return outputs
        leaves, tree = jax.tree.flatten(outputs)
        call.outputs = 0
        for k, x in enumerate(leaves):
            if _is_array(x) and jnp.issubdtype(jnp.result_type(x), jnp.inexact):
                if isinstance(x, Tracer):
                    leaves[k] = _primitives()[1].bind(x, call=call, output=call.outputs)
                call.outputs += 1
        return jax.tree.unflatten(tree, leaves)

    def _is_tapped(self, args: Sequence[Any], rules: set[Any]) -> bool:
        """Whether the arguments come from a tap of these rules: a program that holds the tap is run or traced again."""
        found = (self._tapped.get(id(x)) for x in args)
        return any(f is not None and f[0]() is x and f[1] in rules for f, x in zip(found, args, strict=True))

    def _note(self, name: str, place: str, reason: str) -> None:
        self.not_examined[NotExamined(name, place, reason)] = None

    def _note_opaque(self, primitive: Primitive, params: dict[str, Any]) -> None:
        """A kernel or a callback; one that stands inside of a rule is judged together with the rule."""
        by = callers()
        name = name_of_opaque(primitive, params)
        known, inside = name in self._opaque, any(code in self._codes for code in by.codes)
        self._opaque.add(name)
        if (not inside or primitive.name == "call_exported") and not (by.traced_before and known):
            self._note(name, by.place, f"{OPAQUE[primitive.name]} outside of any rule")


class Noticing:
    """Only notices where derivatives are written (a `compat.Watcher`); nothing is tapped.

    A program that was traced before, noticed, is not traced again: what was noticed then is kept.
    """

    derivatives: ClassVar[set[Lines]] = set()
    """Where derivatives are written, other than JAX's own."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it this thread's calls are noticed."""
        with _CONTEXT("noticing"), intercepted(self):
            yield

    def differentiates(self, program: Jaxpr) -> bool:
        """Whether equations of a program are part of a rule's derivative."""
        for eqn in program.eqns:
            if eqn.primitive.name in RULES or bound_rule(eqn.primitive, eqn.params) is not None:
                continue  # a rule that is called, and not differentiated
            if written_in(eqn, self.derivatives) or calling_lines(traceback_of(eqn)):
                return True
            if any(map(self.differentiates, inner_jaxprs(eqn))):
                return True
        return False

    # What JAX does meanwhile (see `compat.Watcher`).

    def called(self, rule: Any, parts: RuleParts, args: tuple, kwargs: dict[str, Any], proceed: Callable) -> Any:
        """A rule is called."""
        return self._noticed(parts.derivative, proceed, args, kwargs)

    def bound(self, primitive: Primitive, args: tuple, params: dict[str, Any], proceed: Callable) -> Any:
        """A primitive is bound."""
        rule = bound_rule(primitive, params)
        derivative = rule.derivative if rule is not None else derivative_rules(primitive)
        return self._noticed(derivative, proceed, args, params) if derivative else proceed(*args, **params)

    def compiled_called(self, compiled: Any) -> None:
        """A compiled program is called."""

    def _noticed(self, derivative: Sequence[Callable], proceed: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        own = {lines for lines in map(lines_of, derivative) if lines is not None and not of_jax(lines.file)}
        self.derivatives.update(own)
        return rule_call(proceed, *args, **kwargs) if own else proceed(*args, **kwargs)


def note_outputs_read(program: Jaxpr) -> None:
    """Of each call in a program without dead code note the outputs that something reads."""
    for eqn in equations(program, (MARK,)):
        eqn.params["call"].read.add(eqn.params["output"])


def named(function: Callable) -> tuple[str, str]:
    """The name and place of a function; where a library only wraps somebody's function, of that one."""
    if of_a_library(source_of(function)):
        inside = (f for f in reachable([function], 4) if inspect.isfunction(f))
        function = next((f for f in inside if not of_a_library(f.__code__.co_filename)), function)
    return name_of(function), source_of(function)


def _sampled_places(functions: tuple[Callable, Callable], args: tuple) -> Places | None:
    """Where an elementwise rule that is given very many numbers is judged."""
    leaves, tree = jax.tree.flatten(args)

    def flat(function: Callable) -> Callable:
        return lambda *given: function(*tree.unflatten(given))

    handwritten, plain = functions
    with intercepted(None):
        return sampled_places(flat(handwritten), flat(plain), [jax.typeof(x) for x in leaves])


def _positional(plain: Callable, args: tuple, kwargs: dict[str, Any]) -> tuple | None:
    """All arguments by position, defaults included where keywords are given; None where they do not fit."""
    if not kwargs:
        return args
    try:
        bound = inspect.signature(plain).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    return bound.args if not bound.kwargs else None


def _argument_names(function: Callable) -> list[str]:
    """Nothing where they have no names of their own."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [] if any(p.kind is p.VAR_POSITIONAL for p in parameters) else [p.name for p in parameters]


def _is_array(x: Any) -> bool:
    if isinstance(x, jax.Array):
        return not hasattr(getattr(x, "aval", None), "inner_aval")
    return isinstance(x, np.ndarray | np.generic | float | int | complex)
