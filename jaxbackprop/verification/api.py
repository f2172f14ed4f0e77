"""`verify`: one hand-derived function at its inputs, all laws, one answer; and all rules of a package at once."""

import difflib
import importlib
import itertools
import multiprocessing
import os
import pkgutil
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax
import numpy as np

from ..core.example_inputs import examples
from ..core.rule import Rule, rules
from ..jaxprs.inputs import Point
from ..jaxprs.number_systems.interpreter import evaluate
from .checks import (
    devices as laws_devices,
)
from .checks import (
    gradient as laws,
)
from .checks import (
    other_inputs as laws_points,
)
from .checks import (
    precision as laws_precision,
)
from .checks import (
    residuals as laws_keeping,
)
from .checks import (
    second_order as laws_second,
)
from .checks import (
    transformations as laws_transforms,
)
from .checks.registry import LAWS, Law, Verdict, what_happened
from .checks.self_test import finds_planted_errors
from .diagnosis.intended import by_design, knows_more
from .diagnosis.likely_cause import likely_cause
from .problem import Target, target
from .report import Check, Verification
from .subject import Subject

# Laws register themselves on import.
_ = (laws, laws_precision, laws_points, laws_keeping, laws_transforms, laws_devices, laws_second)


def verify(
    fun: Callable,
    *args: Any,
    reference: Callable | None = None,
    prove: bool = False,
    seed: int = 0,
    **settings: Any,
) -> Verification:
    """Whether the hand-derived derivative of `fun` is right; where not, what is wrong and why.

    Every number of the gradient is compared, for two dense random upstream gradients, uniform in +-[0.4, 1.6]. A single
    wrong entry of the Jacobian, e off, is seen for certain where 0.4 e is beyond the tolerance t; among other wrong
    ones that also reach this number it is missed with a probability of at most (t / 1.2 e)^2.

    Args:
        fun: a `Rule`, a `jax.custom_vjp`, a `jax.custom_jvp`, or with `reference` any function.
        args: arrays and pytrees of them; a `Rule` draws its own examples where none are given.
        reference: the plain function whose derivative `fun` must have.
        prove: also plant a sign flip and a 1 % error in `fun`, and fail where they are not found.
        seed: of the random cotangents and directions.
        settings: keyword arguments of `fun`, held static.

    Raises:
        TypeError: nothing says what the derivative must be, or at which arguments.
        ValueError: the plain function raises at the arguments.
    """
    start = time.perf_counter()
    subjects = _subjects(fun, args, reference, seed, settings)
    if not subjects:
        raise TypeError(f"verify: {target(fun, reference).name} is not a Rule: give the arguments to verify it at.")
    if args:
        _try(subjects[0])
    collected = Collected()
    for subject in subjects:
        collected.ask(subject, (law for law in LAWS.values() if subject.main or law.everywhere))
    if prove:
        collected.ask(subjects[0], [Law("finds planted errors", "", finds_planted_errors, everywhere=False)])
    return collected.verification(subjects, time.perf_counter() - start)


def _try(subject: Subject) -> None:
    try:
        _ = subject.case.value_program
    except Exception as error:
        raise ValueError(
            f"verify: the plain function of {subject.target.name} raises at the given arguments "
            f"({subject.point.described}): {what_happened(error)}"
        ) from error


def _subjects(
    fun: Callable, args: tuple, reference: Callable | None, seed: int, settings: dict[str, Any]
) -> list[Subject]:
    if args or not isinstance(fun, Rule):
        return [Subject(target(fun, reference, settings), Point(args), seed=seed)] if args else []
    made = [
        Subject(
            target(fun, reference, {**e.settings, **settings}),
            Point(_with_keys(e), e.label),
            main=False,
            seed=seed,
            number=k,
        )
        for k, e in enumerate(examples(fun, seed=seed))
    ]
    # All laws are asked about the richest example: nested batches show what a plain vector hides.
    main = max(made, key=lambda s: (s.point.label.startswith(("nested", "equal")), s.point.label == "plain"))
    main.main = True
    return sorted(made, key=lambda s: not s.main)


def _with_keys(example: Any) -> tuple:
    return jax.tree.map(
        lambda x: x if isinstance(x, np.ndarray | np.generic) else jax.random.key(x.number), example.args
    )


RAISES = "it raises an exception"
DERIVED = Law("can be differentiated", "", lambda subject: None, everywhere=True)


