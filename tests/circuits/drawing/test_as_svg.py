"""The pictures in docs/circuits are what scripts/circuit_pictures.py draws."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "circuit_pictures.py"


@pytest.fixture(scope="module")
def drawn():
    spec = importlib.util.spec_from_file_location("circuit_pictures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pictures()


def test_the_pictures_are_up_to_date(drawn):
    """What is written in them, that is: places may differ in the last digit from machine to machine."""
    written = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "circuits").glob("*.svg")}
    assert set(written) == set(drawn)
    for name, text in drawn.items():
        assert re.findall(r">([^<>]+)</text>", text) == re.findall(r">([^<>]+)</text>", written[name]), (
            f"run python scripts/circuit_pictures.py: {name} has changed"
        )


def test_the_wrong_rule_is_marked(drawn):
    assert drawn["wrong_rule"].count("✗") == 1
    assert "✗" not in drawn["score_network"]
