"""The verifier proves itself: errors planted in the very gradients it passes must be found."""

from collections.abc import Iterator

import numpy as np

from ...jaxprs.inputs import Leaves, replaced
from ..examine import compare_by_differences, compare_gradient
from ..problem import Problem
from .result import CheckResult


def finds_planted_errors(problem: Problem) -> Iterator[CheckResult]:
    """A sign flip of a whole gradient, and an error of 1 % in its smallest element that matters, are rejected.

    They are planted in what the backward pass answers and judged as the check of gradients judges, so that nothing is
    traced or drawn again.
    """
    answers = [problem.handwritten_vjp(upstream)[1] for upstream in problem.upstreams]
    planted = 0
    for leaf, argument in enumerate(problem.names()):
        size = np.abs(np.asarray(answers[0][leaf])).reshape(-1)
        if not size.size or not np.isfinite(size).all() or not size.max(initial=0.0):
            continue  # never exercised: reported by the law on that
        # Of the elements that matter, the smallest: an error there is the hardest to see.
        matters = np.flatnonzero(size >= 1e-3 * size.max())
        one_percent = np.ones(size.size)
        one_percent[matters[np.argmin(size[matters])]] = 1.01
        for name, factor in (("sign flip", -np.ones(size.size)), ("1 % error", one_percent)):
            planted += 1
            if not _found(problem, answers, leaf, factor):
                yield CheckResult(
                    False,
                    f"a {name} planted in the gradient of {argument} was not found",
                    suspect="the verifier is blind here: choose other arguments",
                )
                return
    yield CheckResult(True, f"{planted} planted in the gradients, all found")


def _found(problem: Problem, answers: list[Leaves], leaf: int, factor: np.ndarray) -> bool:
    """Whether a gradient multiplied elementwise is rejected at one of the upstream gradients."""
    for upstream, right in zip(problem.upstreams, answers, strict=True):
        gradient = np.asarray(right[leaf])
        wrong = replaced(right, [leaf], [(gradient * factor.reshape(gradient.shape)).astype(gradient.dtype)])
        if problem.differentiable:
            passed = compare_gradient(problem, wrong, upstream).passed
        else:
            passed, _ = compare_by_differences(problem, wrong, upstream)
        if passed is False:
            return True
    return False
