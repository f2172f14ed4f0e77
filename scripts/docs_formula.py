"""The formulas of the rules' docstrings as MathML: `1/y`, `x_t W^T`, `sum_B delta`, `(v + eps)^(-1/2)`.

The docstrings are written to be read as text, so nothing here is strict: a line is cut into tokens, what looks like
mathematics is set as such, words stay words.
"""

import re
from html import escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eps": "ε", "lambda": "λ", "mu": "μ",
    "sigma": "σ", "theta": "θ", "pi": "π",
}  # fmt: skip
FUNCTIONS = {
    "log", "exp", "sin", "cos", "tanh", "sigmoid", "max", "min", "mean", "sign", "erf", "erfc", "softmax", "unit",
    "hash", "layer_norm", "dropout", "softplus", "relu",
}  # fmt: skip
SHORT_WORDS = ("of", "by", "is", "at", "or", "to", "in", "as", "no", "an", "so", "it", "if")
NO_NOUNS = ("where", "of", "for", "if", "is", "and", "or", "beside", "in")
SIGNS = {"<=": "≤", ">=": "≥", "-": "−", "*": "·", "...": "…", "!=": "≠"}
TOKEN = re.compile(
    r"\s+|[a-z]{2,}-[a-z]{2,}|[a-z]{3,}'s\b|\d+(?:\.\d+)?|\.\.\.|<=|>=|!=|[A-Za-z](?:[A-Za-z0-9]|_(?=[a-z]{4,}))*'?|`[^`]*`|\|\||[-+*/^_=<>()\[\]{}|.,;:]|."
)
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}


def is_word(token: str, names: frozenset[str]) -> bool:
    """Whether a token is English, not a variable."""
    if re.fullmatch(r"[a-z]+-[a-z]+|[a-z]+'s", token):
        return True
    if not token.isalpha() or token in names or token in GREEK or token in FUNCTIONS or token in ("sum", "sqrt"):
        return False
    return token in SHORT_WORDS or (len(token) > 2 and token.islower())


def typeset(line: str, names: frozenset[str] = frozenset()) -> str:
    """One line of a docstring's formula as HTML: a `math` element, in which words are text."""
    return f'<math displaystyle="true">{_Reader(line, names).row()}</math>'


