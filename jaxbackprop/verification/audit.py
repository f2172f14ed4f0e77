"""`audit`: every hand-written rule that runs inside a program, checked at the values it really sees there."""

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.html_table import html_lines, html_table
from ..core.rule import registered_as
from ..jaxprs.compat import weakly_typed
from ..jaxprs.inputs import Inputs, inexact, replaced
from ..jaxprs.observed import NotExamined, Observed, Sample
from ..jaxprs.on_mesh import on_every_device, on_mesh
from ..jaxprs.rule_calls import Found, find
from .caller_settings import undisturbed
from .checks.registry import CHECKS, chosen_checks
from .checks.result import Check, CheckResult, what_happened
from .collect import Collected
from .problem import HandwrittenFunction, Problem
from .program_gradient import CANNOT_TELL, RIGHT, WRONG, ProgramGradient, against_numerical, against_plain_functions
from .report import Verification, VerificationError
from .wording import count

CHECKS_AT_A_POINT = (
    "forward_pass", "gradient", "linear_in_the_upstream", "precision", "accumulation", "structure",
    "same_value_when_differentiated", "vmap", "second_order",
)  # fmt: skip


def could_be_judged(problem: Problem) -> None:
    """The rule can be called and differentiated at the values it saw."""


UNJUDGED = Check(could_be_judged)


