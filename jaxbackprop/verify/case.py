"""One target at one input, and what the oracles say about it: autodiff and numerical derivatives.

Programs are traced once and evaluated in NumPy (`interpreter.py`). Nothing here judges: laws do.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from .arithmetic import Noisy
from .flat import as_real, dual, flatten
from .interpreter import FLOAT64, WRITTEN, evaluate
from .numerical import Slopes, scales, slopes
from .point import Leaves, Point, generator, jittered, normal_like, replaced, unit_roundoff
from .programs import coarser, holds, narrowest
from .strip import holds_rule, replay
from .target import Target

SMALL = 40
"""Up to so many numbers a derivative is taken along each of them; beyond, along random directions and some numbers."""

JITTERS = 4


class Case:
    """A target at a point, traced in one precision.

    Attributes:
        target: what is verified.
        point: where, its floating-point numbers in `dtype`.
        dtype: the precision the hand-derived function runs in.
    """

    def __init__(self, target: Target, point: Point, dtype: Any, seed: int = 0, like: "Case | None" = None):
        self.target, self.dtype, self.seed = target, np.dtype(dtype), seed
        self.point = point if target.typed else point.cast(dtype)
        self.given: Any = point.dtype
        if like is not None:  # the same shapes: no need to trace only to learn them
            self.outputs = [jax.ShapeDtypeStruct(o.shape, _precision_like(o.dtype, self.dtype)) for o in like.outputs]

    def moved(self, point: Point) -> "Case":
        """This case at another point of the same shapes: its programs need not be traced again."""
        other = Case(self.target, point, self.dtype, self.seed)
        other.given = self.given
        _ = self.stops_gradient  # a property of the function, asked about where the first point is
        other.__dict__.update({name: self.__dict__[name] for name in _PROGRAMS if name in self.__dict__})
        return other

    def names(self) -> list[str]:
        """The live arrays by name."""
        return [self.point.label_of(i, self.target.names) for i in self.point.live]

    def random(self, *words: Any) -> np.random.Generator:
        """A generator for this case and these words."""
        return generator(self.target.name, self.seed, *words)

    def trace(self, function: Callable, *args: Any) -> ClosedJaxpr:
        """The jaxpr of `function` at `args`, in 64 bits where this case is."""
        with jax.enable_x64(self.dtype.itemsize == 8 or jax.config.read("jax_enable_x64")):
            return jax.make_jaxpr(function)(*args)

    # What the hand-derived function answers.

    @cached_property
    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the inexact outputs."""
        return [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in self.value_program.out_avals]

    @cached_property
    def hand_program(self) -> ClosedJaxpr:
        """The VJP of the hand-derived function."""
        return self.trace(self.point.pulling(self.target.hand), self.point.arrays, self.upstream(0))

    @property
    def answers(self) -> list[Any]:
        """The dtypes of the outputs as the hand-derived function answers them."""
        return [v.dtype for v in self.hand_program.out_avals[: len(self.outputs)]]

    def hand(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients, by the hand-derived backward pass."""
        found = evaluate(self.hand_program, [*arrays, *upstream])
        return found[: len(self.outputs)], found[len(self.outputs) :]

    @cached_property
    def auto_program(self) -> ClosedJaxpr:
        """The stripped primal's VJP."""
        return self.trace(self.plain_pull(), self.point.arrays, self.upstream(0))

    @cached_property
    def differentiable(self) -> bool:
        """Whether autodiff can differentiate the plain function: not a while loop, nor a primitive without a rule."""
        try:
            _ = self.auto_program
        except (NotImplementedError, ValueError, TypeError):
            return False
        return True

    def _plain(self, *arrays: Any) -> Leaves:
        """The plain function, from its jaxpr, without rules."""
        return replay(self.value_program.jaxpr, self.value_program.consts, arrays)

    def plain_pull(self) -> Callable:
        """The VJP of the plain function, of flat arrays."""

        def pull(arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
            def of_live(*live: Any) -> Leaves:
                return self._plain(*replaced(arrays, self.point.live, live))

            y, back = jax.vjp(of_live, *(arrays[i] for i in self.point.live))
            return y, list(back([u.astype(a.dtype) for u, a in zip(upstream, y, strict=True)]))

        return pull

    @cached_property
    def auto_mapped(self) -> ClosedJaxpr:
        """The same, mapped over many points and cotangents: keys and integers stay."""
        axes = [0 if i in self.point.live else None for i in range(len(self.point.arrays))]
        mapped = jax.vmap(self.plain_pull(), (axes, 0))
        stacked = [_stacked(x, JITTERS + 1) if a == 0 else x for x, a in zip(self.point.arrays, axes, strict=True)]
        return self.trace(mapped, stacked, [_stacked(u, JITTERS + 1) for u in self.upstream(0)])

    def auto(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by autodiff of the plain function, computed in float64 whatever it is written in."""
        found = evaluate(self.auto_program, [*arrays, *upstream], FLOAT64)
        return found[: len(self.outputs)], found[len(self.outputs) :]

    def auto_as_written(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by autodiff of the plain function in its own precision."""
        found = evaluate(self.auto_program, [*arrays, *upstream], WRITTEN)
        return found[: len(self.outputs)], found[len(self.outputs) :]

    def auto_noisy(self, upstream: Leaves, dtype: Any) -> list[tuple[Leaves, Leaves]]:
        """`auto` with every operation rounded at random as `dtype` rounds: JITTERS + 1 times, the first one exactly."""
        noisy = Noisy(unit_roundoff(dtype), self.random("noise"))
        n = len(self.outputs)
        runs = [evaluate(self.auto_program, [*self.point.arrays, *upstream], noisy) for _ in range(JITTERS)]
        return [self.auto(self.point.arrays, upstream), *[(r[:n], r[n:]) for r in runs]]

    def auto_many(self, points: list[tuple[Sequence[Any], Leaves]]) -> list[tuple[Leaves, Leaves]]:
        """`auto` at many points: at once where they are small and as many as a cotangent's jitters."""
        if len(points) != JITTERS + 1 or self.point.size > 4096:
            return [self.auto(*p) for p in points]
        live = set(self.point.live)
        arrays = [
            np.stack([np.asarray(p[0][i]) for p in points]) if i in live else x for i, x in enumerate(self.point.arrays)
        ]
        upstream = [np.stack([np.asarray(p[1][j]) for p in points]) for j in range(len(self.outputs))]
        found = evaluate(self.auto_mapped, [*arrays, *upstream], FLOAT64)
        n = len(self.outputs)
        return [([x[k] for x in found[:n]], [x[k] for x in found[n:]]) for k in range(len(points))]

    def upstream(self, k: int) -> Leaves:
        """The k-th random cotangent, in this precision: dense, its numbers around 1."""
        return [
            _cast_like(u, o)
            for u, o in zip(normal_like(self.random("upstream", k), self.outputs), self.outputs, strict=True)
        ]

    def jitters(self, upstream: Leaves, dtype: Any | None = None) -> list[tuple[Sequence[Any], Leaves]]:
        """The point and `upstream` themselves, and moved by one unit in the last place, JITTERS times."""
        rng = self.random("jitter")
        at = dtype or self.dtype
        made: list[tuple[Sequence[Any], Leaves]] = [(self.point.arrays, upstream)]
        return made + [(jittered(rng, self.point.arrays, at), jittered(rng, upstream, at)) for _ in range(JITTERS)]

    @cached_property
    def _value_mapped(self) -> dict[int, ClosedJaxpr]:
        return {}

    def value_mapped(self, count: int) -> ClosedJaxpr:
        """The stripped primal, mapped over `count` points."""
        if count not in self._value_mapped:
            axes = [0 if i in self.point.live else None for i in range(len(self.point.arrays))]
            mapped = jax.vmap(lambda a: self._plain(*a), (axes,), axis_size=count)
            arrays = [_stacked(x, count) if a == 0 else x for x, a in zip(self.point.arrays, axes, strict=True)]
            self._value_mapped[count] = self.trace(mapped, arrays)
        return self._value_mapped[count]

    @cached_property
    def value_program(self) -> ClosedJaxpr:
        """The plain function, without rules."""
        function = self.point.call(self.target.primal)
        program = self.trace(function, *self.point.arrays)
        if not holds_rule(program.jaxpr):
            return program
        return self.trace(lambda *a: replay(program.jaxpr, program.consts, a), *self.point.arrays)

    def flat_outputs(self, points: np.ndarray) -> np.ndarray:
        """The plain function at many flat points (points, n) -> (points, m), in float64."""
        chunk = max(1, 4_000_000 // max(points.shape[1], 1))
        return np.concatenate([self._flat_outputs(points[i : i + chunk]) for i in range(0, len(points), chunk)])

    def _flat_outputs(self, points: np.ndarray) -> np.ndarray:
        found = evaluate(self.value_mapped(len(points)), self.unflat(points), FLOAT64)
        return np.concatenate([as_real(x) for x in found] or [np.zeros((len(points), 0))], 1)

    @cached_property
    def x(self) -> np.ndarray:
        """The live numbers in one row; complex ones as real and imaginary parts."""
        return flatten(self.point.arrays[i] for i in self.point.live)

    @cached_property
    def groups(self) -> np.ndarray:
        """For each number of `x` the live leaf it belongs to."""
        sizes = [flatten([self.point.arrays[i]]).size for i in self.point.live]
        return np.repeat(np.arange(len(sizes)), sizes)

    def unflat(self, points: np.ndarray) -> Leaves:
        """Rows of live numbers as arrays with a leading axis; the fixed arrays as they are."""
        out, at = list(self.point.arrays), 0
        for i in self.point.live:
            x = self.point.arrays[i]
            size = flatten([x]).size
            part = points[:, at : at + size]
            at += size
            if np.iscomplexobj(x):
                part = part[:, : size // 2] + 1j * part[:, size // 2 :]
            out[i] = part.reshape(len(points), *x.shape)
        return out

    @cached_property
    def directions(self) -> np.ndarray:
        """Each number alone where there are few; else 8 random directions and 8 numbers. Always all at once, too."""
        n, rng = self.x.size, self.random("directions")
        scale = scales(self.x, self.groups)
        ones = np.ones((1, n)) * (np.abs(self.x).max(initial=0) or 1.0)
        if n <= SMALL:
            return np.concatenate([np.diag(scale), ones, rng.choice([-1.0, 1.0], (2, n)) * scale])
        single = np.zeros((8, n))
        single[np.arange(8), rng.choice(n, 8, replace=False)] = 1.0
        return np.concatenate([single * scale, ones, rng.choice([-1.0, 1.0], (8, n)) * scale])

    @cached_property
    def slopes(self) -> Slopes:
        """The derivatives of the plain function along `directions`."""
        return slopes(self.flat_outputs, self.x, self.directions)

    @cached_property
    def working_dtype(self) -> np.dtype:
        """The type whose accuracy may be asked for: the narrowest that the hand-derived programs compute in.

        But only where the plain function computes in it as well, or the arguments were given in it: a backward pass
        that rounds what the forward pass does not has lost something.
        """
        excused = narrowest(self.value_program.jaxpr, self.dtype)
        given = self.given if self.given is not None else self.dtype
        excused = given if coarser(given, excused) else excused
        by_hand = narrowest(self.hand_program.jaxpr, self.dtype)
        return excused if coarser(by_hand, excused) else by_hand

    @cached_property
    def stops_gradient(self) -> bool:
        """Whether a `stop_gradient` in the plain function changes its derivative: then only autodiff can say which.

        One that shields, say, the largest logit of a softmax changes nothing, and the numbers say so.
        """
        if not self.x.size or not self.differentiable or not holds(self.value_program.jaxpr, "stop_gradient"):
            return False
        upstream = self.upstream(0)
        along = self.directions @ flatten(dual(self.auto(self.point.arrays, upstream)[1]))
        weights = flatten(dual(upstream))
        with np.errstate(all="ignore"):
            value, bar = self.slopes.value @ weights, self.slopes.bar @ np.abs(weights)
            off = np.abs(along - value) > 8 * bar + 1e-6 * np.abs(value)
        return bool(np.any(off & np.isfinite(value) & ~self.slopes.kinked.any(1)))


_PROGRAMS = (
    "outputs",
    "hand_program",
    "auto_program",
    "auto_mapped",
    "_value_mapped",
    "value_program",
    "stops_gradient",
    "differentiable",
)


def _precision_like(dtype: Any, wanted: Any) -> Any:
    if np.issubdtype(dtype, np.complexfloating):
        return np.dtype(np.complex128 if wanted == np.float64 else np.complex64)
    return wanted


def _stacked(x: Any, count: int) -> Any:
    return np.broadcast_to(np.asarray(x)[None], (count, *x.shape))


def _cast_like(x: Any, form: Any) -> Any:
    return np.asarray(x).astype(form.dtype)
