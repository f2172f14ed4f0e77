"""Values of quantities and expressions at random points in float64: what decides a conjecture, or a learner's line.

Indices are symbolic, so the points may be small whatever the sizes of the arguments are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .index_notation import DELTA, SIZE, Expression, Factor, Index, delta_of, quantity
from .quantities import Program, Quantity
from .reverse_mode import Lines

TOLERANCE = 1e-9
"""Relative, in float64: what differs by less at every point is one."""

_erf = np.vectorize(math.erf, otypes=[float])
FUNCTIONS: dict[str, Any] = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "logistic": lambda x: 1 / (1 + np.exp(-x)), "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "erf": _erf, "sin": np.sin, "cos": np.cos, "abs": np.abs, "sign": np.sign,
    "log1p": np.log1p, "expm1": np.expm1, "softplus": lambda x: np.logaddexp(x, 0), "relu": lambda x: np.maximum(x, 0),
    "gauss": lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2)), "positive": lambda x: (x > 0) * 1.0,
    "zero": lambda x: (x == 0) * 1.0, "not": lambda x: 1 - x, "all": lambda x: x,
}  # fmt: skip


@dataclass
class Point:
    """Sizes of the axes and an array for every quantity and delta, by key."""

    sizes: Mapping[int, int]
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def value(self, e: Expression, indices: Sequence[Index]) -> np.ndarray:
        """An expression as an array over `indices`."""
        shape = tuple(self.sizes[i.axis] for i in indices)
        total = np.zeros(shape)
        for (bound, powers), c in e.terms.items():
            place = {i: k for k, i in enumerate((*indices, *bound))}
            operands: list[Any] = [np.asarray(float(c)), []]
            for factor, exponent in powers:
                x = self.values[factor.key] if not factor.key.startswith(SIZE) else self._size(factor.key)
                x = x if exponent == 1 else x ** (int(exponent) if exponent.denominator == 1 else float(exponent))
                operands += [x, [place[i] for i in factor.indices]]
            occurring = sorted({place[i] for f, _ in powers for i in f.indices if i in indices})
            part = np.einsum(*operands, occurring)
            total = total + part.reshape([shape[k] if k in occurring else 1 for k in range(len(shape))])
        return total

    def _size(self, key: str) -> np.ndarray:
        return np.asarray(float(self.sizes[int(key[len(SIZE) :])]))

    def of(self, q: Quantity) -> np.ndarray:
        """A quantity from those it is computed from."""
        if q.kind == "number":
            return np.asarray(q.value)
        if q.kind == "size":
            return self._size(q.key)
        if q.kind == "drawn":
            return self._drawn(q)
        if q.kind == "last":
            assert q.recurrence is not None
            t = next(i for i in q.recurrence.indices if i not in q.indices)
            return self.value(quantity(q.recurrence), (t, *q.indices))[-1]
        if q.kind == "one-hot":
            assert q.selector is not None
            n, ids = self.sizes[q.over[0].axis], self.values[q.selector.key].astype(int)
            ids = np.clip(ids, 0, n - 1) if q.function == "clipped" else ids
            return (ids[..., None] == np.arange(n)) * 1.0
        if q.kind == "placement":
            whole, *parts = (self.sizes[i.axis] for i in q.indices)
            at = np.arange(math.prod(parts)).reshape(parts) + int(self.value(q.offsets[0], ()))
            return (np.arange(whole).reshape([whole] + [1] * len(parts)) == at) * 1.0
        assert q.definition is not None
        if q.kind == "maximum":
            factor = q.definition.single
            assert factor is not None
            over = tuple(k for k, i in enumerate(factor.indices) if i in q.over)
            return self.value(q.definition, factor.indices).max(over)
        x = self.value(q.definition, q.indices)
        if q.kind == "select":
            assert q.selector is not None
            assert q.otherwise is not None
            gate = self.value(Expression({}), q.indices) + self._moved(q.selector.key, q.selector.indices, q.indices)
            return np.where(gate > 0, x, self.value(q.otherwise, q.indices))
        if q.function == "at least":
            assert q.selector is not None
            return (self._moved(q.selector.key, q.selector.indices, q.indices) >= x) * 1.0
        if q.function == "top":
            assert q.selector is not None
            return (x == self._moved(q.selector.key, q.selector.indices, q.indices)) * 1.0
        return FUNCTIONS[q.function](x) if q.kind in ("function", "mask") else x

    def _drawn(self, q: Quantity) -> np.ndarray:
        """Random numbers: those of the key where there is one, others of their kind where there is none."""
        assert q.selector is not None
        shape = tuple(self.sizes[i.axis] for i in q.indices)
        key = self.values[q.selector.key]
        if not isinstance(key, np.ndarray):
            return np.asarray(drawn(q.function, key, shape, q.value)) * 1.0
        rng = np.random.default_rng(int(q.key))
        if q.is_mask:
            return (rng.random(shape) < 0.6) * 1.0
        return rng.normal(size=shape) if q.function == "normal" else rng.random(shape)

    def _moved(self, key: str, own: Sequence[Index], wanted: Sequence[Index]) -> np.ndarray:
        """A quantity's array with its indices in the order of `wanted`, 1 where it does not depend on one."""
        x = self.values[key].transpose([own.index(i) for i in wanted if i in own])
        return x.reshape([self.sizes[i.axis] if i in own else 1 for i in wanted])