@dataclass(frozen=True)
class Site:
    """One hand-written rule as the program uses it.

    Attributes:
        name: of the rule.
        source: file and line of its definition.
        calls: how often the program called it; 0 where it stands on a branch not taken.
        verification: what was found at the values it saw; None where it was never called, or has nothing to judge.
        kind: how it is written: "custom_vjp", "custom_jvp", "hijax", "custom_root", "linear_call", "primitive".
        differentiated: how many of the calls the program itself takes a derivative of.
        program: where it differs from its plain function, perhaps by design: what that does to the program.
        together: why it can be right only together with other steps of the program, where that is so.
    """

    name: str
    source: str
    calls: int
    verification: Verification | None
    kind: str = "custom_vjp"
    differentiated: int = 0
    program: str = ""
    together: str = ""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.verification is None:
            return "no gradient" if self.calls else "not reached"
        checks = self.verification.checks
        unjudged = bool(checks) and all(check.name == UNJUDGED.name for check in checks)
        return NOT_JUDGED if unjudged else self.verification.verdict

    @property
    def proof(self) -> str:
        """What is known of its formula without tolerance, in a word; empty where nothing was proved."""
        return self.verification.proof.word if self.verification and self.verification.proof else ""

    @property
    def arithmetic(self) -> str:
        """right, imprecise or wrong: the numbers in the types it is run in; empty where they were not judged."""
        return self.verification.arithmetic if self.verification else ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it: it is right, or differs from its plain function to the program's good.

        What was not judged stands in `Audit.not_examined`.
        """
        if self.verification is None or self.verdict in (NOT_JUDGED, NOT_EXAMINED):
            return True
        return self.verification.passed or self.program == GOOD

    def __repr__(self) -> str:
        source = f", {self.source}" if self.source else ""
        return f"<rule {self.name}: {self.verdict}, {count(self.calls, 'call')}{source}>"


def _why(site: Site) -> str:
    """What a reader wants to know of a rule that is not right, in a line."""
    found = site.verification
    if found is None or not found.failures:
        return ""
    return found.by_design or found.likely_cause or found.failures[0].detail


NOT_JUDGED = "not judged"
NOT_EXAMINED = "not examined"
NO_CHECK = "to which none of these checks applies"
GOOD = "differs from its primal; the program's gradient is right"
BAD = "differs from its primal; the program's gradient is not that of its value"


@dataclass(frozen=True)
class Audit:
    """All hand-written rules of a program.

    Attributes:
        sites: one for each rule.
        not_examined: what could not be looked into, and why.
        gradient: what is known of the program's own gradient; None where there is none, or no rule in it.
        allowed: the names of what may stay unexamined.
        seconds: how long it took.
    """

    sites: tuple[Site, ...]
    not_examined: tuple[NotExamined, ...] = ()
    gradient: ProgramGradient | None = None
    allowed: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every rule is right, everything was examined that is not allowed by name, and the gradient is."""
        wrong = self.gradient is not None and self.gradient.verdict == WRONG
        return not wrong and not self.unexamined and all(site.passed for site in self.sites)

    @property
    def failures(self) -> tuple[Site, ...]:
        """The sites whose rule is not right."""
        return tuple(site for site in self.sites if not site.passed)

    @property
    def unexamined(self) -> tuple[NotExamined, ...]:
        """What was not examined, and is not allowed by name."""
        return tuple(one for one in self.not_examined if one.name not in self.allowed)

    def raise_if_failed(self) -> "Audit":
        """Itself, where all passed.

        Raises:
            VerificationError: with the report of the first rule that failed; where none did, with the whole report.
        """
        for site in self.failures:
            assert site.verification is not None
            site.verification.raise_if_failed()
        if not self.passed:
            raise VerificationError(str(self))
        return self

    def __repr__(self) -> str:
        left = f", {len(self.not_examined)} not examined" if self.not_examined else ""
        return f"<audit of {count(len(self.sites), 'rule')}: {'passed' if self.passed else 'not passed'}{left}>"

    def _repr_html_(self) -> str:
        rows = [[s.name, str(s.calls), s.verdict, s.program or _why(s), s.source] for s in self.sites]
        table = html_table(["rule", "calls", "verdict", "finding", "defined"], rows, verdicts=2) if rows else ""
        return table + html_lines(self._rest() if rows else [*self._table(), *self._rest()])

    def __str__(self) -> str:
        return "\n".join([*self._table(), *self._rest()])

    def _table(self) -> list[str]:
        if not self.sites:
            known = "no hand-written rule" if not self.not_examined else "no hand-written rule in what was examined"
            return [f"{known} in this program ({self.seconds:.1f} s)"]
        width = max(len(s.name) for s in self.sites)
        columns = [["proof", *(s.proof for s in self.sites)], ["arithmetic", *(s.arithmetic for s in self.sites)]]
        columns = [column for column in columns if any(column[1:])]  # checks that were chosen leave some empty
        head, *rows = ("".join(f"{column[k]:13}" for column in columns) for k in range(len(self.sites) + 1))
        lines = [f"{'rule':{width}}  calls  verdict     {head}".rstrip()]
        for s, row in zip(self.sites, rows, strict=True):
            lines.append(f"{s.name:{width}}  {s.calls:5d}  {s.verdict:10}  {row}{s.source}")
            if s.verification is not None and s.verification.failures and s.verdict != NOT_JUDGED:
                worst = s.verification.failures[0]
                why = s.verification.by_design or s.verification.likely_cause
                remarks = (f"{worst.name}: {worst.detail}", why, s.program)
            else:
                remarks = (s.together, s.program) if s.program else ()
            lines += [f"{'':{width}}         {remark}" for remark in remarks if remark]
        return lines

    def _rest(self) -> list[str]:
        lines = []
        if self.gradient is not None:
            lines.append(f"the program's own gradient: {self.gradient.verdict}, {self.gradient.detail}")
        for one in self.not_examined:
            allowed = " (allowed)" if one.name in self.allowed else ""
            lines.append(f"not examined{allowed}: {one.name}, {one.reason}  {one.place}".rstrip())
        if self.sites:
            left = f", {len(self.not_examined)} not examined" if self.not_examined else ""
            rules = count(len(self.sites), "rule")
            lines.append(f"{rules}, {len(self.failures)} not right{left}, {self.seconds:.1f} s")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "sites": [
                {"name": s.name, "source": s.source, "kind": s.kind, "calls": s.calls,
                 "differentiated": s.differentiated, "verdict": s.verdict, "passed": s.passed, "program": s.program,
                 "arithmetic": s.arithmetic, "together": s.together,
                 "verification": s.verification and s.verification.to_dict()}
                for s in self.sites
            ],
            "gradient": self.gradient and {"verdict": self.gradient.verdict, "detail": self.gradient.detail},
            "not_examined": [
                {"name": one.name, "place": one.place, "reason": one.reason, "allowed": one.name in self.allowed}
                for one in self.not_examined
            ],
        }  # fmt: skip

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(self.to_dict(), indent=2)


