"""Every fault planted on purpose is found and named; no right rule is rejected, however odd.

An eighth of them, in one precision each; scripts/wrong_rules.py judges all of them in both.
"""

import zlib
from collections.abc import Sequence

import pytest
from planted import Planted, judge, mutations, odd, written

from jaxbackprop.verification.report import Verification

PRECISIONS = ("float64", "float32")
PARTS = 4
"""The wrong rules are judged in so many parts, the right ones in half as many, so that all workers share the load."""


def judged(cases: Sequence[Planted], part: int) -> list[tuple[Planted, str, Verification]]:
    """One precision for all of a part: programs of the plain function are shared by the faults of one rule."""
    dtype = PRECISIONS[part % len(PRECISIONS)]
    return [(case, dtype, judge(case, dtype)) for case in cases if zlib.crc32(case.name.encode()) % 8 == 0]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_wrong_rule_is_caught_and_the_cause_named_for_nine_in_ten(part: int):
    cases = [*mutations(part, PARTS), *written()[part::PARTS]]
    assert len(cases) >= 120 / PARTS
    found = judged(cases, part)
    assert [(case.name, dtype) for case, dtype, f in found if f.passed or f.verdict == "undecided"] == []
    unnamed = [(case.name, dtype, f.likely_cause) for case, dtype, f in found if not case.named(f.likely_cause)]
    assert len(unnamed) <= 1 + 0.1 * len(found), unnamed  # a part is small


@pytest.mark.parametrize("part", range(PARTS // 2))
def test_no_right_rule_is_rejected(part: int):
    cases = odd()[part :: PARTS // 2]
    assert len(cases) >= 60 / (PARTS // 2)
    rejected = [(case.name, dtype, f.failures) for case, dtype, f in judged(cases, part) if not f.passed]
    assert [(name, dtype, failures[0].name, failures[0].detail) for name, dtype, failures in rejected] == []


def test_no_two_of_them_have_the_same_name():
    names = [case.name for case in [*written(), *odd()]]
    assert len(set(names)) == len(names)
