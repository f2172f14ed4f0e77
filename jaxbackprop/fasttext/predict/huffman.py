"""fastText's Huffman tree over labels: the path of inner nodes to each label, and its codes."""

from dataclasses import dataclass

import numpy as np

UNKNOWN = 10**15  # the count of a node that does not exist yet; nothing counts as often


@dataclass(frozen=True, eq=False)
class Paths:
    """The way from each label up to the root: label c has nodes[offsets[c] : offsets[c + 1]], the root last.

    Attributes:
        nodes: int32, inner nodes numbered in the order in which they were joined, the root is L - 2.
        codes: int32, one a node: 1 where the way there comes from its second child, 0 from its first.
        offsets: (L + 1,) int32.
    """

    nodes: np.ndarray
    codes: np.ndarray
    offsets: np.ndarray

    @property
    def longest(self) -> int:
        """How many nodes the longest path has; 0 for a single label."""
        return int(np.diff(self.offsets).max(initial=0))


def joined(counts: np.ndarray) -> np.ndarray:
    """The tree over labels that occur `counts` times, in falling order: (L,) -> (2 L - 1, 2) int32.

    Row k holds the two children of node k: -1 for the labels 0..L - 1, then the inner nodes in the order in which they
    were joined. The two rarest parts are joined, again and again; a label comes before an inner node only where it is
    strictly rarer, and the first of the two becomes the first child. fastText's tree, to the last choice.

    Source  Huffman 1952; fastText 0.9.2, loss.cc
    """
    leaves = len(counts)
    weight = [*np.asarray(counts).tolist(), *[UNKNOWN] * (leaves - 1)]
    children = np.full((2 * leaves - 1 if leaves else 0, 2), -1, np.int32)
    leaf, inner = leaves - 1, leaves
    for node in range(leaves, 2 * leaves - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weight[leaf] < weight[inner]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(inner)
                inner += 1
        children[node] = pair
        weight[node] = weight[pair[0]] + weight[pair[1]]
    return children


def paths(counts: np.ndarray) -> Paths:
    """The paths of the labels that occur `counts` times, in falling order, from each label up to the root."""
    leaves = len(counts)
    children = joined(counts)
    parent, code = np.full(len(children), -1, np.int32), np.zeros(len(children), np.int32)
    for bit in (0, 1):
        parent[children[leaves:, bit]] = np.arange(leaves, len(children))
        code[children[leaves:, bit]] = bit
    labels, at = np.arange(leaves), np.arange(leaves)
    steps = []  # one step up for all labels at a time
    while len(labels := labels[parent[at] >= 0]):
        at = at[parent[at] >= 0]
        steps.append((labels, parent[at] - leaves, code[at]))
        at = parent[at]
    lengths = np.zeros(leaves, np.int32)
    for labels, _, _ in steps:
        lengths[labels] += 1
    offsets = np.zeros(leaves + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    nodes, codes = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int32)
    for k, (labels, parents, its_codes) in enumerate(steps):
        nodes[offsets[labels] + k], codes[offsets[labels] + k] = parents, its_codes
    return Paths(nodes, codes, offsets)
