"""JAX's arithmetic on `Numbers`: `(field, equation, *inputs)` -> the result or results.

What chooses (max, sort, abs) chooses by the floats, as the program does.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...compat import JaxprEqn, binding, dtype_of
from .field import Field, Numbers, joined, stacked
from .moves import landing, windows


class Refused(NotImplementedError):
    """A primitive, or a use of one, that is not implemented over finite fields; its name is the message."""


def _unary(name: str) -> Callable[..., Numbers]:
    return lambda field, eqn, x: getattr(field, name)(x)


def _binary(name: str) -> Callable[..., Numbers]:
    return lambda field, eqn, x, y: getattr(field, name)(_numbers(field, x), _numbers(field, y))


def _numbers(field: Field, x: Any) -> Numbers:
    return x if isinstance(x, Numbers) else field.constant(np.asarray(x).astype(np.float64))


# Functions made of exponentials. The floats are those of the function itself, which does not overflow where they do.


def _of_exponentials(
    floats: Callable[[Any], Any], formula: Callable[[Field, Numbers], Numbers]
) -> Callable[..., Numbers]:
    def evaluate(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
        return replace(formula(field, x), value=np.asarray(floats(x.value)))

    return evaluate


def _logistic(field: Field, x: Numbers) -> Numbers:
    return field.reciprocal(field.add(field.constant_fraction(1), field.exp(field.neg(x))))


def _tanh(field: Field, x: Numbers) -> Numbers:
    e, one = field.exp(field.times(x, 2)), field.constant_fraction(1)
    return field.div(field.sub(e, one), field.add(e, one))


def _hyperbolic(sign: int) -> Callable[[Field, Numbers], Numbers]:
    def evaluate(field: Field, x: Numbers) -> Numbers:
        e = field.exp(x)
        back = field.reciprocal(e)
        return field.times(field.add(e, back) if sign > 0 else field.sub(e, back), Fraction(1, 2))

    return evaluate


def _inverse_hyperbolic(sign: int) -> Callable[[Field, Numbers], Numbers]:
    """asinh, acosh: log(x + sqrt(x^2 +- 1))."""

    def evaluate(field: Field, x: Numbers) -> Numbers:
        return field.log(field.add(x, field.sqrt(field.add(field.mul(x, x), field.constant_fraction(sign)))))

    return evaluate


def _atanh(field: Field, x: Numbers) -> Numbers:
    one = field.constant_fraction(1)
    return field.times(field.log(field.div(field.add(one, x), field.sub(one, x))), Fraction(1, 2))


def _exp2(field: Field, x: Numbers) -> Numbers:
    return field.exp(field.mul(x, field.log(field.constant_fraction(2))))


# Atoms: functions of which some identities are known, and otherwise their name.


def _floats(eqn: JaxprEqn, *xs: Numbers) -> np.ndarray:
    """What JAX answers for the floats."""
    return np.asarray(binding(eqn)(*(jnp.asarray(x.value) for x in xs))[0], np.float64)


def _absolute(field: Field, x: Numbers) -> tuple[Numbers, np.ndarray]:
    """|x|, and where x is negative."""
    negative = x.value < 0
    return _chosen(negative, x, field.neg(x)), negative


def _chosen(which: np.ndarray, no: Numbers, yes: Numbers) -> Numbers:
    """Where `which` holds the one, elsewhere the other."""
    both = joined([no, yes])
    return both.at(np.arange(no.value.size).reshape(no.shape) + no.value.size * which)


def _atom(symmetry: str = "", unsure: bool = True) -> Callable[..., Numbers]:
    def evaluate(field: Field, eqn: JaxprEqn, *xs: Numbers) -> Numbers:
        name = "".join(
            [eqn.primitive.name, *(f" {k}={v}" for k, v in sorted(eqn.params.items()) if k in ("n", "order"))]
        )
        xs = tuple(_numbers(field, x) for x in xs)
        value = _floats(eqn, *xs)
        if not symmetry:
            return field.atom(name, value, *xs, unsure=unsure)
        (x,) = xs
        size, negative = _absolute(field, x)
        made = field.atom(name, np.where(negative & (symmetry == "odd"), -value, value), size, unsure=unsure)
        if symmetry == "odd":
            made = _zero_where(_chosen(negative, made, field.neg(made)), (x.r == 0).all(0))
        return replace(made, value=value)

    return evaluate


def _zero_where(x: Numbers, where: np.ndarray) -> Numbers:
    s = None if x.s is None else np.where(where, np.uint64(0), x.s)
    return replace(x, r=np.where(where, np.uint64(0), x.r), s=s, odd=None if x.odd is None else x.odd & ~where)


def _complement(name: str) -> Callable[..., Numbers]:
    """1 - f, as erfc is of erf."""

    def evaluate(field: Field, eqn: JaxprEqn, *xs: Numbers) -> Numbers:
        value = _floats(eqn, *xs)
        size, negative = _absolute(field, xs[-1]) if len(xs) == 1 else (xs[-1], np.zeros(xs[-1].shape, bool))
        made = field.atom(name, 1 - value, *xs[:-1], size, unsure=len(xs) > 1)
        if len(xs) == 1:
            made = _zero_where(_chosen(negative, made, field.neg(made)), (xs[0].r == 0).all(0))
        return replace(field.sub(field.constant_fraction(1), made), value=value)

    return evaluate


def _circle(field: Field, x: Numbers) -> tuple[Numbers, Numbers]:
    """sin and cos, as (2t, 1 - t^2) / (1 + t^2) of an unknown t = tan(x / 2): their squares add up to one."""
    size, negative = _absolute(field, x)
    t = _zero_where(field.atom("sin", np.tan(size.value / 2), size), (x.r == 0).all(0))
    one, square = field.constant_fraction(1), field.mul(t, t)
    below = field.reciprocal(field.add(one, square))
    sine, cosine = field.mul(field.times(t, 2), below), field.mul(field.sub(one, square), below)
    sine = _chosen(negative, sine, field.neg(sine))
    return replace(sine, value=np.sin(x.value)), replace(cosine, value=np.cos(x.value))


def _tan(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
    return field.div(*_circle(field, x))


MOST_RECURRENCES = 40


def _gamma_like(logarithm: bool) -> Callable[..., Numbers]:
    """lgamma and digamma, brought between 1 and 2 by f(x + 1) = f(x) + log x, or + 1 / x."""

    def evaluate(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
        value, steps = _floats(eqn, x), np.floor(x.value) - 1
        name = eqn.primitive.name
        if (
            not np.isfinite(steps).all()
            or np.abs(steps).max(initial=0) > MOST_RECURRENCES
            or (logarithm and (x.value <= 0).any())
        ):
            return field.atom(name, value, x)
        least, most = int(steps.min(initial=0)), int(steps.max(initial=0))
        base = field.sub(x, field.constant(steps))
        made = replace(field.atom(name, value, base), value=value)
        for k in range(least, most):  # x = base + steps: the terms base, ..., x - 1, or minus x, ..., base - 1
            above = (k >= 0) & (steps > k)
            below = (k < 0) & (steps <= k)
            if not (above | below).any():
                continue
            term = field.add(base, field.constant(np.full(x.shape, float(k))))
            term = _chosen(~(above | below), term, field.constant(np.ones(x.shape)))
            more = field.log(term) if logarithm else field.reciprocal(term)
            more = _chosen(below, more, field.neg(more))
            nothing = field.constant(np.zeros(x.shape))
            made = field.add(made, _chosen(above | below, nothing, more))
        return replace(made, value=value)

    return evaluate


def _power(field: Field, eqn: JaxprEqn, x: Any, y: Any) -> Numbers:
    return field.general_power(_numbers(field, x), _numbers(field, y))


# Choices.


def _larger(sign: int) -> Callable[..., Numbers]:
    def choose(field: Field, eqn: JaxprEqn, x: Numbers, y: Numbers) -> Numbers:
        x, y = field.aligned(_numbers(field, x), _numbers(field, y))
        x, y = _same_shape(x, y)
        second = (sign * y.value > sign * x.value) | np.isnan(y.value)
        field.decide("max" if sign > 0 else "min", id(eqn), second, x, y)
        return _chosen(second, x, y)

    return choose


def _same_shape(*xs: Numbers) -> list[Numbers]:
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    return [x.at(np.broadcast_to(np.arange(x.value.size).reshape(x.shape), shape)) for x in xs]


def _clamp(field: Field, eqn: JaxprEqn, low: Numbers, x: Numbers, high: Numbers) -> Numbers:
    return _larger(-1)(field, eqn, _larger(1)(field, eqn, x, low), high)


def _compared(function: Any, chooses: bool = True) -> Callable[..., np.ndarray]:
    def compare(field: Field, eqn: JaxprEqn, x: Any, y: Any) -> np.ndarray:
        x, y = field.aligned(_numbers(field, x), _numbers(field, y))
        which = np.asarray(function(x.value, y.value))
        return field.decide(eqn.primitive.name, id(eqn) if chooses else 0, which, x, y)

    return compare


def _zero(field: Field) -> Numbers:
    return field.constant_fraction(0)


def _abs(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
    size, negative = _absolute(field, x)
    field.decide("abs", id(eqn), negative, x, _zero(field))
    return size


def _sign(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
    field.decide("sign", id(eqn), x.value < 0, x, _zero(field))
    return field.constant(np.sign(x.value))


def _step(function: Any, name: str) -> Callable[..., Numbers]:
    """A function that is constant between its steps, at which it is a tie."""

    def evaluate(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
        made = field.constant(function(eqn, x.value))
        field.tie(name, x.on, x.value == made.value if name != "round" else np.abs(x.value - np.trunc(x.value)) == 0.5)
        return made

    return evaluate


def _round(eqn: JaxprEqn, x: np.ndarray) -> np.ndarray:
    return np.rint(x) if int(eqn.params["rounding_method"]) == 1 else np.sign(x) * np.floor(np.abs(x) + 0.5)


def _remainder(field: Field, eqn: JaxprEqn, x: Any, y: Any) -> Numbers:
    x, y = field.aligned(_numbers(field, x), _numbers(field, y))
    whole = field.constant(np.trunc(x.value / y.value))
    return replace(field.sub(x, field.mul(y, whole)), value=np.fmod(x.value, y.value))


def _converted(field: Field, eqn: JaxprEqn, x: Any) -> Any:
    dtype = np.dtype(dtype_of(eqn.outvars[0]))
    if jnp.issubdtype(dtype, jnp.floating):
        return x
    if dtype == np.bool_:
        return field.decide("convert", 0, x.value != 0, x, _zero(field))
    limits = np.iinfo(dtype)
    whole = np.trunc(np.nan_to_num(x.value, nan=0.0))
    field.tie("convert", x.on, whole == x.value)
    infinite = np.where(x.value > 0, limits.max, limits.min)
    return np.array(
        [min(max(int(v), limits.min), limits.max) if np.isfinite(v) else n for v, n in zip(whole.flat, infinite.flat)],
        dtype,
    ).reshape(x.shape)


# Along axes.


def _rows(x: Numbers, axes: Sequence[int]) -> Numbers:
    """The axes that stay in front, the others as one behind."""
    stay = [d for d in range(x.ndim) if d not in axes]
    positions = np.arange(x.value.size).reshape(x.shape)
    return x.at(np.transpose(positions, [*stay, *axes]).reshape([*(x.shape[d] for d in stay), _count(x, axes)]))


def _count(x: Numbers, axes: Sequence[int]) -> int:
    return int(np.prod([x.shape[d] for d in axes]))


def _picked(rows: Numbers, which: np.ndarray) -> Numbers:
    """One of each row."""
    n = rows.shape[-1]
    return rows.at(np.arange(which.size).reshape(which.shape) * n + which)


def _first_largest(field: Field, rows: Numbers, sign: int, name: str) -> np.ndarray:
    which = np.asarray(np.argmax(sign * rows.value, -1))
    best = _picked(rows, which)
    best = best.reshape(*best.shape, 1)
    tied = (rows.value == best.value) & (rows.r != best.r).any(0)
    field.tie(name, rows.on, tied)
    field.decide(name, 0, np.arange(rows.shape[-1]) == which[..., None], rows, field.constant(np.full((), np.nan)))
    return which


def _largest(sign: int) -> Callable[..., Numbers]:
    def reduced(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
        rows = _rows(x, eqn.params["axes"])
        if not rows.shape[-1]:
            return field.constant(np.full(rows.shape[:-1], -sign * np.inf))
        return _picked(rows, _first_largest(field, rows, sign, eqn.primitive.name))

    return reduced


def _place_of(sign: int) -> Callable[..., np.ndarray]:
    def place(field: Field, eqn: JaxprEqn, x: Numbers) -> np.ndarray:
        which = _first_largest(field, _rows(x, eqn.params["axes"]), sign, eqn.primitive.name)
        return which.astype(dtype_of(eqn.outvars[0]))

    return place


def _multiplied(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
    rows = _rows(x, eqn.params["axes"])
    return _product(field, rows)


def _product(field: Field, rows: Numbers) -> Numbers:
    parts = [_column(rows, i) for i in range(rows.shape[-1])]
    return reduce(field.mul, parts) if parts else field.constant(np.ones(rows.shape[:-1]))


def _column(rows: Numbers, i: int) -> Numbers:
    return rows.at(np.arange(rows.value.size).reshape(rows.shape)[..., i])


def _running(step: Callable[[Field, JaxprEqn, Numbers, Numbers], Numbers]) -> Callable[..., Numbers]:
    def run(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
        d = eqn.params["axis"]
        positions = np.moveaxis(np.arange(x.value.size).reshape(x.shape), d, 0)
        order = positions[::-1] if eqn.params["reverse"] else positions
        if not x.shape[d]:
            return x
        parts = [x.at(order[0])]
        for i in range(1, x.shape[d]):
            parts.append(step(field, eqn, parts[-1], x.at(order[i])))
        made = stacked(parts[::-1] if eqn.params["reverse"] else parts)
        return made.at(np.moveaxis(np.arange(made.value.size).reshape(made.shape), 0, d))

    return run


def _sorted(field: Field, eqn: JaxprEqn, *operands: Any) -> list[Any]:
    d, keys = eqn.params["dimension"], eqn.params["num_keys"]
    values = [x.value if isinstance(x, Numbers) else x for x in operands]
    order = np.lexsort([v for v in reversed(values[:keys])], axis=d)
    _tied_in_order(field, eqn, operands[0], order, d)
    return [_taken(x, order, d) for x in operands]


def _taken(x: Any, order: np.ndarray, d: int) -> Any:
    if isinstance(x, Numbers):
        return x.at(np.take_along_axis(np.arange(x.value.size).reshape(x.shape), order, d))
    return np.take_along_axis(x, order, d)


def _tied_in_order(field: Field, eqn: JaxprEqn, x: Any, order: np.ndarray, d: int) -> None:
    if not isinstance(x, Numbers) or x.shape[d] < 2:
        return
    after = _taken(x, order, d)
    positions = np.arange(after.value.size).reshape(after.shape)
    n = after.shape[d]
    one, two = (after.at(np.take(positions, range(a, b), d)) for a, b in ((0, n - 1), (1, n)))
    field.decide(eqn.primitive.name, 0, np.take(order, range(n - 1), d) % 2 == 0, one, two)


def _top_k(field: Field, eqn: JaxprEqn, x: Numbers) -> list[Any]:
    k, axis = eqn.params["k"], eqn.params.get("axis", x.ndim - 1) % x.ndim
    order = np.argsort(-x.value, axis, kind="stable")
    _tied_in_order(field, eqn, x, order, axis)
    order = np.take(order, range(k), axis)
    return [_taken(x, order, axis), order.astype(dtype_of(eqn.outvars[1]))]


# Products and sums of several.


def _dot(field: Field, eqn: JaxprEqn, x: Any, y: Any) -> Numbers:
    x, y = _numbers(field, x), _numbers(field, y)
    (cx, cy), (bx, by) = eqn.params["dimension_numbers"]
    fx = [d for d in range(x.ndim) if d not in {*cx, *bx}]
    fy = [d for d in range(y.ndim) if d not in {*cy, *by}]
    shape = [*(x.shape[d] for d in (*bx, *fx)), *(y.shape[d] for d in fy)]
    sizes = [_count(x, bx), _count(x, fx), _count(x, cx), _count(y, fy)]
    b, m, n, o = sizes
    left = _transposed(x, [*bx, *fx, *cx]).reshape(b, m, n)
    right = _transposed(y, [*by, *cy, *fy]).reshape(b, n, o)
    return field.matmul(left, right).reshape(*shape)


def _transposed(x: Numbers, order: Any) -> Numbers:
    return x.at(np.transpose(np.arange(x.value.size).reshape(x.shape), order))


def _with_fill(field: Field, x: Numbers, value: float) -> Numbers:
    """The numbers in one row, and behind them one more, which position -1 fetches."""
    return joined([x, field.constant(np.array(value))])


def _window_positions(eqn: JaxprEqn, shape: Sequence[int]) -> np.ndarray:
    p = eqn.params
    ones = [1] * len(shape)
    dilation, apart = p.get("base_dilation") or ones, p.get("window_dilation") or ones
    places = windows(shape, p["window_dimensions"], p["window_strides"], p["padding"], dilation, apart)
    return places.reshape(*places.shape[: len(shape)], -1)


def _window_sum(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
    places = _window_positions(eqn, x.shape)
    return field.sum(_with_fill(field, x, 0.0).at(places), (places.ndim - 1,))


def _window_largest(sign: int) -> Callable[..., Numbers]:
    def reduced(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
        rows = _with_fill(field, x, -sign * np.inf).at(_window_positions(eqn, x.shape))
        return _picked(rows, _first_largest(field, rows, sign, eqn.primitive.name))

    return reduced


def _select_and_scatter_add(field: Field, eqn: JaxprEqn, source: Numbers, operand: Numbers) -> Numbers:
    sign = 1 if "ge" in str(eqn.params["select_prim"]) else -1
    places = _window_positions(eqn, operand.shape)
    rows = _with_fill(field, operand, -sign * np.inf).at(places)
    which = _first_largest(field, rows, sign, eqn.primitive.name)
    landing_at = np.take_along_axis(places, which[..., None], -1)[..., 0]
    return _added(field, field.constant(np.zeros(operand.shape)), landing_at, source)


def _select_and_gather_add(field: Field, eqn: JaxprEqn, tangents: Numbers, operand: Numbers) -> Numbers:
    sign = 1 if "ge" in str(eqn.params["select_prim"]) else -1
    places = _window_positions(eqn, operand.shape)
    rows = _with_fill(field, operand, -sign * np.inf).at(places)
    which = _first_largest(field, rows, sign, eqn.primitive.name)
    return _with_fill(field, tangents, 0.0).at(np.take_along_axis(places, which[..., None], -1)[..., 0])


def _accumulated(field: Field, x: Numbers, places: np.ndarray, updates: Numbers,
                 function: Callable[[Numbers, Numbers], Numbers]) -> Numbers:  # fmt: skip
    """Updates put together with the numbers where they land: first those that are the first to land in their place."""
    lands = np.flatnonzero(places.reshape(-1) >= 0)
    places = places.reshape(-1)[lands]
    updates, shape, flat = updates.reshape(-1).at(lands), x.shape, x.reshape(-1)
    order = np.argsort(places, kind="stable")
    while order.size:
        first = np.flatnonzero(np.diff(places[order], prepend=-1))
        now, order = order[first], np.delete(order, first)
        made = function(flat.at(places[now]), updates.at(now))
        both = joined([flat, made])
        positions = np.arange(flat.value.size)
        positions[places[now]] = flat.value.size + np.arange(now.size)
        flat = both.at(positions)
    return flat.reshape(*shape)


def _added(field: Field, x: Numbers, places: np.ndarray, updates: Numbers) -> Numbers:
    """The same for sums, at once."""
    places = places.reshape(-1)
    lands = np.flatnonzero(places >= 0)
    places, updates, flat = places[lands], updates.reshape(-1).at(lands).signless, x.reshape(-1).signless

    def summed(a: np.ndarray, b: np.ndarray, ufunc: Any = np.add) -> np.ndarray:
        made = np.array(a)
        ufunc.at(made, places, b)
        return made

    r = field.p.of(np.stack([summed(a, b) for a, b in zip(flat.r, updates.r, strict=True)]))
    s = None
    if flat.s is not None and updates.s is not None:
        s = field.q.of(np.stack([summed(a, b) for a, b in zip(flat.s, updates.s, strict=True)]))
    on = summed(flat.on, updates.on, np.bitwise_or)
    made = field.made(summed(flat.value, updates.value), r, s, flat.degree + updates.degree, replace(flat, on=on))
    made = replace(made, unsure=flat.unsure | updates.unsure)
    return replace(made, unsure_exponent=flat.unsure_exponent | updates.unsure_exponent).reshape(*x.shape)


def _scatter_added(field: Field, eqn: JaxprEqn, x: Any, indices: np.ndarray, updates: Any) -> Numbers:
    x, updates = _numbers(field, x), _numbers(field, updates)
    return _added(field, x, landing(eqn.params, x.shape, indices, updates.shape), updates)


def _scattered(function: Callable[[Field, JaxprEqn], Callable[[Numbers, Numbers], Numbers]]) -> Callable[..., Numbers]:
    def scatter(field: Field, eqn: JaxprEqn, x: Any, indices: np.ndarray, updates: Any) -> Numbers:
        x, updates = _numbers(field, x), _numbers(field, updates)
        places = landing(eqn.params, x.shape, indices, updates.shape)
        return _accumulated(field, x, places, updates, function(field, eqn))

    return scatter


def _convolved(field: Field, eqn: JaxprEqn, x: Any, kernel: Any) -> Numbers:
    """Each output is a product of a window, fetched by position, and the kernel."""
    x, kernel = _numbers(field, x), _numbers(field, kernel)
    p = eqn.params
    d = p["dimension_numbers"]
    x, kernel = _transposed(x, d.lhs_spec), _transposed(kernel, d.rhs_spec)  # (N, C, ...), (O, I, ...)
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    n, c, *space = x.shape
    o, i, *sizes = kernel.shape
    places = windows(space, sizes, p["window_strides"], p["padding"], p["lhs_dilation"], p["rhs_dilation"])
    out, many = places.shape[: len(space)], int(np.prod(sizes))
    places = places.reshape(-1, many)  # (outputs, window)
    area = int(np.prod(space))
    channel = np.arange(n * c).reshape(n, c, 1, 1) * area
    inside = np.where(places < 0, -1, channel + places)  # (N, C, outputs, window)
    rows = _with_fill(field, x, 0.0)
    # Groups of features, or of the batch: each has its own part of the kernel's outputs.
    split = max(groups, batches)
    made = []
    for g in range(split):
        part = inside[:, g * i : (g + 1) * i] if groups > 1 else inside[g * (n // batches) : (g + 1) * (n // batches)]
        count = len(part)
        part = part.transpose(0, 2, 1, 3).reshape(1, count * len(places), i * many)
        weights = kernel.at(np.arange(kernel.value.size).reshape(o, -1)[g * (o // split) : (g + 1) * (o // split)])
        one = field.matmul(rows.at(part), _transposed(weights.reshape(1, o // split, i * many), (0, 2, 1)))
        made.append(_transposed(one.reshape(count, len(places), o // split), (0, 2, 1)).reshape(-1))
    per = o // split
    whole = joined(made).reshape(split, n // batches, per, len(places))
    whole = _transposed(whole, (1, 0, 2, 3)).reshape(n // batches, o, *out)
    return _transposed(whole, np.argsort(d.out_spec))


def _log_of_running_sum(field: Field, eqn: JaxprEqn, x: Numbers) -> Numbers:
    total = _running(lambda field, eqn, a, b: field.add(a, b))(field, eqn, field.exp(x))
    return field.log(total)


CAREFUL: dict[str, Callable[[Field, Numbers], Numbers]] = {
    "exp_neg_sq": lambda field, x: field.exp(field.neg(field.mul(x, x))),
}
"""Functions of JAX's own that are computed in a careful way, bit by bit: what they are, by name."""


