"""Reverse mode as the chain rule gives it: one delta a quantity, from the outputs back, with the reason of each term.

With named indices a transpose is a renaming, a fork an addition, and a broadcast an index that is summed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from .index_notation import (
    ZERO,
    Expression,
    Factor,
    Index,
    delta_of,
    expression,
    fresh,
    number,
    opened,
    quantity,
)
from .quantities import LITERAL_KINDS, CannotDerive, Program, Quantity


@dataclass(frozen=True)
class Line:
    """The delta of one quantity, and in words why it is this; `{key}` in the words stands for a quantity's name.

    Attributes:
        expression: over the quantity's indices.
        reasons: one for each way on which the loss depends on the quantity.
        through: the quantities whose deltas have been put into this one.
    """

    expression: Expression
    reasons: tuple[str, ...] = ()
    through: tuple[str, ...] = ()


Lines = dict[str, Line]
"""Deltas by the key of their quantity, in the order in which they are computed."""


def chain_rule(program: Program) -> Lines:
    """The delta of every quantity that the loss depends on.

    Raises:
        CannotDerive: a quantity is read along a diagonal.
    """
    terms: dict[str, Expression] = {}
    reasons: dict[str, list[str]] = {}
    for output in program.outputs:
        q = program[output.factor.key]
        name = "upstream" if not program.several else f"upstream_{q.name}"
        indices = [i for i in output.axes if i is not None]
        if len({*indices}) < len(indices) or len({*output.factor.indices}) < len(q.indices):
            raise CannotDerive(f"derive: the output {q.name} is read along a diagonal, which has no derivation.")
        arriving = program.add(name, indices, "upstream", differentiable=False, made_up=False)
        arriving.axes = output.axes
        program.upstream.append(arriving.key)
        everywhere = [i for i in indices if i not in output.factor.indices]
        term = quantity(arriving.factor).summed(everywhere)
        term = term.renamed(dict(zip(output.factor.indices, q.indices, strict=True)))
        _arrive(terms, reasons, q.key, term, "what arrives from the loss")
    for previous in program.previous:
        recurrence = previous.recurrence
        assert recurrence is not None
        q = program[recurrence.key]
        behind = program.add(f"next_{previous.name}", previous.indices, "next", differentiable=False, made_up=False)
        behind.recurrence = previous.factor
        term = quantity(behind.factor).renamed(dict(zip(recurrence.indices, q.indices, strict=True)))
        _arrive(terms, reasons, q.key, term, f"the next step sends the delta of its {previous} back")
    outputs = [output.factor.key for output in program.outputs]
    order = [q for q in program.in_order(outputs) if q.differentiable and q.kind not in LITERAL_KINDS]
    lines: Lines = {}
    for q in reversed(order):
        if q.key in terms:
            why = tuple(dict.fromkeys(reasons[q.key]))
            fork = (f"adder at a fork: {q} is used {len(why)} times",) if len(why) > 1 else ()
            lines[q.key] = Line(terms[q.key], (*fork, *why))
            for key, term, reason in _sent_back(program, q):
                _arrive(terms, reasons, key, term, reason)
    for key in program.arguments:
        if program[key].differentiable:
            lines.setdefault(key, Line(ZERO, ("the outputs do not depend on it",)))
    return lines


def _arrive(
    terms: dict[str, Expression], reasons: dict[str, list[str]], key: str, term: Expression, reason: str
) -> None:
    terms[key] = terms.get(key, ZERO) + term
    reasons.setdefault(key, []).append(reason)


def _sent_back(program: Program, q: Quantity) -> list[tuple[str, Expression, str]]:
    """What the delta of `q` sends to each quantity that `q` is computed from, and why."""
    delta = quantity(Factor(delta_of(q.key), q.indices))
    match q.kind:
        case "formula":
            return _through(program, q, q.definition or ZERO, delta, "")
        case "function":
            local, text = local_derivative(program, q)
            return _through(program, q, q.definition or ZERO, delta * local, text)
        case "maximum":
            return _through_maximum(program, q, delta)
        case "select":
            return _through_select(program, q, delta)
        case "previous":
            start = program.add(f"first_{q.name}", q.indices[1:], "first", differentiable=False, made_up=False)
            start.recurrence = q.factor
            return _through(program, start, q.definition or ZERO, quantity(start.factor), "the first step's delta")
    return []


def _through(
    program: Program, q: Quantity, definition: Expression, arriving: Expression, local: str
) -> list[tuple[str, Expression, str]]:
    sent = []
    for (bound, powers), c in opened(definition):
        for at, (factor, e) in enumerate(powers):
            u = program.quantities[factor.key]
            if not u.differentiable or u.kind in LITERAL_KINDS:
                continue
            if len(set(factor.indices)) < len(factor.indices):
                raise CannotDerive(f"derive: {q} reads {u} along a diagonal, which has no derivation.")
            rest = [(f, p) for k, (f, p) in enumerate(powers) if k != at]
            partial = arriving * expression([((), [*rest, (factor, e - 1)], c * e)])
            names = dict(zip(factor.indices, u.indices, strict=True))
            over = [i for i in dict.fromkeys((*q.indices, *bound)) if i not in names]
            names |= {i: fresh(i) for i in over}
            term = partial.renamed(names).summed(names[i] for i in over)
            sent.append((u.key, term, _reason(program, q, u, e, rest, bool(bound), over, local)))
    return sent


def _reason(
    program: Program,
    q: Quantity,
    u: Quantity,
    e: Fraction,
    rest: list[tuple[Factor, Fraction]],
    bound: bool,
    over: list[Index],
    local: str,
) -> str:
    others = [program[f.key] for f, _ in rest if program[f.key].kind not in LITERAL_KINDS]
    if any(program[f.key].kind == "placement" for f, _ in rest):
        return f"router: each entry of {u} has its place in {q}, from which its delta comes back"
    if local:
        return local if not others else f"{local}; swapper: times {_names(others)}"
    if e != 1:
        return f"{u} enters {q} with the power {e}"
    if not others and bound:
        return f"distributor: each term of the sum {q} receives its delta"
    if not others and over:
        return f"{u} enters {q} many times: its deltas are summed"
    if not others:
        return f"distributor: {q} hands its delta on"
    if any(o.kind == "one-hot" for o in others):
        return f"router: what was picked for {q} receives its delta, added up where it was picked twice"
    if all(o.is_mask for o in others):
        return f"router: {q} lets its delta through where {_names(others)} is 1"
    if bound:
        return f"matrix product {q}: its delta times the transpose of {_names(others)}"
    summed = f", summed over what {u} does not depend on" if over else ""
    return f"swapper: the delta of {q} times {_names(others)}{summed}"


def _names(quantities: list[Quantity]) -> str:
    return " and ".join(dict.fromkeys(f"{q}" for q in quantities))


def _through_maximum(program: Program, q: Quantity, delta: Expression) -> list[tuple[str, Expression, str]]:
    factor = (q.definition or ZERO).single
    assert factor is not None
    u = program[factor.key]
    names = dict(zip(factor.indices, u.indices, strict=True))
    tie = program.add("tie", u.indices, "mask", definition=quantity(u.factor), function="top", differentiable=False)
    tie.selector, tie.over = q.factor.renamed(names), tuple(names[i] for i in q.over)
    count = program.add(
        "count",
        [names[i] for i in q.indices],
        "formula",
        definition=quantity(tie.factor).summed(tie.over),
        differentiable=False,
    )
    reason = f"router: only the largest {u} enters {q}; equal ones share"
    return [(u.key, delta.renamed(names) * quantity(tie.factor) * quantity(count.factor, -1), reason)]


def _through_select(program: Program, q: Quantity, delta: Expression) -> list[tuple[str, Expression, str]]:
    assert q.selector is not None
    mask = program[q.selector.key]
    sent = []
    for branch, chosen in ((q.definition, True), (q.otherwise, False)):
        factor = (branch or ZERO).single
        if factor is None or not program[factor.key].differentiable:
            continue
        gate = quantity(q.selector if chosen else complement(program, q.selector))
        u = program[factor.key]
        names = dict(zip(factor.indices, u.indices, strict=True))
        over = [i for i in q.indices if i not in names]
        names |= {i: fresh(i) for i in over}
        reason = f"router: {q} is {u} where {mask} is {int(chosen)}"
        sent.append((u.key, (delta * gate).renamed(names).summed(names[i] for i in over), reason))
    return sent


def complement(program: Program, mask: Factor) -> Factor:
    """1 - mask, as a mask."""
    q = program[mask.key]
    for other in program.quantities.values():
        if other.kind == "mask" and other.function == "not" and other.definition == quantity(q.factor):
            return Factor(other.key, mask.indices)
    made = program.add(
        f"not_{q.name}", q.indices, "mask", definition=quantity(q.factor), function="not", differentiable=False
    )
    return Factor(made.key, mask.indices)


# Local derivatives.


def local_derivative(program: Program, q: Quantity) -> tuple[Expression, str]:
    """The derivative of an elementwise function by its argument, and in words."""
    out = quantity(q.factor)
    one = number(1)
    a = str(q)

    def helper(name: str, function: str, kind: str = "function") -> Expression:
        for other in program.quantities.values():
            if other.kind == kind and other.function == function and other.definition == q.definition:
                return quantity(other.factor.renamed(dict(zip(other.indices, q.indices, strict=True))))
        made = program.add(name, q.indices, kind, definition=q.definition, function=function, differentiable=False)  # type: ignore[arg-type]
        made.positive = function in ("logistic", "gauss")
        return quantity(made.factor)

    def reciprocal(of: Expression) -> Expression:
        if of.is_product:
            return of.power(Fraction(-1))
        made = program.add("t", q.indices, "formula", definition=of, differentiable=False)
        return quantity(made.factor, -1)

    table: dict[str, tuple[Callable[[], Expression], str]] = {
        "exp": (lambda: out, f"the derivative of exp is exp itself, {a}"),
        "expm1": (lambda: out + one, f"the derivative of exp - 1 is {a} + 1"),
        "log": (lambda: reciprocal(q.definition or ZERO), "the derivative of log is one over its argument"),
        "log1p": (lambda: reciprocal(one + (q.definition or ZERO)), "the derivative of log(1 + z) is 1 / (1 + z)"),
        "tanh": (lambda: one - out * out, f"the derivative of tanh, by its output: 1 - {a}^2"),
        "logistic": (lambda: out - out * out, f"the derivative of the sigmoid, by its output: {a} (1 - {a})"),
        "sqrt": (lambda: number(Fraction(1, 2)) * quantity(q.factor, -1), f"the derivative of the root: 1 / (2 {a})"),
        "rsqrt": (
            lambda: number(Fraction(-1, 2)) * quantity(q.factor, 3),
            f"the derivative of one over the root: -{a}^3 / 2",
        ),
        "softplus": (lambda: helper("s", "logistic"), "the derivative of softplus is the sigmoid"),
        "relu": (lambda: helper(f"alive_{q.name}", "positive", "mask"), f"router: {a} lets through what is positive"),
        "abs": (lambda: helper("sign", "sign"), "the derivative of the absolute value is the sign"),
        "erf": (lambda: helper("bell", "gauss"), "the derivative of erf is 2 exp(-z^2) / sqrt(pi)"),
        "sin": (lambda: helper("cosine", "cos"), "the derivative of sin is cos"),
        "cos": (lambda: -helper("sine", "sin"), "the derivative of cos is -sin"),
    }
    derivative, text = table[q.function]
    return derivative(), text