@undisturbed()
def audit(
    fun: Callable,
    *args: Any,
    allow: Sequence[str] = (),
    checks: Sequence[str] | None = None,
    strict: bool = False,
    **settings: Any,
) -> Audit:
    """Find every hand-written rule that runs inside `fun(*args)`, and verify each at the values it sees.

    Rules are found wherever they run: under jit, scan, while, cond, checkpoint, vmap and shard_map, inside other rules,
    and where `fun` itself takes a derivative, as a training step does. They may be `custom_vjp`, `custom_jvp`, hijax
    primitives, linear calls, and primitives of other packages. `fun` is run once or twice, on copies of its arguments.

    Args:
        fun: any JAX function.
        args: its arguments; Python values that are no arrays are held static.
        allow: the names of what may stay unexamined (see `Audit.not_examined`); of anything else the audit fails.
        checks: the names of the checks to make of each rule (`verification.checks.registry.CHECKS`); where none are
            given, those that say something at single values.
        strict: fail also what is imprecise, but no more so than autodiff.
        settings: keyword arguments of `fun`, held static.

    Raises:
        TypeError: `fun` is no function, or `checks` or `allow` is no list.
        ValueError: there is no check of such a name.
    """
    if not callable(fun):
        raise TypeError(f"audit: {fun!r:.60} is no function that could be looked through.")
    chosen_checks("audit", checks)
    if isinstance(allow, str):
        raise TypeError(f"audit: allow must be a list of names, such as allow=[{allow!r}].")
    start, point = time.perf_counter(), Inputs(args)
    function = functools.partial(fun, **settings)
    found, judged = judged_rules(function, point, checks, strict=strict)
    gradient = _gradient(function, point, found, judged)
    sites = tuple(_in_the_program(site, gradient) for _, site in judged)
    not_examined = (*found.not_examined, *filter(None, map(_not_examined, sites)))
    seconds = time.perf_counter() - start
    return Audit(sites, tuple(dict.fromkeys(not_examined)), gradient, tuple(allow), seconds)


def _not_examined(site: Site) -> NotExamined | None:
    """Why a rule that was found was not examined."""
    if site.verdict == NOT_JUDGED and site.verification is not None:
        reason = site.verification.checks[0].detail
        return NotExamined(site.name, site.source, f"a rule that could not be judged: {reason}")
    if site.verdict == NOT_EXAMINED and site.verification is not None:
        reason = "none of whose gradients is finite here: nothing to compare" if site.verification.checks else NO_CHECK
        return NotExamined(site.name, site.source, f"a rule {reason}")
    if site.together and site.program != GOOD:
        return NotExamined(site.name, site.source, site.together)
    return None if site.calls else NotExamined(site.name, site.source, "a rule on a branch that was not taken")


def judged_rules(
    function: Callable, point: Inputs, checks: Sequence[str] | None = None, *, strict: bool = False
) -> tuple[Found, list[tuple[Observed, Site]]]:
    """The rules that run inside `function` at `point`, each with what is found about it."""
    found = find(function, point)
    listed = {(one.name, one.place) for one in found.not_examined}
    rules = [rule for rule in found.rules if rule.calls or (rule.name, rule.source) not in listed]
    judged = [(rule, _site(rule, checks, found.error)) for rule in rules]
    return found, [(rule, _strict(site) if strict else site) for rule, site in judged]


def _strict(site: Site) -> Site:
    return replace(site, verification=site.verification and site.verification.strict())


def _gradient(
    function: Callable, point: Inputs, found: Found, judged: Sequence[tuple[Observed, Site]]
) -> ProgramGradient | None:
    """The program's own gradient: of a program that differentiates itself, what it returns."""
    if not found.rules and not found.not_examined:
        return None  # nothing but JAX's own derivatives
    if not found.whole:
        return ProgramGradient(CANNOT_TELL, "it cannot be traced as one program")
    if not any(rule.differentiated for rule in found.rules):
        return against_numerical(function, point)
    keys = [rule.key for rule, site in judged if not site.passed]
    return against_plain_functions(function, point, keys) if keys else None


