"""What is drawn for each visit of a text: its place in the order, one of its labels, and the negative samples."""

from typing import Any

import numpy as np

from ...data import Bags


class Sampler:
    """The random choices of one training, the same for the same seed however the texts are cut into chunks.

    Attributes:
        counts: (L,) how often each label occurs.
        neg: negative samples a text.
    """

    def __init__(self, counts: np.ndarray, neg: int, seed: int):
        self.counts, self.neg = counts, neg
        seeds = np.random.SeedSequence(seed).spawn(3)
        self._for_labels, self._for_samples, self._for_order = map(np.random.default_rng, seeds)

    @property
    def state(self) -> list[Any]:
        """The state of all generators as JSON can hold it; set it to continue from there."""
        return [generator.bit_generator.state for generator in self._all]

    @state.setter
    def state(self, state: list[Any]) -> None:
        for generator, its in zip(self._all, state, strict=True):
            generator.bit_generator.state = its

    @property
    def _all(self) -> list[np.random.Generator]:
        return [self._for_labels, self._for_samples, self._for_order]

    def order(self, texts: int) -> np.ndarray:
        """All numbers below `texts`, (texts,)."""
        return self._for_order.permutation(texts)

    def labels(self, labels: Bags) -> np.ndarray:
        """One label a text, each of a text's labels equally often; every text must have one. (N,) uint32."""
        first, lengths = labels.offsets[:-1], labels.lengths
        return labels.ids[first + (self._for_labels.random(len(labels)) * lengths).astype(np.int64)].view(np.uint32)

    def samples(self, labels: np.ndarray) -> np.ndarray:
        """Each label followed by `neg` others: (N,) -> (N, 1 + neg) uint32.

        A label is drawn in proportion to the square root of its count, never the text's own; where there is no other,
        nothing is drawn: (N, 1).

        Source  fastText 0.9.2, loss.cc, whose table of ten million labels has these shares
        """
        if len(self.counts) < 2:
            return labels[:, None]
        weights = np.sqrt(np.maximum(np.asarray(self.counts, np.float64), 1))
        ends = np.cumsum(weights)
        own, before = weights[labels], (ends - weights)[labels]
        x = self._for_samples.random((len(labels), self.neg)) * (ends[-1] - own)[:, None]
        x += np.where(x >= before[:, None], own[:, None], 0)  # the label itself is left out
        drawn = np.minimum(np.searchsorted(ends, x, side="right"), len(ends) - 1)
        drawn = np.where(drawn == labels[:, None], (drawn + 1) % len(ends), drawn)  # a sum rounded at its edge
        return np.concatenate([labels[:, None], drawn.astype(np.uint32)], 1)
