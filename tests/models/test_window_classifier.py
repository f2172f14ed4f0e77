"""The window classifier: what it computes, how windows are corrupted, and that it learns."""

import gzip
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import WindowClassifier, corrupted
from jaxbackprop.training import fit, scores

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
    found = np.asarray(model(jnp.array([[1, w, 3] for w in range(9)])))
    assert found.argmax() == 2


def tagged_windows(path: Path, numbers: dict[str, int] | None) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Windows of five words of a tagged file and whether the middle one is part of a location; 0 is a new word."""
    sentences = [
        [line.split("\t") for line in block.split("\n")] for block in gzip.open(path, "rt").read().strip().split("\n\n")
    ]
    if numbers is None:
        numbers = {w: k for k, w in enumerate(sorted({w.lower() for s in sentences for w, _ in s}), start=1)}
    windows, labels = [], []
    for sentence in sentences:
        ids = [-1, -1, *(numbers.get(word.lower(), 0) for word, _ in sentence), -1, -1]
        windows += [ids[k : k + 5] for k in range(len(sentence))]
        labels += ["location" in tag for _, tag in sentence]
    return np.array(windows, np.int32), np.array(labels), numbers


@pytest.mark.slow
def test_it_ranks_the_locations_of_new_tweets_above_other_words(shared_data: Path):
    """WNUT 2017, whose test set is chosen for names never seen before. The area under the ROC curve is the chance
    that a location scores higher than another word, 0.5 for one who guesses, with a spread of about
    0.5 / sqrt(244 locations) = 0.03: 0.65 is five of them away.
    """
    windows, labels, numbers = tagged_windows(shared_data / "wnut17" / "train.tsv.gz", None)
    test, wanted, _ = tagged_windows(shared_data / "wnut17" / "test.tsv.gz", numbers)
    rng = np.random.default_rng(0)
    kinds, counts = np.unique(windows, return_counts=True)
    rare = np.isin(windows, kinds[counts <= 5]) & (rng.random(windows.shape) < 0.5)
    windows = np.where(rare, 0, windows)  # so that the vector of a new word is learned too
    true = np.repeat(np.flatnonzero(labels), 40)
    corrupt = rng.choice(np.flatnonzero(~labels), len(true))
    model = WindowClassifier(len(numbers) + 1, 25, 5, 50, rngs=nnx.Rngs(0))
    fit(model, (windows[true], windows[corrupt]), epochs=3, batch=128, lr=3e-3)
    found = scores(model, test)
    above = np.searchsorted(np.sort(found[~wanted]), found[wanted]).mean() / (~wanted).sum()
    assert above > 0.65


@pytest.mark.parametrize(("size", "words", "message"), [(4, 9, "size is odd"), (3, 1, "a second word")])
def test_a_window_has_a_middle_and_another_word_to_put_there(size: int, words: int, message: str):
    with pytest.raises(ValueError, match=message):
        WindowClassifier(words, 4, size, 8, rngs=nnx.Rngs(0))


def test_windows_of_another_size_are_refused():
    model = WindowClassifier(9, 4, 3, 8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="of 5 words, but size is 3"):
        model(jnp.zeros((2, 5), jnp.int32))
