"""A failure as a program that shows it again: the imports, the inputs shrunk to a small example, what must hold."""

import ast
import base64
import inspect
import keyword
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.rule import Rule
from ..jaxprs.inputs import Inputs, is_array, is_key
from ..jaxprs.provenance import source_of
from .checks.result import Check, CheckResult
from .diagnosis.evidence import Evidence
from .examine import compare_gradient
from .problem import HandwrittenFunction, Problem, handwritten_function
from .shrink import LARGE, ramp, shrunk
from .wording import index

PRINTED = 4096
"""An array of more bytes, that no formula gives, is not printed."""

Programs = tuple[list[str], str]
"""Lines, and the expression that they define."""


@dataclass(frozen=True)
class Failure:
    """What is needed to see a failure again.

    Attributes:
        check: that failed.
        name: of its result.
        detail: what it found.
        at: the index of the worst element, where one gradient is wrong.
        function: that was verified.
        inputs: where.
        seed: of everything drawn at random.
        main: whether every check was made there.
        options: further arguments of `verify` that make the check again.
    """

    check: Check
    name: str
    detail: str
    at: tuple[int, ...]
    function: HandwrittenFunction
    inputs: Inputs
    seed: int
    main: bool
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, check: Check, result: CheckResult, problem: Problem) -> "Failure":
        """The failure of a check of a problem; it holds no program that was traced or compiled."""
        at = (result.evidence.worst() if result.evidence is not None else None) or ()
        name = result.name or check.name
        function, given, options = problem.function, problem.given, result.options
        return cls(check, name, result.detail, at, function, given, problem.seed, problem.main, options)

    @property
    def call(self) -> str:
        """The call that makes this check again, at the inputs as they were given; empty for a rule in a program."""
        f = self.function
        if f.fun is None:
            return ""
        drawn = f.rule is not None and self.inputs.label != Inputs.label
        name = f.name if f.name.isidentifier() else (_located(f.fun) or ("function",))[-1]
        return _verify(self, name, [] if drawn else _names(self))

    def program(self) -> str:
        """The failure as runnable Python."""
        result = self.again_at(self.inputs)
        if result is None:  # it raises, or is no check that can be made alone
            return _Program(self).text(self.detail, None)
        small = shrunk(self.inputs, self.again_at, self.at, fixed=self.function.typed)
        result = self.again_at(small) or result
        return _Program(replace(self, inputs=small)).text(result.detail, result.evidence)

    def again_at(self, inputs: Inputs, function: HandwrittenFunction | None = None) -> CheckResult | None:
        """The same failure at other inputs, or of another function; None where there is none."""
        problem = Problem(function or self.function, inputs, seed=self.seed, main=self.main)
        try:
            found = list(self.check.results(problem))
        except Exception:
            return None  # an exception is another failure
        return next((r for r in found if r.passed is False and (r.name or self.check.name) == self.name), None)


def _names(failure: Failure) -> list[str]:
    """What the arguments are called in code."""
    taken = {*"jax jnp np jbp sys base64 got expected upstream value backward".split(), failure.function.name}
    names = []
    for k in range(len(failure.inputs.args)):
        name = failure.function.names[k] if k < len(failure.function.names) else ""
        usable = name.isidentifier() and not keyword.iskeyword(name) and name not in taken
        names.append(name if usable else f"argument_{k}")
    return names


def _verify(failure: Failure, name: str, arguments: Sequence[str], reference: str = "") -> str:
    f = failure.function
    if f.fun is not None and f.reference is not None:
        reference = reference or getattr(f.reference, "__name__", "reference")
    options = [f"reference={reference}"] * bool(reference)
    options += _CHOICE.get(failure.check.key, [f'checks=["{failure.check.key}"]'])
    options += [*failure.options, *[f"seed={failure.seed}"] * bool(failure.seed)]
    return f"verify({', '.join([name, *arguments, *options, *_settings(f)])})"


_CHOICE: dict[str, list[str]] = {"can_be_differentiated": [], "finds_planted_errors": ["prove=True"]}
"""The arguments that make a check which `checks=` does not name."""


