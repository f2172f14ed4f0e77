"""References that a program writes to (jax.Ref): each is the wire that holds its contents now.

So a circuit has no mutation: reading all of a reference is its wire, writing all of it is another wire, and whatever
touches a part of it is a gate from the contents before to the contents after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax

from ..jaxprs.compat import FREEZE_REF, NEW_REF, READ_REF, WRITE_REF, JaxprEqn
from .gradients import Equation
from .model import Wire

MAKES, READS, WRITES, ENDS = NEW_REF, READ_REF, WRITE_REF, FREEZE_REF


@dataclass(eq=False)
class Cell:
    """A reference while a program is walked: `now` is the wire of its contents at this point."""

    now: Wire


class Stateful(Equation):
    """An equation that reads or writes references, as a function of their contents: its outputs, then what they hold.

    It runs on references of its own, made and read within, so that JAX's own rules differentiate it.
    """

    def __init__(self, eqn: JaxprEqn, cells: Sequence[int], changed: bool):
        super().__init__(eqn)
        self.run, self.cells, self.changed = self.bind, tuple(cells), changed
        self.bind = self._on_own_references
        self.sealed = self.differs

    def _on_own_references(self, *inputs: Any) -> list[Any]:
        refs = {i: jax.new_ref(inputs[i]) for i in self.cells}
        made = self.run(*(refs.get(i, x) for i, x in enumerate(inputs)))
        return [*made, *([ref[...] for ref in refs.values()] if self.changed else [])]

    def autodiff_pull(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        return self.pull(inputs, upstream, wanted)  # a rule in here cannot be left out: blame.py says "undecided"

    @cached_property
    def _own_key(self) -> Any:
        return (self.eqn.primitive, tuple(sorted(self.eqn.params.items())), self.cells, self.changed)


def refuse(values: Sequence[Any], where: str) -> None:
    """ValueError where one of `values` is a reference: it would be written to, and a circuit is of one moment."""
    if any(isinstance(value, jax.Ref) for value in values):
        raise ValueError(
            f"trace: {where} is a jax.Ref, which the function may write to.\n"
            f"  Give it as an array and make the reference inside: jax.new_ref(array)."
        )
