"""Places and numbers as reports say them."""

import numpy as np
import pytest

from jaxbackprop.verification.wording import expected_and_got, heat_map, region


def mask(shape, *where):
    wrong = np.zeros(shape, bool)
    for place in where:
        wrong[place] = True
    return wrong


row, column = np.indices((4, 4))
some = np.array([[1.0, -2.0, 0.0], [-1.0, 2.0, -3.0]])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.ones((8, 16), bool), "all 128 elements"),
        (np.ones(2, bool), "both elements"),
        (mask(100, 17), "that element alone of 100"),
        (mask((64, 8), np.s_[16:20]), "rows 16 to 19"),
        (mask((64, 8), np.s_[60:]), "the last 4 rows"),
        (mask((6, 8), np.s_[:, -1]), "the last column"),
        (mask((6, 8), 0, 3), "rows 0 and 3"),
        (mask(64, np.s_[::8]), "every 8th element"),
        (mask(64, np.s_[1::2]), "every 2nd element from 1"),
        (mask((4, 6), np.s_[1, 2:4]), "row 1 in columns 2 to 3"),
        (mask((2, 3, 5), np.s_[:, :, 0]), "the first index along axis 2"),
        (row == column, "the diagonal"),
        (row < column, "everything above the diagonal"),
        (mask((20, 5), np.s_[10:15]) & ~mask((20, 5), (12, 3)), "most of rows 10 to 14"),
        (mask((3, 3), (0, 0), (1, 2), (2, 2)), "3 of 9 elements"),
    ],
)
def test_a_region_is_named(wrong, said):
    assert region(wrong) == said


@pytest.mark.parametrize(
    ("wrong", "axes", "said"),
    [
        (mask((10, 3), np.s_[8:]), [("T", 4), ("D", 0)], "the last, partial block of T"),
        (mask((16, 3), np.s_[8:12]), [("T", 4), ("D", 0)], "block row 3 of 4 of T"),
        (mask((16, 3), np.s_[4:]), [("", 4), ("", 0)], "block rows 2 to 4 of 4"),
        (mask((16, 3), np.s_[::4]), [("", 4), ("", 0)], "the first row of each block"),
        (mask((3, 12), np.s_[1, 3::4]), [("H", 0), ("T", 4)], "row 1 of H in the last column of each block of T"),
        (mask((2, 3, 12), np.s_[:, :, 1]), [("B", 0), ("H", 0), ("T", 4)], "index 1 of T"),
        (mask((8, 6), np.s_[:4, 3:]), [("", 4), ("", 3)], "block row 1 of 2 in block column 2 of 2"),
        (np.kron(row < column, np.ones((4, 3))) > 0, [("", 4), ("", 3)], "in blocks, everything above the diagonal"),
    ],
)
def test_a_region_is_named_by_the_blocks_it_is_computed_in(wrong, axes, said):
    assert region(wrong, None, axes) == said


def test_a_map_shows_where_an_array_is_wrong():
    assert heat_map(mask((4, 6), np.s_[2:, 4:])) == ("......", "......", "....##", "....##")
    assert heat_map(mask((16, 96), np.s_[0, :2])) == ("+" + "." * 47, *["." * 48] * 7)
    assert heat_map(np.ones((4, 4), bool)) == heat_map(np.zeros((4, 4), bool)) == ()


def test_a_region_by_the_sign_of_the_argument():
    assert region(some < 0, some) == "everywhere it is negative (3 of 6 elements)"


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        (-0.21470234, -0.9995961, "expected -0.2147, got -0.9996"),
        (135.5, 92.0, "expected 135.5, got 92"),
        (1.0, 1.00001, "expected 1, got 1.00001"),
        (0.5, np.nan, "expected 0.5, got nan"),
        (1 + 1j, 1 - 1j, "expected 1+1j, got 1-1j"),
    ],
)
def test_values_have_as_many_digits_as_tell_them_apart(expected, actual, said):
    assert expected_and_got(expected, actual) == said
