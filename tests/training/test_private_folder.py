"""Compiled programs are taken from a folder alone that is the user's own."""

import os
import sys
from pathlib import Path

import pytest

from jaxbackprop.cli.console import keep_compiled_programs
from jaxbackprop.training.private_folder import is_private


def test_a_folder_that_others_can_write_is_not_private(tmp_path: Path):
    folder = tmp_path / "folder"
    assert is_private(folder), "it will be the user's"
    for mode, expected in ((0o755, True), (0o700, True), (0o775, False), (0o777, False)):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        assert is_private(folder) == expected, oct(mode)


def test_the_commands_keep_programs_in_a_private_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "jax")  # a command's settings are read when JAX is imported
    folder = tmp_path / "jaxbackprop"
    folder.mkdir()
    for mode, expected in ((0o777, None), (0o755, str(folder / "compiled"))):
        folder.chmod(mode)
        monkeypatch.setattr(os, "environ", {"XDG_CACHE_HOME": str(tmp_path)})
        keep_compiled_programs()
        assert os.environ.get("JAX_COMPILATION_CACHE_DIR") == expected