def _settings(f: HandwrittenFunction) -> list[str]:
    """The keyword arguments that are not a rule's defaults, as code."""
    default = f.rule.signature.settings if f.rule is not None else {}
    given = {k: v for k, v in f.settings.items() if k not in default or default[k] is not v}
    return [f"{k}={_argument_code(v) or '...'}" for k, v in given.items()]


@dataclass
class _Program:
    """The lines of one program."""

    failure: Failure

    def text(self, detail: str, evidence: Evidence | None) -> str:
        failure, f = self.failure, self.failure.function
        names = _names(failure)
        about = [f"# {f.name}{f' ({f.source})' if f.source else ''}: {failure.name}"]
        about += [f"# found by the check {failure.check.key}, seed {failure.seed}, at {failure.inputs.label}"]
        rule, name = self._rule()
        given = failure.inputs
        shown = evidence is not None and evidence.worst() is not None and _only_arrays(given)
        if evidence is not None and shown:
            if evidence.dtype is not None:
                given = given.cast(evidence.dtype)
            elif not f.typed:
                given = evidence.problem.inputs
        body = self._numbers(evidence, given, name, names) if evidence is not None and shown else []
        lib = "jnp" if body else "np"
        arguments = [line for n, x in zip(names, given.args, strict=True) for line in _assigned(n, x, lib)]
        if not body:
            reference, expression = self._reference()
            rule += reference
            about.append(f"# {detail}")
            body = [f"jbp.{_verify(failure, name, names, expression)}.raise_if_failed()"]
        code = "\n".join([*rule, *arguments, "", *body])
        imports = [
            f"import {module}"
            for module, used in (
                ("base64", "base64."), ("sys", "sys."), ("jax", "jax."), ("jax.numpy as jnp", "jnp."),
                ("numpy as np", "np."), ("jaxbackprop as jbp", "jbp."),
            )
            if used in code
        ]  # fmt: skip
        wide = "jbp." not in code and any(x.dtype.itemsize >= 8 for x in given.arrays if not is_key(x))
        x64 = ['jax.config.update("jax_enable_x64", True)'] if wide else []
        return "\n".join([*about, *imports, *x64, code, ""])

    def _rule(self) -> Programs:
        """The function under test: imported, or said to be local."""
        f = self.failure.function
        fun = f.fun or self._in_program()
        return _imported(fun, f.name, f.source)

    def _in_program(self) -> Any:
        """The rule that an equation of a program calls, where it fails in the same way when it is called directly."""
        f = self.failure.function
        path = f.source.rpartition(":")[0]
        modules = [m for m in _modules() if path and vars(m).get("__file__") == path]
        for value in [v for m in modules for v in list(vars(m).values())]:
            if isinstance(value, Rule | jax.custom_vjp | jax.custom_jvp) and source_of(value) == f.source:
                alone = replace(handwritten_function(value), names=f.names)
                if self.failure.again_at(self.failure.inputs, alone) is not None:
                    return value
        return None

    def _reference(self) -> Programs:
        f = self.failure.function
        if f.reference is None or f.fun is None:
            return [], ""
        lines, name = _imported(f.reference, getattr(f.reference, "__name__", "reference"), source_of(f.reference))
        return lines, name

    def _numbers(self, evidence: Evidence, given: Inputs, name: str, names: Sequence[str]) -> list[str]:
        """The gradient by `jax.vjp`, beside what it must be."""
        f = self.failure.function
        live = {given.owners[i] for i in given.live}
        moving = [n for k, n in enumerate(names) if k in live]
        settings = _settings(f)
        call = f"{name}({', '.join([*names, *settings])})"
        with evidence.problem.x64():
            shapes = jax.eval_shape(lambda *a: f.handwritten(*given.rebuild(a)), *given.arrays)
        outputs = jax.tree.leaves(shapes)
        inexact = [y for y in outputs if jnp.issubdtype(y.dtype, jnp.inexact)]
        bare = isinstance(shapes, jax.ShapeDtypeStruct)
        evidence = _with_a_plain_upstream(evidence)
        upstream = [np.asarray(u).astype(y.dtype) for u, y in zip(evidence.upstream, inexact, strict=True)]
        function = name if bare and moving == list(names) and not settings else f"lambda {', '.join(moving)}: {call}"
        if not bare:
            function = f"lambda {', '.join(moving)}: jax.tree.leaves({call})"
        if len(inexact) < len(outputs):
            chosen = [i for i, y in enumerate(outputs) if jnp.issubdtype(y.dtype, jnp.inexact)]
            function = f"lambda {', '.join(moving)}: [jax.tree.leaves({call})[i] for i in {chosen}]"
        at = evidence.worst()
        if at is None:
            return []
        whole = evidence.actual.size <= LARGE
        place = "" if whole or not at else index(at)
        leaf = evidence.problem.inputs.live[evidence.leaf]
        position = [i for i, owner in enumerate(given.owners) if owner in live].index(leaf)
        gap = float(np.abs(evidence.actual[at] - evidence.expected[at]))
        bound = np.abs(np.asarray(evidence.found.error_bound[evidence.leaf], np.float64))
        allowed = min(max(4 * float(bound.max(initial=0)), 1e-3 * gap), gap / 2) if np.isfinite(gap) else 1e-6
        expected = evidence.expected if whole else evidence.expected[at]
        return [
            *_assigned("upstream", upstream[0] if bare else upstream, "jnp"),
            f"value, backward = jax.vjp({function}, {', '.join(moving)})",
            f"got = jax.tree.leaves(backward(upstream))[{position}]{place}",
            *_assigned("expected", np.asarray(expected)),
            f"np.testing.assert_allclose(np.asarray(got, expected.dtype), expected, rtol=0, atol={allowed:.1e})",
        ]