def _in_the_program(site: Site, gradient: ProgramGradient | None) -> Site:
    """What a difference that is meant does to the program."""
    meant = site.verification is not None and bool(site.verification.by_design) and not site.verification.passed
    if not (meant or site.together) or gradient is None or gradient.verdict not in (RIGHT, WRONG):
        return site
    return replace(site, program=GOOD if gradient.verdict == RIGHT else BAD)


def _site(rule: Observed, checks: Sequence[str] | None, error: Exception | None) -> Site:
    """What is found about one rule; an exception on the way is what was found, and the other rules are still judged."""
    together = ""
    try:
        verification, together = _judged(rule, checks)
    except Exception as raised:
        verification = _unjudged(rule, what_happened(raised))
    if verification is None and error is not None and not rule.calls:
        verification = _unjudged(rule, f"the program could not be run as far as this rule: {what_happened(error)}")
    return Site(rule.name, rule.source, rule.calls, verification, rule.kind, rule.differentiated, together=together)


def _unjudged(rule: Observed, why: str) -> Verification:
    return Verification(rule.name, (CheckResult(None, why, UNJUDGED.name),), rule.source)


def _judged(rule: Observed, checks: Sequence[str] | None) -> tuple[Verification | None, str]:
    """What is found about a rule; and why it can be right only together with other steps, where that is so."""
    start, collected, problems, together = time.perf_counter(), Collected(prove=checks is None), [], ""
    checks = checks or CHECKS_AT_A_POINT
    if rule.own_remat and "checkpoint" not in checks:
        checks = (*checks, "checkpoint")
    if rule.kind not in ("custom_vjp", "custom_jvp") and not rule.mapped:
        checks = [check for check in checks if check != "vmap"]  # others need not be mapped
    for k, sample in enumerate(rule.samples):
        part = _part(rule, sample, sample.call.by if rule.differentiated else set(), f"its call {k + 1}")
        why = "the program takes no derivative by that"
        if not rule.differentiated and not _can_be_differentiated(part.problem):
            part = _part(rule, sample, _differentiable_leaves(sample), f"its call {k + 1}")
            why = "it raises where a derivative is taken by that"
        if part.held and (unread := _unread(part.problem)):
            # As of a linear solver: its value is computed from a factorization, its derivative from the matrix.
            names = ", ".join(part.problem.names()[j] for j in unread)
            together = (
                f"its derivative by {names}: its value depends on {part.held} instead, which the program computes"
            )
            part = _part(rule, sample, part.by - {part.own[part.problem.inputs.live[j]] for j in unread}, part.label)
        problem = part.problem
        problem.note = str(sample.call.places or "")
        collected.notes += [f"not judged by {part.held}: {why}"] if part.held else []
        if not problem.inputs.live:
            continue
        if not problem.x.size:
            collected.enter(UNJUDGED, CheckResult(None, "every floating-point argument is empty"), problem)
            problems.append(problem)
            continue
        problems.append(problem)
        try:
            _ = problem.trace("handwritten")
        except Exception as error:
            collected.enter(UNJUDGED, CheckResult(None, what_happened(error)), problem)
            continue
        collected.make(problem, (CHECKS[check] for check in checks if k == 0 or CHECKS[check].everywhere))
    if not problems:
        return None, together
    return collected.verification(problems[0].function, len(problems), time.perf_counter() - start), together


@dataclass(frozen=True)
class _Part:
    """A call of a rule, by the arguments of which it is judged.

    Attributes:
        problem: the rule beside its plain function, of those arguments.
        by: the arrays by which it is judged; all where there are none.
        own: for each array of the problem which array of the call it is.
        held: the names of the floating-point arrays that are held as they are.
        label: which call.
    """

    problem: Problem
    by: set[int]
    own: list[int]
    held: str
    label: str


