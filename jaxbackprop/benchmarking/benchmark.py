"""benchmark(): a function beside autodiff and other rivals; bench_rules(): the library's rules at three sizes."""

import difflib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from ..core.example_inputs import large
from ..core.rule import Rule, rules
from ..derivation import Derivation
from ..jaxprs.compat import plain_function_of
from .results import AUTODIFF, BY_HAND, Benchmark, Row
from .timing import interleaved, ratio, spread
from .workload import Contender, Workload, temporary_bytes

POLICIES = ("nothing_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable")
"""What `jax.checkpoint` is tried with; saving everything is plain autodiff."""

Function = Callable[..., Any]


def benchmark(
    fun: Function | Derivation,
    *args: Any,
    against: Mapping[str, Function] | Sequence[Function] | Function = (),
    reference: Function | None = None,
    sizes: Mapping[str, tuple] | None = None,
    seconds: float = 3.0,
    rounds: int | None = None,
    oracle: bool = True,
) -> Benchmark:
    """Time, memory and accuracy of a hand-derived backward pass, beside autodiff of the same function.

    Each contender is one compiled program, forward and backward pass with an upstream gradient drawn at random.
    They run interleaved, outputs awaited, and are compared round by round; a difference in time counts only where the
    ratio's 95 % interval excludes 1 and it exceeds what two copies of the same program show. Memory is read from the
    compiled program, exactly.

    Measured are `fun`; autodiff of its plain function; autodiff under `jax.checkpoint`, the fastest and the leanest of
    three policies; autodiff that adds up gradients in references (`jax.vjp(...).with_refs`, where JAX has it);
    and `against`.

    Args:
        fun: a Rule, a `jax.custom_vjp`, or any function with `reference=`. Bind settings with `functools.partial`.
            A Derivation stands for its rule, and where nothing else is given for its arguments and plain function.
        *args: its arguments: arrays and floats are traced, other Python values are static.
        against: further functions to measure, by name, a sequence of them, or one.
        reference: the plain function to which autodiff is applied; the rule's primal, a `custom_vjp`'s wrapped
            function where nothing is given.
        sizes: arguments by the name of their size, instead of `args`: one table for each, and the plot is over them.
        seconds: about how long to measure each size, compilation not counted.
        rounds: how many rounds instead.
        oracle: whether to compute float64 values for the columns of errors (they need the most memory of all).

    Returns:
        A Benchmark; `.time_ratio` and `.memory_ratio` below 1 say that the hand-derived pass is better.

    Raises:
        TypeError: no plain function is known, and none was given.
        ValueError: no argument is floating-point, a contender returns other shapes, or `seconds` is not positive.
    """
    if isinstance(fun, Derivation):
        fun, args, reference = fun.rule, args or fun.args, reference or fun.function
    if not seconds > 0:
        raise ValueError(f"benchmark: seconds must be above 0, not {seconds}.")
    plain = reference or plain_function(fun)
    cases = sizes or {"": args}
    rows: list[Row] = []
    descriptions: dict[str, str] = {}
    for size, arguments in cases.items():
        workload = Workload(fun, arguments)
        size = size or "as given"
        descriptions[size] = workload.description
        contenders = [
            Contender(BY_HAND, fun),
            Contender(AUTODIFF, plain),
            *(Contender(f"{AUTODIFF}, {p}", _checkpointed(plain, p), checkpoint=True) for p in POLICIES),
            Contender(f"{AUTODIFF} into refs", plain, into_refs=True),
            *(Contender(name, function) for name, function in _named(against).items()),
        ]
        rows += _measure(workload, contenders, plain if oracle else None, size, seconds, rounds)
    return Benchmark(_name(fun), tuple(rows), descriptions, setting())


def setting() -> dict[str, str]:
    """The versions and the device that figures belong to."""
    return {"JAX": jax.__version__, "Python": platform.python_version(), "device": jax.devices()[0].device_kind}


def plain_function(fun: Function) -> Function:
    """The function that autodiff differentiates: a rule's primal, or what a `jax.custom_vjp` was made of.

    Raises:
        TypeError: `fun` is neither.
    """
    if isinstance(fun, partial):
        return partial(plain_function(fun.func), *fun.args, **fun.keywords)
    if isinstance(fun, Rule):
        return fun.primal
    plain = plain_function_of(fun)
    if plain is not None:
        return plain
    raise TypeError(
        f"benchmark: {_name(fun)} is neither a Rule nor a jax.custom_vjp, so its plain function is not known.\n"
        f"  Give it: benchmark({_name(fun)}, ..., reference=plain_function)."
    )


def _checkpointed(plain: Function, policy: str) -> Function:
    return lambda *args: jax.checkpoint(plain, policy=getattr(jax.checkpoint_policies, policy))(*args)


def _named(against: Mapping[str, Function] | Sequence[Function] | Function) -> dict[str, Function]:
    if isinstance(against, Mapping):
        return dict(against)
    return {_name(f): f for f in ([against] if callable(against) else against)}


def _name(fun: Any) -> str:
    return _name(fun.func) if isinstance(fun, partial) else getattr(fun, "__name__", type(fun).__name__)