def _with_a_plain_upstream(evidence: Evidence) -> Evidence:
    """The same fault for an upstream gradient of ones, or of rounded numbers, where it shows with these, too."""
    if evidence.dtype is not None:
        return evidence
    problem = evidence.problem
    for plain in (np.ones_like, lambda u: np.round(u, 1).astype(u.dtype)):
        upstream = [plain(u) for u in evidence.upstream]
        found = compare_gradient(problem, problem.handwritten_vjp(upstream)[1], upstream)
        if found.wrong[evidence.leaf].any():
            return Evidence(problem, found, upstream, evidence.leaf)
    return evidence


def _only_arrays(given: Inputs) -> bool:
    """Whether each argument that is differentiated holds arrays alone, as `jax.vjp` needs it."""
    live = {given.owners[i] for i in given.live}
    return all(is_array(x) or x is None for k in live for x in jax.tree.leaves(given.args[k]))


# Where a function can be imported from.


def _imported(fun: Any, name: str, source: str) -> Programs:
    found = _located(fun) if fun is not None else None
    if found is None:
        name = name if name.isidentifier() else "rule"
        where = f", defined in {source}," if source else ""
        return [f"{name} = ...  # {name}{where} cannot be imported: put its definition here"], name
    folder, module, attribute = found
    path = [f"sys.path.insert(0, {folder!r})"] if folder else []
    return [*path, f"from {module} import {attribute.partition('.')[0]}"], attribute


def _located(fun: Any) -> tuple[str, str, str] | None:
    """The folder to import from (empty where it is installed), the module, and the name in it."""
    home = getattr(fun, "__module__", None)
    for module in sorted(_modules(), key=lambda m: m.__name__ != home):
        attribute = _attribute(module, fun)
        named = _module(module) if attribute else None
        if named is not None:
            return *named, attribute
    return None


def _modules() -> list[ModuleType]:
    return [m for m in list(sys.modules.values()) if isinstance(m, ModuleType)]


def _attribute(module: ModuleType, fun: Any) -> str:
    first, *rest = getattr(fun, "__qualname__", "").split(".")
    value = vars(module).get(first)
    for part in rest:
        value = getattr(value, part, None)
    if value is fun:
        return ".".join([first, *rest])
    return next((k for k, v in list(vars(module).items()) if v is fun and k.isidentifier()), "")


