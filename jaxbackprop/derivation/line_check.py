"""A learner's own lines against a derivation: each right, wrong, or right under a condition; what is wrong in it.

A line is a formula or an array. A formula is judged with everything above it taken as right, so that one mistake is one
wrong line; an array is compared with what follows from the arrays above it. Formulas are compared at random points in
float64, several of them: what agrees there is called right.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .axis_letters import Letters
from .formulas import FormulaError, evaluated, evaluated_by_index, is_index_notation, left_letters, parsed
from .index_notation import delta_of
from .notation import Notation, Style
from .numeric import Point, add_deltas, complete, draw, same
from .quantities import LITERAL_KINDS, Program, Quantity
from .reverse_mode import Lines

Verdict = Literal["right", "wrong", "inherits", "conditional", "not decided"]


@dataclass(frozen=True)
class LineVerdict:
    """One line of the learner's.

    Attributes:
        name: as the learner calls it.
        verdict: right; wrong; "inherits", right but for what it takes from a wrong line; "conditional"; "not decided".
        detail: what is wrong in it, from where it inherits, or the condition.
        repair: the formula mended by one change; where that is not enough, the derivation's own line.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    repair: str = ""

    def __str__(self) -> str:
        text = f"{self.name:10} {self.verdict}{': ' * bool(self.detail)}{self.detail}"
        return f"{text}\n{'':10} perhaps {self.repair}" if self.repair else text


