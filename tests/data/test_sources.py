"""What `load` makes of a name or a path."""

import gzip
import struct

import numpy as np
import pytest

from jaxbackprop.data import DataError, Examples, Texts, load, sources
from jaxbackprop.data.downloads import DOWNLOADS


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder, *, train: int = 6, test: int = 4, size: int = 3, ending: str = "-ubyte.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for side, n in (("train", train), ("t10k", test)):
        images = idx(np.arange(n * size * size).reshape(n, size, size) % 256)
        labels = idx(np.arange(n) % 3)
        for kind, data in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{side}-{kind}{ending}").write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    return folder


def test_digits_are_the_real_scans_and_split_the_same_every_time():
    found = load("digits")
    assert isinstance(found.train, Examples)
    assert isinstance(found.test, Examples)
    assert found.train.shape == (8, 8)
    assert found.train.x.min() == 0
    assert found.train.x.max() == 1
    assert found.classes == tuple("0123456789")
    assert found.kind == "examples"
    scans = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])  # of each digit, as the set's page says
    assert (np.bincount(found.train.y) + np.bincount(found.test.y)).tolist() == scans.tolist()
    assert np.bincount(found.test.y).tolist() == np.round(scans / 5).tolist()
    again = load("digits").test
    assert isinstance(again, Examples)
    np.testing.assert_array_equal(again.x, found.test.x)


def test_docstrings_are_texts():
    found = load("docstrings")
    assert found.kind == "texts"
    assert found.test is not None
    assert found.name == "docstrings"


@pytest.mark.parametrize("ending", ["-ubyte", "-ubyte.gz"])
def test_a_folder_of_idx_files_gives_train_and_test(ending, tmp_path):
    found = load(write_mnist(tmp_path, ending=ending))
    assert isinstance(found.train, Examples)
    assert isinstance(found.test, Examples)
    assert found.train.x.shape == (6, 9)
    assert found.test.y.tolist() == [0, 1, 2, 0]
    assert found.train.x[0, 1] == np.float32(1) / np.float32(255)


def test_mnist_itself_is_read_from_its_folder(shared_data):
    found = load(shared_data / "mnist")
    assert isinstance(found.train, Examples)
    assert isinstance(found.test, Examples)
    assert found.train.x.shape == (60_000, 784)
    assert found.test.x.shape == (10_000, 784)
    # the mean and deviation of the training pixels that everyone normalises with
    assert round(float(found.train.x.mean(dtype=np.float64)), 4) == 0.1307
    assert round(float(found.train.x.std(dtype=np.float64)), 4) == 0.3081


def test_a_test_set_of_another_image_size_is_refused(tmp_path):
    write_mnist(tmp_path, size=3)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((4, 5, 5)))))
    with pytest.raises(DataError, match="found examples of 5 x 5, expected 3 x 3"):
        load(tmp_path)


def test_images_without_as_many_labels_are_refused(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(5))))
    with pytest.raises(DataError, match=r"5 labels, expected 6, one for each image in train-images-idx3-ubyte\.gz"):
        load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="found a folder without train-labels-idx1-ubyte"):
        load(tmp_path)


