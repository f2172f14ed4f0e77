"""`verify`: one handwritten function at its inputs, all checks, one answer; and all rules of a package at once."""

import difflib
import importlib
import itertools
import multiprocessing
import os
import pkgutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from ..core.example_inputs import examples
from ..core.rule import Rule, rules
from ..jaxprs.elementwise import sampled_places
from ..jaxprs.inputs import Inputs
from .axes import named_lengths
from .caller_settings import refuse_tracers, undisturbed
from .checks.precision import precisions
from .checks.registry import chosen_checks
from .checks.result import Check, CheckResult, what_happened
from .checks.second_order import twice_programs
from .checks.self_test import finds_planted_errors
from .checks.transformations import transformed_programs
from .collect import Collected
from .problem import OutOfTime, Problem, backward_passes, compile_together, handwritten_function
from .report import Verification


@undisturbed()
def verify(
    fun: Callable,
    *args: Any,
    reference: Callable | None = None,
    checks: Sequence[str] | None = None,
    prove: bool = False,
    strict: bool = False,
    time_limit: float | None = None,
    sizes: Sequence[int] | None = None,
    shapes: Mapping[str, Sequence[int]] | bool | None = None,
    seed: int = 0,
    **settings: Any,
) -> Verification:
    """Whether the handwritten derivative of `fun` is right; where not, what is wrong and why.

    Every number of the gradient is compared, for two dense random upstream gradients, uniform in +-[0.4, 1.6]. A single
    wrong entry of the Jacobian, e off, is seen for certain where 0.4 e is beyond the tolerance t; among other wrong
    ones that also reach this number it is missed with a probability of at most (t / 1.2 e)^2.

    Args:
        fun: a `Rule`, a `jax.custom_vjp`, a `jax.custom_jvp`, or with `reference` any function.
        args: arrays and pytrees of them; a `Rule` draws its own examples where none are given.
        reference: the plain function whose derivative `fun` must have.
        checks: the names of the checks to make (`verification.checks.registry.CHECKS`); all where none are given.
        prove: also plant a sign flip and a 1 % error in `fun`, and fail where they are not found.
        strict: fail also what is imprecise, but no more so than autodiff.
        time_limit: in seconds; checks not made by then are named, and the verdict is "undecided" at best. What is being
            compiled when it is reached is still completed.
        sizes: the lengths that sums are used at: they are judged at the largest of them that a CPU computes in a few
            seconds; at 12,288, or what it computes in a moment, where none are given; an empty sequence for not at all.
        shapes: also try other lengths of the arguments' axes: True for each axis 1, the block sizes of a Pallas kernel
            and of a loop over chunks, one less and one more, a multiple, a prime, and 0; or the lengths of each, as in
            `{"T": [1, 127, 129]}`. An axis has the name of its jaxtyping annotation, or is called "axis 0 of q". A
            length at which `fun` raises is a precondition, and noted; one that it takes must be right.
        seed: of the random cotangents and directions.
        settings: keyword arguments of `fun`, held static.

    Raises:
        TypeError: nothing says what the derivative must be, or at which arguments; no argument is an array or a float;
            `fun` returns nothing; `checks` is one string; or a program is being traced.
        ValueError: the plain function raises at the arguments, there is no check or no axis of such a name, or
            `time_limit` is negative.
    """
    start = time.perf_counter()
    refuse_tracers("verify", args)
    chosen = chosen_checks("verify", checks if checks is None or not shapes else [*checks, "shapes"])
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"verify: time_limit must be a number of seconds, at least 0, not {time_limit}.")
    problems = _problems(fun, args, reference, seed, settings)
    if not problems:
        name = handwritten_function(fun, reference).name
        raise TypeError(f"verify: {name} is not a Rule: give the arguments to verify it at.")
    if args:
        _try(problems[0])
    nothing = _nothing_to_differentiate(problems)
    if nothing:
        return Verification(problems[0].function.name, (), problems[0].function.source, 0, notes=(nothing,))
    if isinstance(shapes, Mapping):
        named_lengths(problems[0], shapes)
    for problem in problems:
        problem.deadline = start + time_limit if time_limit is not None else np.inf
        problem.sizes = None if sizes is None else tuple(sizes)
        problem.shapes = shapes
    if checks is None:
        with suppress(Exception, OutOfTime):  # raised again in the check that comes to it
            _compile_together(problems)
    collected = Collected(prove=checks is None)
    for problem in problems:
        collected.make(problem, (check for check in chosen if problem.main or check.everywhere))
    if prove:
        collected.make(problems[0], [Check(finds_planted_errors)])
    found = collected.verification(problems[0].function, len(problems), time.perf_counter() - start)
    return found.strict() if strict else found


def _nothing_to_differentiate(problems: Sequence[Problem]) -> str:
    """Why there is none; empty where there is something."""
    if not any(problem.inputs.live for problem in problems):
        return f"no argument holds a floating-point or complex number ({problems[0].given.described})"
    if not any(problem.x.size for problem in problems):
        return f"every floating-point argument is empty ({problems[0].given.described})"
    if not any(problem.outputs for problem in problems):
        return "no output is a floating-point or complex array"
    return ""


