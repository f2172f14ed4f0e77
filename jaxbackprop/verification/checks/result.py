"""What a check finds."""

import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax

from ...jaxprs.inputs import Inputs
from ...jaxprs.queries import holds
from ..diagnosis.evidence import Evidence
from ..problem import Problem


@dataclass(frozen=True)
class CheckResult:
    """What a check found: True, False, or None for "undecided", which is not a pass.

    Attributes:
        passed: the verdict; "not applicable" is no verdict at all and is not reported.
        detail: the finding in one line.
        name: what was checked; replaces the check's own name, where one answers for each argument or precision.
        at: the input, in words.
        check: the check that answered, as `verify(checks=[...])` calls it.
        units: the largest error in units of the dtype's resolution, where numbers were compared.
        evidence: the numbers of a failure, from which its cause is found.
        suspect: a cause the check itself knows.
        note: reported, but neither a pass nor a failure.
        examined: False where there was nothing to compare.
        imprecise: the formula is right, and its rounding larger than the precision must have.
        claim: what was checked, in a sentence.
        again: the call that makes this check alone, where it failed.
        options: further arguments of `verify` that make it again.
        heat: where a gradient is wrong, as lines of a small map.
        example: makes `reproduce`.
    """

    passed: bool | None
    detail: str = ""
    name: str = ""
    units: float | None = None
    evidence: Evidence | None = None
    suspect: str = ""
    note: bool = False
    examined: bool = True
    at: str = ""
    check: str = ""
    imprecise: bool = False
    claim: str = ""
    again: str = ""
    options: tuple[str, ...] = ()
    heat: tuple[str, ...] = ()
    example: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<check {self.name or self.check}: {self.verdict}{f', {self.detail}' if self.detail else ''}>"

    @cached_property
    def reproduce(self) -> str:
        """Python that shows the failure again at a small example, found when it is first read; empty for a pass."""
        return self.example() if self.example is not None else ""

    @property
    def verdict(self) -> str:
        """ok, imprecise, wrong, undecided, not examined."""
        if not self.examined:
            return "not examined"
        if self.imprecise:
            return "imprecise"
        return {True: "ok", False: "wrong", None: "undecided"}[self.passed]

    @property
    def finding(self) -> str:
        """The finding, and for a failure at another point than the one given, which."""
        elsewhere = self.passed is not True and self.at not in (Inputs.label, "") and self.at not in self.detail
        return self.detail + f"  [at {self.at}]" * elsewhere

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "example": None}  # it holds functions, which cannot be pickled


@dataclass(frozen=True)
class Check:
    """Something every backward pass obeys.

    Attributes:
        function: answers results about a problem; its docstring's first line is the claim.
        everywhere: made at every example; otherwise only at the main one.
        needs_numbers: says nothing where no number of the gradient is finite, neither by hand nor by autodiff.
    """

    function: Callable[[Problem], Any]
    everywhere: bool = False
    needs_numbers: bool = True

    @property
    def key(self) -> str:
        """What `verify(checks=[...])` calls it."""
        return self.function.__name__

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.key.replace("_", " ")

    @property
    def claim(self) -> str:
        """What it checks, in one sentence."""
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def results(self, problem: Problem) -> Iterator[CheckResult]:
        """The results for a problem; none where the check does not apply."""
        found = self.function(problem)
        if found is None:
            return
        yield from [found] if isinstance(found, CheckResult) else found


def what_happened(error: Exception) -> str:
    """An exception in one line, and where it was raised: in whose code, rather than where in JAX or here."""
    text = re.split(r"\n-{10,}\n", f"{type(error).__name__}: {error}")[0]  # JAX adds remarks on its tracebacks
    lines = [line for line in text.split("\n") if line.strip()]
    inside = re.findall(r'File "(.+?)", line (\d+)', str(error))  # a callback's traceback comes as text
    message = lines[-1] if inside else lines[0]
    frames = inside or [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    package = Path(__file__).parents[2]
    machinery = str(Path(jax.__file__).parent), str(package / "verification"), str(package / "jaxprs")
    theirs = [f"{file}:{line}" for file, line in frames if not file.startswith((*machinery, "<"))]
    return message.strip()[:400] + (f" ({theirs[-1]})" if theirs else "")


def raises(function: Callable[[], Any]) -> bool:
    """Whether a call raises an exception."""
    try:
        function()
    except Exception:
        return True
    return False


OPAQUE = ("pallas_call", "pure_callback", "io_callback", "ffi_call", "custom_call")
"""Primitives that hold foreign code: which transformations they support is their own affair."""


def raised_under(
    problem: Problem,
    error: Exception,
    transformation: str,
    where: str = "",
    plain: Callable[[], Any] = lambda: None,
) -> CheckResult:
    """The rule raises under a transformation: noted where that is not supported for what it holds, else a failure.

    Args:
        problem: of the rule.
        error: what it raised.
        transformation: in words.
        where: what was transformed, in words.
        plain: does the same to the plain function; where that raises too, it is not supported.
    """
    detail = f"{where}: {what_happened(error)}" if where else what_happened(error)
    held = [name for name in OPAQUE if holds(problem.trace("handwritten").jaxpr, name)]
    if held or isinstance(error, NotImplementedError) or raises(plain):
        inside = f" for {held[0]}" if held else ""
        return CheckResult(True, f"not supported under {transformation}{inside}: {detail}", note=True)
    return CheckResult(False, detail, suspect=f"fails under {transformation}")
