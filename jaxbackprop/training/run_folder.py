"""The folder of a run: its configuration and what each epoch measured.

    config.json    data, model and settings, with the versions of what trained it
    metrics.jsonl  a line per epoch, written as the epoch ends
    checkpoints/   what training continues from, and the best model so far (for a text classifier, until it is trained)
    model.bin      a text classifier, once it is trained, in fastText's own format
    test.json      the metrics on the test set; beside it the plots, curves.png and confusion.png

It needs no JAX: a trained text classifier is loaded and used without it.
"""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..data.errors import DataError
from .history import Epoch

CONFIG, METRICS, TEST, CHECKPOINTS = "config.json", "metrics.jsonl", "test.json", "checkpoints"


class RunFolder:
    """One run's folder.

    Raises:
        DataError: `create`: the folder is there already; `open`: it is not a run.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> "RunFolder":
        """A new run; a folder that already holds one is an error."""
        path = Path(path)
        if (path / CONFIG).exists():
            advice = "Give another folder, resume the run that is there, or remove it."
            raise DataError("a run that is there already", expected="a new folder", file=path, advice=advice)
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.write(CONFIG, {**config, "versions": versions()})
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """An existing run."""
        path = Path(path)
        if not (path / CONFIG).is_file():
            found = "no config.json" if path.is_dir() else "no such folder"
            raise DataError(found, expected="the folder of a run", file=path, advice="Train one: jaxbackprop train.")
        return cls(path)

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds."""
        return self.read(CONFIG)

    def read(self, name: str) -> Any:
        """A JSON file of the run; DataError where it is missing or broken."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError("no such file", file=self.path / name, advice="The run is not complete.") from None
        except json.JSONDecodeError as error:
            raise DataError(f"broken JSON ({error.msg})", file=self.path / name, line=error.lineno) from None

    def write(self, name: str, value: Any) -> None:
        """A JSON file of the run, whole or not at all."""
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
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        try:
            return [Epoch(**json.loads(line)) for line in lines[:-1]]
        except (json.JSONDecodeError, TypeError) as error:
            raise DataError(f"a broken line ({error})", file=path, advice="Remove it, or train anew.") from None

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


def versions() -> dict[str, str]:
    """The versions that a run depends on."""
    found = {"python": platform.python_version()}
    for package in ("jaxbackprop", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found
