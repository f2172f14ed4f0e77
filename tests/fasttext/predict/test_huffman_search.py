"""The Huffman tree of labels: its probabilities, and the search in it, beside the products written out."""

import numpy as np
import pytest

from jaxbackprop.fasttext.predict.huffman_search import Tree
from jaxbackprop.fasttext.predict.top_k import log

LEAST = log(np.zeros((), np.float32))


def made(labels: int, texts: int = 20, dim: int = 6, scale: float = 1.0) -> tuple[Tree, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(labels)
    counts = np.sort(rng.zipf(1.5, labels).clip(max=10**9))[::-1]
    x = rng.normal(size=(texts, dim)).astype(np.float32)
    return Tree.of(counts), x, (rng.normal(size=(labels, dim)) * scale).astype(np.float32)


def probability(tree: Tree, x: np.ndarray, output: np.ndarray, label: int) -> np.ndarray:
    """The product of the sigmoids on the way to a label, in double precision: (N,)."""
    parents = {int(child): (node, side) for node, pair in enumerate(tree.children) for side, child in enumerate(pair)}
    p, node = np.ones(len(x)), label
    while node != len(tree.children) - 1:
        node, side = parents[node]
        right = 1 / (1 + np.exp(-(x.astype(np.float64) @ output[node - tree.labels])))
        p *= right if side else 1 - right
    return p


def test_a_frequent_label_is_near_the_root():
    """Counts 8, 4, 2, 1, 1: Huffman's code lengths are 1, 2, 3, 4, 4."""
    tree = Tree.of(np.array([8, 4, 2, 1, 1]))
    depth = {len(tree.children) - 1: 0}
    for level in tree.levels:
        for node in level:
            depth |= {int(child): depth[int(node)] + 1 for child in tree.children[node]}
    assert [depth[label] for label in range(5)] == [1, 2, 3, 4, 4]


@pytest.mark.parametrize("labels", [1, 2, 3, 50])
def test_a_label_is_as_probable_as_the_ways_to_it(labels: int):
    tree, x, output = made(labels)
    p = np.exp(tree.log_probabilities(x, output))
    for label in range(labels):
        np.testing.assert_allclose(p[:, label], probability(tree, x, output, label), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("labels", [12, 700])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_the_search_finds_what_computing_all_labels_finds(labels: int, k: int, scale: float):
    tree, x, output = made(labels, scale=scale)
    scores = tree.scores(x, output, LEAST)
    counts, found, values = tree.search(x, output, k, LEAST)
    ends = np.cumsum(counts)
    for text, (a, b) in enumerate(zip(ends - counts, ends, strict=True)):
        best = [place for place in np.argsort(-scores[text], kind="stable")[:k] if scores[text, place] >= LEAST]
        assert found[a:b].tolist() == best
        np.testing.assert_allclose(np.exp(values[a:b]), np.exp(scores[text, best]), rtol=0, atol=1e-6)
        alone, logs = tree.search_one(x[text], output, k, LEAST)
        assert alone.tolist() == best
        np.testing.assert_allclose(np.exp(logs), np.exp(scores[text, best]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_of_equal_labels_the_search_finds_the_lower_first(k: int):
    """Eight labels that occur alike, and output rows of 0: all labels are equal."""
    tree = Tree.of(np.full(8, 3))
    counts, found, _ = tree.search(np.ones((2, 4), np.float32), np.zeros((8, 4), np.float32), k, LEAST)
    assert counts.tolist() == [k, k]
    assert found.tolist() == [*range(k), *range(k)]


def test_the_search_visits_few_of_many_labels(monkeypatch: pytest.MonkeyPatch):
    """Of 20,000 labels the best costs some ways from the root, beside the one that gives the bound."""
    tree, x, output = made(20_000, texts=50, scale=4.0)
    visited, step = 0, Tree._step

    def counted(self: Tree, x: np.ndarray, output: np.ndarray, text: np.ndarray, *others: np.ndarray):
        nonlocal visited
        visited += len(text)
        return step(self, x, output, text, *others)

    monkeypatch.setattr(Tree, "_step", counted)
    tree.search(x, output, 1, LEAST)
    assert visited / len(x) < 20 * len(tree.levels)


def test_a_threshold_leaves_out_what_falls_below_it_on_the_way():
    tree, x, output = made(30)
    least = log(np.float32(0.2))
    counts, _, values = tree.search(x, output, 30, least)
    p = np.exp(tree.log_probabilities(x, output))
    assert counts.tolist() == (p >= 0.2).sum(1).tolist()
    assert (values >= least).all()
