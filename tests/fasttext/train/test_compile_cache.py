"""Programs kept for the next process: found there, as they were, and never one that is not whole."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.fasttext.train.compile_cache import FOLDER, compiled

TRAIN = """
import hashlib, sys
from jaxbackprop.fasttext import train_supervised
model = train_supervised(input=sys.argv[1], dim=5, epoch=3, wordNgrams=2, bucket=100, lr=0.5)
print(hashlib.sha256(model.get_input_matrix().tobytes() + model.get_output_matrix().tobytes()).hexdigest())
"""


class Counted:
    """A jitted function that counts how often it is lowered."""

    __name__ = "counted"

    def __init__(self):
        self.lowered = 0
        self.jitted = jax.jit(lambda x, times: jnp.sort(x) * times, static_argnames="times")

    def lower(self, *arguments, **settings):
        self.lowered += 1
        return self.jitted.lower(*arguments, **settings)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where programs are kept, for one test."""
    before = {name: jax.config.values[name] for name in ("jax_compilation_cache_dir", "jax_enable_compilation_cache")}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_enable_compilation_cache", True)
    yield tmp_path / FOLDER
    for name, value in before.items():
        jax.config.update(name, value)


X = np.array([3.0, 1.0, 2.0], np.float32)


def test_a_program_is_lowered_once_and_then_read(folder):
    function = Counted()
    for _ in range(3):
        assert compiled(function, X, times=2)(X).tolist() == [2, 4, 6]
    assert function.lowered == 1
    assert len(list(folder.iterdir())) == 1


def test_other_shapes_and_other_settings_are_other_programs(folder):
    function = Counted()
    assert compiled(function, X, times=2)(X).tolist() == [2, 4, 6]
    assert compiled(function, X, times=3)(X).tolist() == [3, 6, 9]
    assert compiled(function, X[:2], times=3)(X[:2]).tolist() == [3, 9]
    assert function.lowered == 3
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_a_damaged_file_is_passed_over_and_replaced(folder, keep):
    function = Counted()
    compiled(function, X, times=2)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert compiled(function, X, times=2)(X).tolist() == [2, 4, 6]
    assert path.read_bytes() != whole[:keep]
    assert compiled(function, X, times=2)(X).tolist() == [2, 4, 6]
    assert function.lowered == 2


def test_nothing_is_kept_where_jax_keeps_nothing(folder):
    jax.config.update("jax_enable_compilation_cache", False)
    assert compiled(Counted(), X, times=2)(X).tolist() == [2, 4, 6]
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_told_and_no_error(folder):
    folder.parent.joinpath(FOLDER).write_text("a file")
    with pytest.warns(UserWarning, match="could not be kept"):
        program = compiled(Counted(), X, times=2)
    assert program(X).tolist() == [2, 4, 6]


def test_another_process_trains_to_the_same_bits_also_where_only_jaxs_own_cache_is_left(tmp_path):
    """A program that JAX read from its cache and that is written once more lacks parts: it must not be kept."""
    texts = tmp_path / "train.txt"
    texts.write_text("__label__a one two three\n__label__b four five\n" * 20)
    root = Path(__file__).resolve().parents[3]
    cache = tmp_path / "cache"
    environment = os.environ | {
        "PYTHONPATH": str(root),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_ENABLE_COMPILATION_CACHE": "true",
    }
    said, kept = [], []
    for go in range(4):
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, texts], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
        kept.append({path.name: path.stat().st_mtime_ns for path in (cache / FOLDER).iterdir()})
        if go == 1:
            for path in (cache / FOLDER).iterdir():
                path.unlink()
    assert len(set(said)) == 1
    assert len(kept[0]) == 2  # the first table, and the training
    assert kept[1] == kept[0]
    assert kept[3] == kept[2] != kept[0]