def test_a_single_idx_file_asks_for_its_folder(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(DataError, match="found a single IDX file, expected the folder"):
        load(tmp_path / "train-images-idx3-ubyte.gz")


NUMBERS, NEWS = "a,b,label\n1,2,x\n3,4,y\n", "class,title,description\n1,A title,A text\n2,Another,More\n"
LINES = "__label__x a b\n__label__y c\n"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("data.csv", NUMBERS, "examples"),
        ("data.csv", NEWS, "texts"),
        ("data.csv", '"3","Wall St.","Short"\n', "texts"),
        ("data.csv", "text,label\nhello there,x\n", "texts"),
        ("data.csv", "label,text\n1,hello there\n", "texts"),
        ("data.csv", "label,a\nx,1\n", "examples"),
        ("data.csv", "a,kind\n1,x\n", "examples"),
        ("data.csv", "kind,text\n1,hello there\n", "texts"),
        ("data.txt", LINES, "texts"),
        ("data", LINES, "texts"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_is_what_its_name_and_its_first_rows_say(name, text, kind, ending, tmp_path):
    path = tmp_path / (name + ending)
    path.write_bytes(gzip.compress(text.encode()) if ending else text.encode())
    found = load(path)
    assert found.kind == kind
    assert isinstance(found.train, Texts if kind == "texts" else Examples)
    assert found.test is None


def test_what_is_wanted_decides_where_both_are_possible(tmp_path):
    (tmp_path / "data.csv").write_text("label,a\n1,2\n3,4\n")
    assert load(tmp_path / "data.csv").kind == "examples"
    assert load(tmp_path / "data.csv", kind="texts").kind == "texts"
    with pytest.raises(DataError, match="digits: found numbers, expected labelled texts"):
        load("digits", kind="texts")
    with pytest.raises(DataError, match="docstrings: found labelled texts, expected numbers"):
        load("docstrings", kind="examples")


def test_a_folder_with_train_and_test_files_gives_both(tmp_path):
    (tmp_path / "train.txt").write_text(LINES)
    assert load(tmp_path).test is None
    (tmp_path / "test.txt.gz").write_bytes(gzip.compress(b"__label__y d\n"))
    found = load(tmp_path)
    assert isinstance(found.test, Texts)
    assert found.test.texts == ("d",)


def test_a_folder_without_a_train_file_says_what_it_holds(tmp_path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(DataError, match=r"found a folder with notes.md, expected a file train.\*"):
        load(tmp_path)


def test_another_file_can_be_the_test_set(tmp_path):
    (tmp_path / "a.csv").write_text("f,label\n1,x\n2,y\n")
    (tmp_path / "b.csv").write_text("f,label\n5,y\n")
    found = load(tmp_path / "a.csv", tmp_path / "b.csv")
    assert isinstance(found.test, Examples)
    assert found.test.y.tolist() == [1]
    (tmp_path / "b.csv").write_text("f,label\n5,z\n")
    with pytest.raises(DataError, match=r"b.csv: found the label 'z', never seen in training, expected one of x, y"):
        load(tmp_path / "a.csv", tmp_path / "b.csv")


def test_an_npz_file_gives_both_sides(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.eye(2), y=np.arange(2), x_test=np.eye(2)[:1], y_test=np.arange(1))
    found = load(path)
    assert found.kind == "examples"
    assert found.test is not None
    assert found.classes == ("0", "1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digitz", "expected a path, or one of digits, docstrings, mnist.*\n.*Did you mean digits"),
        ("no/such", "no such"),
    ],
)
def test_what_is_neither_a_name_nor_a_path_suggests_one(name, message):
    with pytest.raises(DataError, match=message):
        load(name)


def test_a_named_set_is_read_from_its_folder_with_the_names_of_its_classes(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "here", lambda name, folder: folder / name)  # the files are not the set's own
    write_mnist(tmp_path / "fashion_mnist")
    found = load("fashion_mnist", folder=tmp_path)
    assert found.name == "fashion_mnist"
    assert found.classes == ("T-shirt", "Trouser", "Pullover")
    write_mnist(tmp_path / "mnist")
    assert load("mnist", folder=tmp_path).classes == ("0", "1", "2")
    news = tmp_path / "ag_news"
    news.mkdir()
    (news / "train.csv").write_text('"3","Wall St.","Short-sellers"\n"4","Chips","Faster"\n')
    (news / "test.csv").write_text('"1","A vote","Counted"\n')
    found = load("ag_news", folder=tmp_path)
    assert isinstance(found.train, Texts)
    assert isinstance(found.test, Texts)
    assert found.train.labels == (("Business",), ("Sci/Tech",))
    assert found.test.labels == (("World",),)
    (news / "test.csv").write_text('"5","A vote","Counted"\n')
    with pytest.raises(DataError, match="found the label 5, expected one of 1, 2, 3, 4"):
        load("ag_news", folder=tmp_path)


def test_a_named_set_that_is_not_here_is_fetched(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(sources, "get", lambda name, folder: asked.append(name) or write_mnist(folder / name))
    assert load("kmnist", folder=tmp_path).classes == DOWNLOADS["kmnist"].classes[:3]
    assert asked == ["kmnist"]
