"""Checkpoints: what is written is read back to the bit, what is broken says so, nothing whole is lost."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.data import DataError
from jaxbackprop.training.checkpoints import Checkpoints

TREE = {
    "W": jnp.arange(6.0).reshape(2, 3),
    "half": jnp.ones(2, jnp.bfloat16),
    "n": jnp.uint32(7),
    "key": jax.random.key(5),
}


def test_a_checkpoint_gives_back_the_very_bits(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save("last", 3, TREE)
    blank = {**jax.tree.map(jnp.zeros_like, {k: v for k, v in TREE.items() if k != "key"}), "key": jax.random.key(0)}
    number, found = Checkpoints(tmp_path / "run").load("last", blank)
    assert number == 3
    assert np.array_equal(jax.random.key_data(found["key"]), jax.random.key_data(TREE["key"]))
    for name in ("W", "half", "n"):
        assert found[name].dtype == TREE[name].dtype
        assert np.array_equal(found[name], TREE[name])


def test_only_the_newest_checkpoint_is_kept_and_names_do_not_mix(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    for number in (1, 2, 3):
        checkpoints.save("last", number, {"x": jnp.full(2, number)})
    checkpoints.save("best", 2, {"x": jnp.full(2, 20)})
    assert [p.name for p in (tmp_path / "last").iterdir()] == ["3"]
    assert checkpoints.load("best", {"x": jnp.zeros(2, int)})[1]["x"].tolist() == [20, 20]


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path):
    """Orbax writes into a folder with another name and renames it once all is there."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("last", 1, {"x": jnp.ones(2)})
    (tmp_path / "last" / "2.orbax-checkpoint-tmp").mkdir()
    assert checkpoints.load("last", {"x": jnp.zeros(2)})[0] == 1


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("last", 1, {"x": jnp.ones(2)})
    with pytest.raises(DataError, match="do not fit"):
        checkpoints.load("last", {"y": jnp.zeros(2)})
    with pytest.raises(DataError, match="do not fit"):
        checkpoints.load("last", {"x": jnp.zeros((3, 3))})
    with pytest.raises(DataError, match="no checkpoint"):
        checkpoints.load("best", {"x": jnp.zeros(2)})
