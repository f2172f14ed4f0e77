"""`circuit`: an expression as gates and wires, with values and gradients, in the terminal or drawn."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .console import app, note, out
from .options import Json


class View(StrEnum):
    """The lecture's four explanations."""

    circuit = "circuit"
    flowgraph = "flowgraph"
    deltas = "deltas"
    chain = "chain"


class CircuitCommand(TyperCommand):
    """Its help lists the gates of expressions; to collect them takes JAX, so only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from ..circuits.expression.parser import gate_names

        self.epilog = f"Gates: {' '.join(gate_names())}"
        super().format_help(ctx, formatter)


# "-x * y" is an expression, and so is "-tanh(x)", whose letters are no options
@app.command(
    "circuit",
    cls=CircuitCommand,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
def circuit_command(
    expression: Annotated[str, typer.Argument(help='Such as "(x + y) * z"; names, numbers, + - * / @ **, gates.')],
    values: Annotated[list[str] | None, typer.Argument(help="A value for each name: x=-2, or W=[[1,2],[3,4]].")] = None,
    upstream: Annotated[str | None, typer.Option(help="The gradient that arrives at an array.")] = None,
    view: Annotated[View, typer.Option(help="Which of the four explanations to print and draw.")] = View.circuit,
    exact: Annotated[bool, typer.Option("--exact", help="Numbers unrounded.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to step through.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the drawing.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="Write the drawing as a PDF.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the drawing as a PNG.")] = None,
    dot: Annotated[Path | None, typer.Option(help="Write it in Graphviz's language.")] = None,
    as_json: Json = False,
) -> None:
    """Every gate and wire of an expression, with its value and its gradient, worked out backward by hand-derived rules.

    jaxbackprop circuit "(x + y) * z" x=-2 y=5 z=-4
    """
    from ..circuits.expression.trace_expression import read_value, trace_expression

    arriving = None if upstream is None else read_value(upstream)
    circuit = trace_expression(expression, _read(values or []), upstream=arriving)
    digits = None if exact else 4
    for path, write in (
        (html, lambda p: circuit.to_html(p)),
        (svg, lambda p: circuit.to_svg(p, view=view.value, digits=digits)),
        (pdf, lambda p: circuit.to_pdf(p, view=view.value, digits=digits)),
        (png, lambda p: circuit.to_png(p, view=view.value, digits=digits)),
        (dot, lambda p: circuit.to_dot(p, digits=digits)),
    ):
        if path is not None:
            write(path)
            note(f"written to {path}")
    if as_json:
        print(circuit.to_json())
    else:
        out().print(circuit.table(view.value, digits=digits), markup=False)


def _read(values: list[str]) -> dict[str, Any]:
    """`x=-2` as {"x": -2.0}; ValueError that says what was expected."""
    from ..circuits.expression.trace_expression import read_value

    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier():
            raise ValueError(f"expected a value as in x=-2; found {text!r}.")
        if name in found:
            raise ValueError(f"{name} is given twice.")
        found[name] = read_value(value)
    return found
