"""Expressions as mathematics is written: in LaTeX or plain text, by indices and, where it can be, in matrices.

One walk for both ways of writing; what differs is a `Style`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .axis_letters import Letters
from .factor import Contraction, Item, Term, factored, indices_of
from .index_notation import DELTA, SIZE, Expression, Factor, Index, delta_of
from .quantities import Program, Quantity

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega".split()
)
SUBSCRIPT = re.compile(r"^([A-Za-z]+?)_?(\d+)$")


class Style:
    """Plain text, as in a docstring: `dz_nk = p_nk (u_nk - sum_j p_nj u_nj)`."""

    times = " "
    of_numbers = " * "
    hadamard = " * "
    at_least = ">="

    def name(self, q: Quantity) -> str:
        return q.name

    def number(self, text: str) -> str:
        return text

    def indexed(self, symbol: str, letters: str) -> str:
        return f"{symbol}_{letters}" if letters else symbol

    def delta(self, q: Quantity, name: str, is_argument: bool, letters: str) -> str:
        return self.indexed(name, letters)

    def upstream(self, q: Quantity, output: Quantity, letters: str) -> str:
        return self.indexed(q.name, letters)

    def power(self, text: str, e: Fraction) -> str:
        if e == Fraction(1, 2):
            return f"sqrt({text})"
        return f"{text}^{e}" if " " not in text else f"({text})^{e}"

    def summed(self, letters: Sequence[str], of: str) -> str:
        return f"sum_{''.join(letters)} {of}"

    def fraction(self, above: str, below: Sequence[str]) -> str:
        return f"{above} / {below[0]}" if len(below) == 1 else f"{above} / ({self.times.join(below)})"

    def bracket(self, text: str) -> str:
        return f"({text})"

    def function(self, name: str, of: str) -> str:
        if name == "relu":
            return f"max(0, {of})"
        if name == "gauss":
            return f"2/sqrt(pi) exp(-({of})^2)"
        return f"1 / sqrt({of})" if name == "rsqrt" else f"{'sigmoid' if name == 'logistic' else name}({of})"

    def indicator(self, text: str) -> str:
        return f"1[{text}]"

    def maximum(self, letters: str, of: str) -> str:
        return f"max_{letters} {of}"

    def cases(self, first: str, mask: str, other: str) -> str:
        return f"{first} where {mask}, else {other}"

    def size(self, letter: str) -> str:
        return letter.upper()

    def transposed(self, text: str) -> str:
        return f"{text}^T"

    def words(self, text: str) -> str:
        return text


class Latex(Style):
    """LaTeX, with the lectures' superscripts for layers: W1 is W^{(1)}, the delta of z2 is delta^{(2)}."""

    times = r"\, "
    of_numbers = r" \cdot "
    hadamard = r" \circ "
    at_least = r"\ge"

    def name(self, q: Quantity) -> str:
        numbered = SUBSCRIPT.match(q.name)
        base, number = (numbered[1], numbered[2]) if numbered else (q.name, "")
        base = f"\\{base}" if base in GREEK else base if len(base) == 1 else rf"\mathrm{{{base}}}".replace("_", r"\_")
        if not number:
            return base
        return base + "'" * (int(number) - 1) if q.made_up and int(number) < 5 else f"{base}^{{({number})}}"

    def number(self, text: str) -> str:
        if "nan" in text or "inf" in text:
            return text.replace("jnp.", "").replace("inf", r"\infty")
        mantissa, e, exponent = f"{float(text):.6g}".partition("e")
        if not e:
            return mantissa
        power = f"10^{{{int(exponent)}}}"
        return {"1": power, "-1": f"-{power}"}.get(mantissa, rf"{mantissa} \cdot {power}")

    def indexed(self, symbol: str, letters: str) -> str:
        return f"{symbol}_{{{letters}}}" if letters else symbol

    def delta(self, q: Quantity, name: str, is_argument: bool, letters: str) -> str:
        if is_argument:
            return rf"\frac{{\partial L}}{{\partial {self.indexed(self.name(q), letters)}}}"
        numbered = SUBSCRIPT.match(q.name)
        if numbered and numbered[1] == "z":
            return self.indexed(rf"\delta^{{({numbered[2]})}}", letters)
        return self.indexed(rf"\delta^{{{self.name(q)}}}" if q.name != "z" else r"\delta", letters)

    def upstream(self, q: Quantity, output: Quantity, letters: str) -> str:
        return self.indexed(rf"\bar{{{self.name(output)}}}", letters)

    def power(self, text: str, e: Fraction) -> str:
        if e == Fraction(1, 2):
            return rf"\sqrt{{{text}}}"
        return f"{{{text}}}^{{{e}}}" if "^" not in text else rf"\big({text}\big)^{{{e}}}"

    def summed(self, letters: Sequence[str], of: str) -> str:
        return rf"\sum_{{{','.join(letters)}}} {of}"

    def fraction(self, above: str, below: Sequence[str]) -> str:
        return rf"\frac{{{above}}}{{{self.times.join(below)}}}"

    def bracket(self, text: str) -> str:
        return rf"\Big({text}\Big)"

    def function(self, name: str, of: str) -> str:
        if name in ("exp", "sqrt"):
            return f"e^{{{of}}}" if name == "exp" else rf"\sqrt{{{of}}}"
        if name == "gauss":
            return rf"\tfrac{{2}}{{\sqrt\pi}} e^{{-({of})^2}}"
        written = {
            "logistic": r"\sigma",
            "relu": r"\max",
            "tanh": r"\tanh",
            "log": r"\log",
            "sin": r"\sin",
            "cos": r"\cos",
        }
        if name == "rsqrt":
            return rf"\frac{{1}}{{\sqrt{{{of}}}}}"
        symbol = written.get(name, rf"\mathrm{{{name}}}")
        return f"{symbol}({'0, ' * (name == 'relu')}{of})"

    def indicator(self, text: str) -> str:
        return rf"\mathbf{{1}}[{text}]"

    def maximum(self, letters: str, of: str) -> str:
        return rf"\max_{{{letters}}} {of}"

    def cases(self, first: str, mask: str, other: str) -> str:
        return rf"\begin{{cases}} {first} & \text{{where }} {mask} = 1 \\ {other} & \text{{elsewhere}} \end{{cases}}"

    def size(self, letter: str) -> str:
        return rf"N_{{{letter}}}" if letter != "n" else "N"

    def transposed(self, text: str) -> str:
        return rf"{text}^\top" if "^" not in text else rf"\big({text}\big)^\top"

    def words(self, text: str) -> str:
        return rf"\text{{{text}}}"


