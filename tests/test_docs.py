"""The README's snippets run, and the commands it shows are commands."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jaxbackprop.cli import app

TEXT = (Path(__file__).resolve().parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
            for line in block.splitlines() if line.startswith("$ jaxbackprop ")]  # fmt: skip
QUICK = ("verify", "circuit", "info", "audit")


def test_the_readme_shows_code_and_commands():
    assert len(SNIPPETS) >= 2
    assert {shlex.split(command)[1] for command in COMMANDS} >= {"verify", "circuit", "train", "test", "predict"}


def test_the_snippets_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """From a file, as a reader would run them: a rule's report names the file and line of its definition."""
    file = tmp_path / "snippets.py"
    file.write_text("\n\n".join(SNIPPETS))
    runpy.run_path(str(file))
    printed = capsys.readouterr().out
    assert "swish: right" in printed
    assert re.findall(r"```\n(only one branch.*?)\n```", TEXT)[0] in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shown_command_can_be_called(command, tmp_path, monkeypatch):
    """Those that need no data are run; of the others the options are checked against the command's own help."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.partition(" | ")[0].partition(" < ")[0])[1:]
    if words[0] in QUICK and not any(word.endswith(".py") or ".py:" in word for word in words):
        assert CliRunner().invoke(app, words).exit_code == 0
    else:
        names = [word for word in words[:2] if not word.startswith("-")]
        names = names[:1] if words[0] != "train" else names
        page = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert page.exit_code == 0
        for option in (word for word in words if word.startswith("--")):
            assert option in re.sub(r"\x1b\[[0-9;]*m", "", page.output)
