"""Which numbers in a function come from sizes: it is read again at other sizes, and the two programs are compared.

A number that is a root or power of a size becomes one; where the programs differ in any other way, the derivation holds
at the sizes it was made with alone, and says so.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from .from_jaxpr import read
from .index_notation import SIZE, Expression, Factor, Index, quantity
from .quantities import CannotDerive, Program, Quantity
from .substitution import substituted

POWERS = tuple(Fraction(p) for p in ("1/2", "-1/2", "1", "-1", "2"))


def read_at_two_sizes(fun: Callable, args: Sequence[Any]) -> Program:
    """The named quantities of `fun`, its numbers that depend on sizes written as such where they are powers of one.

    Raises:
        CannotDerive: as `read`.
    """
    program = read(fun, args)
    for grown in (_longer, _doubled):
        sizes = {axis: grown(k, size) for k, (axis, size) in enumerate(_sizes(program).items())}
        try:
            leaves, tree = jax.tree.flatten(tuple(args))
            resized = [_resized(program[key], x, sizes) for key, x in zip(program.arguments, leaves, strict=True)]
            other = read(fun, tree.unflatten(resized))
        except Exception:  # a function may refuse sizes in any way of its own
            continue
        _write_sizes(program, other, sizes)
        _write_places(program, other)
        if _outline(program) != _outline(other):
            program.conditions.append(_only_at(program, "numbers in the function depend on them"))
        return program
    program.conditions.append(_only_at(program, "the function could not be read at others"))
    return program


def _only_at(program: Program, why: str) -> str:
    arguments = (program[key] for key in program.arguments)
    shapes = ", ".join(f"{q.name} {tuple(i.size if i else 1 for i in q.axes)}" for q in arguments)
    return f"the sizes are those it was derived at, for {why}: {shapes}"


def _longer(k: int, size: int) -> int:
    return size + 1 + k % 3


def _doubled(k: int, size: int) -> int:
    return 2 * size


def _sizes(program: Program) -> dict[int, int]:
    """The sizes of the arguments' axes."""
    return {i.axis: i.size for key in program.arguments for i in program[key].indices}


def _resized(q: Quantity, x: Any, sizes: Mapping[int, int]) -> Any:
    if q.kind == "key":
        return x
    shape = tuple(sizes[i.axis] if i is not None else 1 for i in q.axes)
    padded = q.kind == "ids" and q.function == "padded"
    return np.full(shape, -1 if padded else 0, np.asarray(x).dtype)


def _write_places(program: Program, other: Program) -> None:
    """Keep of the ways in which a slice depends on sizes those that hold at both."""
    for key, q in program.quantities.items():
        twin = other.quantities.get(key)
        if q.offsets and twin is not None and (both := tuple(e for e in q.offsets if e in twin.offsets)):
            q.offsets = twin.offsets = both
    for axis, found in program.size_of.items():
        if both := tuple(e for e in found if e in other.size_of.get(axis, ())):
            program.size_of[axis] = other.size_of[axis] = both


def _write_sizes(program: Program, other: Program, sizes: Mapping[int, int]) -> None:
    """Replace numbers that are a power of one size in both programs."""
    before = _sizes(program)
    for key, q in list(program.quantities.items()):
        twin = other.quantities.get(key)
        if q.kind != "number" or twin is None or twin.kind != "number" or twin.value == q.value:
            continue
        found = [
            (axis, p)
            for axis in before
            for p in POWERS
            if np.isclose(float(before[axis]) ** float(p), q.value, rtol=1e-6)
            and np.isclose(float(sizes[axis]) ** float(p), twin.value, rtol=1e-6)
        ]
        if len(found) == 1:
            axis, p = found[0]
            size = quantity(Factor(f"{SIZE}{axis}"), p)
            for one in (program, other):
                for user in one.quantities.values():
                    user.definition = _replaced(user.definition, key, size)
                    user.otherwise = _replaced(user.otherwise, key, size)


def _replaced(e: Expression | None, key: str, by: Expression) -> Expression | None:
    if e is None or key not in e.keys:
        return e
    changed = substituted(e, key, (), by)
    if changed is None:
        raise CannotDerive("derive: a power of a number that is a size has no derivation.")
    return changed


def _outline(program: Program) -> list[Any]:
    """What a program computes, without the sizes of its axes and the numbers of its indices."""
    outline = []
    used = program.ancestors([output.factor.key for output in program.outputs])
    for q in program.in_order(used):
        if q.kind == "size":
            continue
        place = {i: k for k, i in enumerate((*q.indices, *q.over))}
        definitions = [_terms(e, place) for e in (q.definition, q.otherwise) if e is not None]
        places = [_terms(e, place) for e in q.offsets]
        outline.append((q.key, q.kind, q.function, q.value, [i.axis for i in q.indices], definitions, places))
    used_axes = {i.axis for q in program.in_order(used) for i in q.indices}
    lengths = [(axis, [_terms(e, {}) for e in found]) for axis, found in program.size_of.items() if axis in used_axes]
    return [*outline, *lengths]


def _terms(e: Expression, place: Mapping[Index, int]) -> list[Any]:
    def factor(f: Factor) -> tuple:
        return f.key, tuple(i.number if i.number < 0 else place.get(i, -100) for i in f.indices)

    return sorted(
        (tuple(i.axis for i in bound), tuple((factor(f), p) for f, p in powers), c)
        for (bound, powers), c in e.terms.items()
    )
