"""The rows and hashes of words, kept from text to text: one text is then encoded by a few array operations."""

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from ...data.bags import ranges

MOST = 1 << 20  # numbers, and words, that are remembered
_adding = Lock()  # texts may come from several threads


class Lists:
    """Lists of numbers in arrays: those of many lists are read at once, fastest where each has one or none."""

    def __init__(self, dtype: type):
        self.numbers, self.ends, self.count = np.zeros(1, dtype), np.zeros(2, np.int64), 0
        self.none, self.only = np.iinfo(dtype).min, np.zeros(1, dtype)
        self.one_each = self.one_or_none = True

    def extend(self, lists: Sequence[list[int]]) -> None:
        """More lists, at the end."""
        lengths = np.array([len(numbers) for numbers in lists])
        start, count = int(self.ends[self.count]), self.count
        self.count += len(lists)
        ends = start + np.cumsum(lengths)
        self.numbers = _with_room(self.numbers, int(ends[-1]))
        self.ends, self.only = _with_room(self.ends, self.count + 1), _with_room(self.only, self.count)
        self.numbers[start : ends[-1]] = [number for numbers in lists for number in numbers]
        self.ends[count + 1 : self.count + 1] = ends
        self.only[count : self.count] = [numbers[0] if numbers else self.none for numbers in lists]
        self.one_each &= bool((lengths == 1).all())
        self.one_or_none &= bool((lengths <= 1).all())

    def of(self, which: np.ndarray) -> np.ndarray:
        """The numbers of these lists, one list after another."""
        if self.one_or_none:
            found = self.only[which]
            return found if self.one_each else found[found != self.none]
        first = self.ends[which]
        return self.numbers[ranges(first, self.ends[which + 1] - first)]


class WordMemo:
    """Rows and hashes of words; each word has a number here."""

    def __init__(self):
        self._number: dict[bytes, int] = {}
        self.rows, self.hashes = Lists(np.int32), Lists(np.int64)

    @property
    def is_full(self) -> bool:
        """Whether it is time for a new one."""
        return max(len(self._number), int(self.rows.ends[self.rows.count])) > MOST

    def numbers(
        self, words: list[bytes], rows_and_hashes: Callable[[bytes], tuple[list[int], list[int]]]
    ) -> np.ndarray:
        """The number of each word; what a new word has, is computed."""
        found = list(map(self._number.get, words))
        if None in found:
            with _adding:
                self._add([word for word in dict.fromkeys(words) if word not in self._number], rows_and_hashes)
            found = list(map(self._number.get, words))
        return np.array(found, np.int64)

    def _add(self, new: list[bytes], rows_and_hashes: Callable[[bytes], tuple[list[int], list[int]]]) -> None:
        if new:
            rows, hashes = zip(*map(rows_and_hashes, new), strict=True)
            self.rows.extend(rows)
            self.hashes.extend(hashes)
            # last, for other threads read without the lock
            self._number.update(zip(new, range(len(self._number), self.rows.count), strict=True))


def _with_room(array: np.ndarray, size: int) -> np.ndarray:
    return array if size <= len(array) else np.concatenate([array, np.zeros(size, array.dtype)])
