"""Every fault planted on purpose is found and named; no right rule is rejected, however odd."""

from functools import cache

import pytest
from planted import Planted, judge, mutations, odd, written

from jaxbackprop.verification.report import Verification

PRECISIONS = ("float64", "float32")


@cache
def wrong() -> list[Planted]:
    return [*mutations(), *written()]


@cache
def answers(dtype: str) -> list[tuple[Planted, Verification]]:
    return [(case, judge(case, dtype)) for case in wrong()]


def test_there_are_enough_of_them():
    assert len(wrong()) >= 120
    assert len(odd()) >= 60
    assert len({case.name for case in [*wrong(), *odd()]}) == len(wrong()) + len(odd())


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_wrong_rule_is_caught(dtype: str):
    assert [case.name for case, found in answers(dtype) if found.passed or found.verdict == "undecided"] == []


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_cause_is_named_for_nine_wrong_rules_in_ten(dtype: str):
    unnamed = [(case.name, found.likely_cause) for case, found in answers(dtype) if not case.named(found.likely_cause)]
    assert len(unnamed) <= 0.1 * len(wrong()), unnamed


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_no_right_rule_is_rejected(dtype: str):
    found = [(case.name, judge(case, dtype)) for case in odd()]
    assert [(name, f.failures[0].name, f.failures[0].detail) for name, f in found if not f.passed] == []
