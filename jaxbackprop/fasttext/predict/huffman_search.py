"""Labels as the leaves of a Huffman tree: their probabilities, and the best few found without visiting all of them.

How the tree is built is the business of huffman.py; how a text becomes a vector is not known here.
"""

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from .huffman import joined
from .top_k import heap_order, log

RISE = 2e-5  # a score may rise on the way down, by log(1 + 1e-5) a step; twice that is allowed for


@dataclass(frozen=True, eq=False)
class Tree:
    """The Huffman tree of L labels: nodes 0 to L - 1 are the labels, 2 L - 2 is the root.

    children  (2 L - 1, 2) int32: left and right, -1 for a leaf; the way right is the sigmoid of the node's score
    levels    the inner nodes by their distance from the root, from the root down
    visit_order     (L,) int64 the labels from left to right: the order in which fastText's search meets them
    """

    children: np.ndarray
    levels: tuple[np.ndarray, ...]
    visit_order: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> "Tree":
        """The tree of labels that occur so often, in their order (by falling count)."""
        children = joined(counts)
        labels = len(counts)
        levels, at = [], np.array([2 * labels - 2])
        leaves_below = np.ones(len(children), np.int64)
        while len(at := at[at >= labels]):
            levels.append(at)
            at = children[at].ravel()
        for level in reversed(levels):
            leaves_below[level] = leaves_below[children[level]].sum(1)
        place = np.zeros(len(children), np.int64)
        for level in levels:
            left, right = children[level].T
            place[left], place[right] = place[level], place[level] + leaves_below[left]
        return cls(children, tuple(levels), np.argsort(place[:labels]))

    @property
    def labels(self) -> int:
        """How many leaves there are."""
        return len(self.visit_order)

    def scores(self, x: np.ndarray, output: np.ndarray, least: np.ndarray) -> np.ndarray:
        """fastText's score of every label, in the order `visit_order`: (N, dim) -> (N, L) float32.

        It is the sum of log(p + 1e-5) over the way from the root; -inf where it falls below `least` on the way.
        """
        right = _sigmoid(x @ output[: self.labels - 1].T)
        scores = np.zeros((len(self.children), len(x)), np.float32)
        steps = np.stack([log(1 - right), log(right)]).transpose(0, 2, 1)  # (2, L - 1, N)
        for level in self.levels:
            above = np.where(scores[level] < least, -np.inf, scores[level]).astype(np.float32)
            for side in (0, 1):
                scores[self.children[level, side]] = above + steps[side, level - self.labels]
        scores = scores[self.visit_order]
        scores[scores < least] = -np.inf
        return np.ascontiguousarray(scores.T)

    def log_probabilities(self, x: np.ndarray, output: np.ndarray) -> np.ndarray:
        """The logarithm of every label's probability, in the order of their numbers: (N, dim) -> (N, L)."""
        scores = (x @ output[: self.labels - 1].T).T  # (L - 1, N)
        totals = np.zeros((len(self.children), len(x)), np.float32)
        for level in self.levels:
            s = scores[level - self.labels]
            totals[self.children[level, 0]] = totals[level] - np.logaddexp(0, s)
            totals[self.children[level, 1]] = totals[level] - np.logaddexp(0, -s)
        return totals[: self.labels].T

    def search(
        self, x: np.ndarray, output: np.ndarray, k: int, least: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k best labels of each text: how many, which, and their scores, best first.

        A beam of k finds k labels; then all nodes are followed that are no worse than the k-th of them. Where the k-th
        and the next are too close to tell apart, fastText's own course is followed for that text.
        """
        bound = np.full(len(x), least, np.float32)
        if k * 2 < self.labels:
            bound = np.maximum(self._beam(x, output, k) - RISE * len(self.levels), least)
        text, node = np.arange(len(x)), np.full(len(x), len(self.children) - 1)
        score = np.zeros(len(x), np.float32)
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        while len(text):
            alive = score >= bound[text]
            leaf = alive & (node < self.labels)
            found.append((text[leaf], node[leaf], score[leaf]))
            inner = alive & ~leaf
            text, node, score = self._step(x, output, text[inner], node[inner], score[inner])
        text, node, score = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((-score, text))
        text, node, score = text[order], node[order], score[order]
        first = np.searchsorted(text, np.arange(len(x)))
        rank = np.arange(len(text)) - first[text]
        close = (np.diff(text) == 0) & (-np.diff(score) <= np.where(rank[1:] == k, RISE * len(self.levels), 0))
        unclear = np.unique(text[1:][close & (rank[1:] <= k)])
        kept = (rank < k) & (score >= least)
        chosen = {t: self._followed(x[t], output, k, least) for t in unclear.tolist()}
        counts = np.bincount(text[kept], minlength=len(x))
        if not chosen:
            return counts, node[kept], score[kept]
        ends = np.cumsum(counts)
        labels, scores = np.split(node[kept], ends[:-1]), np.split(score[kept], ends[:-1])
        for t, (its_labels, its_scores) in chosen.items():
            labels[t], scores[t] = np.array(its_labels, np.int64), np.array(its_scores, np.float32)
        return np.array([len(part) for part in labels]), np.concatenate(labels), np.concatenate(scores)

    def _step(
        self, x: np.ndarray, output: np.ndarray, text: np.ndarray, node: np.ndarray, score: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both children of each node, with their scores."""
        right = _sigmoid(np.einsum("nd,nd->n", x[text], output[node - self.labels]))
        scores = np.stack([score + log(1 - right), score + log(right)], 1)
        return np.repeat(text, 2), self.children[node].ravel(), scores.ravel()

    def _beam(self, x: np.ndarray, output: np.ndarray, k: int) -> np.ndarray:
        """The k-th best score among labels that the k best nodes of each level lead to: (N,)."""
        if k == 1:
            return self._greedy(x, output)
        node = np.full((len(x), 1), len(self.children) - 1)
        score = np.zeros((len(x), 1), np.float32)
        while (text_place := np.nonzero(node >= self.labels))[0].size:
            text, place = text_place
            _, below, below_score = self._step(x, output, text, node[text, place], score[text, place])
            grown = np.full((len(x), node.shape[1], 2), -np.inf, np.float32)
            grown_node = np.full(grown.shape, 0)
            grown[..., 0], grown_node[..., 0] = score, node  # a leaf stays as it is
            grown[text, place], grown_node[text, place] = below_score.reshape(-1, 2), below.reshape(-1, 2)
            score, node = grown.reshape(len(x), -1), grown_node.reshape(len(x), -1)
            if node.shape[1] > k:
                best = np.argpartition(-score, k - 1, axis=1)[:, :k]
                score, node = np.take_along_axis(score, best, 1), np.take_along_axis(node, best, 1)
        return score.min(1) if score.shape[1] == k else np.full(len(x), -np.inf)

    def _greedy(self, x: np.ndarray, output: np.ndarray) -> np.ndarray:
        """The score of the label to which the likelier child of each node leads: (N,)."""
        text, node = np.arange(len(x)), np.full(len(x), len(self.children) - 1)
        score = np.zeros(len(x), np.float32)
        while len(text := text[node[text] >= self.labels]):
            at = node[text]
            right = _sigmoid(np.einsum("nd,nd->n", x[text], output[at - self.labels]))
            goes_right = right > 0.5
            score[text] += log(np.where(goes_right, right, 1 - right))
            node[text] = self.children[at, goes_right.astype(np.int64)]
        return score

    def _followed(self, x: np.ndarray, output: np.ndarray, k: int, least: np.ndarray) -> tuple[list[int], list[float]]:
        """The k best labels of one text by fastText's own course: depth first, left first, and a heap."""
        heap: list[float] = []
        visit_order: list[int] = []
        scores: list[np.ndarray] = []
        stack = [(len(self.children) - 1, np.zeros((), np.float32))]
        while stack:
            node, score = stack.pop()
            if score < least or (len(heap) == k and score < heap[0]):
                continue
            if node < self.labels:
                visit_order.append(node)
                scores.append(score)
                heappush(heap, float(score))
                if len(heap) > k:
                    heappop(heap)
                continue
            right = _sigmoid(x @ output[node - self.labels])
            stack.append((int(self.children[node, 1]), score + log(right)))
            stack.append((int(self.children[node, 0]), score + log(1 - right)))
        return heap_order(np.array(visit_order, np.int64), np.array(scores, np.float32), k)


def _sigmoid(score: np.ndarray) -> np.ndarray:
    """As fastText's search has it: in single precision, the quotient in double."""
    return (1 / (1 + np.exp(-np.maximum(score, np.float32(-80)))).astype(np.float64)).astype(np.float32)
