"""Labels as the leaves of a Huffman tree: their probabilities, and the best few found without visiting all of them."""

from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

import numpy as np

from .huffman import joined
from .top_k import log

RISE = 2e-5  # a score may rise on the way down, by log(1 + 1e-5) a step; twice that is allowed for


@dataclass(frozen=True, eq=False)
class Tree:
    """The Huffman tree of L labels: nodes 0 to L - 1 are the labels, 2 L - 2 is the root.

    Attributes:
        children: (2 L - 1, 2) left and right child, -1 for a leaf; a node's sigmoid is the probability to go right.
        levels: the inner nodes by their distance from the root, from the root down.
    """

    children: np.ndarray
    levels: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, counts: np.ndarray) -> "Tree":
        """The tree of labels that occur so often, in their order (by falling count)."""
        children = joined(counts)
        labels = len(counts)
        levels, at = [], np.array([2 * labels - 2])
        while len(at := at[at >= labels]):
            levels.append(at)
            at = children[at].ravel()
        return cls(children, tuple(levels))

    @property
    def labels(self) -> int:
        """How many leaves there are."""
        return (len(self.children) + 1) // 2

    def scores(self, x: np.ndarray, output: np.ndarray, least: np.ndarray) -> np.ndarray:
        """fastText's score of every label: (N, dim) -> (N, L) float32.

        It is the sum of log(p + 1e-5) over the way from the root; -inf where it falls below `least` on the way.
        """
        right = _sigmoid(x @ output[: self.labels - 1].T)
        scores = np.zeros((len(self.children), len(x)), np.float32)
        steps = np.stack([log(1 - right), log(right)]).transpose(0, 2, 1)  # (2, L - 1, N)
        for level in self.levels:
            above = np.where(scores[level] < least, -np.inf, scores[level]).astype(np.float32)
            for side in (0, 1):
                scores[self.children[level, side]] = above + steps[side, level - self.labels]
        scores = scores[: self.labels]
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

        A beam of k finds k labels; then all nodes are followed that are no worse than the k-th of them. Of equal scores
        the lower label comes first.
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
        order = np.lexsort((node, -score, text))
        text, node, score = text[order], node[order], score[order]
        first = np.searchsorted(text, np.arange(len(x)))
        best = (np.arange(len(text)) - first[text] < k) & (score >= least)
        return np.bincount(text[best], minlength=len(x)), node[best], score[best]

    def search_one(self, x: np.ndarray, output: np.ndarray, k: int, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`search` of one text (dim,): the labels, and their scores. The likeliest node is followed first."""
        right = _sigmoid(output[: self.labels - 1] @ x)
        steps = np.stack([log(1 - right), log(right)], 1).tolist()
        bound, rise = float(least), RISE * len(self.levels)
        queue = [(-0.0, len(self.children) - 1)]
        found: list[tuple[float, int]] = []
        while queue and -queue[0][0] >= bound:
            cost, node = heappop(queue)
            if node < self.labels:
                found.append((cost, node))
                if len(found) >= k:
                    bound = max(float(least), -sorted(found)[k - 1][0] - rise)
                continue
            for child, step in zip(self._children[node], steps[node - self.labels], strict=True):
                heappush(queue, (float(np.float32(cost - step)), child))
        best = sorted(found)[:k]
        return np.array([node for _, node in best], np.int64), np.array([-cost for cost, _ in best], np.float32)

    @cached_property
    def _children(self) -> list[list[int]]:
        return self.children.tolist()

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


def _sigmoid(score: np.ndarray) -> np.ndarray:
    """As fastText's search has it: in single precision, the quotient in double."""
    return (1 / (1 + np.exp(-np.maximum(score, np.float32(-80)))).astype(np.float64)).astype(np.float32)
