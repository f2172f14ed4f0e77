"""Formulas that people write, as values: Python with NumPy's words, a lecture's `W2^T delta3 o a2`, or index notation.

Nothing of Python is executed: a formula is parsed, and what is no arithmetic is refused.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .numeric import FUNCTIONS as ELEMENTWISE


class FormulaError(ValueError):
    """A formula that cannot be read or computed; the message says why."""


def right_side(text: str) -> str:
    """A formula without `name =` before it."""
    return re.sub(r"^\s*[\w']+\s*=(?!=)", "", text).strip()


# Python and matrices.

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: ELEMENTWISE[name] for name in ("exp", "log", "tanh", "sqrt", "sin", "cos", "abs", "sign", "relu")},
    "sigmoid": ELEMENTWISE["logistic"], "softplus": ELEMENTWISE["softplus"], "outer": np.outer, "where": np.where,
    "einsum": np.einsum, "maximum": np.maximum, "transpose": np.transpose, "dot": lambda a, b: matrix_product(a, b),
    "sum": np.sum, "mean": np.mean,
}  # fmt: skip
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.BitXor: np.power, ast.MatMult: lambda a, b: matrix_product(a, b),
}  # fmt: skip
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Gt: np.greater, ast.Lt: np.less, ast.GtE: np.greater_equal, ast.LtE: np.less_equal, ast.Eq: np.equal,
}  # fmt: skip


def matrix_product(a: Any, b: Any) -> Any:
    """a b as a lecture means it: of matrices; a vector times a transposed one is an outer product."""
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim == 1 and b.ndim == 2 and b.shape[0] == 1:
        return a[:, None] * b
    if b.ndim == 1 and a.ndim == 2 and a.shape[0] == 1 != b.shape[0] and a.shape[1] == b.shape[0]:
        return (a @ b)[0]
    if a.ndim == b.ndim == 1:
        return a * b if a.shape != b.shape else a @ b
    return a @ b


def parsed(text: str) -> ast.Expression:
    """A formula as a Python expression: `^T` is a transpose, a space between two arrays a matrix product.

    Raises:
        FormulaError: it is none.
    """
    text = right_side(text)
    for written, meant in (("^T", ".T"), ("^⊤", ".T"), ("∘", "*"), ("⊙", "*"), ("·", "*")):
        text = text.replace(written, meant)
    text = _with_products(re.sub(r"(?<=[\w)\]]) +o +(?=[\w(])", " * ", text))
    try:
        return ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise FormulaError(f"it cannot be read: {error.msg}") from None


_WORDS = re.compile(r"\s*([A-Za-z_][\w.]*|\d[\d.]*(?:e-?\d+)?|\"[^\"]*\"|'[^']*'|\*\*|[<>=]=|.)", re.DOTALL)


def _with_products(text: str) -> str:
    """Arrays that stand side by side as one matrix product, which binds more closely than every other product."""
    written, rest = _grouped([w for w in _WORDS.findall(text) if w.strip()])
    return " ".join([written, *rest])


def _grouped(words: list[str]) -> tuple[str, list[str]]:
    """The words up to a closing bracket, and those from it on."""
    out: list[str] = []
    run: list[str] = []

    def close() -> None:
        if run:
            out.append(run[0] if len(run) == 1 else f"({' @ '.join(run)})")
            run.clear()

    while words and words[0] not in (")", "]"):
        word, words = words[0], words[1:]
        if word in ("(", "["):
            inner, words = _grouped(words)
            group = f"{word}{inner}{words[0] if words else ''}"
            words = words[1:]
            if run and (word == "[" or run[-1].rpartition(".")[2] in _FUNCTIONS):
                run[-1] += group
            else:
                run.append(group)
        elif word in ("^", "**") and run and words:
            run[-1] = f"{run[-1]}**{words[0]}"
            words = words[1:]
        elif word == "." and run and words:
            run[-1] += f".{words[0]}"
            words = words[1:]
        elif re.match(r"[\w\"']", word):
            run.append(word)
        else:
            close()
            out.append(word)
    close()
    return " ".join(out), words


def evaluated(tree: ast.AST, names: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of a parsed formula.

    Raises:
        FormulaError: a name is unknown, or shapes do not fit.
    """
    try:
        with np.errstate(all="ignore"):
            return np.asarray(_value(tree.body if isinstance(tree, ast.Expression) else tree, names), float)
    except FormulaError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise FormulaError(f"shapes do not fit: {str(error).splitlines()[0][:80]}") from None


