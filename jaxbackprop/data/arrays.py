"""Examples of numbers: features and classes, from IDX, CSV and NPZ files.

The IDX format itself lives in idx.py, the CSV format in tables.py; the names of known sets in sources.py.
"""

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.lib import format as npy

from .errors import DataError, did_you_mean, missing
from .files import most_bytes, read_at_most, too_large
from .idx import read_idx
from .tables import read_table


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples: rows of features, and the number of the class of each.

    x        (N, features) float32, finite
    y        (N,) int32, 0 <= y < len(classes)
    classes  the names of the classes
    shape    the shape of one example before it was laid out as a row, (28, 28) for MNIST
    source   the file, or the name of the set, for messages
    scale    what the numbers were divided by when they were read, 255 for bytes
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    shape: tuple[int, ...] = ()
    source: str | None = None
    scale: float = 1.0

    def __post_init__(self):
        x, y = np.asarray(self.x), np.asarray(self.y)
        if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
            raise DataError(f"x {x.shape} and y {y.shape}", expected="x (N, features) and y (N,)", file=self.source)
        if not len(x):
            raise DataError("no example", expected="at least one", file=self.source)
        if len(y) and not (y.min() >= 0 and y.max() < len(self.classes)):
            found, classes = f"classes {y.min()} to {y.max()}", f"0 to {len(self.classes) - 1}"
            raise DataError(found, expected=classes, file=self.source)
        object.__setattr__(self, "x", np.ascontiguousarray(x, np.float32))
        object.__setattr__(self, "y", np.ascontiguousarray(y, np.int32))
        object.__setattr__(self, "shape", tuple(self.shape) or x.shape[1:])
        if not np.isfinite(self.x).all():
            self._refuse_not_finite()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def features(self) -> int:
        """How many numbers an example has."""
        return self.x.shape[1]

    def take(self, which: np.ndarray) -> "Examples":
        """The examples numbered by `which`, in that order."""
        return Examples(self.x[which], self.y[which], self.classes, self.shape, self.source, self.scale)

    def split(self, fraction: float = 0.2, *, seed: int = 0) -> tuple["Examples", "Examples"]:
        """Two sets, the second with about `fraction` of each class, at least one example of each on each side.

        The same seed gives the same split. A class with a single example is a DataError: it cannot be on both sides.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"split: fraction is {fraction}; it must lie between 0 and 1.")
        random = np.random.default_rng(seed)
        chosen = np.zeros(len(self), bool)
        for k, name in enumerate(self.classes):
            members = np.flatnonzero(self.y == k)
            if len(members) == 1:
                raise DataError(
                    f"a single example of the class {name}",
                    expected="two or more, to have one on each side of the split",
                    file=self.source,
                )
            if len(members):
                share = min(max(round(fraction * len(members)), 1), len(members) - 1)
                chosen[random.permutation(members)[:share]] = True
        return self.take(np.flatnonzero(~chosen)), self.take(np.flatnonzero(chosen))

    def check_against(self, train: "Examples") -> "Examples":
        """These examples with the classes of `train`; a DataError where they do not fit what was trained on."""
        if self.shape != train.shape:
            raise DataError(
                f"examples of {sizes(self.shape)}",
                expected=f"{sizes(train.shape)}, as in training ({train.source or 'the training set'})",
                advice="All images must have one size.",
                file=self.source,
            )
        for name in (self.classes[k] for k in np.unique(self.y)):
            if name not in train.classes:
                raise DataError(
                    f"the label {name!r}, never seen in training",
                    expected=f"one of {', '.join(train.classes)}",
                    file=self.source,
                    advice="Train with an example of it, or remove it from the test set.",
                )
        number = np.array([train.classes.index(name) if name in train.classes else -1 for name in self.classes])
        return Examples(self.x, number[self.y], train.classes, self.shape, self.source, self.scale)

    def _refuse_not_finite(self) -> None:
        row, column = (int(k[0]) for k in np.nonzero(~np.isfinite(self.x)))
        raise DataError(
            f"{self.x[row, column]} as feature {column} of example {row} (counted from 0)",
            expected="a finite number",
            advice="Mend or remove that example.",
            file=self.source,
        )


def sizes(shape: Sequence[int]) -> str:
    """A shape as a person writes it, "28 x 28"."""
    return " x ".join(map(str, shape))


def examples(
    x: np.ndarray,
    y: np.ndarray,
    *,
    source: str | None = None,
    classes: Sequence[str] | None = None,
    scale: float | None = None,
) -> Examples:
    """Examples from raw arrays: each flattened to a row, bytes scaled to [0, 1], labels numbered in sorted order.

    x  (N, ...) of any number type; uint8 means pixels, which are divided by 255
    y  (N,) integers or strings; with `classes`, integers that number them

    scale  what the numbers are divided by, 255 for bytes where none is given
    """
    if x.dtype.kind not in "uifb":
        advice = "Images of unequal size cannot be one array: bring them to one size." if x.dtype.kind == "O" else ""
        raise DataError(f"x of type {x.dtype}", expected="numbers", file=source, advice=advice)
    if x.ndim < 1 or y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{_shaped(x)} examples and {_shaped(y)} labels", expected="one label an example", file=source)
    rows = x.reshape(len(x), math.prod(x.shape[1:]))
    scale = (255.0 if x.dtype == np.uint8 else 1.0) if scale is None else scale
    rows = rows.astype(np.float32) / np.float32(scale)
    if classes is not None:
        return Examples(rows, y, tuple(classes), x.shape[1:], source, scale)
    if y.dtype.kind == "f" and (y == np.floor(y)).all():
        y = y.astype(np.int64)
    if y.dtype.kind not in "uibUS":
        raise DataError(f"labels of type {y.dtype}", expected="whole numbers or strings", file=source)
    y = np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y
    names, numbers = np.unique(y, return_inverse=True)
    return Examples(rows, numbers, tuple(str(name) for name in names), x.shape[1:], source, scale)


def _shaped(array: np.ndarray) -> str:
    return str(len(array)) if array.ndim else "a single number as"


def read_idx_pair(images: Path, labels: Path) -> Examples:
    """Images and their labels from two IDX files."""
    x, y = read_idx(images), read_idx(labels)
    if y.ndim != 1:
        raise DataError(f"an array of {sizes(y.shape)}", expected="a list of labels", file=labels)
    if len(x) != len(y):
        raise DataError(f"{len(y)} labels", expected=f"{len(x)}, one for each image in {images.name}", file=labels)
    return examples(x, y, source=str(images))


def read_csv(path: Path, *, label_column: str | None = None) -> Examples:
    """A CSV file with a header: a column of labels, all others numbers.

    label_column  by default the one named label, else the last
    """
    x, labels = read_table(path, label_column)
    names = sorted(set(labels.tolist()))
    if all(name.lstrip("-").isdecimal() for name in names):
        names.sort(key=int)  # 2 before 10
    number = {name: k for k, name in enumerate(names)}
    return examples(x, np.array([number[name] for name in labels.tolist()]), classes=names, source=str(path))


def read_npz(path: Path) -> tuple[Examples, Examples | None]:
    """An NPZ file with x and y (or x_train and y_train), and x_test and y_test where there is a test set."""
    arrays = _arrays(path)
    names = {name.lower(): name for name in arrays}
    prefix = next((tail for tail in ("", "_train") if f"x{tail}" in names), None)
    if prefix is None or f"y{prefix}" not in names:
        wanted = "x" if prefix is None else f"y{prefix}"
        raise DataError(
            f"the arrays {', '.join(arrays) or '(none)'}",
            expected=f"one named {wanted}",
            advice=did_you_mean(wanted, arrays) or "numpy.savez(path, x=features, y=labels) writes what is wanted.",
            file=path,
        )
    train = examples(arrays[names[f"x{prefix}"]], arrays[names[f"y{prefix}"]], source=str(path))
    if "x_test" not in names or "y_test" not in names:
        return train, None
    test = examples(arrays[names["x_test"]], arrays[names["y_test"]], source=f"{path} (x_test)")
    return train, test.check_against(train)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an NPZ file; nothing is unpickled, nothing is allocated that the file does not hold."""
    if not path.exists():
        raise missing(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                member.filename.removesuffix(".npy"): _array(archive, member, path)
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(f"a broken NPZ file ({error})", expected="what numpy.savez writes", file=path) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    with archive.open(member) as file:
        shape, fortran, dtype = _header(file, member.filename, path)
        size = math.prod(shape) * dtype.itemsize
        most = size if member.compress_type == zipfile.ZIP_STORED else most_bytes(path)
        data = read_at_most(file, min(size, most) + 1)
        if len(data) > most < size:
            raise too_large(path, most)
    if len(data) != size:
        advice = "Write the file again: it was cut short or damaged."
        raise DataError(f"{member.filename} with {len(data)} bytes", expected=f"{size}", file=path, advice=advice)
    try:
        return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    except ValueError as error:
        raise DataError(f"{member.filename} of a shape of which no array can be made", file=path) from error


def _header(file: IO[bytes], name: str, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError) as error:
        raise DataError(f"{name}, which is no array ({error})", expected="an array", file=path) from error
    if dtype.hasobject:
        raise DataError(
            f"Python objects in {name}",
            expected="one array of numbers",
            advice="Images of unequal size cannot be one array: bring them to one size.",
            file=path,
        )
    if dtype.kind not in "uifbUS" or dtype.subdtype is not None or not dtype.itemsize or min(shape, default=0) < 0:
        raise DataError(f"{name} of type {dtype} and shape {shape}", expected="numbers or strings", file=path)
    return shape, fortran, dtype
