"""What a law answers, and the register of laws."""

import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from ..diagnosis.evidence import Evidence
    from ..subject import Subject


@dataclass(frozen=True)
class Verdict:
    """What a law found: True, False, or None for "undecided", which is not a pass.

    Attributes:
        passed: the verdict; "not applicable" is no verdict at all and is not reported.
        detail: the finding in one line.
        name: replaces the law's own name, where one law answers for each argument or precision.
        units: the largest error in units of the dtype's resolution, where numbers were compared.
        evidence: the numbers of a failure, from which its cause is found.
        suspect: a cause the law itself knows.
        note: reported, but neither a pass nor a failure.
    """

    passed: bool | None
    detail: str = ""
    name: str = ""
    units: float | None = None
    evidence: "Evidence | None" = None
    suspect: str = ""
    note: bool = False


@dataclass(frozen=True)
class Law:
    """Something every backward pass obeys.

    Attributes:
        name: the function's name in words.
        check: answers verdicts about a subject.
        everywhere: checked at every example; otherwise only at the main one.
    """

    name: str
    statement: str
    check: Callable[["Subject"], Any]
    everywhere: bool

    def verdicts(self, subject: "Subject") -> Iterator[Verdict]:
        """The verdicts about a subject; none where the law does not apply."""
        found = self.check(subject)
        if found is None:
            return
        yield from [found] if isinstance(found, Verdict) else found


LAWS: dict[str, Law] = {}


def law(*, everywhere: bool = False) -> Callable[[Callable[["Subject"], Any]], Callable[["Subject"], Any]]:
    """Decorator: enter a function in the register of laws. Its docstring is the law."""

    def enter(check: Callable[["Subject"], Any]) -> Callable[["Subject"], Any]:
        statement = (check.__doc__ or "").strip().split("\n")[0]
        LAWS[check.__name__] = Law(check.__name__.replace("_", " "), statement, check, everywhere)
        return check

    return enter


def what_happened(error: Exception) -> str:
    """An exception in one line, and where it was raised: in whose code, rather than where in JAX or here."""
    lines = [line for line in f"{type(error).__name__}: {error}".split("\n") if line.strip()]
    inside = re.findall(r'File "(.+?)", line (\d+)', str(error))  # a callback's traceback comes as text
    message = lines[-1] if inside else lines[0]
    frames = inside or [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    machinery = str(Path(jax.__file__).parent), str(Path(__file__).parents[2])
    theirs = [f"{file}:{line}" for file, line in frames if not file.startswith((*machinery, "<"))]
    return message.strip()[:400] + (f" ({theirs[-1]})" if theirs else "")
