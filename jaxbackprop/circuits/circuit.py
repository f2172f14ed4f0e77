"""A Circuit: what trace() returns, and all that can be asked of it. Each answer is worked out in a file of its own."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .gradients import sweep
from .model import Box, Gate, Wire

if TYPE_CHECKING:
    from .analysis.compare import Checked
    from .analysis.health import Health


class Circuit:
    """Every gate and every wire of a function at given arguments, with values and gradients.

    Attributes:
        name: the function's name.
        gates: in program order; each has `.name`, `.inputs`, `.outputs`, `.source` (file:line), `.verdict`.
        wires: each has `.name`, `.shape`, `.value`, `.gradient`, `.autodiff_gradient`, `.edges`.
        boxes: scopes, modules, loops, steps, branches that group gates.
        arguments: the wires of the function's arguments, in order.
        outputs: the wires of what it returns, in order.
    """

    def __init__(
        self,
        name: str,
        gates: list[Gate],
        wires: list[Wire],
        boxes: list[Box],
        arguments: list[Wire],
        outputs: list[Wire],
        tree: Any,
        autodiff: bool = True,
        steps: str = "whole",
    ):
        self.name, self.gates, self.wires, self.boxes = name, gates, wires, boxes
        self.arguments, self.outputs, self.tree = arguments, outputs, tree
        from .analysis.rule_check import judge

        sweep(gates, autodiff=autodiff, judge=judge, summarise=steps == "summary")

    def __repr__(self) -> str:
        return f"<circuit {self.name}: {len(self.gates)} gates, {len(self.wires)} wires>"

    def __str__(self) -> str:
        if len(self.gates) <= 200:
            return self.table()
        return f"{self!r}; all of it: .table(), .to_html(path)"

    @property
    def value(self) -> Any:
        """What the function returned."""
        return self.tree.unflatten([wire.value for wire in self.outputs])

    @property
    def gradients(self) -> dict[str, Any]:
        """The gradient of each argument, by its name; None for integers, booleans and keys."""
        return {wire.name: wire.gradient for wire in self.arguments}

    def wire(self, name: str) -> Wire:
        """The wire called `name`: its whole name, or the one wire whose path ends in it (`W1` for `params['W1']`).

        Raises KeyError where there is none, or more than one, with the names that come near.
        """
        exact = [wire for wire in self.wires if wire.name == name and wire.kind != "literal"]
        ending = [w for w in self.wires if w.kind != "literal" and _last(w.name) == name]
        found = exact or ending
        if len(found) == 1:
            return found[0]
        if found:
            raise KeyError(f"{name} could be {', '.join(w.name for w in found)}: give the whole name.")
        import difflib

        names = [w.name for w in self.wires if w.kind != "literal"]
        near = difflib.get_close_matches(name, names, 3, 0.4) or names[:8]
        raise KeyError(
            f"no wire is called {name}; there are {', '.join(near)} and {max(len(names) - len(near), 0)} more."
        )

    def gate(self, name: str) -> Gate:
        """The first gate called `name`. Raises KeyError where there is none."""
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(f"no gate is called {name}; there are {', '.join(sorted({g.name for g in self.gates}))}.")

    def open(self, gate: Gate) -> "Circuit":
        """A merged rule as a circuit of its own: its primal's gates, under the gradient that reached it."""
        from .trace import inside

        return inside(gate)

    # Where is it wrong

    @cached_property
    def wrong(self) -> list[Gate]:
        """The rules whose own gradient is not that of their primal, in backward order: the first is the first to err.

        Each rule is judged at the upstream gradient that reached it, so a rule that only passes on a wrong gradient
        is not among them.
        """
        return [gate for gate in reversed(self.gates) if gate.verdict == "wrong"]

    @property
    def culprit(self) -> Gate | None:
        """The first wrong gate in backward order; None where every rule agrees with autodiff."""
        return self.wrong[0] if self.wrong else None

    def compare(self, mine: Mapping[str, Any], *, tolerance: float | None = None) -> "Checked":
        """Gradients worked out elsewhere, by wire name, held against the exact ones; see `compare.Checked`."""
        from .analysis.compare import compare

        return compare(self, mine, tolerance)

    def health(self, *, learning_rate: float | None = None, updates: Mapping[str, Any] | None = None) -> "Health":
        """Norms, zeros, saturation, update-to-weight ratios, the first gate that is not finite; see `health.Health`."""
        from .analysis.health import health

        return health(self, learning_rate, updates)

    # How it is shown

    def table(self, view: str = "circuit", *, digits: int | None = 4) -> str:
        """The circuit as text, gate by gate; `digits=None` shows the numbers unrounded.

        `view` is one of the lecture's four explanations: "circuit", "flowgraph", "deltas", "chain".
        """
        from .drawing.as_text import table

        return table(self, view, digits)

    def to_svg(
        self, path: str | Path | None = None, *, view: str = "circuit", digits: int | None = 3, **style: Any
    ) -> str:
        """The circuit drawn as the lectures draw it; written to `path` where one is given."""
        from .drawing.as_html import written
        from .drawing.as_svg import to_svg

        return written(to_svg(self, view, digits, **style), path)

    def _repr_svg_(self) -> str | None:
        return self.to_svg() if len(self.gates) <= 400 else None

    def to_json(self, path: str | Path | None = None, *, elements: int = 4096) -> str:
        """Everything as JSON, by the schema in `document.SCHEMA`; arrays above `elements` are summarised."""
        from .drawing.as_html import written
        from .drawing.as_json import to_json

        return written(to_json(self, elements), path)

    def to_dot(self, path: str | Path | None = None, *, digits: int | None = 3) -> str:
        """The circuit in Graphviz's language, boxes as clusters."""
        from .drawing.as_dot import to_dot
        from .drawing.as_html import written

        return written(to_dot(self, digits), path)

    def to_html(self, path: str | Path | None = None, *, title: str | None = None) -> str:
        """One self-contained page to step through, open, search and colour; needs no network."""
        from .drawing.as_html import to_html, written

        return written(to_html(self, title), path)


def _last(name: str) -> str:
    """The last part of a path: W1 of params['W1'] and of model.W1."""
    return name.replace("']", "").replace("['", ".").rpartition(".")[2]