@dataclass(frozen=True)
class LineCheck:
    """All lines of the learner's, in the order in which a backward pass computes them."""

    lines: tuple[LineVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every line is right, whatever the arguments are."""
        return all(line.verdict == "right" for line in self.lines)

    @property
    def first_wrong(self) -> LineVerdict | None:
        """The line at which the derivation goes wrong."""
        return next((line for line in self.lines if line.verdict == "wrong"), None)

    def __getitem__(self, name: str) -> LineVerdict:
        return next(line for line in self.lines if line.name == name)

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines))


@dataclass(frozen=True)
class Expected:
    """What lines are compared with.

    Attributes:
        program: the named quantities.
        chain_rule: their deltas.
        lines: the deltas made simple.
        points: where formulas are compared.
        args: one array for each argument of the program.
    """

    program: Program
    chain_rule: Lines
    lines: Lines
    points: tuple[Point, ...]
    args: tuple[Any, ...]


def check_lines(expected: Expected, lines: Mapping[str, Any], upstream: Any = None) -> LineCheck:
    """The verdict on each line; see `Derivation.check`."""
    program = expected.program
    order = list(expected.chain_rule)
    keys = {name: quantity_named(program, name) for name in lines}
    for name, key in keys.items():
        if key not in expected.chain_rule:
            known = ", ".join(known_names(program, order))
            raise ValueError(f"check: {name} is no delta of this derivation. There are {known}.")
    learner = _Learner(expected, dict(sorted(keys.items(), key=lambda entry: order.index(entry[1]))), lines)
    return LineCheck(tuple(learner.verdicts(upstream)))


def known_names(program: Program, order: Sequence[str]) -> list[str]:
    """What the deltas are called."""
    return [program.delta_name(key) for key in order]


def quantity_named(program: Program, name: str) -> str:
    """The key of the quantity whose delta a learner calls `name`: dW1, delta_z2, delta2 (of z2), grad_W1, dL/dW1."""
    for pattern in (r"dL/d(\w+)", r"grad_(\w+)", r"delta_(\w+)", r"d_?(\w+)", r"delta(\d*)"):
        matched = re.fullmatch(pattern, name)
        if matched is None:
            continue
        q = program.named(f"z{matched[1]}" if pattern == r"delta(\d*)" else matched[1])
        if q is not None:
            return q.key
    return ""


@dataclass(frozen=True)
class World:
    """Points at which a condition holds, and what a formula may name there."""

    condition: str
    points: tuple[Point, ...]
    names: tuple[dict[str, np.ndarray], ...]

    def __iter__(self) -> Iterator[tuple[Point, dict[str, np.ndarray]]]:
        return zip(self.points, self.names, strict=True)


def worlds(expected: Expected) -> Iterator[World]:
    """The derivation's points; then those at which the rows of an argument sum to 1, if they do as it was given."""
    program, order = expected.program, list(expected.chain_rule)
    yield World("", expected.points, tuple(names_at(program, point, order) for point in expected.points))
    for key, x in zip(program.arguments, expected.args, strict=True):
        q = program[key]
        if q.dtype == "float" and q.indices and np.allclose(np.asarray(x, float).sum(-1), 1, atol=1e-5):
            args = list(expected.args)
            points = tuple(draw(program, args, seed, (q.name,)) for seed in (5, 6))
            for point in points:
                add_deltas(program, expected.chain_rule, point)
            names = tuple(names_at(program, point, order) for point in points)
            yield World(f"if each row of {q.name} sums to 1", points, names)


class _Learner:
    def __init__(self, expected: Expected, keys: Mapping[str, str], lines: Mapping[str, Any]):
        self.expected, self.keys, self.lines = expected, keys, lines
        self.program: Program = expected.program
        self.worlds = list(worlds(expected))
        self.bad: set[str] = set()

    def verdicts(self, upstream: Any) -> Iterator[LineVerdict]:
        arrays = {name: np.asarray(x) for name, x in self.lines.items() if not isinstance(x, str)}
        values = _given_point(self.expected, upstream) if arrays else None
        for name, key in self.keys.items():
            line = self.lines[name]
            verdict = self.formula(name, key, line) if isinstance(line, str) else self.array(name, key, arrays, values)
            if verdict.verdict in ("wrong", "inherits"):
                self.bad.add(name)
            yield verdict

    # Arrays.

    def array(self, name: str, key: str, arrays: Mapping[str, np.ndarray], point: Point | None) -> LineVerdict:
        assert point is not None
        q, given = self.program[key], arrays[name]
        truth = point.values[delta_of(key)]
        if given.size != truth.size:
            return LineVerdict(name, "wrong", f"its shape is {given.shape}, that of {q.name} is {shape_of(q, point)}")
        tolerance = 64 * float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else 1e-9
        mine = _arranged(given, q, point)
        if _close(mine, truth, tolerance):
            return LineVerdict(name, "right")
        wrong = [other for other in self.keys if other in self.bad and other in arrays]
        if wrong:
            fitting = [n for n, x in arrays.items() if x.size == point.values[delta_of(self.keys[n])].size]
            others = {self.keys[n]: arrays[n] for n in fitting if n != name}
            follows = self.followed(key, {k: _arranged(x, self.program[k], point) for k, x in others.items()}, point)
            if _close(mine, follows, tolerance):
                return LineVerdict(name, "inherits", f"from {', '.join(wrong)}")
        names = names_at(self.program, point, list(self.expected.chain_rule))
        names = {n: x for n, x in names.items() if quantity_named(self.program, n) != key}
        return LineVerdict(name, "wrong", difference(mine, truth, names, lambda a, b: _close(a, b, tolerance)))

    def followed(self, key: str, given: Mapping[str, np.ndarray], point: Point) -> np.ndarray:
        """The delta that follows from the learner's other deltas."""
        trial = Point(point.sizes, dict(point.values))
        for other, line in self.expected.chain_rule.items():
            trial.values[delta_of(other)] = trial.value(line.expression, self.program[other].indices)
            if other == key:
                break
            if other in given:
                trial.values[delta_of(other)] = given[other]
        return trial.values[delta_of(key)]

    # Formulas.

    def formula(self, name: str, key: str, text: str) -> LineVerdict:
        inherited = [n for n in self.bad if re.search(rf"\b{re.escape(n)}(?:_[a-z']+)?\b", text)]
        try:
            for world in self.worlds:
                finite = [(p, names) for p, names in world if np.all(np.isfinite(p.values[delta_of(key)]))]
                if not finite:
                    return LineVerdict(name, "not decided", "the derivation's own line is not finite at any point")
                if all(equal(self.value(key, text, names), p.values[delta_of(key)]) for p, names in finite):
                    if inherited:
                        return LineVerdict(name, "inherits", f"from {', '.join(inherited)}")
                    return LineVerdict(name, "conditional" if world.condition else "right", world.condition)
        except FormulaError as error:
            return LineVerdict(name, "wrong", *self.repaired(key, text, str(error)))
        return LineVerdict(name, "wrong", *self.repaired(key, text, ""))

    def value(self, key: str, text: str, names: Mapping[str, np.ndarray]) -> np.ndarray:
        if is_index_notation(text, names):
            q = self.program[key]
            return evaluated_by_index(text, _squeezed(names), left_letters(text) or _letters(self.program, q))
        return np.asarray(evaluated(parsed(text), names))

    def repaired(self, key: str, text: str, detail: str) -> tuple[str, str]:
        """What is wrong, in words, and the formula with that mended, or the line that the derivation has."""
        for world in self.worlds:
            suffix = f" ({world.condition})" if world.condition else ""
            words, formula = self.edited(key, text, world)
            if words:
                return words + suffix, formula
            if not detail:
                found = [self.value(key, text, names) for names in world.names]
                each = [difference(x, p.values[delta_of(key)], n, same) for x, (p, n) in zip(found, world, strict=True)]
                if each[0] and len(set(each)) == 1:
                    return each[0] + suffix, self.derived_line(key)
        return detail, self.derived_line(key)

    def derived_line(self, key: str) -> str:
        """The derivation's own line, where no one change mends the learner's."""
        line = self.expected.lines.get(key) or self.expected.chain_rule[key]
        return " = ".join(Notation(self.program, Letters(self.program), Style()).line(key, line.expression))

    def edited(self, key: str, text: str, world: World) -> tuple[str, str]:
        """One change that makes a formula in matrices right: in words, and the formula."""
        if is_index_notation(text, world.names[0]):
            return "", ""
        try:
            tree = parsed(text)
        except FormulaError:
            return "", ""
        points = [(p.values[delta_of(key)], names) for p, names in world]
        points = [(truth, names) for truth, names in points if np.all(np.isfinite(truth))]
        forbidden = {n for n in world.names[0] if quantity_named(self.program, n) == key}
        for words, changed in edits(tree, world.names[0], forbidden):
            if all(_is(changed, names, truth) for truth, names in points):
                return words, ast.unparse(changed)
        return "", ""


def _is(tree: ast.AST, names: Mapping[str, np.ndarray], truth: np.ndarray) -> bool:
    try:
        return equal(np.asarray(evaluated(tree, names), float), truth)
    except (FormulaError, TypeError, ValueError):
        return False


def equal(found: np.ndarray, truth: np.ndarray) -> bool:
    """Whether a formula's value is the delta, apart from axes of size 1."""
    return same(np.squeeze(found), np.squeeze(truth))


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    scale = max(float(np.abs(b).max(initial=0)), 1e-30)
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= tolerance * scale * max(1.0, np.sqrt(b.size))))