class _Reader:
    """Reads tokens from left to right; each method answers one MathML element."""

    def __init__(self, line: str, names: frozenset[str]):
        self.tokens = [t for t in TOKEN.findall(line) if t]
        self.names = names
        self.at = 0

    def peek(self, ahead: int = 0) -> str:
        """The token to come, "" at the end."""
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self) -> str:
        """The next token."""
        token = self.peek()
        self.at += 1
        return token

    def row(self, until: str = "") -> str:
        """Everything up to a closing bracket, which is taken, or to the end."""
        found: list[str] = []
        while self.at < len(self.tokens) and not (until and self.peek() == until):
            if self.peek().isspace():
                self.take()
                found += ['<mspace width="0.9em"/>'] if found and found[-1] == "<mo>,</mo>" else []
                continue
            found.append(self.fraction())
        if until:
            self.take()
        return f"<mrow>{_spaced(found)}</mrow>"

    def fraction(self) -> str:
        """A factor, or a factor over another one: `a/b` and `a / b` alike."""
        above = self.factor()
        gap = 1 if self.peek().isspace() else 0
        if self.peek(gap) != "/" or above.startswith(("<mo>", "<mtext")):
            return above
        behind = gap + (2 if self.peek(gap + 1).isspace() else 1)
        following = self.peek(behind)
        if not re.match(r"[\w(|]", following) or is_word(following, self.names):
            return above
        self.at += behind
        below = self.factor()
        if following == "sum":  # a sum is divided by as a whole
            self.at += self.peek().isspace()
            below = f"<mrow>{below}{self.factor()}</mrow>"
        return f"<mfrac>{_bare(above)}{_bare(below)}</mfrac>"

    def factor(self) -> str:
        """A token with its sub- and superscripts."""
        token = self.peek()
        base = self.atom()
        if base.startswith("<mtext"):
            return base
        if token.isidentifier() and not base.startswith("<msqrt") and self.peek() == "(":
            called = f"<mrow>{base}{self.atom()}</mrow>"  # a product would have a space
            if self.peek() != "^" or not self.peek(1) or self.peek(1).isspace():
                return called
            self.take()
            return f"<msup>{called}{self.script('_^')}</msup>"
        under = over = ""
        while self.peek() in ("_", "^") and not self.peek(1).isspace() and self.peek(1):
            if self.take() == "_":
                under = self.script("_")
            else:
                over = self.script("_^")
        if token == "sum" and under:
            return f"<munder>{base}{under}</munder>"
        if under and over:
            return f"<msubsup>{base}{under}{over}</msubsup>"
        if under:
            return f"<msub>{base}{under}</msub>"
        return f"<msup>{base}{over}</msup>" if over else base

    def script(self, further: str) -> str:
        """What stands behind `_` or `^`: a bracket, or one factor with its sign and its `further` scripts."""
        if self.peek() in ("(", "{"):
            return _bare(self.atom())
        sign = self.take() if self.peek() == "-" else ""
        what = self.atom()
        while self.peek() and self.peek() in further and re.match(r"\w|\|", self.peek(1)):
            kind = "msub" if self.take() == "_" else "msup"
            what = f"<{kind}>{what}{self.atom()}</{kind}>"
        return f"<mrow><mo>−</mo>{what}</mrow>" if sign else what

    def atom(self) -> str:
        """One token, or a whole bracket."""
        token = self.take()
        if token in OPEN:
            inside = self.row(OPEN[token])
            if token == "{":
                return inside
            return f"<mrow><mo>{token}</mo>{inside}<mo>{OPEN[token]}</mo></mrow>"
        if token == "|" and "|" in self.tokens[self.at :]:
            inside = self.row("|")
            return f"<mrow><mo>|</mo>{inside}<mo>|</mo></mrow>"
        if token == "sqrt":
            while self.peek().isspace():
                self.take()
            return f"<msqrt>{_bare(self.factor())}</msqrt>"
        if token == "sum" and self.peek() not in (":", ")", ","):
            return "<mo>∑</mo>"
        if token.startswith("`") and len(token) > 2:
            return f"<mtext><code>{escape(token[1:-1])}</code></mtext>"
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        article = token == "a" and self.peek().isspace() and self.peek(1) not in NO_NOUNS
        article = article and is_word(self.peek(1), self.names)
        if article or (is_word(token, self.names) and self.peek() != "_"):
            return f"<mtext>{escape(token)}</mtext>"
        if token[0].isalpha():
            return _name(token)
        return f"<mo>{escape(SIGNS.get(token, token))}</mo>"


def _name(token: str) -> str:
    """A variable, with its prime and its Greek letter; a differential d x keeps its d."""
    if token.endswith("'"):
        return f"<msup>{_name(token[:-1])}<mo>′</mo></msup>"
    if token.startswith("d") and (len(token) == 2 or token[1:] in GREEK):
        return f'<mrow><mi mathvariant="normal">d</mi><mi>{escape(GREEK.get(token[1:], token[1:]))}</mi></mrow>'
    return f"<mi>{escape(GREEK.get(token, token))}</mi>"


def _bare(element: str) -> str:
    """A bracketed element without its round brackets."""
    found = re.fullmatch(r"<mrow><mo>\(</mo>(.*)<mo>\)</mo></mrow>", element)
    return found[1] if found and found[1].count("<mrow>") == found[1].count("</mrow>") else element


def _spaced(elements: list[str]) -> str:
    """Elements with a thin space between two factors, and a word's space around words."""
    out = ""
    for i, element in enumerate(elements):
        before = elements[i - 1] if i else ""
        if i and element != "<mo>,</mo>":
            word = "<mtext" in (before[:6], element[:6])
            factors = not before.startswith(("<mo", "<mspace")) and not element.startswith(("<mo", "<mspace"))
            out += '<mspace width="0.3em"/>' if word else '<mspace width="0.18em"/>' if factors else ""
        out += element
    return out
