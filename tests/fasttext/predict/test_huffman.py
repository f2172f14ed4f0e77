"""The tree over labels: fastText's, and one built by another algorithm."""

import heapq
from itertools import pairwise

import hypothesis
import hypothesis.strategies as st
import numpy as np

from jaxbackprop.fasttext.predict.huffman import joined, paths

counts = st.lists(st.integers(1, 50), min_size=1, max_size=40).map(lambda c: np.array(sorted(c, reverse=True)))


def by_hand(counts):
    """Each label's way up, from a heap: the textbook's algorithm with fastText's choice between equals.

    Of parts that weigh the same the inner nodes come before the labels, older nodes before younger ones, and of labels
    the last one first.
    """
    labels = len(counts)
    heap = [(int(count), 1, -c, c) for c, count in enumerate(counts)]
    heapq.heapify(heap)
    above = {}
    for node in range(labels - 1):
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        for turn, part in enumerate((a, b)):
            above[part[3]] = (node, turn)
        heapq.heappush(heap, (a[0] + b[0], 0, node, labels + node))
    ways = []
    for at in range(labels):
        way = []
        while at in above:
            node, turn = above[at]
            way.append((node, turn))
            at = labels + node
        ways.append(way)
    return ways


def ways(counts):
    found = paths(counts)
    steps = list(zip(found.nodes.tolist(), found.codes.tolist(), strict=True))
    return [steps[a:b] for a, b in pairwise(found.offsets)]


@hypothesis.given(counts)
def test_the_paths_are_those_of_a_heap_that_chooses_between_equals_as_fasttext_does(counts):
    assert ways(counts) == by_hand(counts)


@hypothesis.given(counts)
def test_no_tree_asks_fewer_questions(counts):
    """Huffman's theorem: the mean depth is the sum of all inner nodes' weights, and within one question of entropy."""
    depths = np.diff(paths(counts).offsets)
    share = counts / counts.sum()
    entropy = -(share * np.log2(share)).sum()
    assert entropy - 1e-9 <= (share * depths).sum() < entropy + 1


def test_the_paths_are_the_ones_fasttext_learned_on():
    """Five labels of 10, 5, 5, 3 and 1 lines, worked through by loss.cc's rules by hand.

    1 + 3 make node 0 (4); the label of 5 before it is not rarer, so node 0 is first and joins the last 5: node 1 (9);
    5 and 9 make node 2 (14); 10 and 14 make the root.
    """
    assert ways(np.array([10, 5, 5, 3, 1])) == [
        [(3, 0)],
        [(2, 0), (3, 1)],
        [(1, 1), (2, 1), (3, 1)],
        [(0, 1), (1, 0), (2, 1), (3, 1)],
        [(0, 0), (1, 0), (2, 1), (3, 1)],
    ]


def test_children_are_joined_in_the_order_of_the_nodes():
    assert joined(np.array([10, 5, 5, 3, 1]))[5:].tolist() == [[4, 3], [5, 2], [1, 6], [0, 7]]


def test_a_single_label_is_asked_nothing():
    assert ways(np.array([7])) == [[]]
    assert paths(np.array([7])).longest == 0


def test_labels_that_occur_equally_often_are_equally_deep_where_they_are_a_power_of_two():
    found = paths(np.full(1 << 14, 3))
    assert set(np.diff(found.offsets)) == {14}
    assert found.longest == 14
