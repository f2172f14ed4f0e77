"""A derivation as a Python module: a `@jbp.rule` or a plain `jax.custom_vjp`; `residuals` says what is saved."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .axis_letters import Letters
from .index_notation import DELTA, Factor
from .loops import backward_loop, forward_loop, last_line, previous_line, split
from .quantities import LITERAL_KINDS, Parameter, Program, Quantity
from .residuals import Residuals
from .reverse_mode import Line, Lines
from .writer import WIDTH, Axes, Writer

Form = Literal["rule", "custom_vjp"]


def program_text(
    program: Program, lines: Lines, residuals: Residuals, docstring: Iterable[str], form: Form, name: str
) -> str:
    """The rule as a module: imports, the forward pass, the backward pass."""
    letters = Letters(program)
    arguments = [program[key] for key in program.arguments]
    known: dict[str, Axes] = {q.name: q.axes for q in arguments}
    forward = Writer(program, letters, known)
    saved = [program[key] for key in residuals.saved]
    outputs = [output.factor.key for output in program.outputs]
    body = _forward_lines(forward, [*outputs, *residuals.saved])
    returned = [_shaped(forward, output.factor, output.axes) for output in program.outputs]

    back_known: dict[str, Axes] = {q.name: q.axes or q.indices for q in saved}
    upstream = [program[key] for key in program.upstream]
    back_known |= {q.name: q.axes for q in upstream}
    backward = Writer(program, letters, back_known)
    back = []
    for q in (program[key] for key in residuals.recomputed):
        if q.kind != "one-hot":
            back += [previous_line(backward, q)] if q.kind == "previous" else backward.lines(q)
    before, inside, behind = split(program, lines)
    for key in before:
        back += _delta_lines(backward, key, lines[key])
    if inside:
        back += backward_loop(backward, lines, inside, behind)
    for key in behind:
        back += _delta_lines(backward, key, lines[key])
    results = {
        q.key: _shaped(backward, Factor(DELTA + q.key, q.indices), q.axes) for q in arguments if q.differentiable
    }

    kept = [_narrowed(q) for q in saved] + [_shape_residual(s, form) for s in backward.shapes_of]
    unpacked = [q.name for q in saved] + [backward.shape_name(s) for s in backward.shapes_of]
    several = len(upstream) > 1
    parts = _Parts(program, letters, arguments, list(docstring), form, name)
    head = parts.head_of_forward()
    text = [*parts.imports(), "", "", *head, *_indent([*parts.unpacked(), *body])]
    value = returned[0] if not program.several else _tuple(returned)
    text += [f"    return {value}, {_tuple(kept)}", "", "", *parts.head_of_backward(several)]
    text += _indent([f"{_target(unpacked)} = residuals"] if unpacked else [])
    if program.several:
        text += _indent([f"{_target([q.name for q in upstream])} = upstream"])
    text += _indent(back)
    text += [f"    return {parts.gradients(results)}"]
    return "\n".join([*text, *parts.tail()]) + "\n"


NOT_COMPUTED = ("argument", "mask argument", "ids", "key", "one-hot", "upstream", *LITERAL_KINDS)


def _forward_lines(writer: Writer, wanted: Iterable[str]) -> list[str]:
    """The statements of the forward pass: before a loop, the loop, behind it."""
    program = writer.program
    needed = [q for q in program.in_order(wanted) if q.kind not in NOT_COMPUTED]
    cycle = [k for k in program.in_cycle() if k in {q.key for q in needed}]
    stepwise = {*cycle, *(q.key for q in program.previous)}
    waits = {q.key: bool(program.before(q.key) & stepwise) for q in needed}
    lines = [line for q in needed if not waits[q.key] for line in writer.lines(q)]
    behind = [q for q in needed if waits[q.key] and q.key not in cycle]
    if cycle:
        read = {k for q in behind for k in q.parents} | {*wanted}
        lines += forward_loop(writer, cycle, read)
    for q in behind:
        match q.kind:
            case "previous":
                lines.append(previous_line(writer, q))
            case "last":
                lines.append(last_line(writer, q))
            case _:
                lines += writer.lines(q)
    return lines


def _delta_lines(writer: Writer, key: str, line: Line) -> list[str]:
    """The statement of a delta, and why."""
    program = writer.program
    q, name = program[key], program.delta_name(key)
    code = writer.written(line.expression, q.indices)
    writer.known[name] = q.indices
    return [*_wrapped(f"# {why}" for why in comment(program, line)), f"{name} = {code}"]


def comment(program: Program, line: Line) -> list[str]:
    """Why a line is what it is, in as few words as a comment has."""
    through = [program[k].name for k in line.through]
    if through and len(line.reasons) > 2:
        return [f"what arrives through {', '.join(through[:-1])}{' and ' * (len(through) > 1)}{through[-1]}"]
    return [program.worded(reason) for reason in line.reasons]


@dataclass
class _Parts:
    """What differs between the forms of a rule."""

    program: Program
    letters: Letters
    arguments: list[Quantity]
    docstring: list[str]
    form: Form
    name: str

    def signature(self) -> str:
        return ", ".join(p.name if self.form == "custom_vjp" else self.typed(p) for p in self.parameters)

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters, an array under the name of its quantity."""
        return [
            p if p.structure is not None else replace(p, name=self.program[p.leaves[0][0]].name)
            for p in self.program.parameters
        ]

    def typed(self, p: Parameter) -> str:
        """A parameter with its type."""
        quantities = [self.program[key] for key, _ in p.leaves]
        if p.structure is None:
            return f"{p.name}: {self.annotation(quantities[0].dtype, quantities[0].axes)}"
        dtype = "float" if self.is_differentiable(p) else quantities[0].dtype
        return f'{p.name}: PyTree[{dtype.capitalize()}[Array, "..."]]'

    def is_differentiable(self, p: Parameter) -> bool:
        """Whether a parameter has a gradient."""
        return any(self.program[key].differentiable for key, _ in p.leaves)

    def unpacked(self) -> list[str]:
        """The arrays of lists, tuples and dictionaries under their names."""
        return [
            f"{self.program[key].name} = {read}"
            for p in self.parameters
            if p.structure is not None
            for key, read in p.leaves
        ]

    def annotation(self, dtype: str, axes: Axes) -> str:
        names = " ".join("1" if i is None else self.letters.axis(i.axis) for i in axes)
        text = (
            f" {names}" if names and " " not in names else names
        )  # jaxtyping's single names are no forward references
        return f'{dtype.capitalize()}[Array, "{text}"]'

    def imports(self) -> list[str]:
        if self.form == "custom_vjp":
            return ["import jax", "import jax.numpy as jnp"]
        kinds = sorted({"Float", *(q.dtype.capitalize() for q in self.arguments)})
        kinds += ["PyTree"] * any(p.structure is not None for p in self.program.parameters)
        return [
            "import jax",
            "import jax.numpy as jnp",
            f"from jaxtyping import Array, {', '.join(kinds)}",
            "",
            "import jaxbackprop as jbp",
        ]

    def doc(self) -> list[str]:
        first, *rest = self.docstring
        lines = [f'"""{first}', *rest]
        return _indent([*lines, '"""'] if rest else [f'"""{first}"""'])

    def head_of_forward(self) -> list[str]:
        if self.form == "rule":
            values = [self.annotation("float", output.axes) for output in self.program.outputs]
            value = values[0] if not self.program.several else f"tuple[{', '.join(values)}]"
            returns = f"jbp.WithResiduals[{value}]"
            line = f"def {self.name}({self.signature()}) -> {returns}:"
            if len(line) > 120:
                typed = [f"    {self.typed(p)}," for p in self.parameters]
                return ["@jbp.rule", f"def {self.name}(", *typed, f") -> {returns}:", *self.doc()]
            return ["@jbp.rule", line, *self.doc()]
        names = ", ".join(p.name for p in self.parameters)
        return [
            "@jax.custom_vjp", f"def {self.name}({names}):", *self.doc(),
            f"    return {self.name}_forward({names})[0]", "", "", f"def {self.name}_forward({names}):",
        ]  # fmt: skip

    def head_of_backward(self, several: bool) -> list[str]:
        decorator = [f"@{self.name}.backward"] if self.form == "rule" else []
        return [*decorator, f"def {self.name}_backward(residuals, upstream):"]

    def gradients(self, results: Mapping[str, str]) -> str:
        found = [
            _container(p.structure, [results.get(key, "None") for key, _ in p.leaves])
            if self.is_differentiable(p)
            else "None"
            for p in self.parameters
            if self.form == "custom_vjp" or self.is_differentiable(p)
        ]
        return ", ".join(found) if self.form == "rule" else _tuple(found)

    def tail(self) -> list[str]:
        return [] if self.form == "rule" else ["", "", f"{self.name}.defvjp({self.name}_forward, {self.name}_backward)"]


