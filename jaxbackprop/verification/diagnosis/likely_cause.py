"""From the numbers of a failure to its likely cause: the first hypothesis that explains them, for two cotangents."""

from collections.abc import Iterator

import numpy as np

from ...jaxprs.queries import UNTRACEABLE
from .evidence import Evidence
from .from_constants import another_constant, changed_table
from .from_jacobian import coupling, mask, transposed_map
from .from_numbers import (
    Hypothesis,
    another_argument,
    approximate,
    beyond,
    conjugated,
    constant_factor,
    diagonal,
    duplicates,
    edges,
    fits,
    left_out,
    local_value,
    misplaced,
    not_finite,
    nothing,
    remainder,
    rounded,
    signs,
    sparse,
    tie,
    transposed,
    wrong_axis,
)
from .from_other_inputs import changed_residual, changed_upstream
from .from_program import changed_steps, cut_branches, taken_for_symmetric

HYPOTHESES: tuple[Hypothesis, ...] = (
    # What the numbers say at once.
    *(tie, not_finite, nothing, rounded, conjugated, constant_factor, signs, another_argument, transposed),
    *(local_value, remainder, wrong_axis, misplaced),
    # The right gradient of something else.
    *(changed_upstream, changed_residual),
    *(duplicates, edges),
    # The Jacobian: an evaluation for each output.
    *(transposed_map, mask),
    # One step or constant gone wrong: each costs a trace.
    *(cut_branches, coupling, changed_steps, another_constant, changed_table, taken_for_symmetric),
    *(diagonal, left_out, beyond, sparse, approximate),
)


@np.errstate(all="ignore")
def likely_cause(evidence: Evidence) -> str:
    """The first hypothesis that explains the wrong gradient, for two upstream gradients; empty where none does."""
    other = evidence.with_another_upstream()
    for hypothesis in HYPOTHESES:
        said: list[str] | None = None
        for words in _all_words(hypothesis, evidence):
            if other is None:
                return words
            said = list(_all_words(hypothesis, other)) if said is None else said
            if words in said:
                return words
    return ""


def _all_words(hypothesis: Hypothesis, evidence: Evidence) -> Iterator[str]:
    """The words of every prediction that fits."""
    try:
        for words, predicted in hypothesis(evidence):
            if predicted is True or (predicted is not None and fits(evidence.actual, predicted)):
                yield words
    except (*UNTRACEABLE, IndexError):
        return  # shapes or primitives that the hypothesis is not about
