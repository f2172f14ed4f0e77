"""One target at one input, and what the oracles say about it: autodiff and numerical derivatives.

Programs are traced once and evaluated in NumPy (`interpreter.py`). Nothing here judges: laws do.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from ...jaxprs.flatten import as_real, dual, flatten, unflatten
from ...jaxprs.inputs import (
    Leaves,
    Point,
    generator,
    jittered,
    normal_like,
    precision_like,
    repeated,
    replaced,
    unit_roundoff,
)
from ...jaxprs.number_systems.arithmetic import Noisy
from ...jaxprs.number_systems.interpreter import FLOAT64, WRITTEN, evaluate
from ...jaxprs.queries import UNTRACEABLE, coarser, holds, narrowest, over_rows, shaken
from ...jaxprs.rules import holds_rule, replay
from ..problem import Target
from .finite_differences import FIRST, Slopes, directions, scales, slopes

Programs = dict[tuple[Any, ...], Any]  # what was traced and else holds at every point of the same shapes, by name
JITTERS = 4


class Case:
    """A target at a point, traced in one precision.

    Attributes:
        target: what is verified.
        point: where, its floating-point numbers in `dtype`.
        dtype: the precision the hand-derived function runs in.
        nearby: what `settle.py` found out about points close by, direction by direction.
    """

    def __init__(self, target: Target, point: Point, dtype: Any, seed: int = 0, programs: Programs | None = None):
        self.target, self.dtype, self.seed = target, np.dtype(dtype), seed
        self.point = point if target.typed else point.cast(dtype)
        self.given: Any = point.dtype
        self.programs: Programs = {} if programs is None else programs
        self._drawn: dict[tuple[Any, ...], Any] = {}
        self._cotangents: dict[int, Leaves] = {}
        self.nearby: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def moved(self, point: Point) -> "Case":
        """This case at another point of the same shapes: nothing is traced again."""
        _ = self.stops_gradient  # a property of the function, asked about where the first point is
        other = Case(self.target, point, self.dtype, self.seed, self.programs)
        other.given = self.given
        return other

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` answers: known once for every point of these shapes, every seed."""
        if (name,) not in self.programs:
            self.programs[name,] = make()
        return self.programs[name,]

    def shaped_like(self, other: "Case") -> None:
        """The outputs have the shapes of another precision's: no need to trace only to learn them."""
        forms = [jax.ShapeDtypeStruct(o.shape, precision_like(o.dtype, self.dtype)) for o in other.outputs]
        self._once("outputs", lambda: forms)

    def names(self) -> list[str]:
        """The live arrays by name."""
        return [self.point.label_of(i, self.target.names) for i in self.point.live]

    def random(self, *words: Any) -> np.random.Generator:
        """A generator for this case and these words."""
        return generator(self.target.name, self.seed, *words)

    def trace(self, function: Callable, *args: Any, once: tuple[Any, ...] = ()) -> ClosedJaxpr:
        """The jaxpr of `function` at `args`, in 64 bits where this case is; under a name `once`, traced only once."""
        if once in self.programs:
            return self.programs[once]
        with jax.enable_x64(self.dtype.itemsize == 8 or jax.config.read("jax_enable_x64")):
            made = jax.make_jaxpr(function)(*args)
        return self.programs.setdefault(once, made) if once else made

    # What the hand-derived function answers.

    @property
    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the inexact outputs."""
        return self._once(
            "outputs", lambda: [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in self.value_program.out_avals]
        )

    @property
    def hand_program(self) -> ClosedJaxpr:
        """The VJP of the hand-derived function."""
        return self.trace(self.point.pulling(self.target.hand), self.point.arrays, self.upstream(0), once=("by hand",))

    @property
    def answers(self) -> list[Any]:
        """The dtypes of the outputs as the hand-derived function answers them."""
        return [v.dtype for v in self.hand_program.out_avals[: len(self.outputs)]]

    def hand(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients, by the hand-derived backward pass."""
        found = evaluate(self.hand_program, [*arrays, *upstream])
        return found[: len(self.outputs)], found[len(self.outputs) :]

    @property
    def auto_program(self) -> ClosedJaxpr:
        """The stripped primal's VJP."""
        return self.trace(self.plain_pull(), self.point.arrays, self.upstream(0), once=("by autodiff",))

    @property
    def differentiable(self) -> bool:
        """Whether autodiff can differentiate the plain function: not a while loop, nor a primitive without a rule."""
        return self._once("differentiable", self._differentiable)

    def _differentiable(self) -> bool:
        try:
            _ = self.auto_program
        except UNTRACEABLE:
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

    @property
    def auto_mapped(self) -> ClosedJaxpr:
        """The same, mapped over many points and cotangents: keys and integers stay."""
        axes = [0 if i in self.point.live else None for i in range(len(self.point.arrays))]
        mapped = over_rows(self.plain_pull(), axes, JITTERS + 1)
        stacked = [repeated(x, JITTERS + 1) if a == 0 else x for x, a in zip(self.point.arrays, axes, strict=True)]
        cotangents = [repeated(u, JITTERS + 1) for u in self.upstream(0)]
        return self.trace(mapped, stacked, cotangents, once=("by autodiff, mapped",))

    def auto(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by autodiff of the plain function, computed in float64 whatever it is written in."""
        found = evaluate(self.auto_program, [*arrays, *upstream], FLOAT64)
        return found[: len(self.outputs)], found[len(self.outputs) :]

    def auto_as_written(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, Leaves]:
        """Outputs and gradients by autodiff of the plain function in its own precision."""
        found = evaluate(self.auto_program, [*arrays, *upstream], WRITTEN)
        return found[: len(self.outputs)], found[len(self.outputs) :]

    def auto_near(self, upstream: Leaves, dtype: Any) -> list[tuple[Leaves, Leaves]]:
        """`auto` at the point and at its `jitters`: what moving everything by one unit in the last place does."""
        return self._remembered("near", upstream, dtype, lambda: self.auto_many(self.jitters(upstream, dtype)))

    def auto_noisy(self, upstream: Leaves, dtype: Any) -> list[tuple[Leaves, Leaves]]:
        """`auto` with every operation rounded at random as `dtype` rounds: JITTERS + 1 times, the first one exactly."""

        def runs() -> list[tuple[Leaves, Leaves]]:
            noisy, n = Noisy(unit_roundoff(dtype), self.random("noise")), len(self.outputs)
            found = [evaluate(self.auto_program, [*self.point.arrays, *upstream], noisy) for _ in range(JITTERS)]
            return [self.auto(self.point.arrays, upstream), *[(r[:n], r[n:]) for r in found]]

        return self._remembered("noisy", upstream, dtype, runs)

    def _remembered(self, what: str, upstream: Leaves, dtype: Any, make: Callable[[], Any]) -> Any:
        """What `make` answers; several laws ask for the same. The cotangents are the same objects or other ones."""
        key = (what, np.dtype(dtype), *map(id, upstream))
        if key not in self._drawn:
            self._drawn[key] = upstream, make()  # held, so that no other array can take its id
        return self._drawn[key][1]

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
        if k not in self._cotangents:
            dense = normal_like(self.random("upstream", k), self.outputs)
            self._cotangents[k] = [np.asarray(u).astype(o.dtype) for u, o in zip(dense, self.outputs, strict=True)]
        return self._cotangents[k]

    def jitters(self, upstream: Leaves, dtype: Any | None = None) -> list[tuple[Sequence[Any], Leaves]]:
        """The point and `upstream` themselves, and moved by one unit in the last place, JITTERS times."""
        rng, at = self.random("jitter"), dtype or self.dtype
        made: list[tuple[Sequence[Any], Leaves]] = [(self.point.arrays, upstream)]
        return made + [(jittered(rng, self.point.arrays, at), jittered(rng, upstream, at)) for _ in range(JITTERS)]

    def value_mapped(self, count: int) -> ClosedJaxpr:
        """The stripped primal, mapped over `count` points."""
        axes = [0 if i in self.point.live else None for i in range(len(self.point.arrays))]
        mapped = over_rows(lambda a: self._plain(*a), axes, count)
        arrays = [repeated(x, count) if a == 0 else x for x, a in zip(self.point.arrays, axes, strict=True)]
        return self.trace(mapped, arrays, once=("value, mapped", count))

    @property
    def value_program(self) -> ClosedJaxpr:
        """The plain function, without rules."""
        return self._once("value", self._value_program)

    def _value_program(self) -> ClosedJaxpr:
        program = self.trace(self.point.call(self.target.primal), *self.point.arrays)
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
        return unflatten(points, self.point.arrays, self.point.live)

    @cached_property
    def directions(self) -> np.ndarray:
        """See `numerical.directions`."""
        return directions(self.x, scales(self.x, self.groups), self.random("directions"))

    @cached_property
    def slopes(self) -> Slopes:
        """Along `directions`."""
        return slopes(self.flat_outputs, self.x, self.directions, self.shaken)

    @cached_property
    def shaken(self) -> np.ndarray:
        """How far each output moves when its arguments and every step towards it are rounded at random in float64."""
        return shaken(self.value_program, self.point.arrays, self.random("shaken"), JITTERS)

    @cached_property
    def working_dtype(self) -> np.dtype:
        """The type whose accuracy may be asked for: the narrowest that the hand-derived programs compute in.

        But only where the plain function computes in it as well, or the arguments were given in it: a backward pass
        that rounds what the forward pass does not has lost something.
        """
        excused = narrowest(self.value_program.jaxpr, self.dtype)
        excused = self.given if coarser(self.given, excused) else excused
        by_hand = narrowest(self.hand_program.jaxpr, self.dtype)
        return excused if coarser(by_hand, excused) else by_hand

    @property
    def stops_gradient(self) -> bool:
        """Whether a `stop_gradient` in the plain function changes its derivative: then only autodiff can say which.

        One that shields, say, the largest logit of a softmax changes nothing, and the numbers say so.
        """
        return self._once("stops gradient", self._stops_gradient)

    def _stops_gradient(self) -> bool:
        if not self.x.size or not self.differentiable or not holds(self.value_program.jaxpr, "stop_gradient"):
            return False
        if not self._disputed(self.x):
            return False
        # At a seam, where(w == 0, 0, w log p) at w = 0, autodiff misses one branch: not so beyond the longest step.
        n, rng = self.x.size, self.random("aside")
        away = 2 * FIRST * scales(self.x, self.groups) * rng.uniform(0.6, 1, n) * rng.choice([-1, 1], n)
        return any(self._disputed(x) is not False for x in (self.x + away, self.x - away))

    def _disputed(self, x: np.ndarray) -> bool | None:
        """Whether autodiff's derivative at the flat `x` is not the numerical one; None where that is not known."""
        arrays = [a[0] if i in self.point.live else a for i, a in enumerate(self.unflat(x[None]))]
        weights = flatten(dual(self.upstream(0)))
        along = self.directions @ flatten(dual(self.auto(arrays, self.upstream(0))[1]))
        s = self.slopes if x is self.x else slopes(self.flat_outputs, x, self.directions, self.shaken)
        with np.errstate(all="ignore"):
            value, bar = s.value @ weights, s.bar @ np.abs(weights)
            off = np.abs(along - value) > 8 * bar + 1e-6 * np.abs(value)
            known = np.isfinite(value) & np.isfinite(bar) & ~s.kinked.any(1)
        return bool(np.any(off & known)) if known.any() else None
