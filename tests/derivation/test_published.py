"""Functions from papers, for which there is no rule: each is derived, proved and right."""

import pytest
from derivable_papers import PAPERS

import jaxbackprop as jbp


@pytest.mark.parametrize("name", PAPERS)
def test_the_rule_is_proved_and_right(name):
    case = PAPERS[name]
    derived = jbp.derive(case.function, *case.args)
    assert derived.proof.verdict == "proved", derived.proof
    assert derived.verify(["gradient"]).passed, derived.code
