"""A circuit in Graphviz's language: boxes as clusters, arguments as labels, values and gradients on the edges."""

from ..model import Box, Edge, Gate, Graph, Wire
from .format import format_array, gate_symbol
from .graph import PORTALS


def to_dot(graph: Graph, digits: int | None) -> str:
    """The text of a `digraph`. Arguments used often get a label of their own at each use, so that no web arises."""
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        '  rankdir=LR; node [shape=ellipse fontname="monospace" fontsize=11]; edge [fontname="monospace" fontsize=10];',
        *_box(graph, None, "  "),
    ]
    for wire in graph.wires:
        lines += _edges(wire, digits)
    for k, wire in enumerate(graph.outputs):
        lines.append(f"  o{k} [shape=box style=rounded label={_quoted(wire.name)}];")
        if wire.source:
            lines.append(f"  g{wire.source.id} -> o{k} [label={_quoted(_numbers(wire, digits))}];")
    return "\n".join([*lines, "}"]) + "\n"


def _box(graph: Graph, box: Box | None, indent: str) -> list[str]:
    lines = [f"{indent}{_gate(gate)}" for gate in graph.gates if gate.box is box]
    for inner in (b for b in graph.boxes if b.parent is box):
        lines += [f"{indent}subgraph cluster_{inner.id} {{ label={_quoted(inner.name)}; style=dashed;"]
        lines += [*_box(graph, inner, indent + "  "), f"{indent}}}"]
    return lines


def _gate(gate: Gate) -> str:
    marks = "peripheries=2" if gate.kind == "rule" else ""
    if gate.verdict == "wrong":
        marks += ' color=red penwidth=3 xlabel="✗"'
    return f"g{gate.id} [label={_quoted(gate_symbol(gate))} {marks}];"


def _edges(wire: Wire, digits: int | None) -> list[str]:
    if wire.source is not None:
        return [
            f"  g{wire.source.id} -> g{e.gate.id} [label={_quoted(_numbers(wire, digits, e))}];" for e in wire.edges
        ]
    lines, apart = [], wire.kind == "literal" or len(wire.edges) > PORTALS
    style = "plaintext" if wire.kind == "literal" else "box"
    for k, edge in enumerate(wire.edges):
        name = f"a{wire.id}_{k if apart else 0}"
        if apart or k == 0:
            lines.append(f"  {name} [shape={style} label={_quoted(wire.name)}];")
        label = "" if wire.kind == "literal" else _numbers(wire, digits, edge)
        lines.append(f"  {name} -> g{edge.gate.id} [label={_quoted(label)}];")
    return lines


def _numbers(wire: Wire, digits: int | None, edge: Edge | None = None) -> str:
    value, gradient = format_array(wire.value, digits), format_array(wire.gradient, digits)
    share = f" ({format_array(edge.gradient, digits)} of it)" if edge and len(wire.edges) > 1 and gradient else ""
    return f"{value}\n{gradient}{share}" if gradient else value


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
