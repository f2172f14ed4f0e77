"""The verifier proves itself: errors planted in the very function it passes must be found."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from .laws import gradient
from .point import replaced
from .subject import Subject
from .verdict import Verdict


@jax.custom_vjp
def scale_gradient(x: Any, factor: Any) -> Any:
    """`x` itself, whose gradient is multiplied by `factor`, elementwise, on its way back."""
    return x


def _forward(x: Any, factor: Any) -> Any:
    return x, factor


def _backward(factor: Any, upstream: Any) -> Any:
    return (upstream * factor.astype(upstream.dtype), None)


scale_gradient.defvjp(_forward, _backward)


def finds_planted_errors(subject: Subject) -> Iterator[Verdict]:
    """A sign flip of a whole gradient, and an error of 1 % in its smallest element that matters, are rejected."""
    case = subject.case
    _, truth = case.hand(case.point.arrays, subject.upstreams[0])
    for leaf, position in enumerate(case.point.live):
        flat = np.abs(np.asarray(truth[leaf])).reshape(-1)
        if not flat.size or not np.isfinite(flat).all() or not flat.max(initial=0.0):
            continue  # never exercised: reported by the law on that
        # Of the elements that matter, the smallest: an error there is the hardest to see.
        at = int(np.flatnonzero(flat >= 1e-3 * flat.max())[np.argmin(flat[flat >= 1e-3 * flat.max()])])
        one_percent = np.ones(flat.size)
        one_percent[at] = 1.01
        shape = np.shape(truth[leaf])
        for name, factor in (("sign flip", -np.ones(shape)), ("1 % error", one_percent.reshape(shape))):
            planted = Subject(replace(subject.target, hand=_planted(subject, position, factor)), subject.point)
            found = [v for v in gradient(planted) if v.passed is False]
            argument = case.names()[leaf]
            if not found:
                yield Verdict(
                    False,
                    f"a {name} planted in the gradient of {argument} was not found",
                    suspect="the verifier is blind here: choose other arguments",
                )
                return
    yield Verdict(True, "a sign flip and a 1 % error planted in each gradient were found")


def _planted(subject: Subject, position: int, factor: np.ndarray) -> Any:
    def hand(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        arrays = [i for i, x in enumerate(leaves) if hasattr(x, "dtype")]
        i = arrays[position]
        return subject.target.hand(*tree.unflatten(replaced(leaves, [i], [scale_gradient(leaves[i], factor)])))

    return hand
