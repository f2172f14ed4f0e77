"""The order in which C++'s `std::sort` leaves what compares equal, as array arithmetic.

fastText sorts its dictionary with `std::sort`, which is not stable: words with equal counts come out in an order that
only the algorithm explains, and a word's id is its place in that order. Here that algorithm (introsort as in GNU's
libstdc++, in which the published fastText binaries are built) is followed step by step, all its parts of one depth
together. Nothing here knows what is sorted.
"""

import numpy as np

SMALL = 16  # std::sort leaves parts of up to this size to the insertion sort at the end
MANY = 1 << 10  # equal keys; most words of a text occur once


def sort_order(keys: np.ndarray) -> np.ndarray:
    """The permutation `order` for which keys[order] is what std::sort(keys) with `<` gives, ties included.

    keys  (N,) integers -> (N,) int32

    Source  Musser 1997, "Introspective Sorting and Selection Algorithms"; libstdc++, bits/stl_algo.h
    """
    order, keys = np.arange(len(keys), dtype=np.int32), np.array(keys)
    first, last = np.array([0], np.int32), np.array([len(keys)], np.int32)
    depth = 2 * (max(len(keys), 1).bit_length() - 1)
    while len(first):
        large = last - first > SMALL
        first, last = first[large], last[large]
        if depth == 0:
            for a, b in zip(first, last, strict=True):
                heap = _heap_sorted(keys[a:b])
                order[a:b], keys[a:b] = order[a:b][heap], keys[a:b][heap]
            break
        first, last = _without_ties(order, keys, first, last, depth)
        depth -= 1
        _swap(order, keys, first, _median(keys, first, last))
        cut = _partition(order, keys, first, last)
        first, last = np.concatenate([first, cut]), np.concatenate([cut, last])
    # the insertion sort at the end is stable, and a stable sort's result does not depend on how it is done
    return order[np.argsort(keys, kind="stable")]


def _without_ties(
    order: np.ndarray, keys: np.ndarray, first: np.ndarray, last: np.ndarray, depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """The parts that are left once large ones whose keys are all equal have been ordered as a whole."""
    alike = (keys[first] == keys[last - 1]) & (keys[first] == keys[(first + last) // 2]) & (last - first >= MANY)
    known: dict[int, np.ndarray] = {}
    for k in np.flatnonzero(alike):
        a, b = int(first[k]), int(last[k])
        alike[k] = depth >= (b - a).bit_length() and (keys[a:b] == keys[a]).all()  # else a heap may have to finish it
        if alike[k]:
            order[a:b] = order[a:b][_order_of_ties(b - a, known)]
    return first[~alike], last[~alike]


def _order_of_ties(size: int, known: dict[int, np.ndarray]) -> np.ndarray:
    """The order in which so many equal keys are left: it depends on nothing else.

    The middle one is the pivot, the fingers halt everywhere and so turn the rest round, and the cut is in the middle;
    both halves are of one size or of two, so that each depth asks for two orders at most.
    """
    if size not in known:
        order = np.arange(size, dtype=np.int32)
        if size > SMALL:
            order[0], order[size // 2] = size // 2, 0
            order[1:] = order[:0:-1].copy()
            cut = 1 + (size - 1) // 2
            order[:cut] = order[:cut][_order_of_ties(cut, known)]
            order[cut:] = order[cut:][_order_of_ties(size - cut, known)]
        known[size] = order
    return known[size]


def _swap(order: np.ndarray, keys: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    order[a], order[b] = order[b], order[a]
    keys[a], keys[b] = keys[b], keys[a]


def _median(keys: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Where the median of each part's second, middle and last element stands: that one becomes the pivot."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    ka, kb, kc = keys[a], keys[b], keys[c]
    rising = np.where(kb < kc, b, np.where(ka < kc, c, a))  # where ka < kb
    falling = np.where(ka < kc, a, np.where(kb < kc, c, b))
    return np.where(ka < kb, rising, falling)


def _partition(order: np.ndarray, keys: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Partition each part about the pivot that is its first element; where each is cut.

    Two fingers walk towards each other: the left one halts at what is not below the pivot, the right one at what is
    not above it, and the two are swapped. So the k-th halt of one meets the k-th of the other, until they cross.
    """
    sizes = last - first - 1
    start = np.cumsum(sizes, dtype=np.int32) - sizes
    place = np.repeat(first + 1 - start, sizes)
    place += np.arange(len(place), dtype=np.int32)  # every position but the pivots'
    key, pivot = keys[place], np.repeat(keys[first], sizes)

    at_left, at_right = np.flatnonzero(key >= pivot), np.flatnonzero(key <= pivot)
    left_start, right_start = np.searchsorted(at_left, start), np.searchsorted(at_right, start)
    lefts = np.diff(left_start, append=len(at_left))
    rights = np.diff(right_start, append=len(at_right))

    pairs = np.minimum(lefts, rights)  # at most so many swaps
    nth = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    left = at_left[np.repeat(left_start, pairs) + nth]
    right = at_right[np.repeat(right_start + rights - 1, pairs) - nth]
    swap = left < right
    _swap(order, keys, place[left[swap]], place[right[swap]])

    # the left finger ends at its next halt, or before that at what it last swapped to the right; the median leaves
    # something on each side of the pivot, so one of the two there always is
    swaps = np.add.reduceat(swap, np.cumsum(pairs) - pairs, dtype=np.int32)
    none = len(place)
    halt = np.where(swaps < lefts, at_left[np.minimum(left_start + swaps, len(at_left) - 1)], none)
    swapped = np.where(swaps > 0, at_right[right_start + rights - np.maximum(swaps, 1)], none)
    return place[np.minimum(halt, swapped)]


def _heap_sorted(keys: np.ndarray) -> np.ndarray:
    """The order in which std::partial_sort (make_heap, sort_heap) leaves a part that was cut unevenly too often."""
    heap = list(zip(keys.tolist(), range(len(keys)), strict=True))
    size = len(heap)
    for parent in range((size - 2) // 2, -1, -1):
        _adjust_heap(heap, parent, size, heap[parent])
    for end in range(size - 1, 0, -1):
        value, heap[end] = heap[end], heap[0]
        _adjust_heap(heap, 0, end, value)
    return np.array([i for _, i in heap])


def _adjust_heap(heap: list[tuple[int, int]], hole: int, size: int, value: tuple[int, int]) -> None:
    """Let the hole sink to the bottom along the larger children, then let `value` rise from there."""
    top, child = hole, hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if heap[child][0] < heap[child - 1][0]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if size % 2 == 0 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        heap[hole] = heap[child - 1]
        hole = child - 1
    parent = (hole - 1) // 2
    while hole > top and heap[parent][0] < value[0]:
        heap[hole] = heap[parent]
        hole, parent = parent, (parent - 1) // 2
    heap[hole] = value
