"""What laws are asked about: a target at a point, with its cases in every precision."""

from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..jaxprs.inputs import Leaves, Point
from ..jaxprs.queries import UNTRACEABLE
from .oracles.autodiff import Case
from .problem import Target

FLOATS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


class Subject:
    """A target at a point.

    Attributes:
        target: the hand-derived function.
        point: its arguments.
        number: which of several inputs this is.
        main: whether all laws are asked about this point, or only those that hold everywhere.
    """

    def __init__(self, target: Target, point: Point, *, main: bool = True, seed: int = 0, number: int = 0):
        self.target, self.point, self.main, self.seed, self.number = target, point, main, seed, number
        self._cases: dict[Any, Case] = {}
        self._programs: dict[Any, dict[tuple[Any, ...], Any]] = {}

    @cached_property
    def exact_dtype(self) -> Any:
        """float64, or the arguments' own type where the function does not take float64."""
        if self.target.typed:
            return self.point.narrowest
        exact = self._made(np.float64)
        try:
            _ = exact.hand_program
        except UNTRACEABLE:
            return self.point.dtype
        self._cases[np.dtype(np.float64)] = exact
        return np.dtype(np.float64)

    @cached_property
    def case(self) -> Case:
        """The case all laws start from: in float64 where that is possible."""
        return self.at(self.exact_dtype)

    def again(self, seed: int) -> "Subject":
        """This subject with other random numbers; what was traced is kept."""
        other = Subject(self.target, self.point, main=self.main, seed=seed, number=self.number)
        other._programs = self._programs
        return other

    def _made(self, dtype: Any) -> Case:
        programs = self._programs.setdefault(np.dtype(dtype), {})
        return Case(self.target, self.point, dtype, self.seed, programs)

    def at(self, dtype: Any) -> Case:
        """The case in another precision."""
        key = np.dtype(dtype)
        if key not in self._cases:
            self._cases[key] = self._made(key)
            if key != self.exact_dtype:
                self._cases[key].shaped_like(self.case)
        return self._cases[key]

    def rounded(self, dtype: Any) -> Case:
        """The float64 case at the point rounded to `dtype`: the truth for that precision."""
        return self.case.moved(self.point.cast(dtype))

    @cached_property
    def upstreams(self) -> list[Leaves]:
        """Cotangents: two dense random ones, one with a single number, and each output's alone."""
        outputs = self.case.outputs
        dense = [self.case.upstream(k) for k in range(2)]
        made = list(dense)
        sizes = [int(np.prod(o.shape)) for o in outputs]
        if max(sizes, default=0) > 1:
            leaf = int(np.argmax(sizes))
            one = [np.zeros_like(u) for u in dense[0]]
            at = int(self.case.random("single").integers(sizes[leaf]))
            one[leaf].reshape(-1)[at] = dense[0][leaf].reshape(-1)[at]
            made.append(one)
        if len(outputs) > 1:
            for j in range(len(outputs)):
                made.append([u if i == j else np.zeros_like(u) for i, u in enumerate(dense[1])])
        return made