def _module(module: ModuleType) -> tuple[str, str] | None:
    """Folder and name; None where no file holds it."""
    file = vars(module).get("__file__")
    if not file:
        return None
    path = Path(file)
    if module.__name__ == "__main__":
        return (str(path.resolve().parent), path.stem) if path.stem.isidentifier() and _guarded(module) else None
    above = len(module.__name__.split(".")) + (path.stem == "__init__")
    folder = str(path.resolve().parents[above - 1])
    return "" if "site-packages" in folder else folder, module.__name__


def _guarded(script: ModuleType) -> bool:
    """Whether a script can be imported without running it: it has an `if __name__ == "__main__":`."""
    try:
        body = ast.parse(inspect.getsource(script)).body
    except (OSError, SyntaxError):
        return False
    return any(isinstance(each, ast.If) and "__name__" in ast.unparse(each.test) for each in body)


# Arguments as code.


def _argument_code(x: Any, lib: str = "np") -> str | None:
    if is_key(x):
        data = np.asarray(jax.random.key_data(x))
        return f"jax.random.wrap_key_data({_array_code(data, lib)}, impl={str(jax.random.key_impl(x))!r})"
    if isinstance(x, dict) and type(x) is dict:
        parts = {k: _argument_code(v, lib) for k, v in x.items()}
        return None if None in parts.values() else "{" + ", ".join(f"{k!r}: {v}" for k, v in parts.items()) + "}"
    if type(x) in (list, tuple):
        items = [_argument_code(v, lib) for v in x]
        if None in items:
            return None
        inside = ", ".join(map(str, items))
        return f"[{inside}]" if type(x) is list else f"({inside}{',' * (len(items) == 1)})"
    if isinstance(x, float | complex) and not isinstance(x, np.generic):
        return _number_code(x)
    if is_array(x):
        return _array_code(np.asarray(x), lib)
    return repr(x) if x is None or isinstance(x, bool | int | str | bytes) else None


def _assigned(name: str, x: Any, lib: str = "np") -> list[str]:
    """An assignment; of arrays made by NumPy, or by jax.numpy where a function is called with them directly."""
    code = _argument_code(x, lib)
    if code is None:
        return [f"{name} = ...  # {type(x).__name__} cannot be written as code: put the argument here"]
    return [f"{name} = {code}"]


def _array_code(x: np.ndarray, lib: str) -> str | None:
    name = x.dtype.name
    kind = "bool" if name == "bool" else f"{'np' if name in np.sctypeDict else 'jnp'}.{name}"
    dtype = "" if name == "float64" else f", {kind}"
    numbers = x.reshape(-1)
    if x.size > 1 and (numbers == numbers[0]).all():
        return f"{lib}.full({x.shape}, {_number_code(numbers[0])}{dtype})"
    if x.size == 0:
        return f"{lib}.zeros({x.shape}{dtype})"
    if x.size <= LARGE:
        return f"{lib}.array({_nested(x)}{dtype})"
    if np.array_equal(x, ramp(x.shape, x.dtype)):
        return f"{lib}.asarray(np.linspace(0.5, 1.5, {x.size}).reshape({x.shape}){dtype})"
    if x.nbytes > PRINTED:
        return None
    data = base64.b64encode(np.ascontiguousarray(x).tobytes()).decode()
    return f'{lib}.asarray(np.frombuffer(base64.b64decode("{data}"), {kind}).reshape({x.shape}))'


def _nested(x: np.ndarray) -> str:
    return f"[{', '.join(map(_nested, x))}]" if x.ndim else _number_code(x)


def _number_code(x: Any) -> str:
    """The shortest digits that give the same number in its type."""
    x = np.asarray(x)[()]
    if np.iscomplexobj(x):
        return repr(complex(x)) if np.isfinite(x) else f"complex({_number_code(x.real)}, {_number_code(x.imag)})"
    if x.dtype.kind in "biu":
        return repr(x.item())
    if not np.isfinite(x):
        return "np.nan" if np.isnan(x) else "np.inf" if x > 0 else "-np.inf"
    return repr(float(str(x)))
