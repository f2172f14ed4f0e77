"""The folder of a run: its configuration and what each epoch measured.

    config.json    data, model and settings, with the versions of what trained it and the hash of all that
    metrics.jsonl  a line per epoch, written as the epoch ends
    lock           while a process trains in the folder: which one
    checkpoints/   what training continues from, and the best model so far (for a text classifier, until it is trained)
    model.bin      a text classifier, once it is trained, in fastText's own format
    test.json      the metrics on the test set; beside it the plots, curves.png and confusion.png
    tensorboard/   the metrics for TensorBoard, by option

It needs no JAX: a trained text classifier is loaded and used without it.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..data.errors import DataError
from .content_hashes import seal, unseal
from .history import Epoch

try:
    import fcntl
except ModuleNotFoundError:  # Windows has no such locks: there, no folder is locked
    fcntl = None

CONFIG, METRICS, TEST, CHECKPOINTS, LOCK = "config.json", "metrics.jsonl", "test.json", "checkpoints", "lock"
TENSORBOARD = "tensorboard"


class RunFolder:
    """One run's folder.

    Raises:
        DataError: `create`: the folder is there already; `open`: it is not a run.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> "RunFolder":
        """A new run, in a folder that is new or empty."""
        path = Path(path)
        check_new(path)
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.write(CONFIG, {**config, "versions": versions()})
        except OSError as error:
            raise _not_writable(path, error) from None
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """An existing run."""
        path = Path(path)
        if not (path / CONFIG).is_file():
            found = "no config.json" if path.is_dir() else "no such folder"
            raise DataError(found, expected="the folder of a run", file=path, advice="Train one: jaxbackprop train.")
        return cls(path)

    def discard(self) -> None:
        """Remove a run that holds nothing but its configuration, and its folder."""
        (self.path / CONFIG).unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds; DataError where that is not what the run wrote."""
        return unseal(self.read(CONFIG), self.path / CONFIG)

    def read(self, name: str) -> Any:
        """A JSON file of the run; DataError where it is missing or broken."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError("no such file", file=self.path / name, advice="The run is not complete.") from None
        except json.JSONDecodeError as error:
            raise DataError(f"broken JSON ({error.msg})", file=self.path / name, line=error.lineno) from None
        except (OSError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"a file that cannot be read ({error})", file=self.path / name) from None

    def write(self, name: str, value: Any) -> None:
        """A JSON file of the run, whole or not at all; the configuration with the hash of its content."""
        value = seal(value) if name == CONFIG else value
        new = self.path / f"{name}.new"
        text = json.dumps(value, indent=1, ensure_ascii=False)
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            text = json.dumps(value, indent=1)  # a word that is no UTF-8 is a lone surrogate, which only JSON can say
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(self.path / name)

    def record(self, epoch: Epoch) -> None:
        """Add an epoch to metrics.jsonl."""
        with open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps(epoch.as_dict()) + "\n")

    def epochs(self) -> list[Epoch]:
        """The epochs recorded so far; a last line that was cut off is not counted."""
        path, advice = self.path / METRICS, "Remove it, or train anew."
        try:
            found = [Epoch(**json.loads(line)) for line in self._lines()]
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"a broken line ({error})", file=path, advice=advice) from None
        for number, epoch in enumerate(found, start=1):
            if epoch.epoch != number:
                raise DataError(f"epoch {epoch.epoch}", expected=f"epoch {number}", file=path, line=number)
        return found

    def _lines(self) -> list[str]:
        path = self.path / METRICS
        try:
            return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"a file that cannot be read ({error})", file=path) from None

    def hash_of_epochs(self, count: int) -> str:
        """The hash of the first `count` lines of metrics.jsonl, as a checkpoint keeps it.

        Raises:
            DataError: there are fewer.
        """
        lines = self._lines()[:count]
        if len(lines) < count:
            raise DataError(f"{len(lines)} lines", expected=f"at least {count}, one an epoch", file=self.path / METRICS)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def check_epochs(self, count: int, expected: str) -> None:
        """DataError where the first `count` lines of metrics.jsonl are not those that the run wrote."""
        if self.hash_of_epochs(count) != expected:
            raise DataError("other metrics than the run wrote", file=self.path / METRICS, advice="The file is damaged.")

    def forget_after(self, epoch: int) -> list[Epoch]:
        """Drop the epochs recorded after `epoch`, which will be run again.

        Returns:
            The epochs that are left.
        """
        kept = [e for e in self.epochs() if e.epoch <= epoch]
        new = self.path / f"{METRICS}.new"
        new.write_text("".join(json.dumps(e.as_dict()) + "\n" for e in kept), encoding="utf-8")
        new.replace(self.path / METRICS)
        return kept

    @contextmanager
    def locked(self) -> Iterator[None]:
        """This process alone trains in the folder; the lock ends with the process, however that ends.

        Raises:
            DataError: another process trains in it; names it.
        """
        if fcntl is None:
            yield
            return
        path, descriptor = self.path / LOCK, -1
        try:
            while descriptor < 0:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
                    os.close(descriptor)  # the process before removed the file after we had opened it
                    descriptor = -1
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            found, advice = f"{holder}, training in it", "Wait for it, or stop it."
            raise DataError(found, expected="one run in a folder", file=self.path, advice=advice) from None
        except OSError as error:
            raise _not_writable(self.path, error) from None
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def check_new(path: Path) -> None:
    """A DataError where a run cannot be begun at this path: a file, a folder that holds something, one not writable."""
    if (path / CONFIG).exists():
        advice = "Give another folder, resume the run that is there, or remove it."
        raise DataError("a run that is there already", expected="a new folder", file=path, advice=advice)
    if path.exists() and not path.is_dir():
        raise DataError("a file", expected="a new folder", file=path, advice="Give another name.")
    if path.is_dir() and any(path.iterdir()):
        advice = "Give another folder, or remove it."
        raise DataError("a folder that is not empty", expected="a new folder", file=path, advice=advice)
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise DataError("no folder that can be written", file=there, advice="Give another folder for the run.")


def new_folder(parent: Path, name: str) -> Path:
    """An empty folder NAME-N in `parent`, with the first N that is free; no other process gets the same."""
    number = 1
    while True:
        try:
            (path := parent / f"{name}-{number}").mkdir(parents=True)
            return path
        except FileExistsError as error:
            if not parent.is_dir():
                raise _not_writable(parent, error) from None
            number += 1
        except OSError as error:
            raise _not_writable(parent, error) from None


def _not_writable(path: Path, error: OSError) -> DataError:
    advice = "Make room there, make it writable, or give another folder."
    return DataError(f"a folder that cannot be written ({error.strerror})", file=path, advice=advice)


def versions() -> dict[str, str]:
    """The versions that a run depends on."""
    found = {"python": platform.python_version()}
    for package in ("jaxbackprop", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found
