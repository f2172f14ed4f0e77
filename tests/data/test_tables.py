"""CSV of numbers and labels: read at once where it is right, explained line by line where it is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError
from jaxbackprop.data.tables import _row_by_row, read_table

GOOD = "a,b,label\n1,2.5,cat\n-3,4e2,dog\n"


def write(tmp_path, text: str | bytes):
    path = tmp_path / "numbers.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.replace("1,", "\n1,"),
        GOOD.rstrip("\n"),
        "label,a,b\ncat,1,2.5\ndog,-3,4e2\n",
        "Label , a,b\n cat,1,2.5\ndog ,-3,4e2\n",
        'a,b,label\n1,"2.5","cat"\n-3,4e2,dog\n',
        "a,b,kind\n1,2.5,cat\n-3,4e2,dog\n",
    ],
)
def test_numbers_and_labels_are_read(text, tmp_path):
    x, labels = read_table(write(tmp_path, text))
    assert x.dtype == np.float32
    assert x.tolist() == [[1, 2.5], [-3, 400]]
    assert labels.tolist() == ["cat", "dog"]


def test_the_label_column_can_be_named(tmp_path):
    x, labels = read_table(write(tmp_path, "kind,a,label\ncat,1,2\n"), "kind")
    assert x.tolist() == [[1, 2]]
    assert labels.tolist() == ["cat"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "numbers.csv: found an empty file"),
        ("\n\n", "found an empty file"),
        ("a,label\n", "a header and nothing below it"),
        ("1,2\n3,4\n", r"line 1: found numbers in the first row \('1,2'\), expected a header"),
        ("label\nx\n", "line 1: found one column"),
        (GOOD + "5,6\n", "line 4: found 2 cells, expected 3, as in the first row"),
        (GOOD + "5,6,cat,7\n", "line 4: found 4 cells, expected 3"),
        ("a,b,label\n1,2,cat\n\n3,x7,cat\n", "line 4: found 'x7' in the column b, expected a finite number"),
        (GOOD + "5,,cat\n", "line 4: found an empty cell in the column b"),
        (GOOD + "nan,6,cat\n", "line 4: found 'nan' in the column a, expected a finite number"),
        (GOOD + "5,-inf,cat\n", "line 4: found '-inf' in the column b"),
        (GOOD + "5,1e39,cat\n", "line 4: found '1e39' in the column b"),
        (GOOD + "5,6,\n", "line 4: found no label in the column label"),
        ('a,b,label\n1,2,"cat\n', "line 2: found a row that is not CSV"),
        (GOOD.encode() + b"5,6,\xff\n", "line 4: found the byte 0xff, which is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, text))


def test_a_missing_column_names_those_there_are_and_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"the columns a, b, label, expected one named lable.\n  Did you mean label\?"):
        read_table(write(tmp_path, GOOD), "lable")


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(NUMBERS, st.sampled_from(["cat", "a dog", 'the "cow"', "pig, old"])), min_size=1, max_size=9))
def test_both_ways_of_reading_give_the_same_bits(tmp_path_factory, rows):
    text = "a,label\n" + "".join('{!r},"{}"\n'.format(x, y.replace('"', '""')) for x, y in rows)
    path = write(tmp_path_factory.mktemp("table"), text)
    x, labels = read_table(path)
    slow_x, slow_labels = _row_by_row(text.encode(), ["a", "label"], 1, path)
    assert x[:, 0].tolist() == slow_x[:, 0].tolist() == [np.float32(x) for x, _ in rows]
    assert labels.tolist() == slow_labels.tolist() == [y for _, y in rows]