def _value(node: ast.AST, names: Mapping[str, np.ndarray]) -> Any:
    def of(inner: ast.AST) -> Any:
        return _value(inner, names)

    match node:
        case ast.Constant(value=int() | float() | str() | None):
            return node.value
        case ast.Name(id=name):
            if name not in names:
                raise FormulaError(f"there is no {name}")
            return names[name]
        case ast.UnaryOp(op=ast.USub()):
            return -of(node.operand)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](of(node.left), of(node.right))
        case ast.Compare(ops=[op]) if type(op) in _COMPARISONS:
            return _COMPARISONS[type(op)](of(node.left), of(node.comparators[0])) * 1.0
        case ast.Attribute(attr="T"):
            x = np.asarray(of(node.value))
            return x[None, :] if x.ndim == 1 else x.T
        case ast.Attribute(attr="shape"):
            return np.asarray(of(node.value)).shape
        case ast.Tuple() | ast.List():
            return tuple(map(of, node.elts))
        case ast.Slice():
            return slice(*(None if x is None else of(x) for x in (node.lower, node.upper, node.step)))
        case ast.Subscript():
            return of(node.value)[of(node.slice)]
        case ast.Call():
            return _call(node, of)
    raise FormulaError(f"{ast.unparse(node)} is no arithmetic that is known here")


def _call(node: ast.Call, of: Callable[[ast.AST], Any]) -> Any:
    keywords = {k.arg: of(k.value) for k in node.keywords if k.arg}
    keywords = {k: bool(v) if k == "keepdims" else v for k, v in keywords.items()}
    name = ast.unparse(node.func).rpartition(".")[2]
    if name not in _FUNCTIONS:
        raise FormulaError(f"there is no function {name}")
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    is_method = owner is not None and ast.unparse(owner) not in ("np", "jnp", "jax.nn", "numpy")
    arguments = [*([of(owner)] if is_method and owner is not None else []), *map(of, node.args)]
    return _FUNCTIONS[name](*arguments, **keywords)


# Index notation.


@dataclass(frozen=True)
class Indexed:
    """An array whose axes are letters."""

    array: np.ndarray
    letters: tuple[str, ...]


_TOKEN = re.compile(r"\s*(1\[|sum_[a-z']+|max_[a-z']+|[A-Za-z]\w*'*|\d+\.?\d*(?:e-?\d+)?|[-+*/^()\[\]=>])")


def is_index_notation(text: str, names: Mapping[str, Any]) -> bool:
    """Whether a formula has names with letters behind them, as `p_ni`."""
    found = re.findall(r"[A-Za-z]\w*", text)
    return any(n not in names and n.rpartition("_")[0] in {*names, "sum"} for n in found)


def evaluated_by_index(text: str, names: Mapping[str, np.ndarray], letters: Sequence[str]) -> np.ndarray:
    """The value of a formula in index notation, its axes in the order of `letters`.

    Raises:
        FormulaError: it cannot be read, a name is unknown, or a letter runs over two sizes.
    """
    text = re.sub(r"1\[(\w+)_([a-z']+) = ([a-z]'*)\]", r"is_\1_\2\3", text)  # a one-hot has a name of its own
    reader = _Reader(right_side(text), names)
    result = reader.sum()
    if reader.at < len(reader.tokens):
        raise FormulaError(f"it cannot be read at {reader.tokens[reader.at]}")
    array = _over(result, tuple(letters) + tuple(i for i in result.letters if i not in letters))
    if array.ndim > len(letters):
        extra = [i for i in result.letters if i not in letters]
        raise FormulaError(f"the index {', '.join(extra)} is free on the right side alone")
    return array


def left_letters(text: str) -> list[str]:
    """The letters on the left side of `dz_ni = ...`; none where there is no left side."""
    matched = re.match(r"^\s*\w+_([a-z']+)\s*=", text)
    return re.findall(r"[a-z]'*", matched[1]) if matched else []


