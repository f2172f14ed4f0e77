"""References that a program writes to (jax.Ref): each is represented by the wire of its present contents.

So a circuit has no mutation: reading all of a reference is its wire, writing all of it is another wire, and an
operation on a part of it is a gate from the contents before to the contents after.
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
    """An equation that reads or writes references, as a function of their contents: its outputs, then the contents.

    It runs on references made and read within, so that JAX's own rules differentiate it.
    """

    def __init__(self, eqn: JaxprEqn, cells: Sequence[int], changed: bool):
        super().__init__(eqn)
        self.run, self.cells, self.changed = self.bind, tuple(cells), changed
        self.bind = self._on_own_references
        self.sealed = self.handwritten

    def _on_own_references(self, *inputs: Any) -> list[Any]:
        refs = {i: jax.new_ref(inputs[i]) for i in self.cells}
        outputs = self.run(*(refs.get(i, x) for i, x in enumerate(inputs)))
        return [*outputs, *([ref[...] for ref in refs.values()] if self.changed else [])]

    def autodiff_vjp(self, inputs: Sequence[Any], upstream: Sequence[Any], wanted: tuple[bool, ...]) -> list[Any]:
        # A rule in here cannot be left out, so the gate is sealed and its verdict "undecided".
        return self.handwritten_vjp(inputs, upstream, wanted)

    @cached_property
    def _own_key(self) -> Any:
        return (self.eqn.primitive, tuple(sorted(self.eqn.params.items())), self.cells, self.changed)


def refuse(values: Sequence[Any], where: str) -> None:
    """Refuse references that come from outside the program: a circuit shows one moment.

    Raises:
        ValueError: one of `values` is a reference.
    """
    if any(isinstance(value, jax.Ref) for value in values):
        raise ValueError(
            f"trace: {where} is a jax.Ref, which the function may write to.\n"
            f"  Give it as an array and make the reference inside: jax.new_ref(array)."
        )
