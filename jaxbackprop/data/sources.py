"""From a name or a path to a training and a test set: the one place that decides what a file is.

How each kind of file is read is the business of arrays.py and lines.py; how one is fetched, of downloads.py.
"""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from .arrays import Examples, examples, read_csv, read_idx_pair, read_npz
from .docstrings import docstrings
from .downloads import DOWNLOADS, get, here
from .errors import DataError, did_you_mean, missing
from .files import opened, suffix
from .labelled_text import LABEL_PREFIX, Texts, label_column_of, read_lines, read_text_csv
from .tables import NUMBER, csv_rows

Kind = Literal["examples", "texts"]
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
READABLE = ".csv, .npz or text with labels (.txt), each also .gz or .zst, or a folder of IDX files"
BUILT_IN = {
    "digits": "1,797 handwritten digits, 8 x 8 (Alpaydin, Kaynak 1998, as scikit-learn ships them)",
    "docstrings": "sentences of Python's own documentation, by what they are about",
}


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is trained on, and what is tested on where there is something; both Examples or both Texts."""

    name: str
    train: Examples | Texts
    test: Examples | Texts | None = None

    @property
    def kind(self) -> Kind:
        """What the set holds: "examples" (numbers) or "texts"."""
        return "texts" if isinstance(self.train, Texts) else "examples"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes there are in the training set."""
        return self.train.classes


def load(
    name_or_path: str | PathLike[str],
    test: str | PathLike[str] | None = None,
    *,
    kind: Kind | None = None,
    label_prefix: str = LABEL_PREFIX,
    label_column: str | None = None,
    folder: Path | None = None,
) -> DataSet:
    """The set of this name ("digits", "docstrings", "mnist", ...), or what is at this path.

    A path is an NPZ file, a CSV file of numbers or of class, title, description, a file of labelled lines, or a folder:
    of IDX files named as MNIST's, or with a file train.* and perhaps a file test.* of any of the other kinds.

    test          another path or name to test on
    kind          what is wanted, where a CSV file could be read as either; anything else is a DataError
    label_prefix  how labels begin in labelled lines
    label_column  the header of the column that holds the label in a CSV file
    folder        where the sets fetched by name are, by default $JAXBACKPROP_DATA or the user's cache
    """
    name = str(name_or_path)
    if name in BUILT_IN:
        found = _digits() if name == "digits" else DataSet(name, *docstrings())
    elif name in DOWNLOADS:
        where = here(name, folder) or get(name, folder=folder)
        found = _named(name, _folder(where, DOWNLOADS[name].kind, label_prefix, label_column))
    else:
        found = _path(Path(name), kind, label_prefix, label_column)
    if kind is not None and found.kind != kind:
        wanted = {"examples": "numbers", "texts": "labelled texts"}
        raise DataError(wanted[found.kind], expected=wanted[kind], file=name, advice="Is it the right file?")
    if test is None:
        return found
    other = load(test, kind=found.kind, label_prefix=label_prefix, label_column=label_column, folder=folder)
    return DataSet(name, found.train, _checked(found.train, other.test or other.train))


def _checked(train: Examples | Texts, test: Examples | Texts) -> Examples | Texts:
    """A test set of numbers with its classes numbered as in training; texts carry their labels by name."""
    return test.check_against(train) if isinstance(train, Examples) and isinstance(test, Examples) else test


def _digits() -> DataSet:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        advice = "Install it: pip install 'jaxbackprop[data]'."
        raise DataError("no scikit-learn", expected="it, for its digits", advice=advice) from error
    x, y = load_digits(return_X_y=True)
    scans = np.asarray(x, np.float32).reshape(-1, 8, 8)  # a pixel counts 0 to 16 dark points
    return DataSet("digits", *examples(scans, np.asarray(y), source="digits", scale=16).split(0.2, seed=0))


