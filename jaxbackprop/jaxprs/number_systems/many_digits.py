"""A program in many decimal digits: mpmath's numbers in object arrays, where float64 overflows, cancels or underflows.

JAX has no such numbers. What only moves elements is still JAX's: the primitive is run on an array of positions, and
these say which number stands where. Only the arithmetic is our own, and what is not implemented is refused by name.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..compat import (
    CALLS,
    REMAT,
    RULES,
    ClosedJaxpr,
    JaxprEqn,
    binding,
    branches_of,
    dtype_of,
    scan_of,
    shape_of,
    while_of,
)
from ..evaluate import Walk, evaluate
from ..lazy_import import mpmath


class NotImplementedInManyDigits(NotImplementedError):
    """A primitive, or a use of one, that has no meaning here; its name is the message."""


def in_many_digits(program: ClosedJaxpr, args: Sequence[Any], digits: int) -> list[Any]:
    """The outputs of `program` at the flat `args`: object arrays of mpmath's numbers, integers and booleans as NumPy's.

    Raises:
        NotImplementedInManyDigits: the name of a primitive that is not implemented.
    """
    with mpmath.workdps(digits), jax.enable_x64(True), np.errstate(all="ignore"):
        return evaluate(program, [lift(x) for x in args], _equation, lambda value, aval: lift(typed(value, aval)))


def typed(value: Any, aval: Any) -> Any:
    """A literal in its own type."""
    return value if hasattr(value, "dtype") else np.asarray(value, aval.dtype)


def lift(x: Any) -> Any:
    """Floating-point numbers as mpmath's, each exactly; all else as it is."""
    if _is_key(x):
        return x
    x = np.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise NotImplementedInManyDigits("complex numbers")
    if x.dtype == object or not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    made = np.empty(x.shape, object)
    made.reshape(-1)[:] = [mpmath.mpf(float(v)) for v in x.reshape(-1).astype(np.float64)]
    return made


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.extended)