class _Reader:
    """sum := product (+|- product)*; product := power (power | / power)*; power := atom (^ number)?"""

    def __init__(self, text: str, names: Mapping[str, np.ndarray]):
        self.names, self.at = names, 0
        self.tokens: list[str] = []
        place = 0
        while place < len(text.rstrip()):
            matched = _TOKEN.match(text, place)
            if matched is None:
                raise FormulaError(f"it cannot be read at {text[place:]}")
            self.tokens.append(matched[1])
            place = matched.end()

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise FormulaError(f"{expected or 'something'} is missing")
        self.at += 1
        return token

    def sum(self) -> Indexed:
        sign = -1.0 if self.peek() == "-" else 1.0
        if self.peek() in ("-", "+"):
            self.take()
        total = _scaled(self.product(), sign)
        while self.peek() in ("+", "-"):
            sign = -1.0 if self.take() == "-" else 1.0
            total = _combined(np.add, total, _scaled(self.product(), sign))
        return total

    def product(self) -> Indexed:
        total = self.power()
        while self.peek() and self.peek() not in ("+", "-", ")", "]", "=", ">"):
            if self.peek() in ("/", "*"):
                operation = np.divide if self.take() == "/" else np.multiply
                total = _combined(operation, total, self.power())
            else:
                total = _combined(np.multiply, total, self.power())
        return total

    def power(self) -> Indexed:
        base = self.atom()
        if self.peek() == "^":
            self.take()
            sign = -1.0 if self.peek() == "-" else 1.0
            if sign < 0:
                self.take()
            base = Indexed(base.array ** (sign * float(self.take())), base.letters)
        return base

    def atom(self) -> Indexed:
        token = self.take()
        if token == "(":
            inner = self.sum()
            self.take(")")
            return inner
        if token == "1[":
            left = self.sum()
            compare = np.equal if self.take() == "=" else np.greater
            right = self.sum()
            self.take("]")
            result = _combined(compare, left, right)
            return Indexed(result.array * 1.0, result.letters)
        if token.startswith(("sum_", "max_")):
            over = re.findall(r"[a-z]'*", token[4:])
            inner = self.product()
            axes = tuple(k for k, i in enumerate(inner.letters) if i in over)
            if len(axes) != len(over):
                raise FormulaError(f"{token} runs over an index that does not occur")
            array = inner.array.sum(axes) if token.startswith("sum_") else inner.array.max(axes)
            return Indexed(array, tuple(i for i in inner.letters if i not in over))
        if token[0].isdigit():
            return Indexed(np.asarray(float(token)), ())
        if token in _FUNCTIONS and self.peek() == "(":
            self.take("(")
            inner = self.sum()
            self.take(")")
            return Indexed(_FUNCTIONS[token](inner.array), inner.letters)
        return self.quantity(token)

    def quantity(self, token: str) -> Indexed:
        if token in self.names and np.ndim(self.names[token]) == 0:
            return Indexed(np.asarray(self.names[token]), ())
        name, _, written = token.rpartition("_")
        letters = tuple(re.findall(r"[a-z]'*", written))
        if name not in self.names:
            raise FormulaError(f"there is no {token}")
        array = np.asarray(self.names[name])
        if array.ndim != len(letters):
            raise FormulaError(f"{name} has {array.ndim} indices, not {len(letters)}")
        return Indexed(array, letters)


def _scaled(x: Indexed, sign: float) -> Indexed:
    return Indexed(sign * x.array, x.letters)


def _over(x: Indexed, letters: tuple[str, ...]) -> np.ndarray:
    order = [i for i in letters if i in x.letters]
    array = x.array.transpose([x.letters.index(i) for i in order])
    return array.reshape([array.shape[order.index(i)] if i in order else 1 for i in letters])


def _combined(operation: Callable[[Any, Any], Any], a: Indexed, b: Indexed) -> Indexed:
    letters = tuple(dict.fromkeys((*a.letters, *b.letters)))
    try:
        with np.errstate(all="ignore"):
            return Indexed(operation(_over(a, letters), _over(b, letters)), letters)
    except ValueError:
        raise FormulaError(f"one of the indices {', '.join(letters)} runs over two sizes") from None
