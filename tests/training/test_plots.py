"""A run's pictures are drawn for every kind of run; where matplotlib is missing that is said."""

import sys
from pathlib import Path

import numpy as np
import pytest

from jaxbackprop.models import MLP
from jaxbackprop.training import fit
from jaxbackprop.training.history import Epoch, History
from jaxbackprop.training.plots import draw_confusion, draw_curves

matplotlib = pytest.importorskip("matplotlib")


def history(epochs: int, *, held_out: bool) -> History:
    made = tuple(
        Epoch(k, 1 / k, 1 - 0.5 / k, 1.2 / k if held_out else None, 1 - 0.6 / k if held_out else None, 0.1, 1e4)
        for k in range(1, epochs + 1)
    )
    return History(made, made[-1], False, 0.5)


def ink(path: Path) -> np.ndarray:
    """The picture's pixels (height, width, 4)."""
    import matplotlib.image

    return matplotlib.image.imread(path)


@pytest.mark.parametrize(("epochs", "held_out"), [(1, False), (1, True), (30, False), (30, True)])
def test_learning_curves_show_a_line_for_each_kind_of_example(tmp_path: Path, epochs: int, held_out: bool):
    draw_curves(history(epochs, held_out=held_out), tmp_path / "curves.png")
    pixels = ink(tmp_path / "curves.png")[..., :3]
    for colour, expected in (((0x25, 0x63, 0xA8), True), ((0xD9, 0x73, 0x1A), held_out)):
        seen = (np.abs(pixels - np.array(colour) / 255) < 0.02).all(-1).any()
        assert seen == expected


@pytest.mark.parametrize("classes", [2, 10, 21, 150])
def test_a_confusion_matrix_is_drawn_whatever_the_number_of_classes(tmp_path: Path, classes: int):
    confusion = np.diag(np.full(classes, 50))
    confusion[0, 1] = 7
    names = [f"a class of a rather long name, number {k}" for k in range(classes)]
    draw_confusion(confusion, tmp_path / "confusion.png", classes=names)
    pixels = ink(tmp_path / "confusion.png")[..., :3]
    blue = (pixels[..., 2] > pixels[..., 0] + 0.3).sum()
    orange = (pixels[..., 0] > pixels[..., 2] + 0.3).sum()
    assert blue > orange > 0


def test_a_class_without_examples_and_a_run_without_errors_are_drawn(tmp_path: Path):
    draw_confusion(np.diag([3, 0, 2]), tmp_path / "perfect.png")
    draw_confusion(np.zeros((3, 3), int), tmp_path / "empty.png")


def test_nothing_of_matplotlibs_global_state_is_changed(tmp_path: Path):
    before = dict(matplotlib.rcParams)
    draw_curves(history(3, held_out=True), tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_a_run_ends_well_and_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from flax import nnx

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])
    with pytest.warns(UserWarning, match=r"pip install 'jaxbackprop\[plots\]'"):
        fit(MLP(2, [], 2, rngs=nnx.Rngs(0)), (x, y), epochs=1, out=tmp_path)
    assert not (tmp_path / "curves.png").exists()
    assert (tmp_path / "metrics.jsonl").exists()