class Collected:
    """Verdicts as they come in: for each check the worst one."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self.failed: list[tuple[Law, Verdict, Subject]] = []
        self.notes: list[str] = []
        self.stopped: dict[str, list[str]] = {}

    def ask(self, subject: Subject, laws: Iterable[Law]) -> None:
        """Ask laws about a subject; a law that raises has failed, and a function that always raises is not asked."""
        try:
            _ = subject.case.hand_program
        except Exception as error:
            self.enter(DERIVED, self.raised(error, subject), subject)
            return
        for law in laws:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    found = list(law.verdicts(subject))
            except Exception as error:
                found = [self.raised(error, subject)]
            for verdict in found:
                self.enter(law, verdict, subject)

    def raised(self, error: Exception, subject: Subject) -> Verdict:
        """A law met an exception: the rule's fault, unless the plain function itself raises at these arguments."""
        try:
            evaluate(subject.case.value_program, subject.case.point.arrays)
        except Exception as of_plain:
            return Verdict(None, f"could not be judged, the plain function raises: {what_happened(of_plain)}")
        return Verdict(False, what_happened(error), suspect=RAISES)

    def enter(self, law: Law, verdict: Verdict, subject: Subject) -> None:
        """Keep a verdict."""
        name = verdict.name or law.name
        if verdict.note:
            self.notes.append(f"{name}: {verdict.detail}")
            return
        if verdict.suspect == RAISES:
            self.stopped.setdefault(verdict.detail, []).append(name)
            if len(self.stopped[verdict.detail]) > 1:
                return
        new = Check(name, verdict.passed, verdict.detail, subject.point.label, verdict.units)
        if verdict.passed is not True:
            self.failed.append((law, verdict, subject))
        old = self.checks.get(name)
        self.checks[name] = new if old is None else _worse(old, new)

    def verification(self, subjects: list[Subject], seconds: float) -> Verification:
        """Everything that was found."""
        about: Target = subjects[0].target
        cause, design = (self.looked_for(what) for what in (self.cause, self.by_design))
        also = [f"the same exception stops {len(n) - 1} more checks" for n in self.stopped.values() if len(n) > 1]
        return Verification(
            name=about.name,
            checks=tuple(self.checks.values()),
            source=about.source,
            inputs=len(subjects),
            likely_cause=cause,
            notes=tuple(dict.fromkeys([*self.notes, *also])),
            seconds=seconds,
            by_design=design,
        )

    def looked_for(self, explain: Callable[[], str]) -> str:
        """An explanation of a failure; a rule that raises wherever it is asked has none, and the failure stands."""
        try:
            return explain()
        except Exception as error:
            what = what_happened(error)
            self.notes += [] if what in self.stopped else [f"no explanation was found: {what}"]
            return ""

    def by_design(self) -> str:
        """What speaks for a difference that is meant; it must explain every gradient that is wrong."""
        more = ""
        found = []
        for _, verdict, subject in self.failed:
            words = by_design(verdict.evidence) if verdict.evidence is not None else ""
            more = more or ("" if words else knows_more(subject.case))
            if verdict.evidence is not None:
                found.append(words or more)
        return (found[0] if all(found) else "") if found else more

    def cause(self) -> str:
        """The first failure whose numbers an hypothesis explains; else what a law itself suspects."""
        given = [verdict.evidence for _, verdict, _ in self.failed if verdict.evidence is not None]
        # One number, as a batch of one leaves, fits almost anything; unless there is no more to go by.
        for evidence in [e for e in given if e.truth.size > 1] or given:
            found = likely_cause(evidence)
            if found:
                return found
        for _, verdict, _ in sorted(self.failed, key=lambda f: f[1].suspect == RAISES):
            if verdict.suspect:
                return verdict.suspect
            if verdict.evidence is not None and any(" is not in [" in o for o in verdict.evidence.judged.outside):
                return "at a kink: another value than those between the derivatives from its sides"
            if verdict.evidence is not None:
                return "none of the known ones: the numbers are those of another formula"
        return ""


def _worse(a: Check, b: Check) -> Check:
    rank = {True: 0, None: 1, False: 2}
    units = max((u for u in (a.units, b.units) if u is not None), default=None)
    worst = b if rank[b.passed] > rank[a.passed] else a
    return Check(worst.name, worst.passed, worst.detail, worst.at, units)


def verify_rules(
    names: Iterable[str] | None = None, package: str = "jaxbackprop", *, prove: bool = False, jobs: int = 1
) -> list[Verification]:
    """`verify` of the registered rules of `package`: of all of them, or of those named.

    Args:
        names: of the rules; all where none is given.
        package: it and all its modules are imported.
        prove: also plant errors in each rule.
        jobs: so many processes, 0 for one a core; only worth their start for many rules.

    Raises:
        ValueError: there is no rule of such a name.
    """
    known = _known(package, names := list(names or ()))
    chosen = names or list(known)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{package} has no rule called {unknown[0]}.{hint}")
    jobs = min(jobs or os.cpu_count() or 1, len(chosen) // 8)
    if jobs < 2:
        return [_verified(known[name], prove) for name in chosen]
    # Rules take very unequal times: each process fetches the next one when it is done.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_verified_by_name, chosen, itertools.repeat(package), itertools.repeat(prove)))


def _verified_by_name(name: str, package: str, prove: bool) -> Verification:
    return _verified(_known(package, [name])[name], prove)


def _known(package: str, names: list[str]) -> dict[str, Rule]:
    """The registered rules; no more of the package is imported than until all of `names` are among them."""
    importlib.import_module(package)
    if not names or not set(names) <= set(rules(package)):
        load(package)
    return rules(package)


def _verified(made: Rule, prove: bool) -> Verification:
    """`verify(made)`; a rule at which no input can be drawn has failed, and the others are still verified."""
    try:
        return verify(made, prove=prove)
    except Exception as error:
        check = Check("examples", False, what_happened(error))
        return Verification(made.name, (check,), inputs=0, likely_cause="no inputs can be drawn from its signature")


def load(package: str) -> None:
    """Import `package` and every module in it that can be imported, so that its rules are registered."""
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(getattr(root, "__path__", []), package + "."):
        if module.name.rsplit(".", 1)[-1] in ("__main__", "cli") or ".cli." in module.name:
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:
            continue  # an optional package is absent


def assert_verified(fun: Callable, *args: Any, **keywords: Any) -> None:
    """`verify(...)`, for use in any test.

    Raises:
        VerificationError: an AssertionError with the report.
    """
    verify(fun, *args, **keywords).raise_if_failed()
