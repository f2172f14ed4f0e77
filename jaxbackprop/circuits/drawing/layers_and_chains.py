"""The lecture's other explanations of a circuit: layers with their deltas, and chains with re-used parts."""

from dataclasses import dataclass

from ..model import Edge, Gate, Graph, Wire
from .format import Line, backward_formula, format_array, number_line, partial_derivative, short_name

PRODUCTS = ("dot_general", "matmul", "conv_general_dilated")

NO_LAYERS = "no matrix product in it: there are no layers, and so no deltas to show"


@dataclass(frozen=True)
class Layer:
    """A product with weights: the activation a, the weights W, the use of a bias b, the pre-activation z (delta)."""

    index: int
    gate: Gate
    activation: Wire
    weights: Wire
    bias: Edge | None
    delta: Wire

    def equations(self, digits: int | None) -> list[Line]:
        """How delta makes the gradients of the weights, the bias and the activation below, shapes lining up."""
        i = self.index
        slot = next(s for s, w in enumerate(self.gate.inputs) if w is self.weights)
        into = next(s for s, w in enumerate(self.gate.inputs) if w is self.activation)
        lines = [_equation(self.gate.edges[slot], _product(self.gate, slot, i), digits)]
        if self.bias is not None:
            batch = " summed over the batch" * (len(self.delta.shape) > 1)
            lines.append(_equation(self.bias, f"delta_{i}{batch}", digits))
        if self.activation.differentiable:
            lines.append(_equation(self.gate.edges[into], _product(self.gate, into, i), digits))
        return lines


def _equation(use: Edge, product: str, digits: int | None) -> Line:
    """`dW = product → its gradient`: the share that comes back through this use, where the wire has others."""
    head = f"d{short_name(use.wire, 16)} = {product} → "
    if len(use.wire.edges) > 1:
        return Line(head + format_array(use.gradient, digits), use.wire.id, "share", head)
    return number_line("gradient", use.wire, digits, head)


def _product(gate: Gate, slot: int, i: int) -> str:
    line = backward_formula(gate, slot)
    return line.partition(" = ")[0].replace("delta", f"delta_{i}")


def layers(graph: Graph) -> list[Layer]:
    """The products with weights, in program order: a gate with two arrays, one of them an argument or a constant."""
    rows: list[Layer] = []
    for gate in graph.gates:
        if not (gate.name in PRODUCTS or gate.name.startswith("affine")) or len(gate.inputs) < 2:
            continue
        x, y = gate.inputs[:2]
        weights = y if y.kind in ("argument", "constant") or x.kind == "value" else x
        if not weights.differentiable:
            continue
        activation = x if weights is y else y
        bias, out = (gate.edges[2], gate.outputs[0]) if len(gate.inputs) > 2 else _bias(gate.outputs[0])
        rows.append(Layer(len(rows) + 1, gate, activation, weights, bias, out))
    return rows


def _bias(product: Wire) -> tuple[Edge | None, Wire]:
    """The use of a bias that is added to a product, and the pre-activation; the product itself where none is added."""
    if len(product.edges) == 1 and product.edges[0].gate.name in ("add", "add_any"):
        gate = product.edges[0].gate
        other = _origin(gate.edges[1 - product.edges[0].slot])
        if other.wire.kind in ("argument", "constant"):
            return other, gate.outputs[0]
    return None, product


def _origin(use: Edge) -> Edge:
    """The use of an argument behind gates that only change a shape."""
    while use.wire.source is not None and use.wire.source.name in (
        "broadcast_in_dim",
        "reshape",
        "convert_element_type",
        "squeeze",
    ):
        use = use.wire.source.edges[0]
    return use


@dataclass(frozen=True)
class Chain:
    """One gradient as the chain rule makes it: `∂f/∂x = δq · ∂q/∂x`, and where it is used again."""

    wire: Wire
    title: str
    product: str
    reused: str


TERMS = 8
"""A chain writes out at most this many terms."""


def chains(graph: Graph) -> list[Chain]:
    """Every gradient in backward order, each from those before it."""
    output = next((w for w in graph.outputs if w.output_cotangent is not None), graph.outputs[0])
    rows = []
    for wire in _backward_order(graph):
        terms = []
        for edge in wire.edges:
            for out in edge.gate.outputs if edge.downstream is not None else ():
                if out.upstream is not None:
                    ahead = "" if out is output else f"δ({short_name(out, 14)}) · "
                    terms.append(ahead + partial_derivative(out, wire, 14))
        inputs = wire.source.inputs if wire.source else ()
        users = {short_name(w, 14): None for w in inputs if w.differentiable}
        whole = partial_derivative(output, wire, 14)
        title = f"δ({short_name(wire, 14)}) = {whole}" if wire.source else whole
        shown = terms if len(terms) <= TERMS else [*terms[: TERMS - 1], "…"]
        product = "1" if wire is output else " + ".join(shown) or "0"
        rows.append(Chain(wire, title, product, ", ".join(users) if len(users) > 1 else ""))
    return rows


def _backward_order(graph: Graph) -> list[Wire]:
    wires = [w for w in graph.wires if w.differentiable]
    return sorted(wires, key=lambda w: (-(w.source.id if w.source else -1), w.id))
