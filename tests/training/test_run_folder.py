"""A run's folder: what is written is read back, what is broken says so, nothing whole is lost."""

import json
from pathlib import Path

import jax
import pytest

from jaxbackprop.data import DataError
from jaxbackprop.training.history import Epoch
from jaxbackprop.training.run_folder import RunFolder


def epoch(number: int) -> Epoch:
    return Epoch(number, 0.1 + 0.2, 1 / 3, None, None, 0.5, 100.0)


def test_epochs_are_recorded_line_by_line_to_the_last_digit(tmp_path: Path):
    run = RunFolder.create(tmp_path, {})
    run.record(epoch(1))
    run.record(epoch(2))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [0.1 + 0.2, 0.1 + 0.2]
    assert run.epochs() == [epoch(1), epoch(2)]
    assert run.forget_after(1) == [epoch(1)] == run.epochs()


def test_a_line_that_was_cut_off_is_not_an_epoch_and_a_broken_one_is_an_error(tmp_path: Path):
    run = RunFolder.create(tmp_path, {})
    run.record(epoch(1))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "lo')
    assert run.epochs() == [epoch(1)]
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write("\n")
    with pytest.raises(DataError, match="a broken line"):
        run.epochs()


def test_a_run_that_is_there_is_not_written_over(tmp_path: Path):
    RunFolder.create(tmp_path, {"fit": {"lr": 0.1}})
    with pytest.raises(DataError, match="a run that is there already"):
        RunFolder.create(tmp_path, {})
    config = RunFolder.open(tmp_path).config
    assert config["fit"] == {"lr": 0.1}
    assert config["versions"]["jax"] == jax.__version__


def test_words_of_any_script_and_words_that_are_no_text_are_written_and_read(tmp_path: Path):
    run = RunFolder.create(tmp_path, {"classes": ["犬", "chat"]})
    assert "犬" in (tmp_path / "config.json").read_text(encoding="utf-8")
    words = {"words": ["é", b"\xff\xfe".decode("utf-8", "surrogateescape")]}
    run.write("vocabulary.json", words)
    assert run.read("vocabulary.json") == words


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"no config\.json"):
        RunFolder.open(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        RunFolder.open(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"fit": {},\n "model": }')
    with pytest.raises(DataError, match="line 2: found broken JSON"):
        RunFolder.open(tmp_path).config  # noqa: B018
