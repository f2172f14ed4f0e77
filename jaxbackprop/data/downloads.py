"""Sets that are fetched once by name: where they are, what their checksums are, and how they get here.

What the files hold is read elsewhere. pooch does the work; a download that broke off goes on where it stopped.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import DataError, did_you_mean, shown

FOLDER_VARIABLE = "JAXBACKPROP_DATA"
BLOCK = 1 << 16
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Download:
    """A set of files: what it is and who made it, the address they have in common, file name -> checksum.

    Where its files only number their classes, `classes` names them, the first one for the number `first`.
    """

    about: str
    address: str
    files: dict[str, str]
    classes: tuple[str, ...] = ()
    first: int = 0
    kind: Literal["examples", "texts"] = "examples"


def _mnist(about: str, address: str, checksums: str, classes: tuple[str, ...] = ()) -> Download:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    files = {f"{name}-ubyte.gz": f"md5:{md5}" for name, md5 in zip(names, checksums.split(), strict=True)}
    return Download(about, address, files, classes)


# The checksums are those published with torchvision and torchtext, whose users have fetched these files for years.
DOWNLOADS = {
    "mnist": _mnist(
        "70,000 handwritten digits, 28 x 28 (LeCun, Cortes, Burges)",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432"
        " 9fb629c4189551a2d022fa330f9573f3 ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion_mnist": _mnist(
        "70,000 pieces of clothing, 28 x 28 (Xiao, Rasul, Vollgraf 2017)",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe"
        " bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
        ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": _mnist(
        "70,000 cursive Japanese characters, 28 x 28 (Clanuwat et al. 2018)",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "bdb82020997e1d708af4cf47b453dcf7 e144d726b3acfaa3e44228e80efcd344"
        " 5c965bf0a639b31b8f53240b1b52f4d7 7320c461ea6c1c855c0b718fb2a4b134",
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "ag_news": Download(
        "127,600 news by section (Zhang, Zhao, LeCun 2015)",
        "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/",
        {"train.csv": "md5:b1a00f826fdfbd249f79597b59e1dc12", "test.csv": "md5:d52ea96a97a2d943681189a97654912d"},
        ("World", "Sports", "Business", "Sci/Tech"),
        first=1,
        kind="texts",
    ),
}


def data_folder(name: str, folder: Path | None = None) -> Path:
    """Where the files of the set `name` are kept: below `folder`, or $JAXBACKPROP_DATA, or the user's cache."""
    if folder is None and (given := os.environ.get(FOLDER_VARIABLE)):
        folder = Path(given)
    return (Path(_pooch().os_cache("jaxbackprop")) if folder is None else folder) / name


def here(name: str, folder: Path | None = None) -> Path | None:
    """The folder of the set `name`, fetched or put there by hand; None where a file of it is missing.

    Raises:
        DataError: a file is another one than its checksum is of.
    """
    where, files = data_folder(name, folder), DOWNLOADS[name].files
    if not all((where / file).is_file() for file in files):
        return None
    for file, checksum in files.items():
        path = where / file
        kind, _, digest = checksum.partition(":")
        with open(path, "rb") as opened:
            if hashlib.file_digest(opened, kind).hexdigest() != digest:
                advice = "Remove the file, and it will be fetched again; or give the path of its folder, not the name."
                raise DataError("a file with another checksum", expected=checksum, advice=advice, file=path)
    return where


def get(name: str, *, folder: Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch the files of the set `name` that are not there yet, check all, and return the folder they are in.

    progress  is called with the file's name, the bytes that have arrived, and how many there will be, if known
    """
    if name not in DOWNLOADS:
        advice = did_you_mean(name, DOWNLOADS)
        raise DataError(f"the name {shown(name)}", expected=f"one of {', '.join(DOWNLOADS)}", advice=advice)
    download, target = DOWNLOADS[name], data_folder(name, folder)
    for file, checksum in download.files.items():
        _fetch(download.address + file, target / file, checksum, progress)
    return target


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        found, advice = "no pooch, which does the downloading", "Install it: pip install 'jaxbackprop[data]'."
        raise DataError(
            found, expected=f"pooch, or the files in a folder named by {FOLDER_VARIABLE}", advice=advice
        ) from error
    pooch.get_logger().setLevel("WARNING")
    return pooch


def _fetch(url: str, path: Path, checksum: str, progress: Progress | None) -> None:
    pooch = _pooch()
    if path.is_file() and not pooch.hashes.hash_matches(str(path), checksum):
        advice = "Remove the file, and it will be fetched again."
        raise DataError("a file with another checksum", expected=checksum, advice=advice, file=path)
    try:
        pooch.retrieve(url, checksum, path.name, path.parent, downloader=_resuming(path, progress))
    except OSError as error:  # what requests raises is one too
        raise DataError(
            f"no way to fetch {url} ({type(error).__name__})",
            expected="a network, or the file itself",
            advice=f"Try again (what has arrived is kept), or put {path.name} into the folder {path.parent} yourself.",
        ) from error
    except ValueError as error:  # pooch finds another checksum
        advice = f"Try again later, or put the right {path.name} into the folder {path.parent} yourself."
        raise DataError(f"another file than expected at {url}", expected=checksum, advice=advice) from error


def _resuming(path: Path, progress: Progress | None) -> Callable[[str, str, Any], None]:
    """A downloader for pooch that keeps what arrives in `<name>.part`, and asks only for the rest."""
    part = path.with_name(path.name + ".part")

    def download(url: str, output_file: str, _: Any) -> None:
        import requests

        done = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
            if done and answer.status_code == requests.codes.requested_range_not_satisfiable:
                part.replace(output_file)  # all of it had arrived; the checksum will tell
                return
            answer.raise_for_status()
            done = done if answer.status_code == requests.codes.partial_content else 0
            total = done + int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
            with open(part, "ab" if done else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    done += file.write(block)
                    if progress:
                        progress(path.name, done, total)
        part.replace(output_file)

    return download
