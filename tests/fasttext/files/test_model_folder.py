"""A classifier on disk: what is there, what is read back, and what is said where it is broken."""

import json
from pathlib import Path

import pytest
from fasttexts_models import model_of

from jaxbackprop.data import DataError
from jaxbackprop.fasttext.files import model_folder as folder
from jaxbackprop.training.content_hashes import seal


def test_a_folder_keeps_what_fasttexts_file_does_not(tmp_path: Path):
    from dataclasses import replace

    model = model_of("softmax", tmp_path)
    model = replace(model, settings=replace(model.settings, seed=7, optimizer="adagrad", lr=0.25))
    folder.save(model, tmp_path / "run", {"data": {"name": "x"}})
    assert folder.is_model(tmp_path / "run")
    assert folder.load(tmp_path / "run").settings == model.settings
    assert folder.config(tmp_path / "run")["data"] == {"name": "x"}
    assert folder.load(tmp_path / "run" / "model.bin").settings.seed == 0
    (tmp_path / "run" / "config.json").unlink()
    assert folder.load(tmp_path / "run").settings.seed == 0  # only the file is left


def test_what_is_no_model_is_told_apart(tmp_path: Path):
    assert not folder.is_model(tmp_path)
    assert folder.is_model(tmp_path / "not-yet-there.ftz")
    with pytest.raises(DataError, match=r"a folder without model\.bin"):
        folder.load(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        folder.load(tmp_path / "model.bin")


def test_a_broken_config_is_named_with_its_line(tmp_path: Path):
    folder.save(model_of("softmax", tmp_path), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace('"settings"', "settings"))
    with pytest.raises(DataError, match=r"config\.json, line \d+: found broken JSON"):
        folder.load(tmp_path / "run")


def test_a_setting_that_is_none_names_the_config(tmp_path: Path):
    folder.save(model_of("softmax", tmp_path), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["settings"]["dimm"] = config["settings"].pop("dim")
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match="a content that sha256 is not the hash of"):
        folder.load(tmp_path / "run")
    path.write_text(json.dumps(seal(config)))
    with pytest.raises(TypeError, match=r"config\.json: there is no option 'dimm'\. Did you mean dim"):
        folder.load(tmp_path / "run")
