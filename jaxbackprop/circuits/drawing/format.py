"""Numbers and gates as text: how a number is written, a gate's symbol, its arithmetic spelled out.

Text, SVG, DOT and page all take their texts from here.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Gate, Wire
from ..summary import Summary, is_inexact, to_numpy

SYMBOLS = {
    "add": "+", "add_any": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "×−1", "dot_general": "@", "matmul": "@",
    "pow": "xʸ", "power": "xʸ", "integer_pow": "xⁿ", "square": "x²", "reciprocal": "1/x", "logistic": "σ",
    "sigmoid": "σ", "reduce_sum": "Σ", "reduce_max": "max", "max": "max", "min": "min", "sqrt": "√x", "rsqrt": "1/√x",
    "transpose": "ᵀ", "select_n": "select", "convert_element_type": "cast", "broadcast_in_dim": "broadcast",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of a card or a node. Where it ends in a number of a wire, `head` is what comes before the number.

    Attributes:
        text: the whole line.
        wire: the wire that the number belongs to.
        which: "value" or "gradient" of that wire, "share" for a part of its gradient; "" where there is no number,
            "more" where others are left out.
        head: the text before the number.
    """

    text: str
    wire: int = -1
    which: str = ""
    head: str = ""


def number_line(which: str, wire: Wire, digits: int | None, head: str = "") -> Line:
    """A line that ends in the value or the gradient of a wire."""
    value = wire.value if which == "value" else wire.gradient
    return Line(head + format_array(value, digits), wire.id, which, head)


def gate_symbol(gate: Gate) -> str:
    """The symbol a gate is drawn with: the lecture's sign, or its name."""
    if gate.name == "integer_pow" and "y" in gate.settings:
        return f"x{str(gate.settings['y']).translate(str.maketrans('0123456789-', '⁰¹²³⁴⁵⁶⁷⁸⁹⁻'))}"
    return SYMBOLS.get(gate.name, gate.name)


def format_number(x: Any, digits: int | None = 4) -> str:
    """One number: to `digits` significant digits, or as many as tell it apart in its own precision."""
    x = np.asarray(x)[()]
    if isinstance(x, (np.bool_, bool)):
        return "true" if x else "false"
    if np.iscomplexobj(x):
        return f"{format_number(x.real, digits)}{'+' if x.imag >= 0 else '−'}{format_number(abs(x.imag), digits)}i"
    if isinstance(x, (np.integer, int)):
        return str(x).replace("-", "−")
    if not np.isfinite(x):
        return "NaN" if np.isnan(x) else ("∞" if x > 0 else "−∞")
    if x == 0:
        return "0"
    if digits is None:
        shortest = np.format_float_positional(x, unique=True, trim="-")
        text = shortest if len(shortest) <= 24 else np.format_float_scientific(x, unique=True, trim="-")
    else:
        text = f"{float(x):.{digits}g}"
    return text.replace("-", "−")


def format_shape(dims: tuple[int, ...]) -> str:
    """A shape as text: [64, 10]; nothing for one number."""
    return f"[{', '.join(map(str, dims))}]" if dims else ""


def format_array(value: Any, digits: int | None = 4) -> str:
    """A value: one number, a short vector whole, anything larger by its shape and the size of its elements.

    Unrounded, vectors are shown whole up to twice the length.
    """
    if value is None:
        return ""
    if isinstance(value, Summary):
        not_finite = "" if value.finite == 1 else f", {1 - value.finite:.0%} not finite"
        return f"{format_shape(value.shape)} ~{format_number(np.float64(value.rms), 3)}{not_finite}"
    x = to_numpy(value)
    if x.size == 1:
        return format_number(x.reshape(-1)[0], digits)
    if x.ndim == 1 and x.size <= (8 if digits is None else 4):
        return f"[{', '.join(format_number(v, digits) for v in x)}]"
    if not x.size:
        return f"{format_shape(x.shape)} empty"
    finite = x[np.isfinite(x)]
    size = float(np.sqrt(np.mean(np.abs(finite.astype(np.complex128)) ** 2))) if finite.size else np.nan
    not_finite = "" if finite.size == x.size else f", {x.size - finite.size} not finite"
    return f"{format_shape(x.shape)} ~{format_number(np.float64(size), 3)}{not_finite}"


OPERATORS = {"+": 1, "−": 1, "×": 2, "÷": 2, "@": 2, "**": 4}
"""The operators of formulas, by how tightly they bind."""
_MINUS, _ATOM = 3, 5
_SIGNS = {"+": 1, "-": 1, "−": 1, "*": 2, "/": 2, "@": 2, "×": 2, "÷": 2, "^": 4}


def forward_formula(gate: Gate, width: int = 28) -> str:
    """What the gate computes, in the names of its inputs: `x + y`, `(a+b) × c`."""
    inputs = gate.inputs
    symbol = "**" if gate.name == "power" else gate_symbol(gate)
    if len(inputs) == 2 and symbol in OPERATORS:
        binds = OPERATORS[symbol]
        left = _bracketed(inputs[0], binds + (symbol == "**"), width)
        return f"{left} {symbol} {_bracketed(inputs[1], binds + (symbol != '**'), width)}"
    if gate.name == "neg":
        return f"−{_bracketed(inputs[0], _MINUS + 1, width)}"
    names = [short_name(w, width) for w in inputs]
    settings = [f"{k}={v:g}" for k, v in gate.settings.items()] if gate.kind == "rule" else []
    name = {"reduce_sum": "sum", "reduce_mean": "mean"}.get(gate.name, gate.name)
    return f"{name}({', '.join([*names[:4], *(['…'] if len(names) > 4 else []), *settings])})"


