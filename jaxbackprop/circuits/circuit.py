"""A Circuit: what trace() returns, with everything that can be done with it."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

from ..verification.wording import count
from .analysis.compare import Checked, check
from .analysis.health import Health, health
from .drawing.as_dot import to_dot
from .drawing.as_html import to_html
from .drawing.as_json import to_json
from .drawing.as_pdf import to_pdf, to_png
from .drawing.as_svg import to_svg
from .drawing.as_text import table
from .drawing.write_file import write_bytes, write_file
from .model import Gate, Graph
from .walk import walk_inside

DISPLAYED = 400
"""Notebooks display circuits of at most this many gates."""


class Circuit(Graph):
    """Every gate and every wire of a function at given arguments, with values and gradients.

    Attributes:
        name: the function's name.
        gates: in program order; each has `.name`, `.inputs`, `.outputs`, `.source` (file:line), `.verdict`.
        wires: each has `.name`, `.shape`, `.value`, `.gradient`, `.autodiff_gradient`, `.edges`.
        boxes: scopes, modules, loops, steps, branches that group gates.
        arguments: the wires of the function's arguments, in order.
        outputs: the wires of what it returns, in order.
    """

    @classmethod
    def of(cls, graph: Graph) -> "Circuit":
        """The circuit of a graph."""
        return cls(**{f.name: getattr(graph, f.name) for f in fields(Graph)})

    def __repr__(self) -> str:
        return f"<circuit {self.name}: {count(len(self.gates), 'gate')}, {count(len(self.wires), 'wire')}>"

    def __str__(self) -> str:
        if len(self.gates) <= 200:
            return self.table()
        return f"{self!r}; all of it: .table(), .to_html(path)"

    def open(self, gate: Gate) -> "Circuit":
        """A merged rule as a circuit of its own: its primal's gates, under the gradient that reached it."""
        return Circuit.of(walk_inside(gate))

    def check(self, gradients: Mapping[str, Any], *, tolerance: float | None = None) -> Checked:
        """Gradients computed elsewhere, by wire name, compared with the exact ones; see `compare.check`."""
        return check(self, gradients, tolerance)

    def health(self, *, learning_rate: float | None = None, updates: Mapping[str, Any] | None = None) -> Health:
        """Norms, zeros, saturation, update-to-weight ratios, the first gate that is not finite; see `health.Health`."""
        return health(self, learning_rate, updates)

    # Shown

    def table(self, view: str = "circuit", *, digits: int | None = 4) -> str:
        """The circuit as text, gate by gate.

        Args:
            view: one of the lecture's four explanations: "circuit", "flowgraph", "deltas", "chain".
            digits: significant digits; None for numbers unrounded.
        """
        return table(self, view, digits)

    def to_svg(
        self,
        path: str | Path | None = None,
        *,
        view: str = "circuit",
        digits: int | None = 3,
        opened: bool | Collection[int] | None = None,
        legend: bool = True,
    ) -> str:
        """The circuit drawn as the lectures draw it.

        Args:
            path: a file to write it to as well.
            view: one of the lecture's four explanations: "circuit", "flowgraph", "deltas", "chain".
            digits: significant digits; None for numbers unrounded.
            opened: the boxes drawn open, by id; True for all, None for as many as stay readable.
            legend: whether a line below says what is drawn where.
        """
        return write_file(to_svg(self, view, digits, opened=opened, legend=legend), path)

    def _repr_html_(self) -> str | None:
        if len(self.gates) > DISPLAYED:
            return None
        style = "width:100%;height:520px;border:1px solid #8888;border-radius:8px"
        return f'<iframe srcdoc="{escape(self.to_html())}" style="{style}" title="{escape(self.name)}"></iframe>'

    def _repr_svg_(self) -> str | None:
        """For where a page is not displayed; as wide as the cell at most."""
        if len(self.gates) > DISPLAYED:
            return None
        return self.to_svg().replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)

    def to_pdf(self, path: str | Path | None = None, **drawn: Any) -> bytes:
        """The drawing as a PDF, for slides; the arguments are those of `to_svg`.

        Raises:
            ImportError: cairosvg is not installed.
        """
        return write_bytes(to_pdf(self.to_svg(**drawn)), path)

    def to_png(self, path: str | Path | None = None, *, scale: float = 2.0, **drawn: Any) -> bytes:
        """The drawing as a PNG of `scale` pixels for each unit; the other arguments are those of `to_svg`.

        Raises:
            ImportError: cairosvg is not installed.
        """
        return write_bytes(to_png(self.to_svg(**drawn), scale), path)

    def to_json(self, path: str | Path | None = None, *, elements: int = 4096) -> str:
        """Everything as JSON, by the schema in `as_json.SCHEMA`; arrays above `elements` are summarised."""
        return write_file(to_json(self, elements), path)

    def to_dot(self, path: str | Path | None = None, *, digits: int | None = 3) -> str:
        """The circuit in Graphviz's language, boxes as clusters."""
        return write_file(to_dot(self, digits), path)

    def to_html(self, path: str | Path | None = None, *, title: str | None = None) -> str:
        """One self-contained page to step through, open, search and colour; needs no network."""
        return write_file(to_html(self, title), path)
