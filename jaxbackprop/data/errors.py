"""The error for data that is not what it should be, and how its message is put together. Nothing here reads."""

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike
from pathlib import Path


class DataError(ValueError):
    """A file, or a piece of data, that cannot be used; its message says where, what was found and what to do.

        train.txt, line 12: found a line without a label, expected at least one word starting with __label__.
          Give the line its label, or read with unlabelled="skip".

    Attributes
        found, expected, advice: the three parts of the message
        file: the file, or the name of what was read, or None
        line: the line in that file, counted from 1, or None
        byte: the byte in that file (uncompressed, where it is compressed) at which it stands, counted from 0, or None
    """

    def __init__(
        self,
        found: str,
        *,
        expected: str = "",
        advice: str = "",
        file: str | PathLike[str] | None = None,
        line: int | None = None,
        byte: int | None = None,
    ):
        self.found, self.expected, self.advice = found, expected, advice
        self.file, self.line, self.byte = None if file is None else str(file), line, byte
        super().__init__(self._message())

    def _message(self) -> str:
        line = None if self.line is None else f"line {self.line}"
        byte = None if self.byte is None else f"byte {self.byte:,}"
        place = ", ".join(part for part in (self.file, line, byte) if part)
        what = f"found {self.found}" + (f", expected {self.expected}" if self.expected else "") + "."
        return (f"{place}: " if place else "") + what + (f"\n  {self.advice}" if self.advice else "")

    def at(
        self, file: str | PathLike[str] | None = None, line: int | None = None, byte: int | None = None
    ) -> "DataError":
        """The same error with the place filled in where it was not known."""
        return DataError(
            self.found,
            expected=self.expected,
            advice=self.advice,
            file=file if self.file is None else self.file,
            line=line if self.line is None else self.line,
            byte=byte if self.byte is None else self.byte,
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question "Did you mean a or b?", or nothing where no known name is near `name`."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(near)}?" if near else ""


def shown(text: str, width: int = 40) -> str:
    """`text` as a person may see it in a message: quoted, and cut where it is long."""
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def missing(path: Path) -> DataError:
    """The error for a path at which there is nothing: it names the files nearby with a similar name."""
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    near = did_you_mean(path.name, sorted(p.name for p in parent.iterdir())) if parent == path.parent else ""
    where = "" if parent == path.parent else f"The folder {path.parent} does not exist either."
    return DataError("no such file or folder", file=path, advice=near or where or "Check the name.")