def drawn(function: str, key: Any, shape: tuple[int, ...], value: float) -> Any:
    """What `jax.random` draws."""
    match function:
        case "bernoulli":
            return jax.random.bernoulli(key, value, shape)
        case "bits":
            return jax.random.bits(key, shape, jnp.uint32) < jnp.uint32(int(value))
        case "normal":
            return jax.random.normal(key, shape)
    return jax.random.uniform(key, shape)


def draw(program: Program, args: Sequence[Any], seed: int, simplex: Sequence[str] = ()) -> Point:
    """A point with the arguments' signs and integers: near them, or (odd seeds) of numbers near 1; no zeros.

    Args:
        program: the quantities.
        args: the arguments that were given.
        seed: of the draw.
        simplex: names of arguments whose last axis sums to 1.
    """
    rng = np.random.default_rng(seed)
    axes = dict.fromkeys(i.axis for q in program.quantities.values() for i in (*q.indices, *q.over))
    given = {i.axis: i.size for q in program.quantities.values() for i in (*q.indices, *q.over)}
    if any(q.kind == "placement" for q in program.quantities.values()):
        sizes = given  # they depend on one another
    else:
        sizes = {}
        for k, axis in enumerate(sorted(axes, key=given.__getitem__)):
            # Different ones where that can be, so that one is not taken for another.
            free = (n for n in (3, 4, 5, 6) if n <= given[axis] and n not in sizes.values())
            sizes[axis] = next(free, min(given[axis], 3 + k % 3))
    sizes |= {
        int(q.key[len(SIZE) :]): int(q.value)
        for q in program.quantities.values()
        if q.kind == "size" and int(q.key[len(SIZE) :]) not in sizes
    }
    point = Point(sizes)
    with np.errstate(all="ignore"):
        for key, x in zip(program.arguments, args, strict=True):
            if program[key].kind == "key":
                point.values[key] = np.zeros(())  # what is drawn from it is drawn anew
                continue
            point.values[key] = _near(
                program[key], np.asarray(x), sizes, rng, ones=seed % 2 == 1, simplex=program[key].name in simplex
            )
            if program[key].kind == "ids":
                top = min(
                    (
                        sizes[q.over[0].axis]
                        for q in program.quantities.values()
                        if q.kind == "one-hot" and q.selector is not None and q.selector.key == key
                    ),
                    default=None,
                )
                ids = point.values[key]
                point.values[key] = np.where(ids < 0, ids, ids % top) if top else ids
        for key in program.upstream:
            point.values[key] = rng.uniform(0.4, 1.6, [sizes[i.axis] for i in program[key].indices])
        complete(program, point)
    return point


