"""The window classifier: what it computes, how windows are corrupted, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import WindowClassifier, corrupted
from jaxbackprop.training import fit

IDS = jnp.array([[0, 3, 2], [5, 1, -1]])


def test_the_score_is_that_of_the_words_side_by_side():
    model = WindowClassifier(6, 4, 3, 7, rngs=nnx.Rngs(0))
    table, W, b, U = (np.asarray(v[...]) for v in (model.table, model.W, model.b, model.U))
    rows = np.concatenate([table, np.zeros((1, 4))])[np.asarray(IDS)]  # -1 is a vector of zeros
    by_hand = np.tanh(rows.reshape(2, 12) @ W + b) @ U[:, 0]
    assert np.asarray(model(IDS)) == pytest.approx(by_hand, rel=1e-5)


def test_a_corrupted_window_has_another_word_in_the_middle_and_only_there():
    windows = jnp.tile(jnp.array([[4, 2, 0, 1, 3]]), (3000, 1))
    changed = np.asarray(corrupted(windows, jax.random.key(0), words=5))
    assert (changed[:, [0, 1, 3, 4]] == np.asarray(windows)[:, [0, 1, 3, 4]]).all()
    counts = np.bincount(changed[:, 2], minlength=5)
    assert counts[0] == 0
    assert counts[1:].min() > 750 - 5 * np.sqrt(3000 * 0.25 * 0.75)  # four words, evenly


def test_it_learns_which_word_stands_in_the_middle():
    """True windows have one of the first five of forty words in their middle; those around it say nothing."""
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 40, (600, 5)).astype(np.int32)
    windows[:, 2] %= 5
    corrupt = rng.integers(0, 40, (600, 5)).astype(np.int32)
    corrupt[:, 2] = 5 + corrupt[:, 2] % 35
    model = WindowClassifier(40, 8, 5, 16, rngs=nnx.Rngs(0))
    history = fit(model, (windows[:500], corrupt[:500]), valid=(windows[500:], corrupt[500:]), epochs=15, lr=0.01)
    assert history.best.valid_accuracy == 1.0


def test_without_corrupt_windows_it_makes_its_own():
    windows = np.tile(np.array([[1, 2, 3]], np.int32), (64, 1))
    model = WindowClassifier(9, 4, 3, 8, rngs=nnx.Rngs(0))
    fit(model, (windows,), epochs=40, batch=32, lr=0.02)
    scores = np.asarray(model(jnp.array([[1, w, 3] for w in range(9)])))
    assert scores.argmax() == 2


@pytest.mark.parametrize(("size", "words", "message"), [(4, 9, "size is odd"), (3, 1, "a second word")])
def test_a_window_has_a_middle_and_another_word_to_put_there(size: int, words: int, message: str):
    with pytest.raises(ValueError, match=message):
        WindowClassifier(words, 4, size, 8, rngs=nnx.Rngs(0))


def test_windows_of_another_size_are_refused():
    model = WindowClassifier(9, 4, 3, 8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="of 5 words, but size is 3"):
        model(jnp.zeros((2, 5), jnp.int32))