def equation(gate: Gate) -> str:
    """`q = x + y`; `x + y` alone where that is its output's name."""
    out = gate.outputs[0] if gate.outputs else None
    same = out is not None and _bare(out.name) == _bare(forward_formula(gate, 1000))
    if out is None or same:
        return short_name(out, 40) if out is not None else forward_formula(gate)
    return f"{short_name(out)} = {forward_formula(gate)}"


def _bracketed(wire: Wire, binds: int, width: int) -> str:
    """A wire's name, in brackets where it is a formula whose operators bind less tightly than `binds`."""
    name = short_name(wire, width)
    return f"({name})" if _binding(wire.name) < binds else name


def _binding(formula: str) -> int:
    """How tightly the loosest operator outside of brackets binds."""
    if re.fullmatch(r"[\d.]+(e[-+]\d+)?", formula):
        return _ATOM
    loosest, depth, before = _ATOM, 0, ""
    text = formula.replace("**", "^")
    for character in text.replace(" ", ""):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in _SIGNS:
            sign = character in "-−" and (not before or before in _SIGNS)
            loosest = min(loosest, _MINUS if sign else _SIGNS[character])
        before = character
    return loosest


def _bare(text: str) -> str:
    """A formula without its brackets and blanks, for comparison."""
    return text.translate(str.maketrans({" ": "", "(": "", ")": "", "×": "*", "÷": "/", "−": "-"}))


def short_name(wire: Wire, width: int = 28) -> str:
    """A wire's name, cut where it is long: an argument's so that it differs from the others'."""
    name = wire.name
    if len(name) <= width:
        return name
    return wire.short or f"{name[: width // 2 - 1]}…{name[-(width // 2) :]}"


def partial_derivative(out: Wire, into: Wire, width: int = 16) -> str:
    """∂out/∂into, names with operators in brackets."""
    return f"∂{_bracketed(out, _ATOM, width)}/∂{_bracketed(into, _ATOM, width)}"


def backward_formula(gate: Gate, slot: int, digits: int | None = 4) -> str:
    """How the gradient of one input is computed: local gradient times upstream, in numbers or in shapes lining up."""
    into = gate.inputs[slot]
    if not into.differentiable:
        return ""
    edge = gate.edges[slot]
    if edge.downstream is None:
        return "0 (nothing arrives)"
    scalars = into.shape == () and len(gate.outputs) == 1 and gate.outputs[0].shape == ()
    local = gate.local(slot) if scalars and is_inexact(gate.outputs[0].value) else None
    if local is not None:
        up, down = gate.outputs[0].gradient, edge.gradient
        return f"{format_number(local, digits)} × {format_number(up, digits)} = {format_number(down, digits)}"
    return f"{_lined_up(gate, slot)} = {format_array(edge.gradient, digits)}"


def _lined_up(gate: Gate, slot: int) -> str:
    """The shapes of a product that makes a gradient: `delta [64, 10] times W^T [10, 100]`."""
    out = next((w for w in gate.outputs if is_inexact(w.value)), gate.outputs[0])
    delta = f"delta {format_shape(out.shape)}".rstrip()
    two = [w for w in gate.inputs if w.differentiable]
    product = gate.name in ("dot_general", "matmul") or gate.name.startswith("affine")
    if product and len(two) >= 2 and slot < 2:
        other = gate.inputs[1 - slot]
        turned = f"{short_name(other, 16)}^T {format_shape(_turned(other, gate, 1 - slot))}".rstrip()
        return f"{delta} times {turned}" if slot == 0 else f"{turned} times {delta}"
    if product and slot == 2:
        return f"{delta} summed over the batch"
    if gate.name in ("add", "add_any"):
        summed = gate.inputs[slot].shape != out.shape
        return (
            f"{delta} summed to {format_shape(gate.inputs[slot].shape) or 'one number'}" if summed else f"1 × {delta}"
        )
    if gate.name == "mul" and len(gate.inputs) == 2:
        other = gate.inputs[1 - slot]
        return f"{short_name(other, 16)} {format_shape(other.shape)} ∘ {delta}".replace("  ", " ")
    if gate.inputs[slot].shape == out.shape:
        return f"local {format_shape(out.shape)} ∘ {delta}"
    return f"{delta} back through {gate.name}"


def _turned(other: Wire, gate: Gate, slot: int) -> tuple[int, ...]:
    """The other factor's shape as it enters the product that goes back."""
    dims = gate.settings.get("dimension_numbers")
    if gate.name == "dot_general" and dims is not None:
        contracted = dims[0][slot]
        batched = dims[1][slot]
        free = tuple(n for i, n in enumerate(other.shape) if i not in contracted and i not in batched)
        inner = tuple(other.shape[i] for i in contracted)
        return (*(other.shape[i] for i in batched), *((free + inner) if slot == 1 else (inner + free)))
    return (*other.shape[:-2], *other.shape[-2:][::-1])


def sum_of_shares(wire: Wire, digits: int | None = 4) -> str:
    """A fork's gradient as the sum of its branches' shares: a copy gate is an adder on the way back."""
    if len(wire.shares) < 2 or not wire.differentiable:
        return ""
    shares = wire.shares
    shown = [format_array(share, digits) for share in (shares if len(shares) <= 8 else [*shares[:4], *shares[-3:]])]
    if len(shares) > 8:
        shown.insert(4, f"… {len(shares) - 7} more …")
    total = " + ".join(shown).replace("+ −", "− ")
    return f"{total} = {format_array(wire.gradient, digits)}"
