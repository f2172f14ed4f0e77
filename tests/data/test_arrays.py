"""Examples: what they hold, how they are split, and what is refused."""

import io
import zipfile
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxbackprop.data import DataError, Examples, examples
from jaxbackprop.data.arrays import read_csv, read_npz

PIXELS = np.array([[[0, 255], [51, 102]], [[255, 0], [0, 0]]], np.uint8)


def some(y: list[int], classes: tuple[str, ...] = ("a", "b")) -> Examples:
    return Examples(np.arange(2.0 * len(y)).reshape(-1, 2), np.array(y), classes)


def test_bytes_are_pixels_and_become_rows_between_0_and_1():
    made = examples(PIXELS, np.array([7, 3]))
    np.testing.assert_array_equal(made.x, np.array([[0, 1, 0.2, 0.4], [1, 0, 0, 0]], np.float32))
    assert made.x.dtype == np.float32
    assert made.y.dtype == np.int32
    assert made.y.tolist() == [1, 0]
    assert made.classes == ("3", "7")
    assert made.shape == (2, 2)
    assert made.features == 4


def test_other_numbers_stay_as_they_are():
    assert examples(np.array([[3, -4]]), np.array(["x"])).x.tolist() == [[3, -4]]


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (np.array([10, 2, 10]), ("2", "10"), [1, 0, 1]),
        (np.array([1.0, 0.0, 1.0]), ("0", "1"), [1, 0, 1]),
        (np.array(["dog", "cat", "dog"]), ("cat", "dog"), [1, 0, 1]),
        (np.array([b"dog", b"cat", b"dog"]), ("cat", "dog"), [1, 0, 1]),
        (np.array([True, False, True]), ("False", "True"), [1, 0, 1]),
    ],
)
def test_labels_are_numbered_in_sorted_order(labels, classes, numbers):
    made = examples(np.zeros((3, 1)), labels)
    assert made.classes == classes
    assert made.y.tolist() == numbers


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 1)), np.zeros(3, int), "found 2 examples and 3 labels"),
        (np.zeros((2, 1)), np.zeros((2, 1), int), "expected one label an example"),
        (np.zeros((0, 1)), np.zeros(0, int), "found no example"),
        (np.array([[1.0], [np.nan]]), np.zeros(2, int), r"found nan as feature 0 of example 1 \(counted from 0\)"),
        (np.array([[1.0, np.inf]]), np.zeros(1, int), "found inf as feature 1 of example 0"),
        (np.zeros((1, 1)), np.array([0.5]), "labels of type float64, expected whole numbers or strings"),
        (np.array([[1], [1, 2]], object), np.zeros(2, int), "x of type object.*\n.*Images of unequal size"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(x, y, message):
    with pytest.raises(DataError, match=message):
        examples(x, y, source="here")


def test_a_class_beyond_the_last_one_is_refused():
    with pytest.raises(DataError, match="found classes 0 to 2, expected 0 to 1"):
        some([0, 2])


def test_examples_do_not_change():
    with pytest.raises(FrozenInstanceError):
        some([0]).x = np.zeros((1, 2))  # type: ignore[misc]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.floats(0.05, 0.95), st.integers(0, 3))
def test_a_split_shares_out_every_class_and_every_example_once(y, fraction, seed):
    y = [*y, 0, 0, 1, 1, 2, 2]
    whole = some(y, ("a", "b", "c"))
    one, other = whole.split(fraction, seed=seed)
    rows = sorted([*one.x[:, 0].tolist(), *other.x[:, 0].tolist()])
    assert rows == whole.x[:, 0].tolist()
    for k in range(3):
        members, share = y.count(k), (other.y == k).sum()
        assert 1 <= share < members
        assert abs(share - fraction * members) <= 1
    np.testing.assert_array_equal(whole.split(fraction, seed=seed)[1].x, other.x)


def test_another_seed_gives_another_split():
    whole = some([0, 1] * 20)
    assert whole.split(0.5, seed=0)[1].x.tolist() != whole.split(0.5, seed=1)[1].x.tolist()


def test_a_class_of_one_cannot_be_split():
    with pytest.raises(DataError, match="a single example of the class b"):
        some([0, 0, 1]).split(0.5)
    with pytest.raises(ValueError, match="fraction is 1"):
        some([0, 0]).split(1)


def test_a_test_set_takes_the_numbers_of_the_training_set():
    train = some([0, 1, 2], ("cat", "cow", "dog"))
    test = some([0, 1], ("cow", "dog")).check_against(train)
    assert test.classes == train.classes
    assert test.y.tolist() == [1, 2]


def test_a_label_never_seen_in_training_is_refused():
    with pytest.raises(DataError, match=r"the label 'pig', never seen in training, expected one of cat, cow"):
        some([0, 1], ("cat", "pig")).check_against(some([0, 1], ("cat", "cow")))


def test_images_of_another_size_than_in_training_are_refused():
    train, test = (examples(np.zeros((1, n, n), np.uint8), np.zeros(1, int)) for n in (28, 20))
    with pytest.raises(DataError, match="found examples of 20 x 20, expected 28 x 28, as in training"):
        test.check_against(train)


def test_a_csv_of_numbers_sorts_its_classes_as_numbers(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("a,label\n0.5,10\n1,9\n2,10\n")
    made = read_csv(path)
    assert made.classes == ("9", "10")
    assert made.y.tolist() == [1, 0, 1]
    assert made.x.tolist() == [[0.5], [1], [2]]


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    return file.getvalue()


def read(tmp_path, data: bytes):
    path = tmp_path / "set.npz"
    path.write_bytes(data)
    return read_npz(path)


@pytest.mark.parametrize("names", [("x", "y"), ("x_train", "y_train"), ("X", "Y")])
def test_npz_files_are_read_by_either_name(names, tmp_path):
    train, test = read(tmp_path, npz(**dict(zip(names, (PIXELS, np.array([1, 0])), strict=True))))
    assert train.x.tolist() == examples(PIXELS, np.array([1, 0])).x.tolist()
    assert test is None


def test_npz_files_may_hold_a_test_set(tmp_path):
    y = np.array(["b", "a"])
    train, test = read(tmp_path, npz(x_train=PIXELS, y_train=y, x_test=PIXELS[:1], y_test=y[:1]))
    assert test is not None
    assert test.classes == train.classes == ("a", "b")
    assert test.y.tolist() == [1]


def test_an_array_in_columns_order_is_read_as_what_it_is(tmp_path):
    x = np.arange(6.0).reshape(2, 3)
    train, _ = read(tmp_path, npz(x=np.asfortranarray(x), y=np.arange(2)))
    assert train.x.tolist() == x.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": PIXELS}, "found the arrays a, expected one named x"),
        ({"x": PIXELS, "labels": PIXELS}, "found the arrays x, labels, expected one named y"),
        ({"x_train": PIXELS, "y_tain": PIXELS}, "expected one named y_train.\n  Did you mean y_tain or x_train"),
        ({"x": np.array([[1], [1, 2]], object), "y": np.arange(2)}, "Python objects in x.npy.*\n.*unequal size"),
        ({"x": np.zeros((2, 1), complex), "y": np.arange(2)}, "x.npy of type complex128"),
    ],
)
def test_what_is_wrong_with_an_npz_file_is_said(arrays, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(tmp_path, npz(**arrays))


def test_an_npz_header_that_promises_too_much_is_refused(tmp_path):
    """A member whose header says 2^60 numbers and which holds two."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member.getvalue() + bytes(16))
        archive.writestr("y.npy", member.getvalue() + bytes(16))
    with pytest.raises(DataError, match=f"x.npy with 16 bytes, expected {2**63}"):
        read(tmp_path, file.getvalue())


WHOLE = npz(x=PIXELS, y=np.array([1, 0]))


@given(st.lists(st.integers(0, 8 * len(WHOLE) - 1), min_size=1, max_size=5), st.integers(1, len(WHOLE)))
def test_a_damaged_npz_file_is_our_error_or_the_right_result(tmp_path_factory, bits, length):
    data = bytearray(WHOLE)
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    try:
        train, test = read(tmp_path_factory.getbasetemp(), bytes(data[:length]))
    except DataError:
        return
    assert test is None
    assert train.x.shape == (2, 4)