def _equation(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    name = eqn.primitive.name
    if name in _INSIDE:
        return walk.inside(eqn, inputs)
    if name in _LOOPS:
        return _LOOPS[name](walk, eqn, inputs)
    real = [_is_real(v) for v in (*eqn.invars, *eqn.outvars)]
    if not any(real):
        return _by_jax(eqn, inputs)
    if name in _MOVING:
        return _moved(eqn, inputs)
    made = _NUMBERS.get(name)
    if made is None:
        raise NotImplementedInManyDigits(name)
    outputs = made(eqn, *inputs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return [_result(x, v) for x, v in zip(outputs, eqn.outvars, strict=True)]


def _is_real(v: Any) -> bool:
    dtype = dtype_of(v)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise NotImplementedInManyDigits("complex numbers")
    return jnp.issubdtype(dtype, jnp.floating)


def _result(x: Any, v: Any) -> Any:
    if jnp.issubdtype(dtype_of(v), jnp.floating):
        return np.asarray(x, object) if np.ndim(x) or not isinstance(x, np.ndarray) else x
    return np.asarray(x).astype(dtype_of(v))


def _by_jax(eqn: JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    found = binding(eqn)(*(x if _is_key(x) else jnp.asarray(x) for x in inputs))
    return [x if _is_key(x) else np.asarray(x) for x in found]


# What moves numbers: JAX's own primitive, on positions.

_MOVING = frozenset(
    "broadcast_in_dim reshape transpose squeeze expand_dims rev concatenate split slice dynamic_slice "
    "dynamic_update_slice pad gather scatter copy copy_p stop_gradient optimization_barrier name device_put".split()
)


def _moved(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    """The primitive on the positions of all numbers, laid out in one row; last in it stands what a gather fills in."""
    which = [i for i, v in enumerate(eqn.invars) if _is_real(v)]
    fill = eqn.params.get("fill_value")
    filled = _scalar(mpmath.nan if fill is None else mpmath.mpf(float(fill))).reshape(1)
    row = np.concatenate([*(np.asarray(inputs[i], object).reshape(-1) for i in which), filled])
    ends = np.cumsum([np.size(inputs[i]) for i in which])
    positions = list(inputs)
    for i, end in zip(which, ends, strict=True):
        positions[i] = jnp.arange(end - np.size(inputs[i]), end).reshape(np.shape(inputs[i]))
    params = dict(eqn.params)
    if eqn.primitive.name == "gather":
        params["fill_value"] = row.size - 1
    if eqn.primitive.name == "scatter":
        x, indices, updates = positions
        found = [
            lax.scatter(
                x,
                indices,
                updates,
                params["dimension_numbers"],
                indices_are_sorted=params["indices_are_sorted"],
                unique_indices=params["unique_indices"],
                mode=params["mode"],
            )
        ]
    else:
        found = binding(eqn, params)(*positions)
    return [row[np.asarray(p)] if np.ndim(p) else _scalar(row[int(p)]) for p in found]


def _scalar(x: Any) -> np.ndarray:
    made = np.empty((), object)
    made[()] = x
    return made


# Arithmetic, number by number.


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of mpmath's numbers, elementwise; what it cannot answer (a pole, a complex root) is not a number."""

    def one(*args: Any) -> Any:
        try:
            found = function(*args)
        except (ZeroDivisionError, ValueError, OverflowError):
            return mpmath.nan
        return mpmath.nan if isinstance(found, mpmath.mpc) else found

    def each(eqn: JaxprEqn, *args: Any) -> Any:
        found = np.frompyfunc(one, len(args), 1)(*args)
        return found if isinstance(found, np.ndarray) else _scalar(found)

    return each


def _divide(x: Any, y: Any) -> Any:
    if y == 0:
        return mpmath.nan if x == 0 or mpmath.isnan(x) else mpmath.inf * mpmath.sign(x)
    return x / y


def _log(x: Any) -> Any:
    return -mpmath.inf if x == 0 else mpmath.nan if x < 0 else mpmath.log(x)


def _power(x: Any, y: Any) -> Any:
    if x == 0:
        return mpmath.mpf(1) if y == 0 else mpmath.mpf(0) if y > 0 else mpmath.inf
    return mpmath.power(x, y)


def _remainder(x: Any, y: Any) -> Any:
    whole = mpmath.floor(x / y) if x / y >= 0 else mpmath.ceil(x / y)
    return x - y * whole


def _larger(x: Any, y: Any) -> Any:
    return mpmath.nan if mpmath.isnan(x) or mpmath.isnan(y) else max(x, y)


def _smaller(x: Any, y: Any) -> Any:
    return mpmath.nan if mpmath.isnan(x) or mpmath.isnan(y) else min(x, y)


def _rounded(eqn: JaxprEqn, x: Any) -> Any:
    if int(eqn.params["rounding_method"]) != 1:
        return _each(lambda v: mpmath.sign(v) * mpmath.floor(abs(v) + mpmath.mpf("0.5")))(eqn, x)
    return _each(mpmath.nint)(eqn, x)


def _converted(eqn: JaxprEqn, x: Any) -> Any:
    if not _is_real(eqn.outvars[0]):
        if eqn.params["new_dtype"] == np.bool_:
            return np.asarray(_each(lambda v: v != 0)(eqn, x), bool)
        limits = np.iinfo(eqn.params["new_dtype"])
        return _each(lambda v: 0 if mpmath.isnan(v) else int(min(max(v, limits.min), limits.max)))(eqn, x)
    return x if _is_real(eqn.invars[0]) else lift(np.asarray(x).astype(np.float64))


def _selected(eqn: JaxprEqn, which: Any, *cases: Any) -> Any:
    which = np.broadcast_to(np.asarray(which).astype(np.int64), np.shape(cases[0]))
    stacked = np.stack([np.asarray(c, object) for c in cases])
    return np.take_along_axis(stacked, which[None], 0)[0] if which.ndim else _scalar(stacked[int(which)])


def _compared(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda eqn, x, y: np.asarray(_each(lambda a, b: bool(function(a, b)))(eqn, x, y), bool)


# Sums and the like, number by number along an axis.


def _reduced(function: Callable[[Any, Any], Any], start: Any) -> Callable[..., Any]:
    return lambda eqn, x: _along(function, x, eqn.params["axes"], start())


def _along(function: Callable[[Any, Any], Any], x: Any, axes: Sequence[int], start: Any) -> Any:
    """`x` reduced by a function of two numbers along some axes."""
    kept = [d for d in range(x.ndim) if d not in axes]
    rows = np.transpose(x, [*kept, *axes]).reshape([*(x.shape[d] for d in kept), -1]) if x.size else None
    if rows is None:
        made = np.empty([x.shape[d] for d in kept], object)
        made.reshape(-1)[:] = [start] * made.size
        return made
    found = np.frompyfunc(function, 2, 1).reduce(rows, -1, initial=start)
    return found if isinstance(found, np.ndarray) else _scalar(found)


def _running(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(eqn: JaxprEqn, x: Any) -> Any:
        d = eqn.params["axis"]
        flipped = np.flip(x, d) if eqn.params["reverse"] else x
        found = np.frompyfunc(function, 2, 1).accumulate(flipped, d, dtype=object) if x.size else x
        return np.flip(found, d) if eqn.params["reverse"] else found

    return run


def _place_of(function: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    def place(eqn: JaxprEqn, x: Any) -> Any:
        def first(row: Any) -> int:
            best = 0
            for i, v in enumerate(row):
                if mpmath.isnan(v):
                    return i
                best = i if function(v, row[best]) else best
            return best

        return np.apply_along_axis(first, eqn.params["axes"][0], x)

    return place


def _sorted(eqn: JaxprEqn, *operands: Any) -> Any:
    """Ranks of the keys, which JAX sorts in their place: equal numbers have equal ranks."""
    ranks = [_ranks(x) if _is_real(v) else x for x, v in zip(operands, eqn.invars, strict=True)]
    position = np.broadcast_to(
        np.arange(operands[0].shape[eqn.params["dimension"]]).reshape(
            [-1 if d == eqn.params["dimension"] else 1 for d in range(operands[0].ndim)]
        ),
        operands[0].shape,
    )
    *_, order = lax.sort(
        [*map(jnp.asarray, ranks), jnp.asarray(position)],
        dimension=eqn.params["dimension"],
        num_keys=eqn.params["num_keys"],
        is_stable=True,
    )
    return [np.take_along_axis(np.asarray(x), np.asarray(order), eqn.params["dimension"]) for x in operands]


def _ranks(x: Any) -> np.ndarray:
    rank = {v: i for i, v in enumerate(sorted({v for v in x.reshape(-1) if not mpmath.isnan(v)}))}
    flat = [len(rank) if mpmath.isnan(v) else rank[v] for v in x.reshape(-1)]
    return np.array(flat, np.int64).reshape(x.shape)


def _product(eqn: JaxprEqn, x: Any, y: Any) -> Any:
    """`dot_general`: which numbers meet is what JAX's own transposes and reshapes say; they are multiplied here."""
    (cx, cy), (bx, by) = eqn.params["dimension_numbers"]
    fx = [d for d in range(x.ndim) if d not in {*cx, *bx}]
    fy = [d for d in range(y.ndim) if d not in {*cy, *by}]
    batch, inner = [x.shape[d] for d in bx], [x.shape[d] for d in cx]
    left = lift(x).transpose([*bx, *fx, *cx]).reshape([*batch, *(x.shape[d] for d in fx), *[1] * len(fy), *inner])
    right = lift(y).transpose([*by, *fy, *cy]).reshape([*batch, *[1] * len(fx), *(y.shape[d] for d in fy), *inner])
    axes = tuple(range(len(batch) + len(fx) + len(fy), len(batch) + len(fx) + len(fy) + len(inner)))
    return _along(operator.add, np.multiply(left, right), axes, mpmath.mpf(0))


def _scattered(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Where each update lands is where the transposed primitive, a gather, fetches its cotangent from."""

    def scatter(eqn: JaxprEqn, x: Any, indices: Any, updates: Any) -> Any:
        p = eqn.params

        def added(updates: Any) -> Any:
            return lax.scatter_add(
                jnp.zeros(x.shape), jnp.asarray(indices), updates, p["dimension_numbers"], mode=p["mode"]
            )

        places = 1.0 + jnp.arange(x.size).reshape(x.shape)  # 0: the update is dropped
        (landing,) = jax.vjp(added, jnp.zeros(updates.shape))[1](places)
        out = np.array(x, object).reshape(-1)
        for place, update in zip(np.asarray(landing).reshape(-1).astype(int), updates.reshape(-1), strict=True):
            if place:
                out[place - 1] = function(out[place - 1], update)
        return out.reshape(x.shape)

    return scatter


_NUMBERS: dict[str, Callable[..., Any]] = {
    "add": _each(operator.add),
    "add_any": _each(operator.add),
    "sub": _each(operator.sub),
    "mul": _each(operator.mul),
    "neg": _each(operator.neg),
    "abs": _each(abs),
    "square": _each(lambda x: x * x),
    "one_minus_square": _each(lambda x: 1 - x * x),
    "div": _each(_divide),
    "rem": _each(_remainder),
    "max": _each(_larger),
    "min": _each(_smaller),
    "pow": lambda eqn, x, y: _each(_power)(eqn, x, y),
    "integer_pow": lambda eqn, x: _each(lambda v: _power(v, eqn.params["y"]))(eqn, x),
    "clamp": lambda eqn, low, x, high: _each(lambda a, v, b: _smaller(_larger(v, a), b))(eqn, low, x, high),
    "exp": _each(lambda x: mpmath.exp(x)),
    "exp2": _each(lambda x: mpmath.power(2, x)),
    "log": _each(_log),
    "expm1": _each(lambda x: mpmath.expm1(x)),
    "log1p": _each(lambda x: _log(1 + x)),
    **{
        name: _each(lambda x, name=name: getattr(mpmath, name)(x))
        for name in (
            "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc digamma sign floor ceil".split()
        )
    },
    "atan2": _each(lambda y, x: mpmath.atan2(y, x)),
    "sqrt": _each(lambda x: mpmath.nan if x < 0 else mpmath.sqrt(x)),
    "rsqrt": _each(lambda x: mpmath.nan if x < 0 else _divide(mpmath.mpf(1), mpmath.sqrt(x))),
    "cbrt": _each(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
    "logistic": _each(lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf_inv": _each(lambda x: mpmath.erfinv(x)),
    "lgamma": _each(lambda x: mpmath.log(abs(mpmath.gamma(x)))),
    "round": _rounded,
    "convert_element_type": _converted,
    "select_n": _selected,
    "is_finite": lambda eqn, x: np.asarray(_each(lambda v: bool(mpmath.isfinite(v)))(eqn, x), bool),
    "eq": _compared(operator.eq),
    "ne": _compared(operator.ne),
    "lt": _compared(operator.lt),
    "le": _compared(operator.le),
    "gt": _compared(operator.gt),
    "ge": _compared(operator.ge),
    "reduce_sum": _reduced(operator.add, lambda: mpmath.mpf(0)),
    "reduce_prod": _reduced(operator.mul, lambda: mpmath.mpf(1)),
    "reduce_max": _reduced(_larger, lambda: -mpmath.inf),
    "reduce_min": _reduced(_smaller, lambda: mpmath.inf),
    "argmax": _place_of(operator.gt),
    "argmin": _place_of(operator.lt),
    "cumsum": _running(operator.add),
    "cumprod": _running(operator.mul),
    "cummax": _running(_larger),
    "cummin": _running(_smaller),
    "sort": _sorted,
    "dot_general": _product,
    "iota": lambda eqn: lift(np.asarray(binding(eqn)()[0])),
    "scatter-add": _scattered(operator.add),
    "scatter_add": _scattered(operator.add),
    "scatter-mul": _scattered(operator.mul),
    "scatter_mul": _scattered(operator.mul),
    "scatter-max": _scattered(_larger),
    "scatter_max": _scattered(_larger),
    "scatter-min": _scattered(_smaller),
    "scatter_min": _scattered(_smaller),
}


# Loops and conditionals, step by step.


def _scan(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    loop = scan_of(eqn)
    constants, rest = inputs[: loop.constants], inputs[loop.constants :]
    carry, slices, rows = rest[: loop.carried], rest[loop.carried :], []
    for i in reversed(range(loop.length)) if loop.reverse else range(loop.length):
        row = [x[i] if _is_key(x) or x.ndim > 1 else _scalar_of(x, i) for x in slices]
        out = walk.run(loop.body, loop.consts, [*constants, *carry, *row])
        carry = out[: loop.carried]
        rows.append(out[loop.carried :])
    rows = rows[::-1] if loop.reverse else rows
    return [*carry, *(_stacked([row[k] for row in rows], v) for k, v in enumerate(eqn.outvars[loop.carried :]))]


def _scalar_of(x: Any, i: int) -> Any:
    return _scalar(x[i]) if x.dtype == object else x[i]


def _stacked(rows: list[Any], v: Any) -> Any:
    if not rows:
        return lift(np.zeros(shape_of(v), dtype_of(v)))
    return jnp.stack(rows) if _is_key(rows[0]) else np.stack(rows)


def _while(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    loop = while_of(eqn)
    for_condition, for_body, carry = loop.split(inputs)
    while True:
        going = np.asarray(walk.run(*loop.condition, [*for_condition, *carry])[0]).astype(bool)
        if going.ndim:
            raise NotImplementedInManyDigits("a mapped while")
        if not going:
            return carry
        carry = walk.run(*loop.body, [*for_body, *carry])


def _cond(walk: Walk, eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    branches = branches_of(eqn)
    return walk.run(*branches[min(max(int(inputs[0]), 0), len(branches) - 1)], inputs[1:])


_INSIDE = frozenset({*CALLS, *REMAT, *RULES})
_LOOPS = {"scan": _scan, "while": _while, "cond": _cond}