def _compile_together(problems: list[Problem]) -> None:
    """The programs that checks of every problem run: those of the main one, and those of all the others."""
    main, others = ([p for p in problems if p.main is main] for main in (True, False))
    values = [(p, "handwritten value", p.inputs.arrays) for p in main]
    values += [(p, "value", p.inputs.arrays) for p in main if p.is_wide("value")]
    compile_together([*backward_passes(main), *values])
    compile_together(program for p in main for program in (*transformed_programs(p), *twice_programs(p)))
    compile_together(backward_passes(others))
    compile_together(backward_passes((low for p in others for _, low in precisions(p)), ["handwritten"]))


def _usable(fun: Callable, given: Inputs) -> Inputs:
    if not given.arrays:
        name = handwritten_function(fun, fun).name
        raise TypeError(
            f"verify: {name} got no array and no float, but {given.described}; Python integers and strings are held "
            f"static.\n  Give floating-point arrays or floats, such as verify({name}, 3.0)."
        )
    return given


def _try(problem: Problem) -> None:
    """Refuse arguments at which nothing can be verified."""
    given, name = problem.given, problem.function.name
    try:
        _ = problem.trace("value")
    except Exception as error:
        raise ValueError(
            f"verify: the plain function of {name} raises at the given arguments "
            f"({given.described}): {what_happened(error)}"
        ) from error
    if not problem.outputs and not jax.eval_shape(given.call_all(problem.function.plain), *given.arrays):
        raise TypeError(f"verify: {name} returns nothing; expected a function that returns arrays.")


def example_problems(made: Rule, seed: int = 0) -> list[Problem]:
    """A rule at the examples that `verify` draws for it, the richest one first."""
    return _problems(made, (), None, seed, {})


def _problems(
    fun: Callable, args: tuple, reference: Callable | None, seed: int, settings: dict[str, Any]
) -> list[Problem]:
    if args:
        function = handwritten_function(fun, reference, settings)
        given = _usable(fun, function.inputs(args))
        places = sampled_places(given.call(function.handwritten), given.call(function.plain), given.arrays)
        if places is None:
            return [Problem(function, given, seed=seed)]
        problem = Problem(function, given.with_arrays(list(map(places.of, given.arrays))), seed=seed)
        problem.note = str(places)
        return [problem]
    if not isinstance(fun, Rule):
        return []
    made = [
        Problem(
            handwritten_function(fun, reference, {**e.settings, **settings}),
            Inputs(_with_keys(e), e.label),
            main=False,
            seed=seed,
            number=k,
        )
        for k, e in enumerate(examples(fun, seed=seed))
    ]
    # All checks are made at the richest example: nested batches show what a plain vector hides.
    main = max(made, key=lambda p: (p.given.label.startswith(("nested", "equal")), p.given.label == "plain"))
    main.main = True
    return sorted(made, key=lambda p: not p.main)


def _with_keys(example: Any) -> tuple:
    return jax.tree.map(
        lambda x: x if isinstance(x, np.ndarray | np.generic) else jax.random.key(x.number), example.args
    )


def verify_rules(
    names: Iterable[str] | None = None,
    package: str = "jaxbackprop",
    *,
    prove: bool = False,
    strict: bool = False,
    jobs: int = 1,
) -> list[Verification]:
    """`verify` of the registered rules of `package`: of all of them, or of those named.

    Args:
        names: of the rules; all where none is given.
        package: it and all its modules are imported.
        prove: also plant errors in each rule.
        strict: fail also what is imprecise, but no more so than autodiff.
        jobs: so many processes, 0 for one a core; only worth their start for many rules.

    Raises:
        ValueError: there is no such package, or it has no rules, or none of such a name.
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
        found = [_verified(known[name], prove) for name in chosen]
    else:
        # Rules take very unequal times: each process fetches the next one when it is done.
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(_verified_by_name, chosen, itertools.repeat(package), itertools.repeat(prove)))
    return [each.strict() for each in found] if strict else found


def _verified_by_name(name: str, package: str, prove: bool) -> Verification:
    return _verified(_known(package, [name])[name], prove)


def _known(package: str, names: list[str]) -> dict[str, Rule]:
    """The registered rules; no more of the package is imported than until all of `names` are among them."""
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"there is no package called {package} here.") from None
    if not names or not set(names) <= set(rules(package)):
        load(package)
    if not rules(package):
        raise ValueError(f"{package} registers no rule with @jaxbackprop.rule: there is nothing to verify.")
    return rules(package)


def _verified(made: Rule, prove: bool) -> Verification:
    """`verify(made)`; a rule at which no input can be drawn has failed, and the others are still verified."""
    try:
        return verify(made, prove=prove)
    except Exception as error:
        check = CheckResult(False, what_happened(error), "examples")
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
    __tracebackhide__ = True  # pytest then ends at the line of the test
    verify(fun, *args, **keywords).raise_if_failed()