def _named(name: str, found: DataSet) -> DataSet:
    """A fetched set with the names of its classes, where its files only number them."""
    names = {str(DOWNLOADS[name].first + k): label for k, label in enumerate(DOWNLOADS[name].classes)}

    def renamed(side: Examples | Texts) -> Examples | Texts:
        if strange := set(side.classes) - set(names):
            raise DataError(f"the label {min(strange)}", expected=f"one of {', '.join(names)}", file=side.source)
        if isinstance(side, Examples):
            return replace(side, classes=tuple(names[label] for label in side.classes))
        return replace(side, labels=tuple(tuple(names[label] for label in labels) for labels in side.labels))

    if not names:
        return replace(found, name=name)
    return DataSet(name, renamed(found.train), renamed(found.test) if found.test is not None else None)


def _path(path: Path, kind: Kind | None, label_prefix: str, label_column: str | None) -> DataSet:
    if not path.exists():
        if near := did_you_mean(str(path), [*BUILT_IN, *DOWNLOADS]):
            known = ", ".join([*BUILT_IN, *DOWNLOADS])
            raise DataError("no such file or folder", expected=f"a path, or one of {known}", advice=near, file=path)
        raise missing(path)
    if path.is_dir():
        return _folder(path, kind, label_prefix, label_column)
    ending = suffix(path)
    if ending == ".npz":
        return DataSet(str(path), *read_npz(path))
    if ending == ".csv":
        texts = kind == "texts" or (kind is None and _holds_text(path))
        read = read_text_csv if texts else read_csv
        return DataSet(str(path), read(path, label_column=label_column))
    if "idx" in path.name and "ubyte" in path.name:
        advice = f"Give the folder, {path.parent}: images and labels belong together."
        raise DataError("a single IDX file", expected="the folder it is in", file=path, advice=advice)
    return DataSet(str(path), read_lines(path, label_prefix=label_prefix))


def _holds_text(path: Path) -> bool:
    """Whether a CSV file holds texts: a cell in its second row, the label's apart, is no number.

    Where no header names the label, a single word beside numbers is one, and words with blanks between them are none.
    """
    with opened(path) as file:
        start = file.read(1 << 20).decode("utf-8", "replace")
    rows = csv_rows(iter(start.splitlines(keepends=True)), path)
    _, first = next(rows, (1, []))
    _, row = next(rows, (2, first))
    label = label_column_of(first)
    words = [cell for k, cell in enumerate(row) if k != label and not NUMBER.fullmatch(cell)]
    return bool(words) if label is not None else len(words) > 1 or any(" " in word.strip() for word in words)


def _folder(path: Path, kind: Kind | None, label_prefix: str, label_column: str | None) -> DataSet:
    files = {file.name: file for file in sorted(path.iterdir()) if file.is_file()}
    if any(name.startswith(IDX_FILES) or "idx3-ubyte" in name for name in files):
        return _idx_folder(path, files)
    sides = {
        side: next((file for name, file in files.items() if name.startswith(f"{side}.")), None)
        for side in ("train", "test")
    }
    if sides["train"] is None:
        some = ", ".join(list(files)[:10]) or "nothing"
        raise DataError(f"a folder with {some}", expected=f"a file train.* ({READABLE})", file=path)
    train = _path(sides["train"], kind, label_prefix, label_column)
    if sides["test"] is None:
        return DataSet(str(path), train.train, train.test)
    test = _path(sides["test"], train.kind, label_prefix, label_column)
    return DataSet(str(path), train.train, _checked(train.train, test.train))


def _idx_folder(path: Path, files: dict[str, Path]) -> DataSet:
    found = [next((file for name, file in files.items() if name.startswith(wanted)), None) for wanted in IDX_FILES]
    train_x, train_y, test_x, test_y = found
    if train_x is None or train_y is None:
        lacking = IDX_FILES[0] if train_x is None else IDX_FILES[1]
        raise DataError(f"a folder without {lacking}", expected=f"{lacking} or {lacking}.gz", file=path)
    train = read_idx_pair(train_x, train_y)
    if test_x is None or test_y is None:
        return DataSet(str(path), train)
    return DataSet(str(path), train, read_idx_pair(test_x, test_y).check_against(train))