def _log2(field: Field, x: Numbers) -> Numbers:
    return field.div(field.log(x), field.log(field.constant_fraction(2)))


PRIMITIVES: dict[str, Callable[..., Any]] = {
    **{name: _binary(name) for name in ("add", "sub", "mul", "div")},
    "add_any": _binary("add"),
    **{name: _unary(name) for name in ("neg", "exp", "log", "sqrt", "cbrt")},
    "square": lambda field, eqn, x: field.mul(x, x),
    "one_minus_square": lambda field, eqn, x: field.sub(field.constant_fraction(1), field.mul(x, x)),
    "rsqrt": lambda field, eqn, x: field.reciprocal(field.sqrt(x)),
    "integer_pow": lambda field, eqn, x: field.power(x, eqn.params["y"]),
    "pow": _power,
    "exp2": _of_exponentials(np.exp2, _exp2),
    "expm1": _of_exponentials(np.expm1, lambda field, x: field.sub(field.exp(x), field.constant_fraction(1))),
    "log2": _of_exponentials(np.log2, _log2),
    "log1p": _of_exponentials(np.log1p, lambda field, x: field.log(field.add(x, field.constant_fraction(1)))),
    "logistic": _of_exponentials(lambda v: 1 / (1 + np.exp(-v)), _logistic),
    "tanh": _of_exponentials(np.tanh, _tanh),
    "sinh": _of_exponentials(np.sinh, _hyperbolic(-1)),
    "cosh": _of_exponentials(np.cosh, _hyperbolic(1)),
    "asinh": _of_exponentials(np.arcsinh, _inverse_hyperbolic(1)),
    "acosh": _of_exponentials(np.arccosh, _inverse_hyperbolic(-1)),
    "atanh": _of_exponentials(np.arctanh, _atanh),
    "sin": lambda field, eqn, x: _circle(field, x)[0],
    "cos": lambda field, eqn, x: _circle(field, x)[1],
    "tan": _tan,
    "erf": _atom("odd", unsure=False),
    "erfc": _complement("erf"),
    "erf_inv": _atom("odd"),
    "asin": _atom("odd"),
    "atan": _atom("odd"),
    "acos": _atom(),
    "atan2": _atom(),
    "lgamma": _gamma_like(logarithm=True),
    "digamma": _gamma_like(logarithm=False),
    "bessel_i0e": _atom("even"),
    "bessel_i1e": _atom("odd"),
    "igamma": _atom(),
    "igamma_grad_a": _atom(),
    "random_gamma_grad": _atom(),
    "igammac": _complement("igamma"),
    "polygamma": _atom(),
    "zeta": _atom(),
    "regularized_incomplete_beta": _atom(),
    "max": _larger(1),
    "min": _larger(-1),
    "clamp": _clamp,
    "abs": _abs,
    "sign": _sign,
    "floor": _step(lambda eqn, v: np.floor(v), "floor"),
    "ceil": _step(lambda eqn, v: np.ceil(v), "ceil"),
    "round": _step(_round, "round"),
    "rem": _remainder,
    "convert_element_type": _converted,
    "reduce_precision": lambda field, eqn, x: x,
    "is_finite": lambda field, eqn, x: np.isfinite(x.value),
    "eq": _compared(np.equal, chooses=False),
    "ne": _compared(np.not_equal, chooses=False),
    "lt": _compared(np.less),
    "le": _compared(np.less_equal),
    "gt": _compared(np.greater),
    "ge": _compared(np.greater_equal),
    "lt_to": _compared(np.less),
    "le_to": _compared(np.less_equal),
    "eq_to": _compared(np.equal, chooses=False),
    "reduce_sum": lambda field, eqn, x: field.sum(x, eqn.params["axes"]),
    "reduce_prod": _multiplied,
    "reduce_max": _largest(1),
    "reduce_min": _largest(-1),
    "argmax": _place_of(1),
    "argmin": _place_of(-1),
    "cumsum": _running(lambda field, eqn, a, b: field.add(a, b)),
    "cumprod": _running(lambda field, eqn, a, b: field.mul(a, b)),
    "cummax": _running(_larger(1)),
    "cummin": _running(_larger(-1)),
    "cumlogsumexp": _log_of_running_sum,
    "sort": _sorted,
    "top_k": _top_k,
    "dot_general": _dot,
    "conv_general_dilated": _convolved,
    "reduce_window_sum": _window_sum,
    "reduce_window_max": _window_largest(1),
    "reduce_window_min": _window_largest(-1),
    "select_and_scatter_add": _select_and_scatter_add,
    "select_and_gather_add": _select_and_gather_add,
    "scatter-add": _scatter_added,
    "scatter_add": _scatter_added,
    **{
        f"scatter{sep}{name}": _scattered(function)
        for sep in "-_"
        for name, function in {
            "sub": lambda field, eqn: field.sub,
            "mul": lambda field, eqn: field.mul,
            "max": lambda field, eqn: lambda x, y: _larger(1)(field, eqn, x, y),
            "min": lambda field, eqn: lambda x, y: _larger(-1)(field, eqn, x, y),
        }.items()
    },
}
