"""What all commands share: compiled programs are kept."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = "from jaxbackprop.cli import main; main()"


def test_a_second_run_finds_what_the_first_one_compiled(tmp_path: Path):
    (tmp_path / "data.csv").write_text("left,right,label\n1,2,right\n2,1,left\n3,4,right\n4,3,left\n")
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path), "JAX_DEBUG_LOG_MODULES": "jax"}
    home["XLA_FLAGS"] = ""  # what is compiled as quickly as in other tests is not worth keeping

    def run(out: str, **settings: str) -> str:
        arguments = ["train", "mlp", "--data", "data.csv", "--hidden", "64,64", "--epochs", "2", "--out", out]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=tmp_path, env=os.environ | home | settings, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr

    def programs(folder: Path) -> list[Path]:
        return list(folder.glob("**/*-cache"))

    assert "Persistent compilation cache hit" not in run("first")
    assert programs(tmp_path / "cache")
    assert "Persistent compilation cache hit" in run("second")
    assert (tmp_path / "first/metrics.jsonl").read_text().partition('"seconds"')[0] == (
        tmp_path / "second/metrics.jsonl"
    ).read_text().partition('"seconds"')[0]
    run("third", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "elsewhere"))
    assert programs(tmp_path / "elsewhere"), "JAX's own variable decides where it is set"
