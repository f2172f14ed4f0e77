"""The numbers of a failure: expected and actual gradients, and where they were compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...jaxprs.inputs import Leaves
from ..axes import described
from ..examine import Comparison, compared
from ..problem import Problem
from ..wording import expected_and_got, index, number, region


@dataclass(frozen=True)
class Evidence:
    """One gradient that is wrong.

    Attributes:
        problem: where, in float64 (or the inputs' own precision).
        found: what was compared with what.
        upstream: the upstream gradient that was sent in.
        leaf: the differentiable array whose gradient is wrong.
        dtype: the precision in which it is; None where the formula is wrong.
    """

    problem: Problem
    found: Comparison
    upstream: Leaves
    leaf: int
    dtype: Any = None

    @property
    def actual(self) -> np.ndarray:
        """The gradient of the handwritten backward pass."""
        return np.asarray(self.found.actual[self.leaf])

    @property
    def expected(self) -> np.ndarray:
        """The right gradient, as far as known."""
        return np.asarray(self.found.expected[self.leaf])

    @property
    def wrong(self) -> np.ndarray:
        """Which elements are wrong."""
        return self.found.wrong[self.leaf]

    @property
    def argument(self) -> str:
        """The argument's name."""
        return self.problem.names()[self.leaf]

    def autodiff_at(self, arrays: Sequence[Any], upstream: Leaves) -> tuple[Leaves, np.ndarray]:
        """The outputs, and this leaf's gradient by autodiff, at other arrays or for another upstream gradient."""
        found = self.problem.exact("autodiff", [*arrays, *upstream])
        count = len(self.problem.outputs)
        return found[:count], found[count + self.leaf]

    def with_another_upstream(self) -> "Evidence | None":
        """The same fault for another upstream gradient, as a witness; None where autodiff is not the truth."""
        if self.found.by or not np.isfinite(self.expected).all() or not np.isfinite(self.actual).all():
            return None
        upstream = self.problem.upstream(3)
        actual = self.problem.handwritten_vjp(upstream)[1]
        expected = self.problem.autodiff_vjp(upstream)[1]
        found = compared(actual, expected, self.found.error_bound, self.problem.dtype)
        return Evidence(self.problem, found, upstream, self.leaf) if found.wrong[self.leaf].any() else None

    def worst(self) -> tuple[int, ...] | None:
        """The index of the wrong element that is farthest off."""
        return next((index for leaf, index in self.found.elements() if leaf == self.leaf), None)

    @property
    def region(self) -> str:
        """Where it is wrong, in words."""
        array = self.problem.inputs.arrays[self.problem.inputs.live[self.leaf]]
        return region(self.wrong, array, described(self.problem, self.leaf))

    def sentence(self) -> str:
        """Which argument, which element, the expected and the actual value, and where else it is wrong."""
        at = self.worst()
        if at is None:
            return "; ".join(self.found.outside[:2])
        expected, actual = self.expected[at], self.actual[at]
        said = f"{self.argument}{index(at)}: {expected_and_got(expected, actual)}"
        bound = float(np.real(np.asarray(self.found.error_bound[self.leaf])[at]))
        if abs(actual - expected) <= 1e-2 * abs(expected):
            said += f" (tolerance {number(bound, 1)})"
        where = self.region
        return said + (f"; wrong: {where}" if where else "")
