"""What all commands share: compiled programs are kept."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from jaxbackprop.cli.console import keep_compiled_programs

COMMAND = "from jaxbackprop.cli import main; main()"


def test_a_second_run_finds_what_the_first_one_compiled(tmp_path: Path):
    (tmp_path / "data.csv").write_text("left,right,label\n1,2,right\n2,1,left\n3,4,right\n4,3,left\n")
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path), "JAX_DEBUG_LOG_MODULES": "jax"}
    home["XLA_FLAGS"] = ""  # what is compiled as quickly as in other tests is not worth keeping

    def run(out: str) -> str:
        arguments = ["train", "mlp", "--data", "data.csv", "--hidden", "8", "--epochs", "1", "--out", out]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=tmp_path, env=os.environ | home, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr

    assert "Persistent compilation cache hit" not in run("first")
    assert list((tmp_path / "cache").glob("**/*-cache"))
    assert "Persistent compilation cache hit" in run("second")
    assert (tmp_path / "first/metrics.jsonl").read_text().partition('"seconds"')[0] == (
        tmp_path / "second/metrics.jsonl"
    ).read_text().partition('"seconds"')[0]


def test_jaxs_own_variable_decides_where_it_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    before = jax.config.values["jax_compilation_cache_dir"]
    keep_compiled_programs()
    assert jax.config.values["jax_compilation_cache_dir"] == before


INTERRUPTED = """
import gc, signal, time
from jaxbackprop.cli import main
from jaxbackprop.cli.console import app

@app.command()
def waits():
    gc.callbacks.append(lambda phase, info: signal.raise_signal(signal.SIGINT) if phase == "start" else None)
    gc.collect()
    gc.callbacks.clear()
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
main(["waits"])
"""


def test_an_interruption_is_not_lost_in_a_callback():
    """Python ignores exceptions in those of its garbage collector, of which JAX has one."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert time.monotonic() - start < 50