def _letters(program: Program, q: Quantity) -> list[str]:
    used = Letters(program).letters({}, list(q.indices))
    return [used[i] for i in q.indices]


def _squeezed(names: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.squeeze(x) if 1 in np.shape(x) else x for name, x in names.items()}


def shape_of(q: Quantity, point: Point) -> tuple[int, ...]:
    """A quantity's shape in the source."""
    axes = q.axes or q.source_axes or q.indices
    return tuple(1 if i is None else point.sizes[i.axis] for i in axes)


def _arranged(x: np.ndarray, q: Quantity, point: Point) -> np.ndarray:
    """An array as the source has it, with the quantity's indices in their order."""
    axes = [i for i in (q.axes or q.source_axes or q.indices) if i is not None]
    x = np.asarray(x, float).reshape([point.sizes[i.axis] for i in axes])
    return x.transpose([axes.index(i) for i in q.indices]) if set(axes) == set(q.indices) else x


def _in_source(x: np.ndarray, q: Quantity, point: Point) -> np.ndarray:
    """A quantity's array as the source has it."""
    axes = q.axes or q.source_axes or q.indices
    kept = [i for i in axes if i is not None]
    if set(kept) != set(q.indices):
        return x
    return x.transpose([q.indices.index(i) for i in kept]).reshape(shape_of(q, point))


