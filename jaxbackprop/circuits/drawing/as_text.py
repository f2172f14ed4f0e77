"""A circuit as plain text: one table for each of the four views."""

from ...verification.wording import count
from ..model import Gate, Graph, Wire
from .format import (
    backward_formula,
    equation,
    format_array,
    format_number,
    format_shape,
    partial_derivative,
    short_name,
    sum_of_shares,
)
from .layers_and_chains import NO_LAYERS, Layer, chains, layers


def table(graph: Graph, view: str = "circuit", digits: int | None = 4) -> str:
    """The table of one view.

    Args:
        graph: the circuit.
        view: "circuit", "flowgraph", "deltas" or "chain".
        digits: significant digits; None for numbers unrounded.

    Raises:
        ValueError: there is no such view.
    """
    views = {"circuit": _circuit, "flowgraph": _flowgraph, "deltas": _deltas, "chain": _chain}
    if view not in views:
        raise ValueError(f"there is no view {view!r}; there are {', '.join(views)}.")
    return views[view](graph, digits)


def columns(rows: list[list[str]], header: list[str], numeric: tuple[int, ...] = ()) -> str:
    """Rows under a header, padded; `numeric` columns are aligned at the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        cells = [c.rjust(w) if i in numeric else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), "  ".join("─" * w for w in widths), *map(line, rows)])


def _circuit(graph: Graph, digits: int | None) -> str:
    arguments = [
        [w.name, _shape(w), format_array(w.value, digits), format_array(w.gradient, digits)]
        for w in graph.wires
        if w.kind in ("argument", "constant")
    ]
    lines = [_title(graph, digits), "", columns(arguments, ["argument", "shape", "value", "gradient"], (2, 3)), ""]
    rows = []
    last: tuple[str, ...] = ()
    for gate in graph.gates:
        path = gate.box.path if gate.box else ()
        if path != last and path:
            rows.append([f"in {' > '.join(path)}", "", "", "", ""])
        last = path
        rows += _gate_rows(gate, digits)
    lines.append(columns(rows, ["gate", "computes", "value", "upstream", "sends back: local × upstream"], (2, 3)))
    forks = [w for w in graph.wires if len(w.edges) > 1 and w.differentiable]
    if forks:
        lines += ["", "forks add up:"]
        lines += [f"  {w.name}: {sum_of_shares(w, digits)}" for w in forks]
    return "\n".join(lines + _findings(graph))


def _gate_rows(gate: Gate, digits: int | None) -> list[list[str]]:
    out = gate.outputs[0] if gate.outputs else None
    back = [
        f"{short_name(w, 20)}: {backward_formula(gate, slot, digits)}"
        for slot, w in enumerate(gate.inputs)
        if w.differentiable
    ]
    value = format_array(out.value, digits) if out is not None else ""
    upstream = format_array(out.gradient, digits) if out is not None else ""
    mark = {"wrong": " ✗", "kink": " ∧", "undecided": " ?"}.get(gate.verdict, "")
    first = [gate.name + mark, equation(gate), value, upstream, back[0] if back else ""]
    return [first, *([["", "", "", "", more] for more in back[1:]])]


def _flowgraph(graph: Graph, digits: int | None) -> str:
    """Nodes are values; each arrow carries its local derivative; a gradient is a sum over the arrows that leave."""
    rows = []
    for wire in graph.wires:
        if wire.kind == "literal":
            continue
        arrows = []
        for edge in wire.edges:
            outputs = edge.gate.outputs
            local = edge.gate.local(edge.slot) if wire.differentiable else None
            share = format_array(edge.gradient, digits) if wire.differentiable else "no gradient"
            step = partial_derivative(outputs[0], wire) if len(outputs) == 1 else edge.gate.name
            arrows.append(
                f"{step} = {format_number(local, digits)}, brings {share}"
                if local is not None
                else f"{step} brings {share}"
            )
        first = [wire.name, format_array(wire.value, digits), format_array(wire.gradient, digits)]
        rows.append([*first, arrows[0] if arrows else "the output" if wire.is_output else ""])
        rows += [["", "", "", more] for more in arrows[1:]]
    return "\n".join([_title(graph, digits), "", columns(rows, ["node", "value", "gradient", "arrows"], (1, 2))])


def _deltas(graph: Graph, digits: int | None) -> str:
    """A delta for each layer, from the last to the first, with the shapes of each product lining up."""
    rows = layers(graph)
    if not rows:
        return f"{_title(graph, digits)}\n\n{NO_LAYERS}"
    lines = [_title(graph, digits), ""]
    for layer in reversed(rows):
        lines += _layer(layer, digits)
    return "\n".join(lines)


def _layer(layer: Layer, digits: int | None) -> list[str]:
    delta = layer.delta
    lines = [
        f"layer {layer.index}: delta_{layer.index} = gradient at {delta.name} = {format_array(delta.gradient, digits)}"
    ]
    return lines + [f"    {line.text}" for line in layer.equations(digits)]


def _chain(graph: Graph, digits: int | None) -> str:
    """Each argument's gradient as a product along its path; what another gradient already holds is used again."""
    rows = [[c.title, c.product, format_array(c.wire.gradient, digits), c.reused] for c in chains(graph)]
    return "\n".join([_title(graph, digits), "", columns(rows, ["gradient", "chain rule", "is", "used again in"])])


def _title(graph: Graph, digits: int | None) -> str:
    outputs = ", ".join(f"{w.name} = {format_array(w.value, digits)}" for w in graph.outputs[:3])
    return f"{graph.name}: {count(len(graph.gates), 'gate')}; {outputs}"


def _findings(graph: Graph) -> list[str]:
    lines = [f"✗ {g.name}{f' ({g.defined})' if g.defined else ''}: {g.detail}" for g in graph.wrong]
    lines += [f"∧ {g.name}: {g.detail}" for g in graph.gates if g.verdict == "kink"]
    lines += [f"? {g.name}: {g.detail}" for g in graph.gates if g.verdict == "undecided"]
    lines += [f"! {g.name}: {g.note}" for g in graph.gates if g.note]
    if graph.wrong:
        lines.insert(0, f"the first wrong gate on the way back: {graph.wrong[0].name}")
    return ["", *lines] if lines else []


def _shape(wire: Wire) -> str:
    return format_shape(wire.shape) or "scalar"