LINE = 48
"""The width of a slide's line, in characters."""


def width(mathematics: str) -> int:
    """About how many characters wide a line of LaTeX is set; what stands in a fraction counts once, indices half."""
    line = re.sub(r"\\frac\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", "", mathematics)
    small = sum(len(re.sub(r"\\[A-Za-z]+", "x", s)) for s in re.findall(r"[_^]\{([^{}]*)\}", line))
    line = re.sub(r"[_^]\{[^{}]*\}", "", line)
    return len(re.sub(r"[{}\s]|\\[,!]", "", re.sub(r"\\[A-Za-z]+", "x", line))) + small // 2


def broken(right: str) -> list[str]:
    """The right side of a line in pieces that fit on a slide, cut before the signs between its terms."""
    if width(right) <= LINE or "cases" in right:
        return [right]
    braces = [right[:k].count("{") - right[:k].count("}") for k in range(len(right))]
    brackets = [right[:k].count("(") - right[:k].count(")") for k in range(len(right))]
    signs = [k for k, depth in enumerate(braces) if not depth and right[k : k + 3] in (" + ", " - ")]
    cuts = [k for k in signs if not brackets[k]] or [k for k in signs if brackets[k] == 1]
    pieces, start = [], 0
    for cut, after in zip(cuts, [*cuts[1:], len(right)], strict=True):
        if width(right[start:after]) > LINE:
            pieces.append(right[start:cut])
            start = cut + 1
    return [*pieces, right[start:]]