def _container(structure: Any, items: Sequence[str]) -> str:
    """Code for a container that holds these items in the places of their numbers."""
    match structure:
        case None:
            return items[0]
        case int():
            return items[structure]
        case dict():
            return f"{{{', '.join(f'{key!r}: {_container(x, items)}' for key, x in structure.items())}}}"
        case list():
            return f"[{', '.join(_container(x, items) for x in structure)}]"
    return _tuple([_container(x, items) for x in structure])


def _shaped(writer: Writer, factor: Factor, axes: Axes) -> str:
    """A quantity as an array with these axes, those of size 1 included."""
    piece = writer.factor(factor)
    target = [i for i in axes if i is not None]
    code = writer.laid_out(piece, target)
    if set(target) - set(piece.axes):
        return f"jnp.broadcast_to({code}, {writer.shape(axes)})"
    return f"{code}[{', '.join('None' if i is None else ':' for i in axes)}]" if None in axes else code


def _narrowed(q: Quantity) -> str:
    """A residual in as few bytes as it has values."""
    return f"{q.name}.astype(jnp.int8)" if q.function == "sign" else q.name


def _shape_residual(name: str, form: Form) -> str:
    return f"jbp.ShapeDtype({name})" if form == "rule" else name


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' * (len(items) == 1)})"


def _target(names: list[str]) -> str:
    return ", ".join(names) + "," * (len(names) == 1) if len(names) != 1 else f"({names[0]},)"


def _wrapped(comments: Iterable[str]) -> list[str]:
    return [line for text in comments for line in textwrap.wrap(text, WIDTH - 10, subsequent_indent="# ")]


def _fitted(line: str) -> list[str]:
    """A statement on as many lines as it needs."""
    if len(line) <= WIDTH or " = " not in line or line.startswith("#"):
        return [line]
    name, code = line.split(" = ", 1)
    for operators in ((" + ", " - "), (" * ", " / ")):
        parts, depth, start = [], 0, 0
        for k, character in enumerate(code):
            depth += (character in "([") - (character in ")]")
            if depth == 0 and code[k : k + 3] in operators:
                parts.append(code[start:k])
                start = k + 1
        if parts:
            return [f"{name} = (", *(f"    {part}" for part in (*parts, code[start:])), ")"]
    return [line]


def _indent(lines: list[str]) -> list[str]:
    return [f"    {part}".rstrip() for line in lines for part in _fitted(line)]
