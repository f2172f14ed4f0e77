"""What a setting is where it was not given."""

import json
from pathlib import Path

import pytest

from jaxbackprop.fasttext.options import settings_of
from jaxbackprop.fasttext.presets import with_defaults
from jaxbackprop.fasttext.settings import Settings

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results" / "text_defaults.json"


def test_fasttexts_preset_changes_nothing():
    assert settings_of(with_defaults({}, "fasttext"), called="a test") == Settings()


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
def test_every_loss_and_optimizer_has_defaults_that_fit(loss: str, optimizer: str):
    settings = settings_of(with_defaults({"loss": loss, "optimizer": optimizer}), called="a test")
    assert bool(settings.idf) == (optimizer == "sgd")
    assert bool(settings.smoothing) == (loss == "softmax")


def test_what_is_given_is_kept():
    assert with_defaults({"dim": 7, "lr": 0.1})["dim"] == 7
    assert with_defaults({"dim": 7, "lr": 0.1})["lr"] == 0.1


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="'fast'; it is default or fasttext"):
        with_defaults({}, "fast")


def test_the_defaults_are_those_that_the_experiment_chose():
    """They lose on none of the four sets' held-out texts."""
    d = with_defaults({})
    name = (
        f"bucket {d['bucket']}, dim {d['dim']}, lr {d['lr']}, epochs {d['epoch']}, "
        f"idf {d['idf']:g}, smoothing {d['smoothing']:g}"
    )
    measured = json.loads(RESULTS.read_text())["measured"]
    assert all(row["candidates"][name] >= row["reference"] for row in measured.values())
