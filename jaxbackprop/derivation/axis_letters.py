"""The letter of each axis, which every printer uses: `x_ni`, a sum over i, `Float[Array, "N I"]`."""

import itertools

from .index_notation import Index
from .quantities import LITERAL_KINDS, Program

EXAMPLES = "nbe"
OTHERS = "ijklmhrqtuvwo"


class Letters:
    """A letter for each axis of a program, an annotated axis its first; names of quantities are avoided."""

    def __init__(self, program: Program):
        taken = {q.name for q in program.quantities.values() if q.kind not in LITERAL_KINDS}
        single = [c for c in OTHERS + "abcdefghpsxyz" if c not in taken]
        free = itertools.chain(single, (f"i{k}" for k in itertools.count(1)))
        self.of_axis: dict[int, str] = {axis: next(c for c in "tsuvwr" if c not in taken) for axis in program.loop_axes}
        for axis, name in program.axis_names.items():
            letter = name[0].lower()
            if letter.isalpha() and letter not in taken and letter not in self.of_axis.values():
                self.of_axis.setdefault(axis, letter)
        arguments = [program[key] for key in program.arguments]
        first = [i for i in (arguments[0].indices if arguments else ()) if i.axis not in program.loop_axes]
        if len(first) > 1 and first[0].axis not in self.of_axis:
            used = {*taken, *self.of_axis.values()}
            self.of_axis[first[0].axis] = next(c for c in EXAMPLES + "acdfg" if c not in used)
        for q in (*arguments, *program.quantities.values()):
            for i in (*q.indices, *q.over):
                if i.axis not in self.of_axis:
                    self.of_axis[i.axis] = next(c for c in free if c not in self.of_axis.values())
        for q in program.quantities.values():
            for e in q.expressions:
                for product in e.terms:
                    for i in product.bound:
                        self.of_axis.setdefault(i.axis, f"i{i.axis}")

    def axis(self, axis: int) -> str:
        """The axis as a jaxtyping name: an upper-case letter."""
        return self.of_axis[axis].upper()

    def letters(self, used: dict[Index, str], indices: list[Index]) -> dict[Index, str]:
        """Letters for these indices beside those in use; a second index of one axis gets a prime."""
        found = dict(used)
        for i in indices:
            if i not in found:
                letter = self.of_axis[i.axis]
                while letter in found.values():
                    letter += "'"
                found[i] = letter
        return found
