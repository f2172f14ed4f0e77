"""`derive`: a function, its derivation on paper and the rule in code; and the judge's word on it."""

import functools
import html
import linecache
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.rule import Rule
from ..verification.api import verify
from ..verification.audit import Site, audit
from ..verification.oracles.finite_field import Answer
from ..verification.report import Verification
from .axis_letters import Letters
from .code import Form, program_text
from .facts import Facts
from .line_check import Expected, LineCheck, check_lines
from .notation import Latex, Notation, Style, broken, escaped, width
from .numeric import Point, add_deltas, draw
from .proof import proof_of
from .quantities import LITERAL_KINDS, CannotDerive, Program, Quantity
from .residuals import Residuals, chosen_residuals
from .reverse_mode import Line, Lines, chain_rule
from .simplify import simplified
from .sizes import read_at_two_sizes

POINTS = 3
BESIDE = 30
"""Up to this width, in characters, equations leave room for reasons beside them."""
LINES_A_SLIDE = 6
NEXT_LINE = " \\notag \\\\\n&\\quad {}"


@dataclass(frozen=True)
class Equation:
    """One numbered line.

    Attributes:
        left: its left side, in LaTeX.
        right: its right side.
        reason: why, in words, with mathematics between dollars.
        matrix: the same in matrices, where it has that form.
    """

    left: str
    right: str
    reason: str = ""
    matrix: str = ""


@dataclass(frozen=True)
class Section:
    """A step of the derivation: its title and its equations."""

    title: str
    equations: tuple[Equation, ...]