def names_at(program: Program, point: Point, order: Sequence[str]) -> dict[str, np.ndarray]:
    """What a formula may name: quantities, deltas under all their names, sizes by their letters."""
    names: dict[str, np.ndarray] = {}
    letters = Letters(program)
    for q in program.quantities.values():
        if q.kind == "size":
            names.setdefault(letters.axis(int(q.key[1:])), np.asarray(float(point.sizes[int(q.key[1:])])))
    for q in program.quantities.values():
        if q.kind not in (*LITERAL_KINDS, "key") and q.key in point.values:
            names[q.name] = _in_source(point.values[q.key], q, point)
    for key in order:
        q = program[key]
        value = _in_source(point.values[delta_of(key)], q, point)
        layer = re.fullmatch(r"z(\d*)", q.name)
        for name in (f"d{q.name}", f"delta_{q.name}", f"grad_{q.name}", *([f"delta{layer[1]}"] if layer else [])):
            names.setdefault(name, value)
    return names


def _given_point(expected: Expected, upstream: Any) -> Point:
    """All values and deltas at the arguments as they were given."""
    program = expected.program
    sizes = {i.axis: i.size for q in program.quantities.values() for i in (*q.indices, *q.over)}
    sizes |= {int(q.key[1:]): int(q.value) for q in program.quantities.values() if q.kind == "size"}
    point = Point(sizes)
    for key, x in zip(program.arguments, expected.args, strict=True):
        q = program[key]
        if q.kind == "key":
            point.values[key] = x
            continue
        x = np.asarray(x)
        point.values[key] = x.reshape([i.size for i in q.axes if i is not None]) * (1 if q.dtype == "int" else 1.0)
        point.values[key] = point.values[key].astype(int if q.dtype == "int" else float)
    given = (upstream if program.several else [upstream]) if upstream is not None else [None] * len(program.upstream)
    for key, u in zip(program.upstream, given, strict=True):
        shape = [i.size for i in program[key].indices]
        point.values[key] = np.ones(shape) if u is None else np.asarray(u, float).reshape(shape)
    complete(program, point)
    add_deltas(program, expected.chain_rule, point)
    return point


# What is wrong.


def difference(
    found: np.ndarray,
    truth: np.ndarray,
    names: Mapping[str, np.ndarray],
    is_same: Callable[[np.ndarray, np.ndarray], bool],
) -> str:
    """In words, what is between a wrong value and the right one: a sign, a transpose, a sum, a factor, a term."""
    found, truth = np.squeeze(found), np.squeeze(truth)
    if found.shape != truth.shape:
        for axis in range(found.ndim):
            for how in ("sum", "mean"):
                if is_same(getattr(found, how)(axis), truth):
                    return f"a {how} over axis {axis} is missing"
        if found.ndim == 2 and found.shape[::-1] == truth.shape and is_same(found.T, truth):
            return "it is transposed"
        return f"its shape is {found.shape}, not {truth.shape}"
    if is_same(-found, truth):
        return "its sign"
    if found.ndim == 2 and found.shape[0] == found.shape[1] and is_same(found.T, truth):
        return "it is transposed"
    others = {n: x for n, x in names.items() if not np.array_equal(np.squeeze(x), truth)}
    if np.any(found) and np.any(truth):
        for words, x in _factors(others):
            for view in _views(x, truth):
                if is_same(found * view, truth):
                    return f"the factor {words} is missing"
                if is_same(truth * view, found):
                    return f"the factor {words} is one too many"
    for n, x in others.items():
        for view in _views(np.asarray(x, float), truth):
            for sign, words in ((1, "missing"), (-1, "one too many")):
                if is_same(np.broadcast_to(sign * view, truth.shape), truth - found):
                    return f"the term {n} is {words}"
    return ""