def complete(program: Program, point: Point) -> None:
    """Compute the quantities that have no value yet."""
    deltas = ("next", "first")  # they have values once the deltas have
    waiting = [q for q in program.in_order() if q.key not in point.values and q.kind not in deltas]
    steps = max((point.sizes[q.indices[0].axis] for q in waiting if q.kind == "previous"), default=0)
    with np.errstate(all="ignore"):
        for q in (q for q in waiting if q.kind == "previous"):
            point.values[q.key] = np.zeros([point.sizes[i.axis] for i in q.indices])
        for _ in range(steps + 1):  # a recurrence is right one step farther each time
            for q in waiting:
                if q.kind != "previous":
                    point.values[q.key] = point.of(q)
            for q in (q for q in waiting if q.kind == "previous"):
                assert q.definition is not None
                assert q.recurrence is not None
                after = point.value(quantity(q.recurrence), q.indices)
                start = point.value(q.definition, q.indices[1:])
                point.values[q.key] = np.concatenate([start[None], after[:-1]])


def _near(
    q: Quantity, x: np.ndarray, sizes: Mapping[int, int], rng: np.random.Generator, *, ones: bool, simplex: bool
) -> np.ndarray:
    x = x[tuple(slice(sizes[i.axis]) if i is not None else 0 for i in q.axes)]
    if q.dtype == "int":
        return x
    if q.dtype == "bool":
        return x * 1.0
    x = x.astype(float)
    if ones:  # where nothing saturates, whatever was given
        x = np.where(x < 0, -1, 1) * rng.uniform(0.3, 1.7, x.shape)
    else:
        x = np.where(x == 0, rng.uniform(0.1, 0.5, x.shape), x * rng.uniform(0.7, 1.3, x.shape))
    return np.abs(x) / np.abs(x).sum(-1, keepdims=True) if simplex else x


def add_deltas(program: Program, lines: Lines, point: Point) -> None:
    """The values of all deltas, from the chain rule's lines."""
    previous = [q for q in program.previous if q.key in lines]
    arriving = {q.recurrence.key: q for q in program.quantities.values() if q.kind == "next" and q.recurrence}
    first = {q.recurrence.key: q for q in program.quantities.values() if q.kind == "first" and q.recurrence}
    for q in previous:
        point.values[arriving[q.key].key] = np.zeros([point.sizes[i.axis] for i in q.indices])
        point.values[first[q.key].key] = np.zeros([point.sizes[i.axis] for i in q.indices[1:]])
    steps = max((point.sizes[q.indices[0].axis] for q in previous), default=0)
    with np.errstate(all="ignore"):
        for _ in range(steps + 1):
            for key, line in lines.items():
                point.values[delta_of(key)] = point.value(line.expression, program[key].indices)
            for q in previous:
                delta = point.values[delta_of(q.key)]
                end = last_delta(program, lines, point, q)
                point.values[arriving[q.key].key] = np.concatenate([delta[1:], end[None]])
                point.values[first[q.key].key] = delta[0]


def last_delta(program: Program, lines: Lines, point: Point, previous: Quantity) -> np.ndarray:
    """What arrives at a carried value behind the last step, over the previous value's indices without time."""
    end = last_of(program, previous)
    if end is None or end.key not in lines:
        return np.zeros([point.sizes[i.axis] for i in previous.indices[1:]])
    assert end.recurrence is not None
    assert previous.recurrence is not None
    names = dict(zip(end.recurrence.indices, previous.recurrence.indices, strict=True))
    factor = Factor(delta_of(end.key), tuple(names[i] for i in end.indices))
    return point.value(quantity(factor), previous.indices[1:])


def last_of(program: Program, previous: Quantity) -> Quantity | None:
    """The value that a loop carried out of its last step."""
    assert previous.recurrence is not None
    key = previous.recurrence.key
    return next(
        (q for q in program.quantities.values() if q.kind == "last" and q.recurrence and q.recurrence.key == key), None
    )


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal within `TOLERANCE`; NaN and infinity are equal to nothing."""
    if a.shape != b.shape or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return False
    scale = max(float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)), 1e-12)
    return bool(np.all(np.abs(a - b) <= TOLERANCE * scale))


def is_delta(key: str) -> bool:
    """Whether a key is that of a delta."""
    return key.startswith(DELTA)