def _part(rule: Observed, sample: Sample, by: set[int], label: str) -> _Part:
    """A call of a rule, judged by the arrays `by`, or by all where there are none."""
    call, inputs = sample.call, Inputs(sample.args, label)
    leaves, tree = jax.tree.flatten(sample.args)
    names = _argument_names(rule, len(sample.args))
    names = names or tuple(f"input {i}" for i in range(len(sample.args)))
    # No gradient arrives at an output the program throws away: the running maximum a softmax hands out beside.
    outputs = sorted(call.pulled or (set() if rule.differentiated else call.read))
    some_outputs = 0 < len(outputs) < call.outputs
    weak = {k for k, is_weak in enumerate(call.weak) if is_weak}
    # What a root finder closes over is handed in several times: one value in the program, it varies as one.
    stands_for = [call.tied[k] if rule.kind == "custom_root" else k for k in range(len(leaves))]
    by = {stands_for[k] for k in by if k < len(leaves)}
    held = {k for k in inputs.live if by and stands_for[k] not in by}
    own = [k for k in range(len(leaves)) if stands_for[k] == k and k not in held]
    mesh = bool(call.axes) and _needs_a_mesh(sample)
    function, plain = sample.function, sample.plain
    names_held = ", ".join(inputs.label_of(k, names) for k in sorted(held) if stands_for[k] == k)

    def part(function: Callable, plain: Callable, names: tuple[str, ...], inputs: Inputs) -> _Part:
        made = HandwrittenFunction(rule.name, function, plain, names, rule.source, rule.kind, typed=True)
        return _Part(Problem(made, inputs), by, own, names_held, label)

    if not (some_outputs or weak or mesh or len(own) < len(leaves)):
        return part(function, plain, names, inputs)
    labels = [inputs.label_of(k, names) for k in own]

    def of_leaves(function: Callable) -> Callable:
        def flat(*given: Any) -> Any:
            found = function(*tree.unflatten(weakly_typed(x) if k in weak else x for k, x in enumerate(given)))
            return [inexact(found)[k] for k in outputs] if some_outputs else found

        return on_mesh(flat, call.axes, call.varying) if mesh else flat

    if mesh:
        checked = any(call.varying)
        leaves = [
            on_every_device(x, call.axes, differs, checked=checked)
            for x, differs in zip(leaves, call.varying, strict=True)
        ]

    def of_own(function: Callable) -> Callable:
        def call_it(*given: Any) -> Any:
            known = dict(zip(own, given, strict=True))
            return function(*(known.get(stands_for[k], leaves[k]) for k in range(len(leaves))))

        return call_it

    own_inputs = Inputs(tuple(leaves[k] for k in own), label)
    return part(of_own(of_leaves(function)), of_own(of_leaves(plain)), tuple(labels), own_inputs)


def _can_be_differentiated(problem: Problem) -> bool:
    try:
        _ = problem.trace("handwritten")
    except Exception:
        return False
    return True


def _differentiable_leaves(sample: Sample) -> set[int]:
    """The floating-point arrays of a call by each of which alone it can be differentiated."""
    inputs = Inputs(sample.args)

    def pulled(x: Any, k: int) -> Any:
        y, pull = jax.vjp(lambda x: inputs.call(sample.function)(*replaced(inputs.arrays, [k], [x])), x)
        return pull([jnp.ones_like(a) for a in y])

    def can_be(k: int) -> bool:
        try:
            jax.eval_shape(functools.partial(pulled, k=k), inputs.arrays[k])
        except Exception:
            return False
        return True

    return set(filter(can_be, inputs.live))


def _unread(problem: Problem) -> list[int]:
    """The differentiable arrays that get a gradient, though the value does not depend on them at all."""
    if not _can_be_differentiated(problem):
        return []
    gradients = problem.handwritten_vjp(problem.upstream(0))[1]
    value, found = problem.value(), []
    for j, (i, gradient) in enumerate(zip(problem.inputs.live, gradients, strict=True)):
        x = problem.inputs.arrays[i]
        move = (1e-2 * problem.random("unread", i).normal(size=x.shape)).astype(x.dtype)
        other = problem.moved(problem.inputs.with_arrays(replaced(problem.inputs.arrays, [i], [x + move])))
        same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(value, other.value(), strict=True))
        if same and np.any(gradient):
            found.append(j)
    return found


def _needs_a_mesh(sample: Sample) -> bool:
    """Whether a rule talks across the axes of a mesh."""
    try:
        jax.eval_shape(sample.function, *sample.args)
    except NameError:
        return True
    except Exception:
        return False  # judged like any other rule
    return False


def _argument_names(rule: Observed, count: int) -> tuple[str, ...]:
    own = registered_as(rule.name)
    names = tuple(p.name for p in own.signature.parameters) if own is not None else rule.arguments
    return names if len(names) == count else ()