def _factors(names: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for number in (2, 3, 4):
        yield str(number), np.asarray(float(number))
    for n, x in names.items():
        x = np.asarray(x, float)
        yield n, x
        yield f"{n} (1 - {n})", x * (1 - x)
        yield f"(1 - {n}^2)", 1 - x**2
        yield f"(1 - {n})", 1 - x
        yield f"1[{n} > 0]", (x > 0) * 1.0


def _views(x: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
    """The ways in which an array may be stretched to the shape of `truth`."""
    x = np.squeeze(x)
    if x.ndim <= truth.ndim and x.shape == truth.shape[truth.ndim - x.ndim :]:
        yield x
    if x.ndim == 1 and truth.ndim == 2 and x.shape[0] == truth.shape[0]:
        yield x[:, None]


def edits(
    tree: ast.Expression, names: Mapping[str, np.ndarray], forbidden: set[str]
) -> Iterator[tuple[str, ast.Expression]]:
    """Formulas that differ from this one by one slip of the pen, each with what it would mean."""

    def with_node(place: int, change: Callable[[Any], ast.AST]) -> ast.Expression:
        made = copy.deepcopy(tree)
        target = list(ast.walk(made))[place]
        return ast.fix_missing_locations(_Replace(target, change(copy.deepcopy(target))).visit(made))

    usable = {n: x for n, x in names.items() if n not in forbidden}
    nodes = list(ast.walk(tree))
    for place, node in enumerate(nodes):
        if isinstance(node, ast.UnaryOp):
            yield "its sign", with_node(place, lambda n: n.operand)
        if isinstance(node, ast.Attribute) and node.attr == "T":
            yield f"{ast.unparse(node.value)} must not be transposed", with_node(place, lambda n: n.value)
        if isinstance(node, ast.Name) and np.ndim(names.get(node.id, 0)) == 2:
            yield f"{node.id} must be transposed", with_node(place, lambda n: ast.Attribute(n, "T", ast.Load()))
    for place, node in enumerate(nodes):
        if isinstance(node, ast.Name) and node.id in names:
            for other in usable:
                if other != node.id and np.ndim(names[other]) == np.ndim(names[node.id]):
                    changed = with_node(place, lambda n, o=other: ast.Name(o, ast.Load()))
                    yield f"{other} belongs where {node.id} stands", changed
    for place, node in enumerate(nodes):
        if isinstance(node, ast.BinOp):
            written = ast.unparse(node)
            for op, symbol in ((ast.Sub, "-"), (ast.Add, "+"), (ast.Mult, "*"), (ast.MatMult, "@"), (ast.Div, "/")):
                if not isinstance(node.op, op):
                    changed = with_node(place, lambda n, op=op: ast.BinOp(n.left, op(), n.right))
                    yield f"{written} must have {symbol}", changed
            yield f"{written}: the other order", with_node(place, lambda n: ast.BinOp(n.right, n.op, n.left))
            yield f"{ast.unparse(node.right)} is one too many", with_node(place, lambda n: n.left)
            yield f"{ast.unparse(node.left)} is one too many", with_node(place, lambda n: n.right)
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            for value in (-1, 0, 1, 2, 3):
                yield f"{value} belongs where {node.value} stands", with_node(place, lambda n, v=value: ast.Constant(v))
    for place, node in enumerate(nodes):
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
            written = ast.unparse(node)
            for axis in (0, 1):
                yield (
                    f"a sum over axis {axis} of {written} is missing",
                    with_node(place, lambda n, a=axis: _method(n, "sum", a)),
                )
            for other in usable:
                for form in ("{n}", "{n} * (1 - {n})", "(1 - {n}**2)", "(1 - {n})", "({n} > 0)"):
                    factor = ast.parse(form.format(n=other), mode="eval").body
                    words = f"the factor {form.format(n=other)} is missing at {written}"
                    yield words, with_node(place, lambda n, f=factor: ast.BinOp(n, ast.Mult(), f))
                yield (
                    f"the divisor {other} is missing at {written}",
                    with_node(place, lambda n, o=other: ast.BinOp(n, ast.Div(), ast.Name(o, ast.Load()))),
                )


def _method(of: ast.expr, name: str, axis: int) -> ast.Call:
    keep = ast.keyword("keepdims", ast.Constant(1)) if axis else None
    return ast.Call(ast.Attribute(of, name, ast.Load()), [ast.Constant(axis)], [keep] if keep else [])


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, by: ast.AST):
        self.target, self.by = target, by

    def visit(self, node: ast.AST) -> Any:
        return self.by if node is self.target else self.generic_visit(node)
