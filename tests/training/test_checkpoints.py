"""Checkpoints: what is written is read back to the bit, what is broken says so, nothing whole is lost."""

import shutil
from pathlib import Path
from typing import Any

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


def zeros() -> dict[str, Any]:
    return {**{k: jnp.zeros_like(v) for k, v in TREE.items() if k != "key"}, "key": jax.random.key(0)}


def test_a_checkpoint_gives_back_the_very_bits(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save({"epochs": 3}, TREE, 2, {"x": jnp.ones(2)})
    checkpoints.wait()
    saved = Checkpoints(tmp_path / "run").load(zeros(), {"x": jnp.zeros(2)})
    assert saved.about == {"epochs": 3, "best_epoch": 2}
    assert saved.best["x"].tolist() == [1, 1]
    assert np.array_equal(jax.random.key_data(saved.state["key"]), jax.random.key_data(TREE["key"]))
    for name in ("W", "half", "n"):
        assert saved.state[name].dtype == TREE[name].dtype
        assert np.array_equal(saved.state[name], TREE[name])


def saved(folder: Path, count: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for k in range(1, count + 1):
        checkpoints.save({"epochs": k}, {"x": jnp.full(2, k)}, (k + 1) // 2, {"x": jnp.full(2, 10 * k)})
    checkpoints.wait()
    return checkpoints


def test_the_newest_two_are_kept_with_the_best_models_they_refer_to(tmp_path: Path):
    saved(tmp_path, 5)
    assert sorted(p.name for p in (tmp_path / "last").iterdir()) == ["4.json", "4.npy", "5.json", "5.npy"]
    assert sorted(p.name for p in (tmp_path / "best").iterdir()) == ["2.json", "2.npy", "3.json", "3.npy"]


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path):
    checkpoints = saved(tmp_path, 2)
    (tmp_path / "last" / "3.npy").write_bytes((tmp_path / "last" / "2.npy").read_bytes()[:-1])
    (tmp_path / "last" / "3.json.new").touch()
    with pytest.warns(UserWarning, match=r"3.json: found a checkpoint that is not described"):
        assert checkpoints.newest() == (2, {"epochs": 2, "best_epoch": 1})


def test_what_is_damaged_is_never_loaded(tmp_path: Path):
    """One byte of any file of the newest checkpoint or of its best model: the one before it is used, and a warning
    names the file. Where all are damaged, an error does.
    """
    saved(tmp_path / "whole", 3)
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    files = [file for file in files if str(file).startswith(("last/3", "best/2"))]
    assert len(files) == 4
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        content = bytearray((folder / file).read_bytes() or b" ")
        content[len(content) // 2] ^= 4
        (folder / file).write_bytes(content)
        with pytest.warns(UserWarning, match=r"The checkpoint before it is used"):
            assert Checkpoints(folder).newest() == (2, {"epochs": 2, "best_epoch": 1})
    (tmp_path / "whole/last/3.npy").write_bytes(b"")
    (tmp_path / "whole/last/2.npy").unlink()
    with pytest.raises(DataError, match=r"last/3.npy: found a checkpoint that is damaged"):
        Checkpoints(tmp_path / "whole").newest()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path):
    checkpoints = saved(tmp_path, 1)
    for other in ({"y": jnp.zeros(2)}, {"x": jnp.zeros((3, 3))}):
        with pytest.raises(DataError, match=r"found x: \w+ \[2\], expected .* as the model has it"):
            checkpoints.load_best(other)
    with pytest.raises(DataError, match="no checkpoint"):
        Checkpoints(tmp_path / "none").newest()
