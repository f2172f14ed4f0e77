"""Every experiment runs small, and what it claims holds."""

import importlib
import json
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


def test_ten_thousand_steps_on_the_spiral_give_the_published_losses():
    """CS231n's case study: 1.09 to 0.786 and 49 % linear; 1.10 to 0.245 and 98 % with a hidden layer."""
    spiral = importlib.import_module("spiral")
    measured = spiral.measure()
    spiral.claim(measured)
    assert measured["linear"]["first"] == pytest.approx(1.0969, abs=1e-3)
    assert measured["hidden"]["first"] == pytest.approx(1.0986, abs=2e-3)


def test_a_saturating_unit_starves_the_first_layer():
    vanishing = importlib.import_module("vanishing_gradients")
    vanishing.claim(vanishing.measure())


def test_a_claim_that_fails_is_reported_with_its_figures(tmp_path, monkeypatch, capsys):
    harness = importlib.import_module("harness")
    monkeypatch.setattr(harness, "RESULTS", tmp_path)

    def claim(measured):
        assert measured["share"] > 1

    with pytest.raises(SystemExit) as stopped:
        harness.report(lambda: {"share": 0.5}, claim)
    assert stopped.value.code == 1
    (written,) = tmp_path.iterdir()
    result = json.loads(written.read_text())
    assert (result["holds"], result["measured"]) == (False, {"share": 0.5})
    assert "DOES NOT HOLD" in capsys.readouterr().out


def test_circuits_stay_quick_and_their_pages_usable():
    speed = importlib.import_module("circuit_speed")
    speed.claim(speed.measure(equations=90, blocks=2, repeats=10))