@dataclass(frozen=True, eq=False)
class Derivation:
    """What `derive` returns: the derivation to read, the rule to use.

    Attributes:
        function: what was derived.
        args: at which arguments.
        program: the named quantities.
        chain_rule: the deltas as the chain rule gives them.
        lines: the deltas made simple, in the order in which they are computed.
        facts: what was known of the quantities.
        residuals: what the forward pass saves.
        points: where conjectures were decided.
        sums_to_one: names of arguments whose rows are taken to sum to 1.
    """

    function: Callable
    args: tuple[Any, ...]
    program: Program
    chain_rule: Lines
    lines: Lines
    facts: Facts
    residuals: Residuals
    points: tuple[Point, ...]
    sums_to_one: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The function's name."""
        return self.program.name

    @property
    def leaves(self) -> tuple[Any, ...]:
        """The arrays in the arguments."""
        return tuple(jax.tree.leaves(self.args))

    @property
    def conditions(self) -> tuple[str, ...]:
        """In words, what must hold for the rule to be right."""
        return tuple(self.program.conditions)

    @property
    def saved(self) -> dict[str, int]:
        """What the forward pass saves for the backward pass, with the bytes of each at the sizes it was derived at."""
        quantities = (self.program[key] for key in self.residuals.saved)
        return {q.name: q.elements * q.bytes_each for q in quantities}

    @functools.cached_property
    def wrong_rules(self) -> tuple[Site, ...]:
        """The handwritten rules inside the function that are wrong at its arguments, each with its source.

        The derivation is that of their plain functions, so that it is right where they are not; but autodiff of the
        function runs them, and the proof, which compares with it, is refuted.
        """
        if not self.program.holds_rules:
            return ()
        return tuple(
            site for site in audit(self.function, *self.args, checks=["gradient"]).sites if site.verdict == "wrong"
        )

    def _remarks(self) -> list[str]:
        """Of each wrong rule inside, in words, where it is."""
        return [
            f"the handwritten backward pass of {site.name} ({site.source}) is wrong; this derivation is that of "
            f"{site.name}'s plain function, and autodiff of {self.name} differs from it"
            for site in self.wrong_rules
        ]

    # On paper.

    @functools.cached_property
    def sections(self) -> tuple[Section, ...]:
        """The derivation as numbered equations: forward, by the chain rule, made simple."""
        notation = Notation(self.program, Letters(self.program), Latex())
        forward = [self._forward_equation(notation, q) for q in self._shown()]
        chain = [self._equation(notation, key, line, matrix=False) for key, line in self.chain_rule.items()]
        simple = [self._equation(notation, key, line, matrix=True) for key, line in self.lines.items()]
        return (
            Section("Forward", tuple(forward)),
            Section("Backward, by the chain rule", tuple(chain)),
            Section("Made simple", tuple(simple)),
        )

    def _shown(self) -> list[Quantity]:
        outputs = [output.factor.key for output in self.program.outputs]
        used = {k for line in self.lines.values() for k in line.expression.keys if k in self.program.quantities}
        hidden = ("argument", "mask argument", "ids", "key", "one-hot", "upstream", "next", "first", *LITERAL_KINDS)
        return [
            q
            for q in self.program.in_order([*outputs, *used])
            if q.kind not in hidden and not (q.kind == "mask" and q.made_up)
        ]

    def _forward_equation(self, notation: Notation, q: Quantity) -> Equation:
        left, right = notation.definition(q)
        sums = [
            f"its sum over {notation.letters.of_axis[q.indices[position].axis]} is {total}"
            for (key, position), total in self.facts.sums.items()
            if key == q.key
        ]
        return Equation(left, right, "; ".join(sums))

    def _equation(self, notation: Notation, key: str, line: Line, matrix: bool) -> Equation:
        left, right = notation.line(key, line.expression)
        form = notation.matrix_line(key, line.expression) if matrix else None
        through = [f"${notation.style.name(self.program[k])}$" for k in line.through]
        if matrix and through:
            reason = f"the deltas of {', '.join(through)} put in"
        else:
            reason = "; ".join(notation.worded(why) for why in line.reasons)
        return Equation(left, right, reason, f"{form[0]} = {form[1]}" if form else "")

    @functools.cached_property
    def latex(self) -> str:
        """The derivation for a LaTeX document (amsmath, amssymb): numbered equations, a reason beside each line."""
        text, number = [], 0
        for section in self.sections:
            rows = []
            beside = all(width(f"{e.left} = {e.right}") <= BESIDE for e in section.equations)
            for e in section.equations:
                number += 1
                reason = escaped(e.reason)
                right = NEXT_LINE.join(broken(e.right))
                where = rf" && \parbox[t]{{0.4\linewidth}}{{\raggedright\small {reason}}}" if reason and beside else ""
                rows.append(rf"{e.left} &= {right}{where} \tag{{{number}}}")
                if reason and not beside:
                    rows.append(rf"& \parbox{{0.7\linewidth}}{{\raggedright\small {reason}}} \notag")
                if e.matrix:
                    words = (" && " if beside else r"\quad ") + r"\text{\small in matrices} \notag"
                    rows.append(e.matrix.replace(" = ", " &= ", 1) + words)
            body = " \\\\\n".join(rows)
            text.append(f"\\paragraph{{{section.title}}}\n\\begin{{align}}\n{body}\n\\end{{align}}")
        text += [f"Provided that {escaped(c)}." for c in self.conditions]
        return "\n".join([*text, *(f"Note that {escaped(remark)}." for remark in self._remarks())]) + "\n"

    @functools.cached_property
    def slides(self) -> str:
        """The forward pass and the deltas as frames for LaTeX's beamer, a few lines each; matrices where it can be."""
        frames = []
        forward, _, simple = self.sections
        for section, title in ((forward, "forward"), (simple, "backward")):
            for start in range(0, len(section.equations), LINES_A_SLIDE):
                rows = []
                for e in section.equations[start : start + LINES_A_SLIDE]:
                    left, _, right = (e.matrix or f"{e.left} = {e.right}").partition(" = ")
                    rows.append(f"{left} &= {NEXT_LINE.join(broken(right))}")
                body = " \\\\\n".join(rows)
                heading = escaped(f"{self.name}, {title}")
                frames.append(
                    f"\\begin{{frame}}{{{heading}}}\n\\begin{{align*}}\n{body}\n\\end{{align*}}\n\\end{{frame}}\n"
                )
        return "\n".join(frames)

    @functools.cached_property
    def markdown(self) -> str:
        """The derivation in Markdown with mathematics between dollars."""
        text = [f"## {self.name}"]
        number = 0
        for section in self.sections:
            text.append(f"### {section.title}")
            for equation in section.equations:
                number += 1
                text.append(f"$$\n{equation.left} = {equation.right} \\tag{{{number}}}\n$$")
                if equation.matrix:
                    text.append(f"In matrices: ${equation.matrix}$")
                if equation.reason:
                    text.append(f"*{equation.reason}*")
        text += [f"Provided that {condition}." for condition in self.conditions]
        text += [f"Note that {remark}." for remark in self._remarks()]
        return "\n\n".join(text) + "\n"

    def _repr_html_(self) -> str:
        """For a notebook: a table of equations, typeset by its MathJax."""
        rows, number, left = [], 0, '<td style="text-align:left">'
        for section in self.sections:
            rows.append(f'<tr><th colspan="3" style="text-align:left">{html.escape(section.title)}</th></tr>')
            for e in section.equations:
                number += 1
                matrix = f"<br>\\({html.escape(e.matrix)}\\)" if e.matrix else ""
                math = html.escape(f"{e.left} = {e.right}")
                reason = re.sub(r"\$(.*?)\$", r"\\(\1\\)", html.escape(e.reason))
                rows.append(f"<tr><td>({number})</td>{left}\\({math}\\){matrix}</td>{left}{reason}</td></tr>")
        return f"<table>{''.join(rows)}</table>"

    def __repr__(self) -> str:
        provided = f", provided that {'; '.join(self.conditions)}" if self.conditions else ""
        return f"<derivation of {self.name}: {', '.join(map(str, self.saved)) or 'nothing'} saved{provided}>"

    def __str__(self) -> str:
        """In plain text: the backward pass, line by line; and which handwritten rules inside the function are wrong."""
        return "\n".join([f"{self.name}", *self._plain("  "), *(f"  {'Wrong':10}{r}" for r in self._remarks())])

    def _plain(self, indent: str = "") -> list[str]:
        notation = Notation(self.program, Letters(self.program), Style())
        forward = [" = ".join(notation.definition(q)) for q in self._shown()]
        backward = [" = ".join(notation.line(key, line.expression)) for key, line in self.lines.items()]
        text = []
        for title, lines in (("Forward", forward), ("Backward", backward)):
            for k, line in enumerate(lines):
                text.append(f"{indent}{title if k == 0 else '':10}{line}")
        return text + [f"{indent}{'Provided':10}{condition}" for condition in self.conditions]

    # In code.

    def to_code(self, form: Form = "rule") -> str:
        """The rule as a Python module.

        Args:
            form: "rule", a `@jbp.rule` of this library; "custom_vjp", which needs JAX alone.
        """
        docstring = [
            f"{self.name}, its backward pass derived.",
            "",
            *self._plain(),
            f"{'Source':10}jaxbackprop.derive",
        ]
        return program_text(self.program, self.lines, self.residuals, docstring, form, self.name)

    @functools.cached_property
    def code(self) -> str:
        """The rule as a Python module, a `@jbp.rule` with the derivation as its docstring."""
        return self.to_code()

    @functools.cached_property
    def rule(self) -> Rule:
        """The rule that `code` defines."""
        return _executed(self.code, self.name)

    def verify(self, checks: Sequence[str] | None = None) -> Verification:
        """The verdict on the rule, against autodiff of the function at the given arguments.

        Args:
            checks: the names of the checks to make; all where none are given.
        """
        return verify(self.rule, *self.args, reference=self.function, checks=checks)

    @functools.cached_property
    def proof(self) -> Answer:
        """Whether the rule and autodiff of the function are the same formulas: proved, refuted or not decided.

        Without tolerance, over finite fields, for the branches that the given arguments take (`.why` says what stopped
        an answer, `.differs` where the two differ). The arithmetic is `verify`'s business. Where it is refuted though
        the derivation is right, `wrong_rules` says which handwritten rule inside the function is not.
        """
        return proof_of(self.rule, self.function, self.args, self.program, self.sums_to_one)

    def check(self, lines: Mapping[str, Any], upstream: Any = None) -> LineCheck:
        """A derivation of your own, line by line: right, wrong and what is wrong in it, or right under a condition.

        A line is named as its delta is (dW1, dz2, delta2 for that of z2) and is an array, compared at the arguments of
        the derivation, or a formula: "(dz2 @ W2.T) * a1 * (1 - a1)", "(W2^T delta2) o a1 o (1 - a1)",
        "dz_ni = p_ni (upstream_ni - sum_j p_nj upstream_nj)". A formula is judged with all others taken as right.

        Args:
            lines: by name.
            upstream: for arrays, the upstream gradient; ones where none is given.

        Raises:
            ValueError: a name is that of no delta.
        """
        expected = Expected(self.program, self.chain_rule, self.lines, self.points, self.leaves)
        return check_lines(expected, lines, upstream)


