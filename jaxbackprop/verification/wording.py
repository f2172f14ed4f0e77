"""How reports say numbers and places: enough digits to see the difference, regions of an array in place of counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

NAMES = {1: ("element",), 2: ("row", "column")}
"""What a step along each axis of an array is called, by the number of axes."""


def number(x: Any, digits: int = 4) -> str:
    """A number with this many significant digits."""
    return f"{complex(x):.{digits}g}" if np.iscomplexobj(x) else f"{float(x):.{digits}g}"


def expected_and_got(expected: Any, actual: Any) -> str:
    """Both values, with as many digits as tell them apart."""
    digits = next((d for d in range(4, 17) if number(expected, d - 1) != number(actual, d - 1)), 17)
    return f"expected {number(expected, digits)}, got {number(actual, digits)}"


def count(n: int, what: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def index(at: Sequence[int]) -> str:
    """`[2, 15]`; nothing for a scalar."""
    return f"[{', '.join(map(str, map(int, at)))}]" if len(at) else ""


def region(wrong: np.ndarray, argument: np.ndarray | None = None, axes: Sequence[tuple[str, int]] = ()) -> str:
    """Where the elements lie that are wrong, as a person would say it.

    Args:
        wrong: which elements are.
        argument: the array whose gradient it is, for regions such as "where it is negative".
        axes: of each axis the name, empty for none, and the size of the blocks it is computed in, 0 for no blocks.
    """
    wrong = np.asarray(wrong, bool)
    number_wrong = int(wrong.sum())
    if wrong.size == 1 or number_wrong == 0:
        return ""
    if number_wrong == wrong.size:
        return f"all {wrong.size} elements" if wrong.size > 2 else "both elements"
    if number_wrong == 1:
        return f"that element alone of {wrong.size}"
    named = _box(wrong, axes) or _by_sign(wrong, argument) or _diagonal(wrong, "", (1, 1))
    blocks = tuple(block for _, block in axes[-2:])
    if not named and len(blocks) == 2 and max(blocks) > 1:
        named = _diagonal(wrong, "in blocks, ", (max(blocks[0], 1), max(blocks[1], 1)))
    return named or f"{number_wrong} of {wrong.size} elements"


def _diagonal(wrong: np.ndarray, prefix: str, blocks: tuple[int, int]) -> str:
    if wrong.ndim < 2:
        return ""
    row, column = (i // b for i, b in zip(np.indices(wrong.shape[-2:]), blocks, strict=True))
    if row.max() != column.max():
        return ""
    for name, here in (
        ("the diagonal", row == column),
        ("everything off the diagonal", row != column),
        ("everything above the diagonal", row < column),
        ("everything below the diagonal", row > column),
        ("the diagonal and everything above it", row <= column),
        ("the diagonal and everything below it", row >= column),
    ):
        if np.array_equal(wrong, np.broadcast_to(here, wrong.shape)):
            return prefix + name
    return ""


def _by_sign(wrong: np.ndarray, argument: np.ndarray | None) -> str:
    if argument is None or np.iscomplexobj(argument) or argument.shape != wrong.shape:
        return ""
    for name, here in (
        ("negative", argument < 0),
        ("positive", argument > 0),
        ("zero", argument == 0),
        ("not zero", argument != 0),
    ):
        if np.array_equal(wrong, here):
            return f"everywhere it is {name} ({int(wrong.sum())} of {wrong.size} elements)"
    return ""


def _box(wrong: np.ndarray, axes: Sequence[tuple[str, int]]) -> str:
    """A choice of places along each axis, where the wrong elements are those and no others, or nearly all of them."""
    chosen = [wrong.any(tuple(a for a in range(wrong.ndim) if a != axis)) for axis in range(wrong.ndim)]
    box = np.ones(wrong.shape, bool)
    for axis, some in enumerate(chosen):
        box &= some.reshape([-1 if a == axis else 1 for a in range(wrong.ndim)])
    partial = [axis for axis, some in enumerate(chosen) if not some.all()]
    share = wrong.sum() / box.sum()
    if not partial or share < 0.8:
        return ""
    said = [
        _places(np.flatnonzero(chosen[axis]), wrong.shape[axis], axis, wrong.ndim, *axes[axis : axis + 1])
        for axis in partial
    ]
    if not all(said):
        return ""
    return ("" if share == 1 else "most of ") + " in ".join(said)


def _places(at: np.ndarray, size: int, axis: int, ndim: int, named: tuple[str, int] = ("", 0)) -> str:
    """`row 3`, `rows 16 to 19`, `the last column`, `every 8th element`, `block 3 of 4 of T`; empty for no pattern."""
    name = NAMES[ndim][axis] if ndim in NAMES else "index"
    where = f" of {named[0]}" if named[0] else "" if ndim in NAMES else f" along axis {axis}"
    if 1 < named[1] < size:
        in_blocks = _in_blocks(at, size, named[1], name, where)
        if in_blocks:
            return in_blocks
    if len(at) == 1:
        said = {0: f"the first {name}", size - 1: f"the last {name}"}.get(int(at[0]), f"{name} {at[0]}")
        return said + where
    names = "indices" if name == "index" else f"{name}s"
    steps = np.unique(np.diff(at))
    if len(steps) > 1:
        return f"{names} {', '.join(map(str, at[:-1]))} and {at[-1]}{where}" if len(at) <= 4 else ""
    step = int(steps[0])
    if step == 1:
        ends = {0: f"the first {len(at)} {names}", size - len(at): f"the last {len(at)} {names}"}
        return ends.get(int(at[0]), f"{names} {at[0]} to {at[-1]}") + where
    if len(at) > 2 and at[0] < step and at[-1] + step >= size:
        first = "" if at[0] == 0 else f" from {at[0]}"
        return f"every {_ordinal(step)} {name}{first}{where}"
    return f"{names} {', '.join(map(str, at[:-1]))} and {at[-1]}{where}" if len(at) <= 4 else ""


def _in_blocks(at: np.ndarray, size: int, block: int, name: str, where: str) -> str:
    """`the last, partial block`, `blocks 2 to 4 of 6`, `the first row of each block`; empty for another pattern."""
    count = -(-size // block)
    touched = np.unique(at // block)
    if np.array_equal(at, np.flatnonzero(np.isin(np.arange(size) // block, touched))):
        first, last = int(touched[0]) + 1, int(touched[-1]) + 1
        kind = {"row": "block row", "column": "block column"}.get(name, "block")
        if first == last == count and size % block:
            return f"the last, partial block{where or f' of {name}s'}"
        if first == last:
            return f"{kind} {first} of {count}{where}"
        if last - first + 1 == len(touched):
            return f"{kind}s {first} to {last} of {count}{where}"
        return ""
    for which, start in (("first", 0), ("last", block - 1)):
        if len(at) > 1 and np.array_equal(at, np.arange(start, size, block)):
            return f"the {which} {name} of each block{where}"
    return ""


MAP = (8, 48)
"""The most rows and columns of a map."""


def heat_map(wrong: np.ndarray) -> tuple[str, ...]:
    """A small picture of the wrong elements: `#` all of a cell, `+` some, `.` none; the first axes are laid together.

    Nothing where it would show nothing.
    """
    wrong = np.atleast_2d(np.asarray(wrong, bool))
    if wrong.size < 4 or wrong.all() or not wrong.any():
        return ()
    rows = wrong.reshape(-1, *wrong.shape[-2:]).mean(0)
    for axis, most in enumerate(MAP):
        cell = -(-rows.shape[axis] // most)
        starts = np.arange(0, rows.shape[axis], cell)
        lengths = np.diff([*starts, rows.shape[axis]])
        rows = np.add.reduceat(rows, starts, axis) / (lengths[:, None] if axis == 0 else lengths)
    return tuple("".join("." if x == 0 else "#" if x > 1 - 1e-9 else "+" for x in row) for row in rows)


def _ordinal(n: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{'th' if 10 <= n % 100 <= 20 else last}"
