"""The verifier proves itself: errors planted in the very gradients it passes must be found."""

from collections.abc import Iterator

import numpy as np

from ...jaxprs.inputs import Leaves, replaced
from ..decide import judge_by_differences, judge_gradient
from ..subject import Subject
from .registry import Verdict


def finds_planted_errors(subject: Subject) -> Iterator[Verdict]:
    """A sign flip of a whole gradient, and an error of 1 % in its smallest element that matters, are rejected.

    They are planted in what the backward pass answers and judged as the law on gradients judges, so that nothing is
    traced or drawn again.
    """
    case = subject.case
    answers = [case.hand(case.point.arrays, upstream)[1] for upstream in subject.upstreams]
    planted = 0
    for leaf, argument in enumerate(case.names()):
        size = np.abs(np.asarray(answers[0][leaf])).reshape(-1)
        if not size.size or not np.isfinite(size).all() or not size.max(initial=0.0):
            continue  # never exercised: reported by the law on that
        # Of the elements that matter, the smallest: an error there is the hardest to see.
        matters = np.flatnonzero(size >= 1e-3 * size.max())
        one_percent = np.ones(size.size)
        one_percent[matters[np.argmin(size[matters])]] = 1.01
        for name, factor in (("sign flip", -np.ones(size.size)), ("1 % error", one_percent)):
            planted += 1
            if not _found(subject, answers, leaf, factor):
                yield Verdict(
                    False,
                    f"a {name} planted in the gradient of {argument} was not found",
                    suspect="the verifier is blind here: choose other arguments",
                )
                return
    yield Verdict(True, f"{planted} planted in the gradients, all found")


def _found(subject: Subject, answers: list[Leaves], leaf: int, factor: np.ndarray) -> bool:
    """Whether a gradient multiplied elementwise is rejected at one of the upstream gradients."""
    case = subject.case
    for upstream, right in zip(subject.upstreams, answers, strict=True):
        gradient = np.asarray(right[leaf])
        wrong = replaced(right, [leaf], [(gradient * factor.reshape(gradient.shape)).astype(gradient.dtype)])
        if case.differentiable:
            passed = judge_gradient(case, wrong, upstream, case.working_dtype).passed
        else:
            passed, _ = judge_by_differences(case, wrong, upstream)
        if passed is False:
            return True
    return False
