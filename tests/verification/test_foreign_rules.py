"""Rules that others write: no right one is rejected, no wrong one passes, and the cause is named for nine in ten."""

import foreign
import pytest
from foreign import Foreign

RIGHT, WRONG = foreign.right(), foreign.wrong()


def named(entries: list[Foreign]) -> list:
    return [pytest.param(entry, id=entry.name) for entry in entries]


def test_every_entry_has_a_name_of_its_own():
    names = [entry.name for entry in (*RIGHT, *WRONG)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("entry", named(RIGHT))
def test_a_right_rule_passes_every_check(entry: Foreign):
    found = entry.verified()
    assert [(c.name, c.detail) for c in found.failures] == []


@pytest.mark.parametrize("entry", named(WRONG))
def test_a_wrong_rule_is_found(entry: Foreign):
    found = entry.verified()
    assert found.verdict in ("wrong", "imprecise"), found