def _measure(
    workload: Workload,
    contenders: list[Contender],
    plain: Function | None,
    size: str,
    seconds: float,
    rounds: int | None,
) -> list[Row]:
    """One row a contender; one that does not compile has a note instead of figures."""
    compiled: dict[str, Any] = {}
    rows = {c.name: Row(c.name, size) for c in contenders}
    expected = None if plain is None else workload.oracle(plain)
    for c in contenders:
        try:
            compiled[c.name] = workload.compile(c)
            row = replace(rows[c.name], temporary_bytes=temporary_bytes(compiled[c.name]))
            rows[c.name] = replace(row, residual_bytes=workload.residual_bytes(c))
        except Exception as error:
            if c.name in (BY_HAND, AUTODIFF) or (isinstance(error, ValueError) and "benchmark:" in str(error)):
                raise
            rows[c.name] = replace(rows[c.name], note=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    running = [c for c in contenders if c.name in compiled]
    programs = [partial(compiled[c.name], *workload.inputs) for c in running]
    times = interleaved([*programs, programs[0]], seconds=seconds, rounds=rounds)
    for i, c in enumerate(running):
        rows[c.name] = _with_time(rows[c.name], rows[BY_HAND], times[:, i], times[:, 0], times[:, -1])
        if expected is not None:
            error, ulps = workload.error(compiled[c.name], expected[0]), workload.ulps(compiled[c.name], expected[1])
            rows[c.name] = replace(rows[c.name], error=error, ulps=ulps)
    return _with_accuracy_notes(_best_checkpoint([rows[c.name] for c in contenders], contenders))


def _with_time(row: Row, hand: Row, times: np.ndarray, by_hand: np.ndarray, repeat: np.ndarray) -> Row:
    row = replace(row, seconds=float(np.median(times)), spread=spread(times))
    if row.name == BY_HAND:
        return row
    r = ratio(by_hand, times, repeat)
    memory = _memory_ratio(hand.temporary_bytes or 0, row.temporary_bytes or 0)
    return replace(
        row, time_ratio=r.median, time_interval=(r.low, r.high), within_noise=r.within_noise, memory_ratio=memory
    )


def _memory_ratio(by_hand: int, other: int) -> float:
    if other:
        return by_hand / other
    return float("inf") if by_hand else 1.0


def _best_checkpoint(rows: list[Row], contenders: list[Contender]) -> list[Row]:
    """The rows with only the fastest and the leanest of the checkpoint policies."""
    tried = [r for r, c in zip(rows, contenders, strict=True) if c.checkpoint and r.seconds is not None]
    if not tried:
        return [r for r, c in zip(rows, contenders, strict=True) if not c.checkpoint]
    best = {min(tried, key=lambda r: r.seconds or 0).name, min(tried, key=lambda r: r.temporary_bytes or 0).name}
    return [r for r, c in zip(rows, contenders, strict=True) if not c.checkpoint or r.name in best]


def _with_accuracy_notes(rows: list[Row]) -> list[Row]:
    """A note beside every error that rounding does not explain."""
    plain = next(r for r in rows if r.name == AUTODIFF)
    if plain.error is None:
        return rows
    allowed = 100 * max(plain.error, 1e-7)
    note = "its numbers are not those of the plain function: see jbp.verify"
    return [replace(r, note=note) if r.error is not None and not r.error <= allowed else r for r in rows]


def bench_rules(names: Sequence[str] | None = None, *, quick: bool = False) -> Iterator[Benchmark]:
    """`benchmark` for the rules named, all of the library where none is, each at up to three sizes drawn for it.

    Args:
        names: rules of the library.
        quick: the smallest size only, and few rounds.

    Raises:
        ValueError: no such rule; the message names similar ones.
    """
    known = rules()
    for name in names or ():
        if name not in known:
            similar = difflib.get_close_matches(name, known, 3) or sorted(known)
            raise ValueError(f"bench: no rule {name!r}; there is {', '.join(similar)}.")
    return (_bench(known[name], quick) for name in (names or known))


SIZES = ((16, 64), (64, 256), (256, 1024))
"""Sizes (of an axis, of the batch) that a rule is measured at."""
MAX_BYTES, MAX_SECONDS = 64 * 2**20, 0.04
"""Bytes of arguments in float64 that are not exceeded, and seconds a pass after which no larger size is tried."""


def _bench(rule: Rule, quick: bool) -> Benchmark:
    result: Benchmark | None = None
    bytes_before, bytes_now = 0, 0
    for size, batch in SIZES[: 1 if quick else None]:
        if bytes_before and bytes_now * bytes_now / bytes_before > MAX_BYTES:
            break  # the next step would multiply them as the last did
        example = large(rule, size=size, batch=batch)
        bytes_before, bytes_now = bytes_now, sum(getattr(x, "nbytes", 0) for x in jax.tree.leaves(example.args))
        sizes = {f"{batch} x {size}": example.cast(np.float32)}
        new = benchmark(partial(rule, **example.settings), sizes=sizes, seconds=0.3 if quick else 1.5)
        result = new if result is None else replace(new, rows=result.rows + new.rows, sizes=result.sizes | new.sizes)
        if (new.row(BY_HAND).seconds or 0) > MAX_SECONDS:
            break
    assert result is not None
    return result
