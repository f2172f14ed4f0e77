"""Rules that others write: no right one is rejected, no wrong one passes.

An eighth of them; experiments/foreign_rules.py verifies all of them, in three types and with the causes.
"""

import zlib

import foreign
import pytest
from foreign import Foreign


def verified_here(entries: list[Foreign]) -> list[Foreign]:
    return [e for e in entries if zlib.crc32(e.name.encode()) % 8 == 0]


RIGHT, WRONG = verified_here(foreign.right()), verified_here(foreign.wrong())


def named(entries: list[Foreign]) -> list:
    return [pytest.param(entry, id=entry.name) for entry in entries]


def test_every_entry_has_a_name_of_its_own():
    names = [entry.name for entry in (*foreign.right(), *foreign.wrong())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("entry", named(RIGHT))
def test_a_right_rule_passes_every_check(entry: Foreign):
    found = entry.verified()
    assert [(c.name, c.detail) for c in found.failures] == []


@pytest.mark.parametrize("entry", named(WRONG))
def test_a_wrong_rule_is_found(entry: Foreign):
    found = entry.verified()
    assert not found.passed
    named = entry.named(found.likely_cause)
    assert found.verdict in ("wrong", "imprecise") or (found.verdict == "by design?" and named), found