def _executed(code: str, name: str) -> Rule:
    """The rule that a module's text defines; tracebacks show its lines."""
    file = f"<derived {name}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": f"derived.{name}"}
    exec(compile(code, file, "exec"), namespace)
    return namespace[name]


def derive(fun: Callable, *args: Any, sums_to_one: Sequence[str] = (), operations_per_byte: float = 0) -> Derivation:
    """Derive the backward pass of a JAX function by hand's methods: named quantities, deltas, simplification, code.

    The function is read at arrays like `args`; the derivation and the rule hold for every size. An axis of size 1 is
    taken as one along which nothing varies. Numbers that the program computes from a size stay numbers.

    Args:
        fun: a JAX function of arrays, or a `Rule`, of which the plain function is read.
        *args: example arrays, or lists, tuples and dictionaries of them; floats are differentiated, integers are
            indices (with padding, where one of the examples is negative), booleans are masks; random keys are drawn
            from again in the backward pass.
        sums_to_one: names of arguments whose last axis sums to 1, such as one-hot targets: a condition of the rule.
        operations_per_byte: how many operations a byte less to save is worth. With 0 only what takes one pass over an
            array is computed again; with 100, say, the scores of an attention too, as a matrix product.

    Raises:
        CannotDerive: the function holds something without a derivation here; the message names it and its line.
    """
    arrays = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, bool | int | float) else x, args)
    program = read_at_two_sizes(fun, arrays)
    unknown = set(sums_to_one) - {program[key].name for key in program.arguments}
    if unknown:
        raise CannotDerive(f"derive: sums_to_one names {sorted(unknown)}, which {program.name} does not take.")
    for q in (program[key] for key in program.arguments if program[key].name in sums_to_one):
        if q.dtype != "float" or not q.axes or q.axes[-1] is None:
            raise CannotDerive(f"derive: {q.name} has no rows of floating-point numbers that could sum to 1.")
    program.conditions += [f"each row of {name} sums to 1" for name in sums_to_one]
    chain = chain_rule(program)
    leaves = [x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x) for x in jax.tree.leaves(arrays)]
    points = tuple(draw(program, leaves, seed, sums_to_one) for seed in range(POINTS))
    for point in points:
        add_deltas(program, chain, point)
    with np.errstate(all="ignore"):  # a point where something overflows decides nothing
        lines, facts = simplified(program, chain, points, sums_to_one)
    plain = fun.primal if isinstance(fun, Rule) else fun
    residuals = chosen_residuals(program, lines, operations_per_byte)
    return Derivation(plain, arrays, program, chain, lines, facts, residuals, points, tuple(sums_to_one))