def escaped(text: str) -> str:
    """Words for LaTeX; what stands between dollars is LaTeX already."""
    parts = text.split("$")
    parts[::2] = [
        re.sub(r"\^(\d)", r"\\textsuperscript{\1}", part).replace("_", r"\_").replace("#", r"\#").replace("%", r"\%")
        for part in parts[::2]
    ]
    return "$".join(parts)


@dataclass
class Notation:
    """Writes the quantities, deltas and lines of a program in one style."""

    program: Program
    letters: Letters
    style: Style

    # Index form.

    def line(self, key: str, e: Expression) -> tuple[str, str]:
        """The two sides of a delta's line."""
        q = self.program[key]
        used = self.letters.letters({}, list(q.indices))
        return self.factor(Factor(delta_of(key), q.indices), used), self.expression(e, used)

    def definition(self, q: Quantity) -> tuple[str, str]:
        """The two sides of a quantity's line in the forward pass."""
        used = self.letters.letters({}, list(q.indices))
        left = self.style.indexed(self.style.name(q), self.subscript(q.indices, used))
        if q.kind == "previous" and isinstance(self.style, Latex) and q.recurrence is not None:
            others = self.subscript(q.indices[1:], used)
            left = self.style.indexed(
                self.style.name(self.program[q.recurrence.key]), ",".join(x for x in ("0", others) if x)
            )
        return left, self.value(q, used)

    def worded(self, text: str) -> str:
        """A reason with the symbols of its quantities between dollars."""

        def symbol(found: re.Match) -> str:
            name = self.style.name(self.program[found[1]])
            return f"${self.style.power(name, Fraction(found[2])) if found[2] else name}$"

        return re.sub(r"\{(\w+)\}(?:\^(\d))?", symbol, text)

    def value(self, q: Quantity, used: dict[Index, str]) -> str:
        """What a quantity is computed as."""
        style = self.style
        if q.kind in ("previous", "last"):
            return self.carried(q, used)
        if q.kind == "drawn":
            return self.drawn(q, used)
        assert q.definition is not None
        match q.kind:
            case "function":
                return style.function(q.function, self.expression(q.definition, used))
            case "mask":
                return self.mask(q, used)
            case "maximum":
                used = self.letters.letters(used, list(q.over))
                return style.maximum("".join(used[i] for i in q.over), self.expression(q.definition, used))
            case "select":
                assert q.selector is not None
                assert q.otherwise is not None
                mask = self.factor(q.selector, used)
                return style.cases(self.expression(q.definition, used), mask, self.expression(q.otherwise, used))
        return self.expression(q.definition, used)

    def drawn(self, q: Quantity, used: dict[Index, str]) -> str:
        """What is drawn from a key, and how it is distributed."""
        assert q.selector is not None
        key = self.style.name(self.program[q.selector.key])
        if q.is_mask:
            chance = q.value / 2**32 if q.function == "bits" else q.value
            words = f"1 with probability {chance:.4g}, else 0, drawn from "
        else:
            words = f"{q.function}, drawn from "
        return f"{self.style.words(words)}{key}"

    def carried(self, q: Quantity, used: dict[Index, str]) -> str:
        """A value before a step, by that behind the step before it; a value behind the last step."""
        assert q.recurrence is not None
        after = self.factor(q.recurrence, self.letters.letters(used, list(q.recurrence.indices)))
        time = next(iter(self.letters.of_axis[axis] for axis in self.program.loop_axes))
        if q.kind == "last":
            last = self.style.words(f"at the last {time}")
            return rf"{after}\ {last}" if isinstance(self.style, Latex) else f"{after} {last}"
        start = self.expression(q.definition or Expression({}), used)
        before = self.style.words("one step before, at first")
        return start if isinstance(self.style, Latex) else f"{after} {before} {start}"

    def mask(self, q: Quantity, used: dict[Index, str]) -> str:
        """A mask by its condition."""
        assert q.definition is not None
        inside = self.expression(q.definition, used)
        if q.function == "top":
            assert q.selector is not None
            return self.style.indicator(f"{inside} = {self.factor(q.selector, used)}")
        if q.function == "at least":
            assert q.selector is not None
            return self.style.indicator(f"{self.factor(q.selector, used)} {self.style.at_least} {inside}")
        if q.function == "not":
            return f"(1 - {inside})"
        if q.function == "all":
            return inside
        return self.style.indicator(f"{inside} {'>' if q.function == 'positive' else '='} 0")

    def subscript(self, indices: Sequence[Index], used: dict[Index, str]) -> str:
        """Letters of indices."""
        return "".join(used[i] for i in indices)

    def factor(self, f: Factor, used: dict[Index, str]) -> str:
        """A quantity, delta, number or size with its indices."""
        letters = self.subscript(f.indices, used)
        step = self.in_another_step(f, used)
        if step:
            return step
        if f.key.startswith(DELTA):
            key = f.key[len(DELTA) :]
            name = self.program.delta_name(key)
            return self.style.delta(self.program[key], name, key in self.program.arguments, letters)
        if f.key.startswith(SIZE):
            return self.style.size(self.letters.of_axis[int(f.key[len(SIZE) :])])
        q = self.program[f.key]
        if q.kind == "number":
            return self.style.number(q.text)
        if q.kind == "upstream":
            output = self.program.outputs[self.program.upstream.index(q.key)]
            return self.style.upstream(q, self.program[output.factor.key], letters)
        if q.kind == "one-hot":
            assert q.selector is not None
            names = dict(zip(q.indices, f.indices, strict=True))
            ids = self.factor(q.selector.renamed(names), used)
            ids = self.style.words("clip") + f"({ids})" if q.function == "clipped" else ids
            return self.style.indicator(f"{ids} = {used[f.indices[-1]]}")
        if q.kind == "placement":
            return self.style.indicator(f"{used[f.indices[0]]} = {self.place(q, f, used)}")
        if q.kind == "mask" and q.made_up:
            return self.mask(q, {own: used[i] for own, i in zip(q.indices, f.indices, strict=True)})
        return self.style.indexed(self.style.name(q), letters)

    def place(self, q: Quantity, f: Factor, used: dict[Index, str]) -> str:
        """Where the entries of a placement stand in the whole."""
        parts = list(f.indices[1:])
        offset = self.expression(q.offsets[0], used)
        if not parts:
            return offset
        if len(parts) > 1:
            return f"({','.join(used[i] for i in parts)})"
        return f"{used[parts[0]]} + {offset}" if q.offsets[0] else used[parts[0]]

    def expression(self, e: Expression, used: dict[Index, str]) -> str:
        """A sum of products over indices that have letters."""
        return self.terms(factored(e), used) if e else "0"

    def terms(self, terms: Sequence[Term], used: dict[Index, str]) -> str:
        """Terms with their signs."""
        text = "".join(f" {'-' if t.coefficient < 0 else '+'} {self.term(t, used)}" for t in terms)
        return text[3:] if text.startswith(" + ") else f"-{text[3:]}"

    def term(self, term: Term, used: dict[Index, str]) -> str:
        """One product without its sign."""
        style = self.style
        above, below, sums, numbers = [], [], [], []
        c = abs(term.coefficient)

        def place(entry: tuple[Item, Fraction]) -> tuple[bool, bool, int, str]:
            item, _ = entry
            return (isinstance(item, Contraction), not self.arrives(item), len(indices_of(item)), repr(item))

        for item, e in sorted(term.items, key=place):
            if isinstance(item, Contraction):
                sums.append(self.contraction(item, used))
            elif e == 1 and self.is_number(item):
                numbers.append(self.factor(item, used))
            else:
                (above if e > 0 else below).append(_power(style, self.factor(item, used), abs(e)))
        bracket = [style.bracket(self.terms(term.bracket, used))] if term.bracket else []
        if c.numerator != 1:
            numbers.insert(0, str(c.numerator))
        if numbers:
            above.insert(0, style.of_numbers.join(numbers))
        if c.denominator != 1:
            below.insert(0, str(c.denominator))
        last = len(sums) - (0 if bracket else 1)
        wrapped = [style.bracket(s) if "sum" in s[:4] and k < last else s for k, s in enumerate(sums)]
        if not below:
            return style.times.join([*above, *wrapped, *bracket]) or "1"
        if style.__class__ is Style:
            return style.fraction(style.times.join([*above, *bracket, *wrapped]) or "1", below)
        return style.times.join([style.fraction(style.times.join(above) or "1", below), *wrapped, *bracket])

    def in_another_step(self, f: Factor, used: dict[Index, str]) -> str:
        """A carried value as it was, or its delta, in LaTeX: h_{t-1}; nothing for what is of this step."""
        key = f.key[len(DELTA) :] if f.key.startswith(DELTA) else f.key
        q = self.program.quantities.get(key)
        if q is None or q.kind not in ("previous", "next", "first") or not isinstance(self.style, Latex):
            return ""
        previous = q if q.kind == "previous" or q.recurrence is None else self.program[q.recurrence.key]
        assert previous.recurrence is not None
        t = self.letters.of_axis[self.program.loop_axes[0]]
        time = {"previous": t if f.key.startswith(DELTA) else f"{t}-1", "next": f"{t}+1", "first": "1"}[q.kind]
        others = self.subscript([i for i in f.indices if i.axis not in self.program.loop_axes], used)
        name = self.style.name(self.program[previous.recurrence.key])
        symbol = name if q.kind == "previous" and not f.key.startswith(DELTA) else rf"\delta^{{{name}_{{{t}-1}}}}"
        return self.style.indexed(symbol, ",".join(part for part in (time, others) if part))

    def arrives(self, item: Item) -> bool:
        """Whether an item is a delta or an upstream gradient, which is written first."""
        return isinstance(item, Factor) and (item.key.startswith(DELTA) or item.key in self.program.upstream)

    def contraction(self, item: Contraction, used: dict[Index, str]) -> str:
        """A sum of products."""
        cut = {f.indices[0]: f for f, _ in item.powers if self.is_place(f) and f.indices[0] in item.bound}
        bound = [i for i in item.bound if i not in cut]
        used = self.letters.letters(used, bound)
        for whole, f in cut.items():
            place = self.place(self.program[f.key], f, used)
            used[whole] = f"({place})" if " " in place else place
        powers = [power for power in item.powers if power[0] not in cut.values()]
        factors = []
        for f, e in sorted(powers, key=lambda power: self.arrives(power[0])):
            text = _power(self.style, self.factor(f, used), abs(e))
            factors.append(text if e > 0 else self.style.fraction("1", [text]))
        product = self.style.times.join(factors)
        return self.style.summed([used[i] for i in bound], product) if bound else product

    # Matrix form.

    def matrix_line(self, key: str, e: Expression) -> tuple[str, str] | None:
        """The two sides of a delta's line in matrices, where every product in it is one of matrices."""
        q = self.program[key]
        if not 1 <= len(q.indices) <= 2:
            return None
        right = self.matrix_terms(factored(e), q.indices)
        if right is None or not any(
            isinstance(i, Contraction) or len(q.indices) == 2 for t in factored(e) for i, _ in t.items
        ):
            return None
        return self.bare(Factor(delta_of(key), q.indices)), right

    def matrix_terms(self, terms: Sequence[Term], target: Sequence[Index]) -> str | None:
        """A sum of matrix products, or None."""
        parts = []
        for t in terms:
            part = self.matrix_term(t, target)
            if part is None:
                return None
            parts.append(f" {'-' if t.coefficient < 0 else '+'} {part}")
        text = "".join(parts)
        return text[3:] if text.startswith(" + ") else f"-{text[3:]}"

    def matrix_term(self, term: Term, target: Sequence[Index]) -> str | None:
        """A product of scalars, matrices (element by element) and matrix products, or None."""
        scalars, below, arrays, vectors, numbers = [], [], [], {}, []
        for item, e in sorted(term.items, key=lambda x: (not isinstance(x[0], Contraction), repr(x[0]))):
            if isinstance(item, Contraction):
                product = self.matrix_product(item, target) if e == 1 else None
                if product is None:
                    return None
                arrays.append(product)
            elif e == 1 and self.is_number(item):
                numbers.append(self.factor(item, {}))
            elif not item.indices:
                (scalars if e > 0 else below).append(_power(self.style, self.factor(item, {}), abs(e)))
            elif e <= 0 or e.denominator != 1 or self.is_one_hot(item):
                return None
            elif list(item.indices) == list(target):
                symbol = self.bare(item)
                arrays.append(symbol if e == 1 else self.style.hadamard.join([symbol] * int(e)))
            elif list(item.indices) == list(target)[::-1]:
                arrays.append(self.style.transposed(self.bare(item)))
            elif len(item.indices) == 1 and len(target) == 2 and e == 1:
                vectors[item.indices[0]] = self.bare(item)
            else:
                return None
        if vectors:
            if set(vectors) != set(target) or arrays or term.bracket:
                return None
            arrays.append(f"{vectors[target[0]]} {self.style.transposed(vectors[target[1]])}")
        c = abs(term.coefficient)
        if c.numerator != 1:
            numbers.insert(0, str(c.numerator))
        if numbers:
            scalars.insert(0, self.style.of_numbers.join(numbers))
        if c.denominator != 1:
            below.insert(0, str(c.denominator))
        if term.bracket:
            inner = self.matrix_terms(term.bracket, target)
            if inner is None:
                return None
            arrays.append(f"({inner})")
        several = len(arrays) > 1
        text = self.style.hadamard.join(
            f"({a})" if several and " " in a and not a.startswith("(") else a for a in arrays
        )
        if below:
            return self.style.times.join(
                [self.style.fraction(self.style.times.join(scalars) or "1", below), *([text] if text else [])]
            )
        return self.style.times.join([*scalars, *([text] if text else [])]) or "1"

    def is_number(self, f: Factor) -> bool:
        """Whether a factor is a number of the program."""
        q = self.program.quantities.get(f.key)
        return q is not None and q.kind == "number"

    def is_place(self, f: Factor) -> bool:
        """Whether a factor is a placement."""
        q = self.program.quantities.get(f.key)
        return q is not None and q.kind == "placement"

    def is_one_hot(self, f: Factor) -> bool:
        """Whether a factor has no symbol of its own."""
        q = self.program.quantities.get(f.key)
        return q is not None and (q.kind in ("one-hot", "placement") or (q.kind == "mask" and q.made_up))

    def matrix_product(self, item: Contraction, target: Sequence[Index]) -> str | None:
        """A B, A^T B, A x ... of two arrays, or None."""
        if len(item.bound) != 1 or len(item.powers) != 2 or any(e != 1 or self.is_one_hot(f) for f, e in item.powers):
            return None
        (j,) = item.bound
        (a, b) = (f for f, _ in item.powers)
        if any(len(f.indices) > 2 or f.indices.count(j) != 1 for f in (a, b)):
            return None
        free = [[i for i in f.indices if i != j] for f in (a, b)]
        if [*free[0], *free[1]] != list(target) or (len(target) == 1 and not free[0]):
            a, b, free = b, a, free[::-1]
        if [*free[0], *free[1]] != list(target):
            return None
        left = self.bare(a) if a.indices[-1] == j and len(a.indices) == 2 else self.style.transposed(self.bare(a))
        right = self.bare(b) if b.indices[0] == j else self.style.transposed(self.bare(b))
        if len(b.indices) == 1 or len(target) == 1:
            right = self.bare(b) if len(b.indices) == 1 else right
        return f"{left} {right}"

    def bare(self, f: Factor) -> str:
        """A symbol without indices."""
        return self.factor(f, dict.fromkeys(f.indices, ""))


def _power(style: Style, text: str, e: Fraction) -> str:
    return text if e == 1 else style.power(text, e)
